"""Our Streamlit components, whose style and script are files in `static/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

_STATIC = Path(__file__).resolve().parent / "static"


@st.cache_resource
def component(name: str, html: str) -> Any:
    """The component `rnnviz_<name>` with `<name>.css` and `<name>.js`, registered once per server."""
    return st.components.v2.component(
        f"rnnviz_{name}",
        html=html,
        css=(_STATIC / f"{name}.css").read_text(encoding="utf-8"),
        js=(_STATIC / f"{name}.js").read_text(encoding="utf-8"),
        isolate_styles=False,
    )
