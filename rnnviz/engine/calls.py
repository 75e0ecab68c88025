"""Calls: functions of rnnviz that a worker runs because a visitor waits for the result, before or between training."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from rnnviz.engine import tasks
from rnnviz.engine.connection import Connection
from rnnviz.engine.jobs import Jobs
from rnnviz.engine.turns import Accounts, Turns
from rnnviz.errors import HostError, InputError
from rnnviz.runs.folder import home

if TYPE_CHECKING:
    from distributed import Client, Future

MAX_DEATHS = 2  # workers that one call may bring down
_PRIORITY = 10  # training has 0
_MAX_LOSSES = 5  # after this many a call is blamed, with or without a mark
_MAX_DEADLY = 1000  # calls whose deaths are remembered


@dataclass(eq=False)
class Call:
    """A function by its name, and the `answer` to come.

    `visitor` is the one whose time it uses; `worker` is the preferred worker, None for any. Once it is
    sent, `task` is running at `place`, and the file `mark` exists while the function runs.
    """

    function: str
    arguments: Mapping[str, Any]
    visitor: str = ""
    worker: str | None = None
    answer: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)
    place: str | None = None
    task: Future[Any] | None = None
    sent_at: float = 0.0
    losses: int = 0
    mark: Path = field(default_factory=lambda: home() / "calls" / secrets.token_hex(8))

    @property
    def identity(self) -> str:
        return f"{self.function} {self.arguments!r}"


class Calls:
    """Sends one call at a time to each worker, first that of the visitor who has had the least time."""

    def __init__(self, jobs: Jobs, turns: Turns, connection: Connection, pool: Executor) -> None:
        self._jobs, self._turns, self._connection, self._pool = jobs, turns, connection, pool
        self._waiting: list[Call] = []
        self._sent: list[Call] = []
        self._had = Accounts()
        self._deaths: LRUCache[str, int] = LRUCache(_MAX_DEADLY)

    def ask(self, call: Call) -> concurrent.futures.Future[Any]:
        """Return a future of the answer. It fails with the function's InputError, or with a HostError."""
        with self._jobs.lock:
            if self._deaths.get(call.identity, 0) >= MAX_DEATHS:
                raise InputError(
                    "this calculation brought down {count} workers and is not tried again; "
                    "perhaps their memory does not suffice",
                    count=MAX_DEATHS,
                )
            self._had.enter(call.visitor, self._visitors())
            self._waiting.append(call)
        self.dispatch()
        return call.answer

    def close(self) -> None:
        """Cancel every call: nobody waits any longer."""
        with self._jobs.lock:
            for call in (*self._waiting, *self._sent):
                _fail(call, HostError("the workers cannot be reached: {reason}", reason="the app ends"))

    def send_stranded(self) -> None:
        """Send calls to another worker if theirs has been gone for a while."""
        workers, now = self._connection.workers, time.monotonic()
        for call in list(self._sent):
            gone = call.place is not None and call.place not in workers
            if workers and gone and call.task and now - call.sent_at > tasks.STRANDED_SECONDS:
                call.task.cancel()  # cancelling is reported as the loss of its worker

    # Sending

    def dispatch(self) -> None:
        """Send the waiting calls whose turn it is. Without a cluster they wait, or fail if none is expected."""
        with self._jobs.lock:
            self._waiting = [call for call in self._waiting if not call.answer.done()]
            if not self._waiting:
                return
            try:
                client = self._connection.ready()
            except HostError as error:
                for call in self._waiting:
                    _fail(call, error)
                return
            if client is not None:
                self._send_some(client)

    def _send_some(self, client: Client) -> None:
        workers, free, present = self._workers(), self._free_workers(), self._visitors()
        for call in sorted(self._waiting, key=lambda call: self._had.ahead(call.visitor, present)):
            place = call.worker if call.worker in workers else next(iter(free), None)
            if place in free:
                free.remove(place)
                self._send(client, call, place)

    def _workers(self) -> list[str | None]:
        return list(self._connection.workers) or [None]

    def _free_workers(self) -> list[str | None]:
        """The workers that are answering no call and may take one, those with the fewest runs first."""
        busy = {call.place for call in self._sent}
        owners = {worker: len(self._jobs.owners(worker)) for worker in self._workers() if worker not in busy}
        free = [worker for worker in owners if self._turns.may_answer(worker, runs_wait=owners[worker] > 0)]
        return sorted(free, key=owners.__getitem__)

    def _visitors(self) -> set[str]:
        return {call.visitor for call in (*self._waiting, *self._sent)}

    def _send(self, client: Client, call: Call, place: str | None) -> None:
        self._waiting.remove(call)
        workers = [place] if place else []
        try:
            call.task = tasks.send(
                client, call.function, call.arguments, workers=workers, priority=_PRIORITY, mark=str(call.mark)
            )
        except Exception as error:  # the cluster was just lost
            _fail(call, error)
            return
        call.place, call.sent_at = place, time.monotonic()
        self._sent.append(call)
        call.task.add_done_callback(lambda future: self._then(call, future))

    # When a task has ended

    def _then(self, call: Call, task: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the pool is closed with the engine
            self._pool.submit(self._on_done, call, task)

    def _on_done(self, call: Call, task: Future[Any]) -> None:
        try:
            answer = task.result(tasks.RESULT_SECONDS)
        except (Exception, asyncio.CancelledError) as error:
            self._on_trouble(call, error)
        else:
            self._charge(call, answer)
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits for it any more
                call.answer.set_result(answer.result)
        self.dispatch()

    def _charge(self, call: Call, answer: tasks.Answer) -> None:
        with self._jobs.lock:
            self._sent.remove(call)
            self._had.charge(call.visitor, answer.seconds)
            runs_wait = bool(self._jobs.owners(answer.worker))
            self._turns.answered(answer.worker, answer.seconds, runs_wait=runs_wait)

    def _on_trouble(self, call: Call, error: BaseException) -> None:
        """Send a call again after its worker died, unless the call itself has brought down too many."""
        with self._jobs.lock:
            self._sent.remove(call)
            if tasks.is_loss(error):
                call.losses += 1
                if not call.mark.exists() and call.losses <= _MAX_LOSSES:
                    self._waiting.append(call)
                    return
                call.mark.unlink(missing_ok=True)
                self._deaths[call.identity] = self._deaths.get(call.identity, 0) + 1
        _fail(call, error)


def _fail(call: Call, error: BaseException) -> None:
    told = HostError("the worker was lost; try again") if tasks.is_loss(error) else tasks.as_input_error(error)
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits for it any more
        call.answer.set_exception(told)
