"""The layers of an LSTM over a text, and the cell of one of them at work."""

from __future__ import annotations

import streamlit as st

from rnnviz.chapters.deep.models import MOST_LAYERS, shipped_models, train
from rnnviz.runs.folder import Run
from rnnviz.ui.cell import cell_view, revision_of, with_model
from rnnviz.ui.frame import Frame, put_in_address, start_from_address
from rnnviz.ui.reading import readings_of


def stack(frame: Frame) -> None:
    """The hidden states of all layers above the cell of the chosen one; below them the models and texts."""

    def show(run: Run, text: str, phase: str) -> None:
        layers = [str(n + 1) for n in range(run.config.model.num_layers)]
        start_from_address("layer", layers, "1")
        layer = put_in_address("layer", "1")
        readings = readings_of(frame, run, text, "lstm", most_layers=MOST_LAYERS)
        if readings is not None:
            cell_view(
                frame,
                readings[int(layer) - 1],
                key="stack",
                revision=revision_of(frame, run, text, phase, layer),
                layers=readings,
                on_layer=_choose_layer,
            )

    with_model(frame, "lstm", shipped_models(frame), lambda: train(frame), show)


def _choose_layer() -> None:
    """After a click in the stack."""
    st.session_state["layer"] = st.session_state["stack"].layer
