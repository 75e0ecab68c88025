"""The RNN, the GRU and the LSTM: against the lag, their spectra, and scaled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.experiments import (
    CELLS,
    shipped_study,
    study_config,
)
from rnnviz.gradient_figures import (
    common_range,
    growth_figure,
    lag_figure,
    plane_figure,
    scale_figure,
)
from rnnviz.gradient_study import Lag, Study, geometric_mean
from rnnviz.i18n import quantity
from rnnviz.runs import Run
from rnnviz.signals import CellName
from rnnviz.text import Corpus
from rnnviz.ui.forms import choose_text, chosen_corpus
from rnnviz.ui.frame import (
    Frame,
    engine,
    pick,
    show_error,
    slide,
    visitor,
)
from rnnviz.ui.parts import picture
from rnnviz.ui.runs import follow, refresh_seconds, show_progress

REFRESH_SECONDS = 1.0
_NAMES: dict[str, str] = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
_shipped_study = st.cache_resource(shipped_study)


@dataclass(frozen=True)
class Three:
    """The studies of the RNN, the GRU and the LSTM of the page; `live` while they train."""

    studies: Mapping[CellName, Study]
    live: bool


def _with_three(frame: Frame, draw: Callable[[Frame, Three], None]) -> None:
    """A picture of the three, which moves by itself while they train, and below it the way to train them."""
    runs = _chosen_runs(frame)
    live = any(engine().view(run.id).moving for run in runs.values())
    every = max(REFRESH_SECONDS, refresh_seconds()) if live else None
    st.fragment(_about_three, run_every=every)(frame, runs, draw, live)
    _train_three(frame, runs, live)


def _about_three(frame: Frame, runs: Mapping[CellName, Run], draw: Callable[[Frame, Three], None], live: bool) -> None:
    views = {cell: engine().view(run.id) for cell, run in runs.items()}
    if live and not any(view.moving for view in views.values()):
        st.rerun()  # the buttons have to change as well
    try:
        for cell, view in views.items():
            if live or view.status.state == "failed":  # all three lines to the end, so that nothing below them jumps
                name, line = st.columns([1, 12], vertical_alignment="center")
                name.markdown(f"**{_NAMES[cell]}**")
                with line:
                    show_progress(frame, runs[cell], view, follow(runs[cell]).story())
        studies = _studies(runs)
    except InputError as error:
        show_error(frame, error)
        return
    if studies:
        draw(frame, Three(studies, live))


def _studies(runs: Mapping[CellName, Run]) -> dict[CellName, Study]:
    """Of the visitor's own three as far as they have a checkpoint, or of those that come with the app."""
    if not runs:
        return {cell: _shipped_study(cell) for cell in CELLS}
    steps = {cell: tuple(run.checkpoint_steps()) for cell, run in runs.items()}
    return {
        cell: _study(str(run.folder), steps[cell], engine().view(run.id).status.state)
        for cell, run in runs.items()
        if steps[cell]
    }


@st.cache_resource(max_entries=64, show_spinner=False)
def _study(folder: str, steps: tuple[int, ...], state: str) -> Study:
    """A run's study, made anew when a checkpoint is added or the run ends."""
    study: Study = engine().compute("gradients.study", folder=folder)
    return study


def _chosen_runs(frame: Frame) -> dict[CellName, Run]:
    """The runs named by `?three=` in the address, or the visitor's last three; empty before the first."""
    ids = str(st.query_params.get("three") or st.session_state.get("three-runs") or "")
    if not ids:
        return {}
    try:
        runs = {run.config.model.cell: run for run in map(Run.find, ids.split("."))}
        if set(runs) != set(CELLS) or any(run.config != _config(cell, run) for cell, run in runs.items()):
            raise InputError("{runs} are not three runs of this page: an RNN, a GRU and an LSTM", runs=ids[:80])
    except InputError as error:
        st.session_state.pop("three-runs", None)
        show_error(frame, error)
        return {}
    _keep_runs(ids)
    return {cell: runs[cell] for cell in CELLS}


def _config(cell: CellName, run: Run) -> TrainConfig:
    return study_config(cell, run.config.corpus)


