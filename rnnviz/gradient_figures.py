"""Pictures of gradients: against the lag, through training, clipped, and over a map. No Streamlit, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from rnnviz.experiments import MapCell
from rnnviz.figures import COLOURS, MONOSPACE, decimate
from rnnviz.gradient_study import Lag, Norms, Spectrum, Study, geometric_mean
from rnnviz.i18n import Translate, quantity
from rnnviz.signals import SIGNALS
from rnnviz.unrolled_figures import subscript

GRADIENT, CELL_GRADIENT = SIGNALS["H"].colour, SIGNALS["C"].colour
_DIRECT = {"gru": SIGNALS["Z"], "lstm": SIGNALS["F"]}
_BOUND = COLOURS["before"]
_GREY = COLOURS["reference"]
Range = tuple[float, float]


_LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "itemsizing": "constant"}


# Against the lag


def common_range(lags: Sequence[Lag], room: float) -> Range:
    """A range for the norms of several pictures: all that was measured, and `room` times as much for the bounds."""
    values = np.concatenate([norms.ravel() for lag in lags for norms in (lag.H, lag.C) if norms is not None])
    values = values[(values > 0) & np.isfinite(values)]
    if not len(values):
        return 1e-3, 1.0
    return max(float(values.min()) / 2, 1e-40), min(float(values.max()) * room, 1e40)


def lag_figure(lag: Lag, cell: str, limits: Range, translate: Translate = str) -> go.Figure:
    """‖dL_T/dH_t‖ against T - t: every window thin, their geometric mean thick, and what theory says."""
    _ = translate
    x = np.arange(lag.H.shape[1])
    figure = go.Figure()
    measured = [("‖dL<sub>T</sub>/dH<sub>t</sub>‖", lag.H, GRADIENT)]
    if lag.C is not None:
        measured.append(("‖dL<sub>T</sub>/dC<sub>t</sub>‖", lag.C, CELL_GRADIENT))
    sigma = lag.sigma_bound()
    if lag.bound is not None and sigma is not None:
        name = _("bound by σ<sub>max</sub> = {sigma}").format(sigma=quantity(float(lag.sigma or 0)))
        _lag_line(figure, x, geometric_mean(sigma), name, _GREY, _, dash="dash")
        _lag_line(figure, x, geometric_mean(lag.bound), _("bound step by step"), _BOUND, _, dash="dot")
    if lag.direct is not None:
        signal = _DIRECT[cell]
        name = _("{gates} alone").format(gates="∏ " + signal.symbol.removesuffix("ₜ"))
        _lag_line(figure, x, geometric_mean(lag.direct), name, signal.colour, _, dash="dot")
    for _name, norms, colour in measured[:1]:
        for k, window in enumerate(norms, start=1):
            _lag_line(figure, x, window, _("window {k}").format(k=k), colour, _, width=0.8, thin=True)
    for name, norms, colour in measured:
        _lag_line(figure, x, geometric_mean(norms), name, colour, _, width=3.2)
    figure.update_layout(
        margin={"l": 60, "r": 8, "t": 76, "b": 40},  # the same for all three, so that heights compare
        hovermode="closest",
        showlegend=True,
        legend={**_LEGEND, "yref": "container", "y": 1, "yanchor": "top", "font": {"size": 12}},
        xaxis={"title": {"text": _("lag T − t, in characters")}, "range": [-0.5, len(x) - 0.5], "zeroline": False},
        yaxis=_log_axis(limits),
    )
    return figure


def _lag_line(
    figure: go.Figure,
    x: NDArray[Any],
    y: NDArray[Any],
    name: str,
    colour: str,
    _: Translate,
    *,
    width: float = 2.0,
    dash: str = "solid",
    thin: bool = False,
) -> None:
    figure.add_scatter(
        x=x,
        y=np.where((y > 0) & np.isfinite(y), y, np.nan),
        name=name,
        mode="lines",
        opacity=0.45 if thin else 1.0,
        showlegend=not thin,
        line={"color": colour, "width": width, "dash": dash},
        hovertemplate=_("lag %{x}: %{y:.3~g}") + f"<extra>{name}</extra>",
    )


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


def scale_figure(study: Study, k: int, limits: Range, translate: Translate = str) -> go.Figure:
    """The mean gradient against the lag with every recurrent matrix times s: the chosen s, and all others faint."""
    _ = translate
    figure = lag_figure(study.by_scale[k], study.cell, limits, _)
    T = study.by_scale[0].H.shape[1]
    for i, (scale, lag) in enumerate(zip(study.scales, study.by_scale, strict=True)):
        if i != k:
            name = f"s = {scale:.2g}"
            _lag_line(figure, np.arange(T), geometric_mean(lag.H), name, _GREY, _, width=1.0, thin=True)
    figure.data = (*figure.data[-len(study.scales) + 1 :], *figure.data[: -len(study.scales) + 1])
    return figure


# The spectrum


def plane_figure(
    eigenvalues: NDArray[np.complexfloating[Any, Any]], sigma: float, reach: float, translate: Translate = str
) -> go.Figure:
    """The eigenvalues in the complex plane, the unit circle, and the circle of the largest singular value."""
    _ = translate
    figure = go.Figure()
    angle = np.linspace(0, 2 * np.pi, 181)
    for radius, name, colour, dash in (
        (1.0, _("unit circle"), _GREY, "solid"),
        (sigma, f"σ<sub>max</sub> = {quantity(sigma)}", _BOUND, "dot"),
    ):
        figure.add_scatter(
            x=radius * np.cos(angle),
            y=radius * np.sin(angle),
            name=name,
            mode="lines",
            line={"color": colour, "width": 1.8, "dash": dash},
            hoverinfo="skip",
        )
    sizes = np.abs(eigenvalues)
    outside = sizes > 1
    for mask, name, symbol, colour in (
        (~outside, "|λ| ≤ 1", "circle", COLOURS["training"]),
        (outside, "|λ| > 1", "diamond", COLOURS["held_out"]),
    ):
        figure.add_scatter(
            x=eigenvalues.real[mask],
            y=eigenvalues.imag[mask],
            name=name,
            mode="markers",
            marker={"size": 9, "symbol": symbol, "color": colour, "line": {"width": 1, "color": "#FFFFFF"}},
            customdata=sizes[mask],
            hovertemplate="λ = %{x:.3~g} + %{y:.3~g} i<br>|λ| = %{customdata:.3~g}<extra></extra>",
        )
    limit = [-reach, reach]
    figure.update_layout(
        margin={"l": 50, "r": 8, "t": 8, "b": 40},
        hovermode="closest",
        legend={**_LEGEND, "font": {"size": 12}},
        xaxis={"title": {"text": "Re λ"}, "range": limit, "nticks": 7},
        yaxis={"title": {"text": "Im λ"}, "range": limit, "scaleanchor": "x", "nticks": 7},
    )
    return figure


def growth_figure(steps: Sequence[int], spectrum: Spectrum, name: str, k: int, translate: Translate = str) -> go.Figure:
    """All singular values and the largest eigenvalue's size against the training step; checkpoint k is marked."""
    _ = translate
    x = np.array(steps) + 1  # so that step 0 has its place on a log axis
    values = spectrum.singular_values[name]
    sizes = np.abs(spectrum.eigenvalues[name])
    figure = go.Figure()
    for i in range(1, values.shape[1]):
        _growth_line(figure, x, steps, values[:, i], f"σ{subscript(i + 1)}", _GREY, 0.7, _)
    _growth_line(figure, x, steps, values[:, 0], "σ<sub>max</sub>", _BOUND, 2.8, _)
    _growth_line(figure, x, steps, sizes[:, 0], "|λ|<sub>max</sub>", COLOURS["held_out"], 2.8, _)
    top = float(values.max()) * 1.08
    for ends, style in (([x[0], x[-1]], {"dash": "dash"}), ([x[k], x[k]], {"dash": "dot"})):
        figure.add_scatter(
            x=ends,
            y=[1, 1] if style["dash"] == "dash" else [0, top],
            mode="lines",
            line={"color": _GREY, "width": 1.6, **style},
            hoverinfo="skip",
            showlegend=False,
        )
    shown = [i for i in range(len(steps)) if i in (0, k, len(steps) - 1) or steps[i] in (4, 12, 39, 130)]
    figure.update_layout(
        margin={"l": 50, "r": 8, "t": 8, "b": 40},
        hovermode="closest",
        legend={**_LEGEND, "font": {"size": 12}},
        xaxis={
            "title": {"text": _("training step")},
            "type": "log",
            "tickvals": [int(x[i]) for i in shown],
            "ticktext": [f"{steps[i]:,}" for i in shown],
            "range": [-0.05, float(np.log10(x[-1])) + 0.05],
        },
        yaxis={"range": [0, top], "nticks": 7},
    )
    return figure


