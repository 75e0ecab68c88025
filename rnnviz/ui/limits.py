"""Gates as switches: each as it was learned, or held at 0 or 1 from a step of the text on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from rnnviz.analysis.holding import hold, perplexity_of, true_probabilities
from rnnviz.analysis.reading import Reading
from rnnviz.cells import CellName, find_cell
from rnnviz.figures.gates import held_figure, unit_order
from rnnviz.figures.kit import visible
from rnnviz.i18n import quantity
from rnnviz.signals import SIGNALS
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import picture
from rnnviz.ui.reading import choose_model, choose_text, reading_of, shipped_models
from rnnviz.ui.run_view import chosen_run

LEARNED = "learned"


@dataclass(frozen=True)
class Limit:
    """A measurement of the network with its gates held: 0 if a limit has been reached."""

    label: str
    value: float

    @property
    def shown(self) -> str:
        """The value in Markdown; a limit that has been reached is highlighted."""
        return f"{self.label}: " + (":green-background[**0**]" if self.value == 0 else f"**{quantity(self.value)}**")


def choose_reading(frame: Frame, cell: CellName) -> Reading | None:
    """A model of the page's cell reading a text; None if that is impossible, and then the page says why."""
    own = chosen_run(frame)
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    run = choose_model(frame, row, shipped_models(frame, cell), own if own and own.config.model.cell == cell else None)
    return reading_of(frame, run, choose_text(frame, row, run), cell)


def show_limits(
    frame: Frame,
    cell: CellName,
    state: str,
    measure: Callable[[Frame, Reading, int], list[Limit]],
    start: Mapping[str, str],
) -> None:
    """Switches for the gates, measurements of the state, the picture, and below it which model reads which text.

    The first third of the text is read as the network has learned to read it. `start` has the
    switches that do not start at "learned".
    """
    switches, measured, place = st.container(), st.container(), st.container()
    reading = choose_reading(frame, cell)
    if reading is None:
        return
    with switches:
        held = _switches(frame, cell, start)
    since = len(reading.trace.text) // 3
    operated = hold(reading, held, since)
    show_measured(measured, measure(frame, operated, since))
    with place:
        _show_held(frame, reading, operated, state, since)


def show_measured(place: Any, limits: Sequence[Limit]) -> Any:
    """Show the measurements side by side if there is room. Returns their row."""
    row = place.container(horizontal=True, gap="medium")
    for limit in limits:
        row.markdown(limit.shown, width="content")
    return row


def _switches(frame: Frame, cell: CellName, start: Mapping[str, str]) -> dict[str, float]:
    """The gates that are held, and at which value."""
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    names = {LEARNED: _("learned"), "0": "0", "1": "1"}
    chosen = {
        gate: pick(
            row,
            f"{SIGNALS[gate].symbol} {_(SIGNALS[gate].label)}",
            tuple(names),
            f"hold-{gate}",
            names.__getitem__,
            start.get(gate, LEARNED),
        )
        for gate in find_cell(cell).gates
    }
    return {gate: float(value) for gate, value in chosen.items() if value != LEARNED}


def _show_held(frame: Frame, reading: Reading, operated: Reading, state: str, since: int) -> None:
    _ = frame.translate
    trained, held = true_probabilities(reading), true_probabilities(operated)
    words = _("Perplexity after the dotted line: {trained} as trained, {held} with the gates held.").format(
        trained=quantity(perplexity_of(trained[since:])), held=quantity(perplexity_of(held[since:]))
    )
    picture(
        held_figure(
            reading, operated, state, since, unit_order(reading.trace.signal(state), "similarity"), frame.translate
        ),
        key="limits",
        description=_("Heatmap of {signal}, held from step {step} on.").format(
            signal=_(SIGNALS[state].label), step=since + 1
        )
        + " "
        + words,
        caption=words,
        table={
            _("character"): visible(reading.trace.text[:-1]),
            _("P of the next, as trained"): trained,
            _("P of the next, gates held"): held,
        },
        revision=reading.trace.text,
        height=440,
    )
