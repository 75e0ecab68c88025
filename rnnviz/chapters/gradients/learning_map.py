"""Learning rate against threshold: where a small model diverges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import streamlit as st

from rnnviz.analysis.experiments import MAPS, THETAS, learning_rates, map_cells, shipped_map
from rnnviz.figures.gradients.learning_map import map_figure
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame, engine, put_in_address, show_error, start_from_address, visitor, watching
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.pictures import picture

REFRESH_SECONDS = 1.0
_VOCABULARY = 40  # of the text that the maps are trained on
_shipped_map = st.cache_data(shipped_map)


def learning_map(frame: Frame) -> None:
    """Which learning rates and thresholds diverge: a short training for each cell of a grid."""
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    names = {"rnn-sgd": "RNN, SGD", "gru-sgd": "GRU, SGD", "lstm-sgd": "LSTM, SGD", "rnn-adam": "RNN, Adam"}
    name = pick(row, _("Model"), tuple(MAPS), "map", names.__getitem__)
    seed = int(pick(row, _("Seed"), ("0", "1", "2", "3"), "seed", str))
    this = f"{name}-{seed}"
    start_from_address("computed", [f"{n}-{s}" for n in MAPS for s in range(4)], "")
    if not watching() and row.button(_("Compute it here"), type="primary", icon=":material/grid_on:", key="compute"):
        st.session_state["computed"] = this
    computing = put_in_address("computed", "") == this
    live_part(
        frame,
        lambda: MOVING if computing and not _map_batch(name, seed).finished else "finished",
        lambda _phase: _draw_map(frame, name, seed, computing),
        least_seconds=REFRESH_SECONDS,
    )


def _map_batch(name: str, seed: int) -> Any:
    arguments = [{"config": config} for config in map_cells(name, seed)]
    return engine().batch(("map", name, seed), "rnnviz.nn.gradients:map_cell", arguments, visitor=visitor())


def _draw_map(frame: Frame, name: str, seed: int, computing: bool) -> None:
    _ = frame.translate
    if computing:
        batch = _map_batch(name, seed)
        if batch.error:
            show_error(frame, batch.error)
        cells, total = list(batch.results), batch.total
        st.progress(len(cells) / total, _("{done} of {total} trainings").format(done=len(cells), total=total))
    else:
        cells = _shipped_map(name) if seed == 0 else []
        st.caption(
            _("This map comes with the app: {count} trainings of 60 steps.").format(count=len(cells))
            if cells
            else _("Not computed yet: 63 trainings of 60 steps, about 20 seconds.")
        )
    not_held_out = _(
        "The map shows the training perplexity. No text is held out, because the question is only which trainings "
        "diverge."
    )
    st.caption(not_held_out)
    rates = learning_rates(name)
    diverged = sum(cell.diverged for cell in cells)
    picture(
        map_figure(cells, THETAS, rates, _VOCABULARY, _),
        key="learning-map",
        description=_(
            "Final perplexity, {rows} thresholds by {columns} learning rates; {count} of {done} diverged."
        ).format(rows=len(THETAS), columns=len(rates), count=diverged, done=len(cells))
        + " "
        + not_held_out,
        table=_map_table(frame, name, cells),
        revision=name,
        height=440,
    )


def _map_table(frame: Frame, name: str, cells: Sequence[Any]) -> dict[str, Iterable[Any]]:
    _ = frame.translate
    configs = map_cells(name)[: len(cells)]
    return {
        "θ": [config.clip for config in configs],
        "η": [config.learning_rate for config in configs],
        _("perplexity"): [cell.end for cell in cells],
        _("diverged"): [_("yes") if cell.diverged else _("no") for cell in cells],
    }
