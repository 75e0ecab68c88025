"""Pictures of a ranking: all units of all signals by their correlation, and one of them painted on the text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from rnnviz.analysis.ranking import Ranking
from rnnviz.cells import Cell
from rnnviz.figures.kit import DIVERGING, SATURATION, SEQUENTIAL, UNBOUNDED, Drawn, Figure
from rnnviz.i18n import Translate
from rnnviz.runs.recording import Array
from rnnviz.signals import SIGNALS

_JITTER = 0.3


def ranking_figure(ranking: Ranking, translate: Translate = str) -> Figure:
    """A row per signal and a point per unit, at its correlation; between the dashed lines lies the band of chance."""
    _ = translate
    names = list(ranking.correlations)
    spread = np.random.default_rng(0)  # so that points do not hide each other
    points: list[Drawn] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": r,
            "y": row + spread.uniform(-_JITTER, _JITTER, len(r)),
            "customdata": np.arange(len(r)),
            "marker": {"size": 8, "color": SIGNALS[name].colour, "opacity": 0.6},
            "hovertemplate": f"{SIGNALS[name].symbol.replace('ₜ', '')} · "
            + _("unit %{customdata}")
            + "<br>r = %{x:.3f}<extra></extra>",
        }
        for row, (name, r) in enumerate(ranking.correlations.items())
    ]
    best = ranking.best[0]
    place = float(points[names.index(best.signal)]["y"][best.unit])
    ring = {
        "type": "scatter",
        "mode": "markers",
        "x": [best.correlation],
        "y": [place],
        "marker": {"size": 16, "symbol": "circle-open", "color": SIGNALS[best.signal].colour, "line": {"width": 2.5}},
        "hoverinfo": "skip",
    }
    level = ranking.level
    layout = {
        "margin": {"l": 12, "r": 12, "t": 26, "b": 44},
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {"title": {"text": _("correlation r")}, "range": [-1.03, 1.03], "nticks": 9},
        "yaxis": {
            "tickvals": list(range(len(names))),
            "ticktext": [SIGNALS[name].symbol.replace("ₜ", "") for name in names],
            "range": [len(names) - 0.4, -0.6],
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "tickfont": {"size": 16},
        },
        "shapes": [
            {
                "type": "rect",
                "yref": "paper",
                "x0": -level,
                "x1": level,
                "y0": 0,
                "y1": 1,
                "layer": "below",
                "fillcolor": "rgba(128,136,144,0.18)",
                "line": {"width": 1, "dash": "dash", "color": "#808890"},
            }
        ],
        "annotations": [
            {"x": 0, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": _("chance")}
        ],
    }
    return {"data": [*points, ring], "layout": layout}


def unit_colours(values: Array, name: str, cell: Cell) -> list[tuple[str, str]]:
    """For each value of a unit, the colour of its signal's heatmap, and whether black or white stands out on it."""
    signal = SIGNALS[name]
    wide = name in cell.unbounded
    low, high = (-SATURATION, SATURATION) if wide else (signal.low, signal.high)
    scale = [list(stop) for stop in UNBOUNDED] if wide else SEQUENTIAL if signal.is_gate else DIVERGING
    shares = ((np.nan_to_num(values) - low) / (high - low)).clip(0, 1)
    colours: NDArray[np.float64] = np.array(sample_colorscale(scale, shares.tolist(), colortype="tuple"))
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    light = linear @ np.array([0.2126, 0.7152, 0.0722])
    rounded = (255 * colours).round().astype(int).tolist()
    inks = np.where(light > 0.179, "#000000", "#ffffff").tolist()
    return [(f"rgb({r},{g},{b})", ink) for (r, g, b), ink in zip(rounded, inks, strict=True)]
