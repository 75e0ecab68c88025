"""The curves of a reproduced experiment, beside what was published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnviz.analysis.reproduction import Result
from rnnviz.figures.kit import COLOURS, Drawn, Figure, apart, decimate, log_ticks
from rnnviz.i18n import Translate

_FAR = 0.095  # of the height: closer labels would cover each other
Limits = tuple[float, float]


def common_limits(results: Sequence[Result], references: Mapping[str, float]) -> Limits:
    """The range of the perplexities of all results, so that their pictures share an axis."""
    reached = [
        value
        for result in results
        for outcome in result.outcomes
        for epoch in outcome.epochs
        for value in (epoch.perplexity, epoch.held_out_perplexity)
        if value is not None and math.isfinite(value)
    ]
    return 0.9, 1.6 * max([10.0, *reached, *filter(math.isfinite, references.values())])


@dataclass(frozen=True)
class _Label:
    """Words at the right edge, in the colour of what they name."""

    text: str
    colour: str
    y: float


def experiment_figure(
    result: Result, references: Mapping[str, float], limits: Limits, translate: Translate = str
) -> Figure:
    """Training and held-out perplexity of every seed on a log axis, what was published as dots, and reference lines."""
    _ = translate
    right, lines, labels = result.plan.epochs, list[Drawn](), list[_Label]()
    for name, value in references.items():
        if math.isfinite(value):
            lines.append(_line([0, right], [value, value], name, COLOURS["reference"], 1.4, dash="dot"))
            labels.append(_Label(name, COLOURS["reference"], value))
    future = result.experiment.sees_the_future
    names = {"training": _("training"), "held_out": _("held-out, future read") if future else _("held-out")}
    for colour, name in names.items():
        ends = []
        for outcome in result.outcomes:
            field = "perplexity" if colour == "training" else "held_out_perplexity"
            values = [getattr(epoch, field) for epoch in outcome.epochs]
            y = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            x = np.arange(1, len(y) + 1)[np.isfinite(y)]
            if len(x):
                lines.append(_line(*decimate(x, y[np.isfinite(y)]), name, COLOURS[colour], 1.8))
                ends.append(float(y[x[-1] - 1]))
        if ends:
            labels.append(_Label(name, COLOURS[colour], float(np.median(ends))))
    recorded = {epoch: value for epoch, value in result.experiment.recorded.items() if epoch <= right}
    dots = _line(list(recorded), list(recorded.values()), _("published"), COLOURS["before"], 0)
    lines.append(dots | {"mode": "markers", "marker": {"size": 8, "color": COLOURS["before"]}})
    if recorded:
        labels.append(_Label(_("published"), COLOURS["before"], recorded[max(recorded)]))
    return {"data": lines, "layout": _layout(right, limits, labels, _)}


def _line(x: Any, y: Any, name: str, colour: str, width: float, dash: str = "solid") -> Drawn:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": "%{x:,d}: %{y:.4~g}<extra>" + name + "</extra>",
    }


def _layout(right: int, limits: Limits, labels: Sequence[_Label], translate: Translate) -> dict[str, Any]:
    _ = translate
    low, high = np.log10(limits)
    places = apart([(float(np.log10(label.y)) - low) / (high - low) for label in labels], _FAR, 1)
    return {
        "margin": {"l": 48, "r": 92, "t": 8, "b": 38},
        "hovermode": "closest",
        "showlegend": False,
        "xaxis": {"title": {"text": _("epoch")}, "range": [0, right * 1.02], "nticks": 5, "zeroline": False},
        "yaxis": {"type": "log", "range": [low, high], "zeroline": False, **log_ticks(limits, 10)},
        "annotations": [
            {
                "xref": "paper",
                "yref": "paper",
                "x": 1.01,
                "y": place,
                "xanchor": "left",
                "yanchor": "middle",
                "text": label.text,
                "font": {"size": 12, "color": label.colour},
                "showarrow": False,
            }
            for label, place in zip(labels, places, strict=True)
        ],
    }
