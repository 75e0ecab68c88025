"""Equations whose terms light up with their numbers, and numbers that light up their terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from rnnviz.equations import Equation
from rnnviz.ui.frame import Frame

_STATIC = Path(__file__).resolve().parents[1] / "static"
_HTML = '<div class="linked-equation" role="group"></div>'


@st.cache_resource
def _component() -> Any:
    """The component, registered once a server."""
    return st.components.v2.component(
        "rnnviz_linked_equation",
        html=_HTML,
        css=(_STATIC / "linked_equation.css").read_text(encoding="utf-8"),
        js=(_STATIC / "linked_equation.js").read_text(encoding="utf-8"),
        isolate_styles=False,
    )


def linked_equation(frame: Frame, equation: Equation, *, key: str, description: str) -> None:
    """Show an equation with its numbers, or put other numbers into the one that stands under this key.

    `description` says the main numbers in words, for those who do not see them.
    """
    hint = frame.translate("Point at a term or a number, or press Tab to go from term to term.")
    data = {"equation": equation.to_json(), "description": description, "hint": hint}
    _component()(data=data, key=key, height="content")
