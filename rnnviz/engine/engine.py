"""Runs and calculations on a Dask cluster, driven from a process that never imports torch.

    page process                      cluster (another process, or RNNVIZ_SCHEDULER)
    Engine.submit ── task: bring run to step 8 ──▶ worker: execution.advance
           ◀── Progress(step=8, 0.2 s) ──          reports and checkpoints go to the run's folder
           ── task: bring run to step 19 ──▶ …

Reports are read from the run's folder; only the position travels back here.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rnnviz.config import TrainConfig
from rnnviz.engine.batches import Batch, Batches
from rnnviz.engine.calls import Call, Calls
from rnnviz.engine.chains import Chains
from rnnviz.engine.connection import Connection, Worker
from rnnviz.engine.housekeeping import Housekeeping
from rnnviz.engine.jobs import LIVE, Job, Jobs
from rnnviz.engine.quota import make_room, too_full
from rnnviz.engine.settings import Settings
from rnnviz.engine.turns import Turns
from rnnviz.errors import HostError, InputError
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import Checkpoint
from rnnviz.text.corpora import Corpus

KEEP_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """What a page shows about a run besides its reports.

    `moving` says whether reports may still come: a run that was just halted finishes its task first.
    `sharing` is how many runs take turns on how many `workers`; `recoveries`, how often this run
    was brought back after its worker had died; `unattended`, whether it goes on when nobody watches.
    """

    status: Status
    moving: bool
    sharing: int
    workers: int = 1
    recoveries: int = 0
    unattended: bool = False


@dataclass(frozen=True)
class Workload:
    """How busy the host is: runs by state, and its workers by address. `trouble` says why there are none."""

    runs: Mapping[str, int]
    workers: Mapping[str, Worker]
    trouble: str


class Engine:
    """Submits, watches, pauses, resumes and cancels runs, and calls functions for visitors who wait.

    The cluster starts in the background: making an engine returns at once, and what is submitted
    before the cluster is ready waits for it. A thread of the engine does the housekeeping, once a second.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        connection: Connection | None = None,
        is_present: Callable[[str], bool] = lambda viewer: True,
        pool: Executor | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self._connection = connection or Connection(
            self.settings.scheduler, self.settings.workers, self.settings.worker_mib
        )
        self._pool = pool or ThreadPoolExecutor(8, "rnnviz-engine")
        self._jobs = Jobs()
        turns = Turns()
        self._calls = Calls(self._jobs, turns, self._connection, self._pool)
        self._batches = Batches(self._calls)
        self._chains = Chains(self._jobs, turns, self._connection, self.settings, self._pool, self._calls.dispatch)
        self._housekeeping = Housekeeping(self._jobs, self._connection, self.settings, is_present)
        self._closing = threading.Event()
        self._starting = threading.Lock()  # one at a time counts the runs and adds another
        threading.Thread(target=self._loop, daemon=True, name="rnnviz-engine").start()
        atexit.register(self.close)

    def _loop(self) -> None:
        """Run once a second, and send what waits for the cluster as soon as there is one."""
        duties = (
            self._connection.maintain,
            self._chains.dispatch,
            self._calls.dispatch,
            self._calls.send_stranded,
            *self._housekeeping.duties,
        )
        while not self._closing.is_set():
            for duty in duties:
                try:
                    duty()
                except Exception:
                    _log.exception("looking after the runs failed; it goes on")
            self._closing.wait(KEEP_SECONDS)

    def close(self) -> None:
        """Disconnect; an embedded cluster ends. Live runs are paused, so that they can be resumed later."""
        self._closing.set()
        self._chains.close()
        self._calls.close()
        self._connection.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        atexit.unregister(self.close)

    # Starting and halting

    def submit(
        self, config: TrainConfig, corpus: Corpus, *, visitor: str | None = None, unattended: bool = True
    ) -> str:
        """Start a new run and return its id. Raises InputError where it cannot start, or the host does not allow it.

        A run that is not `unattended` is paused some time after `visitor`, and whoever else watches, has left.
        """
        memory = max((worker.memory_limit for worker in self._connection.workers.values()), default=0)
        self.settings.limits.check(config, len(corpus.vocabulary), memory or None)
        with self._starting:
            self._check_count(visitor)
            self._make_room()
            run = Run.create(config, corpus)
            self._start(run, visitor, unattended)
        return run.id

    def keep(self, config: TrainConfig, corpus: Corpus, checkpoint: Checkpoint) -> str:
        """Store a model that was trained elsewhere as a finished run, and return its id.

        Raises InputError where it is larger than the host allows.
        """
        self.settings.limits.check(config, len(corpus.vocabulary))
        with self._starting:
            self._make_room()
            run = Run.create(config, corpus)
            with run.starting():
                run.save_checkpoint(checkpoint)
                run.set_status(Status("finished"))
        return run.id

    def drive(self, run: Run) -> None:
        """Train a run to its end, wherever its folder is, from where it stands. For scripts, which have no limits.

        Raises InputError where another process drives it.
        """
        self._start(run, None, unattended=True)

    def resume(self, run_id: str, *, visitor: str | None = None, unattended: bool = True) -> None:
        """Continue a run that was halted, that failed for a reason since removed, or whose process has died.

        Raises InputError where that process still drives it, or where the host does not allow it.
        """
        with self._starting:
            job = self._jobs.get(run_id)
            if job is not None and job.chained and job.is_live:
                return
            self._check_count(visitor)
            self._make_room(run_id)
            if job is None or not self._take_up(job):
                self._start(job.run if job else Run.find(run_id), visitor, unattended)

    def _take_up(self, job: Job) -> bool:
        """If the last task of a halted run is still running, let the chain go on after it."""
        with self._jobs.lock:
            if job.chained:
                self._jobs.set_status(job, Status("queued"))
            return job.chained

    def _start(self, run: Run, visitor: str | None, unattended: bool) -> None:
        self._chains.start(Job(run, Status("queued"), visitor, unattended))
        if visitor is not None:
            self._jobs.watch(run.id, visitor)

    def _make_room(self, *needed: str) -> None:
        """Delete old runs if there is no room. Raises HostError if there is still none."""
        limit = self.settings.limits.disk_mib
        if excess := make_room(limit, self._jobs.in_use() | set(needed)):
            raise too_full(excess, limit)

    def has_room(self, visitor: str) -> bool:
        """Whether another run of this visitor may be under way."""
        try:
            self._check_count(visitor)
        except InputError:
            return False
        return True

    def _check_count(self, visitor: str | None) -> None:
        limits, live = self.settings.limits, self._jobs.live()
        own = sum(visitor is not None and job.visitor == visitor for job in live)
        if own >= limits.visitor_runs:
            raise InputError(
                "{count} of your runs are under way; this server allows {limit}. Pause or stop one first",
                count=own,
                limit=limits.visitor_runs,
            )
        if len(live) >= limits.runs:
            raise InputError(
                "{count} runs are under way; this server allows {limit}. Try again in a few minutes",
                count=len(live),
                limit=limits.runs,
            )

    def pause(self, run_id: str) -> None:
        """Stop after the task under way, with a checkpoint."""
        self._halt(run_id, Status("paused"))

    def cancel(self, run_id: str) -> None:
        """End the run after the task under way; what it has reached is kept."""
        self._halt(run_id, Status("stopped"))

    def _halt(self, run_id: str, status: Status) -> None:
        with self._jobs.lock:
            job = self._jobs.get(run_id)
            if job is not None and job.status.state in ("queued", "running", "paused"):
                self._jobs.set_status(job, status)
        if job is None:
            run = Run.find(run_id)
            if run.status().state in ("queued", "running", "paused"):
                with run.driven():
                    run.set_status(status)
        self._chains.dispatch()

    # Watching

    def watch(self, run_id: str, viewer: str) -> None:
        """Note that this viewer sees the run, until `leave`."""
        self._jobs.watch(run_id, viewer)

    def leave(self, viewer: str) -> None:
        """A viewer has left: what nobody else watches is paused after the grace period, unless it is `unattended`."""
        self._jobs.leave(viewer)

    def set_unattended(self, run_id: str, unattended: bool) -> None:
        """Set whether a live run goes on when nobody watches it."""
        if job := self._jobs.get(run_id):
            job.unattended = unattended

    def view(self, run_id: str) -> View:
        """The present state of a run. Raises InputError if there is no such run."""
        job, sharing, workers = self._jobs.get(run_id), len(self._jobs.live()), len(self._connection.workers)
        if job is not None and not (job.ended.is_set() and job.run.is_driven):  # by another process since
            return View(job.status, job.chained, sharing, workers, job.recoveries, job.unattended)
        status = _status_of_stranger(Run.find(run_id))
        return View(status, status.state in LIVE, sharing, workers)

    def workload(self) -> Workload:
        """How busy the host is."""
        states = Counter(str(job.status.state) for job in self._jobs.all())
        return Workload(states, dict(self._connection.workers), str(self._connection.error or ""))

    @property
    def viewers(self) -> int:
        """The number of viewers of runs that this engine drives."""
        return len(self._jobs.viewers_of_jobs())

    def drives(self, run_id: str) -> bool:
        """Whether this engine drives the run; if not, its folder is the only source about it."""
        return self._jobs.get(run_id) is not None

    def wait(self, run_id: str, timeout: float | None = None) -> View:
        """Block until a run that this engine drives has halted or ended; for scripts and tests."""
        if job := self._jobs.get(run_id):
            job.ended.wait(timeout)
        return self.view(run_id)

    # What a person waits for

    def compute(
        self, function: str, run: Run | None = None, *, visitor: str = "", timeout: float = 60, **arguments: Any
    ) -> Any:
        """The result of a function named as in `rnnviz.nn.gradients:study`.

        With `run` the function's argument `folder` is that run's, and the worker is the one that has it in memory.
        Raises InputError where the function does, or where no worker answers in time.
        """
        job = self._jobs.get(run.id) if run else None
        folder = {"folder": str(run.folder)} if run else {}
        answer = self._calls.ask(Call(function, {**folder, **arguments}, visitor, job.worker if job else None))
        try:
            return answer.result(timeout)
        except TimeoutError as error:
            answer.cancel()
            raise HostError("no worker answered within {seconds:g} seconds", seconds=timeout) from error

    def batch(
        self, key: Hashable, function: str, arguments: Sequence[Mapping[str, Any]], *, visitor: str = ""
    ) -> Batch:
        """A long calculation in short parts, started by the first who asks for its key and shared by all."""
        return self._batches.ask(key, function, arguments, visitor)


def _status_of_stranger(run: Run) -> Status:
    """The status of a run that another process drives, or did before it died."""
    status = run.status()
    return Status("paused") if status.state in LIVE and not run.is_driven else status
