"""The runs that an engine drives: their position, what is requested of them, and who watches them."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnviz.runs.folder import Run, Status

if TYPE_CHECKING:
    from distributed import Future

LIVE = ("queued", "running")
_FIRST_TASK_STEPS = 1
_MAX_ENDED = 100  # jobs that have ended and are still in memory
_log = logging.getLogger(__name__)


@dataclass
class Job:
    """A run that this engine drives.

    While it is `chained`, one task follows another; `task` is the one under way, None while the
    next one waits to be sent. `seconds` is how long it has trained. An `unattended` run goes on
    when nobody watches. `ended` is set once none of its tasks is running any more.
    """

    run: Run
    status: Status
    visitor: str | None = None
    unattended: bool = True
    step: int = 0
    task_steps: int = _FIRST_TASK_STEPS
    chained: bool = True
    worker: str | None = None
    move_to: str | None = None
    task: Future[Any] | None = None
    sent_at: float = 0.0
    seconds: float = 0.0
    recoveries: int = 0
    left_at: float | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def owner(self) -> str:
        """The account that pays for this run's tasks: its visitor, or the run itself if there is none."""
        return self.visitor or self.run.id

    @property
    def is_live(self) -> bool:
        return self.status.state in LIVE

    @property
    def is_waiting(self) -> bool:
        return self.chained and self.task is None


class Jobs:
    """All jobs. Whoever changes one must hold the `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._viewers: dict[str, set[str]] = {}  # by the run that they see
        self._by_id: OrderedDict[str, Job] = OrderedDict()

    def get(self, run_id: str) -> Job | None:
        return self._by_id.get(run_id)

    def all(self, is_wanted: Callable[[Job], bool] = lambda job: True) -> list[Job]:
        """A snapshot of the jobs, oldest first."""
        return [job for job in list(self._by_id.values()) if is_wanted(job)]

    def live(self) -> list[Job]:
        return self.all(lambda job: job.is_live)

    def owners(self, worker: str | None) -> set[str]:
        """The owners of live runs on a worker."""
        return {job.owner for job in self.live() if job.chained and job.worker == worker}

    def add(self, job: Job) -> None:
        """Add a job, and forget the oldest of those that have ended."""
        with self.lock:
            self._by_id[job.run.id] = job
            ended = self.all(lambda job: not job.chained and not job.is_live)
            for old in ended[:-_MAX_ENDED]:
                del self._by_id[old.run.id]

    def set_status(self, job: Job, status: Status) -> None:
        """Set a status in memory and in the run's folder."""
        _log.info("run %s: %s at step %d %s", job.run.id, status.state, job.step, status.message)
        with self.lock:
            job.status = status
            try:
                job.run.set_status(status)
            except OSError as error:
                _log.error("run %s: status %s not written: %s", job.run.id, status.state, error)

    def watch(self, run_id: str, viewer: str) -> None:
        """This viewer sees a run, driven here or not, until `leave`."""
        with self.lock:
            self._viewers.setdefault(run_id, set()).add(viewer)
            if job := self.get(run_id):
                job.left_at = None

    def leave(self, viewer: str) -> None:
        """Forget this viewer."""
        with self.lock:
            for run_id in [run_id for run_id, viewers in self._viewers.items() if viewer in viewers]:
                self._viewers[run_id].discard(viewer)
                if not self._viewers[run_id]:
                    del self._viewers[run_id]
                    if job := self.get(run_id):
                        job.left_at = time.monotonic()

    def viewers(self) -> set[str]:
        """The viewers of any run."""
        with self.lock:
            return set().union(*self._viewers.values())

    def viewers_of_jobs(self) -> set[str]:
        """The viewers of runs that are driven here."""
        with self.lock:
            return set().union(*(self._viewers.get(job.run.id, ()) for job in self.all()))

    def in_use(self) -> set[str]:
        """The ids of runs that somebody watches or that are live."""
        busy = self.all(lambda job: job.chained or job.is_live)
        with self.lock:
            return {job.run.id for job in busy} | set(self._viewers)
