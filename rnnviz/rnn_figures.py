"""Pictures of the RNN's chapter: the state over a text, what carrying it is worth, what detaching saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rnnviz.figures import COLOURS, MONOSPACE, Order, gates_figure, visible
from rnnviz.i18n import Translate, quantity
from rnnviz.recording import Growth, Trace

LINE_LENGTH = 24
_HERE = "#F0A202"  # the frame around the step one stands at


def state_limit(trace: Trace) -> float:
    """Where the colour scale of the state ends: at 1, or for ReLU, which has no bound, at the largest value."""
    return max(1.0, float(np.abs(trace.signal("H")).max()))


def state_figure(trace: Trace, t: int, order: Order, translate: Translate = str) -> go.Figure:
    """The hidden state as a heatmap, units down and characters across, with a frame around step t."""
    figure = go.Figure(gates_figure(trace, "H", order=order, translate=translate))
    limit = state_limit(trace)
    figure.data[0].update(zmin=-limit, zmax=limit)
    h = trace.signal("H").shape[1]
    figure.add_shape(type="rect", x0=t - 0.5, x1=t + 0.5, y0=-0.5, y1=h - 0.5, line={"width": 2, "color": _HERE})
    return figure


def unit_figure(trace: Trace, unit: int, t: int, translate: Translate = str) -> go.Figure:
    """The text itself, LINE_LENGTH characters a line, each on the colour of one unit's state after reading it."""
    _ = translate
    values, limit = trace.signal("H")[:, unit], state_limit(trace)
    lines, columns = math.ceil(len(values) / LINE_LENGTH), min(len(values), LINE_LENGTH)
    z = np.full(lines * columns, np.nan)
    z[: len(values)] = values
    characters = np.full(lines * columns, "", dtype=object)
    characters[: len(values)] = visible(trace.text)
    steps = np.arange(1, lines * columns + 1)
    hover = "<br>".join((_("step %{customdata}"), "%{text}", _("unit {unit}").format(unit=unit), "Hₜ = %{z:.3f}"))
    figure = go.Figure(
        go.Heatmap(
            z=z.reshape(lines, columns),
            text=characters.reshape(lines, columns),
            customdata=steps.reshape(lines, columns),
            texttemplate="%{text}",
            textfont={"family": MONOSPACE, "size": 16},
            hovertemplate=hover + "<extra></extra>",
            hoverongaps=False,
            zmin=-limit,
            zmax=limit,
            colorscale="RdBu_r",
            xgap=1,
            ygap=3,
            showscale=False,  # the heatmap above has the same scale
        )
    )
    line, column = divmod(t, columns)
    figure.add_shape(
        type="rect", x0=column - 0.5, x1=column + 0.5, y0=line - 0.5, y1=line + 0.5,
        line={"width": 2, "color": _HERE},
    )  # fmt: skip
    axis = {"visible": False, "fixedrange": True}
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8}, xaxis=axis, yaxis={**axis, "autorange": "reversed"})
    return figure


def reset_figure(carried: float, by_window: Mapping[int, float], translate: Translate = str) -> go.Figure:
    """Perplexity against how often the state is set to zero, and the line of a state that is carried on."""
    _ = translate
    x, y = list(by_window), list(by_window.values())
    figure = go.Figure()
    figure.add_scatter(
        x=[x[0], x[-1]], y=[carried, carried], mode="lines", hoverinfo="skip", showlegend=False,
        line={"color": COLOURS["after"], "width": 2, "dash": "dash"},
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=y, mode="lines+markers", showlegend=False,
        line={"color": COLOURS["held_out"], "width": 2.2}, marker={"size": 7},
        hovertemplate=_("state set to zero every %{x} characters: perplexity %{y:.3~g}") + "<extra></extra>",
    )  # fmt: skip
    kept = _("carried on: {value}").format(value=quantity(carried))
    _say(figure, math.log10(x[0]), math.log10(carried), kept, "after", -14)
    _say(figure, math.log10(x[0]), math.log10(y[0]), _("set to zero"), "held_out", 14)
    figure.update_layout(
        margin={"l": 56, "r": 12, "t": 12, "b": 44},
        xaxis={"title": {"text": _("characters until the state is set to zero")}, "type": "log", "tickvals": x,
               "ticktext": [str(n) for n in x], "zeroline": False},
        yaxis={"title": {"text": _("perplexity")}, "type": "log", "tickformat": ",~r", "zeroline": False,
               **({"dtick": "D2"} if max(y) > 3 * min(carried, *y) else {"nticks": 8})},
    )  # fmt: skip
    return figure


def growth_figure(growth: Growth, translate: Translate = str) -> go.Figure:
    """Two small pictures above each other: nodes of the graph, and milliseconds, at every training step."""
    _ = translate
    names = {"detached": _("with detach"), "kept": _("without")}
    colours = {"detached": "after", "kept": "held_out"}
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
        figure.update_yaxes(title={"text": title}, rangemode="tozero", zeroline=False, row=row, col=1)
    figure.update_xaxes(title={"text": _("training step")}, zeroline=False, row=2, col=1)
    figure.update_layout(margin={"l": 64, "r": 12, "t": 12, "b": 44})
    return figure


def _say(figure: go.Figure, x: float, y: float, text: str, colour: str, shift: int, anchor: str = "left") -> None:
    """A label beside a line instead of a legend; positions on log axes are exponents."""
    font = {"color": COLOURS[colour], "size": 13}
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, yshift=shift, xanchor=anchor, font=font)
