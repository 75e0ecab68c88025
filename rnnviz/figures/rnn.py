"""Pictures of the RNN's chapter: the state over a text, and the effects of carrying and of detaching it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rnnviz.cells import cell_of
from rnnviz.figures.gates import Order, colours_of, gates_figure
from rnnviz.figures.kit import COLOURS, MONOSPACE, Figure, visible
from rnnviz.figures.references import HIGH_GAP, edge_labels, room
from rnnviz.i18n import Translate, quantity
from rnnviz.runs.recording import Growth, Resets, Trace

LINE_LENGTH = 24
_HERE = "#F0A202"  # the frame around the current step
_TICKS = 8  # at most, on an axis of perplexities


def state_figures(trace: Trace, order: Order, translate: Translate = str) -> list[Figure]:
    """The hidden state as a heatmap, units down and characters across, with a frame around each step in turn."""
    figure = gates_figure(trace, "H", order=order, translate=translate)
    h = trace.signal("H").shape[1]
    return [_framed(figure, (t - 0.5, t + 0.5), (-0.5, h - 0.5)) for t in range(len(trace.text))]


def _framed(figure: Figure, x: tuple[float, float], y: tuple[float, float]) -> Figure:
    frame = {"type": "rect", "x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1], "line": {"width": 2, "color": _HERE}}
    return {**figure, "layout": {**figure["layout"], "shapes": [frame]}}


def unit_figures(trace: Trace, unit: int, translate: Translate = str) -> list[Figure]:
    """The text, LINE_LENGTH characters to a line, each on the colour of one unit's state after reading it.

    There is one picture for each step, with a frame around its character.
    """
    _ = translate
    values = trace.signal("H")[:, unit]
    lines, columns = math.ceil(len(values) / LINE_LENGTH), min(len(values), LINE_LENGTH)
    z = np.full(lines * columns, np.nan)
    z[: len(values)] = values
    characters = np.full(lines * columns, "", dtype=object)
    characters[: len(values)] = visible(trace.text)
    steps = np.arange(1, lines * columns + 1)
    hover = "<br>".join((_("step %{customdata}"), "%{text}", _("unit {unit}").format(unit=unit), "Hₜ = %{z:.3g}"))
    heatmap = {
        "type": "heatmap",
        "z": z.reshape(lines, columns),
        "text": characters.reshape(lines, columns).tolist(),
        "customdata": steps.reshape(lines, columns),
        "texttemplate": "%{text}",
        "textfont": {"family": MONOSPACE, "size": 16},
        "hovertemplate": hover + "<extra></extra>",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 3,
        "showscale": False,  # the heatmap above has the same scale
        **colours_of(cell_of(trace), "H"),
    }
    axis = {"visible": False, "fixedrange": True}
    layout = {"margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "xaxis": axis, "yaxis": {**axis, "autorange": "reversed"}}
    places = [divmod(t, columns) for t in range(len(values))]
    return [
        _framed({"data": [heatmap], "layout": layout}, (column - 0.5, column + 0.5), (line - 0.5, line + 0.5))
        for line, column in places
    ]


def reset_figure(
    training: Resets,
    held_out: Resets | None,
    translate: Translate = str,
    references: Mapping[str, float] | None = None,
) -> go.Figure:
    """Perplexity against how often the state is set to zero, and the line of a state that is carried on.

    The same of the held-out text is thin and dotted, and what its characters have under the `references` is beside
    the axis.
    """
    _ = translate
    x = list(training.by_window)
    hover = _("state set to zero every %{x} characters: perplexity %{y:.3~g}")
    looks = [(training, _("training"), 2.2, 7, "dash", "solid")]
    looks += [(held_out, _("held-out"), 1.4, 4, "dot", "dot")] if held_out else []
    figure, levels = go.Figure(), references or {}
    for name, value in levels.items():
        figure.add_scatter(
            x=[x[0], x[-1]], y=[value] * 2, name=name, mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": COLOURS["reference"], "width": 1, "dash": "dot"},
        )  # fmt: skip
    for resets, name, width, size, across, along in looks:
        figure.add_scatter(
            x=[x[0], x[-1]], y=[resets.carried] * 2, mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": COLOURS["after"], "width": width, "dash": across},
        )  # fmt: skip
        figure.add_scatter(
            x=list(resets.by_window), y=list(resets.by_window.values()), mode="lines+markers", showlegend=False,
            line={"color": COLOURS["before"], "width": width, "dash": along}, marker={"size": size},
            hovertemplate=hover + f"<extra>{name}</extra>",
        )  # fmt: skip
    kept = _("carried on: {value}").format(value=quantity(training.carried))
    _say(figure, math.log10(x[0]), math.log10(training.carried), kept, "after", -14)
    above = max(list(training.by_window.values())[:3])  # as far as the label reaches
    _say(figure, math.log10(x[0]), math.log10(above), _("set to zero"), "before", 14)
    if held_out:  # the curves fall to the right, so this corner is free
        figure.add_annotation(
            text=_("dotted: held-out"), showarrow=False, font={"size": 13},
            xref="paper", yref="paper", x=1, y=1, xanchor="right", yanchor="top",
        )  # fmt: skip
    y = [value for resets, *_look in looks for value in (resets.carried, *resets.by_window.values())]
    y += levels.values()
    limits = min(y) / 1.15, max(y) * 1.15
    labels = edge_labels(levels, limits, HIGH_GAP)
    for label in labels:
        figure.add_annotation(label)
    figure.update_layout(
        margin={"l": 56, "r": room(labels) if labels else 12, "t": 12, "b": 44},
        xaxis={"title": {"text": _("characters until the state is set to zero")}, "type": "log", "tickvals": x,
               "ticktext": [str(n) for n in x], "zeroline": False},
        yaxis={"title": {"text": _("perplexity")}, "type": "log", "tickformat": ",~r", "zeroline": False,
               "range": [math.log10(limit) for limit in limits], "tickvals": _ticks(*limits)},
    )  # fmt: skip
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two that may be close, at most eight."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ticks = [digit * 10.0**n for n in decades for digit in digits if low <= digit * 10.0**n <= high]
        if len(ticks) <= _TICKS:
            break
    return ticks


def growth_figure(growth: Growth, translate: Translate = str) -> go.Figure:
    """Two small pictures, one above the other: nodes of the graph, and milliseconds, at every training step."""
    _ = translate
    names = {"detached": _("with detach"), "attached": _("without")}
    colours = {"detached": "after", "attached": "held_out"}
    pictures: tuple[tuple[Mapping[str, Sequence[float]], str, str], ...] = (
        (growth.nodes, _("nodes"), _("step %{x}: %{y:,} nodes in the graph")),
        (growth.milliseconds, _("ms per step"), _("step %{x}: %{y:.3~g} ms")),
    )
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    for row, (values, title, hover) in enumerate(pictures, start=1):
        for way, name in names.items():
            y = list(values[way])
            figure.add_scatter(
                x=list(range(1, len(y) + 1)), y=y, mode="lines+markers", name=name, showlegend=False,
                line={"color": COLOURS[colours[way]], "width": 2.2}, marker={"size": 4},
                hovertemplate=hover + f"<extra>{name}</extra>", row=row, col=1,
            )  # fmt: skip
            if row == 1:
                _say(figure, 0.6 * len(y), y[int(0.6 * len(y))], name, colours[way], 14, "right")
        figure.update_yaxes(title={"text": title}, rangemode="tozero", tickformat=",~r", zeroline=False, row=row, col=1)
    figure.update_xaxes(title={"text": _("training step")}, zeroline=False, row=2, col=1)
    figure.update_layout(margin={"l": 64, "r": 12, "t": 12, "b": 44})
    return figure


def _say(figure: go.Figure, x: float, y: float, text: str, colour: str, shift: int, anchor: str = "left") -> None:
    """Add a label beside a line, instead of a legend; positions on log axes are exponents."""
    font = {"color": COLOURS[colour], "size": 13}
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, yshift=shift, xanchor=anchor, font=font)
