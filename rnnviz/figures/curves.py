"""The curves of a run: perplexity against epoch, and the gradient norm of every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.figures.kit import COLOURS, LEGEND, RUN_COLOURS, Drawn, Figure, decimate, log_ticks
from rnnviz.figures.references import HIGH_GAP, best_mark, edge_labels, reference_values, room
from rnnviz.i18n import Translate, perplexity_names
from rnnviz.runs.reports import EpochReport, GlobalNorms, best_held_out
from rnnviz.text.ngram import References


def perplexity_figure(
    epochs: Sequence[EpochReport],
    vocab_size: int,
    total_epochs: int,
    translate: Translate = str,
    *,
    reads_ahead: bool = False,
    references: References | None = None,
) -> Figure:
    """Perplexity against epoch on a log axis: training, held-out, and V, what a uniform guess gets.

    Where text is held out, the best epoch is marked, and there are the lines of the n-gram models of the
    `references`. The curves of a model that `reads_ahead` are named so.
    """
    _ = translate
    training, held_out_name = perplexity_names(_, reads_ahead=reads_ahead)
    x = np.array([report.epoch for report in epochs], dtype=np.float64)
    levels: dict[str, float] = {_("uniform"): vocab_size}
    lines = [_reference(vocab_size, total_epochs, _("uniform, V = {size:,}").format(size=vocab_size))]
    series = [(training, "training", [r.perplexity for r in epochs])]
    if any(report.held_out_perplexity is not None for report in epochs):
        counted = reference_values(references, _) if references else {}
        lines += [_reference(y, total_epochs, name, width=1, dash="dot") for name, y in counted.items()]
        levels |= counted
        held_out = [np.nan if r.held_out_perplexity is None else r.held_out_perplexity for r in epochs]
        series.append((held_out_name, "held_out", held_out))
    for line in lines:
        line["showlegend"] = False  # each has its label at its end
    top = float(max(levels.values()))
    for name, colour, values in series:
        y = np.array(values, dtype=np.float64)
        finite = np.isfinite(y)
        top = max(top, float(y[finite].max(initial=1)))
        lines.append(_line(x[finite], y[finite], name, COLOURS[colour], _("epoch %{x:,d}: perplexity %{y:.3~g}")))
    limits = (1.0, min(top, 1e307) * 1.3)
    layout = _layout(_("epoch"), _("perplexity"), total_epochs, limits)
    labels = edge_labels(levels, limits)
    layout["margin"]["r"] = room(labels)
    best = best_held_out(epochs)
    mark: dict[str, list[Drawn]] = {"shapes": [], "annotations": []}
    if best:
        mark = best_mark(best, total_epochs, limits[0], _, reads_ahead=reads_ahead)
    return {"data": lines, "layout": layout | mark | {"annotations": labels + mark["annotations"]}}


def gradient_norm_figure(
    norms: GlobalNorms, theta: float, steps_per_epoch: int, total_epochs: int, translate: Translate = str
) -> Figure:
    """The global gradient norm of every step before and after clipping, and the line at theta."""
    _ = translate
    x = norms.step / steps_per_epoch
    lines = [_reference(theta, total_epochs, _("θ = {theta:g}").format(theta=theta))] if theta else []
    for name, colour, y, width in ((_("before"), "before", norms.before, 3.6), (_("after"), "after", norms.after, 1.6)):
        # where nothing was clipped, the thin line covers the middle of the thick one
        lines.append(_line(*decimate(x, y), name, COLOURS[colour], _("epoch %{x:,.2f}: norm %{y:.3~g}"), width))
    values = np.concatenate([norms.before, norms.after, [theta] if theta else []])
    values = values[np.isfinite(values) & (values > 0)]
    limits = (float(values.min()) / 1.5, float(values.max()) * 1.5) if len(values) else (0.001, 1.0)
    return {"data": lines, "layout": _layout(_("epoch"), _("gradient norm ‖g‖"), total_epochs, limits)}


def two_runs_figure(
    curves: Mapping[str, Sequence[tuple[NDArray[Any], NDArray[Any], str]]],
    ends: Mapping[str, str],
    title: str,
    total_epochs: int,
    translate: Translate = str,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """The curves of two runs over each other, one colour a run, each with its name at the end of its first curve.

    `curves` maps the name of a run to its curves: epochs, values and what they are; the first is a thick line, those
    after it are thin. `ends` says of a run how it ended, where that is worth saying. The `references` are horizontal
    lines, labelled beside the axis.
    """
    _ = translate
    levels = references or {}
    lines = [_reference(y, total_epochs, name, width=1, dash="dot") for name, y in levels.items()]
    notes: list[dict[str, Any]] = []
    shown: list[NDArray[Any]] = []
    for (name, series), colour in zip(curves.items(), RUN_COLOURS, strict=False):
        for k, (at, values, what) in enumerate(series):
            finite = np.isfinite(values) & (values > 0)
            x, y = decimate(at[finite], values[finite])
            lines.append(_line(x, y, f"{name}, {what}", colour, _("epoch %{x:,.2f}: %{y:.3~g}"), 1.1 if k else 2.6))
            shown.append(y)
            if not k and len(x):
                notes.append(_note(x[-1], y[-1], ": ".join(filter(None, (name, ends.get(name)))), colour, len(notes)))
    every = np.concatenate([*shown, [1.0, *levels.values()]])
    limits = (float(every.min()) / 1.3, min(float(every.max()), 1e307) * 1.6)
    labels = edge_labels(levels, limits)
    layout = _layout(_("epoch"), title, total_epochs, limits) | {"showlegend": False, "annotations": labels + notes}
    if labels:
        layout["margin"]["r"] = room(labels)
    return {"data": lines, "layout": layout}


def _note(x: float, y: float, text: str, colour: str, index: int) -> dict[str, Any]:
    """A run's name at the end of its curve, above it for the first run and below it for the second."""
    return {
        "x": float(x),
        "y": float(np.log10(y)),  # as Plotly wants it on a log axis
        "text": text,
        "font": {"color": colour, "size": 13},
        "showarrow": False,
        "xanchor": "right" if x > 0 else "left",
        "yanchor": "top" if index else "bottom",
        "yshift": -6 if index else 6,
    }


