"""What depth costs at equal parameters: time and memory, measured here or where the app was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from rnnviz.analysis.deep import COST_LAYERS, COST_PARAMETERS, Cost, cost_sizes, shipped_costs
from rnnviz.figures.deep import cost_figure
from rnnviz.i18n import quantity
from rnnviz.ui.frame import Frame, engine, put_in_address, show_error, start_from_address, visitor, watching
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.pictures import picture

_shipped = st.cache_data(shipped_costs)


def cost(frame: Frame) -> None:
    """Processor time and memory of a training step, against the number of layers."""
    start_from_address("measured", ["here"], "")
    place = st.container()
    if not watching() and st.button(
        frame.translate("Measure it here"), type="primary", icon=":material/timer:", key="measure"
    ):
        st.session_state["measured"] = "here"
    here = put_in_address("measured", "") == "here"
    with place:
        live_part(
            frame,
            lambda: MOVING if here and not _batch().finished else "finished",
            lambda _phase: _draw(frame, here),
        )


def _batch() -> Any:
    """One measurement after the other; all visitors share them, because they share the machine."""
    return engine().batch("cost", "rnnviz.nn.bench:cost", cost_sizes(), visitor=visitor())


def _draw(frame: Frame, here: bool) -> None:
    _ = frame.translate
    costs: Sequence[Cost] = _shipped()
    if here:
        batch = _batch()
        if batch.error:
            show_error(frame, batch.error)
        costs = list(batch.results)
        done = _("{done} of {total} measurements").format(done=len(costs), total=batch.total)
        st.progress(len(costs) / batch.total, done)
    if not costs:
        return
    where = _("Measured here: {machine}.") if here else _("This measurement comes with the app: {machine}.")
    words = _in_words(frame, costs)
    picture(
        cost_figure(costs, _),
        key="cost",
        description=words,
        caption=f"{words} {where.format(machine=costs[0].machine)}",
        table={
            _("layers"): np.array([cost.layers for cost in costs]),
            _("hidden units"): np.array([cost.units for cost in costs]),
            _("parameters"): np.array([cost.parameters for cost in costs]),
            _("ms"): [1000 * cost.seconds for cost in costs],
            "MiB": [cost.bytes / 2**20 for cost in costs],
        },
        height=400,
    )


def _in_words(frame: Frame, costs: Sequence[Cost]) -> str:
    """By what the deepest network of each size costs more than the shallowest, where both are measured."""
    _ = frame.translate
    count = len(COST_LAYERS)
    parts = []
    for k, parameters in enumerate(COST_PARAMETERS):
        line = costs[k * count : (k + 1) * count]
        if len(line) == count:
            parts.append(
                _("{parameters:,} parameters: {time} × the time, {memory} × the memory").format(
                    parameters=parameters,
                    time=quantity(line[-1].seconds / line[0].seconds),
                    memory=quantity(line[-1].bytes / line[0].bytes),
                )
            )
    return (
        _("{layers} layers against one. {parts}.").format(layers=COST_LAYERS[-1], parts="; ".join(parts))
        if parts
        else ""
    )
