"""Many runs in their order, a few at a time, for a command that waits for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rnnviz.engine.engine import Engine
from rnnviz.errors import HostError
from rnnviz.runs.folder import Run

LOOK_SECONDS = 0.2
_SAVE_SECONDS = 60.0  # how long a run that is paused may take to write its checkpoint


def train_all(
    engine: Engine,
    runs: Iterator[Run],
    at_once: int,
    *,
    on_look: Callable[[], None],
    interrupted: Callable[[], bool],
) -> None:
    """Train every run to its end; the next one is taken from `runs` when there is room for it.

    `on_look` is called several times a second. Once `interrupted` is true, the runs under way are
    paused, each with a checkpoint. Raises HostError where the host cannot go on.
    """
    live: list[Run] = []
    try:
        while not interrupted():
            live = [run for run in live if _goes_on(engine, run)]
            while len(live) < at_once and (run := next(runs, None)) is not None:
                engine.drive(run)
                live.append(run)
            on_look()
            if not live:
                return
            time.sleep(LOOK_SECONDS)
    finally:
        for run in live:
            engine.pause(run.id)
        for run in live:
            engine.wait(run.id, _SAVE_SECONDS)
        on_look()


def _goes_on(engine: Engine, run: Run) -> bool:
    """Whether a run is still being trained. Raises HostError where the host has stopped it."""
    view = engine.view(run.id)
    if view.status.state == "paused" and view.status.message:
        raise HostError(view.status.message, **(view.status.values or {}))
    return view.moving
