"""Gradient norms before and after clipping: step by step, and parameter by parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.gradient_study import Norms
from rnnviz.figures.gradients.kit import GREY, reference_line
from rnnviz.figures.kit import COLOURS, LEGEND, MONOSPACE, Figure, decimate, log_ticks
from rnnviz.i18n import Translate


def clipping_figure(norms: Norms, theta: float, name: str | None, translate: Translate = str) -> Figure:
    """The gradient norm of all parameters together, or of the one called `name`, before and after clipping at theta."""
    _ = translate
    before, after = both_norms(norms, theta, name)
    x = norms.steps
    traces = []
    if theta and len(x):
        traces.append(reference_line([x[0], x[-1]], [theta, theta], "dash", _("θ = {theta:g}").format(theta=theta)))
    for label, colour, y, width in ((_("before"), "before", before, 3.4), (_("after"), "after", after, 1.6)):
        thinned_x, thinned_y = decimate(x, y)
        traces.append(
            {
                "type": "scatter",
                "x": thinned_x,
                "y": thinned_y,
                "name": label,
                "mode": "lines",
                "line": {"color": COLOURS[colour], "width": width},
                "hovertemplate": _("step %{x:,d}: norm %{y:.3~g}") + f"<extra>{label}</extra>",
            }
        )
    symbol = f"‖g({name})‖" if name else "‖g‖"
    layout = {
        "margin": {"l": 60, "r": 20, "t": 8, "b": 40},
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "xaxis": {"title": {"text": _("training step")}, "tickformat": ",~r", "zeroline": False},
        "yaxis": _norm_axis(symbol, [before, after], theta, 1.4, 300),
    }
    return {"data": traces, "layout": layout}


def _norm_axis(title: str, shown: Sequence[NDArray[Any]], theta: float, room: float, narrow: float) -> dict[str, Any]:
    """A log axis around theta and all that is shown, with 2 and 5 between the powers of ten if those are few."""
    values = np.concatenate([*shown, [theta] if theta else []])
    values = values[values > 0]
    low, high = (float(values.min()) / room, float(values.max()) * room) if len(values) else (0.01, 1.0)
    return {
        "title": {"text": title},
        "type": "log",
        "range": [float(np.log10(low)), float(np.log10(high))],
        **log_ticks((low, high), narrow),
    }


def both_norms(norms: Norms, theta: float, name: str | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Norms before and after clipping, (n,) each, of all parameters together or of one."""
    if name:
        column = norms.names.index(name)
        return norms.values[:, column], norms.clipped(theta)[:, column]
    total = norms.total()
    return total, np.minimum(total, theta) if theta else total


def parameters_figure(norms: Norms, theta: float, i: int, translate: Translate = str) -> Figure:
    """The norms of step i, parameter by parameter: before, clipped by the global norm, and each clipped alone."""
    _ = translate
    before, together, alone = norms.values[i], norms.clipped(theta)[i], norms.clipped_singly(theta)[i]
    names = list(norms.names)
    ways = [
        {**reference_line([first, second], [0, 0], "solid"), "y": [name, name]}
        for name, first, second in zip(names, before, together, strict=True)
    ]
    dots = [
        {
            "type": "scatter",
            "x": values,
            "y": names,
            "name": label,
            "mode": "markers",
            "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 2, "color": colour}},
            "hovertemplate": f"%{{y}}: %{{x:.3~g}}<extra>{label}</extra>",
        }
        for label, colour, symbol, size, values in (
            (_("each alone"), COLOURS["held_out"], "line-ns-open", 16, alone),
            (_("before"), COLOURS["before"], "circle", 12, before),
            (_("after, by the global norm"), COLOURS["after"], "circle", 9, together),
        )
    ]
    line = {"type": "line", "x0": theta, "x1": theta, "y0": 0, "y1": 1, "yref": "paper"}
    layout = {
        "margin": {"l": 60, "r": 8, "t": 8, "b": 40},
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "shapes": [{**line, "line": {"color": GREY, "width": 1.8, "dash": "dash"}}] if theta else [],
        "xaxis": _norm_axis(_("norm of the parameter’s gradient"), [before, together, alone], theta, 1.5, 30),
        "yaxis": {"type": "category", "autorange": "reversed", "tickfont": {"family": MONOSPACE}},
    }
    return {"data": ways + dots, "layout": layout}
