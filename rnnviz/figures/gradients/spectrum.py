"""The eigenvalues of a recurrent matrix, and its singular values through training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.gradient_study import Spectrum
from rnnviz.figures.gradients.kit import BOUND, GREY, reference_line
from rnnviz.figures.kit import COLOURS, LEGEND, Drawn, Figure, subscript
from rnnviz.i18n import Translate, quantity


def plane_figure(
    eigenvalues: NDArray[np.complexfloating[Any, Any]], sigma: float, reach: float, translate: Translate = str
) -> Figure:
    """The eigenvalues in the complex plane, the unit circle, and the circle of the largest singular value."""
    _ = translate
    outside = np.abs(eigenvalues) > 1
    traces = [
        _circle(1.0, _("unit circle"), GREY, "solid"),
        _circle(sigma, f"σ<sub>max</sub> = {quantity(sigma)}", BOUND, "dot"),
        _dots(eigenvalues[~outside], "|λ| ≤ 1", "circle", COLOURS["training"]),
        _dots(eigenvalues[outside], "|λ| > 1", "diamond", COLOURS["held_out"]),
    ]
    limit = [-reach, reach]
    layout = {
        "margin": {"l": 50, "r": 8, "t": 8, "b": 40},
        "hovermode": "closest",
        "showlegend": True,
        "legend": {**LEGEND, "font": {"size": 12}},
        "xaxis": {"title": {"text": "Re λ"}, "range": limit, "nticks": 7},
        "yaxis": {"title": {"text": "Im λ"}, "range": limit, "scaleanchor": "x", "nticks": 7},
    }
    return {"data": traces, "layout": layout}


def _circle(radius: float, name: str, colour: str, dash: str) -> Drawn:
    angle = np.linspace(0, 2 * np.pi, 181)
    return {
        "type": "scatter",
        "x": radius * np.cos(angle),
        "y": radius * np.sin(angle),
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "width": 1.8, "dash": dash},
        "hoverinfo": "skip",
    }


def _dots(values: NDArray[Any], name: str, symbol: str, colour: str) -> Drawn:
    return {
        "type": "scatter",
        "x": values.real,
        "y": values.imag,
        "name": name,
        "mode": "markers",
        "marker": {"size": 9, "symbol": symbol, "color": colour, "line": {"width": 1, "color": "#FFFFFF"}},
        "customdata": np.abs(values),
        "hovertemplate": "λ = %{x:.3~g} + %{y:.3~g} i<br>|λ| = %{customdata:.3~g}<extra></extra>",
    }


def growth_figure(steps: Sequence[int], spectrum: Spectrum, name: str, k: int, translate: Translate = str) -> Figure:
    """All singular values and the largest eigenvalue's size against the training step; checkpoint k is marked."""
    _ = translate
    x = np.array(steps) + 1  # so that step 0 has its place on a log axis
    values = spectrum.singular_values[name]
    sizes = np.abs(spectrum.eigenvalues[name])
    top = float(values.max()) * 1.08
    traces = [
        _growth_line(x, steps, values[:, i], f"σ{subscript(i + 1)}", GREY, 0.7, _) for i in range(1, values.shape[1])
    ]
    traces.append(_growth_line(x, steps, values[:, 0], "σ<sub>max</sub>", BOUND, 2.8, _))
    traces.append(_growth_line(x, steps, sizes[:, 0], "|λ|<sub>max</sub>", COLOURS["held_out"], 2.8, _))
    traces.append(reference_line([x[0], x[-1]], [1, 1], "dash"))
    traces.append(reference_line([x[k], x[k]], [0, top], "dot"))
    shown = [i for i in range(len(steps)) if i in (0, k, len(steps) - 1) or steps[i] in (4, 12, 39, 130)]
    layout = {
        "margin": {"l": 50, "r": 8, "t": 8, "b": 40},
        "hovermode": "closest",
        "showlegend": True,
        "legend": {**LEGEND, "font": {"size": 12}},
        "xaxis": {
            "title": {"text": _("training step")},
            "type": "log",
            "tickvals": [int(x[i]) for i in shown],
            "ticktext": [f"{steps[i]:,}" for i in shown],
            "range": [-0.05, float(np.log10(x[-1])) + 0.05],
        },
        "yaxis": {"range": [0, top], "nticks": 7},
    }
    return {"data": traces, "layout": layout}


def _growth_line(
    x: NDArray[Any], steps: Sequence[int], y: NDArray[Any], name: str, colour: str, width: float, _: Translate
) -> Drawn:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines",
        "opacity": 0.6 if width < 1 else 1.0,
        "showlegend": width > 1,
        "line": {"color": colour, "width": width},
        "customdata": list(steps),
        "hovertemplate": _("step %{customdata:,d}: %{y:.3~g}") + f"<extra>{name}</extra>",
    }
