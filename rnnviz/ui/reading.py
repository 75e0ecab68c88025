"""Choosing a model, shipped or the visitor's own, and the text that it reads on a chapter's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from rnnviz.analysis.reading import Reading, every_layer
from rnnviz.cells import CellName, cell_of, find_cell
from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.i18n import Translate
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, default_probe
from rnnviz.text.quotation import quoted_from
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame, engine, put_in_address, show_error, starts_anew, visitor
from rnnviz.ui.run_view import ships

MAX_TEXT = 200


def shipped_models(frame: Frame, cell: CellName) -> dict[str, str]:
    """The models that the pages of the GRU and the LSTM open on: one for each language's text, the reader's first."""
    _ = frame.translate
    tales, lyrics = {f"{cell}-en": _("Tales, 64 units")}, {f"{cell}-zh": _("Song lyrics, 64 units")}
    return lyrics | tales if frame.language == "zh" else tales | lyrics


def choose_model(frame: Frame, place: Any, shipped: Mapping[str, str], own: Run | None) -> Run:
    """One of the runs in `data/`, given as names and labels, or this visitor's own run if there is one."""
    _ = frame.translate
    labels = dict(shipped) | ({"own": _("your model")} if own else {})
    name = pick(place, _("Model"), tuple(labels), "model", labels.__getitem__)
    return own if own and name == "own" else Run.open(DATA / name)


def turn_to_new(frame: Frame, own: Run | None) -> None:
    """Before `choose_model`: a run that was started on this page is shown at once."""
    key, run_id = f"{frame.page}-turned-to", own.id if own else ""
    if st.session_state.get(key, run_id) != run_id:
        st.session_state["model"] = "own"
    st.session_state[key] = run_id


def choose_text(frame: Frame, place: Any, run: Run) -> str:
    """The text that the model reads: the visitor's or, if that is empty, the model's probe text."""
    _ = frame.translate
    if starts_anew("reads"):
        st.session_state["reads"] = st.query_params.get("reads", "")
    place.text_input(
        _("Text to read"), key="reads", placeholder=_("Empty: a text of the model's own"), persist_state="session"
    )
    text = put_in_address("reads", "")
    return text or run.config.probe or default_probe(run.corpus)


def reading_of(frame: Frame, run: Run, text: str, cell: CellName = "rnn") -> Reading | None:
    """A reading of the text by the model; None, with an error on the page, if that is impossible."""
    readings = readings_of(frame, run, text, cell, most_layers=1)
    return readings[0] if readings else None


def readings_of(frame: Frame, run: Run, text: str, cell: CellName, *, most_layers: int) -> tuple[Reading, ...] | None:
    """The same for each layer of a model that may have several, the lowest first."""
    try:
        if len(text) > MAX_TEXT:
            raise InputError(
                "the text has {length:,} characters; allowed: at most {limit:,}", length=len(text), limit=MAX_TEXT
            )
        check_drawable(run.config, cell, most_layers)
        return _readings(str(run.folder), run.reports_size(), text)
    except InputError as error:
        show_error(frame, error)
        return None


def origin_in_words(run: Run, text: str, translate: Translate) -> str:
    """How much of a text the model was trained on, which a perplexity of the text depends on."""
    _ = translate
    said = _("{share:.0%} of this text occurs verbatim in the training text.")
    return said.format(share=quoted_from(run.corpus.training, text).share)


def check_drawable(config: TrainConfig, cell: CellName, most_layers: int = 1) -> None:
    """Raises InputError for a run that the page cannot draw: of another shape, or that does not predict."""
    config.check_predicts()
    model = config.model
    if model.num_layers <= most_layers and (model.cell, model.num_directions) == (cell, 1):
        return
    values = {
        "allowed": find_cell(cell).label,
        "cell": cell_of(model).label,
        "layers": model.num_layers,
        "directions": model.num_directions,
    }
    if most_layers > 1:
        raise InputError(
            "the run is a {cell} of {layers} layers and {directions} directions; "
            "allowed here: one to {most} {allowed} layers of one direction",
            most=most_layers,
            **values,
        )
    raise InputError(
        "the run is a {cell} of {layers} layers and {directions} directions; "
        "allowed here: one {allowed} layer of one direction",
        **values,
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _readings(folder: str, version: int, text: str) -> tuple[Reading, ...]:
    """The readings from the engine or, for a shipped recording of this very text, from the file at once."""
    run = Run(folder)
    trace = run.recording() if ships(run) else None
    if trace and trace.text == text:
        return every_layer(trace, run.load_checkpoint().weights(), run.corpus.vocabulary)
    readings: tuple[Reading, ...] = engine().compute(
        "rnnviz.nn.execution:read_layers", run, visitor=visitor(), text=text
    )
    return readings