def _keep_runs(ids: str) -> None:
    """The runs that this page shows from now on; the address names them."""
    st.session_state["three-runs"] = st.query_params["three"] = ids
    for run_id in ids.split("."):
        engine().watch(run_id, visitor().name)


def _train_three(frame: Frame, runs: Mapping[CellName, Run], live: bool) -> None:
    """A text, and the buttons that train all three on it or halt them."""
    _ = frame.translate
    with st.container(border=True):
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        text = choose_text(frame, row, study_config("rnn").corpus)
        configs = [study_config(cell, text) for cell in CELLS]
        corpus = chosen_corpus(frame, configs[-1])  # the LSTM is the largest
        start = row.button(
            _("Train all three"),
            type="primary",
            icon=":material/play_arrow:",
            key="train-three",
            disabled=live or corpus is None,
        )
        halt = live and row.button(_("Stop"), icon=":material/stop:", key="stop-three")
        if not runs:
            st.caption(frame.lesson("shipped"))
    if start and corpus is not None:
        _start(frame, configs, corpus)
    if halt:
        for run in runs.values():
            engine().cancel(run.id)
        st.rerun()


def _start(frame: Frame, configs: Sequence[TrainConfig], corpus: Corpus) -> None:
    """All three, or none where the server has no room for all."""
    started: list[str] = []
    try:
        for config in configs:
            started.append(engine().submit(config, corpus, visitor=visitor().name, kept=False))
    except InputError as error:
        for run_id in started:
            engine().cancel(run_id)
        show_error(frame, error)
        return
    _keep_runs(".".join(started))
    st.rerun()


def _checkpoint(frame: Frame, study: Study, *, live: bool) -> int:
    """Which of a study's checkpoints: the newest while it trains, the visitor's choice afterwards."""
    if live or len(study.steps) < 2:
        return len(study.steps) - 1
    options = [str(step) for step in study.steps]
    step = slide(
        st, frame.translate("Training step"), options, "checkpoint", lambda step: f"{int(step):,}", options[-1]
    )
    return options.index(step)


# Against the lag


def reach(frame: Frame) -> None:
    """dL_T/dH_t against the lag for the three cells, with what theory says about each."""
    _with_three(frame, _draw_reach)


def _draw_reach(frame: Frame, three: Three) -> None:
    _ = frame.translate
    place = st.container()
    first = next(iter(three.studies.values()))
    k = _checkpoint(frame, first, live=three.live)
    lags = {cell: study.by_step[min(k, len(study.by_step) - 1)] for cell, study in three.studies.items()}
    limits = common_range(list(lags.values()), 1e3)
    for column, (cell, study) in zip(place.columns(len(three.studies)), three.studies.items(), strict=True):
        with column:
            st.markdown(f"**{_NAMES[cell]}** · {_reached(frame, study)}")
            picture(
                frame,
                lag_figure(lags[cell], cell, limits, _),
                key=f"reach-{cell}",
                description=_describe_lag(frame, lags[cell]),
                table=_lag_table(frame, lags[cell]),
                height=420,
            )


def _reached(frame: Frame, study: Study) -> str:
    """What the trained model's perplexity is, on the text it learned and on the text held out."""
    return frame.translate("perplexity {training}, held-out {held_out}").format(
        training=quantity(study.perplexity), held_out=quantity(study.held_out_perplexity)
    )


def _describe_lag(frame: Frame, lag: Lag) -> str:
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


def _lag_table(frame: Frame, lag: Lag) -> dict[str, Iterable[Any]]:
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


# The spectrum


def spectrum(frame: Frame) -> None:
    """Eigenvalues and singular values of a recurrent matrix, checkpoint by checkpoint."""
    _with_three(frame, _draw_spectrum)


