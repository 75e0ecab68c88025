"""Training into a folder: whatever happens in between, the folder ends as if nothing had happened."""

from __future__ import annotations

import math
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn import execution, tracing
from rnnviz.nn.execution import Execution, load_model
from rnnviz.nn.generation import predict
from rnnviz.nn.training import Trainer, train
from rnnviz.runs.folder import BEST, LATEST, Run, Status, is_milestone
from rnnviz.runs.reports import EpochReport, FailureReport, Report, StepReport, best_held_out, is_stored
from rnnviz.text.corpora import Corpus

_RNG = random.Random(0)  # noqa: S311  a fixed sample, not a secret
CORPUS = Corpus("test", "".join(_RNG.choice("abcdef") for _ in range(43)), "abxcfyedcba")
# An epoch has four steps, the run twenty.
CONFIG = TrainConfig(
    ModelConfig(hidden_size=4, initialisation="uniform"),
    batch_size=2,
    num_steps=5,
    epochs=5,
    learning_rate=0.5,
    clip=0.2,
    device="cpu",
    prefixes=("ab",),
    predict_every=2,
    predict_length=6,
    probe="abcd",
)
STEPS = 20
LSTM = ModelConfig(cell="lstm", hidden_size=4, num_layers=2, initialisation="uniform", implementation="torch")
KINDS = {
    "sequential-sgd": CONFIG,
    "random-sgd-scratch": replace(CONFIG, sampling="random", model=replace(CONFIG.model, implementation="scratch")),
    "sequential-adam": replace(CONFIG, optimizer="adam", learning_rate=0.01),
    "random-adam-lstm": replace(CONFIG, model=LSTM, sampling="random", optimizer="adam", learning_rate=0.01),
}
Weights = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _own_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts as a fresh worker with its own home folder."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # there is no power cut here, but hundreds of files
    execution._live.clear()
    yield
    execution._live.clear()


@cache
def uninterrupted(config: TrainConfig, corpus: Corpus = CORPUS) -> tuple[list[Report], Weights]:
    """The reports and the final weights of an uninterrupted run."""
    trainer = Trainer(config, corpus)
    return trainer.advance(10**6), weights_of(trainer)


def weights_of(trainer: Trainer) -> Weights:
    return {name: value.detach().clone() for name, value in trainer.model.weights().items()}


def start(config: TrainConfig = CONFIG, corpus: Corpus = CORPUS) -> Execution:
    run = Run.create(config, corpus)
    return Execution.start(run, Trainer(config, corpus))


def reopen(run: Run) -> Execution:
    """Open a run as another process would, which knows only the folder."""
    return Execution.resume(Run.open(run.folder))


def queued(config: TrainConfig = CONFIG) -> str:
    """The folder of a run that no worker has touched yet."""
    return str(Run.create(config, CORPUS).folder)


def as_another_worker() -> None:
    """Forget the trainers in memory, like a worker that was replaced."""
    execution._live.clear()


