"""Settings of the host: environment variables, checked when the app starts.

`RNNVIZ_HOSTED=1` chooses limits for a public server; each can be set by itself, hosted or not.
Without it there are no limits that a single user would notice.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from rnnviz.cells import cell_of
from rnnviz.config import MAX_PARAMETERS, TrainConfig
from rnnviz.errors import InputError
from rnnviz.text.corpora import MAX_BYTES as MAX_UPLOAD_BYTES

MIB = 2**20
_HERE = Path(__file__).resolve().parents[1]
# The folder of app.py and pages/: in the wheel one of the package, otherwise the repository.
APP = next(folder for folder in (_HERE / "app", _HERE.parent) if (folder / "app.py").is_file())
_NO_LIMIT = 10**15
_HOST = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """The most that the host allows.

    `chars`, `vocabulary`, `units`, `layers`, `epochs` and `parameters` are of one run, as are
    `step_work`, what a training step costs; `prefixes`, `prefix_chars` and `predict_length`, what it
    writes; `probe_chars`, over which its gates are recorded; and `run_seconds`, the time its tasks
    take. `visitor_runs` and `runs` are runs under way, of one visitor and in all;
    `disk_mib` is what all runs together may occupy, `upload_mib` the size of an uploaded file.
    """

    chars: int = _NO_LIMIT
    vocabulary: int = _NO_LIMIT
    units: int = _NO_LIMIT
    layers: int = _NO_LIMIT
    epochs: int = _NO_LIMIT
    parameters: int = MAX_PARAMETERS
    step_work: int = _NO_LIMIT
    prefixes: int = _NO_LIMIT
    prefix_chars: int = _NO_LIMIT
    predict_length: int = _NO_LIMIT
    probe_chars: int = _NO_LIMIT
    run_seconds: int = _NO_LIMIT
    visitor_runs: int = _NO_LIMIT
    runs: int = _NO_LIMIT
    disk_mib: int = _NO_LIMIT
    upload_mib: int = MAX_UPLOAD_BYTES // MIB

    def of_setting(self, name: str) -> int:
        """The largest value allowed for a setting of a run."""
        limits = {
            "max_chars": self.chars,
            "hidden_size": self.units,
            "num_layers": self.layers,
            "epochs": self.epochs,
            "predict_length": self.predict_length,
        }
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
        self._check_texts(config, vocab_size)
        config.check_size(vocab_size, self.parameters)
        work = step_work(config, vocab_size)
        if work > self.step_work:
            raise InputError(
                "a training step would take about {work:,.0f} million multiplications; this server allows {limit:,.0f} "
                "million. Choose fewer hidden units, fewer layers, a smaller batch or fewer time steps",
                work=work / 1e6,
                limit=self.step_work / 1e6,
            )
        needed = estimated_memory(config, vocab_size)
        if memory is not None and needed > memory:
            raise InputError(
                "the run would need about {needed:,.0f} MB of memory; a worker has {limit:,.0f} MB. "
                "Choose fewer hidden units, a smaller batch or fewer time steps",
                needed=needed / MIB,
                limit=memory / MIB,
            )

    def _check_texts(self, config: TrainConfig, vocab_size: int) -> None:
        if vocab_size > self.vocabulary:
            raise InputError(
                "the text has {count:,} different characters; this server allows at most {limit:,}",
                count=vocab_size,
                limit=self.vocabulary,
            )
        if len(config.prefixes) > self.prefixes:
            raise InputError(
                "there are {count:,} prefixes to continue; this server allows at most {limit:,}",
                count=len(config.prefixes),
                limit=self.prefixes,
            )
        longest = max(map(len, config.prefixes), default=0)
        if longest > self.prefix_chars:
            raise InputError(
                "a prefix has {length:,} characters; this server allows at most {limit:,}",
                length=longest,
                limit=self.prefix_chars,
            )
        if len(config.probe) > self.probe_chars:
            raise InputError(
                "the text over which the gates are recorded has {length:,} characters; "
                "this server allows at most {limit:,}",
                length=len(config.probe),
                limit=self.probe_chars,
            )


HOSTED = Limits(
    chars=200_000,
    vocabulary=8000,
    units=512,
    layers=4,
    epochs=2000,
    parameters=5_000_000,
    step_work=20_000_000_000,  # about a second
    prefixes=8,
    prefix_chars=100,
    predict_length=500,
    probe_chars=200,
    run_seconds=1800,
    visitor_runs=4,  # as many as a page trains side by side
    runs=30,
    disk_mib=2048,
    upload_mib=2,
)
_CELL_WORK = 2_000_000  # multiplications in the time that calling a layer's operations takes, once
_BASE_MEMORY = 400 * MIB  # Python, torch and their buffers


def step_work(config: TrainConfig, vocab_size: int) -> int:
    """Roughly how many multiplications a training step takes.

    Every parameter counts once for each character, and each time step of a layer at least as much as its
    calls cost, however small the layer is.
    """
    model = config.model
    cells = config.num_steps * model.num_layers * model.num_directions
    return model.parameter_count(vocab_size) * config.batch_size * config.num_steps + cells * _CELL_WORK


def estimated_memory(config: TrainConfig, vocab_size: int) -> int:
    """Roughly how many bytes a worker needs to train this, including the worker itself.

    They are weights, gradients and Adam's two moments; for each step, row and unit of each layer the gates,
    their adjoints and the states; and for scratch every intermediate of the graph, and one-hot vectors.
    """
    model = config.model
    cells = config.num_steps * config.batch_size * model.num_directions
    kept = 4 * len(cell_of(model).blocks)
    overhead = 1 if model.implementation == "fused" else 3
    layers = cells * model.num_layers * model.hidden_size * kept * overhead
    rows = config.num_steps * config.batch_size
    outputs = rows * vocab_size * (0.2 if model.implementation == "fused" else 4)
    numbers = 4 * model.parameter_count(vocab_size) + layers + outputs
    text = 60 * min(config.max_chars, 5_000_000)
    return _BASE_MEMORY + 4 * round(numbers) + text


@dataclass(frozen=True)
class Settings:
    """The settings of the host.

    `scheduler` is a Dask scheduler's address, None for an embedded cluster of `workers` processes
    (None: one a core; a hosted server has one) of `worker_mib` each (None: their share of the
    machine). A run that nobody watches is paused after `grace_seconds`. `hosts` are the names under
    which the server answers, where they are not left open. `status_page` shows the host's page;
    `log` is a level.
    """

    scheduler: str | None = None
    workers: int | None = None
    worker_mib: int | None = None
    grace_seconds: int = 300
    hosted: bool = False
    hosts: tuple[str, ...] = ()
    status_page: bool = False
    log: str = "INFO"
    limits: Limits = field(default_factory=Limits)

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
        """Every RNNVIZ_ variable of `docs/hosting.md`. Raises InputError for a value that is not allowed."""
        hosted = _flag(environment, "RNNVIZ_HOSTED")
        limits = HOSTED if hosted else Limits()
        workers = _count(environment, "RNNVIZ_WORKERS", 1, 256)
        given = {f.name: _count(environment, f"RNNVIZ_MAX_{f.name.upper()}", 1, 10**12) for f in fields(Limits)}
        grace = _count(environment, "RNNVIZ_GRACE_SECONDS", 1, 10**7)
        return Settings(
            scheduler=environment.get("RNNVIZ_SCHEDULER") or None,
            workers=1 if workers is None and hosted else workers,
            worker_mib=_count(environment, "RNNVIZ_WORKER_MIB", 600, 10**7),
            grace_seconds=Settings.grace_seconds if grace is None else grace,
            hosted=hosted,
            hosts=_hosts(environment, "RNNVIZ_HOSTS"),
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


def _hosts(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    hosts = tuple(host.strip() for host in environment.get(name, "").split(",") if host.strip())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise InputError(
                "{name} has {value!r}; allowed: names or addresses without a port, separated by commas, "
                "such as class.example.org, *.example.org or 192.168.1.5",
                name=name,
                value=host,
            )
    return hosts


def _level(environment: Mapping[str, str], name: str) -> str:
    text = environment.get(name, "") or Settings.log
    if text not in logging.getLevelNamesMapping():
        raise InputError("{name} is {value!r}; allowed: DEBUG, INFO, WARNING or ERROR", name=name, value=text)
    return text
