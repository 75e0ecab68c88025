"""A model's layers over its training: of the one that ships, or of the visitor's own while it trains."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from rnnviz.analysis.deep import LayerStudy, shipped_study
from rnnviz.chapters.deep.models import MOST_LAYERS, shipped_models, train
from rnnviz.runs.folder import Run
from rnnviz.ui.frame import Frame, engine, visitor
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.reading import check_drawable, choose_model, turn_to_new
from rnnviz.ui.run_view import follow, phase_of, ships, show_progress

_REFRESH_SECONDS = 1.0
_shipped = st.cache_resource(shipped_study)


def with_study(frame: Frame, draw: Callable[[LayerStudy, bool], None]) -> None:
    """Draw a picture of a study, which moves while its model trains; below it which model, and the way to train one.

    `draw` is told whether the model trains.
    """
    place, row = st.container(), st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    own = train(frame)
    turn_to_new(frame, own)
    run = choose_model(frame, row, shipped_models(frame), own)

    def draw_study(phase: str) -> None:
        check_drawable(run.config, "lstm", MOST_LAYERS)
        if not ships(run):
            show_progress(frame, run, engine().view(run.id), follow(run).story())
        steps = tuple(run.checkpoint_steps())
        if ships(run):
            draw(_shipped(run.folder.name.rpartition("-")[2]), False)
        elif steps:
            draw(_study(str(run.folder), steps, phase), phase == MOVING)
        else:
            st.caption(frame.translate("The first step is on its way."))

    with place:
        live_part(frame, lambda: phase_of(run), draw_study, least_seconds=_REFRESH_SECONDS)


@st.cache_resource(max_entries=64, show_spinner=False)
def _study(folder: str, steps: tuple[int, ...], phase: str) -> LayerStudy:
    """A run's study, computed again when a checkpoint is added or the run halts."""
    study: LayerStudy = engine().compute("rnnviz.nn.deep:study", Run(folder), visitor=visitor())
    return study
