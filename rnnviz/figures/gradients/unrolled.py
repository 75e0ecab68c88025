"""Pictures of an unrolled RNN: the network, one step's product, and the sum over the steps. No Streamlit, no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.unrolled import Unrolled
from rnnviz.figures.gradients.kit import GRADIENT, GREY
from rnnviz.figures.kit import COLOURS, LEGEND, MONOSPACE, Drawn, Figure, subscript, visible
from rnnviz.i18n import Translate, quantity

_GAP, _MATRIX = 0.018, 4.5  # the gap between the rows of a product; the height of its matrix in those of a vector
Point = tuple[float, float]


def unrolled_figure(u: Unrolled, text: str, t: int, translate: Translate = str) -> Figure:
    """The network unrolled over text[:-1], and the gradient on its way back from the end to step t (from 1)."""
    _ = translate
    characters, T = visible(text), u.T
    steps, reached = range(1, T + 1), range(t, T + 1)
    norms = np.linalg.norm(u.dH, axis=1)
    states = _nodes(
        [0, *steps],
        1.0,
        [f"H{subscript(k)}" for k in range(T + 1)],
        [GRADIENT if k in reached else GREY for k in range(T + 1)],
        [_("H₀ = 0, where reading begins")] + [_describe_step(u, characters, k, _) for k in steps],
    )
    losses = _nodes(
        steps,
        2.0,
        [f"ℓ{subscript(k)}" for k in steps],
        [COLOURS["held_out"]] * T,
        [
            _("step {t}: “{target}” should come next<br>−log P = {loss} nats").format(
                t=k, target=characters[k], loss=quantity(float(u.loss[k - 1]))
            )
            for k in steps
        ],
    )
    labels = [_text((k, 0.0), characters[k - 1], 17, MONOSPACE) for k in steps]
    labels += [_text((k, 2.42), f"→ {characters[k]}", 14, MONOSPACE) for k in steps]
    labels += [_text((k, 0.62), quantity(float(norms[k - 1])), 11, xshift=2, xanchor="left") for k in reached]
    layout = {
        "annotations": _forward_arrows(T) + _backward_arrows(u, t) + labels,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {"visible": False, "range": [-0.4, T + 0.6], "fixedrange": True},
        "yaxis": {"visible": False, "range": [-0.3, 2.65], "fixedrange": True},
    }
    return {"data": [states, losses], "layout": layout}


def _forward_arrows(T: int) -> list[Drawn]:
    """From each character to its state, from state to state, from each state to its loss."""
    return [
        _arrow(start, end, GREY)
        for k in range(1, T + 1)
        for start, end in (((k, 0.22), (k, 0.76)), ((k - 0.74, 1.0), (k - 0.26, 1.0)), ((k, 1.24), (k, 1.78)))
    ]


def _backward_arrows(u: Unrolled, t: int) -> list[Drawn]:
    """From each loss reached so far, and from state to state, with a width that grows with the gradient's norm."""
    widest = float(np.linalg.norm(u.dH, axis=1).max()) or 1.0
    arrows = []
    for k in range(t, u.T + 1):
        width = 1.5 + 4.5 * float(np.linalg.norm(u.carried[k - 1])) / widest
        arrows.append(_arrow((k + 0.13, 1.78), (k + 0.13, 1.24), GRADIENT, 2.0))
        arrows.append(_arrow((k - 0.26, 1.13), (k - 0.74, 1.13), GRADIENT, width, faint=k > t))
    return arrows


def _describe_step(u: Unrolled, characters: list[str], k: int, _: Translate) -> str:
    lines = (
        _("step {t}, reads “{character}”").format(t=k, character=characters[k - 1]),
        f"‖H{subscript(k)}‖ = {quantity(float(np.linalg.norm(u.H[k])))}",
        f"‖dL/dH{subscript(k)}‖ = {quantity(float(np.linalg.norm(u.dH[k - 1])))}",
        _("of it from its own loss: {norm}").format(norm=quantity(float(np.linalg.norm(u.own[k - 1])))),
    )
    return "<br>".join(lines)


