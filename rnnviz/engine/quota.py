"""The disk space that runs may occupy, and what is deleted when they exceed it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from rnnviz.engine.settings import MIB
from rnnviz.errors import HostError, InputError
from rnnviz.runs.folder import Run, all_runs

_log = logging.getLogger(__name__)


def size(folder: Path) -> int:
    """The size of a folder's files in bytes; a file deleted meanwhile counts as empty."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def occupied() -> int:
    """The size of all runs in the home folder in bytes."""
    return sum(size(run.folder) for run in all_runs())


def make_room(limit_mib: int, in_use: Collection[str]) -> int:
    """Delete the oldest runs that are not `in_use` and that no process drives, until all fit into the limit.

    Returns by how many bytes they still exceed it, 0 if they fit.
    """
    sizes = {run: size(run.folder) for run in all_runs()}
    excess = sum(sizes.values()) - limit_mib * MIB
    for run in sorted(sizes, key=Run.last_change):
        if excess <= 0:
            return 0
        if run.id not in in_use and not run.is_driven:
            _delete(run)
            excess -= sizes[run]
    return max(excess, 0)


def _delete(run: Run) -> None:
    with suppress(InputError), run.driven():  # another process may have taken it up meanwhile
        shutil.rmtree(run.folder, ignore_errors=True)
        _log.info("run %s: deleted to make room", run.id)


def too_full(excess: int, limit_mib: int) -> HostError:
    """The error when runs exceed the limit and none of them can be deleted."""
    return HostError(
        "the runs occupy {size:,.0f} MB; this server allows {limit:,}. Try again later",
        size=limit_mib + excess / MIB,
        limit=limit_mib,
    )
