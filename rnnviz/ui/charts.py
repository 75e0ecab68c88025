"""Live charts: a Streamlit component around plotly.js that is updated in place.

`st.plotly_chart` builds a chart anew for every change of its data: it blinks, and zoom and hover
are lost. This component hands each new figure to `Plotly.react`. Charts are packed into bytes once
for all viewers, so a viewer costs the page's process no more than sending them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from rnnviz.figures.kit import Figure
from rnnviz.scripts import served

_STATIC = Path(__file__).resolve().parent / "static"


@dataclass(frozen=True)
class Chart:
    """A figure with its title, its description and its table.

    `description` says in words what the chart shows, for readers who cannot see it. `height` is in
    pixels. Zoom is kept as long as `revision` is the same; files are saved under `name`.
    `table` maps column titles to columns of equal length; without one the browser lists what is
    drawn.
    """

    figure: go.Figure | Figure
    name: str
    description: str
    height: int
    title: str = ""
    caption: str = ""
    table: Mapping[str, Iterable[Any]] | None = None
    revision: str = ""


@dataclass(frozen=True)
class Slider:
    """A slider in the browser that chooses one of the frames of charts.

    The address has the chosen one of `values` under `key`, and nothing for the `default`, which
    is an index. The visitor reads `names`. With `steps`, the names of two buttons that lead to the
    value before and the one after it, arrow keys do so too. Where all that depends on the slider follows it
    `in_browser`, the script hears of a move only when the slider is at rest. With `play`, the names of a
    button that starts and halts it, the slider moves by itself to its end. Where the frames of a heatmap are
    `multiples`, each is drawn small, and a click on one chooses it.
    """

    key: str
    label: str
    values: Sequence[str]
    names: Sequence[str]
    default: int
    steps: tuple[str, str] | None = None
    in_browser: bool = False
    play: tuple[str, str] | None = None
    multiples: bool = False


@st.cache_resource
def _component() -> Any:
    """Register the component once per server."""
    scripts = served()
    return st.components.v2.component(
        "rnnviz_live_charts",
        html=f'<div class="live-charts" data-plotly="{scripts.plotly}" data-module="{scripts.modules[0]}"></div>',
        css=(_STATIC / "live_charts.css").read_text(encoding="utf-8"),
        js=(_STATIC / "live_charts_loader.js").read_text(encoding="utf-8"),
        isolate_styles=False,
    )


def preload(language: str, words: Mapping[str, str], *, charts: bool) -> None:
    """Send the page's language and the labels of the charts' controls to the browser, before the first chart.

    If the page begins with `charts`, the browser loads plotly.js while the rest of the page is still being made.
    """
    message = {"language": language, "words": words, "expected": charts, "charts": []}
    live_charts(json.dumps(message).encode(), key="plotly")


def pack(*frames: Chart) -> bytes:
    """A chart as JSON. Of several frames, among which sliders choose, the first is sent whole and the others
    as differences from it. The frames of several sliders stand in row-major order: the last slider's change fastest.

    Numbers are not rounded, because hovering shows them.
    """
    first, *others = map(_plain, frames)
    if others:
        first["frames"] = [{}, *(_difference(first, other) for other in others)]
    return json.dumps(first, default=_numbers, allow_nan=False).encode()


def _plain(chart: Chart) -> dict[str, Any]:
    figure, table = chart.figure, chart.table
    traces, layout = _parts(figure) if isinstance(figure, go.Figure) else (figure["data"], figure["layout"])
    return {
        "name": chart.name,
        "title": chart.title,
        "caption": chart.caption,
        "description": chart.description,
        "revision": chart.revision,
        "height": chart.height,
        "table": table and [[name, _column(values)] for name, values in table.items()],
        "data": traces,
        "layout": layout,
    }


def _column(values: Iterable[Any]) -> Any:
    """Numbers as an array, which can hold infinities; anything else as a list."""
    listed = values if isinstance(values, np.ndarray) else list(values)
    column = np.asarray(listed)
    return column if column.dtype.kind in "fiu" else listed


def _difference(base: Any, other: Any) -> Any:
    """The difference between two JSON values, as `patched` in chart_slider.js applies it.

    An object has the keys, or the places of a list, that change, and what becomes of each; a new
    value is wrapped in a list.
    """
    if isinstance(base, list) and isinstance(other, list) and len(base) == len(other):
        base, other = dict(enumerate(base)), dict(enumerate(other))
    if not isinstance(base, dict) or not isinstance(other, dict):
        return [other]
    pairs = {key: (base.get(key), other.get(key)) for key in base | other}
    return {key: _difference(*pair) for key, pair in pairs.items() if not _same(*pair)}


def _same(one: Any, other: Any) -> bool:
    if one is other:  # true of most parts of frames that were made together
        return True
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f")
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _parts(figure: go.Figure) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The traces, and the layout without the template, which the page replaces."""
    values = json.loads(figure.to_json())
    values["layout"].pop("template", None)
    return values["data"], values["layout"]


def together(
    *packed: bytes,
    sliders: Sequence[Slider] = (),
    shown: bool = True,
    version: int = 0,
    source: str = "",
    every: float | None = None,
) -> bytes:
    """Put charts that `pack` made together, as the browser reads them.

    The `sliders` above them choose a frame of all charts that have several, without the server; if they are not
    `shown`, the charts follow some elsewhere on the page.

    With a `source` the browser updates them by itself: every so many seconds it asks that address, relative
    to the page's, for charts newer than this `version`. The answer has the same form, or is
    204 if there are none. It stops when an answer has no `source`.
    """
    controls = [{**asdict(slider), "shown": shown} for slider in sliders]
    head = json.dumps({"version": version, "source": source, "every": every, "sliders": controls})
    return head[:-1].encode() + b', "charts": [' + b",".join(packed) + b"]}"


def _nothing() -> None:
    """Calling it is enough: Streamlit runs the script again."""


def live_charts(charts: bytes, *, key: str, on_unserved: Callable[[], None] = _nothing) -> Mapping[str, str]:
    """Show charts put `together`, side by side if there is room, or update those with this key.

    If an answer has another source, or none, the script or its fragment runs again; so it does when a
    slider has been moved. Returns the values of all that have been, by their keys. If something between here and
    the browser does not pass the source's address on, the browser asks no more, and `on_unserved` is called before
    the script runs again.
    """
    shown = _component()(
        data=charts,
        key=key,
        height="content",
        on_turned_change=_nothing,
        on_moved_change=_nothing,
        on_unserved_change=on_unserved,
    )
    moved: Mapping[str, str] | None = shown.moved
    return moved or {}


def _numbers(values: NDArray[Any]) -> Any:
    """An array as plotly.js reads it, in its own precision; NaN leaves a gap."""
    if values.ndim == 0 or values.dtype.kind not in "fiub":
        return values.tolist()
    shape = {"shape": ", ".join(map(str, values.shape))} if values.ndim > 1 else {}
    precision = "f4" if values.dtype == np.float32 else "f8"
    data = base64.b64encode(values.astype(f"<{precision}").tobytes()).decode("ascii")
    return {"dtype": precision, "bdata": data, **shape}
