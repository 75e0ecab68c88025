"""Pictures: arrays and reports in, Plotly figures out. No Streamlit, no torch.

A figure carries no background and no font colour: the page it stands on gives both. What moves
while a model trains is made many times a second, as plain dictionaries: Plotly's own classes take
ten times as long to check what `tests/test_figures.py` lets them check once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import get_colorscale
from plotly.subplots import make_subplots

from rnnviz.i18n import Translate
from rnnviz.recording import Trace, order_by_similarity
from rnnviz.reports import EpochReport, GlobalNorms
from rnnviz.signals import SIGNALS, equation

Order = Literal["similarity", "mean", "index"]
Figure = dict[str, Any]  # `data` and `layout` as in Plotly's JSON, numbers as arrays
# The measurements of a run have colours of their own, as its signals do.
COLOURS = {
    "training": "#3274B5",
    "held_out": "#C8553D",
    "before": "#B07D12",
    "after": "#1B8A6B",
    "reference": "#808890",
}
MAX_POINTS = 400
MONOSPACE = "'Noto Sans Mono CJK SC', 'Sarasa Mono SC', ui-monospace, Menlo, Consolas, monospace"
_SEQUENTIAL, _DIVERGING = get_colorscale("Cividis"), get_colorscale("RdBu_r")


def visible(text: str) -> list[str]:
    """The characters of a text as they stand on an axis: a space is ␣, a line break ↵."""
    return [{" ": "␣", "\n": "↵", "\t": "⇥"}.get(character, character) for character in text]


def decimate(x: NDArray[Any], y: NDArray[Any], limit: int = MAX_POINTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most `limit` points of a line that look like all of them: each stretch's lowest and highest."""
    n = len(x)
    if n <= limit:
        return x, y
    size = -(-n // (limit // 2 - 1))  # the last stretch repeats the last point until it is as long
    starts = np.arange(0, n, size)
    stretches = np.pad(y, (0, len(starts) * size - n), mode="edge").reshape(-1, size)
    chosen = np.concatenate([[0, n - 1], starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1)])
    chosen = np.unique(chosen.clip(max=n - 1))
    return x[chosen], y[chosen]


def perplexity_figure(
    epochs: Sequence[EpochReport], vocab_size: int, total_epochs: int, translate: Translate = str
) -> Figure:
    """Perplexity against epoch on a log axis: training, held-out, and V, what a uniform guess gets."""
    _ = translate
    x = np.array([report.epoch for report in epochs], dtype=np.float64)
    lines = [_reference(vocab_size, total_epochs, _("uniform, V = {size:,}").format(size=vocab_size))]
    series = [(_("training"), "training", [r.perplexity for r in epochs])]
    if any(report.held_out_perplexity is not None for report in epochs):
        held_out = [np.nan if r.held_out_perplexity is None else r.held_out_perplexity for r in epochs]
        series.append((_("held-out"), "held_out", held_out))
    top = float(vocab_size)
    for name, colour, values in series:
        y = np.array(values, dtype=np.float64)
        finite = np.isfinite(y)
        top = max(top, float(y[finite].max(initial=1)))
        lines.append(_line(x[finite], y[finite], name, COLOURS[colour], _("epoch %{x}: perplexity %{y:.3~g}")))
    return {"data": lines, "layout": _layout(_("epoch"), _("perplexity"), total_epochs, (1.0, top * 1.3))}


def gradient_norm_figure(
    norms: GlobalNorms, theta: float, steps_per_epoch: int, total_epochs: int, translate: Translate = str
) -> Figure:
    """The global gradient norm of every step before and after clipping, and the line at theta."""
    _ = translate
    x = norms.step / steps_per_epoch
    lines = [_reference(theta, total_epochs, _("θ = {theta:g}").format(theta=theta))] if theta else []
    for name, colour, y, width in ((_("before"), "before", norms.before, 3.6), (_("after"), "after", norms.after, 1.6)):
        # where nothing was clipped, the thin line lies on the thick one
        lines.append(_line(*decimate(x, y), name, COLOURS[colour], _("epoch %{x:.2f}: norm %{y:.3~g}"), width))
    values = np.concatenate([norms.before, norms.after, [theta] if theta else []])
    values = values[np.isfinite(values) & (values > 0)]
    limits = (float(values.min()) / 1.5, float(values.max()) * 1.5) if len(values) else (0.001, 1.0)
    return {"data": lines, "layout": _layout(_("epoch"), _("gradient norm ‖g‖"), total_epochs, limits)}