def _growth_line(
    figure: go.Figure,
    x: NDArray[Any],
    steps: Sequence[int],
    y: NDArray[Any],
    name: str,
    colour: str,
    width: float,
    _: Translate,
) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        name=name,
        mode="lines",
        opacity=0.6 if width < 1 else 1.0,
        showlegend=width > 1,
        line={"color": colour, "width": width},
        customdata=list(steps),
        hovertemplate=_("step %{customdata}: %{y:.3~g}") + f"<extra>{name}</extra>",
    )


# Clipping


def clipping_figure(norms: Norms, theta: float, name: str | None, translate: Translate = str) -> go.Figure:
    """The norm of all parameters together, or of the one called `name`, before and after clipping at theta."""
    _ = translate
    before, after = both_norms(norms, theta, name)
    figure = go.Figure()
    x = norms.steps
    if theta and len(x):
        figure.add_scatter(
            x=[x[0], x[-1]],
            y=[theta, theta],
            name=_("θ = {theta:g}").format(theta=theta),
            mode="lines",
            line={"color": _GREY, "width": 1.8, "dash": "dash"},
            hoverinfo="skip",
        )
    for label, colour, y, width in ((_("before"), "before", before, 3.4), (_("after"), "after", after, 1.6)):
        thinned_x, thinned_y = decimate(x, y)
        figure.add_scatter(
            x=thinned_x,
            y=thinned_y,
            name=label,
            mode="lines",
            line={"color": COLOURS[colour], "width": width},
            hovertemplate=_("step %{x}: norm %{y:.3~g}") + f"<extra>{label}</extra>",
        )
    shown = np.concatenate([before, after, [theta] if theta else []])
    shown = shown[shown > 0]
    limits = (float(shown.min()) / 1.4, float(shown.max()) * 1.4) if len(shown) else (0.01, 1.0)
    symbol = f"‖g({name})‖" if name else "‖g‖"
    figure.update_layout(
        margin={"l": 60, "r": 8, "t": 8, "b": 40},
        hovermode="closest",
        showlegend=True,
        legend=_LEGEND,
        xaxis={"title": {"text": _("training step")}, "zeroline": False},
        yaxis={
            "title": {"text": symbol},
            "type": "log",
            "range": [float(np.log10(limit)) for limit in limits],
            "tickformat": ",~r",
            "dtick": "D2" if limits[1] < 300 * limits[0] else 1,
        },
    )
    return figure


