"""What all pictures share: colours, fonts, the legend, characters on an axis, and thinned lines.

Figures have no background and no font colour, because the page sets both. Figures that update while
a model trains are plain dictionaries: Plotly's classes take ten times as long, mostly for checks
that `tests/figures/test_figures.py` makes once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.colors import get_colorscale, sample_colorscale

# Figures as in Plotly's JSON, but with arrays: a slider has dozens of them, and Plotly's own classes are slow.
Figure = dict[str, Any]  # `data` and `layout`
Drawn = dict[str, Any]  # a trace or an annotation
# The measurements of a run have their own colours, as its signals do.
COLOURS = {
    "training": "#3274B5",
    "held_out": "#C8553D",
    "before": "#B07D12",
    "after": "#1B8A6B",
    "reference": "#808890",
}
RUN_COLOURS = ("#3274B5", "#C8553D")  # of two runs over each other
MAX_POINTS = 400
MONOSPACE = "'Noto Sans Mono CJK SC', 'Sarasa Mono SC', ui-monospace, Menlo, Consolas, monospace"
SEQUENTIAL, DIVERGING = get_colorscale("Cividis"), get_colorscale("RdBu_r")
# The value at which the colours of a signal without bounds end: trained LSTMs reach 17, ReLU states 9.
SATURATION = 20.0
# Above the picture, from the left.
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "itemsizing": "constant"}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _arsinh_scale(stops: int = 41) -> list[tuple[float, str]]:
    """The diverging scale over ±SATURATION with colours that follow arsinh: they change fast near 0, slowly far out."""
    places = np.linspace(-1, 1, stops) ** 3  # dense around 0
    shares = (1 + np.arcsinh(SATURATION * places) / np.arcsinh(SATURATION)) / 2
    colours = sample_colorscale(DIVERGING, shares.tolist())
    return [((1 + float(place)) / 2, colour) for place, colour in zip(places, colours, strict=True)]


UNBOUNDED = _arsinh_scale()


def visible(text: Iterable[str]) -> list[str]:
    """The characters of a text, or its words, as shown on an axis: a space is ␣, a line feed ↵, a carriage return ␍."""
    return [{" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥"}.get(character, character) for character in text]


def character_axis(characters: Sequence[str], title: str, **more: Any) -> dict[str, Any]:
    """An axis with a character at each of the positions 0, 1, 2, and so on."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(characters))),
        "ticktext": list(characters),
        "tickangle": 0,
        "tickfont": {"family": MONOSPACE, "size": 13},
        "showgrid": False,
        "title": {"text": title},
        **more,
    }


def decimate(x: NDArray[Any], y: NDArray[Any], limit: int = MAX_POINTS) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most `limit` points of a line that look like all of them: the lowest and the highest of each stretch."""
    n = len(x)
    if n <= limit:
        return x, y
    size = -(-n // (limit // 2 - 1))  # the last stretch repeats the last point until it is as long
    starts = np.arange(0, n, size)
    stretches = np.pad(y, (0, len(starts) * size - n), mode="edge").reshape(-1, size)
    chosen = np.concatenate([[0, n - 1], starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1)])
    chosen = np.unique(chosen.clip(max=n - 1))
    return x[chosen], y[chosen]


def log_ticks(limits: tuple[float, float], narrow: float) -> dict[str, Any]:
    """Ticks of a log axis: 1, 2, 5, 10, … if its ends are less than `narrow` apart, otherwise some powers of ten."""
    decades = float(np.log10(limits[1]) - np.log10(limits[0]))
    if decades > 8:  # too many digits to write out: a run that diverges reaches 1e300
        return {"exponentformat": "power", "dtick": round(decades / 6)}
    return {"tickformat": ",~r", "dtick": "D2" if decades < np.log10(narrow) else 1}


def apart(places: Sequence[float], far: float, most: float) -> list[float]:
    """The same places of labels moved so that none is closer than `far` to the next, and none is beyond `most`."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved, edge = list(places), -math.inf
    for i in order:
        moved[i] = edge = max(moved[i], edge + far)
    edge = most + far
    for i in reversed(order):
        moved[i] = edge = min(moved[i], edge - far)
    return moved


def subscript(t: int) -> str:
    """A number in subscript digits."""
    return str(t).translate(_SUBSCRIPTS)
