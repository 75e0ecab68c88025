"""Housekeeping, once a second: viewers who have left, the distribution of runs over workers, the disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from rnnviz.engine import tasks
from rnnviz.engine.chains import suited
from rnnviz.engine.connection import Connection
from rnnviz.engine.jobs import Jobs
from rnnviz.engine.quota import make_room, size, too_full
from rnnviz.engine.settings import Settings
from rnnviz.runs.folder import Status

_ROOM_SECONDS = 30.0  # between two looks at the disk


class Housekeeping:
    """What the engine's thread does periodically."""

    def __init__(
        self, jobs: Jobs, connection: Connection, settings: Settings, is_present: Callable[[str], bool]
    ) -> None:
        self._jobs, self._connection, self._settings, self._is_present = jobs, connection, settings, is_present
        self._looked_at_disk = -_ROOM_SECONDS

    @property
    def duties(self) -> tuple[Callable[[], None], ...]:
        return (self.balance, self.send_stranded, self.notice_who_left, self.pause_unwatched, self.make_room)

    def balance(self) -> None:
        """Move runs to workers that suit them, and away from a worker that has two more than another."""
        workers = self._connection.workers
        with self._jobs.lock:
            jobs = self._jobs.all(lambda job: job.chained and job.is_live)
            counts = Counter(place for job in jobs if (place := job.move_to or job.worker) in workers)
            for job in jobs:
                candidates = suited(job.run, workers)
                least = min(candidates, key=lambda worker: counts[worker], default=None)
                if least is None or job.move_to or job.worker not in workers:
                    continue
                if job.worker not in candidates or counts[job.worker] - counts[least] >= 2:
                    job.move_to = least
                    counts[job.worker] -= 1
                    counts[least] += 1

    def send_stranded(self, now: float | None = None) -> None:
        """Send tasks again that wait for a worker that has gone.

        Dask gives such a task to another worker only if there is one at that moment, not to one that comes later.
        """
        now, workers = time.monotonic() if now is None else now, self._connection.workers
        waiting = self._jobs.all(lambda job: bool(job.task and job.worker and job.worker not in workers))
        for job in waiting:
            if workers and job.task and now - job.sent_at > tasks.STRANDED_SECONDS:
                job.task.cancel()  # cancelling is reported as the loss of its worker

    def notice_who_left(self) -> None:
        """Remove viewers whose tab was closed."""
        for viewer in self._jobs.viewers():
            if not self._is_present(viewer):
                self._jobs.leave(viewer)

    def pause_unwatched(self, now: float | None = None) -> None:
        """Pause runs that nobody has watched for the grace period, unless they are `unattended`."""
        now = time.monotonic() if now is None else now
        with self._jobs.lock:
            for job in self._jobs.live():
                left = job.left_at is not None and now - job.left_at > self._settings.grace_seconds
                if left and not job.unattended:
                    self._jobs.set_status(job, Status("paused", "nobody was watching"))

    def make_room(self, now: float | None = None) -> None:
        """If the runs occupy more than the limit, delete the oldest that nobody watches.

        If that is not enough, pause the largest live run.
        """
        now, limit = time.monotonic() if now is None else now, self._settings.limits.disk_mib
        if now - self._looked_at_disk < _ROOM_SECONDS:
            return
        self._looked_at_disk = now
        excess = make_room(limit, self._jobs.in_use())
        live = self._jobs.live()
        if excess and live:
            largest = max(live, key=lambda job: size(job.run.folder))
            self._jobs.set_status(largest, tasks.status_after(too_full(excess, limit)))
