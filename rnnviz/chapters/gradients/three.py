"""The three runs of the page, an RNN, a GRU and an LSTM: training and choosing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import streamlit as st

from rnnviz.analysis.experiments import CELLS, shipped_study, study_config
from rnnviz.analysis.gradient_study import Study
from rnnviz.cells import CellName, all_cells
from rnnviz.runs.folder import Run
from rnnviz.ui.charts import Slider
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame, engine, visitor
from rnnviz.ui.side_by_side import SideBySide, side_by_side

NAMES: dict[str, str] = {cell.name: cell.label for cell in all_cells()}
_shipped_study = st.cache_resource(shipped_study)


@dataclass(frozen=True)
class Three:
    """The studies of the RNN, the GRU and the LSTM of the page; `live` while they train."""

    studies: Mapping[CellName, Study]
    live: bool


def with_three(frame: Frame, draw: Callable[[Frame, Three], None]) -> None:
    """Draw a picture of the three, which updates while they train, and below it the form that trains them."""
    group = SideBySide(
        key="three",
        labels={cell: NAMES[cell] for cell in CELLS},
        config=lambda cell, text: study_config(cast("CellName", cell), text),
        shipped=frame.lesson("shipped"),
    )

    def draw_studies(runs: Mapping[str, Run], live: bool) -> None:
        studies = _studies({cell: runs[cell] for cell in CELLS if cell in runs})
        if studies:
            draw(frame, Three(studies, live))

    side_by_side(frame, group, draw_studies)


def _studies(runs: Mapping[CellName, Run]) -> dict[CellName, Study]:
    """The studies of the visitor's own runs that have a checkpoint, or those that come with the app."""
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
    """A run's study, computed again when a checkpoint is added or the run ends."""
    study: Study = engine().compute("rnnviz.nn.gradients:study", visitor=visitor(), folder=folder)
    return study


def checkpoints(study: Study, *, live: bool) -> range:
    """The checkpoints of a study that can be looked at: the newest while it trains, all of them afterwards."""
    count = len(study.steps)
    return range(count - 1, count) if live else range(count)


def step_slider(frame: Frame, study: Study, *, live: bool) -> Slider | None:
    """A slider over those checkpoints, which starts at the newest."""
    if len(checkpoints(study, live=live)) < 2:
        return None
    values, names = [str(step) for step in study.steps], [f"{step:,}" for step in study.steps]
    return Slider("checkpoint", frame.translate("Training step"), values, names, len(values) - 1)


def telling_matrix(names: Sequence[str]) -> str:
    """The recurrent matrix of the candidate, which is the most informative."""
    return "W_hh" if "W_hh" in names else "W_hc"


def choose_cell(frame: Frame, row: Any, three: Three) -> CellName:
    """One of the cells whose study is available."""
    cells = [cell for cell in CELLS if cell in three.studies]
    cell: CellName = pick(row, frame.translate("Cell"), cells, "cell", lambda cell: NAMES[cell])
    return cell
