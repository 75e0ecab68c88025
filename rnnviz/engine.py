"""Runs as chains of short tasks on a Dask cluster, driven from a process that never imports torch.

    page process                      cluster (another process, or RNNVIZ_SCHEDULER)
    Engine.submit ── task: bring run to step 8 ──▶ worker: execution.advance
           ◀── Progress(step=8, 0.2 s) ──          reports and checkpoints go to the run's folder
           ── task: bring run to step 19 ──▶ …

A task is a number of steps, about 0.2 s of them, and one task of each run is in the queue at a
time: runs take turns, and to pause one is to submit nothing more. What a run tells is read from
its folder; only its position travels back here.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnviz.cluster import default_workers
from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.runs import Run, Status
from rnnviz.text import Corpus

if TYPE_CHECKING:
    from distributed import Client, Future

    from rnnviz.runs import Progress

TASK_SECONDS = 0.2
LIVE = ("queued", "running")
_FIRST_TASK_STEPS = 1
_SILENT_SECONDS = 20.0  # a run of another process that told nothing for so long was interrupted
_RESULT_SECONDS = 10.0
_UNASKED_SECONDS = 20.0  # a batch that nobody asked for so long halts
_MAX_BATCHES = 32  # of which results are kept
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
    """A run that this engine drives: where it is, what is asked of it, and whether a chain of tasks follows that."""

    run: Run
    status: Status
    step: int = 0
    task_steps: int = _FIRST_TASK_STEPS
    chained: bool = False
    worker: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_live(self) -> bool:
        return self.status.state in LIVE


@dataclass(frozen=True)
class View:
    """What a page shows of a run besides its reports.

    `moving` says whether reports may still come: a run that was just halted ends its task first.
    `sharing` is how many runs take turns.
    """

    status: Status
    moving: bool
    sharing: int


class Engine:
    """Submits, watches, pauses, resumes and cancels runs; calls what a person waits for.

    The cluster is the one that `address` names, or an embedded one. It starts in the background:
    making an engine returns at once, and what is submitted before the cluster stands waits for it.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._batches: OrderedDict[Hashable, Batch] = OrderedDict()
        self._process: subprocess.Popen[str] | None = None
        self._client: Client | None = None
        self._error: Exception | None = None
        self._closed = False
        self._ready = threading.Event()
        threading.Thread(target=self._connect, args=(address, workers), daemon=True, name="rnnviz-engine").start()
        atexit.register(self.close)

    def _connect(self, address: str | None, workers: int | None) -> None:
        try:
            if address is None:
                address = self._start_cluster(workers or default_workers())
            from distributed import Client

            self._client = Client(address, set_as_default=False, name="rnnviz", timeout=30)
        except Exception as error:
            _log.exception("the cluster did not start")
            self._error = error
        finally:
            self._ready.set()

    def _start_cluster(self, workers: int) -> str:
        command = [sys.executable, "-m", "rnnviz.cluster", "--workers", str(workers)]
        root = str(Path(__file__).resolve().parent.parent)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(  # noqa: S603  our own module, no input from users
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the app; the cluster ends when the pipe does
        )
        assert self._process.stdout is not None  # noqa: S101  a pipe was asked for
        address = self._process.stdout.readline().strip()
        if not address:
            raise RuntimeError("the embedded cluster ended before it was ready")
        return address

    @property
    def client(self) -> Client:
        """The connection to the cluster. Raises InputError where there is none."""
        self._ready.wait()
        if self._client is None:
            raise InputError("the workers cannot be reached: {reason}", reason=self._error)
        return self._client

    def close(self) -> None:
        """Let go of the cluster; an embedded one ends. Live runs are left paused, to be resumed another day."""
        self._ready.wait(30)
        with self._lock:
            self._closed = True
            for job in self._jobs.values():
                if job.is_live:
                    self._set(job, Status("paused"))
        client, self._client = self._client, None
        process, self._process = self._process, None
        if client is not None:
            client.close(timeout=2)
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            if process.stdout is not None:
                process.stdout.close()
        atexit.unregister(self.close)

    def submit(self, config: TrainConfig, corpus: Corpus) -> str:
        """Start a new run and return its id. Raises InputError where it cannot start."""
        run = Run.create(config, corpus)
        self._start(run)
        return run.id

    def resume(self, run_id: str) -> None:
        """Go on with a run that was paused, or that another process left unfinished."""
        with self._lock:
            job = self._jobs.get(run_id)
            if job is not None and job.chained:
                if not job.is_live:  # its last task is still under way: the chain takes up again after it
                    self._set(job, Status("queued"))
                return
            self._start(job.run if job else Run.find(run_id))

    def _start(self, run: Run) -> None:
        with self._lock:
            job = self._jobs[run.id] = Job(run, Status("queued"), chained=True)
            self._set(job, job.status)
        threading.Thread(target=self._submit_next, args=(job,), daemon=True).start()

    def _submit_next(self, job: Job) -> None:
        """The next link of the chain, or the last one, which writes a checkpoint, once the run was halted."""
        try:
            _ = self.client  # wait for the cluster before the lock, which others need meanwhile
            with self._lock:
                if job.is_live:
                    target = job.step + job.task_steps
                    task = self._send("advance", job.run, {"target": target}, job.worker)
                    task.add_done_callback(lambda future: self._on_done(job, future))
                else:
                    job.chained = False
                    self._send("pause", job.run, {}, job.worker).add_done_callback(lambda future: job.ended.set())
        except Exception as error:  # whatever breaks the chain must be told to who watches it
            self._end(job, _failed(error))

    def _on_done(self, job: Job, future: Future[Any]) -> None:
        if self._closed:
            return
        try:
            # It has ended; a result that does not come now never will, and this thread serves all runs.
            progress, job.worker = future.result(_RESULT_SECONDS)
        except Exception as error:
            self._end(job, _failed(error))
            return
        self._measure(job, progress)
        if progress.finished:
            self._end(job, progress.failure or Status("finished"))
            return
        with self._lock:
            if job.status.state == "queued":
                self._set(job, Status("running"))
        self._submit_next(job)

    def _measure(self, job: Job, progress: Progress) -> None:
        """Choose the next task's steps for TASK_SECONDS; a task never grows by more than four times."""
        steps = max(1, progress.step - job.step)
        ideal = round(steps * TASK_SECONDS / max(progress.seconds, 1e-4))
        job.task_steps = max(1, min(ideal, 4 * job.task_steps))
        job.step = progress.step

    def _set(self, job: Job, status: Status) -> None:
        job.status = status
        try:
            job.run.set_status(status)
        except OSError:
            _log.exception("run %s: status %s not written", job.run.id, status.state)

    def _end(self, job: Job, status: Status) -> None:
        """The chain is over. What breaks because the engine was closed is no failure: the run stays paused."""
        with self._lock:
            if (job.is_live or status.state == "failed") and not self._closed:
                self._set(job, status)
            job.chained = False
        job.ended.set()

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

    def view(self, run_id: str) -> View:
        """Where a run stands now. Raises InputError where there is no such run."""
        job = self._jobs.get(run_id)
        sharing = sum(other.is_live for other in list(self._jobs.values()))
        if job is not None:
            return View(job.status, job.chained, sharing)
        status = _status_of_stranger(Run.find(run_id))
        return View(status, status.state in LIVE, sharing)

    def drives(self, run_id: str) -> bool:
        """Whether this engine has the run in hand; otherwise only its folder speaks for it."""
        return run_id in self._jobs

    def wait(self, run_id: str, timeout: float | None = None) -> View:
        """Block until a run that this engine drives has halted or ended; for scripts and tests."""
        self._jobs[run_id].ended.wait(timeout)
        return self.view(run_id)

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
        future = self.client.submit(
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
            if self._closed or batch.finished or time.monotonic() - batch.asked_at > _UNASKED_SECONDS:
                batch.under_way = False
                return
            part = batch.arguments[len(batch.results)]
            task = self.client.submit(_compute_on_worker, batch.function, part, key=_key(batch.function), pure=False)
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
        """A task on the worker that has the run in memory, or on another one where that is gone."""
        return self.client.submit(
            _run_on_worker,
            name,
            str(run.folder),
            arguments,
            key=f"{name}-{run.id}-{time.monotonic_ns()}",
            priority=priority,
            workers=[worker] if worker else None,
            allow_other_workers=bool(worker),
            pure=False,
        )


def _key(function: str) -> str:
    return f"{function}-{time.monotonic_ns()}"


def _result(future: Future[Any], timeout: float) -> Any:
    try:
        return future.result(timeout)
    except TimeoutError as error:
        future.cancel()
        raise InputError("no worker answered within {seconds:g} seconds", seconds=timeout) from error


def _status_of_stranger(run: Run) -> Status:
    """The status of a run that no engine here drives: the command may, or its process has died."""
    status = run.status()
    if status.state in LIVE and time.time() - run.last_change() > _SILENT_SECONDS:
        return Status("paused")
    return status


def _failed(error: Exception) -> Status:
    _log.error("a run failed", exc_info=error)
    if isinstance(error, InputError):
        return Status("failed", error.message, {name: str(value) for name, value in error.values.items()})
    return Status("failed", "the worker failed: {reason}", {"reason": f"{type(error).__name__}: {error}"})
