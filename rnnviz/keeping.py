"""The disk's share of the runs: what goes when they occupy too much."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from rnnviz.errors import HostError, InputError
from rnnviz.runs import Run, home
from rnnviz.settings import MIB

ENDED = ("finished", "stopped", "failed")
_log = logging.getLogger(__name__)


def size(folder: Path) -> int:
    """How many bytes the files of a folder have; one that goes meanwhile has none."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def occupied() -> int:
    """How many bytes all runs in the home folder have."""
    return size(home() / "runs")


def make_room(limit_mib: int, in_use: Collection[str], *, needed: bool = False) -> None:
    """Delete the oldest runs that have ended and are not `in_use`, until all fit into the limit.

    With `needed`, raises HostError where they still do not.
    """
    runs = home() / "runs"
    sizes = {folder: size(folder) for folder in runs.iterdir()} if runs.is_dir() else {}
    total, limit = sum(sizes.values()), limit_mib * MIB
    for folder in sorted(sizes, key=_age):
        if total <= limit:
            return
        if folder.name not in in_use and _has_ended(folder):
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
            _log.info("run %s: deleted to make room", folder.name)
    if needed and total > limit:
        raise HostError(
            "the runs occupy {size:,.0f} MB; this server allows {limit:,}. Try again later",
            size=total / MIB,
            limit=limit_mib,
        )


def _age(folder: Path) -> float:
    try:
        return Run(folder).last_change()
    except OSError:
        return 0.0


def _has_ended(folder: Path) -> bool:
    """A run whose status cannot be read will never go on."""
    try:
        return Run(folder).status().state in ENDED
    except InputError:
        return True
