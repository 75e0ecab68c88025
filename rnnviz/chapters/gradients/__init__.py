"""The Gradients page, question by question."""

from rnnviz.chapters.gradients.clipping import clipping
from rnnviz.chapters.gradients.learning_map import learning_map
from rnnviz.chapters.gradients.reach import reach
from rnnviz.chapters.gradients.scale import scale
from rnnviz.chapters.gradients.spectrum import spectrum
from rnnviz.chapters.gradients.unrolled import unrolled

__all__ = ["clipping", "learning_map", "reach", "scale", "spectrum", "unrolled"]
