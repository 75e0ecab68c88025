"""Why a deep network starts slower: one to three layers trained side by side, and three with residuals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from rnnviz.analysis.side_by_side import (
    STARTS,
    Curve,
    frequency_perplexity,
    left_at,
    shipped_curves,
    start_config,
)
from rnnviz.figures.curves import compared_figure
from rnnviz.figures.deep import depth_colours
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import corpus_in, corpus_of
from rnnviz.ui.frame import Frame
from rnnviz.ui.implementations import curves_of
from rnnviz.ui.pictures import picture
from rnnviz.ui.side_by_side import SideBySide, side_by_side

_frequencies = st.cache_data(frequency_perplexity)


def start(frame: Frame) -> None:
    """The curves that ship or the visitor's own, and the plateau on which deep networks wait."""
    _ = frame.translate
    labels = {name: _("1 layer") if name == "1" else _("{n} layers").format(n=name) for name in STARTS}
    labels["3-residual"] = _("3 layers, residual")
    group = SideBySide("start", labels, start_config, frame.lesson("start_shipped"))

    def draw(runs: Mapping[str, Run], live: bool) -> None:
        if runs:
            curves, text = curves_of(runs, live=live), next(iter(runs.values())).corpus.training
        else:
            corpus = corpus_in(frame.language)
            curves, text = shipped_curves(f"start-{frame.language}"), _shipped_text(corpus)
        if curves:
            _draw(frame, {labels[name]: curve for name, curve in curves.items()}, _frequencies(text))
        else:
            st.caption(_("The curves begin with the first epoch that has ended."))

    side_by_side(frame, group, draw)


@st.cache_data
def _shipped_text(corpus: str) -> str:
    return corpus_of(start_config("1", corpus)).training


def _draw(frame: Frame, curves: Mapping[str, Curve], plateau: float) -> None:
    _ = frame.translate
    colours = depth_colours(list(curves))
    words = " ".join(_in_words(frame, name, curve, plateau) for name, curve in curves.items())
    steps = max((curve.step for curve in curves.values()), key=len)
    picture(
        compared_figure(
            {name: (curve.step, curve.perplexity, colours[name], 2.6) for name, curve in curves.items()},
            int(steps[-1]),
            _("perplexity"),
            {_("frequencies alone: {value}").format(value=quantity(plateau)): plateau},
            _,
        ),
        key="start",
        description=words,
        caption=words,
        table={_("step"): steps}
        | {
            name: np.pad(curve.perplexity, (0, len(steps) - len(curve.step)), constant_values=np.nan)
            for name, curve in curves.items()
        },
        height=400,
    )


def _in_words(frame: Frame, name: str, curve: Curve, plateau: float) -> str:
    _ = frame.translate
    step = left_at(curve, plateau)
    if step is None:
        return _("{name}: still on the plateau after {step:,} steps.").format(name=name, step=int(curve.step[-1]))
    return _("{name}: off the plateau at step {step:,}.").format(name=name, step=step)
