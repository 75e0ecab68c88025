"""Long calculations, computed in short parts one after the other and shared by everyone who asks for the same one."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from rnnviz.engine.calls import Call, Calls
from rnnviz.errors import HostError, InputError

_UNASKED_SECONDS = 20.0  # a batch halts when nobody has asked for it for this long
_MAX_BATCHES = 32  # whose results stay in memory


@dataclass
class Batch:
    """A function called on many arguments: `results` so far, of `total`.

    It continues as long as somebody asks for it. `error` says why it stopped; after an error of the
    host it is tried again when somebody asks again. Its time counts for the `visitor` who asked first.
    """

    function: str
    arguments: Sequence[Mapping[str, Any]]
    visitor: str = ""
    results: list[Any] = field(default_factory=list)
    error: InputError | None = None
    asked_at: float = 0.0
    under_way: bool = False

    @property
    def total(self) -> int:
        return len(self.arguments)

    @property
    def finished(self) -> bool:
        failed = self.error is not None and not isinstance(self.error, HostError)
        return failed or len(self.results) == self.total


class Batches:
    """All batches, by key. One part of each is computed at a time."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._by_key: OrderedDict[Hashable, Batch] = OrderedDict()

    def ask(self, key: Hashable, function: str, arguments: Sequence[Mapping[str, Any]], visitor: str) -> Batch:
        """Return the batch with this key, and start it if it is new. It halts when nobody has asked for a while."""
        with self._lock:
            batch = self._by_key.setdefault(key, Batch(function, arguments, visitor))
            self._by_key.move_to_end(key)
            while len(self._by_key) > _MAX_BATCHES:
                self._by_key.popitem(last=False)
            batch.asked_at = time.monotonic()
            start = not batch.under_way and not batch.finished
            batch.under_way |= start
        if start:
            batch.error = None
            self._ask_next(batch)
        return batch

    def _ask_next(self, batch: Batch) -> None:
        if batch.finished or time.monotonic() - batch.asked_at > _UNASKED_SECONDS:
            batch.under_way = False
            return
        part = Call(batch.function, batch.arguments[len(batch.results)], batch.visitor)
        try:
            self._calls.ask(part).add_done_callback(lambda answer: self._on_part(batch, answer))
        except InputError as error:
            batch.error, batch.under_way = error, False

    def _on_part(self, batch: Batch, answer: Future[Any]) -> None:
        try:
            batch.results.append(answer.result())
        except InputError as error:
            batch.error, batch.under_way = error, False
        else:
            self._ask_next(batch)
