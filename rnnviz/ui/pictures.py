"""A picture with its table and its files, and the lesson beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from rnnviz.ui.charts import Chart, Slider, live_charts, pack, together
from rnnviz.ui.controls import note
from rnnviz.ui.frame import Frame


def beside(words: str) -> Any:
    """Put words on the right, and return the place for their picture on the left."""
    left, right = st.columns([3, 2], gap="large")
    right.markdown(words)
    return left


def picture(
    figure: Any,
    *,
    key: str,
    description: str,
    title: str = "",
    caption: str = "",
    table: Mapping[str, Iterable[Any]] | None = None,
    revision: str = "",
    height: int = 380,
) -> None:
    """A figure with a description in words, and with its numbers as a table and as files.

    `table` maps column titles to columns of equal length. Zoom is kept for as long as `revision`
    is the same.
    """
    chart = Chart(figure, key, description, height, title, caption, table, revision)
    live_charts(together(pack(chart)), key=key)


def pictures(*charts: Sequence[Chart], key: str, slider: Slider | None = None, follows: Slider | None = None) -> None:
    """Pictures side by side, each with one frame or with a frame for every value of a slider.

    The `slider` is drawn above them; with `follows` it is one elsewhere on the page.
    """
    packed = [pack(*frames) for frames in charts]
    moved = live_charts(
        together(*packed, sliders=[it for it in (slider, follows) if it], shown=follows is None), key=key
    )
    if slider:
        note(slider, moved)


def table_and_files(frame: Frame, key: str, table: Mapping[str, Iterable[Any]]) -> None:
    """A table, and its CSV, for something that is not a chart."""
    with st.popover(frame.translate("Table and files"), icon=":material/table:", key=f"{key}-more", type="tertiary"):
        st.dataframe(dict(table), key=f"{key}-table", hide_index=True, height=260, column_config=_whole_numbers(table))
        st.download_button("CSV", lambda: _csv(table), f"{key}.csv", "text/csv", key=f"{key}-csv", on_click="ignore")


def _whole_numbers(table: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    """The columns of whole numbers, which are shown in full with thousands separators."""
    whole = [name for name, column in table.items() if np.asarray(column).dtype.kind == "i"]
    return {name: st.column_config.NumberColumn(format="localized") for name in whole}


def _csv(table: Mapping[str, Iterable[Any]]) -> bytes:
    """The columns as CSV; with a byte order mark, so that spreadsheets read Chinese."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(map(_harmless, table))
    writer.writerows(map(_harmless, row) for row in zip(*table.values(), strict=True))
    return file.getvalue().encode("utf-8-sig")


def _harmless(cell: Any) -> Any:
    """Put an apostrophe before what a spreadsheet would take for a formula: a visitor's text must not run.

    Numbers stay numbers, and a single character is not a formula.
    """
    if not isinstance(cell, str) or len(cell) < 2 or cell[0] not in "=+-@\t\r":
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
