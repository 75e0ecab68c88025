"""Small runs, functions that wait for them, and a Dask client that a test controls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.engine import Engine
from rnnviz.engine.jobs import Job
from rnnviz.nn.training import train
from rnnviz.runs.folder import Run, State, Status
from rnnviz.runs.reports import Report, StepReport
from rnnviz.text.corpora import Corpus, generate_sums, split
from tests.helpers import SECONDS

ROOT = Path(__file__).resolve().parents[2]
CORPUS = split(generate_sums(1000), "sums", max_chars=400)
# An epoch has nine steps, of a millisecond or two each.
SHORT = TrainConfig(
    ModelConfig(hidden_size=8, implementation="torch", initialisation="uniform"),
    corpus="sums",
    batch_size=4,
    num_steps=10,
    epochs=10,
    optimizer="adam",
    learning_rate=0.01,
    clip=0.3,
    device="cpu",
    predict_every=5,
    predict_length=5,
)
LONG = replace(SHORT, epochs=100, predict_every=0)
ENDLESS = replace(SHORT, epochs=100_000, predict_every=0)


def job_of(engine: Engine, run_id: str) -> Job:
    job = engine._jobs.get(run_id)
    assert job is not None
    return job


def steps(run: Run) -> int:
    """The step that a run's reports have reached."""
    return max((r.step for r in run.reports() if isinstance(r, StepReport)), default=0)


def ended(engine: Engine, run: Run, state: State) -> Status:
    """The status of a run that has halted, on the page and in the folder."""
    status = engine.wait(run.id, SECONDS).status
    assert status.state == state
    assert run.status() == status
    return status


def submit(engine: Engine, config: TrainConfig, corpus: Corpus = CORPUS) -> Run:
    return Run.find(engine.submit(config, corpus))


@cache
def uninterrupted(config: TrainConfig) -> list[Report]:
    return list(train(config, CORPUS))


def cluster_of(pid: int) -> psutil.Process:
    """The embedded cluster that a process started."""
    (found,) = [child for child in psutil.Process(pid).children() if "rnnviz.engine.cluster" in child.cmdline()]
    return found


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, even if nobody has collected it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


PARENT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
from rnnviz.engine.chains import CUT_SECONDS
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.engine import Engine
from rnnviz.engine.settings import Settings
from rnnviz.text.corpora import Corpus
engine = Engine(Settings(workers=1))
config = TrainConfig(ModelConfig(hidden_size=4), batch_size=2, num_steps=4, epochs=100_000, device="cpu")
run_id = engine.submit(config, Corpus("text", "abcdabcdabcd" * 9, "abcd"))
while engine.view(run_id).status.state == "queued":
    time.sleep(0.05)
print(run_id, flush=True)
time.sleep(600)
"""


class Inline(Executor):
    """Runs everything at once, so that a failing example fails again, and remembers errors."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        try:
            function(*arguments, **more)
        except Exception as error:
            self.errors.append(error)
        return Future()
