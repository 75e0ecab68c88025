"""The Gradients page, question by question."""

from rnnviz.ui.gradients.clipping import clipping
from rnnviz.ui.gradients.learning_map import learning_map
from rnnviz.ui.gradients.three import reach, scale, spectrum
from rnnviz.ui.gradients.unrolled import unrolled

__all__ = ["clipping", "learning_map", "reach", "scale", "spectrum", "unrolled"]
