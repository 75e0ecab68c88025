"""Following a run: its reports so far, read once for all viewers."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport, FailureReport, GlobalNorms, PredictionReport, Report, StepReport
from rnnviz.text.sampling import starts_per_epoch

REFRESH_SECONDS = 0.3
MAX_NORMS = 2**15  # a chart shows some hundreds of these
MAX_PREDICTIONS = 500
_OVERFLOWS = 709.0  # exp of more is too large for a float
_RATE_WINDOW = 8.0  # seconds over which the speed is measured


@dataclass(frozen=True)
class Story:
    """A run's reports so far. `version` changes whenever there are new ones.

    Of the steps only the global gradient norms are kept (in a long run, the largest of several neighbours),
    and of the predictions only the newest. `step` is the last step. `mean_of_exponentials` is the mean of exp(loss)
    over the steps of the last of the `epochs`, a common mistake for its perplexity; None where not all of these steps
    are reported. `steps_per_second` is measured by the clock, so it includes other runs' turns; it is None while it
    is too early to say.
    """

    version: int
    step: int
    norms: GlobalNorms
    epochs: tuple[EpochReport, ...]
    mean_of_exponentials: float | None
    predictions: tuple[PredictionReport, ...]
    failure: FailureReport | None
    steps_per_second: float | None


@dataclass
class _Exponentials:
    """The sum of exp(loss) over those steps of an epoch that are reported so far."""

    epoch: int = 0
    steps: int = 0
    total: float = 0.0


class Follower:
    """Reads what is new in a run's folder, no more often than its callers need, however many callers there are."""

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
        self._story = Story(0, 0, GlobalNorms.of(()), (), None, (), None, None)
        self._exponentials = _Exponentials()
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
        for reports, offset in self.run.report_batches(self._offset):
            self._add(reports)
            self._offset = offset
        pace = self._measure(now, self._story.step)
        self._story = replace(self._story, version=self._offset, steps_per_second=pace)

    def _add(self, reports: Sequence[Report]) -> None:
        old = self._story
        steps = [r for r in reports if isinstance(r, StepReport)]
        norms = old.norms + GlobalNorms.of(steps)
        predictions = old.predictions + tuple(r for r in reports if isinstance(r, PredictionReport))
        failures = [r for r in reports if isinstance(r, FailureReport)]
        self._story = replace(
            old,
            step=reports[-1].step if reports else old.step,
            norms=norms if len(norms) <= MAX_NORMS else norms.halved(),
            epochs=old.epochs + tuple(r for r in reports if isinstance(r, EpochReport)),
            mean_of_exponentials=self._mean_of_exponentials(reports),
            predictions=predictions[-MAX_PREDICTIONS:],
            failure=failures[-1] if failures else old.failure,
        )

    def _mean_of_exponentials(self, reports: Sequence[Report]) -> float | None:
        """The one of the story once it has these reports, too."""
        mean, sums = self._story.mean_of_exponentials, self._exponentials
        for report in reports:
            if isinstance(report, StepReport):
                if report.epoch != sums.epoch:
                    self._exponentials = sums = _Exponentials(report.epoch)
                sums.steps += 1
                sums.total += math.exp(report.loss) if report.loss < _OVERFLOWS else math.inf
            elif isinstance(report, EpochReport):
                complete = (sums.epoch, sums.steps) == (report.epoch, self.steps_per_epoch)
                mean = sums.total / sums.steps if complete else None
        return mean

    def _measure(self, now: float, step: int) -> float | None:
        """Steps per second over the last seconds in which the run moved."""
        if step > (self._pace[-1][1] if self._pace else 0):
            if self._pace and now - self._pace[-1][0] > _RATE_WINDOW:
                self._pace.clear()  # it was paused in between
            self._pace.append((now, step))
        while len(self._pace) > 2 and now - self._pace[0][0] > _RATE_WINDOW:
            self._pace.popleft()
        if len(self._pace) < 2:
            return self._story.steps_per_second
        (began, first), (ended, last) = self._pace[0], self._pace[-1]
        return (last - first) / max(ended - began, 1e-6)
