"""Runs in their order, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnviz.engine import series
from rnnviz.engine.engine import Engine
from rnnviz.engine.series import train_all
from rnnviz.errors import HostError, InputError
from rnnviz.runs.folder import Run, Status
from tests.engine.helpers import CORPUS, SHORT
from tests.helpers import SECONDS, Script, until


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Those that were made so far."""
    monkeypatch.setattr(series, "LOOK_SECONDS", 0.01)
    return []


def made(runs: list[Run], folder: Path, count: int) -> Iterator[Run]:
    """Runs outside the home folder, each made when it is asked for."""
    for i in range(count):
        runs.append(Run.create(SHORT, CORPUS, folder / f"run-{i}"))
        yield runs[-1]


class Training:
    """`train_all` in a thread, as a command would wait for it."""

    def __init__(self, engine: Engine, runs: Iterator[Run]) -> None:
        self.stop, self.looks = threading.Event(), 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._train, args=(engine, runs), daemon=True)
        self._thread.start()

    def _look(self) -> None:
        self.looks += 1

    def _train(self, engine: Engine, runs: Iterator[Run]) -> None:
        try:
            train_all(engine, runs, 2, on_look=self._look, interrupted=self.stop.is_set)
        except BaseException as error:
            self.error = error

    def wait(self) -> None:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


def waiting(script: Script, count: int) -> None:
    until(lambda: len(script.waiting) == count)


def test_two_run_at_a_time_and_the_next_begins_when_one_ends(
    scripted: Engine, script: Script, runs: list[Run], tmp_path: Path
) -> None:
    """No run is made before there is room for it; it ends when the last has ended."""
    training = Training(scripted, made(runs, tmp_path, 3))
    waiting(script, 2)
    assert len(runs) == 2
    script.waiting[0].end(90, total=90)
    until(lambda: len(runs) == 3)
    waiting(script, 2)
    for _ in range(2):
        script.waiting[0].end(90, total=90)
    training.wait()
    assert training.error is None
    assert training.looks > 2
    assert [run.status().state for run in runs] == ["finished"] * 3
    assert not any(run.is_driven for run in runs)


def test_when_it_is_interrupted_runs_are_paused_with_a_checkpoint(
    scripted: Engine, script: Script, runs: list[Run], tmp_path: Path
) -> None:
    """The task under way ends, a last one writes the checkpoint, and no other run is begun."""
    training = Training(scripted, made(runs, tmp_path, 5))
    waiting(script, 2)
    training.stop.set()
    until(lambda: all(run.status().state == "paused" for run in runs))
    for task in script.waiting:
        task.end(5)
    until(lambda: [task.name for task in script.waiting] == ["pause", "pause"])
    for task in script.waiting:
        task.answer(None)
    training.wait()
    assert training.error is None
    assert [run.status() for run in runs] == [Status("paused")] * 2


def test_an_error_of_the_host_ends_all(scripted: Engine, script: Script, runs: list[Run], tmp_path: Path) -> None:
    """The other run is paused, and the error says what is wrong."""
    training = Training(scripted, made(runs, tmp_path, 3))
    waiting(script, 2)
    first, second = script.waiting
    first.future.set_exception(HostError("the disk is full: {reason}", reason="none left"))
    until(lambda: runs[1].status().state == "paused")
    second.end(5)
    until(lambda: [task.name for task in script.waiting] == ["pause"])
    script.waiting[0].answer(None)
    training.wait()
    assert isinstance(training.error, HostError)
    assert str(training.error) == "the disk is full: none left"
    assert len(runs) == 2


def test_a_run_that_fails_does_not_end_the_others(
    scripted: Engine, script: Script, runs: list[Run], tmp_path: Path
) -> None:
    """One that diverged is done; its status says why."""
    training = Training(scripted, made(runs, tmp_path, 2))
    waiting(script, 2)
    first, second = script.waiting
    first.end(7, failure=Status("failed", "the training diverged"))
    second.end(90, total=90)
    training.wait()
    assert training.error is None
    assert [run.status().state for run in runs] == ["failed", "finished"]


def test_a_run_that_another_process_drives_is_refused(scripted: Engine, runs: list[Run], tmp_path: Path) -> None:
    """Its steps would be written twice."""
    (run,) = made(runs, tmp_path, 1)
    with run.driven():
        other = Run(run.folder)
        with pytest.raises(InputError, match="another process trains this run"):
            train_all(scripted, iter([other]), 2, on_look=lambda: None, interrupted=lambda: False)
    assert not run.is_driven
