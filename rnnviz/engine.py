"""Runs as chains of short tasks on a Dask cluster, driven from a process that never imports torch.

    page process                      cluster (another process, or RNNVIZ_SCHEDULER)
    Engine.submit ── task: bring run to step 8 ──▶ worker: execution.advance
           ◀── Progress(step=8, 0.2 s) ──          reports and checkpoints go to the run's folder
           ── task: bring run to step 19 ──▶ …

A task is a number of steps, about 0.2 s of them, and one task of each run is in the queue at a
time: runs take turns, and to pause one is to submit nothing more. What a run tells is read from
its folder; only its position travels back here. Where a worker dies, the run goes on from its
latest checkpoint on another.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnviz.config import TrainConfig
from rnnviz.connection import Connection, Worker
from rnnviz.errors import HostError, InputError
from rnnviz.keeping import make_room
from rnnviz.runs import Run, Status
from rnnviz.settings import Settings
from rnnviz.text import Corpus

if TYPE_CHECKING:
    from distributed import Future

    from rnnviz.runs import Progress

TASK_SECONDS = 0.2
KEEP_SECONDS = 1.0
MAX_RECOVERIES = 3
LIVE = ("queued", "running")
_FIRST_TASK_STEPS = 1
_SILENT_SECONDS = 20.0  # a run of another process that told nothing for so long was interrupted
_RESULT_SECONDS = 5.0
_UNASKED_SECONDS = 20.0  # a batch that nobody asked for so long halts
_MAX_BATCHES = 32  # of which results are kept
_MAX_ENDED = 100  # jobs that have ended and are still in memory
_ROOM_SECONDS = 30.0  # between two looks at the disk
_STRANDED_SECONDS = 3.0  # a task meant for a worker that has gone is sent again after so long
_INTERACTIVE = 10  # priority of what a person waits for; training has 0
_log = logging.getLogger(__name__)


def _run_on_worker(name: str, folder: str, arguments: dict[str, Any]) -> tuple[Any, str]:
    """Runs in a worker: the function of `rnnviz.execution` by its name. Returns its result and where it ran."""
    from distributed import get_worker

    from rnnviz import execution

    return getattr(execution, name)(folder, **arguments), get_worker().address


def _compute_on_worker(function: str, arguments: Mapping[str, Any]) -> Any:
    """Runs in a worker: a function of rnnviz by its module and name."""
    module, name = function.split(".")
    return getattr(import_module(f"rnnviz.{module}"), name)(**arguments)


@dataclass
class Batch:
    """A function called on many arguments, one after the other: `results` so far, of `total`.

    It goes on for as long as somebody asks for it. `error` says why it cannot.
    """

    function: str
    arguments: Sequence[Mapping[str, Any]]
    results: list[Any] = field(default_factory=list)
    error: InputError | None = None
    asked_at: float = 0.0
    under_way: bool = False

    @property
    def total(self) -> int:
        return len(self.arguments)

    @property
    def finished(self) -> bool:
        return self.error is not None or len(self.results) == self.total


@dataclass
class Job:
    """A run that this engine drives: where it is, what is asked of it, and whether a chain of tasks follows that.

    `task` is the one under way; an older one that ends late is nobody's. `seconds` is the time its
    tasks took. `kept` runs go on though nobody watches.
    """

    run: Run
    status: Status
    visitor: str | None = None
    kept: bool = True
    step: int = 0
    task_steps: int = _FIRST_TASK_STEPS
    chained: bool = False
    worker: str | None = None
    move_to: str | None = None
    task: Any = None
    sent_at: float = 0.0
    seconds: float = 0.0
    recoveries: int = 0
    viewers: set[str] = field(default_factory=set)
    left_at: float | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_live(self) -> bool:
        return self.status.state in LIVE


@dataclass(frozen=True)
class View:
    """What a page shows of a run besides its reports.

    `moving` says whether reports may still come: a run that was just halted ends its task first.
    `sharing` is how many runs take turns on how many `workers`; `recoveries`, how often this run
    was brought back after its worker had died; `kept`, whether it goes on when nobody watches.
    """

    status: Status
    moving: bool
    sharing: int
    workers: int = 1
    recoveries: int = 0
    kept: bool = False


@dataclass(frozen=True)
class Load:
    """How busy the host is: runs by state, and its workers by address. `trouble` says why there are none."""

    runs: Mapping[str, int]
    workers: Mapping[str, Worker]
    trouble: str


class Engine:
    """Submits, watches, pauses, resumes and cancels runs; calls what a person waits for.

    The cluster starts in the background: making an engine returns at once, and what is submitted
    before the cluster stands waits for it. A thread of the engine's own looks after everything that
    no task's end brings about: the connection, unwatched runs, the balance among workers, the disk.
    """

    def __init__(self, settings: Settings | None = None, connection: Connection | None = None) -> None:
        self.settings = settings or Settings()
        self._lock = threading.RLock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._batches: OrderedDict[Hashable, Batch] = OrderedDict()
        self._closing = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(8, "rnnviz-engine")
        self._looked_at_disk = -_ROOM_SECONDS
        self._connection = connection or Connection(
            self.settings.scheduler, self.settings.workers, self.settings.worker_mib
        )
        threading.Thread(target=self._keep, daemon=True, name="rnnviz-engine").start()
        atexit.register(self.close)

    # What nobody's task brings about

    def _keep(self) -> None:
        while not self._closing.is_set():
            try:
                self._connection.keep()
                self._balance()
                self._send_stranded(time.monotonic())
                self._pause_unwatched(time.monotonic())
                self._keep_room()
            except Exception:
                _log.exception("looking after the runs failed; it goes on")
            self._closing.wait(KEEP_SECONDS)

    def _balance(self) -> None:
        """A run moves to a worker that suits it, and from one that has two runs more than another such."""
        workers = self._connection.workers
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.chained and job.is_live]
            counts = Counter(place for job in jobs if (place := job.move_to or job.worker) in workers)
            for job in jobs:
                suited = self._suited(job.run)
                least = min(suited, key=lambda worker: counts[worker], default=None)
                if least is None or job.move_to or job.worker not in workers:
                    continue
                if job.worker not in suited or counts[job.worker] - counts[least] >= 2:
                    job.move_to = least
                    counts[job.worker] -= 1
                    counts[least] += 1

    def _suited(self, run: Run) -> list[str]:
        """The workers with a GPU, where some are tagged so, unless a run is to train on a CPU; then the others."""
        workers = self._connection.workers
        wants_gpu = run.config.device != "cpu"
        return [address for address, worker in workers.items() if worker.gpu == wants_gpu] or list(workers)

    def _send_stranded(self, now: float) -> None:
        """What waits for a worker that has gone is sent again.

        Dask gives such a task to another worker only if there is one at that moment, not to one that comes later.
        """
        workers = self._connection.workers
        with self._lock:
            waiting = [job for job in self._jobs.values() if job.task and job.worker and job.worker not in workers]
            stranded = [job.task for job in waiting if workers and now - job.sent_at > _STRANDED_SECONDS]
        for task in stranded:
            task.cancel()  # which is told as the loss of its worker

    def _pause_unwatched(self, now: float) -> None:
        with self._lock:
            for job in list(self._jobs.values()):
                left = job.left_at is not None and now - job.left_at > self.settings.grace_seconds
                if left and not job.kept and job.is_live:
                    self._set(job, Status("paused", "nobody was watching"))

    def _keep_room(self) -> None:
        """Where the runs occupy more than they may, the oldest that have ended and that nobody watches go."""
        now = time.monotonic()
        if now - self._looked_at_disk < _ROOM_SECONDS:
            return
        self._looked_at_disk = now
        with self._lock:
            in_use = {run_id for run_id, job in self._jobs.items() if job.chained or job.is_live or job.viewers}
        make_room(self.settings.limits.disk_mib, in_use)

    def close(self) -> None:
        """Let go of the cluster; an embedded one ends. Live runs are left paused, to be resumed another day."""
        with self._lock:
            self._closing.set()
            for job in self._jobs.values():
                if job.is_live:
                    self._set(job, Status("paused"))
        self._connection.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        atexit.unregister(self.close)

    # Starting and halting

    def submit(self, config: TrainConfig, corpus: Corpus, *, visitor: str | None = None, kept: bool = True) -> str:
        """Start a new run and return its id. Raises InputError where it cannot start, or the host does not allow it.

        A run that is not `kept` is paused some time after `visitor`, and whoever else watches, has left.
        """
        memory = max((worker.memory_limit for worker in self._connection.workers.values()), default=0)
        self.settings.limits.check(config, len(corpus.vocabulary), memory or None)
        self._check_count(visitor)
        make_room(self.settings.limits.disk_mib, set(self._jobs), needed=True)
        run = Run.create(config, corpus)
        self._start(run, visitor, kept)
        return run.id

    def resume(self, run_id: str, *, visitor: str | None = None, kept: bool = True) -> None:
        """Go on with a run that was paused, that failed for a reason since mended, or that another process left."""
        with self._lock:
            job = self._jobs.get(run_id)
            if job is not None and job.chained and job.is_live:
                return
            self._check_count(visitor)
            if job is not None and job.chained:  # its last task is still under way: the chain takes up again after it
                self._set(job, Status("queued"))
                return
            self._start(job.run if job else Run.find(run_id), visitor, kept)

    def _check_count(self, visitor: str | None) -> None:
        limits = self.settings.limits
        live = [job for job in list(self._jobs.values()) if job.is_live]
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

    def _start(self, run: Run, visitor: str | None, kept: bool) -> None:
        run.end_attempts()  # those of a process that died are accounted for by starting again
        with self._lock:
            before = self._jobs.get(run.id)
            job = self._jobs[run.id] = Job(run, Status("queued"), visitor, kept, chained=True)
            if visitor is not None:
                job.viewers.add(visitor)
            job.worker = before.worker if before else self._idlest(run)  # where its last task may still be under way
            self._set(job, job.status)
            self._forget_ended()
        threading.Thread(target=self._submit_next, args=(job,), daemon=True).start()

    def _idlest(self, run: Run) -> str | None:
        """Of the workers that suit a run, the one with the fewest runs."""
        counts = Counter(job.worker for job in self._jobs.values() if job.chained)
        return min(self._suited(run), key=lambda worker: counts[worker], default=None)

    def _forget_ended(self) -> None:
        ended = [run_id for run_id, job in self._jobs.items() if not job.chained and not job.is_live]
        for run_id in ended[:-_MAX_ENDED]:
            del self._jobs[run_id]

    def pause(self, run_id: str) -> None:
        """Stop after the task under way, with a checkpoint."""
        self._halt(run_id, Status("paused"))

    def cancel(self, run_id: str) -> None:
        """End the run after the task under way; what it has reached is kept."""
        self._halt(run_id, Status("stopped"))

    def _halt(self, run_id: str, status: Status) -> None:
        with self._lock:
            job = self._jobs.get(run_id)
            if job is not None and job.status.state in ("queued", "running", "paused"):
                self._set(job, status)
        if job is None:
            run = Run.find(run_id)
            if run.status().state in ("queued", "running", "paused"):
                run.set_status(status)

    # The chain

    def _submit_next(self, job: Job) -> None:
        """The next link of the chain, or the last one, which writes a checkpoint, once the run was halted."""
        try:
            _ = self._connection.client  # wait for the cluster before the lock, which others need meanwhile
            with self._lock:
                if not job.is_live:
                    job.chained, job.task = False, None
                    self._send("pause", job.run, {}, job.worker).add_done_callback(lambda future: job.ended.set())
                elif job.move_to:
                    job.task, job.sent_at = self._send("pause", job.run, {}, job.worker), time.monotonic()
                    job.worker, job.move_to = job.move_to, None
                    job.task.add_done_callback(lambda future: self._then(self._on_moved, job, future))
                else:
                    target = job.step + job.task_steps
                    job.task = self._send("advance", job.run, {"target": target}, job.worker)
                    job.sent_at = time.monotonic()
                    job.task.add_done_callback(lambda future: self._then(self._on_done, job, future))
        except Exception as error:  # whatever breaks the chain must be told to who watches it
            self._on_trouble(job, error)

    def _then(self, act: Callable[[Job, Future[Any]], None], job: Job, future: Future[Any]) -> None:
        """Dask calls back on one thread for all runs: what may wait is done on others."""
        with contextlib.suppress(RuntimeError):  # the pool is closed with the engine
            self._pool.submit(act, job, future)

    def _on_moved(self, job: Job, future: Future[Any]) -> None:
        """The run has its checkpoint, whatever else the worker that it leaves may say."""
        if not self._closing.is_set() and future is job.task:
            _log.info("run %s: moves to %s", job.run.id, job.worker)
            self._submit_next(job)

    def _on_done(self, job: Job, future: Future[Any]) -> None:
        if self._closing.is_set() or future is not job.task:
            return
        try:
            # It has ended; a result that does not come now never will.
            progress, job.worker = future.result(_RESULT_SECONDS)
        except (Exception, asyncio.CancelledError) as error:
            self._on_trouble(job, error)
            return
        self._measure(job, progress)
        if progress.finished:
            self._end(job, progress.failure or Status("finished"))
        elif job.recoveries > MAX_RECOVERIES:
            self._end(job, _lost_too_often(job))
        else:
            self._continue(job)

    def _continue(self, job: Job) -> None:
        limit = self.settings.limits.run_seconds
        with self._lock:
            if job.is_live and job.seconds > limit:
                self._set(
                    job, Status("stopped", "this server trains a run for {seconds} s at most", {"seconds": limit})
                )
            elif job.status.state == "queued":
                self._set(job, Status("running"))
        self._submit_next(job)

    def _measure(self, job: Job, progress: Progress) -> None:
        """Choose the next task's steps for TASK_SECONDS; a task never grows by more than four times."""
        steps = max(1, progress.step - job.step)
        ideal = round(steps * TASK_SECONDS / max(progress.seconds, 1e-4))
        job.task_steps = max(1, min(ideal, 4 * job.task_steps))
        job.step = progress.step
        job.seconds += progress.seconds
        job.recoveries += progress.lost

    def _on_trouble(self, job: Job, error: BaseException) -> None:
        """The task ended badly: another attempt where its worker was lost, otherwise the end, with the reason."""
        if self._closing.is_set():
            return
        if _is_loss(error):
            self._recover(job, error)
        elif isinstance(error, HostError):
            self._end(job, Status("paused", error.message, _texts(error.values)))
        else:
            self._end(job, _failed(error))

    def _recover(self, job: Job, error: BaseException) -> None:
        with self._lock:
            job.worker = job.move_to = job.task = None
        # Added to the recoveries by the next task that ends: a worker told to leave ends its task first.
        attempts = job.run.attempts()  # none, where another run's task brought the worker down
        if job.recoveries + attempts > MAX_RECOVERIES:
            job.recoveries += attempts
            self._end(job, _lost_too_often(job))
            return
        _log.warning("run %s: its worker was lost (%s), attempts %d", job.run.id, error, attempts)
        threading.Thread(target=self._submit_next, args=(job,), daemon=True).start()

    def _set(self, job: Job, status: Status) -> None:
        _log.info("run %s: %s at step %d %s", job.run.id, status.state, job.step, status.message)
        job.status = status
        try:
            job.run.set_status(status)
        except OSError as error:
            _log.error("run %s: status %s not written: %s", job.run.id, status.state, error)

    def _end(self, job: Job, status: Status) -> None:
        """The chain is over. What breaks because the engine was closed is no failure: the run stays paused."""
        with self._lock:
            if (job.is_live or status.state == "failed") and not self._closing.is_set():
                self._set(job, status)
            job.chained, job.task = False, None
        job.ended.set()

    # Watching

    def watch(self, run_id: str, viewer: str) -> None:
        """This viewer sees the run until `leave`."""
        with self._lock:
            if job := self._jobs.get(run_id):
                job.viewers.add(viewer)
                job.left_at = None

    def leave(self, viewer: str) -> None:
        """This viewer has gone: what nobody else watches is paused after the time of grace, unless it is kept."""
        with self._lock:
            for job in self._jobs.values():
                if viewer in job.viewers:
                    job.viewers.remove(viewer)
                    job.left_at = None if job.viewers else time.monotonic()

    def set_kept(self, run_id: str, kept: bool) -> None:
        """Whether a run under way goes on when nobody watches."""
        if job := self._jobs.get(run_id):
            job.kept = kept

    def view(self, run_id: str) -> View:
        """Where a run stands now. Raises InputError where there is no such run."""
        job = self._jobs.get(run_id)
        sharing = sum(other.is_live for other in list(self._jobs.values()))
        workers = len(self._connection.workers)
        if job is not None:
            return View(job.status, job.chained, sharing, workers, job.recoveries, job.kept)
        status = _status_of_stranger(Run.find(run_id))
        return View(status, status.state in LIVE, sharing, workers)

    def load(self) -> Load:
        """How busy the host is."""
        states = Counter(str(job.status.state) for job in list(self._jobs.values()))
        return Load(states, dict(self._connection.workers), str(self._connection.error or ""))

    @property
    def viewers(self) -> int:
        """How many watch a run."""
        return len({viewer for job in list(self._jobs.values()) for viewer in list(job.viewers)})

    def drives(self, run_id: str) -> bool:
        """Whether this engine has the run in hand; otherwise only its folder speaks for it."""
        return run_id in self._jobs

    def wait(self, run_id: str, timeout: float | None = None) -> View:
        """Block until a run that this engine drives has halted or ended; for scripts and tests."""
        self._jobs[run_id].ended.wait(timeout)
        return self.view(run_id)

    # What a person waits for

    def call(self, name: str, run: Run, timeout: float = 60, **arguments: Any) -> Any:
        """The result of a function of `rnnviz.execution` on a run, ahead of all training in the queue.

        Raises InputError where the function does, or where no worker answers in time.
        """
        job = self._jobs.get(run.id)
        future = self._send(name, run, arguments, job.worker if job else None, _INTERACTIVE)
        return _result(future, timeout)[0]

    def compute(self, function: str, timeout: float = 60, **arguments: Any) -> Any:
        """The result of a function of rnnviz, named `module.name`, ahead of all training in the queue.

        Raises InputError where the function does, or where no worker answers in time.
        """
        future = self._connection.client.submit(
            _compute_on_worker, function, arguments, key=_key(function), priority=_INTERACTIVE, pure=False
        )
        return _result(future, timeout)

    def batch(self, key: Hashable, function: str, arguments: Sequence[Mapping[str, Any]]) -> Batch:
        """A long calculation in short parts, started by the first who asks for its key and shared by all.

        One part is in the queue at a time, so that it takes turns with the runs. It halts when nobody
        has asked for a while, and goes on when somebody does.
        """
        with self._lock:
            batch = self._batches.setdefault(key, Batch(function, arguments))
            self._batches.move_to_end(key)
            while len(self._batches) > _MAX_BATCHES:
                self._batches.popitem(last=False)
            batch.asked_at = time.monotonic()
            start = not batch.under_way and not batch.finished
            batch.under_way |= start
        if start:
            threading.Thread(target=self._next_part, args=(batch,), daemon=True).start()
        return batch

    def _next_part(self, batch: Batch) -> None:
        try:
            if self._closing.is_set() or batch.finished or time.monotonic() - batch.asked_at > _UNASKED_SECONDS:
                batch.under_way = False
                return
            part = batch.arguments[len(batch.results)]
            task = self._connection.client.submit(
                _compute_on_worker, batch.function, part, key=_key(batch.function), pure=False
            )
            task.add_done_callback(lambda future: self._on_part(batch, future))
        except Exception as error:
            self._fail(batch, error)

    def _on_part(self, batch: Batch, future: Future[Any]) -> None:
        try:
            batch.results.append(future.result(_RESULT_SECONDS))
        except Exception as error:
            self._fail(batch, error)
        else:
            self._next_part(batch)

    def _fail(self, batch: Batch, error: Exception) -> None:
        if not isinstance(error, InputError):
            _log.error("a calculation failed", exc_info=error)
            error = InputError("the worker failed: {reason}", reason=f"{type(error).__name__}: {error}")
        batch.error, batch.under_way = error, False

    def _send(
        self, name: str, run: Run, arguments: dict[str, Any], worker: str | None, priority: int = 0
    ) -> Future[Any]:
        """A task on the worker that has the run in memory; where that is gone, on one that suits the run, or on any."""
        suited = self._suited(run)
        some = suited if len(suited) < len(self._connection.workers) else None
        workers = [worker] if worker else some
        return self._connection.client.submit(
            _run_on_worker,
            name,
            str(run.folder),
            arguments,
            key=f"{name}-{run.id}-{time.monotonic_ns()}",
            priority=priority,
            workers=workers,
            allow_other_workers=bool(workers),
            pure=False,
        )


