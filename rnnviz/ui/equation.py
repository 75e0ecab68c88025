"""Equations whose terms highlight their numbers, and numbers that highlight their terms."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rnnviz.figures.equations import Equation, pack_steps
from rnnviz.ui.charts import Slider
from rnnviz.ui.components import component
from rnnviz.ui.frame import Frame

_HTML = '<div class="linked-equation" role="group"></div>'


def linked_equation(packed: bytes, *, key: str) -> None:
    """Show what `pack_equations` made, or put other numbers into the equation with this key."""
    component("linked_equation", _HTML)(data=packed, key=key, height="content")


def pack_equations(frame: Frame, steps: Sequence[Equation], descriptions: Sequence[str], slider: Slider) -> bytes:
    """An equation at each value of a slider, which the browser follows.

    Each description says the main numbers in words, for readers who cannot see them.
    """
    hint = frame.translate("Point at a term or a number, or press Tab to go from term to term.")
    data = {"equation": pack_steps(steps), "descriptions": descriptions, "hint": hint, "slider": slider.key}
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
