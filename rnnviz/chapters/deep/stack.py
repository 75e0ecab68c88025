"""The layers of an LSTM over a text, and the cell of one of them at work."""

from __future__ import annotations

import streamlit as st

from rnnviz.analysis.surgery import Hold, parse_holds
from rnnviz.cells import find_cell
from rnnviz.chapters.deep.models import MOST_LAYERS, shipped_models, train
from rnnviz.errors import InputError
from rnnviz.runs.folder import Run
from rnnviz.ui.cell import cell_view, revision_of, with_model
from rnnviz.ui.frame import Frame, put_in_address, show_error, start_from_address, starts_anew
from rnnviz.ui.live import MOVING
from rnnviz.ui.reading import readings_of
from rnnviz.ui.surgery import show_written

ALL = "all"
_KEY = "stack"


def stack(frame: Frame) -> None:
    """The cells of all layers, one over the other, or that of the chosen one; below them the models and texts.

    In the chosen layer gates can be held. What the model writes with them stands below the cell.
    """

    def show(run: Run, text: str, phase: str) -> None:
        count = run.config.model.num_layers
        start_from_address("layer", [ALL, *(str(n + 1) for n in range(count))], ALL)
        layer = put_in_address("layer", ALL)
        readings = readings_of(frame, run, text, "lstm", most_layers=MOST_LAYERS)
        if readings is None:
            return
        whole = layer == ALL and count > 1
        reading = readings[0 if layer == ALL else int(layer) - 1]
        said, holds = _held(frame, run)
        cell_view(
            frame,
            reading,
            key=_KEY,
            revision=revision_of(frame, run, text, phase, layer, said),
            back=None if phase == MOVING else run,
            holds=None if whole or phase == MOVING else holds,
            on_holds=_take_holds,
            layers=readings,
            whole=whole,
            on_layer=_choose_layer,
        )
        if holds and not whole and phase != MOVING:
            show_written(frame, run, said, reading.layer)

    with_model(frame, "lstm", shipped_models(frame), lambda: train(frame), show)


def _held(frame: Frame, run: Run) -> tuple[str, tuple[Hold, ...]]:
    """What the address says of held gates, as it is written and parsed; nothing, with an error, where it is wrong."""
    if starts_anew("holds"):
        st.session_state["holds"] = st.query_params.get("holds", "")
    said = put_in_address("holds", "").replace(" ", "")
    try:
        return said, parse_holds(said, find_cell("lstm"), run.config.model.hidden_size)
    except InputError as error:
        show_error(frame, error)
        return "", ()


def _take_holds() -> None:
    """The levers' button was pressed: the model writes with what they hold."""
    st.session_state["holds"] = str(st.session_state[_KEY].holds or "")


def _choose_layer() -> None:
    """After a click in the stack: what was held in another layer is released."""
    st.session_state["layer"], st.session_state["holds"] = st.session_state[_KEY].layer, ""
