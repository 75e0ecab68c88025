"""A recording as heatmaps: units down, characters across, one signal each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from rnnviz.analysis.holding import true_probabilities
from rnnviz.analysis.reading import Reading
from rnnviz.cells import Cell, cell_of
from rnnviz.figures.kit import (
    COLOURS,
    DIVERGING,
    LEGEND,
    SATURATION,
    SEQUENTIAL,
    UNBOUNDED,
    Figure,
    character_axis,
    visible,
)
from rnnviz.i18n import Translate
from rnnviz.runs.recording import Trace, order_by_similarity
from rnnviz.signals import SIGNALS, in_direction

Order = Literal["similarity", "mean", "index"]


def gates_figure(
    trace: Trace,
    name: str,
    layer: int = 1,
    direction: str = "forward",
    order: Order | NDArray[np.intp] = "similarity",
    translate: Translate = str,
) -> Figure:
    """One signal as a heatmap: units down, the characters of the text across.

    `order` may be the units themselves, so that two heatmaps have the same rows. Colours are those of
    `colours_of`, so that pictures can be compared. Raises KeyError where the trace has no such signal.
    """
    values = trace.signal(name, layer, direction)
    return signal_figure(cell_of(trace), name, values, visible(trace.text), direction, order, translate)


def signal_figure(
    cell: Cell,
    name: str,
    values: NDArray[Any],
    labels: Sequence[str],
    direction: str = "forward",
    order: Order | NDArray[np.intp] = "similarity",
    translate: Translate = str,
) -> Figure:
    """The same for a signal's values (T, h) over anything with T labels, such as characters."""
    _ = translate
    signal = SIGNALS[name]
    units = unit_order(values, order) if isinstance(order, str) else order
    hover = "<br>".join(
        (
            _("step %{x}"),
            _("unit %{y}"),
            f"{signal.symbol} = %{{z:.3g}}",
            in_direction(cell.equations[name], direction),
        )
    )
    heatmap = {
        "type": "heatmap",
        "z": np.ascontiguousarray(values.T[units]),
        "x": [f"{t + 1}  {label}" for t, label in enumerate(labels)],
        "y": [str(unit) for unit in units],
        "hovertemplate": hover + "<extra></extra>",
        **colours_of(cell, name),
    }
    layout = {
        "margin": {"l": 46, "r": 8, "t": 8, "b": 36},
        "xaxis": character_axis(labels, _("character read at step t"), type="category", ticks=""),
        "yaxis": {
            "type": "category",
            "showticklabels": False,
            "ticks": "",
            "title": {"text": _("unit")},
            "autorange": "reversed",
        },
        "meta": {"characters": labels},
    }
    return {"data": [heatmap], "layout": layout}


def held_figure(
    trained: Reading, held: Reading, name: str, since: int, units: NDArray[np.intp], translate: Translate = str
) -> Figure:
    """A state with gates held from step `since` on, and below it the probabilities of the true next characters."""
    _ = translate
    chances = {
        _("as trained"): (true_probabilities(trained), COLOURS["reference"]),
        _("gates held"): (true_probabilities(held), COLOURS["held_out"]),
    }
    figure = above_chances(gates_figure(held.trace, name, order=units, translate=_), chances, _)
    line = {"color": COLOURS["held_out"], "width": 2, "dash": "dot"}
    here = {"type": "line", "x0": since - 0.5, "x1": since - 0.5, "y0": 0, "y1": 1, "yref": "paper", "line": line}
    return {"data": figure["data"], "layout": figure["layout"] | {"shapes": [here]}}


def chance_line(x: Any, y: NDArray[np.float32], name: str, colour: str, axis: str) -> dict[str, Any]:
    """A line of probabilities below a heatmap over a text, at its first characters."""
    return {
        "type": "scatter",
        "x": x[: len(y)],
        "y": y,
        "yaxis": axis,
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "width": 2},
        "hovertemplate": "%{x}<br>P = %{y:.3~g}<extra>" + name + "</extra>",
    }


