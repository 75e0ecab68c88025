"""What the chapters share: a picture with its table and files, the lesson beside it, stepping along a text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from rnnviz.figures import standalone, visible
from rnnviz.live import live_charts, pack, together
from rnnviz.ui.frame import Frame

_WIDE, _NARROW = 3, 2


def beside(frame: Frame, part: str) -> Any:
    """A part of the lesson to the right, and the place for its picture to the left, which is returned."""
    picture_place, words = st.columns([_WIDE, _NARROW], gap="large")
    with words:
        st.markdown(frame.lesson(part))
    return picture_place


def picture(
    frame: Frame,
    figure: Any,
    *,
    key: str,
    description: str,
    table: Mapping[str, Iterable[Any]] | None = None,
    revision: str = "",
    height: int = 380,
) -> None:
    """A figure, said in words for those who do not see it, with its numbers as a table and as files.

    `table` maps column titles to columns of equal length. PNG comes from the camera above the
    figure. Zoom is kept for as long as `revision` is the same.
    """
    chart = pack(figure, name=key, description=description, revision=revision, height=height)
    live_charts(together(chart), key=key)
    table_and_files(frame, key, table, figure)


def table_and_files(
    frame: Frame, key: str, table: Mapping[str, Iterable[Any]] | None, figure: Any | None = None
) -> None:
    """The numbers of a picture as a table, as CSV and, of a figure, as an HTML page."""
    _ = frame.translate
    with st.popover(_("Table and files"), icon=":material/table:", key=f"{key}-more", type="tertiary"):
        if table is not None:
            st.dataframe(dict(table), key=f"{key}-table", hide_index=True, height=260)
            st.download_button(
                "CSV", lambda: _csv(table), f"{key}.csv", "text/csv", key=f"{key}-csv", on_click="ignore"
            )
        if figure is not None:
            st.download_button(
                "HTML", lambda: standalone(figure), f"{key}.html", "text/html", key=f"{key}-html", on_click="ignore"
            )


def _csv(table: Mapping[str, Iterable[Any]]) -> bytes:
    """The columns as CSV; with a byte order mark, so that spreadsheets read Chinese."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return file.getvalue().encode("utf-8-sig")


def stepper(frame: Frame, key: str, text: str, default: int = 0) -> int:
    """Where in a text one stands: a slider over its characters, and the arrow keys. Kept in the address."""
    names = [f"{t}  {character}" for t, character in enumerate(visible(text), start=1)]
    return walk(frame, key, frame.translate("Time step t"), names, default)


def walk(frame: Frame, key: str, label: str, names: Sequence[str], default: int = 0) -> int:
    """Which of several things one stands at: a slider over their names, and the arrow keys. Kept in the address."""
    _ = frame.translate
    last = len(names) - 1
    if key not in st.session_state:
        asked = st.query_params.get(key, "")
        st.session_state[key] = int(asked) if asked.isdecimal() else default
    st.session_state[key] = min(st.session_state[key], last)

    def move(by: int) -> None:
        st.session_state[key] = min(max(st.session_state[key] + by, 0), last)

    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            _("Back"), icon=":material/chevron_left:", key=f"{key}-back", on_click=move, args=(-1,), shortcut="Left"
        )
        st.button(
            _("Next"), icon=":material/chevron_right:", key=f"{key}-next", on_click=move, args=(1,), shortcut="Right"
        )
        at: int = st.select_slider(
            label, list(range(last + 1)), format_func=names.__getitem__, key=key, persist_state="session"
        )
    st.query_params[key] = str(at)
    return at
