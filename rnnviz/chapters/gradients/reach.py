"""The gradient against the lag, for the RNN, the GRU and the LSTM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from rnnviz.analysis.gradient_study import Lag, Study, geometric_mean
from rnnviz.chapters.gradients.three import NAMES, Three, checkpoints, step_slider, with_three
from rnnviz.figures.gradients.reach import Range, common_range, lag_figure
from rnnviz.i18n import quantity
from rnnviz.ui.charts import Chart
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import pictures


def reach(frame: Frame) -> None:
    """dL_T/dH_t against the lag for the three cells, with the theory for each."""
    with_three(frame, _draw_reach)


def _draw_reach(frame: Frame, three: Three) -> None:
    first = next(iter(three.studies.values()))
    shown = checkpoints(first, live=three.live)
    limits = {k: common_range([_lag(study, k) for study in three.studies.values()], 1e3) for k in shown}
    pictures(
        *([_reach_chart(frame, study, k, limits[k]) for k in shown] for study in three.studies.values()),
        key="reach",
        slider=step_slider(frame, first, live=three.live),
    )


def _lag(study: Study, k: int) -> Lag:
    """At checkpoint k, or at the newest of a run that has fewer."""
    return study.by_step[min(k, len(study.by_step) - 1)]


def _reach_chart(frame: Frame, study: Study, k: int, limits: Range) -> Chart:
    lag, cell = _lag(study, k), study.cell
    return Chart(
        lag_figure(lag, cell, limits, frame.translate),
        name=f"reach-{cell}",
        title=f"{NAMES[cell]} · {_reached(frame, study)}",
        description=describe_lag(frame, lag),
        table=lag_table(frame, lag),
        height=420,
    )


def _reached(frame: Frame, study: Study) -> str:
    """The trained model's perplexity on the text it learned and on the text held out."""
    return frame.translate("perplexity {training}, held-out {held_out}").format(
        training=quantity(study.perplexity), held_out=quantity(study.held_out_perplexity)
    )


def describe_lag(frame: Frame, lag: Lag) -> str:
    _ = frame.translate
    mean = geometric_mean(lag.H)
    last = len(mean) - 1
    parts = [_("at lag {lag}: {norm}").format(lag=j, norm=quantity(float(mean[j]))) for j in (0, last // 2, last)]
    text = _("‖dL_T/dH_t‖, geometric mean of {count} windows, {values}.").format(
        count=len(lag.H), values=", ".join(parts)
    )
    if lag.bound is None:
        return text
    return (
        text
        + " "
        + _("Bound at lag {lag}: {bound}.").format(lag=last, bound=quantity(float(geometric_mean(lag.bound)[-1])))
    )


def lag_table(frame: Frame, lag: Lag) -> dict[str, Iterable[Any]]:
    _ = frame.translate
    table: dict[str, Iterable[Any]] = {_("lag"): np.arange(lag.H.shape[1])}
    columns = {
        "‖dL_T/dH_t‖": lag.H,
        "‖dL_T/dC_t‖": lag.C,
        _("bound step by step"): lag.bound,
        _("bound by σ_max"): lag.sigma_bound(),
        _("through the gates alone"): lag.direct,
    }
    table |= {name: geometric_mean(values) for name, values in columns.items() if values is not None}
    return table | {_("window {k}").format(k=i): window for i, window in enumerate(lag.H, start=1)}