def above_chances(
    heatmap: Figure, chances: Mapping[str, tuple[NDArray[np.float32], str]], translate: Translate = str
) -> Figure:
    """A heatmap over a text, and below it named lines with colours: probabilities of the true next characters."""
    _ = translate
    (cells,), layout = heatmap["data"], heatmap["layout"]
    cells = cells | {"colorbar": cells["colorbar"] | {"len": 0.66, "y": 1, "yanchor": "top"}}
    lines = [chance_line(cells["x"], y, name, colour, "y2") for name, (y, colour) in chances.items()]
    title = {"text": _("P of the next")}
    layout = layout | {
        "margin": {"l": 56, "r": 8, "t": 30, "b": 36},
        "showlegend": True,
        "legend": LEGEND,
        "hovermode": "closest",
        "xaxis": layout["xaxis"] | {"anchor": "y2"},
        "yaxis": layout["yaxis"] | {"domain": [0.36, 1]},
        "yaxis2": {"domain": [0, 0.3], "range": [-0.02, 1.02], "nticks": 3, "zeroline": False, "title": title},
    }
    return {"data": [cells, *lines], "layout": layout}


def colours_of(cell: Cell, name: str) -> dict[str, Any]:
    """The colours of a signal's heatmap, which never depend on the recorded values, and the bar that explains them.

    Gates have a sequential scale from 0 to 1, states a diverging one from -1 to 1. A signal without
    bounds has a diverging one that distinguishes small values as well as large ones. Beyond ±SATURATION
    its colour no longer changes, and the bar says so.
    """
    signal = SIGNALS[name]
    bar = {"thickness": 12, "outlinewidth": 0, "title": {"text": signal.symbol}}
    if name not in cell.unbounded:
        scale = SEQUENTIAL if signal.is_gate else DIVERGING
        return {"zmin": signal.low, "zmax": signal.high, "colorscale": scale, "colorbar": {**bar, "nticks": 5}}
    end = SATURATION
    ticks = {
        "tickvals": [-end, -end / 2, 0, end / 2, end],
        "ticktext": [f"≤ −{end:g}", f"−{end / 2:g}", "0", f"{end / 2:g}", f"≥ {end:g}"],
    }
    return {"zmin": -end, "zmax": end, "colorscale": UNBOUNDED, "colorbar": {**bar, **ticks}}


def gates_page(trace: Trace) -> str:
    """Every signal of a recording, one heatmap below the other, as an HTML page that needs no network."""
    keys = [key.split(".") for key in trace.signals]
    figures = [go.Figure(gates_figure(trace, name, int(layer.removeprefix("layer")), d)) for layer, d, name in keys]
    several = trace.num_layers * len(trace.directions) > 1
    titles = [" ".join((name, layer, direction)) if several else name for layer, direction, name in keys]
    spacing = min(0.02, 0.2 / len(figures))
    page = make_subplots(rows=len(figures), cols=1, shared_xaxes=True, vertical_spacing=spacing, row_titles=titles)
    for row, figure in enumerate(figures, start=1):
        page.add_trace(figure.data[0].update(showscale=False), row=row, col=1)
    page.update_yaxes(showticklabels=False, autorange="reversed")
    axis = figures[0].layout.xaxis
    page.update_xaxes(tickvals=axis.tickvals, ticktext=axis.ticktext, tickangle=0)
    page.update_layout(height=80 + 240 * len(figures), template="plotly_white", title_text=trace.cell.upper())
    html: str = page.to_html(include_plotlyjs=True)
    return html


def unit_order(values: NDArray[np.float32], order: Order) -> NDArray[np.intp]:
    """The units of (T, h) in the order in which a heatmap shows them."""
    if order == "similarity":
        return order_by_similarity(values)
    if order == "mean":
        return np.argsort(-values.mean(axis=0), kind="stable")
    return np.arange(values.shape[1])
