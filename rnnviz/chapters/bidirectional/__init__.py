"""The Bidirectional page, question by question."""

from rnnviz.chapters.bidirectional.cell import cell
from rnnviz.chapters.bidirectional.cheat import cheat
from rnnviz.chapters.bidirectional.leak import leak
from rnnviz.chapters.bidirectional.passes import passes
from rnnviz.chapters.bidirectional.restore import restore

__all__ = ["cell", "cheat", "leak", "passes", "restore"]
