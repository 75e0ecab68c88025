"""Pictures of the LSTM's chapter: one unit's memory and its hidden state, and how long a memory lasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.side_by_side import BIASES
from rnnviz.figures.kit import COLOURS, LEGEND, Drawn, Figure, character_axis, visible
from rnnviz.i18n import Translate, quantity
from rnnviz.runs.recording import Trace
from rnnviz.signals import SIGNALS

# One colour for each bias; they differ for the three common kinds of colour blindness.
BIAS_COLOURS = {0.0: COLOURS["held_out"], 1.0: COLOURS["before"], 3.0: COLOURS["training"]}
LEAST_KEPT = 1e-4  # the lower end of the axis


def memory_figure(trace: Trace, unit: int, translate: Translate = str) -> Figure:
    """C_t, O_t, and tanh(C_t) with H_t of one unit over the text, one below the other."""
    _ = translate
    C, O, H = (trace.signal(name)[:, unit] for name in ("C", "O", "H"))  # noqa: E741  the equations' own symbol
    lines = [
        _line(C, "C", "y", trace),
        _line(O, "O", "y2", trace) | {"fill": "tozeroy"},
        _line(np.tanh(C), "C", "y3", trace, name="tanh Cₜ") | {"line": {"color": SIGNALS["C"].colour, "dash": "dot"}},
        _line(H, "H", "y3", trace),
    ]
    axis: dict[str, Any] = {"zeroline": True, "nticks": 4}
    bounded = {**axis, "range": [-1.08, 1.08], "tickvals": [-1, 0, 1]}
    characters = visible(trace.text)
    layout = {
        "margin": {"l": 56, "r": 8, "t": 30, "b": 40},
        "hovermode": "x unified",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": character_axis(characters, _("character read at step t"), type="category", ticks="", anchor="y3"),
        "yaxis": {**axis, "domain": [0.6, 1], "title": {"text": "Cₜ"}},
        "yaxis2": {**axis, "domain": [0.4, 0.54], "range": [0, 1.05], "tickvals": [0, 1], "title": {"text": "Oₜ"}},
        "yaxis3": {**bounded, "domain": [0, 0.34], "title": {"text": "Hₜ"}},
        "meta": {"characters": characters},
    }
    return {"data": lines, "layout": layout}


def _line(values: NDArray[Any], signal: str, axis: str, trace: Trace, name: str = "") -> Drawn:
    name = name or SIGNALS[signal].symbol
    return {
        "type": "scatter",
        "x": [f"{t + 1}  {character}" for t, character in enumerate(visible(trace.text))],
        "y": values,
        "yaxis": axis,
        "name": name,
        "mode": "lines",
        "line": {"color": SIGNALS[signal].colour, "width": 2.2},
        "hovertemplate": "%{y:.3~g}<extra>" + name + "</extra>",
    }


def retention_figure(kept: NDArray[np.float64], biases: Sequence[float] = BIASES, translate: Translate = str) -> Figure:
    """The share of a memory that is left after t steps: sigma(b_f)^t for some biases, and as measured in `kept`."""
    _ = translate
    t = np.arange(len(kept))
    colour = SIGNALS["F"].colour
    units = [
        _kept_line(t, kept[:, u], _("unit {number}").format(number=u), {"color": colour, "width": 0.8}, _)
        | {"opacity": 0.4, "showlegend": False}
        for u in range(kept.shape[1])
    ]
    middle = _kept_line(
        t, np.median(kept, axis=1), _("measured, median of the units"), {"color": colour, "width": 3.4}, _
    )
    constant = [
        _kept_line(
            t,
            (1 / (1 + np.exp(-b))) ** t,
            _("b_f = {bias}: {gate} each step").format(bias=f"{b:g}", gate=quantity(1 / (1 + np.exp(-b)))),
            {"color": BIAS_COLOURS[b], "width": 2.4, "dash": "dash"},
            _,
        )
        for b in biases
    ]
    layout = {
        "margin": {"l": 64, "r": 12, "t": 50, "b": 44},
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": {"title": {"text": _("steps later")}, "range": [0, len(t) - 1], "zeroline": False},
        "yaxis": {
            "title": {"text": _("share of the memory that is left")},
            "type": "log",
            "range": [float(np.log10(LEAST_KEPT)), 0.05],
            "dtick": 1,
            "tickformat": ",~r",
            "zeroline": False,
        },
    }
    return {"data": [*units, *constant, middle], "layout": layout}


def _kept_line(t: NDArray[Any], y: NDArray[Any], name: str, line: dict[str, Any], _: Translate) -> Drawn:
    return {
        "type": "scatter",
        "x": t,
        "y": np.where(y >= LEAST_KEPT / 10, y, np.nan),
        "name": name,
        "mode": "lines",
        "line": line,
        "hovertemplate": _("%{x} steps later: %{y:.3~g} is left") + f"<extra>{name}</extra>",
    }
