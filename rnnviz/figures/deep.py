"""Pictures of the Deep chapter: layer by layer while training, and how far back each layer looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.deep import COST_LAYERS, COST_PARAMETERS, Cost, Dropped, LayerStudy
from rnnviz.analysis.reading import Reading
from rnnviz.cells import find_cell
from rnnviz.figures.gates import chance_line, gates_figure
from rnnviz.figures.kit import COLOURS, LEGEND, Drawn, Figure, decimate
from rnnviz.i18n import Translate
from rnnviz.runs.recording import order_by_similarity
from rnnviz.signals import SIGNALS

Vector = NDArray[np.float32]

# A colour for each layer, the lowest first: apart for the three common kinds of colour blindness.
LAYER_COLOURS = (COLOURS["training"], COLOURS["before"], COLOURS["after"], COLOURS["held_out"])
_START = 0.5  # where step 0 stands on a log axis
_GAP = 0.035  # between the columns of two layers
_BEHIND_DROPPED: dict[str, Any] = {
    "type": "rect",
    "layer": "below",
    "line": {"width": 0},
    "fillcolor": COLOURS["reference"],
    **{"xref": "paper", "x0": 0, "x1": 1, "yref": "paper", "y0": 0.68, "y1": 1},
}
_ROWS = ([0.64, 1.0], [0.32, 0.58], [0.0, 0.26])


def layers_figure(study: LayerStudy, name: str, translate: Translate = str) -> Figure:
    """A column for each layer, against the training step: the spread of a signal over units and characters, how far
    the hidden states of different texts are apart, and the gradient norm.

    All columns have the same axes, so that layers compare.
    """
    _ = translate
    L = study.num_layers
    axes = [_signal_axis(study, name), _log_axis(study.differences), _log_axis(study.norms)]
    titles = [SIGNALS[name].symbol, _("differences of Hₜ"), _("gradient norm")]
    x_axis = _step_axis(study)
    traces: list[Drawn] = []
    layout: dict[str, Any] = {
        "margin": {"l": 70, "r": 8, "t": 34, "b": 44},
        "hovermode": "closest",
        "showlegend": False,
        "annotations": [],
    }
    for i in range(L):
        domain = [i * (1 + _GAP) / L, (i + 1) * (1 + _GAP) / L - _GAP]
        layout["annotations"].append(_heading(_("layer {n}").format(n=i + 1), sum(domain) / 2))
        for row, (axis, title) in enumerate(zip(axes, titles, strict=True)):
            k = str(row * L + i + 1) if row + i else ""
            last = row == len(axes) - 1
            layout[f"xaxis{k}"] = {**x_axis, "domain": domain, "anchor": f"y{k}", "showticklabels": last}
            layout[f"yaxis{k}"] = {**axis, "domain": _ROWS[row], "anchor": f"x{k}", "showticklabels": i == 0}
            if i == 0:
                layout[f"yaxis{k}"]["title"] = {"text": title}
            if last:
                layout[f"xaxis{k}"]["title"] = {"text": _("training step")}
            drawn = (_fan(study, name, i, _), [_difference_line(study, i, _)], [_norm_line(study, i, _)])[row]
            traces += [trace | {"xaxis": f"x{k}", "yaxis": f"y{k}"} for trace in drawn]
    return {"data": traces, "layout": layout}


def _step_axis(study: LayerStudy) -> dict[str, Any]:
    """A log axis on which step 0 has a place as well."""
    right = float(max(study.steps[-1], study.norm_steps[-1] if len(study.norm_steps) else 1)) * 1.15
    return {
        "type": "log",
        "range": [float(np.log10(_START / 1.2)), float(np.log10(right))],
        "zeroline": False,
        "tickvals": [_START, 1, 10, 100, 1000, 10_000],
        "ticktext": ["0", "1", "10", "100", "1,000", "10,000"],
    }


def _kept_steps(study: LayerStudy) -> NDArray[np.float64]:
    return np.maximum(np.array(study.steps, np.float64), _START)


def _heading(text: str, x: float) -> Drawn:
    place = {"x": x, "y": 1.01, "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "bottom"}
    return {"text": f"<b>{text}</b>", "showarrow": False, "font": {"size": 15}, **place}


def _fan(study: LayerStudy, name: str, i: int, _: Translate) -> list[Drawn]:
    """The middle half and nine tenths of all values as bands, and their median as a line."""
    x, quantiles, colour = _kept_steps(study), study.quantiles[name][:, i], SIGNALS[name].colour
    bands: list[Drawn] = []
    for low, high, shade in ((0, 4, "30"), (1, 3, "55")):
        edge: Drawn = {"type": "scatter", "x": x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        filled = {"y": quantiles[:, high], "fill": "tonexty", "fillcolor": colour + shade}
        bands += [edge | {"y": quantiles[:, low]}, edge | filled]
    said = [
        _("step {step:,}: median {middle:.3g}, nine tenths from {low:.3g} to {high:.3g}").format(
            step=step, middle=q[2], low=q[0], high=q[4]
        )
        for step, q in zip(study.steps, quantiles, strict=True)
    ]
    return [*bands, _line(x, quantiles[:, 2], colour, "%{text}", SIGNALS[name].symbol) | {"text": said}]


def _difference_line(study: LayerStudy, i: int, _: Translate) -> Drawn:
    said = [
        _("step {step:,}: {value:.3g}").format(step=s, value=v)
        for s, v in zip(study.steps, study.differences[:, i], strict=True)
    ]
    return _line(_kept_steps(study), study.differences[:, i], SIGNALS["H"].colour, "%{text}", "Hₜ") | {"text": said}


def _norm_line(study: LayerStudy, i: int, _: Translate) -> Drawn:
    x, y = decimate(study.norm_steps, study.norms[:, i])
    hover = _("step %{x:,d}: norm %{y:.3~g}")
    line = _line(x, np.where(y > 0, y, np.nan), COLOURS["before"], hover, _("gradient norm"))
    return line | {"mode": "lines", "line": {"color": COLOURS["before"], "width": 1.6}}


def _line(x: NDArray[Any], y: NDArray[Any], colour: str, hover: str, name: str) -> Drawn:
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2.6},
        "marker": {"size": 5},
        "hovertemplate": hover + "<extra></extra>",
    }


def _signal_axis(study: LayerStudy, name: str) -> dict[str, Any]:
    """Fixed for what has bounds; else around 0, as wide as the widest layer."""
    signal = SIGNALS[name]
    if name in find_cell(study.cell).unbounded:
        most = 1.05 * float(np.abs(study.quantiles[name]).max())
        return {"range": [-most, most], "nticks": 5, "zeroline": True}
    low, high = signal.low, signal.high
    room = 0.03 * (high - low)
    return {
        "range": [low - room, high + room],
        "tickvals": [low, (low + high) / 2, high],
        "zeroline": not signal.is_gate,
    }


def _log_axis(values: NDArray[Any]) -> dict[str, Any]:
    positive = values[(values > 0) & np.isfinite(values)]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.1, 1.0)
    ends = [float(np.log10(low / 1.4)), float(np.log10(high * 1.4))]
    return {"type": "log", "range": ends, "dtick": max(1, round((ends[1] - ends[0]) / 5)), "exponentformat": "power"}


def reach_figure(study: LayerStudy, k: int, translate: Translate = str) -> Figure:
    """‖dL_T/dH_t‖ of every layer against the lag, at the k-th checkpoint; the axis is that of all checkpoints."""
    _ = translate
    lags = np.arange(study.reach.shape[2])
    lines = [
        {
            "type": "scatter",
            "x": lags,
            "y": np.where(norms > 0, norms, np.nan),
            "mode": "lines",
            "name": _("layer {n}").format(n=i + 1),
            "line": {"color": LAYER_COLOURS[i], "width": 2.8},
            "hovertemplate": _("lag %{x}: %{y:.3~g}") + f"<extra>{_('layer {n}').format(n=i + 1)}</extra>",
        }
        for i, norms in enumerate(study.reach[k])
    ]
    layout = {
        "margin": {"l": 72, "r": 12, "t": 34, "b": 44},
        "hovermode": "x unified",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": {
            "title": {"text": _("lag T − t, in characters")},
            "range": [-0.5, len(lags) - 0.5],
            "zeroline": False,
        },
        "yaxis": {**_log_axis(study.reach), "title": {"text": "‖dL<sub>T</sub>/dH<sub>t</sub>‖"}, "zeroline": False},
    }
    return {"data": lines, "layout": layout}


def dropout_figure(
    reading: Reading, dropped: Dropped, chances: tuple[Vector, Vector], translate: Translate = str
) -> Figure:
    """What layer 1 hands to layer 2 in a training step, where what is dropped is grey, and when predicting;
    below, what each gives to the true next characters."""
    _ = translate
    whole = reading.outputs(1)
    figure = gates_figure(reading.trace, "H", order=order_by_similarity(whole), translate=_)
    (cells,), layout = figure["data"], figure["layout"]
    units = np.array(cells["y"], dtype=np.intp)
    hover = "<br>".join((_("step %{x}"), _("unit %{y}"), "%{z:.3g}")) + "<extra></extra>"
    maps = [
        cells | {"z": np.ascontiguousarray(values.T[units]), "yaxis": axis, "hovertemplate": hover, "showscale": scale}
        for values, axis, scale in (
            (np.where(dropped.handed[0] == 0, np.nan, dropped.handed[0]), "y", True),
            (whole, "y2", False),
        )
    ]
    maps[0]["colorbar"] = cells["colorbar"] | {"len": 0.66, "y": 1, "yanchor": "top", "title": {"text": ""}}
    names = ((_("training step"), COLOURS["held_out"]), (_("prediction"), COLOURS["after"]))
    lines = [chance_line(cells["x"], y, name, colour, "y3") for y, (name, colour) in zip(chances, names, strict=True)]
    rows = [layout["yaxis"] | {"title": {"text": name}, "showgrid": False} for name, _colour in names]
    layout = layout | {
        "margin": {"l": 64, "r": 8, "t": 30, "b": 36},
        "showlegend": True,
        "legend": LEGEND,
        "hovermode": "closest",
        "xaxis": layout["xaxis"] | {"anchor": "y3"},
        "shapes": [_BEHIND_DROPPED],
        "yaxis": rows[0] | {"domain": [0.68, 1]},
        "yaxis2": rows[1] | {"domain": [0.34, 0.66]},
        "yaxis3": {
            "domain": [0, 0.28],
            "range": [-0.02, 1.02],
            "nticks": 3,
            "zeroline": False,
            "title": {"text": _("P of the next")},
        },
    }
    return {"data": [*maps, *lines], "layout": layout}


def cost_figure(costs: Sequence[Cost], translate: Translate = str) -> Figure:
    """Time and memory of a training step against the number of layers, a line for each number of parameters."""
    _ = translate
    traces: list[Drawn] = []
    for k, (parameters, colour) in enumerate(zip(COST_PARAMETERS, LAYER_COLOURS, strict=False)):
        line = [cost for cost in costs if min(COST_PARAMETERS, key=lambda p: abs(p - cost.parameters)) == parameters]
        name = _("about {count:,} parameters").format(count=parameters)
        said = [
            _("{layers} layers of {units} units, {parameters:,} parameters").format(
                layers=cost.layers, units=cost.units, parameters=cost.parameters
            )
            for cost in line
        ]
        for axis, values, unit in (
            ("", [1000 * cost.seconds for cost in line], _("ms")),
            ("2", [cost.bytes / 2**20 for cost in line], "MiB"),
        ):
            traces.append(
                {
                    "type": "scatter",
                    "x": [cost.layers for cost in line],
                    "y": values,
                    "text": said,
                    "name": name,
                    "legendgroup": str(k),
                    "showlegend": not axis,
                    "mode": "lines+markers",
                    "line": {"color": colour, "width": 2.6},
                    "marker": {"size": 8},
                    "hovertemplate": "%{text}<br>%{y:.3~g} " + unit + "<extra></extra>",
                    "xaxis": f"x{axis}",
                    "yaxis": f"y{axis}",
                }
            )
    x_axis = {"title": {"text": _("layers")}, "tickvals": list(COST_LAYERS), "zeroline": False}
    x_axis |= {"range": [COST_LAYERS[0] - 0.15, COST_LAYERS[-1] + 0.15]}
    y_axis = {"type": "log", "tickformat": ",~r", "dtick": "D2", "zeroline": False}
    layout = {
        "margin": {"l": 60, "r": 12, "t": 40, "b": 44},
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": {**x_axis, "domain": [0, 0.45]},
        "xaxis2": {**x_axis, "domain": [0.55, 1], "anchor": "y2"},
        "yaxis": {**y_axis, "title": {"text": _("ms of the processor for a training step")}},
        "yaxis2": {**y_axis, "title": {"text": _("MiB kept for a training step")}, "anchor": "x2"},
    }
    return {"data": traces, "layout": layout}


def notes_points(
    steps: NDArray[np.int64], recorded: Sequence[float], name: str, colour: str, translate: Translate = str
) -> Drawn:
    """What the lecture notes recorded at these steps, as circles in the colour of our curve."""
    named = translate("{name}, the notes").format(name=name)
    return {
        "type": "scatter",
        "x": steps,
        "y": np.array(recorded),
        "name": named,
        "mode": "markers",
        "marker": {"color": colour, "size": 10, "symbol": "circle-open", "line": {"width": 2.4}},
        "hovertemplate": "%{y:.5~g}<extra>" + named + "</extra>",
    }


def depth_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of some depths, in their order."""
    return dict(zip(names, LAYER_COLOURS, strict=False))
