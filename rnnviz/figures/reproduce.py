"""The curves of a reproduced experiment, beside what was published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnviz.analysis.held_back import Learned
from rnnviz.analysis.reproduction import Result
from rnnviz.figures.kit import COLOURS, Drawn, Figure, decimate, log_ticks
from rnnviz.figures.references import HIGH_GAP, LABEL_SIZE, best_mark, room, with_value, within_axis
from rnnviz.i18n import Translate, perplexity_names
from rnnviz.runs.reports import best_held_out

_FAR = 0.095  # of the height: closer labels would cover each other
_ABOVE = 8  # pixels: what is published and the training curve stand at the bottom
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
    """Training and held-out perplexity of every seed on a log axis, what was published as dots, and reference lines.

    A dot marks the best held-out epoch of each seed, and words say which is the best of all.
    """
    _ = translate
    right, lines, labels = result.plan.epochs, list[Drawn](), list[_Label]()
    for name, value in references.items():
        if math.isfinite(value):
            lines.append(_line([0, right], [value, value], name, COLOURS["reference"], 1.4, dash="dot"))
            labels.append(_Label(with_value(name, value), COLOURS["reference"], value))
    names = perplexity_names(_, reads_ahead=result.experiment.sees_the_future)
    for colour, name in zip(("training", "held_out"), names, strict=True):
        ends = []
        for outcome in result.outcomes:
            field = "perplexity" if colour == "training" else "held_out_perplexity"
            values = [getattr(epoch, field) for epoch in outcome.epochs]
            y = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            x, y = _finite(np.arange(1, len(y) + 1), y)
            if len(x):
                lines.append(_line(*decimate(x, y), name, COLOURS[colour], 1.8))
                ends.append(float(y[-1]))
        if ends:
            labels.append(_Label(name, COLOURS[colour], float(np.median(ends))))
    recorded = {epoch: value for epoch, value in result.experiment.recorded.items() if epoch <= right}
    dots = _line(list(recorded), list(recorded.values()), _("published"), COLOURS["before"], 0)
    lines.append(dots | {"mode": "markers", "marker": {"size": 8, "color": COLOURS["before"]}})
    if recorded:
        labels.append(_Label(_("published"), COLOURS["before"], recorded[max(recorded)]))
    layout = _layout(right, limits, labels, _)
    layout["margin"]["r"] = room(layout["annotations"])
    lowest = [best for outcome in result.outcomes if (best := best_held_out(outcome.epochs))]
    for best in lowest:
        value = best.held_out_perplexity or math.nan
        lines.append(_dot(best.epoch, value, _("lowest held-out"), COLOURS["held_out"]))
    if best := best_held_out(lowest):
        mark = best_mark(best, right, limits[0], _, reads_ahead=result.experiment.sees_the_future)
        short = {"text": _("best in epoch {epoch:,}").format(epoch=best.epoch), "yshift": _ABOVE}
        above = [label | short for label in mark["annotations"]]
        layout |= {"shapes": mark["shapes"], "annotations": layout["annotations"] + above}
    return {"data": lines, "layout": layout}


def _finite(x: Any, y: Any) -> tuple[Any, Any]:
    """The points of a curve that a log axis has."""
    there = np.isfinite(y)
    return x[there], y[there]


def _dot(x: float, y: float, name: str, colour: str) -> Drawn:
    """Where a held-out curve is lowest."""
    return _line([x], [y], name, colour, 0) | {"mode": "markers", "marker": {"size": 9, "color": colour}}


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


def _layout(
    right: int, limits: Limits, labels: Sequence[_Label], translate: Translate, far: float = _FAR
) -> dict[str, Any]:
    _ = translate
    low, high = np.log10(limits)
    labels = sorted(labels, key=lambda label: label.y)
    places = within_axis(np.array([(np.log10(label.y) - low) / (high - low) for label in labels]), far)
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
                "y": float(place),
                "xanchor": "left",
                "yanchor": "middle",
                "text": label.text,
                "font": {"size": LABEL_SIZE, "color": label.colour},
                "showarrow": False,
            }
            for label, place in zip(labels, places, strict=True)
        ],
    }


# One for each switch, the plain training first; told apart by the common kinds of colour blindness.
_SWITCH_COLOURS = ("#808890", "#3274B5", "#B07D12", "#1B8A6B", "#A0559A")
_MINE = "#C8553D"
_GONE = 0.22  # how much of a curve is left beyond its best epoch, where training would have stopped


def held_back_figure(
    curves: Mapping[str, Learned],
    mine: tuple[str, Learned] | None,
    references: Mapping[str, float],
    translate: Translate = str,
    *,
    early: bool = False,
) -> Figure:
    """Training perplexity on the left and held-out perplexity on the right, against the step, on one log axis.

    A dot marks where each held-out curve is lowest. With `early` stopping what comes after it is faded.
    What is infinite is left out. `mine` is drawn over the others, and thicker.
    """
    _ = translate
    shown = [(name, curve, colour, 1.8) for (name, curve), colour in zip(curves.items(), _SWITCH_COLOURS, strict=True)]
    if mine:
        shown.append((*mine, _MINE, 3.2))
    right = max(int(curve.step[-1]) for _name, curve, _colour, _width in shown)
    values = np.concatenate([np.concatenate([c.training, c.held_out]) for _name, c, _colour, _width in shown])
    values = np.append(values, list(references.values()))
    limits = 0.95, 1.2 * float(values[np.isfinite(values)].max(initial=1.0))
    lines, labels = list[Drawn](), list[_Label]()
    for name, value in references.items():
        if not math.isfinite(value):
            continue
        lines.append(_line([0, right], [value, value], name, COLOURS["reference"], 1.4, dash="dot") | {"xaxis": "x2"})
        labels.append(_Label(with_value(name, value), COLOURS["reference"], value))
    for name, curve, colour, width in shown:
        for axis, y in (("x", curve.training), ("x2", curve.held_out)):
            end = curve.best + 1 if early else len(y)
            lines.append(_line(*_finite(curve.step[:end], y[:end]), name, colour, width) | {"xaxis": axis})
            if end < len(y):
                rest = _line(*_finite(curve.step[end - 1 :], y[end - 1 :]), name, colour, width)
                lines.append(rest | {"xaxis": axis, "opacity": _GONE})
        steps, held_out = _finite(curve.step, curve.held_out)
        if len(steps):
            lowest = int(held_out.argmin())
            lines.append(_dot(int(steps[lowest]), float(held_out[lowest]), name, colour) | {"xaxis": "x2"})
            labels.append(_Label(name, colour, float(held_out[-1])))
    layout = _layout(right, limits, labels, _, HIGH_GAP)
    step = {"title": {"text": _("training step")}, "range": [0, right * 1.02], "nticks": 5, "zeroline": False}
    layout["margin"] = {"l": 48, "r": 190, "t": 26, "b": 40}
    layout["xaxis"], layout["xaxis2"] = step | {"domain": [0, 0.47]}, step | {"domain": [0.53, 1]}
    for title, x in ((_("training"), 0.0), (_("held-out"), 0.53)):
        layout["annotations"].append(_heading(title, x))
    return {"data": lines, "layout": layout}


def _heading(text: str, x: float) -> Drawn:
    place = {"xref": "paper", "yref": "paper", "x": x, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
    return place | {"text": f"<b>{text}</b>", "showarrow": False}
