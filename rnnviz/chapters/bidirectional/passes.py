"""Both passes over a text, one from its beginning and one from its end."""

from __future__ import annotations

import streamlit as st

from rnnviz.chapters.bidirectional.models import choose_reading, trace_of
from rnnviz.errors import InputError
from rnnviz.figures.bidirectional import passes_figures
from rnnviz.figures.kit import visible
from rnnviz.runs.recording import Trace
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.frame import Frame, show_error
from rnnviz.ui.pictures import pictures


def passes(frame: Frame) -> None:
    """Two heatmaps with a cursor each, which the browser moves, and the columns that both have reached."""
    place = st.container()
    chosen = choose_reading(frame)
    if chosen is None:
        return
    run, text = chosen
    try:
        trace = trace_of(run, str(run.folder), run.reports_size(), text)
    except InputError as error:
        show_error(frame, error)
        return
    with place:
        pictures(_charts(frame, trace), key="passes", slider=_slider(frame, trace.text))


def _slider(frame: Frame, text: str) -> Slider:
    """It starts where both passes are under way and have met."""
    _ = frame.translate
    characters, T = visible(text), len(text)
    names = [f"{s}  → {characters[s - 1]}  ← {characters[T - s]}" for s in range(1, T + 1)]
    return Slider(
        "s",
        _("Step of both passes"),
        [str(s) for s in range(1, T + 1)],
        names,
        (2 * T) // 3 - 1,
        steps=(_("Back"), _("Next")),
        play=(_("Play"), _("Pause")),
        in_browser=True,
    )


def _charts(frame: Frame, trace: Trace) -> list[Chart]:
    T = len(trace.text)
    figures = passes_figures(trace, frame.translate)
    return [
        Chart(figure, "passes", _words(frame, s, T), 400, caption=_words(frame, s, T), revision=trace.text)
        for s, figure in enumerate(figures, start=1)
    ]


def _words(frame: Frame, s: int, T: int) -> str:
    _ = frame.translate
    read = _(
        "After step {s}, forward has read the characters 1 to {s}, backward the characters {T} to {first}."
    ).format(s=s, T=T, first=T - s + 1)
    complete = max(2 * s - T, 0)
    if not complete:
        return read + " " + _("No state is complete yet.")
    return (
        read + " " + _("The concatenated state is complete at {count} of {T} characters.").format(count=complete, T=T)
    )
