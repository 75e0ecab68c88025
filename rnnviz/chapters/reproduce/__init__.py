"""The Reproduce page, question by question."""

from rnnviz.chapters.reproduce.tables import d2l, notes

__all__ = ["d2l", "notes"]
