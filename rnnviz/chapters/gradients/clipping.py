"""Clipping: norms before and after, together and one by one."""

from __future__ import annotations

from typing import Any

import streamlit as st

from rnnviz.analysis.experiments import shipped_study, study_config
from rnnviz.analysis.gradient_study import Norms, norms_of
from rnnviz.figures.gradients.clipping import both_norms, clipping_figure, parameters_figure
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.controls import chosen, pick, select
from rnnviz.ui.forms import small_training
from rnnviz.ui.frame import Frame, engine
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.pictures import pictures
from rnnviz.ui.run_view import follow, phase_of, show_progress

_THETAS = ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "0")
_shipped_study = st.cache_resource(shipped_study)


def clipping(frame: Frame) -> None:
    """Norms before and after clipping, together and one by one, of a shipped run or one trained here."""
    _ = frame.translate
    place = st.container()
    slider = _theta_slider(frame)
    theta = float(_THETAS[chosen(slider)])  # with which the next run is trained
    base = study_config("rnn").with_settings({"clip": theta})
    fast = base.with_settings({"optimizer": "sgd", "learning_rate": 10.0})
    run = small_training(
        frame,
        _("Model"),
        {
            "rnn": ("RNN, Adam", base),
            "lstm": ("LSTM, Adam", base.with_settings({"cell": "lstm"})),
            "rnn-sgd": ("RNN, SGD, η = 10", fast),
        },
    )
    with place:
        live_part(
            frame,
            lambda: phase_of(run) if run else "finished",
            lambda phase: _draw_clipping(frame, run, slider, live=phase == MOVING),
            watch_halted=True,
        )


def _theta_slider(frame: Frame) -> Slider:
    _ = frame.translate
    names = [_("off") if theta == "0" else theta for theta in _THETAS]
    return Slider("theta", _("Threshold θ"), _THETAS, names, _THETAS.index(f"{study_config('rnn').clip:g}"))


def _draw_clipping(frame: Frame, run: Run | None, slider: Slider, *, live: bool) -> None:
    _ = frame.translate
    norms = _norms(run)
    if run is not None:
        show_progress(frame, run, engine().view(run.id), follow(run).story())
    if not len(norms.steps):
        st.caption(_("The first step is on its way."))
        return
    trained = run.config.clip if run else study_config("rnn").clip
    st.caption(
        _("Recorded while training with θ = {theta:g}. The slider clips the same gradients again.").format(
            theta=trained
        )
        if trained
        else _("Recorded while training without clipping. The slider clips the same gradients.")
    )
    left, right = st.columns(2, gap="large")
    options = {"": _("All parameters together")} | dict(zip(norms.names, norms.names, strict=True))
    name = select(left, _("Norm of"), options, "norm", "") or None
    i = _choose_step(frame, right, norms, live=live)
    thetas = [float(theta) for theta in _THETAS]
    pictures(
        [_norms_chart(frame, norms, theta, name, run.id if run else "") for theta in thetas],
        [_parameters_chart(frame, norms, theta, i) for theta in thetas],
        key="clipped",
        slider=slider,
    )


def _norms_chart(frame: Frame, norms: Norms, theta: float, name: str | None, revision: str) -> Chart:
    """Every step before and after clipping at theta."""
    _ = frame.translate
    before, after = both_norms(norms, theta, name)
    words = _clipping_in_words(frame, norms, theta)
    return Chart(
        clipping_figure(norms, theta, name, _),
        name="clipping",
        description=words,
        caption=words,
        table={_("training step"): norms.steps, _("before"): before, _("after"): after},
        revision=revision,
        height=400,
    )


def _parameters_chart(frame: Frame, norms: Norms, theta: float, i: int) -> Chart:
    """One step, parameter by parameter."""
    _ = frame.translate
    together, alone = norms.clipped(theta)[i], norms.clipped_singly(theta)[i]
    values = ", ".join(
        f"{n} {quantity(float(a))} → {quantity(float(b))}"
        for n, a, b in zip(norms.names, norms.values[i], together, strict=True)
    )
    total = quantity(float(norms.total()[i]))
    return Chart(
        parameters_figure(norms, theta, i, _),
        name="parameters",
        caption=_("Step {step:,}: the norm of all parameters together is {norm}.").format(
            step=norms.steps[i], norm=total
        ),
        description=_("Step {step:,}, parameter by parameter: {values}.").format(step=norms.steps[i], values=values),
        table={
            _("parameter"): norms.names,
            _("before"): norms.values[i],
            _("after, by the global norm"): together,
            _("each alone"): alone,
        },
        height=400,
    )


def _norms(run: Run | None) -> Norms:
    if run is None:
        return _shipped_study("rnn").norms
    return _norms_so_far(str(run.folder), run.reports_size())


@st.cache_data(max_entries=64, show_spinner=False)
def _norms_so_far(folder: str, size: int) -> Norms:
    """A run's norms, read again when its reports have grown."""
    return norms_of(Run(folder).reports())


def _choose_step(frame: Frame, place: Any, norms: Norms, *, live: bool) -> int:
    """The step to look at: the newest while the run trains, afterwards one that the visitor names by its norm."""
    if live:
        return len(norms.steps) - 1
    _ = frame.translate
    by_norm = norms.total().argsort()
    steps = {
        "largest": (_("largest norm"), by_norm[-1]),
        "median": (_("median norm"), by_norm[len(by_norm) // 2]),
        "smallest": (_("smallest norm"), by_norm[0]),
    }
    return int(steps[pick(place, _("Training step"), tuple(steps), "step", lambda name: steps[name][0])][1])


def _clipping_in_words(frame: Frame, norms: Norms, theta: float) -> str:
    total = norms.total()
    share = float((total > theta).mean()) if theta else 0.0
    return frame.translate(
        "{share:.0%} of {count:,} steps are clipped; the longest gradient has the norm {longest}."
    ).format(share=share, count=len(total), longest=quantity(float(total.max())))
