"""Pictures of the GRU's chapter: the reset gate before and after the matrix product."""

from __future__ import annotations

import numpy as np

from rnnviz.analysis.holding import true_probabilities
from rnnviz.analysis.reading import Reading
from rnnviz.figures.gates import above_chances, gates_figure
from rnnviz.figures.kit import COLOURS, Figure
from rnnviz.i18n import Translate
from rnnviz.runs.recording import order_by_similarity


def reset_figure(after: Reading, before: Reading, translate: Translate = str) -> Figure:
    """The difference between the states of the two forms, and the probabilities of the true next characters."""
    _ = translate
    figure = gates_figure(after.trace, "H", order=order_by_similarity(after.trace.signal("H")), translate=_)
    (cells,) = figure["data"]
    units = np.array(cells["y"], dtype=np.intp)
    difference = after.trace.signal("H") - before.trace.signal("H")
    hover = "<br>".join((_("step %{x}"), _("unit %{y}"), _("after − before") + " = %{z:.3g}"))
    cells |= {
        "z": np.ascontiguousarray(difference.T[units]),
        "zmin": -2,
        "zmax": 2,
        "colorbar": cells["colorbar"] | {"title": {"text": "ΔHₜ"}},
        "hovertemplate": hover + "<extra></extra>",
    }
    chances = {
        _("after the product"): (true_probabilities(after), COLOURS["after"]),
        _("before the product"): (true_probabilities(before), COLOURS["before"]),
    }
    return above_chances(figure, chances, _)
