"""Settings of the host, from environment variables, checked when the app starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from rnnviz.errors import InputError


@dataclass(frozen=True)
class Settings:
    """`scheduler`: a Dask scheduler's address; None embeds a cluster. `workers`: how many; None is one a core."""

    scheduler: str | None = None
    workers: int | None = None

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
        """RNNVIZ_SCHEDULER and RNNVIZ_WORKERS. Raises InputError for a value that is not allowed."""
        return Settings(environment.get("RNNVIZ_SCHEDULER") or None, _count(environment, "RNNVIZ_WORKERS"))


def _count(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    if not (text.isdecimal() and 1 <= int(text) <= 256):
        raise InputError("{name} is {value!r}; allowed: a whole number from 1 to 256", name=name, value=text)
    return int(text)
