"""A small line chart on a log axis as an SVG file, for documents that no script runs in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from rnnviz.figures.kit import apart
from rnnviz.i18n import times_power

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 760, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 590, 14, 286  # the edges of the picture; labels stand right of it
_LINE_HEIGHT = 14
_MOST_LINES = 8  # of the grid, across
_INK, _GRID = "#30363D", "#E3E6E9"


@dataclass(frozen=True)
class Mark:
    """A line through its points, or dots at them; a label, if any, stands at the right edge in the same colour."""

    label: str
    colour: str
    points: Points
    dots: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class _Scale:
    """Where a point is drawn: x from 0 to `right`, the decimal logarithm of y from `low` to `high`."""

    right: float
    low: float
    high: float

    def place(self, x: float, log: float) -> tuple[float, float]:
        share = (log - self.low) / (self.high - self.low)
        return _LEFT + (_RIGHT - _LEFT) * x / self.right, _BOTTOM - (_BOTTOM - _TOP) * share

    def places(self, points: Points) -> Points:
        """Those of all points whose y is finite."""
        return [self.place(x, math.log10(y)) for x, y in points if math.isfinite(y)]


def log_chart(title: str, x_title: str, y_title: str, right: float, marks: Sequence[Mark]) -> str:
    """The marks over x from 0 to `right`; y is positive, and left out where it is not finite. Every text is escaped."""
    logs = [math.log10(y) for mark in marks for _x, y in mark.points if math.isfinite(y)]
    scale = _Scale(right, min([0.0, *logs]), max([1.0, *logs]) + 0.1)
    drawn = [(mark, places) for mark in marks if (places := scale.places(mark.points))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{_INK}">',
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#FFFFFF"/>',
        *_axes(scale, x_title, y_title),
        *(_shape(mark, places) for mark, places in drawn),
        *_labels(drawn),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _axes(scale: _Scale, x_title: str, y_title: str) -> Iterator[str]:
    spacing = math.ceil((scale.high - scale.low) / _MOST_LINES)
    for power in range(math.ceil(scale.low), math.floor(scale.high) + 1, spacing):
        _x, y = scale.place(0, power)
        label = f"{10**power:,}" if 0 <= power < 6 else times_power("1", power)
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_GRID}"/>' + _text(_LEFT - 6, y + 4, label, "end")
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = scale.place(share * scale.right, scale.low)
        yield _text(x, y + 17, f"{share * scale.right:,.4g}", "middle")
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 36, x_title, "middle")
    middle = (_TOP + _BOTTOM) / 2
    yield f'<g transform="translate(14 {middle}) rotate(-90)">{_text(0, 0, y_title, "middle")}</g>'


def _shape(mark: Mark, places: Points) -> str:
    if mark.dots:
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{mark.colour}"/>' for x, y in places)
    dash = ' stroke-dasharray="5 4"' if mark.dashed else ""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{points}" fill="none" stroke="{mark.colour}" stroke-width="1.8"{dash}/>'


def _labels(drawn: Sequence[tuple[Mark, Points]]) -> Iterator[str]:
    labelled = [(mark, places[-1][1]) for mark, places in drawn if mark.label]
    for (mark, _y), y in zip(labelled, apart([y for _mark, y in labelled], _LINE_HEIGHT, _BOTTOM), strict=True):
        yield _text(_RIGHT + 8, y + 4, mark.label, colour=mark.colour)


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