def compared_figure(
    curves: Mapping[str, tuple[NDArray[Any], NDArray[Any], str, float]],
    right: int,
    title: str,
    marks: Mapping[str, float],
    translate: Translate = str,
    *,
    held_out: Mapping[str, NDArray[Any]] | None = None,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Named curves against the training step on a log axis, each with its colour and width, and horizontal lines.

    Curves that coincide can all be seen if the first is the widest. What the same trainings have on the `held_out`
    text is a thin dotted line in the colour of their curve, where it is finite. The `marks` are named in the legend,
    and the `references` of the held-out text beside the axis.
    """
    _ = translate
    levels = references or {}
    lines = [_reference(y, right, name, width=1, dash="dot") | {"showlegend": False} for name, y in levels.items()]
    lines += [_reference(y, right, name) for name, y in marks.items()]
    hover = _("step %{x:,d}: %{y:.7~g}")
    for name, (x, y, colour, width) in curves.items():
        lines.append(_line(*decimate(x, y), name, colour, hover, width) | {"mode": "lines", "legendgroup": name})
    dotted = []
    for name, y in (held_out or {}).items():
        x, _y, colour, _width = curves[name]
        finite = np.isfinite(y)
        if finite.any():
            dotted.append(_dotted(*decimate(x[finite], y[finite]), name, colour, hover, _))
    if dotted:
        dotted.append(_dotted([None], [None], "", COLOURS["reference"], hover, _) | {"showlegend": True})
    values = np.concatenate([[*marks.values(), *levels.values(), 1.0], *(y for _x, y, *_rest in curves.values())])
    values = np.concatenate([values, *(held_out or {}).values()])
    values = values[np.isfinite(values) & (values > 0)]
    limits = (float(values.min()) / 1.05, float(values.max()) * 1.15)
    layout, labels = _layout(_("training step"), title, right, limits), edge_labels(levels, limits, HIGH_GAP)
    if labels:
        layout["margin"]["r"] = room(labels)
    return {"data": lines + dotted, "layout": layout | {"annotations": labels}}


def _dotted(x: Any, y: Any, name: str, colour: str, hover: str, translate: Translate) -> dict[str, Any]:
    """A held-out curve, which the legend switches together with its training curve; without a name, the legend's."""
    _ = translate
    line = _line(x, y, _(", ").join(filter(None, (name, _("held-out")))), colour, hover)
    look = {"mode": "lines", "line": {"color": colour, "width": 1.6, "dash": "dot"}, "showlegend": False}
    return line | look | ({"legendgroup": name} if name else {})


def _line(x: NDArray[Any], y: NDArray[Any], name: str, colour: str, hover: str, width: float = 2.2) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines+markers" if len(x) < 30 else "lines",
        "line": {"color": colour, "width": width},
        "marker": {"size": 5},
        "hovertemplate": hover + "<extra>" + name + "</extra>",
    }


def _reference(y: float, right: float, name: str, width: float = 1.8, dash: str = "dash") -> dict[str, Any]:
    """A dashed horizontal line from the left edge to the right one."""
    return {
        "type": "scatter",
        "x": [0, right],
        "y": [y, y],
        "name": name,
        "mode": "lines",
        "line": {"color": COLOURS["reference"], "width": width, "dash": dash},
        "hoverinfo": "skip",
    }


def _layout(x: str, y: str, right: float, limits: tuple[float, float]) -> dict[str, Any]:
    return {
        "margin": {"l": 56, "r": 20, "t": 8, "b": 40},
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": {
            "title": {"text": x, "standoff": 4},
            "range": [0, right * 1.01],
            "tickformat": ",~r",
            "zeroline": False,
        },
        "yaxis": {
            "title": {"text": y},
            "type": "log",
            "range": [float(np.log10(limit)) for limit in limits],
            "zeroline": False,
            **log_ticks(limits, 1e4),
        },
    }
