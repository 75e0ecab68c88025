"""The LSTM's cell at work on a text, with its numbers on every wire."""

from __future__ import annotations

from rnnviz.ui.cell import show_cell
from rnnviz.ui.frame import Frame
from rnnviz.ui.reading import shipped_models


def cell(frame: Frame) -> None:
    """The cell view, and below it which model reads which text."""
    show_cell(frame, "lstm", shipped_models(frame, "lstm"))
