"""The Reproduce page, question by question."""

from rnnviz.chapters.reproduce.held_back import held_back
from rnnviz.chapters.reproduce.tables import d2l, notes

__all__ = ["d2l", "held_back", "notes"]
