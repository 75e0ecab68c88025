"""Tasks of a Dask cluster: functions of rnnviz called by name, and how they can end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from rnnviz.errors import HostError, InputError
from rnnviz.runs.folder import State, Status

if TYPE_CHECKING:
    from distributed import Client, Future

RESULT_SECONDS = 5.0  # how long the result of a finished task may take to arrive
STRANDED_SECONDS = 3.0  # a task whose worker has gone is sent again after this long
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The result of a task, the address of the worker that ran it, and its duration in seconds."""

    result: Any
    worker: str
    seconds: float


def run(function: str, arguments: Mapping[str, Any], mark: str | None = None) -> Answer:
    """In a worker: call a function of rnnviz by its name, as in `rnnviz.nn.execution:advance`.

    `mark` is a file that exists while the function runs. If it remains, the function killed the worker.
    """
    from distributed import get_worker

    began = time.perf_counter()
    with _marked(mark) if mark else nullcontext():
        result = resolve_name(function)(**arguments)
    return Answer(result, get_worker().address, time.perf_counter() - began)


@contextmanager
def _marked(mark: str) -> Iterator[None]:
    with suppress(OSError):  # on a full disk there is no mark, and the function runs without it
        Path(mark).parent.mkdir(parents=True, exist_ok=True)
        Path(mark).touch()
    try:
        yield
    finally:
        with suppress(OSError):
            Path(mark).unlink(missing_ok=True)


def send(
    client: Client,
    function: str,
    arguments: Mapping[str, Any],
    *,
    workers: Collection[str] = (),
    priority: int = 0,
    mark: str | None = None,
) -> Future[Any]:
    """Send a task to one of these workers, or to any if they are gone or none is named. The result is an Answer."""
    return client.submit(
        run,
        function,
        arguments,
        mark=mark,
        key=f"{function}-{secrets.token_hex(16)}",
        priority=priority,
        workers=list(workers) or None,
        allow_other_workers=bool(workers),
        pure=False,
    )


def is_loss(error: BaseException) -> bool:
    """Whether an error means that a task's worker, or the whole cluster, was lost."""
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    lost = (KilledWorker, CommClosedError, asyncio.CancelledError, concurrent.futures.CancelledError, TimeoutError)
    return isinstance(error, lost)


def as_input_error(error: BaseException) -> InputError:
    """The error to show for an error of a task; an InputError is passed on unchanged."""
    if isinstance(error, InputError):
        return error
    _log.error("a task failed", exc_info=error)
    return InputError("the worker failed: {reason}", reason=f"{type(error).__name__}: {error}")


def status_after(error: BaseException) -> Status:
    """The status of a run after an error: paused after a HostError, otherwise failed."""
    told = as_input_error(error)
    values = {name: value if _is_json(value) else str(value) for name, value in told.values.items()}
    state: State = "paused" if isinstance(told, HostError) else "failed"
    return Status(state, told.message, values)


def _is_json(value: object) -> bool:
    """Numbers stay numbers, since messages format them."""
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
