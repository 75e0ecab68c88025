"""Clipping: norms before and after, together and one by one."""

from __future__ import annotations

import numpy as np
import streamlit as st

from rnnviz.errors import InputError
from rnnviz.experiments import (
    shipped_study,
    study_config,
)
from rnnviz.gradient_figures import (
    both_norms,
    clipping_figure,
    parameters_figure,
)
from rnnviz.gradient_study import Norms, norms_of
from rnnviz.i18n import quantity
from rnnviz.runs import Run
from rnnviz.ui.forms import small_training
from rnnviz.ui.frame import (
    Frame,
    engine,
    select,
    show_error,
    slide,
)
from rnnviz.ui.parts import picture
from rnnviz.ui.runs import follow, refresh_seconds, show_progress

_THETAS = ("0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "0")
_shipped_study = st.cache_resource(shipped_study)


def clipping(frame: Frame) -> None:
    """Norms before and after clipping, together and one by one, of a shipped run or one trained here."""
    _ = frame.translate
    place = st.container()
    theta = float(
        slide(
            st,
            _("Threshold θ"),
            _THETAS,
            "theta",
            lambda v: _("off") if v == "0" else v,
            f"{study_config('rnn').clip:g}",
        )
    )
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
    live = run is not None and engine().view(run.id).moving
    with place:
        st.fragment(_draw_clipping, run_every=refresh_seconds() if live else None)(frame, run, theta, live)


def _draw_clipping(frame: Frame, run: Run | None, theta: float, live: bool) -> None:
    _ = frame.translate
    try:
        norms = _norms(run)
        if run is not None:
            view = engine().view(run.id)
            if view.moving != live:
                st.rerun()
            show_progress(frame, run, view, follow(run).story())
    except InputError as error:
        show_error(frame, error)
        return
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
    left, right = st.columns([3, 2], gap="large")
    with left:
        options = {"": _("All parameters together")} | dict(zip(norms.names, norms.names, strict=True))
        name = select(st, _("Norm of"), options, "norm", "") or None
        before, after = both_norms(norms, theta, name)
        picture(
            frame,
            clipping_figure(norms, theta, name, _),
            key="clipping",
            description=_clipping_in_words(frame, norms, theta),
            table={_("training step"): norms.steps, _("before"): before, _("after"): after},
            revision=run.id if run else "",
            height=400,
        )
        st.caption(_clipping_in_words(frame, norms, theta))
    with right:
        i = _choose_step(frame, norms, live=live)
        picture(
            frame,
            parameters_figure(norms, theta, i, _),
            key="parameters",
            description=_("Step {step}, parameter by parameter: {values}.").format(
                step=norms.steps[i],
                values=", ".join(
                    f"{n} {quantity(float(a))} → {quantity(float(b))}"
                    for n, a, b in zip(norms.names, norms.values[i], norms.clipped(theta)[i], strict=True)
                ),
            ),
            table={
                _("parameter"): norms.names,
                _("before"): norms.values[i],
                _("after, by the global norm"): norms.clipped(theta)[i],
                _("each alone"): norms.clipped_singly(theta)[i],
            },
            height=400,
        )


def _norms(run: Run | None) -> Norms:
    if run is None:
        return _shipped_study("rnn").norms
    return _norms_so_far(str(run.folder), run.reports_size())


@st.cache_resource(max_entries=64, show_spinner=False)
def _norms_so_far(folder: str, size: int) -> Norms:
    """A run's norms, read again when its reports have grown."""
    return norms_of(Run(folder).reports())


def _choose_step(frame: Frame, norms: Norms, *, live: bool) -> int:
    """Which step to take apart: the newest while it trains, afterwards the one with the longest gradient at first."""
    if live or len(norms.steps) < 2:
        return len(norms.steps) - 1
    longest = int(norms.steps[int(norms.total().argmax())])
    first, last = int(norms.steps[0]), int(norms.steps[-1])
    asked = st.query_params.get("step", "")
    if not first <= int(st.session_state.get("step") or 0) <= last:
        st.session_state["step"] = min(max(int(asked), first), last) if asked.isdecimal() else longest
    step = int(st.slider(frame.translate("Training step"), first, last, key="step", persist_state="session"))
    st.query_params["step"] = str(step)
    return int(np.searchsorted(norms.steps, step))


def _clipping_in_words(frame: Frame, norms: Norms, theta: float) -> str:
    total = norms.total()
    share = float((total > theta).mean()) if theta else 0.0
    return frame.translate(
        "{share:.0%} of {count:,} steps are clipped; the longest gradient has the norm {longest}."
    ).format(share=share, count=len(total), longest=quantity(float(total.max())))
