"""Pictures of the bidirectional chapter: both passes over a text, and the way from an answer into its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.leak import Leak
from rnnviz.analysis.restoring import Restored
from rnnviz.figures.gates import gates_figure
from rnnviz.figures.kit import COLOURS, LEGEND, MONOSPACE, Drawn, Figure, character_axis, visible
from rnnviz.i18n import Translate, quantity
from rnnviz.runs.recording import Trace
from rnnviz.signals import SIGNALS

FORWARD, BACKWARD = COLOURS["training"], COLOURS["held_out"]
_UNREAD = "rgba(128, 136, 144, 0.82)"
_AROUND = 5  # characters on either side of a prediction
_ASIDE = 0.2  # of a state from its character, so that no line is drawn through another's mark
_PATH = 4.5
_FLOOR = 1e-5  # where the axis of gradients ends; what is exactly 0 is written there
_CEILING = 20.0


def passes_figures(trace: Trace, translate: Translate = str) -> list[Figure]:
    """Both passes over a text after 1, 2, … T steps: heatmaps of H, forward above and backward below.

    A column of both is the concatenated state. What a pass has not read yet is covered, and the columns
    that both have reached are framed.
    """
    _ = translate
    T = len(trace.text)
    above, below = (gates_figure(trace, "H", direction=direction, translate=_) for direction in trace.directions)
    (forward,), (backward,) = above["data"], below["data"]
    h = len(forward["y"])
    symbol = SIGNALS["H"].symbol
    for cells, name, first in ((forward, _("forward"), 0), (backward, _("backward"), h)):
        cells["customdata"] = np.broadcast_to(np.array(cells["y"], np.int64)[:, None] + first, cells["z"].shape)
        cells["hovertemplate"] = "<br>".join(
            (
                _("step %{x}"),
                _("{direction}, unit").format(direction=name) + " %{y}",
                _("concatenated") + " %{customdata}",
                f"{symbol} = %{{z:.3g}}<extra></extra>",
            )
        )
    axis = below["layout"]["yaxis"]
    layout = above["layout"] | {
        "margin": {"l": 46, "r": 8, "t": 8, "b": 36},
        "xaxis": below["layout"]["xaxis"] | {"anchor": "y2"},
        "yaxis": axis | {"domain": [0.52, 1], "title": {"text": _("forward →")}},
        "yaxis2": axis | {"domain": [0, 0.48], "title": {"text": _("← backward")}},
    }
    data = [forward, backward | {"yaxis": "y2", "showscale": False}]
    return [{"data": data, "layout": layout | {"shapes": _passed(s, T)}} for s in range(1, T + 1)]


def _passed(s: int, T: int) -> list[Drawn]:
    """After s steps: covers on what is unread, a cursor in each pass, and a frame around the complete columns."""
    cursor = {"fillcolor": "rgba(0, 0, 0, 0)", "line": {"width": 3}}
    shapes = [
        _columns(s, T, "y domain", fillcolor=_UNREAD, line={"width": 0}),
        _columns(0, T - s, "y2 domain", fillcolor=_UNREAD, line={"width": 0}),
        _columns(s - 1, s, "y domain", **cursor | {"line": {"width": 3, "color": FORWARD}}),
        _columns(T - s, T - s + 1, "y2 domain", **cursor | {"line": {"width": 3, "color": BACKWARD}}),
    ]
    complete = {"line": {"width": 2.5, "color": COLOURS["after"], "dash": "dot"}, "visible": 2 * s > T}
    return [*shapes, _columns(T - s, max(s, T - s), "paper", **complete)]


def _columns(first: int, end: int, yref: str, **look: Any) -> Drawn:
    return {"type": "rect", "x0": first - 0.5, "x1": end - 0.5, "y0": 0, "y1": 1, "yref": yref, **look}


def leak_figures(leak: Leak, one: Leak, translate: Translate = str) -> list[Figure]:
    """For each prediction of a text: the way from its answer back into it, and below what each character does to it.

    `one` is of a model of one direction on the same text.
    """
    _ = translate
    net = _network(leak.text)
    return [
        {"data": [*net, *_path(leak, t, _), *_bars(leak, one, t, _)], "layout": _leak_layout(leak, t, _)}
        for t in range(len(leak.text) - 1)
    ]


def _network(text: str) -> list[Drawn]:
    """Every character with its two states and its prediction, and the lines between them."""
    j = np.arange(len(text))
    lines: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for (dx, y), (to_dx, to_y) in (
        ((0, 0), (-_ASIDE, 1)),
        ((0, 0), (_ASIDE, 2)),
        ((-_ASIDE, 1), (0, 3)),
        ((_ASIDE, 2), (0, 3)),
    ):
        lines.append((np.stack([j + dx, j + to_dx]), np.broadcast_to([[y], [to_y]], (2, len(j)))))
    for dx, y in ((-_ASIDE, 1), (_ASIDE, 2)):
        lines.append((np.stack([j[:-1], j[1:]]) + dx, np.full((2, len(j) - 1), y)))
    xs, ys = (np.concatenate([_broken(pair[axis]) for pair in lines]) for axis in (0, 1))
    grey = COLOURS["reference"]
    marks = [(j - _ASIDE, 1, "triangle-right", FORWARD), (j + _ASIDE, 2, "triangle-left", BACKWARD)]
    return [
        {"type": "scatter", "x": xs, "y": ys, "mode": "lines", "line": {"color": grey, "width": 1}}
        | {"opacity": 0.5, "hoverinfo": "skip", "showlegend": False},
        *(
            {"type": "scatter", "x": at, "y": np.full(len(j), row), "mode": "markers"}
            | {"marker": {"symbol": sign, "size": 13, "color": colour}, "hoverinfo": "skip", "showlegend": False}
            for at, row, sign, colour in marks
        ),
        {"type": "scatter", "x": j, "y": np.full(len(j), 3), "mode": "markers", "hoverinfo": "skip"}
        | {"marker": {"symbol": "square", "size": 11, "color": grey}, "showlegend": False},
        {"type": "scatter", "x": j, "y": np.full(len(j), -0.3), "mode": "text", "text": visible(text)}
        | {"textfont": {"family": MONOSPACE, "size": 15}, "hoverinfo": "skip", "showlegend": False},
    ]


def _broken(ends: NDArray[Any]) -> NDArray[np.float64]:
    """Pairs of ends (2, n) as one line with gaps."""
    gaps = np.full((1, ends.shape[1]), np.nan)
    return np.concatenate([ends.astype(np.float64), gaps]).T.ravel()


def _path(leak: Leak, t: int, _: Translate) -> list[Drawn]:
    """From x_{t+1} through the backward states of t+1 and t into the prediction of step t."""
    states = leak.by_state[t]
    norms = [leak.by_input[t, t + 1], states[t + 1], states[t], 1.0]
    return [
        {
            "type": "scatter",
            "x": [t + 1, t + 1 + _ASIDE, t + _ASIDE, t],
            "y": [0, 2, 2, 3],
            "mode": "lines+markers",
            "name": _("the way of the answer"),
            "line": {"color": BACKWARD, "width": _PATH},
            "marker": {"size": 9, "symbol": "circle", "color": BACKWARD},
            "customdata": list(map(quantity, map(float, norms))),
            "hovertemplate": "‖dP / d·‖ = %{customdata}<extra></extra>",
            "showlegend": False,
        }
    ]


def _bars(leak: Leak, one: Leak, t: int, _: Translate) -> list[Drawn]:
    """‖dP_t/dx_j‖ of the model's past and future, and of the model of one direction, whose future is exactly 0."""
    j = np.arange(len(leak.text))
    series = (
        (_("both directions, what was read"), np.where(j <= t, leak.by_input[t], np.nan), FORWARD),
        (_("both directions, the future"), np.where(j > t, leak.by_input[t], np.nan), BACKWARD),
        (_("one direction"), one.by_input[t], COLOURS["reference"]),
    )
    return [
        {
            "type": "bar",
            "x": j,
            "y": y,
            "yaxis": "y2",
            "name": name,
            "offsetgroup": "one" if colour == COLOURS["reference"] else "both",
            "marker": {"color": colour},
            "hovertemplate": "‖dP / dx‖ = %{y:.3~g}<extra>" + name + "</extra>",
        }
        for name, y, colour in series
    ] + [_zeros(one, t, _)]


