"""Which bidirectional model reads which text, and what is asked of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from rnnviz.analysis.leak import LENGTH, Leakage, shipped_leakage
from rnnviz.analysis.reading import Reading
from rnnviz.errors import InputError
from rnnviz.runs.folder import Run
from rnnviz.runs.recording import Trace
from rnnviz.ui.frame import Frame, engine, show_error, visitor
from rnnviz.ui.reading import MAX_TEXT, choose_model, choose_text
from rnnviz.ui.run_view import chosen_run, ships


def choose(frame: Frame, place: Any) -> Run:
    """One of the models that ship, the reader's language first, or the visitor's own."""
    _ = frame.translate
    tales, lyrics = {"bidirectional-en": _("Tales, 2 × 32 units")}, {"bidirectional-zh": _("Song lyrics, 2 × 16 units")}
    own = chosen_run(frame)
    if own is not None and not own.config.reads_ahead:
        show_error(frame, _refusal())
        own = None
    return choose_model(frame, place, lyrics | tales if frame.language == "zh" else tales | lyrics, own)


def _refusal() -> InputError:
    return InputError(
        "the run is of one direction or restores masked characters; this page shows bidirectional models that predict"
    )


def choose_reading(frame: Frame) -> tuple[Run, str] | None:
    """A model and the text that it reads; None where that cannot be, and the page says why."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    run = choose(frame, row)
    text = choose_text(frame, row, run)
    if 2 <= len(text) <= MAX_TEXT:
        return run, text
    error = InputError(
        "the text has {length:,} characters; allowed: {least:,} to {limit:,}", length=len(text), least=2, limit=MAX_TEXT
    )
    show_error(frame, error)
    return None


@st.cache_data(max_entries=32, show_spinner=False)
def trace_of(_run: Run, folder: str, version: int, text: str) -> Trace:
    """Every signal over the text: the recording that ships with it, or what a worker records."""
    shipped = _run.recording() if ships(_run) else None
    if shipped and shipped.text == text:
        return shipped
    trace: Trace = engine().compute("rnnviz.nn.execution:trace", _run, visitor=visitor(), text=text)
    return trace


@st.cache_data(max_entries=32, show_spinner=False)
def reading_of(_run: Run, folder: str, version: int, text: str, layer: int, direction: str) -> Reading:
    """The text as one direction of a layer reads it: the recording that ships with it, or what a worker records."""
    shipped = _run.recording() if ships(_run) else None
    if shipped and shipped.text == text:
        weights = _run.load_checkpoint().weights()
        return Reading.of(shipped, weights, _run.corpus.vocabulary, layer, direction)
    reading: Reading = engine().compute(
        "rnnviz.nn.execution:read", _run, visitor=visitor(), text=text, layer=layer, direction=direction
    )
    return reading


@st.cache_data(max_entries=32, show_spinner=False)
def leakage_of(_run: Run, folder: str, version: int, text: str) -> Leakage:
    """The leak over the beginning of the text and both perplexities: what ships, or what a worker measures."""
    shipped = shipped_leakage(_run)
    if shipped and shipped.leak.text == text[:LENGTH]:
        return shipped
    measured: Leakage = engine().compute("rnnviz.nn.future:measure", _run, visitor=visitor(), text=text[:LENGTH])
    return measured