def gates_figure(
    trace: Trace,
    name: str,
    layer: int = 1,
    direction: str = "forward",
    order: Order = "similarity",
    translate: Translate = str,
) -> Figure:
    """One signal as a heatmap: units down, the characters of the text across.

    Gates are on a sequential scale fixed to [0, 1], states on a diverging one around 0, so that
    two pictures compare. Raises KeyError where the trace has no such signal.
    """
    _ = translate
    signal, values = SIGNALS[name], trace.signal(name, layer, direction)
    units = unit_order(values, order)
    characters = visible(trace.text)
    hover = "<br>".join(
        (
            _("step %{x}"),
            _("unit %{y}"),
            f"{signal.symbol} = %{{z:.3f}}",
            equation(trace.cell, name, trace.reset, trace.activation),
        )
    )
    heatmap = {
        "type": "heatmap",
        "z": np.ascontiguousarray(values.T[units]),
        "x": [f"{t + 1}  {character}" for t, character in enumerate(characters)],
        "y": [str(unit) for unit in units],
        "zmin": signal.low,
        "zmax": signal.high,
        "colorscale": _SEQUENTIAL if signal.is_gate else _DIVERGING,
        "hovertemplate": hover + "<extra></extra>",
        "colorbar": {"thickness": 12, "outlinewidth": 0, "title": {"text": signal.symbol}, "nticks": 5},
    }
    layout = {
        "margin": {"l": 46, "r": 8, "t": 8, "b": 36},
        "xaxis": {
            "type": "category",
            "tickmode": "array",
            "tickvals": list(range(len(characters))),
            "ticktext": characters,
            "tickangle": 0,
            "tickfont": {"family": MONOSPACE, "size": 13},
            "showgrid": False,
            "ticks": "",
            "title": {"text": _("character read at step t")},
        },
        "yaxis": {
            "type": "category",
            "showticklabels": False,
            "ticks": "",
            "title": {"text": _("unit")},
            "autorange": "reversed",
        },
        "meta": {"characters": characters},
    }
    return {"data": [heatmap], "layout": layout}


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


def standalone(figure: go.Figure | Figure) -> bytes:
    """A figure as an HTML page that needs no network."""
    page: str = go.Figure(figure).update_layout(template="plotly_white").to_html(include_plotlyjs=True)
    return page.encode()


def unit_order(values: NDArray[np.float32], order: Order) -> NDArray[np.intp]:
    """The units of (T, h) in the order in which a heatmap shows them."""
    if order == "similarity":
        return order_by_similarity(values)
    if order == "mean":
        return np.argsort(-values.mean(axis=0), kind="stable")
    return np.arange(values.shape[1])


def _line(x: NDArray[Any], y: NDArray[Any], name: str, colour: str, hover: str, width: float = 2.2) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines+markers" if len(x) < 30 else "lines",
        "line": {"color": colour, "width": width},
        "marker": {"size": 5},
        "hovertemplate": hover + "<extra>" + name + "</extra>",
    }


def _reference(y: float, right: float, name: str) -> dict[str, Any]:
    """A dashed horizontal line from the left edge to the right one."""
    return {
        "type": "scatter",
        "x": [0, right],
        "y": [y, y],
        "name": name,
        "mode": "lines",
        "line": {"color": COLOURS["reference"], "width": 1.8, "dash": "dash"},
        "hoverinfo": "skip",
    }


def _layout(x: str, y: str, right: float, limits: tuple[float, float]) -> dict[str, Any]:
    return {
        "margin": {"l": 56, "r": 12, "t": 8, "b": 40},
        "hovermode": "closest",
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
        "xaxis": {"title": {"text": x}, "range": [0, right * 1.01], "zeroline": False},
        "yaxis": {
            "title": {"text": y},
            "type": "log",
            "range": [float(np.log10(limit)) for limit in limits],
            "tickformat": ",~r",
            "dtick": "D2" if limits[1] < 1e4 * limits[0] else 1,  # 1, 2, 5, 10, … or powers of ten
            "zeroline": False,
        },
    }