def files(folder: Path | str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def assert_as_uninterrupted(run: Run, config: TrainConfig, corpus: Corpus = CORPUS) -> None:
    """Compare all reports, and the weights of the latest checkpoint, bit for bit."""
    reports, weights = uninterrupted(config, corpus)
    assert run.reports() == reports
    saved = run.load_checkpoint().weights()
    assert saved.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(saved[name], value.numpy(), err_msg=name)


# Resuming


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("saved", [True, False], ids=["checkpoint", "crash"])
@pytest.mark.parametrize("cut", [4, 7])
def test_a_resumed_run_equals_an_uninterrupted_one(kind: str, saved: bool, cut: int) -> None:
    """It is cut inside an epoch and at its end, and resumed from a checkpoint of that step or from the first one."""
    config = KINDS[kind]
    first = start(config)
    first.advance(cut)
    if saved:
        first.save()
    second = reopen(first.run)
    assert second.trainer.step == (cut if saved else 0)
    second.advance(STEPS)
    assert_as_uninterrupted(first.run, config)


def test_a_run_may_be_interrupted_again_and_again() -> None:
    """It is interrupted at every single step, with and without a checkpoint in turn."""
    run = start().run
    for target in range(1, STEPS + 1):
        current = reopen(run)
        current.advance(target)
        if target % 3 == 0:
            current.save()
    assert_as_uninterrupted(run, CONFIG)


def test_steps_after_an_older_checkpoint_are_repeated_but_not_reported_again() -> None:
    """Steps already in the file are trained again, but their reports are not written again."""
    first = start()
    first.advance(3)
    first.save()
    first.advance(9)
    told = first.run.reports()
    second = reopen(first.run)
    assert second.trainer.step == 3
    assert second.advance(9) == []
    assert second.run.reports() == told
    fresh = second.advance(12)
    assert told + fresh == second.run.reports() == uninterrupted(CONFIG)[0][: len(told) + len(fresh)]


@pytest.mark.parametrize("lost", [1, 40])
def test_a_report_that_a_crash_cut_short_is_written_again(lost: int) -> None:
    """The unfinished line is removed, and the reports are those of a run without a crash."""
    first = start()
    first.advance(9)
    path = first.run.folder / "reports.jsonl"
    path.write_bytes(path.read_bytes()[:-lost])
    reopen(first.run).advance(STEPS)
    assert_as_uninterrupted(first.run, CONFIG)


@pytest.mark.parametrize("pace", [1, 3, 7, 100])
def test_the_length_of_tasks_changes_nothing(pace: int) -> None:
    """However a run is cut into tasks, its reports, milestones and weights are the same."""
    current = start()
    returned = []
    while not current.trainer.finished:
        returned += current.advance(current.trainer.step + pace)
    assert returned == uninterrupted(CONFIG)[0]
    assert_as_uninterrupted(current.run, CONFIG)
    assert current.run.checkpoint_steps() == [0, 1, 2, 3, 4, 6, 8, 12, 18, 20]


def test_the_folder_agrees_with_the_plain_library() -> None:
    """`rnnviz.train` in a notebook gives the reports that a run's folder holds."""
    current = start()
    current.advance(STEPS)
    assert current.run.reports() == list(train(CONFIG, CORPUS))


def test_a_finished_run_stays_unchanged() -> None:
    """Resuming it trains nothing and adds nothing to its reports."""
    first = start()
    first.advance(STEPS)
    second = reopen(first.run)
    assert second.trainer.finished
    assert second.advance(STEPS + 5) == []
    assert_as_uninterrupted(first.run, CONFIG)


def test_a_run_whose_latest_checkpoint_is_missing_goes_on_from_the_one_before() -> None:
    """It does not start again: the steps before are neither repeated nor reported twice."""
    first = start()
    first.advance(7)
    first.save()
    first.advance(11)
    first.save()
    first.run.checkpoint_path().unlink()
    second = reopen(first.run)
    assert second.trainer.step == 7
    second.advance(STEPS)
    assert_as_uninterrupted(first.run, CONFIG)


def test_a_checkpoint_of_another_model_is_refused() -> None:
    """Its arrays do not fit, and the error says so."""
    first, other = start(), start(replace(CONFIG, model=ModelConfig(hidden_size=5)))
    shutil.copy(other.run.checkpoint_path(), first.run.checkpoint_path())
    with pytest.raises(InputError, match="does not fit this configuration"):
        reopen(first.run)


def test_a_run_cannot_be_resumed_from_a_milestone() -> None:
    """It has only weights; in the place of the latest checkpoint it is refused, not half restored."""
    first = start()
    first.advance(8)
    shutil.copy(first.run.checkpoint_path(4), first.run.checkpoint_path())
    with pytest.raises(InputError, match="does not fit this configuration"):
        reopen(first.run)


# Tasks of a worker


def test_the_first_task_starts_the_run() -> None:
    """A folder without a checkpoint begins at step 0, and its fresh weights are kept."""
    folder = queued()
    progress = execution.advance(folder, 1)
    assert (progress.step, progress.finished, progress.failure) == (1, False, None)
    assert progress.seconds > 0
    run = Run.open(folder)
    assert run.checkpoint_steps() == [0, 1]
    fresh = Trainer(CONFIG, CORPUS).model.weights()
    np.testing.assert_array_equal(run.load_checkpoint(0).weights()["W_hq"], fresh["W_hq"].detach().numpy())


@pytest.mark.parametrize("lost", [False, True], ids=["in memory", "from the folder"])
def test_doing_a_task_twice_has_the_same_effect_as_once(lost: bool) -> None:
    """Dask may run a task again; the second time changes no report and ends at the same step."""
    folder = queued()
    first = execution.advance(folder, 5)
    reports = Run.open(folder).reports()
    if lost:
        as_another_worker()
    second = execution.advance(folder, 5)
    assert (first.step, second.step) == (5, 5)
    assert Run.open(folder).reports() == reports
    execution.advance(folder, 3)  # an older task that comes late
    assert Run.open(folder).reports() == reports
    execution.advance(folder, STEPS)
    assert_as_uninterrupted(Run.open(folder), CONFIG)


def test_a_task_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after any part, even within an epoch's end, and the next task goes on; a crash repeats no report."""
    config = replace(CONFIG, prefixes=("ab", "cd"), predict_every=1, predict_length=100)
    folder, tasks = queued(config), 0
    while not (progress := execution.advance(folder, STEPS, seconds=0.0)).finished:
        tasks += 1
        if tasks % 10 == 0:
            execution.pause(folder)
        if tasks % 23 == 0:
            as_another_worker()
        assert tasks < 1000
    assert tasks > STEPS + 5 * 2 * 5
    assert_as_uninterrupted(Run(folder), config)
    assert progress.trained > 0


def test_a_long_run_reports_ever_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds however it is resumed, and all other reports are kept."""
    monkeypatch.setattr("rnnviz.runs.reports._ALL_STEPS", 4)
    expected = [report for report in uninterrupted(CONFIG)[0] if is_stored(report)]
    told = [report.step for report in expected if isinstance(report, StepReport)]
    assert told == [1, 2, 3, 4, 6, 8, 12, 16]
    folder = queued()
    for target in range(1, STEPS + 1):
        execution.advance(folder, target)
        as_another_worker()
    assert Run(folder).reports() == expected


def test_a_stale_trainer_is_replaced() -> None:
    """If another worker went on with the run, the folder counts, and nothing is reported twice."""
    folder = queued()
    execution.advance(folder, 3)
    other = reopen(Run.open(folder))
    other.advance(9)
    other.save()
    assert execution.advance(folder, 4).step == 9
    assert execution.advance(folder, STEPS).finished
    assert_as_uninterrupted(Run.open(folder), CONFIG)


def test_a_trainer_in_memory_is_used_again() -> None:
    """The next task of a run does not read the folder again."""
    folder = queued()
    execution.advance(folder, 3)
    Run.open(folder).checkpoint_path().write_bytes(b"never read")
    assert execution.advance(folder, 6).step == 6


def test_a_worker_keeps_few_runs_and_saves_those_it_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """It drops the one that was idle longest, with a checkpoint and a recording of its last step."""
    monkeypatch.setattr(execution, "MAX_LIVE", 1)
    first, second = queued(), queued(replace(CONFIG, seed=1))
    execution.advance(first, 3)
    assert Run.open(first).load_checkpoint().meta["step"] == 0
    execution.advance(second, 2)
    assert list(execution._live) == [second]
    checkpoint = Run.open(first).load_checkpoint()
    assert (checkpoint.meta["step"], checkpoint.meta["reports"]) == (3, 3)
    for target in range(4, STEPS + 1):
        execution.advance(first, target)
        execution.advance(second, target)
    for folder, seed in ((first, 0), (second, 1)):
        assert_as_uninterrupted(Run.open(folder), replace(CONFIG, seed=seed))


def test_the_run_that_was_idle_longest_is_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is in use stays in memory, whatever its age."""
    monkeypatch.setattr(execution, "MAX_LIVE", 2)
    a, b, c = (queued(replace(CONFIG, seed=seed)) for seed in range(3))
    execution.advance(a, 1)
    execution.advance(b, 1)
    execution.trace(a, "abc")
    execution.advance(c, 1)
    assert list(execution._live) == [a, c]


def test_dropping_a_stale_trainer_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The finished run's weights are not replaced by older ones that a worker still had in memory."""
    monkeypatch.setattr(execution, "MAX_LIVE", 1)
    folder = queued()
    execution.advance(folder, 3)
    other = reopen(Run.open(folder))
    other.advance(STEPS)
    before = files(folder)
    execution.advance(queued(replace(CONFIG, seed=1)), 1)
    assert files(folder) == before


def test_a_run_whose_folder_is_gone_does_not_disturb_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder was deleted; dropping it must not fail the task of the run that takes its place."""
    monkeypatch.setattr(execution, "MAX_LIVE", 1)
    gone = queued()
    execution.advance(gone, 3)
    shutil.rmtree(gone)
    other = queued(replace(CONFIG, seed=1))
    assert execution.advance(other, 2).step == 2
    assert list(execution._live) == [other]


def test_a_run_whose_folder_is_gone_is_reported() -> None:
    """Continuing it raises an InputError, whether or not it is in memory."""
    folder = queued()
    execution.advance(folder, 3)
    shutil.rmtree(folder)
    for _ in range(2):
        with pytest.raises(InputError, match="not the folder of a run"):
            execution.advance(folder, 4)


def test_a_pause_keeps_what_the_run_has_reached() -> None:
    """The checkpoint belongs to the last step, and the worker drops the run."""
    folder = queued()
    execution.advance(folder, 7)
    execution.pause(folder)
    assert list(execution._live) == []
    assert Run.open(folder).load_checkpoint().meta["step"] == 7
    assert execution.advance(folder, STEPS).finished
    assert_as_uninterrupted(Run.open(folder), CONFIG)


def test_pausing_on_a_worker_without_the_current_run_writes_nothing() -> None:
    """The worker never had the run, or its trainer is stale."""
    folder = queued()
    execution.advance(folder, 3)
    other = reopen(Run.open(folder))
    other.advance(9)
    other.save()
    before = files(folder)
    execution.pause(folder)
    execution.pause(folder)
    assert files(folder) == before


def test_a_worker_trains_on_one_thread() -> None:
    """Workers share the cores among runs, not a run among the cores."""
    torch.set_num_threads(2)
    try:
        execution.advance(queued(), 1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_a_worker_warms_up_without_a_folder(tmp_path: Path) -> None:
    """The training step with which a worker starts leaves nothing behind."""
    execution.dask_setup(SimpleNamespace(memory_manager=SimpleNamespace(memory_limit=None)))
    assert not (tmp_path / "home").exists()
    assert not execution._live


# Calls to a run


def test_a_trace_uses_the_newest_weights() -> None:
    """It equals the library's recording on a model of that step, and nothing is written."""
    folder = queued()
    execution.advance(folder, 6)
    before = files(folder)
    recorded = execution.trace(folder, "abc?")
    trainer = Trainer(CONFIG, CORPUS)
    trainer.advance(6)
    expected = tracing.trace(trainer.model, CORPUS.vocabulary, "abc?")
    assert recorded.text == "abc?"
    assert recorded.signals.keys() == expected.signals.keys()
    for name, values in expected.signals.items():
        np.testing.assert_array_equal(recorded.signals[name], values)
    assert files(folder) == before


def test_a_continuation_depends_only_on_the_seed() -> None:
    """One seed gives the same text twice, another seed another text, and temperature 0 the greedy prediction."""
    folder = queued()
    execution.advance(folder, 6)
    asked: dict[str, Any] = {"prefix": "ab", "length": 40, "top_k": None}
    first = execution.generate(folder, **asked, temperature=1.0, seed=3)
    assert execution.generate(folder, **asked, temperature=1.0, seed=3).text == first.text
    assert execution.generate(folder, **asked, temperature=1.0, seed=4).text != first.text
    greedy = execution.generate(folder, **asked, temperature=0.0, seed=3).text
    assert greedy == predict(execution._live[folder].trainer.model, CORPUS.vocabulary, "ab", 40)


def test_calls_to_a_run_do_not_change_its_course() -> None:
    """Between two tasks, a recording and a continuation do not touch the random numbers of training."""
    config = KINDS["random-adam-lstm"]
    folder = queued(config)
    for target in range(1, STEPS + 1):
        execution.advance(folder, target)
        execution.trace(folder, "abc")
        execution.generate(folder, "ab", 5, temperature=1.0, top_k=2, seed=target)
    assert_as_uninterrupted(Run.open(folder), config)


def test_an_empty_prefix_is_refused() -> None:
    """The library's error is raised."""
    folder = queued()
    execution.advance(folder, 1)
    with pytest.raises(InputError, match="the prefix is empty"):
        execution.generate(folder, "", 5, temperature=1.0, top_k=None, seed=0)


def test_looking_at_a_run_writes_nothing() -> None:
    """A worker that does not own the run answers from its checkpoint and leaves every file as it was."""
    folder = queued()
    execution.advance(folder, 3)
    execution.pause(folder)
    before = files(folder)
    execution.generate(folder, "a", 3, temperature=0, top_k=None, seed=0)
    execution.trace(folder, "ab")
    assert files(folder) == before
    assert list(execution._live) == []


# Checkpoints and recordings


def test_the_last_step_is_kept_even_if_it_is_no_milestone() -> None:
    """So a slider through training ends where training did."""
    assert not is_milestone(STEPS)
    current = start()
    current.advance(STEPS)
    assert current.run.checkpoint_steps()[-1] == current.run.recording_steps()[-1] == STEPS
    last, latest = current.run.load_checkpoint(STEPS).weights(), current.run.load_checkpoint().weights()
    for name, values in latest.items():
        np.testing.assert_array_equal(last[name], values)
    kept, newest = current.run.recording(STEPS), current.run.recording()
    assert kept is not None
    assert newest is not None
    assert kept.to_bytes() == newest.to_bytes()


def test_milestones_hold_only_the_weights_of_their_steps() -> None:
    """They have no optimiser and no carried state, since they serve only for looking at the model."""
    config = KINDS["sequential-adam"]
    current = start(config)
    current.advance(STEPS)
    trainer = Trainer(config, CORPUS)
    for step in current.run.checkpoint_steps():
        trainer.advance(step - trainer.step)
        kept = current.run.load_checkpoint(step)
        assert kept.meta["step"] == step
        assert all(name.startswith("weights.") for name in kept.arrays)
        for name, value in weights_of(trainer).items():
            np.testing.assert_array_equal(kept.weights()[name], value.numpy())
        recording = current.run.recording(step)
        assert recording is not None
        expected = tracing.trace(trainer.model, CORPUS.vocabulary, current.probe)
        np.testing.assert_array_equal(recording.signal("Z"), expected.signal("Z"))
    assert any(name.startswith("optimizer.") for name in current.run.load_checkpoint().arrays)


# The best held-out epoch

OVERFITTING = replace(
    CONFIG.with_settings({"hidden_size": 12, "optimizer": "adam", "learning_rate": 0.01, "clip": 1.0}), epochs=9
)


@cache
def best_of_uninterrupted() -> tuple[EpochReport, Weights]:
    """The best held-out epoch of an uninterrupted run, and the weights at its end."""
    trainer = Trainer(OVERFITTING, CORPUS)
    kept: dict[int, Weights] = {}
    for epoch in range(1, OVERFITTING.epochs + 1):
        while not trainer.has_reached(epoch * trainer.steps_per_epoch):
            trainer.piece()
        kept[epoch] = weights_of(trainer)
    reports = uninterrupted(OVERFITTING)[0]
    best = best_held_out(report for report in reports if isinstance(report, EpochReport))
    assert best is not None
    assert 1 < best.epoch < OVERFITTING.epochs
    return best, kept[best.epoch]


@pytest.mark.parametrize("halts", [(), (3,), (9,), (13, 14), tuple(range(2, 36, 3))], ids=str)
@pytest.mark.parametrize("lost", [0, 1, 5], ids="{} steps lost".format)
def test_the_best_held_out_epoch_is_kept(halts: tuple[int, ...], lost: int) -> None:
    """One checkpoint with the weights alone, the same however often the run is halted or dies and goes on."""
    best, weights = best_of_uninterrupted()
    training = start(OVERFITTING)
    for halt in halts:
        training.advance(max(halt - lost, 0))
        training.save()
        training.advance(halt)  # and the process dies: what came after the last save is in the reports alone
        training = reopen(training.run)
    training.advance(10**6)
    saved = training.run.load_checkpoint(BEST)
    assert saved.meta["step"] == best.step
    assert all(name.startswith("weights.") for name in saved.arrays)
    for name, value in weights.items():
        np.testing.assert_array_equal(saved.weights()[name], value.numpy(), err_msg=name)
    assert training.run.has_best
    assert best.step not in training.run.checkpoint_steps() or is_milestone(best.step)
    model = load_model(training.run, BEST)
    vocabulary = training.run.corpus.vocabulary
    assert greedy(training.run, BEST) == predict(model, vocabulary, "ab", 20)


def greedy(run: Run, checkpoint: str) -> str:
    """What a worker writes with a checkpoint of a run."""
    options: dict[str, Any] = {"temperature": 0, "top_k": None, "seed": 0, "checkpoint": checkpoint}
    return execution.generate(str(run.folder), "ab", 20, **options).text


def test_a_run_of_an_earlier_version_keeps_only_a_best_that_is_better() -> None:
    """Where its best epoch was not kept, a worse one that comes later does not take its place."""
    best, _weights = best_of_uninterrupted()
    training = start(OVERFITTING)
    training.advance(best.step)
    training.save()
    training.run.checkpoint_path(BEST).unlink()
    training = reopen(training.run)
    training.advance(10**6)
    assert not training.run.has_best
    with pytest.raises(InputError, match="the run has no checkpoint best"):
        load_model(training.run, BEST)


def test_without_held_out_text_there_is_no_best_epoch() -> None:
    """Nothing is kept, and nothing is offered."""
    training = start(CONFIG, replace(CORPUS, held_out=""))
    training.advance(10**6)
    assert not training.run.has_best


@pytest.mark.parametrize(("probe", "text"), [("", CORPUS.training), ("fed?", "fed?")])
def test_gates_are_recorded_over_the_probe_text(probe: str, text: str) -> None:
    """It is the one in the configuration, or the beginning of the corpus."""
    recording = start(replace(CONFIG, probe=probe)).run.recording()
    assert recording is not None
    assert recording.text == text[:48]


@pytest.mark.parametrize("seconds", [0.0, math.inf])
def test_checkpoints_and_recordings_follow_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Between milestones, they are as old as the two constants allow, and no newer than the end of a task."""
    monkeypatch.setattr(execution, "CHECKPOINT_SECONDS", seconds)
    monkeypatch.setattr(execution, "RECORDING_SECONDS", seconds)
    current = start()
    current.advance(5)
    assert current.run.load_checkpoint().meta["step"] == (5 if seconds == 0 else 0)
    recording = current.run.recording()
    assert recording is not None
    newest = current.trace(current.probe).to_bytes()
    assert (recording.to_bytes() == newest) is (seconds == 0)
    current.advance(STEPS)
    assert current.run.load_checkpoint().meta["step"] == STEPS


# Diverging


def diverging(seed: int) -> TrainConfig:
    model = ModelConfig(cell="rnn", activation="relu", hidden_size=8, initialisation="uniform")
    return replace(CONFIG, model=model, num_steps=10, epochs=30, learning_rate=200.0, clip=5.0, seed=seed)


LONGER = Corpus("test", "".join(_RNG.choice("abcdef") for _ in range(92)), "abxcf")


@cache
def late_divergence() -> tuple[TrainConfig, FailureReport]:
    """A configuration that diverges after some epochs and at least two steps into the next."""
    for seed in range(60):
        failure = uninterrupted(diverging(seed), LONGER)[0][-1]
        if isinstance(failure, FailureReport) and failure.epoch > 1 and failure.step % 4 >= 2:
            return diverging(seed), failure
    raise AssertionError("no seed diverges late")


@pytest.mark.parametrize("lost", [False, True], ids=["in memory", "from the folder"])
def test_a_failure_is_reported_once(lost: bool) -> None:
    """Whatever is asked of the run afterwards, its last report is that one failure."""
    config, failure = late_divergence()
    folder = str(Run.create(config, LONGER).folder)
    for target in (failure.step, 1000, 1000, 2000):
        progress = execution.advance(folder, target)
        if lost:
            as_another_worker()
    assert progress.finished
    assert progress.failure == Status("failed", failure.message, failure.values)
    reports = Run.open(folder).reports()
    assert [r for r in reports if isinstance(r, FailureReport)] == [reports[-1]] == [failure]
    assert_as_uninterrupted(Run.open(folder), config, LONGER)


def test_a_failure_after_a_crash_is_reported_once() -> None:
    """The checkpoint that knew of the failure was lost; the run fails again without another report."""
    config, failure = late_divergence()
    first = start(config, LONGER)
    before = first.run.checkpoint_path().read_bytes()
    first.advance(1000)
    first.run.checkpoint_path().write_bytes(before)
    second = reopen(first.run)
    assert second.advance(1000) == []
    assert second.trainer.failure == failure
    assert_as_uninterrupted(first.run, config, LONGER)


def test_a_failed_run_keeps_finite_weights() -> None:
    """They are in the latest checkpoint, in the milestone of the last step, and in a model loaded from them."""
    config, failure = late_divergence()
    first = start(config, LONGER)
    first.advance(1000)
    for name in (LATEST, failure.step):
        assert all(np.isfinite(values).all() for values in first.run.load_checkpoint(name).weights().values())
        assert all(bool(value.isfinite().all()) for value in load_model(first.run, name).weights().values())
    recording = first.run.recording()
    assert recording is not None
    assert all(np.isfinite(values).all() for values in recording.signals.values())


@pytest.mark.parametrize("back", [0, 1, 2, 3, 5])
def test_a_run_that_diverges_after_a_resume_keeps_the_same_weights(back: int) -> None:
    """They are those from the end of the last whole epoch, even if the run was resumed inside an epoch."""
    config, failure = late_divergence()
    first = start(config, LONGER)
    first.advance(failure.step - back)
    first.save()
    reopen(first.run).advance(1000)
    assert_as_uninterrupted(first.run, config, LONGER)


# Loading a model


def test_a_model_can_be_loaded_at_any_kept_step() -> None:
    """It is the latest by default, or the milestone of a step; nothing is written."""
    current = start()
    current.advance(9)
    current.save()
    before = files(current.run.folder)
    run = Run.open(current.run.folder)
    trainer = Trainer(CONFIG, CORPUS)
    for name, step in ((0, 0), (6, 6), (8, 8), (LATEST, 9)):
        trainer.advance(step - trainer.step)
        loaded = load_model(run, name).weights()
        for key, value in weights_of(trainer).items():
            assert torch.equal(loaded[key], value), (name, key)
    assert files(current.run.folder) == before


def test_without_the_latest_checkpoint_the_last_milestone_is_loaded() -> None:
    """A run that was shipped without the optimiser's memory can still be looked at."""
    current = start()
    current.advance(13)
    current.run.checkpoint_path().unlink()
    loaded = load_model(current.run).weights()
    for key, values in current.run.load_checkpoint(12).weights().items():
        np.testing.assert_array_equal(loaded[key].detach().numpy(), values)


@pytest.mark.parametrize("kind", ["no checkpoint", "no folder of checkpoints"])
def test_a_run_without_any_checkpoint_is_reported(kind: str) -> None:
    """It raises an InputError, even if the empty folder was lost on the way, as happens in git."""
    run = Run.create(CONFIG, CORPUS)
    if kind == "no folder of checkpoints":
        (run.folder / "checkpoints").rmdir()
    with pytest.raises(InputError, match="no checkpoint latest"):
        load_model(run)


def test_a_step_that_was_not_kept_is_reported() -> None:
    """The message gives its number."""
    with pytest.raises(InputError, match="no checkpoint 5"):
        load_model(start().run, 5)


def test_a_model_of_another_shape_is_not_loaded() -> None:
    """A checkpoint of another configuration is also refused when a model is only looked at."""
    first, other = start(), start(replace(CONFIG, model=ModelConfig(hidden_size=5)))
    shutil.copy(other.run.checkpoint_path(), first.run.checkpoint_path())
    with pytest.raises(InputError, match="does not fit this configuration"):
        load_model(first.run)


def test_every_step_is_reported_in_order() -> None:
    """The steps are 1, 2, 3, …: none is missing and none is reported twice."""
    current = start()
    current.advance(STEPS)
    steps = [report.step for report in current.run.reports() if isinstance(report, StepReport)]
    assert steps == list(range(1, STEPS + 1))
