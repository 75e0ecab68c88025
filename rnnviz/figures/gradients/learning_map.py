"""Final perplexity over learning rates and clipping thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from rnnviz.analysis.experiments import MapCell
from rnnviz.figures.kit import COLOURS
from rnnviz.i18n import Translate, quantity


def map_figure(
    cells: Sequence[MapCell],
    thetas: Sequence[float],
    rates: Sequence[float],
    vocab_size: int,
    translate: Translate = str,
) -> go.Figure:
    """Final perplexity over thresholds (down) and learning rates (across), with crosses where training diverged.

    A line marks their border. `cells` go row by row and may be fewer than the map has.
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
            zmin=float(np.log10(2)),  # few trainings of a map get below 2
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
                "ticktext": ["≤ 2", "5", "10", "20", f"≥ V = {vocab_size:,}"],
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
