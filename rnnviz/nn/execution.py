"""A run being trained: the folder and the trainer together.

The command trains in its own process. The engine's workers call `advance` in short tasks and
keep the trainers between them; a trainer in memory is only a cache. Where it is missing, the
run goes on from its latest checkpoint and repeats the steps after it without reporting them twice.
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray

from rnnviz.analysis import ranking
from rnnviz.analysis.ranking import Ranking
from rnnviz.analysis.reading import Reading, every_layer
from rnnviz.cells import short_names
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import HostError, InputError
from rnnviz.nn import generation, memory, tracing
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import BEST, DISK_FULL, LATEST, Progress, Run, Status, is_milestone
from rnnviz.runs.recording import Generation, Trace
from rnnviz.runs.reports import Checkpoint, EpochReport, Report, best_held_out, is_stored
from rnnviz.text.corpora import Corpus, Vocabulary, default_probe

CHECKPOINT_SECONDS = 10.0
RECORDING_SECONDS = 0.5
MAX_LIVE = 8


class Execution:
    """A run, and a trainer at the position where its reports end."""

    def __init__(self, run: Run, trainer: Trainer, emitted: int = 0) -> None:
        self.run, self.trainer = run, trainer
        self.probe = run.config.probe or default_probe(run.corpus)
        self._emitted = emitted  # reports that the trainer has produced since the first step
        self._written = run.count_reports()  # reports that are in the file
        self._size = run.reports_size()
        self._checkpoint_at = self._recording_at = time.monotonic()
        best = best_held_out(run.epochs(emitted))
        self._best = (best,) if best else ()
        self._best_weights: Checkpoint | None = None  # not yet in the folder

    @staticmethod
    def start(run: Run, trainer: Trainer) -> Execution:
        """Begin a new run: its first checkpoint and recording show the fresh weights."""
        execution = Execution(run, trainer)
        execution._save_milestone()
        execution.save()
        return execution

    @staticmethod
    def resume(run: Run) -> Execution:
        """Go on from the latest checkpoint that can be read, or from the start if there is none yet."""
        trainer = Trainer(run.config, run.corpus)
        if not run.can_go_on:
            return Execution.start(run, trainer)
        checkpoint = run.load_checkpoint()
        trainer.restore(checkpoint)
        told, there = int(checkpoint.meta["reports"]), run.count_reports()
        if there < told:
            reason = f"{there} of {told} are there"
            raise InputError("the run's reports are damaged: {reason}", reason=reason)
        return Execution(run, trainer, told)

    @property
    def is_current(self) -> bool:
        """Whether the run is still there, and nobody else has added to its reports since this trainer did."""
        try:
            return self.run.reports_size() == self._size
        except InputError:
            return False

    def advance(self, target: int, seconds: float = math.inf) -> list[Report]:
        """Train up to a step of the run and write its reports; those already written are not repeated.

        It returns earlier after so many seconds, even in the middle of an epoch's last reports.
        """
        fresh: list[Report] = []
        deadline = time.monotonic() + seconds
        while not (self.trainer.has_reached(target) or self.trainer.finished):
            step, reports = self.trainer.step, list(filter(is_stored, self.trainer.piece()))
            self._keep_best(reports)
            fresh += reports[max(0, self._written - self._emitted) :]
            self._emitted += len(reports)
            if (self.trainer.step > step and is_milestone(self.trainer.step)) or self.trainer.finished:
                self._save_milestone()
            if time.monotonic() > deadline:
                break
        self.run.append(fresh)
        self._written = max(self._written, self._emitted)
        self._size = self.run.reports_size()
        now = time.monotonic()
        if self.trainer.finished:
            self.save()
        elif now - self._checkpoint_at > CHECKPOINT_SECONDS:
            self._save_checkpoint()
        if self.trainer.finished or now - self._recording_at > RECORDING_SECONDS:
            self.record()
        return fresh

    def save(self) -> None:
        """Write the latest checkpoint and recording."""
        self._save_checkpoint()
        self.record()

    def record(self) -> None:
        self.run.save_recording(self.trace(self.probe))
        self._recording_at = time.monotonic()

    def trace(self, text: str) -> Trace:
        return tracing.trace(self.trainer.model, self.trainer.corpus.vocabulary, text)

    def _keep_best(self, reports: list[Report]) -> None:
        """Keep the weights if these reports tell of a lower held-out perplexity than all before."""
        for report in () if self.trainer.failure else reports:  # after a failure they are those of another epoch
            if isinstance(report, EpochReport) and best_held_out((*self._best, report)) is report:
                self._best, self._best_weights = (report,), self.trainer.checkpoint().only_weights()

    def _save_checkpoint(self) -> None:
        if self._best_weights:  # before the latest, so that no run goes on from a step after a best epoch that is lost
            self.run.save_checkpoint(self._best_weights, BEST)
            self._best_weights = None
        checkpoint = self.trainer.checkpoint()
        self.run.save_checkpoint(replace(checkpoint, meta={**checkpoint.meta, "reports": self._emitted}))
        self._checkpoint_at = time.monotonic()

    def _save_milestone(self) -> None:
        """Save this step's weights and recording for later inspection."""
        self.run.save_checkpoint(self.trainer.checkpoint().only_weights(), self.trainer.step)
        self.run.save_recording(self.trace(self.probe), self.trainer.step)


