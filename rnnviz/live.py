"""Live charts: a Streamlit component around plotly.js that is updated in place.

`st.plotly_chart` builds a chart anew for every change of its data: it blinks, and zoom and hover
are lost. This component hands each new figure to `Plotly.react`. What it is given is packed once
for all who watch, and travels as bytes, so that a viewer costs the page's process no more than
sending them.
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
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from rnnviz.figures import Figure

_STATIC = Path(__file__).resolve().parent / "static"
_PLOTLY = f"plotly-{plotly.__version__}.min.js"
_HTML = f'<div class="live-charts" data-plotly="app/static/{_PLOTLY}"></div>'
_STEPS = 65535


@st.cache_resource
def _component() -> Any:
    """The component, registered once a server, and plotly.js put where the server hands out files."""
    folder = _STATIC.parents[1] / "static"  # beside app.py, where Streamlit looks
    if not (folder / _PLOTLY).exists():
        folder.mkdir(exist_ok=True)
        (folder / _PLOTLY).write_text(get_plotlyjs(), encoding="utf-8")
    return st.components.v2.component(
        "rnnviz_live_charts",
        html=_HTML,
        css=(_STATIC / "live_charts.css").read_text(encoding="utf-8"),
        js=(_STATIC / "live_charts.js").read_text(encoding="utf-8"),
        isolate_styles=False,
    )


def preload() -> None:
    """Have the browser fetch and compile plotly.js while the page above the first chart is still on its way."""
    live_charts(together(), key="plotly")


def pack(
    figure: go.Figure | Figure, *, name: str, description: str, height: int, title: str = "", revision: str = ""
) -> bytes:
    """A chart as JSON: a figure, and what is said about it.

    `description` says in words what the chart shows, for those who do not see it. `height` is in
    pixels. Zoom is kept for as long as `revision` is the same; pictures are saved under `name`.
    Each heatmap's values travel in 16-bit steps between its zmin and zmax, except where cells
    have no value.
    """
    traces, layout = _parts(figure) if isinstance(figure, go.Figure) else (figure["data"], figure["layout"])
    chart = {
        "name": name,
        "title": title,
        "description": description,
        "revision": revision,
        "height": height,
        "data": [{**trace, "z": _steps(trace)} if _packable(trace) else trace for trace in traces],
        "layout": layout,
    }
    return json.dumps(chart, default=_numbers, allow_nan=False).encode()


def _parts(figure: go.Figure) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The traces, heatmaps' values as arrays, and the layout without the template, which the page replaces."""
    values = json.loads(figure.to_json())
    for trace, original in zip(values["data"], figure.data, strict=True):
        if original.type == "heatmap" and np.isfinite(original.z).all():
            trace["z"] = np.asarray(original.z)
    values["layout"].pop("template", None)
    return values["data"], values["layout"]


def together(*packed: bytes, version: int = 0, source: str = "", every: float | None = None) -> bytes:
    """Charts that `pack` made, as the browser reads them.

    With a `source` the browser goes on by itself: every so many seconds it asks that address, relative
    to the page's, for what is newer than this `version`, and is answered in the same form, or with
    204 where nothing is. It stops where an answer has no `every`.
    """
    head = json.dumps({"version": version, "source": source, "every": every})
    return head[:-1].encode() + b', "charts": [' + b",".join(packed) + b"]}"


def live_charts(charts: bytes, *, key: str) -> None:
    """Show charts put `together`, side by side where there is room, or update those that stand under this key.

    When a source has said that there is no more to come, the script or its fragment runs again.
    """
    _component()(data=charts, key=key, height="content", on_ended_change=_nothing)


def _nothing() -> None:
    """That it was called is enough: Streamlit runs the script again."""


def _packable(trace: dict[str, Any]) -> bool:
    z = trace.get("z")
    return isinstance(z, np.ndarray) and bool(np.isfinite(z).all())


def _steps(trace: dict[str, Any]) -> dict[str, Any]:
    low, high = float(trace["zmin"]), float(trace["zmax"])
    share = (np.asarray(trace["z"], dtype=np.float64) - low) / (high - low)
    steps = np.round(share.clip(0, 1) * _STEPS).astype("<u2")
    return {"packed": {"data": _base64(steps), "shape": steps.shape, "low": low, "high": high}}


def _numbers(values: NDArray[Any]) -> dict[str, str]:
    """An array as plotly.js reads it; what is not a number leaves a gap."""
    shape = {"shape": ", ".join(map(str, values.shape))} if values.ndim > 1 else {}
    return {"dtype": "f8", "bdata": _base64(values.astype("<f8")), **shape}


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