def _zeros(one: Leak, t: int, _: Translate) -> Drawn:
    """A 0 in place of each bar that a logarithmic axis cannot show, where those of one direction would stand."""
    j = np.flatnonzero(one.by_input[t] == 0)
    return {
        "type": "scatter",
        "x": j + _ASIDE,
        "y": np.full(len(j), _FLOOR * 2),
        "yaxis": "y2",
        "mode": "text",
        "text": ["0"] * len(j),
        "textfont": {"size": 15},
        "name": _("one direction"),
        "hovertemplate": _("exactly 0") + "<extra>%{fullData.name}</extra>",
        "showlegend": False,
    }


def _leak_layout(leak: Leak, t: int, _: Translate) -> dict[str, Any]:
    characters = visible(leak.text)
    rows = {"tickvals": [0, 1, 2, 3], "ticktext": ["x", "→ H", "← H", "P"]}
    return {
        "margin": {"l": 64, "r": 8, "t": 44, "b": 40},
        "barmode": "group",
        "bargap": 0.35,
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": character_axis(
            characters, _("character xⱼ"), range=_window(t, len(characters)), anchor="y2", zeroline=False
        ),
        "yaxis": {**rows, "domain": [0.42, 1], "range": [-0.6, 3.9], "showgrid": False, "zeroline": False},
        "yaxis2": {
            "domain": [0, 0.34],
            "type": "log",
            "range": [float(np.log10(_FLOOR)), float(np.log10(_CEILING))],
            "dtick": 2,
            "exponentformat": "power",
            "title": {"text": "‖dP / dxⱼ‖"},
            "zeroline": False,
        },
        "annotations": _said(leak, characters, t),
    }


