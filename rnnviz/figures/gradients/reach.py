"""The measured gradient against the lag, with its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.gradient_study import Lag, geometric_mean
from rnnviz.cells import CellName, find_cell
from rnnviz.figures.gradients.kit import BOUND, CELL_GRADIENT, GRADIENT, GREY
from rnnviz.figures.kit import LEGEND, Drawn, Figure
from rnnviz.i18n import Translate, quantity
from rnnviz.signals import SIGNALS

Range = tuple[float, float]


def common_range(lags: Sequence[Lag], room: float) -> Range:
    """A range for the norms of several pictures: all measured values, and `room` times as much for the bounds."""
    values = np.concatenate([norms.ravel() for lag in lags for norms in (lag.H, lag.C) if norms is not None])
    values = values[(values > 0) & np.isfinite(values)]
    if not len(values):
        return 1e-3, 1.0
    return max(float(values.min()) / 2, 1e-40), min(float(values.max()) * room, 1e40)


def lag_figure(lag: Lag, cell: CellName, limits: Range, translate: Translate = str) -> Figure:
    """‖dL_T/dH_t‖ against T - t: each window as a thin line, their geometric mean as a thick one, and the theory."""
    _ = translate
    x = np.arange(lag.H.shape[1])
    measured = [("‖dL<sub>T</sub>/dH<sub>t</sub>‖", lag.H, GRADIENT)]
    if lag.C is not None:
        measured.append(("‖dL<sub>T</sub>/dC<sub>t</sub>‖", lag.C, CELL_GRADIENT))
    windows = [
        lag_line(x, window, _("window {k}").format(k=k), GRADIENT, _, width=0.8, thin=True)
        for k, window in enumerate(lag.H, start=1)
    ]
    means = [lag_line(x, geometric_mean(norms), name, colour, _, width=3.2) for name, norms, colour in measured]
    layout = {
        "margin": {"l": 60, "r": 8, "t": 76, "b": 40},  # the same for all three, so that heights compare
        "hovermode": "closest",
        "showlegend": True,
        "legend": {**LEGEND, "yref": "container", "y": 1, "yanchor": "top", "font": {"size": 12}},
        "xaxis": {"title": {"text": _("lag T − t, in characters")}, "range": [-0.5, len(x) - 0.5], "zeroline": False},
        "yaxis": _log_axis(limits),
    }
    return {"data": [*_theory(lag, cell, x, _), *windows, *means], "layout": layout}


def _theory(lag: Lag, cell: CellName, x: NDArray[Any], _: Translate) -> list[Drawn]:
    """The bounds of an RNN, or what comes back through the gates alone."""
    lines = []
    sigma = lag.sigma_bound()
    if lag.bound is not None and sigma is not None:
        name = _("bound by σ<sub>max</sub> = {sigma}").format(sigma=quantity(float(lag.sigma or 0)))
        lines.append(lag_line(x, geometric_mean(sigma), name, GREY, _, dash="dash"))
        lines.append(lag_line(x, geometric_mean(lag.bound), _("bound step by step"), BOUND, _, dash="dot"))
    if lag.direct is not None:
        signal = SIGNALS[str(find_cell(cell).carry_gate)]
        name = _("{gates} alone").format(gates="∏ " + signal.symbol.removesuffix("ₜ"))
        lines.append(lag_line(x, geometric_mean(lag.direct), name, signal.colour, _, dash="dot"))
    return lines


def lag_line(
    x: NDArray[Any],
    y: NDArray[Any],
    name: str,
    colour: str,
    _: Translate,
    *,
    width: float = 2.0,
    dash: str = "solid",
    thin: bool = False,
) -> Drawn:
    """A line over the lags, with gaps where a norm is 0 or not finite; a `thin` line is not in the legend."""
    return {
        "type": "scatter",
        "x": x,
        "y": np.where((y > 0) & np.isfinite(y), y, np.nan),
        "name": name,
        "mode": "lines",
        "opacity": 0.45 if thin else 1.0,
        "showlegend": not thin,
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": _("lag %{x}: %{y:.3~g}") + f"<extra>{name}</extra>",
    }


def _log_axis(limits: Range, title: str = "") -> dict[str, Any]:
    decades = float(np.log10(limits[1] / limits[0]))
    return {
        "title": {"text": title},
        "type": "log",
        "range": [float(np.log10(limit)) for limit in limits],
        "exponentformat": "power",
        "dtick": max(1, round(decades / 6)),
        "zeroline": False,
    }
