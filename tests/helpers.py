"""Helpers that tests of several rooms share."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from streamlit.testing.v1 import AppTest

from rnnviz.analysis.reading import Reading
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.connection import Worker
from rnnviz.engine.engine import Workload
from rnnviz.engine.tasks import Answer
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import trace
from rnnviz.runs.folder import Progress, Run, Status
from rnnviz.runs.reports import Checkpoint
from rnnviz.text.corpora import Corpus, Vocabulary

TEXT = "fade</script>d?"  # the vocabulary lacks the question mark
VOCABULARY = Vocabulary(TEXT.replace("?", ""))
CONFIGS: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "rnn-relu": {"cell": "rnn", "activation": "relu"},
    "gru-before": {"cell": "gru", "reset": "before"},
    "gru-after": {"cell": "gru", "reset": "after"},
    "gru-after-bias": {"cell": "gru", "reset": "after-bias"},
    "mingru": {"cell": "mingru"},
    "lstm": {"cell": "lstm"},
}
CELLS = pytest.mark.parametrize("name", CONFIGS)
IN_TORCH = [name for name in CONFIGS if name not in ("gru-before", "mingru")]
SECONDS = 90  # no wait in this file is longer
APP = str(Path(__file__).resolve().parent.parent / "app.py")
GRADIENT_CHARTS = {  # by the question of the Gradients page
    "unrolled": ("unrolled", "product", "contributions"),
    "reach": ("reach-rnn", "reach-gru", "reach-lstm"),
    "spectrum": ("plane", "growth"),
    "scale": ("scale", "scaled-plane"),
    "clipping": ("clipping", "parameters"),
    "map": ("learning-map",),
}
FORMULAS = (  # as a spreadsheet would compute it
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    '=HYPERLINK("http://evil.test","x")',
    "\t=1",
    "\r=1",
    "=cmd|' /C calc'!A0",
)
PAGES = {"white": "#FFFFFF", "dark": "#0E1117"}
# Machado, Oliveira and Fernandes (2009), severity 1, applied to linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
# Linear sRGB to XYZ, and the white of D65.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
)
WHITE = TO_XYZ.sum(axis=1)


def make_reading(
    name: str, text: str = TEXT, units: int = 6, layer: int = 1, direction: str = "forward", **settings: Any
) -> Reading:
    """A model of random weights, large enough that its gates differ, reading a text."""
    vocabulary = VOCABULARY if text == TEXT else Vocabulary(text)
    config = ModelConfig(hidden_size=units, initialisation="uniform", **{**CONFIGS[name], **settings})
    model = LanguageModel(config, len(vocabulary), torch.Generator().manual_seed(1))
    with torch.no_grad():
        for w in model.weights().values():
            w.mul_(2)
    weights = {key: w.detach().numpy() for key, w in model.weights().items()}
    return Reading.of(trace(model, vocabulary, text), weights, vocabulary, layer, direction)


@dataclass(frozen=True)
class CommandResult:
    """The output of a command and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON, one object per line."""
        return [json.loads(line) for line in self.out.splitlines()]


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until the condition is true; fail after a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def listens_at(process: int) -> set[str]:
    """The addresses at which a process, without its children, waits for connections."""
    return {s.laddr.ip for s in psutil.Process(process).net_connections() if s.status == "LISTEN"}


@dataclass
class Task:
    """What the engine handed to Dask, and the future that it watches."""

    name: str
    arguments: dict[str, Any]
    options: dict[str, Any]
    future: Future[Any] = field(default_factory=Future)

    @property
    def folder(self) -> str:
        return str(self.arguments["folder"])

    def answer(self, result: object, worker: str = "worker-1") -> None:
        self.future.set_result(Answer(result, worker, 0.0))

    def end(
        self,
        step: int,
        seconds: float = 0.2,
        *,
        total: int = 10**6,
        trained: float = 0.0,
        failure: Status | None = None,
    ) -> None:
        self.answer(Progress(step, seconds, failure is not None or step >= total, trained, failure))


class Script:
    """Stands in for the connection, and for Dask's client as well."""

    workers: Mapping[str, Worker] = {}
    error = None

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.stands = True

    def ready(self) -> Script | None:
        return self if self.stands else None

    def maintain(self) -> None:
        """Does nothing, since this connection is always there."""

    def submit(self, run: object, function: str, arguments: dict[str, Any], **options: Any) -> Future[Any]:
        task = Task(function.split(":")[1], arguments, options)
        self.tasks.append(task)
        return task.future

    def close(self) -> None:
        """Cancel what has not ended, as Dask does."""
        for task in self.tasks:
            task.future.cancel()

    @property
    def waiting(self) -> list[Task]:
        return [task for task in self.tasks if not task.future.done()]

    def next(self) -> Task:
        """The one task under way."""
        until(lambda: len(self.waiting) > 0, 10)
        (task,) = self.waiting
        return task


