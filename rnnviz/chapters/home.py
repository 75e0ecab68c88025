"""Home: a cell at work before anything is pressed, and the chapters in the order of a lecture."""

from __future__ import annotations

import base64
from pathlib import Path

import streamlit as st

from rnnviz.analysis.writing import write_on
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA
from rnnviz.ui.cell import cell_view
from rnnviz.ui.frame import PAGES, Frame, PageInfo
from rnnviz.ui.reading import reading_of

_PICTURES = Path(__file__).resolve().parent.parent / "ui" / "static" / "chapters"
_COLUMNS = 4
WRITTEN, SEED = 60, 2  # how many characters the model writes, and the draws that decide which
LECTURES = {
    20: ("rnn", "gradients", "gru", "train"),
    90: (
        "language_model", "sequences", "rnn", "train", "gradients", "gru", "lstm", "deep", "bidirectional", "reproduce",
    ),
}  # fmt: skip


def cell(frame: Frame) -> None:
    """The shipped GRU of the reader's language reads its text and writes on, and the view plays by itself."""
    run = Run.open(DATA / f"gru-{frame.language}")
    recording = run.recording()
    reading = recording and reading_of(frame, run, recording.text, "gru")
    if reading:
        cell_view(
            frame,
            write_on(reading, WRITTEN, SEED),
            key="home-cell",
            revision=f"{run.id} {frame.language}",
            playing=True,
            written=len(reading.trace.text),
        )


def chapters(frame: Frame) -> None:
    """A card for each chapter, with a picture of it, its link and what it is about."""
    shown = [info for info in PAGES if info.name not in ("home", "status")]
    for start in range(0, len(shown), _COLUMNS):
        for place, info in zip(st.columns(_COLUMNS), shown[start : start + _COLUMNS], strict=False):
            with place.container(border=True, key=f"card-{info.name}", height="stretch", gap="xsmall"):
                _card(frame, info)


def _card(frame: Frame, info: PageInfo) -> None:
    picture = _PICTURES / f"{info.name}-{frame.language}-{st.context.theme.type or 'light'}.webp"
    if picture.exists():
        st.image(_in_address(picture), width="stretch", alt="")
    _link(frame, info)
    st.caption(frame.lesson(f"about_{info.name}"))


def _in_address(picture: Path) -> str:
    """A picture within its address: Streamlit forgets a file when a visitor leaves the page before it has loaded."""
    return "data:image/webp;base64," + base64.b64encode(picture.read_bytes()).decode()


def own_runs(frame: Frame) -> None:
    """The place that `static/visits.js` fills with links to the runs that this browser has opened."""
    title = frame.translate("Your runs in this browser")
    st.html(f'<div class="own-runs" hidden><h2>{title}</h2><nav class="own-runs-links"></nav></div>')


def lectures(frame: Frame) -> None:
    """Paths through the chapters for lectures of different lengths."""
    _ = frame.translate
    infos = {info.name: info for info in PAGES}
    for minutes, names in LECTURES.items():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(_("**{minutes} minutes**").format(minutes=minutes), width="content")
            for name in names:
                _link(frame, infos[name])


def _link(frame: Frame, info: PageInfo) -> None:
    st.page_link(f"pages/{info.name}.py", label=frame.translate(info.title), icon=info.icon)
