"""The engine under events in any order: a state machine plays visitors, workers and the cluster."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from distributed.comm.core import CommClosedError
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rnnviz.engine.chains import MAX_RECOVERIES
from rnnviz.engine.connection import Worker
from rnnviz.engine.engine import Engine
from rnnviz.engine.jobs import LIVE
from rnnviz.engine.settings import Settings
from rnnviz.errors import HostError, InputError
from rnnviz.runs.folder import Progress, Run, State
from rnnviz.runs.follower import Follower
from rnnviz.runs.reports import StepReport
from tests.engine.helpers import CORPUS, SHORT, Inline, steps
from tests.helpers import Script, Task

WORKERS = ("worker-1", "worker-2")
VISITORS = ("a", "b")
PICK = st.integers(0, 99)
End = str | int | Exception
ERRORS = (HostError("the disk is full"), InputError("damaged"), OSError("odd"))
END = st.one_of(
    *[st.just("well")] * 3, st.integers(0, 8), st.sampled_from(("unbegun", "unanswered")), st.sampled_from(ERRORS)
)


def train(folder: str, target: int, upto: int | None = None) -> Progress:
    """Do to a run's folder what a worker does, without training; the worker dies after the step `upto`."""
    run = Run.open(folder)
    total = Follower(run).total_steps
    with run.attempt() as lost:
        step = steps(run)
        last = min(target, total)
        run.append(StepReport(n, 1, 1.0, 1, 1.0, 1.0, {}) for n in range(step + 1, min(last, upto or last) + 1))
        if upto is not None:
            run.begin_attempt()  # this attempt never ends
    return Progress(max(step, last), 0.01, last == total, 0.0, lost=lost)


