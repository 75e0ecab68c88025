"""Several small runs that train side by side on a chapter's page: choosing, starting and halting all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from rnnviz.analysis.side_by_side import Curve
from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import Corpus, corpus_of
from rnnviz.ui.forms import choose_text, chosen_corpus
from rnnviz.ui.frame import Frame, engine, show_error, visitor, watching
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.run_view import follow, show_progress, whole_run

REFRESH_SECONDS = 1.0


@dataclass(frozen=True)
class SideBySide:
    """The runs of a page that belong together.

    The address has them under `key`. `labels` maps a name for each to what the visitor reads, and
    `config` gives the configuration of one by its name and the text's. If `corpus` is empty, the
    visitor chooses the text. `shipped` says what is shown before the first training.
    """

    key: str
    labels: Mapping[str, str]
    config: Callable[[str, str], TrainConfig]
    shipped: str
    corpus: str = ""


def side_by_side(frame: Frame, group: SideBySide, draw: Callable[[Mapping[str, Run], bool], None]) -> None:
    """A picture of the runs, which updates while they train, and below it the form to train them, except
    for those who only watch.

    `draw` gets the runs by their names (none before the first training) and whether they train.
    """
    runs = _chosen_runs(frame, group)

    def draw_all(phase: str) -> None:
        _show_progress_of_each(frame, group, runs, live=phase == MOVING)
        draw(runs, phase == MOVING)

    live_part(frame, lambda: _phase(runs), draw_all, least_seconds=REFRESH_SECONDS)
    if not watching():
        _train_all(frame, group, runs, live=_phase(runs) == MOVING)


def curves_of(runs: Mapping[str, Run], *, live: bool) -> dict[str, Curve]:
    """The curves of runs that have ended an epoch; for runs that no longer train, to the very end."""
    stories = {name: follow(run).story() if live else follow(run).story(max_age=0.0) for name, run in runs.items()}
    return {name: Curve.of(story.epochs) for name, story in stories.items() if story.epochs}


@cache
def shipped_corpus(config: TrainConfig) -> Corpus:
    """The text of curves that ship with the app, which a configuration names."""
    return corpus_of(config)


def curves_table(
    frame: Frame,
    curves: Mapping[str, Curve],
    shown: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.asarray,
) -> dict[str, Any]:
    """The training and the held-out perplexity of each curve against the step, or what is `shown` of them.

    NaN where one is not so far yet.
    """
    _ = frame.translate
    steps = max((curve.step for curve in curves.values()), key=len)
    table = {_("step"): steps}
    for name, curve in curves.items():
        for column, values in ((name, curve.perplexity), (_(", ").join((name, _("held-out"))), curve.held_out)):
            table[column] = np.pad(shown(values), (0, len(steps) - len(values)), constant_values=np.nan)
    return table


def _phase(runs: Mapping[str, Run]) -> str:
    return MOVING if any(engine().view(run.id).moving for run in runs.values()) else "finished"


def _show_progress_of_each(frame: Frame, group: SideBySide, runs: Mapping[str, Run], *, live: bool) -> None:
    for key, run in runs.items():
        view = engine().view(run.id)
        if live or view.status.state == "failed":  # all lines to the end, so that nothing below them moves
            name, line = st.columns([1, 12], vertical_alignment="center")
            name.markdown(f"**{group.labels[key]}**")
            with line:
                show_progress(frame, run, view, follow(run).story())


def _chosen_runs(frame: Frame, group: SideBySide) -> dict[str, Run]:
    """The runs named in the address, or the visitor's last ones; empty before the first."""
    ids = str(st.query_params.get(group.key) or st.session_state.get(f"{group.key}-runs") or "")
    if not ids:
        return {}
    try:
        runs = list(map(whole_run, ids.split(".")))
        expected = [group.config(name, runs[0].config.corpus) for name in group.labels]
        if [run.config for run in runs] != expected:
            raise InputError(
                "{runs} are not the runs of this page, which are, in this order: {names}",
                runs=ids[:80],
                names=", ".join(group.labels.values()),
            )
    except InputError as error:
        st.session_state.pop(f"{group.key}-runs", None)
        show_error(frame, error)
        return {}
    _remember_runs(group, ids)
    return dict(zip(group.labels, runs, strict=True))


def _remember_runs(group: SideBySide, ids: str) -> None:
    """Show these runs on this page from now on, and put them into the address."""
    st.session_state[f"{group.key}-runs"] = st.query_params[group.key] = ids
    for run_id in ids.split("."):
        engine().watch(run_id, visitor())


def _train_all(frame: Frame, group: SideBySide, runs: Mapping[str, Run], *, live: bool) -> None:
    """A text, and the buttons that train all on it or halt them."""
    _ = frame.translate
    with st.container(border=True):
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        text = group.corpus or choose_text(frame, row)
        configs = [group.config(name, text) for name in group.labels]
        corpus = chosen_corpus(frame, configs[-1])
        start = row.button(
            {2: _("Train both"), 3: _("Train all three"), 4: _("Train all four")}[len(configs)],
            type="primary",
            icon=":material/play_arrow:",
            key=f"train-{group.key}",
            disabled=live or corpus is None,
        )
        halt = live and row.button(_("Stop"), icon=":material/stop:", key=f"stop-{group.key}")
        if not runs:
            st.caption(group.shipped)
    if start and corpus is not None:
        _start(frame, group, configs, corpus)
    if halt:
        for run in runs.values():
            engine().cancel(run.id)
        st.rerun()


def _start(frame: Frame, group: SideBySide, configs: Sequence[TrainConfig], corpus: Corpus) -> None:
    """Start all of them, or none if the server has no room for all."""
    started: list[str] = []
    try:
        for config in configs:
            started.append(engine().submit(config, corpus, visitor=visitor(), unattended=False))
    except InputError as error:
        for run_id in started:
            engine().cancel(run_id)
        show_error(frame, error)
        return
    _remember_runs(group, ".".join(started))
    st.rerun()
