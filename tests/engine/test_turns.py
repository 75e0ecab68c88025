"""Turns: each visitor's share of a worker, measured on a worker with a simulated clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnviz.engine.calls import Call
from rnnviz.engine.connection import Worker
from rnnviz.engine.engine import Engine
from rnnviz.engine.tasks import Answer
from rnnviz.engine.turns import AHEAD_SECONDS, Accounts
from rnnviz.runs.folder import Progress, Run
from tests.engine.helpers import CORPUS, ENDLESS, Inline
from tests.helpers import Script, Task

HERE = "worker-1"


class OneWorker(Script):
    """A worker that takes its first task, or that of the highest priority, and has its own clock.

    It looks for the next task before the engine hears of the last one, as real workers do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.workers = {HERE: Worker(0, 0, 0)}
        self.seconds_a_step: dict[str, float] = {}
        self.steps: Counter[str] = Counter()
        self.time: Counter[str] = Counter()  # by run, or by function

    def work(self, seconds: float) -> None:
        end, task = self.time.total() + seconds, self._next()
        while task is not None and self.time.total() < end:
            answer = self._do(task)
            task.claimed = True  # type: ignore[attr-defined]
            following = self._next()
            task.future.set_result(answer)
            task = following or self._next()

    def _next(self) -> Task | None:
        waiting = [task for task in self.waiting if not hasattr(task, "claimed")]
        return max(waiting, key=lambda task: task.options["priority"], default=None)

    def _do(self, task: Task) -> Answer:
        if task.name != "advance":
            seconds = float(task.arguments.get("seconds", 0.01))
            self.time[task.name] += seconds  # type: ignore[assignment]  # a Counter counts whole numbers to mypy
            return Answer(None, HERE, seconds)
        run, target = Path(task.folder).name, task.arguments["target"]
        seconds = (target - self.steps[run]) * self.seconds_a_step[run]
        self.time[run] += seconds
        self.steps[run] = target
        return Answer(Progress(target, seconds, False, 0.0), HERE, seconds)


@pytest.fixture
def worker() -> OneWorker:
    return OneWorker()


