"""Following a run: what it has told so far, read once for everybody who watches it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from rnnviz.reports import EpochReport, FailureReport, GlobalNorms, PredictionReport, StepReport
from rnnviz.runs import Run
from rnnviz.sampling import starts_per_epoch

REFRESH_SECONDS = 0.3
_RATE_WINDOW = 8.0  # seconds over which the speed is measured


@dataclass(frozen=True)
class Story:
    """A run's reports up to now; `version` tells two readings apart.

    Of steps only the global gradient norms are kept. `steps_per_second` is measured on the
    wall, and so knows of the other runs that take turns; None while it is too early to say.
    """

    version: int
    norms: GlobalNorms
    epochs: tuple[EpochReport, ...]
    predictions: tuple[PredictionReport, ...]
    failure: FailureReport | None
    steps_per_second: float | None


class Follower:
    """Reads what is new in a run's folder, no more often than those who ask need it, however many they are."""

    def __init__(self, run: Run) -> None:
        self.run = run
        config = run.config
        self.steps_per_epoch = starts_per_epoch(
            config.sampling, len(run.corpus.training), config.batch_size, config.num_steps
        )
        self.total_steps = config.epochs * self.steps_per_epoch
        self._lock = threading.Lock()
        self._read_at = -REFRESH_SECONDS
        self._offset = 0
        self._story = Story(0, GlobalNorms.of(()), (), (), None, None)
        self._pace: deque[tuple[float, int]] = deque()

    def story(self, max_age: float = REFRESH_SECONDS) -> Story:
        """The state at most `max_age` seconds ago. Raises InputError where the folder is gone or damaged."""
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= max_age:
                self._read(now)
                self._read_at = now
            return self._story

    def _read(self, now: float) -> None:
        reports, self._offset = self.run.reports_since(self._offset)
        old = self._story
        norms = GlobalNorms.of(r for r in reports if isinstance(r, StepReport))
        failures = [r for r in reports if isinstance(r, FailureReport)]
        self._story = Story(
            version=self._offset,
            norms=old.norms + norms,
            epochs=old.epochs + tuple(r for r in reports if isinstance(r, EpochReport)),
            predictions=old.predictions + tuple(r for r in reports if isinstance(r, PredictionReport)),
            failure=failures[-1] if failures else old.failure,
            steps_per_second=self._measure(now, len(old.norms) + len(norms), len(norms) > 0),
        )

    def _measure(self, now: float, step: int, moved: bool) -> float | None:
        """Steps per second over the last seconds in which the run moved."""
        if moved:
            if self._pace and now - self._pace[-1][0] > _RATE_WINDOW:
                self._pace.clear()  # it was paused in between
            self._pace.append((now, step))
        while len(self._pace) > 2 and now - self._pace[0][0] > _RATE_WINDOW:
            self._pace.popleft()
        if len(self._pace) < 2:
            return self._story.steps_per_second
        (began, first), (ended, last) = self._pace[0], self._pace[-1]
        return (last - first) / max(ended - began, 1e-6)
