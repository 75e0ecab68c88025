"""Turns on a worker, counted in seconds of its time, because tasks differ in length a hundredfold.

While there are runs, calls get at most half of a worker's time. Each half is shared equally among
visitors: whoever has had more than the visitor with the least waits for that visitor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from cachetools import LRUCache

AHEAD_SECONDS = 0.5  # how far a visitor's runs may be ahead; with less, the worker would idle between two tasks
BURST_SECONDS = 1.0  # calls may use this much before runs get their share
MAX_PEOPLE_AHEAD_SECONDS = 10.0  # so that after one long call the next one does not wait for long
_MAX_WORKERS = 256  # whose accounts are remembered


class Accounts:
    """The seconds that each visitor has used. A newcomer starts level with whoever has used least."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def enter(self, name: str, present: Iterable[str]) -> None:
        """Add `name` to those who are `present`, and forget absent visitors who are not ahead of them."""
        names = set(present) - {name}
        least = self._least(names) if names else math.inf
        self._seconds = {n: s for n, s in self._seconds.items() if n in names or s > least}
        self._seconds.setdefault(name, least if names else 0.0)

    def charge(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def ahead(self, name: str, present: Iterable[str]) -> float:
        """How many more seconds `name` has used than whoever has used least."""
        return self._seconds.get(name, 0.0) - self._least({*present, name})

    def _least(self, names: Iterable[str]) -> float:
        return min((self._seconds.get(name, 0.0) for name in names), default=0.0)


class Turns:
    """The accounts of every worker; None stands for a worker that is not known yet."""

    def __init__(self) -> None:
        self._runs: LRUCache[str | None, Accounts] = LRUCache(_MAX_WORKERS)
        self._people_ahead: LRUCache[str | None, float] = LRUCache(_MAX_WORKERS)

    def of_runs(self, worker: str | None) -> Accounts:
        """The accounts of the visitors' runs on a worker."""
        accounts: Accounts = self._runs.setdefault(worker, Accounts())
        return accounts

    def may_train(self, worker: str | None, visitor: str, present: Iterable[str]) -> bool:
        """Whether a run of this visitor may have the next task, where the visitors who are `present` train."""
        return self.of_runs(worker).ahead(visitor, present) <= AHEAD_SECONDS

    def trained(self, worker: str | None, visitor: str, seconds: float) -> None:
        self.of_runs(worker).charge(visitor, seconds)
        self._people_ahead[worker] = max(0.0, self._people_ahead.get(worker, 0.0) - seconds)

    def may_answer(self, worker: str | None, *, runs_wait: bool) -> bool:
        """Whether a call may have the next task."""
        return not runs_wait or self._people_ahead.get(worker, 0.0) <= BURST_SECONDS

    def answered(self, worker: str | None, seconds: float, *, runs_wait: bool) -> None:
        ahead = min(self._people_ahead.get(worker, 0.0) + seconds, MAX_PEOPLE_AHEAD_SECONDS)
        self._people_ahead[worker] = ahead if runs_wait else 0.0