def _nodes(x: Sequence[float], y: float, labels: list[str], colours: list[str], hover: list[str]) -> Drawn:
    return {
        "type": "scatter",
        "x": list(x),
        "y": [y] * len(labels),
        "mode": "markers+text",
        "text": labels,
        "textfont": {"color": "#FFFFFF", "size": 13},
        "marker": {"size": 34, "color": colours},
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _text(at: Point, text: str, size: int, family: str | None = None, **more: Any) -> Drawn:
    font = {"size": size, "family": family} if family else {"size": size}
    return {"x": at[0], "y": at[1], "text": text, "showarrow": False, "font": font, **more}


def _arrow(start: Point, end: Point, colour: str, width: float = 1.2, *, faint: bool = False) -> Drawn:
    return {
        "ax": start[0],
        "ay": start[1],
        "x": end[0],
        "y": end[1],
        "axref": "x",
        "ayref": "y",
        "text": "",
        "showarrow": True,
        "arrowhead": 2,
        "arrowsize": max(0.6, 1.2 - 0.1 * width),
        "arrowwidth": width,
        "arrowcolor": colour,
        "opacity": 0.45 if faint else 1.0,
    }


def product_figure(u: Unrolled, t: int, translate: Translate = str) -> Figure:
    """One step of BPTT, factor by factor, as rows of h numbers: from dL/dH_t (t from 1) to dL/dH_{t-1}."""
    _ = translate
    rows = _rows(u, t, _)
    largest = max(float(np.abs(rows[k][1]).max()) for k in (0, 2, 4, 5, 6)) or 1.0
    limits = {"⊙": (0.0, 1.0), "·": (-float(np.abs(u.W_hh).max()), float(np.abs(u.W_hh).max()))}
    traces, annotations, axes = [], [], {}
    for k, ((name, values), domain) in enumerate(zip(rows, _domains(), strict=True), start=1):
        number = "" if k == 1 else str(k)
        traces.append(_strip(name, values, limits.get(name[0], (-largest, largest)), f"y{number}", _))
        axes[f"yaxis{number}"] = {"visible": False, "autorange": "reversed", "domain": domain}
        annotations += _row_labels(domain, name, _size(name, values))
    layout = {
        "annotations": annotations,
        "margin": {"l": 104, "r": 92, "t": 6, "b": 6},
        "hovermode": "closest",
        "xaxis": {"visible": False, "range": [-0.5, len(u.W_hh) - 0.5]},
        **axes,
    }
    return {"data": traces, "layout": layout}


def _rows(u: Unrolled, t: int, _: Translate) -> tuple[tuple[str, NDArray[np.float64]], ...]:
    """The names and numbers of a step's factors and results, in their order."""
    i, now, before = t - 1, subscript(t), subscript(t - 1)
    own = u.own[i - 1] if t > 1 else np.zeros_like(u.own[0])
    return (
        (f"dH{now}", u.dH[i]),
        (f"⊙ φ′(A{now})", u.slope[i]),
        (f"= dA{now}", u.dA[i]),
        ("· W<sub>hh</sub><sup>⊤</sup>", u.W_hh.T),
        (f"= dA{now} W<sub>hh</sub><sup>⊤</sup>", u.carried[i]),
        ("+ " + _("own loss"), own),
        (f"= dH{before}", u.carried[i] + own),
    )


def product_table(u: Unrolled, t: int, translate: Translate = str) -> dict[str, NDArray[Any]]:
    """The numbers of the same picture, one row per unit; each column of the matrix is a column of the table."""
    _ = translate
    names = str.maketrans({"⊤": "ᵀ"})
    table: dict[str, NDArray[Any]] = {_("unit"): np.arange(len(u.W_hh))}
    for name, values in _rows(u, t, _):
        plain = re.sub("<[^>]+>", "", name).translate(names)
        columns = {f"{plain} {k}": column for k, column in enumerate(values.T)} if values.ndim == 2 else {plain: values}
        table |= columns
    return table


def _domains() -> list[list[float]]:
    """The vertical ranges of a product's seven rows, from the top; the fourth is the matrix."""
    heights = np.array([1, 1, 1, _MATRIX, 1, 1, 1])
    heights = heights / heights.sum() * (1 - _GAP * (len(heights) - 1))
    tops = 1 - np.concatenate([[0], np.cumsum(heights[:-1] + _GAP)])
    return [[max(0.0, float(top - height)), float(top)] for top, height in zip(tops, heights, strict=True)]


def _strip(name: str, values: NDArray[np.float64], limits: Point, axis: str, _: Translate) -> Drawn:
    where = _("from unit %{y} to unit %{x}") if values.ndim == 2 else _("unit %{x}")
    return {
        "type": "heatmap",
        "z": np.atleast_2d(values),
        "zmin": limits[0],
        "zmax": limits[1],
        "colorscale": "Cividis" if limits[0] == 0 else "RdBu_r",
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "yaxis": axis,
        "hovertemplate": f"{where}<br>{name.lstrip('⊙=·+ ')} = %{{z:.3~g}}<extra></extra>",
    }


def _size(name: str, values: NDArray[np.float64]) -> str:
    """The length of a vector, the largest singular value of a matrix, or the largest of the slopes."""
    if name.startswith("⊙"):
        return f"max = {quantity(float(values.max()))}"
    return f"‖·‖ = {quantity(float(np.linalg.norm(values, 2)))}"


def _row_labels(domain: list[float], left: str, right: str) -> list[Drawn]:
    common = {"xref": "paper", "yref": "paper", "yanchor": "middle"}
    y = sum(domain) / 2
    return [
        _text((0, y), left, 14, xanchor="right", xshift=-8, **common),
        _text((1, y), right, 12, xanchor="left", xshift=8, **common),
    ]


def contributions_figure(u: Unrolled, text: str, t: int, translate: Translate = str) -> Figure:
    """The norm of each step's contribution to dL/dW_hh, and that of their sum from the last step back to step t."""
    _ = translate
    characters = visible(text)
    steps = np.arange(1, u.T + 1)
    each = np.linalg.norm(u.dW, axis=(1, 2))
    sums = np.linalg.norm(np.cumsum(u.dW[::-1], axis=0)[::-1], axis=(1, 2))
    done = steps >= t
    bars = {
        "type": "bar",
        "x": steps,
        "y": each,
        "name": _("this step’s term"),
        "marker": {"color": [GRADIENT if k >= t else GREY for k in steps], "opacity": 0.75},
        "customdata": characters[:-1],
        "hovertemplate": _("step %{x}, reads “%{customdata}”: %{y:.3~g}") + "<extra></extra>",
    }
    line = {
        "type": "scatter",
        "x": steps[done],
        "y": sums[done],
        "name": _("the sum so far"),
        "mode": "lines+markers",
        "line": {"color": COLOURS["training"], "width": 2.2},
        "marker": {"size": 8},
        "hovertemplate": _("from step %{x} on: norm %{y:.3~g}") + "<extra></extra>",
    }
    layout = {
        "margin": {"l": 56, "r": 8, "t": 8, "b": 40},
        "showlegend": True,
        "legend": {**LEGEND, "itemsizing": "trace"},
        "bargap": 0.35,
        "xaxis": {
            "title": {"text": _("time step t")},
            "tickvals": steps,
            "ticktext": [f"{k} {characters[k - 1]}" for k in steps],
            "tickfont": {"family": MONOSPACE},
            "range": [0.4, u.T + 0.6],
            "showgrid": False,
        },
        "yaxis": {"title": {"text": _("norm")}, "rangemode": "tozero", "tickformat": "~g", "nticks": 5},
    }
    return {"data": [bars, line], "layout": layout}
