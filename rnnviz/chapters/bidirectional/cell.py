"""The cell of one direction at work on a text, in the order in which that direction reads it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from rnnviz.chapters.bidirectional.models import choose_reading, reading_of
from rnnviz.config import ModelConfig
from rnnviz.ui.cell import cell_view, revision_of
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.run_view import phase_of

_LEAST_SECONDS = 1.0  # between two readings of a run that trains


def cell(frame: Frame) -> None:
    """The cell of the chosen direction and layer; below it which model reads which text."""
    row, place = st.container(horizontal=True, vertical_alignment="bottom", gap="medium"), st.container()
    chosen = choose_reading(frame)
    if chosen is None:
        return
    run, text = chosen
    direction, layer = _choose_pass(frame, row, run.config.model)

    def draw(phase: str) -> None:
        if phase == MOVING and not run.checkpoint_path().exists():
            st.caption(frame.translate("The gates appear with the first recording."))
            return
        cell_view(
            frame,
            reading_of(run, str(run.folder), run.reports_size(), text, layer, direction),
            key="pass",
            revision=revision_of(frame, run, text, phase, direction, str(layer)),
            back=None if phase == MOVING else run,
        )

    with place:
        live_part(frame, lambda: phase_of(run), draw, least_seconds=_LEAST_SECONDS)


def _choose_pass(frame: Frame, row: Any, model: ModelConfig) -> tuple[str, int]:
    """A direction and, in a model of several, a layer."""
    _ = frame.translate
    names = {"forward": _("forward"), "backward": _("backward")}
    direction = pick(row, _("Direction"), tuple(names), "direction", names.__getitem__)
    layers = [str(n + 1) for n in range(model.num_layers)]
    return direction, int(pick(row, _("Layer"), layers, "layer", str)) if len(layers) > 1 else 1
