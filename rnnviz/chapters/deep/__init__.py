"""The Deep page, question by question."""

from rnnviz.chapters.deep.cost import cost
from rnnviz.chapters.deep.dropout import dropout
from rnnviz.chapters.deep.reach import reach
from rnnviz.chapters.deep.stack import stack
from rnnviz.chapters.deep.start import start
from rnnviz.chapters.deep.training import training

__all__ = ["cost", "dropout", "reach", "stack", "start", "training"]
