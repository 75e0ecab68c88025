"""Runs as chains of short tasks: the next one is sent when the last one has ended.

A task is a number of steps, about 0.2 s of them, and each run has one task under way at a time.
So runs take turns (`turns.py`), and pausing a run means sending nothing more. When a worker dies, its
runs go on from their latest checkpoints on other workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from rnnviz.engine import tasks
from rnnviz.engine.connection import Connection, Worker
from rnnviz.engine.jobs import Job, Jobs
from rnnviz.engine.settings import Settings
from rnnviz.engine.turns import Turns
from rnnviz.errors import HostError
from rnnviz.runs.folder import Progress, Run, Status

if TYPE_CHECKING:
    from distributed import Client, Future

TASK_SECONDS = 0.2
CUT_SECONDS = 0.5  # a task that takes longer than it should ends after its next step, or part of an epoch's end
MAX_RECOVERIES = 3
_ADVANCE, _PAUSE = "rnnviz.nn.execution:advance", "rnnviz.nn.execution:pause"
_log = logging.getLogger(__name__)


def suited(run: Run, workers: Mapping[str, Worker]) -> list[str]:
    """The workers tagged with a GPU if there are any, or the others for a run that is to train on a CPU."""
    wants_gpu = run.config.device != "cpu"
    return [address for address, worker in workers.items() if worker.gpu == wants_gpu] or list(workers)


class Chains:
    """Sends the tasks of all jobs, and reacts when they end.

    Dask calls back on one thread for all runs, so whatever may block is done in the pool.
    """

    def __init__(
        self,
        jobs: Jobs,
        turns: Turns,
        connection: Connection,
        settings: Settings,
        pool: Executor,
        on_trained: Callable[[], None],
    ) -> None:
        self._jobs, self._turns, self._connection, self._settings, self._pool = jobs, turns, connection, settings, pool
        self._on_trained = on_trained  # a call may have its turn now
        self._closing = threading.Event()

    def start(self, job: Job) -> None:
        """Start to drive a run. Raises InputError if another process drives it."""
        job.run.claim()
        job.run.end_attempts()  # attempts of a process that died do not count against a run that is started again
        with self._jobs.lock:
            before = self._jobs.get(job.run.id)
            self._jobs.add(job)
            # where its last task may still be running, or else where there are the fewest runs
            self._place(job, before.worker if before else self.idlest(job.run))
            self._jobs.set_status(job, job.status)
        self.dispatch()

    def idlest(self, run: Run) -> str | None:
        """Of the workers that suit a run, the one with the fewest runs."""
        counts = Counter(job.worker for job in self._jobs.all(lambda job: job.chained))
        return min(suited(run, self._connection.workers), key=lambda worker: counts[worker], default=None)

    def _place(self, job: Job, worker: str | None) -> None:
        job.worker = worker
        self._turns.of_runs(worker).enter(job.owner, self._jobs.owners(worker))

    def close(self) -> None:
        """Send nothing more. Live runs are left paused, to be resumed another day."""
        with self._jobs.lock:
            self._closing.set()
            for job in self._jobs.live():
                self._jobs.set_status(job, Status("paused"))
            for job in self._jobs.all():
                self._let_go(job)

    # Sending

    def dispatch(self) -> None:
        """Send the next task of every run whose turn it is, if there is a cluster.

        Without a cluster, and with none expected, these runs end with the reason.
        """
        with self._jobs.lock:
            waiting = self._jobs.all(lambda job: job.is_waiting)
            if not waiting or self._closing.is_set():
                return
            try:
                client = self._connection.ready()
            except HostError as error:
                for job in waiting:
                    self._end(job, tasks.status_after(error))
                return
            if client is not None:
                for job in filter(self._may_send, waiting):
                    self._send_next(client, job)

    def _may_send(self, job: Job) -> bool:
        """Whether a run may have its next task: halting and moving always, training when it is the run's turn."""
        trains = job.is_live and not job.move_to
        return not trains or self._turns.may_train(job.worker, job.owner, self._jobs.owners(job.worker))

    def _send_next(self, client: Client, job: Job) -> None:
        """Send the next task or, if the run was halted, the last one, which writes a checkpoint."""
        try:
            if not job.is_live:
                job.chained = False
                self._send(client, job, _PAUSE).add_done_callback(lambda future: self._let_go(job))
                return
            if job.move_to:
                act, job.task = self._on_moved, self._send(client, job, _PAUSE)
                self._place(job, job.move_to)
                job.move_to = None
            else:
                target = job.step + job.task_steps
                act, job.task = self._on_done, self._send(client, job, _ADVANCE, target=target, seconds=CUT_SECONDS)
            job.sent_at = time.monotonic()
            job.task.add_done_callback(lambda future: self._then(act, job, future))
        except Exception as error:  # whatever breaks the chain must be reported to the run's viewers
            if not tasks.is_loss(error):  # a lost cluster is replaced, and then the task is sent
                self._end(job, tasks.status_after(error))

    def _send(self, client: Client, job: Job, function: str, **arguments: Any) -> Future[Any]:
        """Send a task to the worker that has the run in memory or, if it is gone, to a suitable one, or any."""
        workers = self._connection.workers
        some = suited(job.run, workers)
        places = [job.worker] if job.worker else some if len(some) < len(workers) else []
        return tasks.send(client, function, {"folder": str(job.run.folder), **arguments}, workers=places)

    def _then(self, act: Callable[[Job, Future[Any]], None], job: Job, future: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the pool is closed with the engine
            self._pool.submit(act, job, future)

    # When a task has ended

    def _on_moved(self, job: Job, future: Future[Any]) -> None:
        """The run has written its checkpoint and may be sent elsewhere, whatever its former worker answers."""
        with self._jobs.lock:
            job.task = None
        _log.info("run %s: moves to %s", job.run.id, job.worker)
        self.dispatch()

    def _on_done(self, job: Job, future: Future[Any]) -> None:
        if self._closing.is_set():
            return
        try:
            answer = future.result(tasks.RESULT_SECONDS)  # it has ended; what does not come now never will
        except (Exception, asyncio.CancelledError) as error:
            self._on_trouble(job, error)
        else:
            self._on_progress(job, answer.result, answer.worker)

    def _on_progress(self, job: Job, progress: Progress, worker: str) -> None:
        with self._jobs.lock:
            job.task = None
            if worker != job.worker:
                self._place(job, worker)
            self._turns.trained(worker, job.owner, progress.seconds)
            _measure(job, progress)
            limit = self._settings.limits.run_seconds
            if progress.finished:
                self._end(job, progress.failure or Status("finished"))
            elif job.recoveries > MAX_RECOVERIES:
                self._end(job, _lost_too_often(job))
            elif job.is_live and job.seconds > limit:
                why = Status("stopped", "this server trains a run for {seconds:,} s at most", {"seconds": limit})
                self._jobs.set_status(job, why)
            elif job.status.state == "queued":
                self._jobs.set_status(job, Status("running"))
        self._on_trained()
        self.dispatch()

    def _on_trouble(self, job: Job, error: BaseException) -> None:
        """A task failed: try again if its worker was lost, otherwise end the run with the reason."""
        if self._closing.is_set():
            return
        if tasks.is_loss(error):
            self._recover(job, error)
        else:
            self._end(job, tasks.status_after(error))
        self.dispatch()

    def _recover(self, job: Job, error: BaseException) -> None:
        with self._jobs.lock:
            job.worker = job.move_to = job.task = None
            # Added to the recoveries by the next task that ends: a worker told to leave ends its task first.
            attempts = job.run.attempts()  # none, where another run's task brought the worker down
            _log.warning("run %s: its worker was lost (%s), attempts %d", job.run.id, error, attempts)
            if job.recoveries + attempts > MAX_RECOVERIES:
                job.recoveries += attempts
                self._end(job, _lost_too_often(job))

    def _end(self, job: Job, status: Status) -> None:
        """End the chain. An error caused by closing the engine is not a failure: the run stays paused.

        A run that was halted during its last task has ended nevertheless.
        """
        with self._jobs.lock:
            if (job.is_live or status.state in ("finished", "failed")) and not self._closing.is_set():
                self._jobs.set_status(job, status)
            job.chained, job.task = False, None
            self._let_go(job)

    def _let_go(self, job: Job) -> None:
        """Release the run when nothing of this job is running any more, so that another process may drive it."""
        with self._jobs.lock:
            if not job.ended.is_set():
                job.run.release()
                job.ended.set()


def _measure(job: Job, progress: Progress) -> None:
    """Choose how many steps take TASK_SECONDS; from one task to the next the number grows fourfold at most."""
    steps = progress.step - job.step
    if steps > 0:  # none, where all of it went into the end of an epoch
        ideal = round(steps * TASK_SECONDS / max(progress.seconds, 1e-4))
        job.task_steps = max(1, min(ideal, 4 * job.task_steps))
    job.step = progress.step
    job.seconds = progress.trained
    job.recoveries += progress.lost


def _lost_too_often(job: Job) -> Status:
    return Status(
        "failed",
        "its worker died {count} times while it trained this run; perhaps its memory does not suffice",
        {"count": job.recoveries},
    )
