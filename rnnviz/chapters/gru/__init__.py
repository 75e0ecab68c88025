"""The GRU page, question by question."""

from rnnviz.chapters.gru.cell import cell
from rnnviz.chapters.gru.find import find
from rnnviz.chapters.gru.implementations import implementations
from rnnviz.chapters.gru.limits import limits
from rnnviz.chapters.gru.reset import reset
from rnnviz.chapters.gru.surgery import surgery

__all__ = ["cell", "find", "implementations", "limits", "reset", "surgery"]
