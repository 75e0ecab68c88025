"""Colours and lines that the pictures of gradients share."""

from __future__ import annotations

from collections.abc import Sequence

from rnnviz.figures.kit import COLOURS, Drawn
from rnnviz.signals import SIGNALS

GRADIENT, CELL_GRADIENT = SIGNALS["H"].colour, SIGNALS["C"].colour
BOUND = COLOURS["before"]
GREY = COLOURS["reference"]


def reference_line(x: Sequence[float], y: Sequence[float], dash: str, name: str = "") -> Drawn:
    """A reference between two points, in the legend where it has a name."""
    return {
        "type": "scatter",
        "x": [float(v) for v in x],
        "y": [float(v) for v in y],
        "name": name,
        "mode": "lines",
        "line": {"color": GREY, "width": 1.8, "dash": dash},
        "hoverinfo": "skip",
        "showlegend": bool(name),
    }
