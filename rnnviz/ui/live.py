"""Parts of a page that update while a run or a calculation goes on."""

from __future__ import annotations

from collections.abc import Callable
from random import uniform

import streamlit as st

from rnnviz.errors import InputError
from rnnviz.ui.frame import Frame, engine, show_error

MOVING = "moving"
RESUMABLE = ("paused", "stopped")
REFRESH_SECONDS = 0.5
HALTED_SECONDS = 2.0  # between two looks at a run that somebody may resume in another tab
# With thirty viewers, time must be left for training and for visitors who press a button.
_SECONDS_A_VIEWER = 0.2
_PACE_CHANGED = 1.7  # by this factor; larger than the random differences between pages


def live_part(
    frame: Frame,
    phase: Callable[[], str],
    draw: Callable[[str], None],
    *,
    least_seconds: float = REFRESH_SECONDS,
    watch_halted: bool = False,
) -> float | None:
    """Draw a part of the page and, while it is moving, draw it again at intervals. Returns the interval in seconds.

    `phase` returns MOVING, or the state in which the run has halted or ended; it is passed to `draw`.
    With `watch_halted` a run that can be resumed is looked at as well. When the phase changes, or many
    more or fewer people watch, the whole page runs again, because its buttons or its pace must change.
    """
    drawn_in = phase()

    def seconds() -> float | None:
        if drawn_in == MOVING:
            return max(least_seconds, refresh_seconds())
        return halted_seconds(drawn_in) if watch_halted else None

    def part(every: float | None) -> None:
        try:
            now = seconds()
            if phase() != drawn_in or (every and now and not 1 / _PACE_CHANGED < now / every < _PACE_CHANGED):
                st.rerun()
            draw(drawn_in)
        except InputError as error:
            show_error(frame, error)

    # Slightly different for each page, so that the pages of a class do not all ask at once.
    every = (seconds() or 0.0) * uniform(0.85, 1.15) or None  # noqa: S311  no secret
    st.fragment(part, run_every=every)(every)
    return every


def refresh_seconds() -> float:
    """Seconds between two updates of a live page: the more people watch, the longer."""
    return max(REFRESH_SECONDS, _SECONDS_A_VIEWER * engine().viewers)


def halted_seconds(phase: str) -> float | None:
    """Seconds between two looks at a halted run; None if it cannot be resumed."""
    return HALTED_SECONDS if phase in RESUMABLE else None
