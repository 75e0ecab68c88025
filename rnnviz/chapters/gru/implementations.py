"""Scratch, fused and torch: the same GRU three times."""

from __future__ import annotations

from rnnviz.ui.frame import Frame
from rnnviz.ui.implementations import show_implementations


def implementations(frame: Frame) -> None:
    """Three trainings from the same weights, in one picture."""
    show_implementations(frame, "gru", frame.lesson("shipped"))