def _key(function: str) -> str:
    return f"{function}-{time.monotonic_ns()}"


def _result(future: Future[Any], timeout: float) -> Any:
    try:
        return future.result(timeout)
    except (TimeoutError, concurrent.futures.TimeoutError) as error:
        future.cancel()
        raise HostError("no worker answered within {seconds:g} seconds", seconds=timeout) from error
    except (Exception, asyncio.CancelledError) as error:
        if _is_loss(error):
            raise HostError("the worker was lost; try again") from error
        raise


def _status_of_stranger(run: Run) -> Status:
    """The status of a run that no engine here drives: the command may, or its process has died."""
    status = run.status()
    if status.state in LIVE and time.time() - run.last_change() > _SILENT_SECONDS:
        return Status("paused")
    return status


def _is_loss(error: BaseException) -> bool:
    """Whether a task's worker, or the whole cluster, went away beneath it."""
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    lost = (KilledWorker, CommClosedError, asyncio.CancelledError, concurrent.futures.CancelledError, TimeoutError)
    return isinstance(error, lost)


def _lost_too_often(job: Job) -> Status:
    return Status(
        "failed",
        "its worker died {count} times while it trained this run; perhaps its memory does not suffice",
        {"count": job.recoveries},
    )


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _failed(error: BaseException) -> Status:
    if isinstance(error, InputError):
        return Status("failed", error.message, _texts(error.values))
    _log.error("a run failed", exc_info=error)
    return Status("failed", "the worker failed: {reason}", {"reason": f"{type(error).__name__}: {error}"})
