"""Which model reads which text on a chapter's page: one that ships, or the visitor's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from rnnviz.errors import InputError
from rnnviz.reading import Reading
from rnnviz.runs import Run
from rnnviz.text import DATA, default_probe
from rnnviz.ui.frame import Frame, engine, keep_in_address, pick, show_error
from rnnviz.ui.runs import ships

MAX_TEXT = 200


def choose_model(frame: Frame, place: Any, shipped: Mapping[str, str], own: Run | None) -> Run:
    """One of the runs in `data/`, given as names and labels, or this visitor's own where there is one."""
    _ = frame.translate
    labels = dict(shipped) | ({"own": _("your model")} if own else {})
    name = pick(place, _("Model"), tuple(labels), "model", labels.__getitem__)
    return own if own and name == "own" else Run.open(DATA / name)


def choose_text(frame: Frame, place: Any, run: Run) -> str:
    """What the model reads: the visitor's text, or the model's own where that is empty."""
    _ = frame.translate
    if "reads" not in st.session_state:
        st.session_state["reads"] = st.query_params.get("reads", "")
    place.text_input(
        _("Text to read"), key="reads", placeholder=_("Empty: a text of the model's own"), persist_state="session"
    )
    text = keep_in_address("reads", "")
    return text or run.config.probe or default_probe(run.corpus)


def reading_of(frame: Frame, run: Run, text: str) -> Reading | None:
    """The model reading the text; None where that cannot be, and the page says why."""
    try:
        if len(text) > MAX_TEXT:
            raise InputError(
                "the text has {length:,} characters; allowed: at most {limit:,}", length=len(text), limit=MAX_TEXT
            )
        return _reading(str(run.folder), run.reports_size(), text)
    except InputError as error:
        show_error(frame, error)
        return None


@st.cache_data(max_entries=64, show_spinner=False)
def _reading(folder: str, version: int, text: str) -> Reading:
    """From the engine, unless the run ships with a recording of this very text: then it is there at once."""
    run = Run(folder)
    trace = run.recording() if ships(run) else None
    if trace and trace.text == text:
        return Reading.of(trace, run.load_checkpoint().weights(), run.corpus.vocabulary)
    reading: Reading = engine().call("read", run, text=text)
    return reading