_live: OrderedDict[str, Execution] = OrderedDict()


def use_one_thread() -> None:
    """Have torch compute in one thread."""
    torch.set_num_threads(1)


@contextmanager
def in_one_thread() -> Iterator[None]:
    """The same for a while, unless OMP_NUM_THREADS is set, which torch has read."""
    before = torch.get_num_threads()
    if not os.environ.get("OMP_NUM_THREADS"):
        use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _open(folder: str) -> Execution:
    """The run's execution in this worker, restored from its folder if it is missing or stale."""
    execution = _live.pop(folder, None)
    if execution is None or not execution.is_current:
        use_one_thread()
        execution = Execution.resume(Run.open(folder))
    _live[folder] = execution
    while len(_live) > MAX_LIVE:
        _, oldest = _live.popitem(last=False)
        if oldest.is_current:
            oldest.save()
    return execution


def advance(folder: str, target: int, seconds: float = math.inf) -> Progress:
    """A task of the engine: train a run up to a step, for so many seconds at most. Doing it twice changes nothing."""
    began = time.perf_counter()
    run = Run(folder)
    if not run.folder.is_dir():
        Run.open(folder)  # says that the folder is gone
    try:
        with run.attempt() as lost:
            execution = _open(folder)
            execution.advance(target, seconds)
    except OSError as error:
        _live.pop(folder, None)  # its state and the folder may differ now
        raise _told(error) from error
    except (MemoryError, RuntimeError) as error:
        _live.pop(folder, None)
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise InputError(
                "the worker's memory does not suffice; choose fewer hidden units, a smaller batch or fewer time steps"
            ) from error
        raise
    trainer = execution.trainer
    failure = trainer.failure
    status = Status("failed", failure.message, failure.values) if failure else None
    took = time.perf_counter() - began
    return Progress(trainer.step, took, trainer.finished, trainer.seconds, status, lost)


def _told(error: OSError) -> InputError:
    """An error of the disk as an error that a person can act on."""
    if error.errno in DISK_FULL:
        return HostError("the disk is full; free some space, then resume: {reason}", reason=error.strerror)
    return InputError("the run's folder cannot be used: {reason}", reason=error.strerror or error)


def pause(folder: str) -> None:
    """Write a checkpoint, from which the run can be resumed anywhere, and drop it from memory."""
    execution = _live.pop(folder, None)
    if execution is not None and execution.is_current:
        execution.save()


