"""A run being trained: the folder and the trainer together.

The command trains in its own process. The engine's workers call `advance` in short tasks and
keep the trainers between them; a trainer in memory is only a cache. Where it is missing, the
run goes on from its latest checkpoint and repeats, without reporting twice, the steps after it.
"""

from __future__ import annotations

import errno
import time
from collections import OrderedDict
from dataclasses import replace

import torch

from rnnviz import generation, probes
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import HostError, InputError
from rnnviz.model import LanguageModel
from rnnviz.reading import Reading
from rnnviz.recording import Generation, Trace
from rnnviz.reports import Report
from rnnviz.runs import LATEST, Progress, Run, Status, is_milestone
from rnnviz.text import Corpus, Vocabulary, default_probe
from rnnviz.training import Trainer

CHECKPOINT_SECONDS = 10.0
RECORDING_SECONDS = 0.5
MAX_LIVE = 8
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Execution:
    """A run and the trainer that stands where the run's reports end."""

    def __init__(self, run: Run, trainer: Trainer, emitted: int = 0) -> None:
        self.run, self.trainer = run, trainer
        self.probe = run.config.probe or default_probe(run.corpus)
        self._emitted = emitted  # reports that the trainer has produced since the first step
        self._written = run.count_reports()  # reports that stand in the file
        self._size = run.reports_size()
        self._checkpoint_at = self._recording_at = time.monotonic()

    @staticmethod
    def start(run: Run, trainer: Trainer) -> Execution:
        """Begin a new run: its first checkpoint and recording show the fresh weights."""
        execution = Execution(run, trainer)
        execution._keep()
        execution.save()
        return execution

    @staticmethod
    def resume(run: Run) -> Execution:
        """Go on from the latest checkpoint, or from the start where there is none yet."""
        trainer = Trainer(run.config, run.corpus)
        if not run.checkpoint_path().exists():
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
        except FileNotFoundError:
            return False

    def advance(self, target: int) -> list[Report]:
        """Train up to a step of the run and write down what happened; reports already written are not repeated."""
        fresh: list[Report] = []
        while self.trainer.step < target and not self.trainer.finished:
            reports = self.trainer.advance(1)
            fresh += reports[max(0, self._written - self._emitted) :]
            self._emitted += len(reports)
            if is_milestone(self.trainer.step) or self.trainer.finished:
                self._keep()
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
        return probes.trace(self.trainer.model, self.trainer.corpus.vocabulary, text)

    def _save_checkpoint(self) -> None:
        checkpoint = self.trainer.checkpoint()
        self.run.save_checkpoint(replace(checkpoint, meta={**checkpoint.meta, "reports": self._emitted}))
        self._checkpoint_at = time.monotonic()

    def _keep(self) -> None:
        """Keep this step's weights and recording, to look back at."""
        self.run.save_checkpoint(self.trainer.checkpoint().only_weights(), self.trainer.step)
        self.run.save_recording(self.trace(self.probe), self.trainer.step)


_live: OrderedDict[str, Execution] = OrderedDict()


def _open(folder: str) -> Execution:
    """The run's execution in this worker, brought back from its folder where it is missing or stale."""
    execution = _live.pop(folder, None)
    if execution is None or not execution.is_current:
        torch.set_num_threads(1)
        execution = Execution.resume(Run.open(folder))
    _live[folder] = execution
    while len(_live) > MAX_LIVE:
        _, oldest = _live.popitem(last=False)
        if oldest.is_current:
            oldest.save()
    return execution


def advance(folder: str, target: int) -> Progress:
    """One task of the engine: bring a run to a step. Doing it twice is doing it once."""
    began = time.perf_counter()
    run = Run(folder)
    if not run.folder.is_dir():
        Run.open(folder)  # says so
    try:
        with run.locked():
            lost = run.begin_attempt()
            execution = _open(folder)
            execution.advance(target)
    except OSError as error:
        _live.pop(folder, None)  # what it holds and what stands in the folder may differ now
        raise _told(error) from error
    except (MemoryError, RuntimeError) as error:
        _live.pop(folder, None)
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise InputError(
                "the worker's memory does not suffice; choose fewer hidden units, a smaller batch or fewer time steps"
            ) from error
        raise
    finally:
        run.end_attempts()
    trainer = execution.trainer
    failure = trainer.failure
    status = Status("failed", failure.message, failure.values) if failure else None
    return Progress(trainer.step, trainer.total_steps, time.perf_counter() - began, status, lost)


def _told(error: OSError) -> InputError:
    """What the disk refused, as something that a person can mend."""
    if error.errno in DISK_FULL:
        return HostError("the disk is full; free some space, then resume: {reason}", reason=error.strerror)
    return InputError("the run's folder cannot be used: {reason}", reason=error.strerror or error)


def pause(folder: str) -> None:
    """Write a checkpoint, so that the run goes on from here wherever it is resumed, and let go of it."""
    execution = _live.pop(folder, None)
    if execution is not None and execution.is_current:
        execution.save()


def _model(folder: str) -> tuple[LanguageModel, Vocabulary]:
    """A run's newest weights, from memory or else from its latest checkpoint; looking writes nothing."""
    execution = _live.get(folder)
    if execution is not None and execution.is_current:
        _live.move_to_end(folder)
        return execution.trainer.model, execution.trainer.corpus.vocabulary
    run = Run.open(folder)
    return load(run), run.corpus.vocabulary


def trace(folder: str, text: str) -> Trace:
    """The gates of a run's newest weights over a text."""
    return probes.trace(*_model(folder), text)


def read(folder: str, text: str) -> Reading:
    """A run's newest model reading a text: the recording, and the weights with which it was made."""
    model, vocabulary = _model(folder)
    weights = {name: value.detach().cpu().numpy().copy() for name, value in model.weights().items()}
    return Reading.of(probes.trace(model, vocabulary, text), weights, vocabulary)


def generate(folder: str, prefix: str, length: int, *, temperature: float, top_k: int | None, seed: int) -> Generation:
    """A continuation by a run's newest weights."""
    generator = torch.Generator().manual_seed(seed)
    return generation.generate(
        *_model(folder), prefix, length, temperature=temperature, top_k=top_k, generator=generator
    )


def dask_setup(worker: object) -> None:
    """Run by Dask as a worker starts: a first step of training, so that a visitor's first is not slow.

    Importing torch and using an optimiser for the first time takes seconds.
    """
    torch.set_num_threads(1)
    config = TrainConfig(ModelConfig(hidden_size=2, implementation="torch"), batch_size=1, num_steps=2, epochs=1)
    Trainer(config, Corpus("warm-up", "abcabc", "abc")).advance(1)


def load(run: Run, name: str | int = LATEST) -> LanguageModel:
    """A run's model at one of its checkpoints, to look at: nothing is written.

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
