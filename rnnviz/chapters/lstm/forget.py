"""The forget gate's bias: how long a memory lasts at the start, and which start learns to recall."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from rnnviz.analysis.holding import shares_left
from rnnviz.analysis.reading import Reading
from rnnviz.analysis.side_by_side import (
    BIASES,
    LETTERS,
    Curve,
    learned_at,
    recall_config,
    recall_cost,
    shipped_curves,
)
from rnnviz.figures.curves import compared_figure
from rnnviz.figures.lstm import BIAS_COLOURS, retention_figure
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.ui.frame import Frame
from rnnviz.ui.limits import choose_reading
from rnnviz.ui.pictures import picture
from rnnviz.ui.side_by_side import SideBySide, curves_of, curves_table, side_by_side

_STEPS = 40
_LEAST_COST = 0.01  # for a letter that is known; below this, rounding and the choice of letters matter


def forget(frame: Frame) -> None:
    """sigma(b_f)^t beside the forget gates of a trained model; then three trainings on delayed recall."""
    place = st.container()
    chosen = choose_reading(frame, "lstm")
    if chosen is not None:
        with place:
            _show_retention(frame, chosen[1])
    st.subheader(frame.translate("Delayed recall"))
    st.markdown(frame.lesson("recall"))
    _show_recall(frame)


def _show_retention(frame: Frame, reading: Reading) -> None:
    _ = frame.translate
    F = reading.trace.signal("F")
    most = min(_STEPS, len(F) - 1)
    left = shares_left(F, most)
    middle = np.median(left, axis=1)
    steps = np.arange(most + 1)
    constant = {f"b_f = {bias:g}": (1 / (1 + np.exp(-bias))) ** steps for bias in BIASES}
    picture(
        retention_figure(left, translate=_),
        key="retention",
        description=_(
            "After {steps} steps {share} of the memory is left in the median unit, {most} in the best."
        ).format(steps=most, share=quantity(float(middle[-1])), most=quantity(float(left[-1].max()))),
        table={_("steps later"): steps, **constant, _("measured, median of the units"): middle},
        revision=reading.trace.text,
        height=400,
    )


def _show_recall(frame: Frame) -> None:
    labels = {f"{bias:g}": f"b_f = {bias:g}" for bias in BIASES}
    group = SideBySide("recall", labels, recall_config, frame.lesson("recall_shipped"), corpus="recall")

    def draw(runs: Mapping[str, Run], live: bool) -> None:
        curves = curves_of(runs, live=live) if runs else shipped_curves("recall")
        if curves:
            _draw_recall(frame, {labels[name]: curve for name, curve in curves.items()})
        else:
            st.caption(frame.translate("The curves begin with the first epoch that has ended."))

    side_by_side(frame, group, draw)


def _draw_recall(frame: Frame, curves: Mapping[str, Curve]) -> None:
    _ = frame.translate
    costs = {name: _cost(curve.perplexity) for name, curve in curves.items()}
    colours = dict(zip((f"b_f = {bias:g}" for bias in BIASES), BIAS_COLOURS.values(), strict=True))
    words = " ".join(_recall_in_words(frame, name, curve) for name, curve in curves.items())
    steps = max((curve.step for curve in curves.values()), key=len)
    picture(
        compared_figure(
            {name: (curve.step, costs[name], colours[name], 2.2) for name, curve in curves.items()},
            int(steps[-1]),
            _("nats for the recalled letter"),
            {_("guessed: log 4"): math.log(LETTERS)},
            _,
        ),
        key="recall",
        description=words,
        caption=words,
        table=curves_table(frame, curves, _cost),
        height=360,
    )


def _cost(perplexity: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cost of the recalled letter as it is shown."""
    cost: NDArray[np.float64] = np.maximum(recall_cost(perplexity), _LEAST_COST)
    return cost


def _recall_in_words(frame: Frame, name: str, curve: Curve) -> str:
    _ = frame.translate
    step = learned_at(curve)
    said = (
        _("{name}: not learned in {step:,} steps; at the last step the letter costs {training}, held-out {held_out}.")
        if step is None
        else _("{name}: learned in {step:,} steps; at the last step the letter costs {training}, held-out {held_out}.")
    )
    return said.format(
        name=name,
        step=int(curve.step[-1]) if step is None else step,
        training=quantity(float(_cost(curve.perplexity)[-1])),
        held_out=quantity(float(_cost(curve.held_out)[-1])),
    )