def _draw_spectrum(frame: Frame, three: Three) -> None:
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    cell, name = _choose_matrix(frame, row, three)
    study = three.studies[cell]
    place = st.container()
    k = _checkpoint(frame, study, live=three.live)
    eigenvalues, singular = study.spectrum.eigenvalues[name], study.spectrum.singular_values[name]
    left, right = place.columns(2, gap="large")
    with left:
        st.markdown("**" + _("Eigenvalues in the complex plane, step {step:,}").format(step=study.steps[k]) + "**")
        picture(
            frame,
            plane_figure(eigenvalues[k], float(singular[k, 0]), 1.15 * float(max(1.2, singular[:, 0].max())), _),
            key="plane",
            description=_(
                "{count} eigenvalues of {name} at step {step}; the largest has the size {size}, {outside} lie outside "
                "the unit circle. Largest singular value: {sigma}."
            ).format(
                count=eigenvalues.shape[1],
                name=name,
                step=study.steps[k],
                size=quantity(float(abs(eigenvalues[k, 0]))),
                outside=int((np.abs(eigenvalues[k]) > 1).sum()),
                sigma=quantity(float(singular[k, 0])),
            ),
            table={
                "Re λ": eigenvalues[k].real,
                "Im λ": eigenvalues[k].imag,
                "|λ|": abs(eigenvalues[k]),
                "σ": singular[k],
            },
            height=440,
        )
    with right:
        st.markdown("**" + _("As training goes on") + "**")
        picture(
            frame,
            growth_figure(study.steps, study.spectrum, name, k, _),
            key="growth",
            description=_("Largest singular value of {name}: {first} before training, {last} at step {step}.").format(
                name=name,
                first=quantity(float(singular[0, 0])),
                last=quantity(float(singular[-1, 0])),
                step=study.steps[-1],
            ),
            table={_("step"): study.steps, "σ_max": singular[:, 0], "|λ|_max": abs(eigenvalues[:, 0])},
            height=440,
        )


def _choose_matrix(frame: Frame, row: Any, three: Three) -> tuple[CellName, str]:
    cell = _choose_cell(frame, row, three)
    names = three.studies[cell].spectrum.names
    return cell, pick(row, frame.translate("Matrix"), names, f"matrix-{cell}", str, _telling(names))


def _telling(names: Sequence[str]) -> str:
    return "W_hh" if "W_hh" in names else "W_hc"


def _choose_cell(frame: Frame, row: Any, three: Three) -> CellName:
    cells = [cell for cell in CELLS if cell in three.studies]
    cell: CellName = pick(row, frame.translate("Cell"), cells, "cell", lambda cell: _NAMES[cell])
    return cell


# Scaled


def scale(frame: Frame) -> None:
    """Every recurrent matrix times s: the eigenvalues cross the circle, the gradient vanishes or explodes."""
    _with_three(frame, _draw_scale)


def _draw_scale(frame: Frame, three: Three) -> None:
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    cell = _choose_cell(frame, row, three)
    study = three.studies[cell]
    options = [f"{s:.3g}" for s in study.scales]
    k = options.index(slide(row, _("Scale s of the recurrent matrices"), options, "s", lambda s: f"× {s}", "1"))
    low, high = common_range(study.by_scale, 20)
    scale = study.scales[k]
    name = _telling(study.spectrum.names)
    eigenvalues = study.spectrum.eigenvalues[name][-1]
    sigma = float(study.spectrum.singular_values[name][-1, 0])
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown("**" + _("Gradient against the lag, s = {s}").format(s=options[k]) + "**")
        picture(
            frame,
            scale_figure(study, k, (max(low, 1e-14), high), _),
            key="scale",
            description=_describe_lag(frame, study.by_scale[k]),
            table=_lag_table(frame, study.by_scale[k]),
            height=440,
        )
    with right:
        st.markdown("**" + _("Eigenvalues of s {name}").format(name=_matrix(name)) + "**")
        picture(
            frame,
            plane_figure(scale * eigenvalues, scale * sigma, 1.15 * float(max(2, scale * abs(eigenvalues[0]))), _),
            key="scaled-plane",
            description=_("Largest eigenvalue of s {name}: size {size}. Largest singular value: {sigma}.").format(
                name=name,
                size=quantity(float(scale * abs(eigenvalues[0]))),
                sigma=quantity(scale * sigma),
            ),
            height=440,
        )


def _matrix(name: str) -> str:
    """W_hh in a line of Markdown."""
    return f"$W_{{{name.removeprefix('W_')}}}$"
