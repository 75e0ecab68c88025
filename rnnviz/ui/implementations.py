"""Three implementations of one cell, trained from the same weights: their curves, differences and speeds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import streamlit as st

from rnnviz.analysis.side_by_side import (
    IMPLEMENTATIONS,
    Curve,
    implementation_config,
    largest_difference,
    shipped_curves,
)
from rnnviz.cells import CellName
from rnnviz.figures.curves import compared_figure
from rnnviz.figures.kit import COLOURS
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import Corpus
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import picture
from rnnviz.ui.references import levels_of_text
from rnnviz.ui.side_by_side import SideBySide, curves_of, curves_table, shipped_corpus, side_by_side

# The widest is drawn first, so that all can be seen where they coincide.
_LOOKS = {
    "scratch": (COLOURS["before"], 13.0),
    "torch": (COLOURS["training"], 7.0),
    "fused": (COLOURS["held_out"], 2.2),
}


def show_implementations(frame: Frame, cell: CellName, shipped: str) -> None:
    """The curves in one picture, and below it the button that trains all three here."""
    group = SideBySide(
        "implementations", {name: name for name in IMPLEMENTATIONS}, partial(implementation_config, cell), shipped
    )

    def draw(runs: Mapping[str, Run], live: bool) -> None:
        if runs:
            curves, corpus = curves_of(runs, live=live), next(iter(runs.values())).corpus
        else:
            curves, corpus = shipped_curves(cell), shipped_corpus(implementation_config(cell, IMPLEMENTATIONS[0]))
        if len(curves) == len(IMPLEMENTATIONS):
            _draw(frame, curves, corpus)
        else:
            st.caption(frame.translate("The curves begin when all three have ended an epoch."))

    side_by_side(frame, group, draw)


def _draw(frame: Frame, curves: Mapping[str, Curve], corpus: Corpus) -> None:
    _ = frame.translate
    last = max(int(curve.step[-1]) for curve in curves.values())
    slowest = min(curve.speed for curve in curves.values())
    speeds = ", ".join(
        _("{name} {speed} ({times} ×)").format(
            name=name, speed=quantity(curve.speed), times=quantity(curve.speed / slowest)
        )
        for name, curve in curves.items()
    )
    one = curves["fused"]
    words = _(
        "At the last step training {training}, held-out {held_out}; the three differ by {difference} and "
        "{held_out_difference} at most. Characters a second: {speeds}."
    ).format(
        training=quantity(float(one.perplexity[-1])),
        held_out=quantity(float(one.held_out[-1])),
        difference=quantity(largest_difference([curve.perplexity for curve in curves.values()])),
        held_out_difference=quantity(largest_difference([curve.held_out for curve in curves.values()])),
        speeds=speeds,
    )
    picture(
        compared_figure(
            {name: (curves[name].step, curves[name].perplexity, *look) for name, look in _LOOKS.items()},
            last,
            _("perplexity"),
            {},
            _,
            held_out={name: curves[name].held_out for name in _LOOKS},
            references=levels_of_text(corpus, _),
        ),
        key="implementations",
        description=words,
        caption=words,
        table=curves_table(frame, curves),
        height=380,
    )
