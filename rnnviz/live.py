"""Live charts: a Streamlit component around plotly.js that is updated in place.

`st.plotly_chart` builds a chart anew for every change of its data: it blinks, and zoom and hover
are lost. This component hands each new figure to `Plotly.react`.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import plotly.graph_objects as go
import streamlit as st
from plotly.offline import get_plotlyjs

_SCRIPT = Path(__file__).resolve().parent / "static" / "live_chart.js"
_HTML = '<div class="live-chart" role="img" style="width: 100%"></div>'
_PLOTLY = f"plotly-{plotly.__version__}.min.js"
_STEPS = 65535


@st.cache_resource
def _component() -> Any:
    """The component, registered once a server, and plotly.js put where the server hands out files."""
    folder = _SCRIPT.parents[2] / "static"  # beside app.py, where Streamlit looks
    if not (folder / _PLOTLY).exists():
        folder.mkdir(exist_ok=True)
        (folder / _PLOTLY).write_text(get_plotlyjs(), encoding="utf-8")
    return st.components.v2.component(
        "rnnviz_live_chart", html=_HTML, js=_SCRIPT.read_text(encoding="utf-8"), isolate_styles=False
    )


def preload() -> None:
    """Have the browser fetch and compile plotly.js while the page above the first chart is still on its way."""
    _component()(data={"figure": "", "plotly": f"app/static/{_PLOTLY}"}, key="plotly")


def pack(figure: go.Figure) -> str:
    """A figure as JSON, with each heatmap's values in 16-bit steps between its zmin and zmax.

    A heatmap with cells that have no value travels as it is.
    """
    values = json.loads(figure.to_json())
    for trace, original in zip(values["data"], figure.data, strict=True):
        if original.type == "heatmap" and np.isfinite(original.z).all():
            low, high = float(original.zmin), float(original.zmax)
            share = (np.asarray(original.z, dtype=np.float64) - low) / (high - low)
            steps = np.round(share.clip(0, 1) * _STEPS).astype("<u2")
            data = base64.b64encode(steps.tobytes()).decode("ascii")
            trace["z"] = {"packed": {"data": data, "shape": steps.shape, "low": low, "high": high}}
    values["layout"].pop("template", None)
    return json.dumps(values)


def live_chart(packed: str, *, key: str, description: str, revision: str, height: int) -> None:
    """Show a figure that `pack` made, or update the one that stands under this key.

    `description` says in words what the chart shows, for those who do not see it. Zoom is kept
    for as long as `revision` is the same. `height` is in pixels.
    """
    _component()(
        data={
            "figure": packed,
            "plotly": f"app/static/{_PLOTLY}",
            "description": description,
            "name": key,
            "revision": revision,
            "height": height,
        },
        key=key,
        height="content",
    )
