"""What a held-out curve is compared with: dashed lines labelled at the right edge, and the mark of its best epoch."""

from __future__ import annotations

from collections.abc import Mapping
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from rnnviz.figures.kit import COLOURS, Drawn
from rnnviz.i18n import Translate, quantity
from rnnviz.runs.reports import EpochReport
from rnnviz.text.ngram import References

LABEL_SIZE = 11  # of the labels, in pixels
# Between two labels, as a share of the axis: a line of text where a chart is lowest, on a dashboard, and in one that
# has at least 300 pixels.
_GAP, HIGH_GAP = 0.11, 0.06


def reference_values(references: References, translate: Translate) -> dict[str, float]:
    """The perplexities of the n-gram models by their names; none where no held-out character could be scored."""
    _ = translate
    values = {_("unigram"): references.unigram}
    values |= {_("{n}-gram").format(n=order): value for order, value in references.ngrams.items()}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def reference_levels(references: References, translate: Translate) -> dict[str, float]:
    """The same, and before them the uniform guess: every line beside a held-out curve, by its name."""
    _ = translate
    return {_("uniform"): references.uniform} | reference_values(references, _)


def edge_labels(values: Mapping[str, float], limits: tuple[float, float], gap: float = _GAP) -> list[Drawn]:
    """The names and values of horizontal lines of a log axis beside its right end, moved apart where they are close."""
    low, high = np.log10(limits)
    names = sorted(values, key=values.__getitem__)
    places = within_axis(np.array([(np.log10(values[name]) - low) / (high - low) for name in names]), gap)
    return [
        {
            "text": with_value(name, values[name]),
            "x": 1,
            "xref": "paper",
            "xanchor": "left",
            "xshift": 4,
            "y": float(low + place * (high - low)),
            "yanchor": "middle",
            "showarrow": False,
            "font": {"size": LABEL_SIZE, "color": COLOURS["reference"]},
        }
        for name, place in zip(names, places, strict=True)
    ]


def with_value(name: str, value: float) -> str:
    """What a line is called beside the axis."""
    return f"{name} {value:,}" if isinstance(value, int) else f"{name} {quantity(value)}"  # V is a count


def room(labels: list[Drawn]) -> int:
    """The room that labels beside an axis need, in pixels."""
    sizes = [sum(1.0 if east_asian_width(c) in "WF" else 0.58 for c in label["text"]) for label in labels]
    return 10 + round(LABEL_SIZE * max(sizes, default=0.0))


def within_axis(places: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Rising places of labels, as shares of the axis, moved apart by `gap` at least; none is beyond the axis."""
    room_below = gap * (np.arange(len(places)) + 0.5)
    return np.clip(spread(places, gap), room_below, 1 - room_below[::-1])


def spread(places: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Rising places moved apart until neighbours are at least `gap` apart; those that are stay where they are.

    It is the mean of moving them only up and moving them only down.
    """
    steps = gap * np.arange(len(places))
    free = places - steps
    up, down = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    return (up + down) / 2 + steps


def best_mark(
    best: EpochReport, total_epochs: int, low: float, translate: Translate, *, reads_ahead: bool
) -> dict[str, list[Drawn]]:
    """A line from the axis to the lowest point of the held-out curve, and what it is: shapes and annotations."""
    _ = translate
    said = _("best held-out: {value} in epoch {epoch:,}")
    if reads_ahead:
        said = _("best held-out, future read: {value} in epoch {epoch:,}")
    on_the_left = best.epoch > total_epochs / 2
    value = float(best.held_out_perplexity or np.nan)
    line = {"color": COLOURS["held_out"], "width": 1.6, "dash": "dot"}
    ends = {"x0": best.epoch, "x1": best.epoch, "y0": low, "y1": value}
    label = {
        "text": said.format(value=quantity(value), epoch=best.epoch),
        "x": best.epoch,
        "xanchor": "right" if on_the_left else "left",
        "xshift": -3 if on_the_left else 3,
        "y": 0,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": LABEL_SIZE, "color": COLOURS["held_out"]},
    }
    return {"shapes": [{"type": "line", "line": line, **ends}], "annotations": [label]}
