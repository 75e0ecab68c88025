"""Gates, states and gradient norms of every layer while the model trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import streamlit as st

from rnnviz.analysis.deep import LayerStudy
from rnnviz.chapters.deep.study import with_study
from rnnviz.figures.deep import layers_figure
from rnnviz.i18n import quantity
from rnnviz.signals import SIGNALS
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import picture

_SHOWN = ("F", "I", "O", "H", "C")
_LAST_STEPS = 20  # of whose gradient norms the median is told


def training(frame: Frame) -> None:
    """A signal's spread and the gradient norm, layer by layer, against the training step."""
    _ = frame.translate
    names = {name: f"{SIGNALS[name].symbol} {_(SIGNALS[name].label)}" for name in _SHOWN}
    name = pick(st, _("Signal"), tuple(names), "signal", names.__getitem__)
    with_study(frame, lambda study, live: _draw(frame, study, name))


def _draw(frame: Frame, study: LayerStudy, name: str) -> None:
    picture(
        layers_figure(study, name, frame.translate),
        key="training",
        description=_in_words(frame, study, name),
        caption=_in_words(frame, study, name),
        table=_table(frame, study, name),
        revision=f"{study.num_layers} {name}",
        height=560,
    )


def _in_words(frame: Frame, study: LayerStudy, name: str) -> str:
    _ = frame.translate
    medians = ", ".join(quantity(float(value)) for value in study.quantiles[name][-1, :, 2])
    norms = np.median(study.norms[-_LAST_STEPS:], axis=0) if len(study.norms) else np.full(study.num_layers, np.nan)
    return _(
        "At step {step:,}, from the lowest layer up: median of {symbol} {medians}; differences of Hₜ {differences}; "
        "gradient norm {norms} (median of the last {count} steps)."
    ).format(
        step=study.steps[-1],
        symbol=SIGNALS[name].symbol,
        medians=medians,
        differences=", ".join(quantity(float(value)) for value in study.differences[-1]),
        norms=", ".join(quantity(float(norm)) for norm in norms),
        count=min(_LAST_STEPS, len(study.norms)),
    )


def _table(frame: Frame, study: LayerStudy, name: str) -> dict[str, Iterable[Any]]:
    _ = frame.translate
    medians: dict[str, Iterable[Any]] = {
        _("layer {n}").format(n=i + 1) + f", {SIGNALS[name].symbol}": study.quantiles[name][:, i, 2]
        for i in range(study.num_layers)
    }
    return {_("training step"): np.array(study.steps)} | medians