class EngineMachine(RuleBasedStateMachine):
    """Visitors press buttons, workers work, die and come back, the cluster comes and goes, and the app restarts."""

    @initialize()
    def begin(self) -> None:
        self.home = tempfile.TemporaryDirectory()
        self.environment = os.environ.get("RNNVIZ_HOME")
        os.environ["RNNVIZ_HOME"] = self.home.name
        self.runs: list[Run] = []
        self.present = set(VISITORS)
        self.deaths: Counter[str] = Counter()
        self.halted: dict[str, State] = {}  # by visitors, and not resumed since
        self.start_app()
        for visitor in VISITORS:
            self.submit(visitor, unattended=False)
        self.submit(VISITORS[0], unattended=True)

    def start_app(self) -> None:
        self.script = Script()
        self.script.workers = {WORKERS[0]: Worker(0, 0, 0)}
        self.pool = Inline()
        connection: Any = self.script
        self.engine = Engine(Settings(), connection, lambda viewer: viewer in self.present, self.pool)

    def _run(self, pick: int) -> Run:
        return self.runs[pick % len(self.runs)]

    def _task(self, pick: int) -> Task:
        return self.script.waiting[pick % len(self.script.waiting)]

    # Visitors

    @precondition(lambda self: len(self.runs) < 4)
    @rule(visitor=st.sampled_from(VISITORS), unattended=st.booleans())
    def submit_another(self, visitor: str, unattended: bool) -> None:
        self.submit(visitor, unattended)

    def submit(self, visitor: str, unattended: bool) -> None:
        self.present.add(visitor)
        self.runs.append(Run.find(self.engine.submit(SHORT, CORPUS, visitor=visitor, unattended=unattended)))

    @rule(pick=PICK, buttons=st.lists(st.sampled_from(("resume", "pause", "cancel")), min_size=1, max_size=3))
    def press(self, pick: int, buttons: list[str]) -> None:
        for button in buttons:
            self._press(self._run(pick), button)

    def _press(self, run: Run, button: str) -> None:
        before = run.status().state
        getattr(self.engine, button)(run.id)
        if button == "resume":
            self.halted.pop(run.id, None)
        elif before in (*LIVE, "paused"):
            self.halted[run.id] = "paused" if button == "pause" else "stopped"

    @rule(pick=PICK, visitor=st.sampled_from(VISITORS), stays=st.booleans())
    def watch(self, pick: int, visitor: str, stays: bool) -> None:
        self.engine.watch(self._run(pick).id, visitor)
        (self.present.add if stays else self.present.discard)(visitor)

    # Workers

    @rule(ends=st.lists(st.tuples(PICK, END), min_size=1, max_size=8))
    def work(self, ends: list[tuple[int, End]]) -> None:
        for pick, end in ends:
            if self.script.waiting:
                self._finish(self._task(pick), end)

    def _finish(self, task: Task, end: End = "well") -> None:
        """End a task, or let its worker die: before it begins, after some of its steps, or when its work is done."""
        if isinstance(end, Exception):
            task.future.set_exception(end)
            return
        result = None
        if task.name == "advance" and end != "unbegun":
            upto = steps(Run.open(task.folder)) + end if isinstance(end, int) else None
            result = train(task.folder, task.arguments["target"], upto)
            self.deaths[Run(task.folder).id] += upto is not None
        if end == "well":
            task.answer(result, (task.options["workers"] or WORKERS)[0])
        else:
            task.future.set_exception(CommClosedError("its worker died"))

    @rule(count=st.sampled_from((0, 1, 2, 2)), seconds=st.sampled_from((0.0, 10.0)))
    def change_workers(self, count: int, seconds: float) -> None:
        self.script.workers = {name: Worker(0, 0, 0) for name in WORKERS[:count]}
        self.pass_time(seconds)

    # The cluster, the clock and the app

    @precondition(lambda self: self.script.stands)
    @rule()
    def lose_the_cluster(self) -> None:
        self.script.stands = False
        for task in self.script.waiting:
            task.future.cancel()

    @rule(seconds=st.sampled_from((0.0, 10.0, 1000.0)))
    def pass_time(self, seconds: float) -> None:
        """The engine's loop runs; after a while a lost cluster is available again."""
        self.script.stands |= seconds > 0
        now = max((job.sent_at for job in self.engine._jobs.all()), default=0.0) + seconds
        self.engine._chains.dispatch()
        self.engine._housekeeping.balance()
        self.engine._housekeeping.send_stranded(now)
        self.engine._housekeeping.notice_who_left()
        self.engine._housekeeping.pause_unwatched(now)

    @precondition(lambda self: self.script.tasks)
    @rule()
    def restart_app(self) -> None:
        self.engine.close()
        assert all(run.status().state not in LIVE for run in self.runs)
        self.start_app()

    # Invariants

    @invariant()
    def nothing_breaks(self) -> None:
        assert self.pool.errors == []

    @invariant()
    def one_task_of_a_run_is_under_way(self) -> None:
        trained = Counter(task.folder for task in self.script.waiting if task.name == "advance")
        assert all(count == 1 for count in trained.values())

    @invariant()
    def what_lives_goes_on(self) -> None:
        """A live run has a task under way, or waits for the cluster; memory and folder agree."""
        for job in self.engine._jobs.all():
            assert job.run.status() == job.status
            assert not job.is_live or job.chained
            assert not job.is_live or not job.ended.is_set()
            assert not (self.script.stands and job.is_waiting)

    @invariant()
    def what_was_halted_stays_so(self) -> None:
        for run in self.runs:
            assert run.status().state in ("finished", "failed", self.halted.get(run.id, run.status().state))

    @invariant()
    def no_run_is_blamed_for_the_death_of_others(self) -> None:
        for run in self.runs:
            assert "died" not in run.status().message or self.deaths[run.id] > MAX_RECOVERIES

    @invariant()
    def every_step_is_told_once(self) -> None:
        for run in self.runs:
            told = [report.step for report in run.reports() if isinstance(report, StepReport)]
            assert told == list(range(1, len(told) + 1))

    def teardown(self) -> None:
        """At the end everybody resumes, all workers work, and each run is where its reports say."""
        try:
            self.script.stands = True
            self.script.workers = dict.fromkeys(WORKERS, Worker(0, 0, 0))
            for run in self.runs:
                if run.status().state != "finished":
                    self.engine.resume(run.id)
            self.engine._chains.dispatch()
            while self.script.waiting:
                self._finish(self.script.waiting[0])
            for run in self.runs:
                view = self.engine.view(run.id)
                assert view.status == run.status()
                assert not view.moving
                assert (view.status.state == "finished") == (steps(run) == Follower(run).total_steps)
                assert view.status.state == "finished" or "died" in view.status.message
        finally:
            self.engine.close()
            if self.environment is not None:
                os.environ["RNNVIZ_HOME"] = self.environment
            self.home.cleanup()


def test_every_run_is_where_its_reports_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This holds whatever visitors, workers and the cluster do, in any order."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # there is no power cut here
    monkeypatch.setattr("rnnviz.engine.engine.KEEP_SECONDS", 3600)  # the state machine controls the clock
    bounds = settings(max_examples=100, stateful_step_count=50, phases=(Phase.generate,))  # shrinking takes minutes
    run_state_machine_as_test(EngineMachine, settings=bounds)
