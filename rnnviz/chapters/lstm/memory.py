"""Memory cell and hidden state, side by side on one unit."""

from __future__ import annotations

import numpy as np
import streamlit as st

from rnnviz.analysis.reading import Reading
from rnnviz.figures.kit import visible
from rnnviz.figures.lstm import memory_figure
from rnnviz.i18n import quantity
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.frame import Frame
from rnnviz.ui.limits import choose_reading
from rnnviz.ui.pictures import pictures


def memory(frame: Frame) -> None:
    """C_t, O_t and H_t of one unit, at first the one whose memory cell grows largest."""
    _ = frame.translate
    place = st.container()
    chosen = choose_reading(frame, "lstm")
    if chosen is None:
        return
    _run, reading = chosen
    units = range(reading.hidden_size)
    largest = int(np.abs(reading.trace.signal("C")).max(axis=0).argmax())
    names = [_("unit {number}").format(number=unit) for unit in units]
    with place:
        pictures(
            [_chart(frame, reading, unit) for unit in units],
            key="memory",
            slider=Slider("unit", _("Unit"), [str(unit) for unit in units], names, largest),
        )


def _chart(frame: Frame, reading: Reading, unit: int) -> Chart:
    _ = frame.translate
    C, O, H = (reading.trace.signal(name)[:, unit] for name in ("C", "O", "H"))  # noqa: E741  the equations' own symbol
    return Chart(
        memory_figure(reading.trace, unit, _),
        name="memory",
        description=_(
            "Unit {unit}: the memory cell from {C_low} to {C_high}, the hidden state from {low} to {high}."
        ).format(
            unit=unit,
            C_low=quantity(float(C.min())),
            C_high=quantity(float(C.max())),
            low=quantity(float(H.min())),
            high=quantity(float(H.max())),
        ),
        table={_("character"): visible(reading.trace.text), "C": C, "O": O, "H": H},
        height=460,
    )