def _model(folder: str, name: str = LATEST) -> tuple[LanguageModel, Vocabulary]:
    """A run's newest weights, from memory or from its latest checkpoint, or those of another; nothing is written."""
    execution = _live.get(folder)
    if name == LATEST and execution is not None and execution.is_current:
        _live.move_to_end(folder)
        return execution.trainer.model, execution.trainer.corpus.vocabulary
    run = Run.open(folder)
    memory.require(memory.of_reading(run.config.model, len(run.corpus.vocabulary), 1))
    return load_model(run, name), run.corpus.vocabulary


def trace(folder: str, text: str) -> Trace:
    """The gates of a run's newest weights over a text."""
    model, vocabulary = _model(folder)
    memory.require(memory.of_reading(model.config, len(vocabulary), len(text)))
    return tracing.trace(model, vocabulary, text)


def read(folder: str, text: str, layer: int = 1, checkpoint: str = LATEST, direction: str = "forward") -> Reading:
    """A run's newest model, or that of another checkpoint, reading a text: the recording, and the weights it is of."""
    return Reading.of(*_read(folder, text, checkpoint), layer, direction)


def read_layers(folder: str, text: str) -> tuple[Reading, ...]:
    """The same for every layer, the lowest first."""
    return every_layer(*_read(folder, text))


def _read(folder: str, text: str, checkpoint: str = LATEST) -> tuple[Trace, dict[str, NDArray[Any]], Vocabulary]:
    model, vocabulary = _model(folder, checkpoint)
    memory.require(memory.of_reading(model.config, len(vocabulary), len(text)))
    weights = {name: value.detach().cpu().numpy().copy() for name, value in model.weights().items()}
    return tracing.trace(model, vocabulary, text), weights, vocabulary


def rank(folder: str, text: str, feature: str, expression: str = "") -> Ranking:
    """All units of a run's newest model by how well they follow a feature of a text, as `ranking.find` names it."""
    ranking.check_length(len(text))
    marks = ranking.find(feature, text, expression)
    signals = trace(folder, text).signals
    return ranking.rank(text, marks, dict(zip(short_names(signals), signals.values(), strict=True)))


def generate(
    folder: str,
    prefix: str,
    length: int,
    *,
    temperature: float,
    top_k: int | None,
    seed: int,
    checkpoint: str = LATEST,
) -> Generation:
    """A continuation written with a run's newest weights, or with those of another checkpoint, as BEST."""
    generator = torch.Generator().manual_seed(seed)
    return generation.generate(
        *_model(folder, checkpoint), prefix, length, temperature=temperature, top_k=top_k, generator=generator
    )


def dask_setup(worker: Any) -> None:
    """Called by Dask when a worker starts: train one step, so that a visitor's first step is not slow.

    Importing torch and using an optimiser for the first time takes seconds.
    """
    memory.set_limit(worker.memory_manager.memory_limit)
    use_one_thread()
    config = TrainConfig(ModelConfig(hidden_size=2, implementation="torch"), batch_size=1, num_steps=2, epochs=1)
    Trainer(config, Corpus("warm-up", "abcabc", "abc")).advance(1)


def load_model(run: Run, name: str | int = LATEST) -> LanguageModel:
    """A run's model at one of its checkpoints, for looking at it: nothing is written.

    Raises InputError where the run has no such checkpoint or a damaged one.
    """
    steps = run.checkpoint_steps()
    if name == LATEST and not run.checkpoint_path().exists() and steps:
        name = steps[-1]
    weights = run.load_checkpoint(name).weights()
    model = LanguageModel(run.config.model, len(run.corpus.vocabulary))
    try:
        model.load_weights({key: torch.from_numpy(value) for key, value in weights.items()})
    except (KeyError, RuntimeError) as error:
        raise InputError("the checkpoint does not fit this configuration: {reason}", reason=error) from error
    return model
