"""Gates as switches: each as it was learned, or held at 0 or 1 from a step of the text on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from rnnviz.analysis.holding import hold, perplexity_of, read_anew, true_probabilities
from rnnviz.analysis.reading import Reading
from rnnviz.cells import CellName, find_cell
from rnnviz.figures.gates import held_figure, unit_order
from rnnviz.figures.kit import visible
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.signals import SIGNALS
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import picture
from rnnviz.ui.reading import (
    choose_model,
    choose_text,
    origin_in_words,
    reading_of,
    shipped_models,
)
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


def choose_reading(frame: Frame, cell: CellName) -> tuple[Run, Reading] | None:
    """A model of the page's cell and its reading of a text; None if it cannot read it, and then the page says why."""
    own = chosen_run(frame)
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    run = choose_model(frame, row, shipped_models(frame, cell), own if own and own.config.model.cell == cell else None)
    reading = reading_of(frame, run, choose_text(frame, row, run), cell)
    return (run, reading) if reading else None


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
    chosen = choose_reading(frame, cell)
    if chosen is None:
        return
    run, reading = chosen
    with switches:
        held = _switches(frame, cell, start)
    since = len(reading.trace.text) // 3
    operated = hold(reading, held, since)
    show_measured(measured, measure(frame, operated, since))
    words = _in_words(frame, run, reading, held)
    with place:
        _show_held(frame, reading, operated, state, since, words)


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


def _in_words(frame: Frame, run: Run, reading: Reading, held: Mapping[str, float]) -> str:
    """What holding the gates costs on this text, how well the model knows the text, and the same of held-out text."""
    _ = frame.translate
    text = reading.trace.text
    said = _("Perplexity after the dotted line: {trained} as trained, {held} with the gates held.")
    parts = [said.format(**_perplexities(reading, held)), origin_in_words(run, text, _)]
    held_out = run.corpus.held_out[: len(text)]
    if len(held_out) > 1:
        said = _("On as many held-out characters: {trained} as trained, {held} with the gates held.")
        parts.append(said.format(**_perplexities(read_anew(reading, held_out), held)))
    return " ".join(parts)


def _perplexities(reading: Reading, values: Mapping[str, float]) -> dict[str, str]:
    """Those of the last two thirds of a text, as trained and with gates held there."""
    since = len(reading.trace.text) // 3
    both = {"trained": reading, "held": hold(reading, values, since)}
    return {name: quantity(perplexity_of(true_probabilities(each)[since:])) for name, each in both.items()}


def _show_held(frame: Frame, reading: Reading, operated: Reading, state: str, since: int, words: str) -> None:
    _ = frame.translate
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
            _("P of the next, as trained"): true_probabilities(reading),
            _("P of the next, gates held"): true_probabilities(operated),
        },
        revision=reading.trace.text,
        height=440,
    )
