"""Which unit of the GRU follows a feature of a text."""

from __future__ import annotations

from rnnviz.ui.find_unit import show_units
from rnnviz.ui.frame import Frame
from rnnviz.ui.reading import shipped_models
from rnnviz.ui.run_view import chosen_run


def find(frame: Frame) -> None:
    """All units by how well they follow what the reader names."""
    show_units(frame, "gru", shipped_models(frame, "gru"), chosen_run(frame))
