"""Settings of the host: environment variables, checked when the app starts.

`RNNVIZ_HOSTED=1` chooses limits for a public server; each can be set by itself, hosted or not.
Without it nothing is limited that the user of a laptop would notice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from rnnviz.config import MAX_PARAMETERS, TrainConfig
from rnnviz.errors import InputError

MIB = 2**20
_NO_LIMIT = 10**15


@dataclass(frozen=True)
class Limits:
    """The most that the host allows.

    `chars`, `units`, `layers`, `epochs` and `parameters` are of one run, as is `run_seconds`, the
    time its tasks take; `visitor_runs` and `runs` are runs under way, of one visitor and in all;
    `disk_mib` is what all runs together may occupy.
    """

    chars: int = _NO_LIMIT
    units: int = _NO_LIMIT
    layers: int = _NO_LIMIT
    epochs: int = _NO_LIMIT
    parameters: int = MAX_PARAMETERS
    run_seconds: int = _NO_LIMIT
    visitor_runs: int = _NO_LIMIT
    runs: int = _NO_LIMIT
    disk_mib: int = _NO_LIMIT

    def of_setting(self, name: str) -> int:
        """The greatest value allowed for a setting of a run."""
        limits = {"max_chars": self.chars, "hidden_size": self.units, "num_layers": self.layers, "epochs": self.epochs}
        return limits.get(name, _NO_LIMIT)

    def check(self, config: TrainConfig, vocab_size: int, memory: int | None = None) -> None:
        """Raises InputError where a run would be larger than the host allows, or than a worker's memory in bytes."""
        for name, value in config.settings().items():
            if isinstance(value, int) and value > self.of_setting(name):
                raise InputError(
                    "{name} is {value:,}; this server allows at most {limit:,}",
                    name=name,
                    value=value,
                    limit=self.of_setting(name),
                )
        config.check_size(vocab_size, self.parameters)
        needed = estimated_memory(config, vocab_size)
        if memory is not None and needed > memory:
            raise InputError(
                "the run would need about {needed:,.0f} MB of memory; a worker has {limit:,.0f} MB. "
                "Choose fewer hidden units, a smaller batch or fewer time steps",
                needed=needed / MIB,
                limit=memory / MIB,
            )


HOSTED = Limits(
    chars=200_000,
    units=512,
    layers=3,
    epochs=2000,
    parameters=5_000_000,
    run_seconds=1800,
    visitor_runs=3,
    runs=30,
    disk_mib=2048,
)
_BASE_MEMORY = 400 * MIB  # Python, torch and their buffers


def estimated_memory(config: TrainConfig, vocab_size: int) -> int:
    """About how many bytes a worker needs to train this, itself included.

    Weights, gradients and Adam's two moments; for each step, row and unit of each layer the gates,
    their adjoints and the states; scratch keeps every intermediate of the graph, and one-hot vectors.
    """
    model = config.model
    cells = config.num_steps * config.batch_size * model.num_directions
    kept = {"rnn": 4, "gru": 12, "lstm": 16}[model.cell]
    overhead = 1 if model.implementation == "fused" else 3
    layers = cells * model.num_layers * model.hidden_size * kept * overhead
    rows = config.num_steps * config.batch_size
    outputs = rows * vocab_size * (0.2 if model.implementation == "fused" else 4)
    numbers = 4 * model.parameter_count(vocab_size) + layers + outputs
    text = 60 * min(config.max_chars, 5_000_000)
    return _BASE_MEMORY + 4 * round(numbers) + text


@dataclass(frozen=True)
class Settings:
    """What the host has decided.

    `scheduler` is a Dask scheduler's address, None for an embedded cluster of `workers` processes
    (None: one a core) of `worker_mib` each (None: their share of the machine). A run that nobody
    watches is paused after `grace_seconds`. `status_page` shows the host's page; `log` is a level.
    """

    scheduler: str | None = None
    workers: int | None = None
    worker_mib: int | None = None
    grace_seconds: int = 300
    hosted: bool = False
    status_page: bool = False
    log: str = "INFO"
    limits: Limits = field(default_factory=Limits)

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
        """Every RNNVIZ_ variable of `docs/hosting.md`. Raises InputError for a value that is not allowed."""
        hosted = _flag(environment, "RNNVIZ_HOSTED")
        limits = HOSTED if hosted else Limits()
        given = {f.name: _count(environment, f"RNNVIZ_MAX_{f.name.upper()}", 1, 10**12) for f in fields(Limits)}
        grace = _count(environment, "RNNVIZ_GRACE_SECONDS", 1, 10**7)
        return Settings(
            scheduler=environment.get("RNNVIZ_SCHEDULER") or None,
            workers=_count(environment, "RNNVIZ_WORKERS", 1, 256),
            worker_mib=_count(environment, "RNNVIZ_WORKER_MIB", 600, 10**7),
            grace_seconds=Settings.grace_seconds if grace is None else grace,
            hosted=hosted,
            status_page=_flag(environment, "RNNVIZ_STATUS"),
            log=_level(environment, "RNNVIZ_LOG"),
            limits=replace(limits, **{name: value for name, value in given.items() if value is not None}),
        )


def _count(environment: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and low <= float(text) <= high):
        raise InputError(
            "{name} is {value!r}; allowed: a whole number from {low:,} to {high:,}",
            name=name,
            value=text,
            low=low,
            high=high,
        )
    return int(text)


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "")
    if text not in ("", "0", "1"):
        raise InputError("{name} is {value!r}; allowed: 0 or 1", name=name, value=text)
    return text == "1"


def _level(environment: Mapping[str, str], name: str) -> str:
    text = environment.get(name, "") or Settings.log
    if text not in logging.getLevelNamesMapping():
        raise InputError("{name} is {value!r}; allowed: DEBUG, INFO, WARNING or ERROR", name=name, value=text)
    return text
