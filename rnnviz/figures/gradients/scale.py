"""The gradient against the lag with every recurrent matrix scaled."""

from __future__ import annotations

import numpy as np

from rnnviz.analysis.gradient_study import Study, geometric_mean
from rnnviz.figures.gradients.kit import GREY
from rnnviz.figures.gradients.reach import Range, lag_figure, lag_line
from rnnviz.figures.kit import Figure
from rnnviz.i18n import Translate


def scale_figure(study: Study, k: int, limits: Range, translate: Translate = str) -> Figure:
    """The mean gradient against the lag with every recurrent matrix times s: bold for the k-th s, else faint."""
    _ = translate
    figure = lag_figure(study.by_scale[k], study.cell, limits, _)
    faint = [
        lag_line(np.arange(lag.H.shape[1]), geometric_mean(lag.H), f"s = {s:.2g}", GREY, _, width=1.0, thin=True)
        for s, lag in zip(study.scales, study.by_scale, strict=True)
    ]
    return {**figure, "data": [*faint, *figure["data"]]}