def _window(t: int, length: int) -> list[float]:
    """The characters around a prediction, as many at the text's ends as in its middle."""
    wide = min(2 * _AROUND + 2, length)
    first = min(max(t - _AROUND, 0), length - wide)
    return [first - 0.5, first + wide - 0.5]


def _said(leak: Leak, characters: Sequence[str], t: int) -> list[Drawn]:
    """What is predicted and how likely, above the prediction; the gradient of the answer beside its character."""
    look = {"showarrow": False, "font": {"size": 14, "color": BACKWARD}, "bgcolor": "rgba(255, 255, 255, 0)"}
    return [
        {"x": t, "y": 3, "yshift": 20, "text": f"P({characters[t + 1]}) = {quantity(float(leak.true[t]))}", **look},
        {
            "x": t + 1,
            "y": 0.1,
            "xshift": 14,
            "xanchor": "left",
            "text": quantity(float(leak.answers[t])),
            **look,
        },
    ]


def restored_figure(curves: Mapping[str, Restored], guess: float, translate: Translate = str) -> Figure:
    """The share of masked characters restored against the step: each seed thin, their median thick.

    `guess` is the share that naming the commonest character restores.
    """
    _ = translate
    right = max(int(each.step[-1]) for each in curves.values())
    lines: list[Drawn] = [
        {"type": "scatter", "x": [0, right], "y": [guess, guess], "name": _("always the commonest character")}
        | {"mode": "lines", "line": {"color": COLOURS["reference"], "width": 1.8, "dash": "dash"}, "hoverinfo": "skip"}
    ]
    for (name, each), colour in zip(curves.items(), (BACKWARD, FORWARD), strict=True):
        thin = {"showlegend": False, "opacity": 0.6, "visible": len(each.accuracy) > 1}
        lines += [_accuracy(each.step, y, name, colour, 0.9) | thin for y in each.accuracy]
        lines.append(_accuracy(each.step, np.median(each.accuracy, axis=0), name, colour, 3))
    layout = {
        "margin": {"l": 64, "r": 12, "t": 44, "b": 44},
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": {"title": {"text": _("training step")}, "range": [0, right * 1.01], "zeroline": False},
        "yaxis": {"title": {"text": _("masked characters restored")}, "range": [0, 0.8], "tickformat": ".0%"},
    }
    return {"data": lines, "layout": layout}


def _accuracy(x: NDArray[Any], y: NDArray[Any], name: str, colour: str, width: float) -> Drawn:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "width": width},
        "hovertemplate": "%{x:,d}: %{y:.1%}<extra>" + name + "</extra>",
    }
