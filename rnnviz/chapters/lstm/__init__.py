"""The LSTM page, question by question."""

from rnnviz.chapters.lstm.cell import cell
from rnnviz.chapters.lstm.find import find
from rnnviz.chapters.lstm.forget import forget
from rnnviz.chapters.lstm.implementations import implementations
from rnnviz.chapters.lstm.limits import limits
from rnnviz.chapters.lstm.memory import memory
from rnnviz.chapters.lstm.surgery import surgery

__all__ = ["cell", "find", "forget", "implementations", "limits", "memory", "surgery"]
