"""A bidirectional model in training: its perplexity falls to 1, and what it writes is worth nothing."""

from __future__ import annotations

import streamlit as st

from rnnviz.cells import CellName, find_cell
from rnnviz.chapters.bidirectional.models import choose
from rnnviz.config import TrainConfig
from rnnviz.ui.forms import small_training
from rnnviz.ui.frame import Frame
from rnnviz.ui.reading import turn_to_new
from rnnviz.ui.run_view import show_run

_CELLS: tuple[CellName, ...] = ("gru", "lstm", "rnn")
_SMALL = TrainConfig(
    max_chars=10_000, batch_size=32, num_steps=64, epochs=60, optimizer="adam", learning_rate=0.02, clip=1.0,
    predict_every=20, predict_length=30,
).with_settings({"bidirectional": True, "hidden_size": 32, "initialisation": "uniform"})  # fmt: skip


def variants() -> dict[str, tuple[str, TrainConfig]]:
    """What can be trained here, by its cell."""
    return {str(cell): (find_cell(cell).label, _SMALL.with_settings({"cell": cell})) for cell in _CELLS}


def cheat(frame: Frame) -> None:
    """A run's curves, gates and writing, and below them the way to train one."""
    row, place = st.container(horizontal=True, vertical_alignment="bottom", gap="medium"), st.container()
    own = small_training(frame, frame.translate("Cell"), variants())
    turn_to_new(frame, own if own is not None and own.config.reads_ahead else None)
    run = choose(frame, row)
    with place:
        show_run(frame, run)
