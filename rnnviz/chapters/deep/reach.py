"""Which layer looks how far back: the gradient against the lag, layer by layer."""

from __future__ import annotations

import numpy as np

from rnnviz.analysis.deep import LayerStudy, lag_of_share
from rnnviz.chapters.deep.study import with_study
from rnnviz.figures.deep import reach_figure
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import pictures

_SHARE = 0.9


def reach(frame: Frame) -> None:
    """dL_T/dH_t of every layer against the lag, at every checkpoint of the training."""
    with_study(frame, lambda study, live: _draw(frame, study, live=live))


def _draw(frame: Frame, study: LayerStudy, *, live: bool) -> None:
    """The newest checkpoint while the model trains, then all of them under a slider."""
    count = len(study.steps)
    shown = range(count - 1 if live else 0, count)
    values, names = [str(step) for step in study.steps], [f"{step:,}" for step in study.steps]
    slider = Slider("checkpoint", frame.translate("Training step"), values, names, count - 1)
    pictures([_chart(frame, study, k) for k in shown], key="reach", slider=slider if len(shown) > 1 else None)


def _chart(frame: Frame, study: LayerStudy, k: int) -> Chart:
    _ = frame.translate
    lags = lag_of_share(study.reach[k], _SHARE)
    told = ", ".join(_("layer {n}: {lag}").format(n=i + 1, lag=int(lag)) for i, lag in enumerate(lags))
    words = _("The lag up to which {share:.0%} of the gradient lies: {told}.").format(share=_SHARE, told=told)
    return Chart(
        reach_figure(study, k, _),
        name="reach",
        description=_("‖dL_T/dH_t‖ against the lag, a line for each layer.") + " " + words,
        caption=words,
        table={_("lag"): np.arange(study.reach.shape[2])}
        | {_("layer {n}").format(n=i + 1): norms for i, norms in enumerate(study.reach[k])},
        height=400,
    )