@pytest.fixture
def engine(worker: OneWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    monkeypatch.setattr("rnnviz.engine.engine.KEEP_SECONDS", 3600)
    connection: Any = worker
    engine = Engine(connection=connection, pool=Inline())
    yield engine
    engine.close()


def start(engine: Engine, worker: OneWorker, visitor: str, seconds_a_step: float) -> str:
    run = Run.create(replace(ENDLESS, seed=len(worker.seconds_a_step)), CORPUS)
    worker.seconds_a_step[run.id] = seconds_a_step
    engine.resume(run.id, visitor=visitor)
    return run.id


def test_a_run_of_long_steps_takes_no_more_than_its_half(engine: Engine, worker: OneWorker) -> None:
    """A step of four seconds competes with steps of a millisecond, because turns are counted in seconds."""
    heavy, light = start(engine, worker, "a", 4.0), start(engine, worker, "b", 0.001)
    worker.work(200)
    assert worker.time[light] == pytest.approx(worker.time[heavy], rel=0.1)


def test_many_runs_of_one_visitor_take_no_more_than_one_of_another(engine: Engine, worker: OneWorker) -> None:
    """Shares belong to visitors, however many runs they have, and a visitor's runs share equally."""
    many = [start(engine, worker, "a", 0.01) for _ in range(4)]
    one = start(engine, worker, "b", 0.01)
    worker.work(200)
    assert worker.time[one] == pytest.approx(sum(worker.time[run] for run in many), rel=0.1)
    assert min(worker.time[run] for run in many) == pytest.approx(worker.time[one] / 4, rel=0.2)


def test_a_newcomer_does_not_stop_the_others(engine: Engine, worker: OneWorker) -> None:
    """A newcomer has used no time, but starts level with the others; so does a visitor who comes back after a rest."""
    first = start(engine, worker, "a", 0.01)
    worker.work(100)
    second = start(engine, worker, "b", 0.01)
    before = worker.time[first]
    worker.work(20)
    assert worker.time[first] - before == pytest.approx(10, abs=2)
    engine.pause(second)
    worker.work(100)
    engine.resume(second, visitor="b")
    before = worker.time[first]
    worker.work(20)
    assert worker.time[first] - before == pytest.approx(10, abs=2)


def test_starting_anew_gains_nothing(engine: Engine, worker: OneWorker) -> None:
    """A visitor who stops a run and starts another waits for the others as before."""
    light = start(engine, worker, "b", 0.001)
    for _ in range(10):
        heavy = start(engine, worker, "a", 4.0)
        worker.work(8)
        engine.cancel(heavy)
    assert worker.time[light] > 0.4 * worker.time.total()


def test_a_waiting_run_goes_on_when_the_others_halt(engine: Engine, worker: OneWorker) -> None:
    """No run waits for a visitor who no longer trains."""
    heavy, light = start(engine, worker, "a", 4.0), start(engine, worker, "b", 0.001)
    worker.work(6)
    assert engine._jobs.get(heavy).is_waiting  # type: ignore[union-attr]
    engine.pause(light)
    worker.work(1)
    before = worker.steps[heavy]
    worker.work(4)
    assert worker.steps[heavy] > before


def test_a_run_that_waits_for_its_turn_is_halted_at_once(engine: Engine, worker: OneWorker) -> None:
    """Its last task, which writes the checkpoint, needs no turn."""
    heavy, _light = start(engine, worker, "a", 4.0), start(engine, worker, "b", 0.001)
    worker.work(6)
    engine.cancel(heavy)
    assert [task.name for task in worker.waiting if Path(task.folder).name == heavy] == ["pause"]


def test_measurements_of_many_visitors_take_half_at_most(engine: Engine, worker: OneWorker) -> None:
    """Ten visitors repeat a calculation that takes two seconds, beside one run."""
    run = start(engine, worker, "a", 0.01)
    asked = Counter[str]()

    def press(visitor: str) -> None:
        asked[visitor] += 1
        call = Call("rnnviz.nn.carrying:graph_growth", {"folder": "", "seconds": 2.0}, visitor)
        engine._calls.ask(call).add_done_callback(lambda answer: press(visitor))

    for n in range(10):
        press(f"v{n}")
    worker.work(200)
    assert worker.time[run] == pytest.approx(100, rel=0.1)
    assert max(asked.values()) - min(asked.values()) <= 1


def test_a_call_is_answered_ahead_of_training(engine: Engine, worker: OneWorker) -> None:
    """A short call waits for the task under way, not for the eight others in the queue."""
    for n in range(8):
        start(engine, worker, f"v{n}", 0.05)
    worker.work(20)
    answer = engine._calls.ask(Call("rnnviz.nn.execution:read", {"folder": ""}, "v0"))
    worker.work(0.3)
    assert answer.done()


def test_after_a_very_long_call_the_next_does_not_wait_as_long(engine: Engine, worker: OneWorker) -> None:
    """Training gets some of that time back, and the next call is answered before its page gives up."""
    run = start(engine, worker, "a", 0.01)
    engine._calls.ask(Call("rnnviz.nn.gradients:study", {"folder": "", "seconds": 100.0}, "hostile"))
    worker.work(100)
    short = engine._calls.ask(Call("rnnviz.nn.execution:read", {"folder": ""}, "b"))
    worker.work(8)
    assert not short.done()
    assert worker.time[run] > 7
    worker.work(2)
    assert short.done()


def test_a_short_call_comes_before_another_visitors_long_ones(engine: Engine, worker: OneWorker) -> None:
    """The visitor who has used the least time is answered first."""
    long = [Call("rnnviz.nn.gradients:study", {"folder": "", "seconds": 3.0}, "a") for _ in range(5)]
    answers = [engine._calls.ask(call) for call in long]
    worker.work(3)
    short = engine._calls.ask(Call("rnnviz.nn.execution:read", {"folder": ""}, "b"))
    worker.work(4)
    assert short.done()
    assert sum(answer.done() for answer in answers) <= 3


def test_accounts_remember_only_visitors_who_are_ahead() -> None:
    """Otherwise they would grow with all visitors of a year."""
    accounts = Accounts()
    for n in range(1000):
        accounts.enter(f"v{n}", {f"v{n - 1}"})
        accounts.charge(f"v{n}", 1.0)
    assert len(accounts._seconds) <= 3
    accounts.charge("v999", 10.0)
    accounts.enter("x", {"v998"})
    accounts.enter("v999", {"x"})
    assert accounts.ahead("v999", {"x"}) > AHEAD_SECONDS