class InProcess:
    """Stands in for the connection and for Dask's client: a thread of this process does one task after another."""

    workers: Mapping[str, Worker] = {"here": Worker(0, 0, 0)}
    error = None

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def ready(self) -> InProcess:
        return self

    def maintain(self) -> None:
        """It is always there."""

    def submit(self, run: object, function: str, arguments: dict[str, Any], **options: Any) -> Future[Any]:
        return self._thread.submit(lambda: Answer(resolve_name(function)(**arguments), "here", 0.0))

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def patched(base: Any, patch: Any) -> Any:
    """Apply a frame's patch as chart_slider.js does."""
    if isinstance(patch, list):
        return patch[0]
    result = dict(enumerate(base)) if isinstance(base, list) else dict(base or {})
    for key, change in patch.items():
        place = int(key) if isinstance(base, list) else key
        result[place] = patched(result.get(place), change)
    return list(result.values()) if isinstance(base, list) else result


class IdleEngine:
    """An engine whose runs wait for ever: pages are tested without a cluster."""

    def __init__(self) -> None:
        self.submitted: list[tuple[TrainConfig, str]] = []
        self.states: dict[str, Status] = {}

    def submit(self, config: TrainConfig, corpus: object, **options: object) -> str:
        run = Run.create(config, corpus)  # type: ignore[arg-type]
        self.submitted.append((config, run.id))
        self.states[run.id] = Status("running")
        return run.id

    def keep(self, config: TrainConfig, corpus: Corpus, checkpoint: Checkpoint) -> str:
        run = Run.create(config, corpus)
        run.save_checkpoint(checkpoint)
        run.set_status(Status("finished"))
        return run.id

    def view(self, run_id: str) -> object:
        from rnnviz.engine.engine import View

        status = self.states.get(run_id) or Run.find(run_id).status()
        return View(status, status.state == "running", 1)

    viewers = 1
    full = False

    def has_room(self, visitor: str) -> bool:
        return not self.full

    def close(self) -> None:
        pass

    def workload(self) -> Workload:
        return Workload({"queued": 1, "running": 2}, {"tcp://127.0.0.1:1": Worker(2**28, 2**30, 3)}, "")

    def set_unattended(self, run_id: str, unattended: bool) -> None:
        pass

    def watch(self, run_id: str, viewer: str) -> None:
        pass

    def leave(self, viewer: str) -> None:
        pass

    def pause(self, run_id: str) -> None:
        self.states[run_id] = Status("paused")

    def resume(self, run_id: str, **options: object) -> None:
        self.states[run_id] = Status("running")

    def cancel(self, run_id: str) -> None:
        self.states[run_id] = Status("stopped")


def open_app(page: str, language: str = "en", **query: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    for name, value in {**query, "lang": language}.items():
        app.query_params[name] = value
    app.run()
    if page != "home":
        app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    return app


def linear_rgb(colour: str) -> np.ndarray:
    """Linear light (3,) of a colour such as #C8553D (WCAG 2, IEC 61966-2-1)."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2, from 1 to 21."""
    light, dark = sorted((float(TO_XYZ[1] @ linear_rgb(c)) for c in (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELab (3,) of linear RGB."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def read_scientific(text: str) -> tuple[float, int]:
    """Digits and exponent of a number such as 2.80 × 10⁻⁶; an exponent of 0 where none is written."""
    digits, _, exponent = text.replace(",", "").partition(" × 10")
    return float(digits), int(unicodedata.normalize("NFKC", exponent).replace("−", "-") or 0)


def read_quantity(text: str) -> float:
    """The number that `quantity` wrote."""
    digits, exponent = read_scientific(text)
    return digits * 10.0**exponent