def both_norms(norms: Norms, theta: float, name: str | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Before and after clipping, (n,) each, of all parameters together or of one."""
    if name:
        column = norms.names.index(name)
        return norms.values[:, column], norms.clipped(theta)[:, column]
    total = norms.total()
    return total, np.minimum(total, theta) if theta else total


def parameters_figure(norms: Norms, theta: float, i: int, translate: Translate = str) -> go.Figure:
    """The i-th step, parameter by parameter: before, clipped by the global norm, and each clipped alone."""
    _ = translate
    before, together, alone = norms.values[i], norms.clipped(theta)[i], norms.clipped_singly(theta)[i]
    names = list(norms.names)
    figure = go.Figure()
    for name, first, second in zip(names, before, together, strict=True):
        figure.add_scatter(
            x=[first, second], y=[name, name], mode="lines", line={"color": _GREY, "width": 2}, showlegend=False,
            hoverinfo="skip",
        )  # fmt: skip
    for label, colour, symbol, size, values in (
        (_("each alone"), COLOURS["held_out"], "line-ns-open", 16, alone),
        (_("before"), COLOURS["before"], "circle", 12, before),
        (_("after, by the global norm"), COLOURS["after"], "circle", 9, together),
    ):
        figure.add_scatter(
            x=values,
            y=names,
            name=label,
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": 2, "color": colour}},
            hovertemplate=f"%{{y}}: %{{x:.3~g}}<extra>{label}</extra>",
        )
    positive = np.concatenate([before, together, alone, [theta] if theta else []])
    positive = positive[positive > 0]
    limits = (float(positive.min()) / 1.5, float(positive.max()) * 1.5) if len(positive) else (0.01, 1.0)
    if theta:
        figure.add_vline(x=theta, line={"color": _GREY, "width": 1.8, "dash": "dash"})
    figure.update_layout(
        margin={"l": 60, "r": 8, "t": 8, "b": 40},
        hovermode="closest",
        showlegend=True,
        legend=_LEGEND,
        xaxis={
            "title": {"text": _("norm of the parameter’s gradient")},
            "type": "log",
            "range": [float(np.log10(limit)) for limit in limits],
            "tickformat": ",~r",
            "dtick": "D2" if limits[1] < 30 * limits[0] else 1,
        },
        yaxis={"type": "category", "autorange": "reversed", "tickfont": {"family": MONOSPACE}},
    )
    return figure


# The map


def map_figure(
    cells: Sequence[MapCell],
    thetas: Sequence[float],
    rates: Sequence[float],
    vocab_size: int,
    translate: Translate = str,
) -> go.Figure:
    """Final perplexity over thresholds (down) and learning rates (across); crosses diverged, the line is their border.

    `cells` go row by row and may be fewer than the map has.
    """
    _ = translate
    rows, columns = len(thetas), len(rates)
    missing = [np.nan] * (rows * columns - len(cells))
    ends = [np.nan if cell.diverged else cell.end for cell in cells] + missing
    end = np.array(ends, dtype=np.float64).reshape(rows, columns)
    diverged = np.array([cell.diverged for cell in cells] + [False] * len(missing)).reshape(rows, columns)
    names = [_("no clipping") if theta == 0 else f"{theta:g}" for theta in thetas]
    figure = go.Figure(
        go.Heatmap(
            z=np.log10(end),
            zmin=float(np.log10(2)),  # few trainings of a map get below
            zmax=float(np.log10(vocab_size)),
            colorscale="Cividis",
            xgap=1,
            ygap=1,
            customdata=np.dstack([np.array([[quantity(v) for v in row] for row in end]), _grid(rates, names)]),
            hovertemplate="η = %{customdata[1]}, θ = %{customdata[2]}<br>"
            + _("perplexity %{customdata[0]}")
            + "<extra></extra>",
            colorbar={
                "thickness": 12,
                "outlinewidth": 0,
                "title": {"text": _("perplexity"), "side": "right"},
                "tickvals": [float(np.log10(v)) for v in (2, 5, 10, 20, vocab_size)],
                "ticktext": ["2", "5", "10", "20", f"V = {vocab_size}"],
            },
        )
    )
    at = np.argwhere(diverged)
    figure.add_scatter(
        x=at[:, 1],
        y=at[:, 0],
        mode="markers",
        marker={"symbol": "x-thin", "size": 11, "line": {"width": 2, "color": COLOURS["held_out"]}},
        text=[
            f"η = {rates[j]:g}, θ = {names[i]}<br>"
            + _("diverged: perplexity {value}").format(value=quantity(cells[i * columns + j].end))
            for i, j in at
        ],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    known = np.arange(rows * columns).reshape(rows, columns) < len(cells)
    x, y = border(diverged, known)
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": COLOURS["held_out"], "width": 3}, hoverinfo="skip", showlegend=False
    )
    figure.update_layout(
        margin={"l": 90, "r": 8, "t": 8, "b": 44},
        hovermode="closest",
        xaxis={
            "title": {"text": _("learning rate η")},
            "tickvals": list(range(columns)),
            "ticktext": [f"{rate:g}" for rate in rates],
            "range": [-0.5, columns - 0.5],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {"text": _("threshold θ")},
            "tickvals": list(range(rows)),
            "ticktext": names,
            "range": [-0.5, rows - 0.5],
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _grid(rates: Sequence[float], names: Sequence[str]) -> NDArray[Any]:
    return np.dstack(np.meshgrid([f"{rate:g}" for rate in rates], list(names)))


def border(diverged: NDArray[np.bool_], known: NDArray[np.bool_]) -> tuple[list[float | None], list[float | None]]:
    """The edges between cells that are known to diverge and cells that are known not to, as a line with gaps: x, y."""
    state = np.where(known, diverged, -1)
    x: list[float | None] = []
    y: list[float | None] = []
    rows, columns = diverged.shape
    for i in range(rows):
        for j in range(columns):
            if j + 1 < columns and {int(state[i, j]), int(state[i, j + 1])} == {0, 1}:
                x += [j + 0.5, j + 0.5, None]
                y += [i - 0.5, i + 0.5, None]
            if i + 1 < rows and {int(state[i, j]), int(state[i + 1, j])} == {0, 1}:
                x += [j - 0.5, j + 0.5, None]
                y += [i + 0.5, i + 0.5, None]
    return x, y
