"""The engine on a real cluster: runs in turns, halts, failures, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rnnviz import probes
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.connection import Worker
from rnnviz.engine import LIVE, Engine, _status_of_stranger
from rnnviz.errors import InputError
from rnnviz.execution import load
from rnnviz.recording import Generation, Trace
from rnnviz.reports import Report, StepReport
from rnnviz.runs import Progress, Run, State, Status, is_milestone
from rnnviz.settings import Settings
from rnnviz.text import Corpus, generate_sums, split
from rnnviz.training import train

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 90  # no wait in this file is longer
CORPUS = split(generate_sums(1000), "sums", max_chars=400)
# Nine steps an epoch, of a millisecond or two each.
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
STATES: tuple[State, ...] = ("queued", "running", "paused", "finished", "stopped", "failed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home folder of this file's runs, known to the workers since before they started."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNVIZ_HOME", str(folder))
        yield folder


def _engine(workers: int) -> Iterator[Engine]:
    engine = Engine(Settings(workers=workers))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[Engine]:
    """One worker: runs have to take turns, and a call comes after all that was queued before it."""
    yield from _engine(1)


@pytest.fixture
def severed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine that has no cluster and never will."""

    def refuse(address: str, **options: object) -> None:
        raise OSError(f"nobody answers at {address}")

    monkeypatch.setattr("distributed.Client", refuse)
    engine = Engine(Settings(scheduler="tcp://nowhere:1"))
    yield engine
    engine.close()


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for what must become true before a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def steps(run: Run) -> int:
    """How far a run's file says it is."""
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


def ask(engine: Engine, run: Run, **changes: object) -> Generation:
    """A short continuation."""
    values = {"prefix": "1+", "length": 5, "temperature": 0.0, "top_k": None, "seed": 0} | changes
    written = engine.call("generate", run, **values)
    assert isinstance(written, Generation)
    return written


# One run


@pytest.mark.slow
def test_a_run_comes_out_as_in_the_plain_library(engine: Engine) -> None:
    """Every report, bit for bit, and then the run is finished."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(SHORT)
    assert engine.drives(run.id)


@pytest.mark.slow
def test_a_run_goes_from_queued_to_running_to_finished(engine: Engine) -> None:
    """A page that asks again and again sees the states in this order, and no other."""
    seen = [(run := submit(engine, LONG)).status().state]
    while (state := engine.view(run.id).status.state) in LIVE:
        seen.append(state)
        time.sleep(0.01)
    order = ["queued", "running", state]
    assert state == "finished"
    assert sorted(seen, key=order.index) == seen
    assert "running" in seen


@pytest.mark.slow
def test_a_paused_run_tells_nothing_more_until_it_is_resumed(engine: Engine) -> None:
    """And ends as the run that was never paused."""
    run = submit(engine, LONG)
    until(lambda: steps(run) > 50)
    engine.pause(run.id)
    ended(engine, run, "paused")
    reached, size = steps(run), run.reports_size()
    assert 50 < reached < LONG.epochs * 9
    assert run.load_checkpoint().meta["step"] == reached
    engine.call("trace", run, text="1+2")  # comes after everything that was still queued
    assert run.reports_size() == size
    assert engine.view(run.id).status.state == "paused"
    engine.resume(run.id)
    assert engine.view(run.id).status.state in LIVE
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(LONG)


@pytest.mark.slow
def test_resuming_a_live_run_changes_nothing(engine: Engine) -> None:
    """A button pressed twice, or by two people, starts no second chain."""
    run = submit(engine, LONG)
    for _ in range(3):
        engine.resume(run.id)
    until(lambda: steps(run) > 20)
    engine.resume(run.id)
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(LONG)


@pytest.mark.slow
def test_a_cancelled_run_is_stopped_with_what_it_reached(engine: Engine) -> None:
    """Its reports stay as the beginning of the whole run, and its checkpoint is of the last of them."""
    run = submit(engine, ENDLESS)
    until(lambda: steps(run) > 20)
    engine.cancel(run.id)
    ended(engine, run, "stopped")
    reports, reached = run.reports(), steps(run)
    engine.call("trace", run, text="1+2")
    assert run.reports() == reports
    assert run.load_checkpoint().meta["step"] == reached
    assert reports[:20] == uninterrupted(SHORT)[:20]


@pytest.mark.slow
def test_a_paused_run_can_be_stopped_and_a_stopped_one_resumed(engine: Engine) -> None:
    """Neither button is a dead end."""
    run = submit(engine, LONG)
    engine.pause(run.id)
    ended(engine, run, "paused")
    engine.cancel(run.id)
    ended(engine, run, "stopped")
    engine.resume(run.id)
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(LONG)


@pytest.mark.slow
def test_what_has_ended_stays_ended(engine: Engine) -> None:
    """Pausing or cancelling a finished run does not take its end away."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    engine.pause(run.id)
    engine.cancel(run.id)
    ended(engine, run, "finished")


# Several runs


@pytest.mark.slow
def test_two_runs_take_turns(engine: Engine) -> None:
    """On one worker, each goes on while the other does, and a page can say that two share it."""
    first, second = submit(engine, ENDLESS), submit(engine, replace(ENDLESS, seed=1))
    until(lambda: min(steps(first), steps(second)) > 0)
    for _ in range(3):
        before = steps(first), steps(second)
        until(lambda before=before: steps(first) > before[0] and steps(second) > before[1])
        assert engine.view(first.id).sharing == engine.view(second.id).sharing == 2
    for run in (first, second):
        engine.cancel(run.id)
        ended(engine, run, "stopped")
    assert engine.view(first.id).sharing == 0


@pytest.mark.slow
def test_who_asks_is_answered_while_runs_train(engine: Engine) -> None:
    """A continuation and a recording come ahead of the tasks of training, and the training goes on."""
    runs = [submit(engine, replace(ENDLESS, seed=seed)) for seed in range(3)]
    until(lambda: min(map(steps, runs)) > 0)
    recorded = engine.call("trace", runs[0], text="1+2=3")
    assert isinstance(recorded, Trace)
    assert (recorded.text, recorded.signal("Z").shape) == ("1+2=3", (5, 8))
    written = ask(engine, runs[1], length=7)
    assert written.text.startswith("1+")
    assert (len(written.text), len(written.distributions)) == (9, 7)
    before = [steps(run) for run in runs]
    until(lambda: all(steps(run) > old for run, old in zip(runs, before, strict=True)))
    for run in runs:
        assert engine.view(run.id).status.state == "running"
        engine.cancel(run.id)
        ended(engine, run, "stopped")


@pytest.mark.slow
def test_an_answer_is_of_the_newest_weights(engine: Engine) -> None:
    """A finished run's recording is the one that its last checkpoint gives."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    recorded = engine.call("trace", run, text="9+9")
    expected = probes.trace(load(run), CORPUS.vocabulary, "9+9")
    np.testing.assert_array_equal(recorded.signal("H"), expected.signal("H"))


@pytest.mark.slow
def test_a_failing_run_tells_why_and_disturbs_no_other(engine: Engine) -> None:
    """Its text was damaged while it was paused; the run beside it ends as ever."""
    broken = submit(engine, ENDLESS)
    until(lambda: steps(broken) > 0)
    engine.pause(broken.id)
    ended(engine, broken, "paused")
    (broken.folder / "corpus.json").write_text("{")
    other = submit(engine, LONG)
    until(lambda: steps(other) > 0)
    engine.resume(broken.id)
    status = ended(engine, broken, "failed")
    assert status.message == "{file} of the run cannot be read: {reason}"
    assert status.values is not None
    assert status.values["file"] == "corpus.json"
    ended(engine, other, "finished")
    assert other.reports() == uninterrupted(LONG)


@pytest.mark.slow
def test_a_mistake_found_in_a_worker_comes_back_as_such(engine: Engine) -> None:
    """An InputError with its message and values apart, so that a page can translate it."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    with pytest.raises(InputError) as empty:
        ask(engine, run, prefix="")
    assert (empty.value.message, empty.value.values) == ("the prefix is empty; it needs at least one character", {})
    with pytest.raises(InputError, match=r"the temperature is -1\.0; allowed: 0 and above") as cold:
        ask(engine, run, temperature=-1.0)
    assert cold.value.message == "the temperature is {value}; allowed: 0 and above"
    assert cold.value.values == {"value": -1.0}


@pytest.mark.slow
def test_who_asks_does_not_wait_for_ever(engine: Engine) -> None:
    """Where no worker answers in time, an InputError says so."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    with pytest.raises(InputError, match=r"no worker answered within 0\.0001 seconds"):
        engine.call("generate", run, 1e-4, prefix="1", length=2000, temperature=1.0, top_k=None, seed=0)


@pytest.mark.slow
def test_another_engine_goes_on_where_this_one_paused(engine: Engine) -> None:
    """On the cluster named by its address, as RNNVIZ_SCHEDULER does; closing it leaves that cluster alone."""
    run = submit(engine, LONG)
    until(lambda: steps(run) > 20)
    engine.pause(run.id)
    ended(engine, run, "paused")
    other = Engine(Settings(scheduler=engine._connection.client.scheduler.address))
    try:
        assert not other.drives(run.id)
        other.resume(run.id)
        ended(other, run, "finished")
    finally:
        other.close()
    assert run.reports() == uninterrupted(LONG)
    ended(engine, submit(engine, SHORT), "finished")


# What goes wrong with processes


def cluster_of(pid: int) -> psutil.Process:
    """The embedded cluster that a process started."""
    (found,) = [child for child in psutil.Process(pid).children() if "rnnviz.cluster" in child.cmdline()]
    return found


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, be it that nobody has collected it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.slow
def test_the_cluster_listens_on_loopback_only(engine: Engine) -> None:
    """Nobody else on the network reaches scheduler, nannies or workers."""
    ended(engine, submit(engine, SHORT), "finished")
    pid = engine._connection.process_id
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    listening = [c for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


@pytest.mark.slow
def test_closing_ends_the_cluster_and_a_live_run_can_be_resumed(engine: Engine) -> None:
    """No process stays, and a run that was under way did not fail: another engine ends it."""
    closing = Engine(Settings(workers=1))
    run = submit(closing, LONG)
    until(lambda: steps(run) > 20)
    cluster = psutil.Process(closing._connection.process_id)
    processes = [cluster, *cluster.children(recursive=True)]
    closing.close()
    closing.close()
    until(lambda: all(map(is_gone, processes)), 15)
    assert run.status().state in (*LIVE, "paused")
    engine.resume(run.id)
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(LONG)


PARENT = """
import sys, time
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine import Engine
from rnnviz.settings import Settings
from rnnviz.text import Corpus
engine = Engine(Settings(workers=1))
config = TrainConfig(ModelConfig(hidden_size=4), batch_size=2, num_steps=4, epochs=100_000, device="cpu")
run_id = engine.submit(config, Corpus("text", "abcdabcdabcd" * 9, "abcd"))
while engine.view(run_id).status.state == "queued":
    time.sleep(0.05)
print(run_id, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_nothing_outlives_an_app_that_was_killed(home: Path) -> None:
    """SIGKILL gives it no time to clean up; the cluster and its workers end all the same."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        try:
            assert parent.stdout is not None
            run = Run.find(parent.stdout.readline().strip())
            cluster = cluster_of(parent.pid)
            processes = [cluster, *cluster.children(recursive=True)]
            assert len(processes) >= 2
        finally:
            parent.kill()
    until(lambda: all(map(is_gone, processes)), 15)
    assert run.reports()


PAGE = """
import sys, time
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine import LIVE, Engine
from rnnviz.errors import InputError
from rnnviz.figures import gates_figure, gradient_norm_figure, perplexity_figure
from rnnviz.following import Follower
from rnnviz.runs import Run
from rnnviz.settings import Settings
from rnnviz.text import Corpus
engine = Engine(Settings(workers=1))
config = TrainConfig(ModelConfig(hidden_size=4), batch_size=2, num_steps=4, epochs=3, device="cpu", predict_every=1)
run = Run.find(engine.submit(config, Corpus("text", "abcdabcdabcd" * 9, "abcd")))
follower = Follower(run)
while engine.view(run.id).status.state in LIVE:
    follower.story()
    time.sleep(0.05)
story = Follower(run).story()
perplexity_figure(story.epochs, 4, 3), gradient_norm_figure(story.norms, 0.01, follower.steps_per_epoch, 3)
gates_figure(engine.call("trace", run, text="abc"), "Z")
try:
    engine.call("generate", run, prefix="", length=1, temperature=1.0, top_k=None, seed=0)
except InputError as error:
    print(error)
print(engine.view(run.id).status.state, len(story.epochs), "torch" in sys.modules, flush=True)
engine.close()
"""


@pytest.mark.slow
def test_the_page_process_never_imports_torch(home: Path) -> None:
    """A fresh process submits a run, watches it to its end, asks and draws, without torch."""
    page = subprocess.run(
        [sys.executable, "-c", PAGE], capture_output=True, text=True, cwd=ROOT, timeout=SECONDS, check=False
    )
    assert page.stdout.splitlines() == [
        "the prefix is empty; it needs at least one character",
        "finished 3 False",
    ], page.stderr


# On a client that does nothing by itself: each test says when a task ends, and how


@dataclass
class Task:
    """What the engine handed to Dask, and the future that it watches."""

    name: str
    folder: str
    arguments: dict[str, Any]
    options: dict[str, Any]
    future: Future[Any] = field(default_factory=Future)

    def end(self, step: int, seconds: float = 0.2, total: int = 10**6, failure: Status | None = None) -> None:
        self.future.set_result((Progress(step, total, seconds, failure), "worker-1"))


class Script:
    """Stands in for the connection, and for Dask's client too."""

    workers: Mapping[str, Worker] = {}
    error = None

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.stands = threading.Event()
        self.stands.set()

    @property
    def client(self) -> Script:
        self.stands.wait(30)
        return self

    def keep(self) -> None:
        """It is always there."""

    def submit(
        self, function: object, name: str, folder: str, arguments: dict[str, Any], **options: Any
    ) -> Future[Any]:
        task = Task(name, folder, arguments, options)
        self.tasks.append(task)
        return task.future

    def close(self) -> None:
        """As Dask does, this cancels what has not ended."""
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


@pytest.fixture
def script(severed: Engine) -> Script:
    """The engine `severed`, now with a client that a test plays."""
    client = Script()
    severed._connection = client  # type: ignore[assignment]
    return client


def test_one_task_of_a_run_is_under_way_at_a_time(severed: Engine, script: Script) -> None:
    """However often it is halted and resumed meanwhile: two tasks on two workers would tell everything twice."""
    run = submit(severed, SHORT)
    task = script.next()
    for halt in (severed.pause, severed.cancel, severed.pause):
        halt(run.id)
        severed.resume(run.id)
        severed.resume(run.id)
    until(lambda: not any(thread.name.endswith("(_submit_next)") for thread in threading.enumerate()), 10)
    assert script.waiting == [task]
    assert severed.view(run.id).status.state in LIVE
    task.end(1)
    task = script.next()
    assert task.name == "advance"
    assert task.arguments["target"] > 1


def test_every_link_of_the_chain_begins_where_the_last_one_ended(severed: Engine, script: Script) -> None:
    """On the worker that has the run in memory, or on another one where that is gone, after all that is asked."""
    run = submit(severed, SHORT)
    task = script.next()
    assert (task.name, task.folder, task.arguments) == ("advance", str(run.folder), {"target": 1})
    assert task.options["workers"] is None
    assert run.status().state == "queued"
    task.end(1)
    task = script.next()
    assert run.status().state == "running"
    assert (task.name, task.folder) == ("advance", str(run.folder))
    assert 1 < task.arguments["target"] <= 5
    assert (task.options["workers"], task.options["allow_other_workers"]) == (["worker-1"], True)
    threading.Thread(target=lambda: severed.call("trace", run, text="a"), daemon=True).start()
    until(lambda: len(script.waiting) == 2, 10)
    asked = script.waiting[1]
    assert (asked.name, asked.arguments, asked.options["workers"]) == ("trace", {"text": "a"}, ["worker-1"])
    assert asked.options["priority"] > task.options["priority"]
    asked.future.set_result(("answer", "worker-1"))
    assert len({one.options["key"] for one in script.tasks}) == len(script.tasks)


def test_tasks_grow_to_a_fifth_of_a_second(severed: Engine, script: Script) -> None:
    """Fourfold at most from one to the next, fewer steps at once where they turn slow, never fewer than one."""
    submit(severed, SHORT)
    step, sizes = 0, []
    for seconds_per_step in [0.001] * 8 + [0.05] * 2 + [3.0] * 2:
        task = script.next()
        sizes.append(task.arguments["target"] - step)
        step = task.arguments["target"]
        task.end(step, sizes[-1] * seconds_per_step)
    assert sizes == [1, 4, 16, 64, 200, 200, 200, 200, 200, 4, 4, 1]


def test_a_halted_run_ends_with_its_checkpoint(severed: Engine, script: Script) -> None:
    """Nothing is waited for but the task that writes it, and only then has the run halted."""
    run = submit(severed, SHORT)
    script.next().end(1)
    task = script.next()
    severed.pause(run.id)
    assert run.status().state == "paused"
    assert severed.view(run.id).moving  # the reports of the task under way are still to come
    task.end(5)
    task = script.next()
    assert not severed.view(run.id).moving
    assert (task.name, task.options["workers"]) == ("pause", ["worker-1"])
    assert not severed._jobs[run.id].ended.is_set()
    task.future.set_result((None, "worker-1"))
    ended(severed, run, "paused")
    assert script.waiting == []


@pytest.mark.parametrize("failure", [None, Status("failed", "{a} is bad", {"a": "b"})], ids=["end", "failure"])
def test_the_last_task_ends_the_run(severed: Engine, script: Script, failure: Status | None) -> None:
    """Finished at its last step, or failed with the reason that the task gave."""
    run = submit(severed, SHORT)
    script.next().end(90, total=90, failure=failure)
    status = ended(severed, run, "failed" if failure else "finished")
    assert failure is None or status == failure
    assert script.waiting == []


def test_a_task_that_breaks_ends_its_run_with_the_reason(severed: Engine, script: Script) -> None:
    """Whatever was raised in the worker, the run's status says so; the run beside it goes on."""
    run, other = submit(severed, SHORT), submit(severed, SHORT)
    until(lambda: len(script.waiting) == 2, 10)
    broken, sound = sorted(script.waiting, key=lambda task: task.folder != str(run.folder))
    broken.future.set_exception(MemoryError("no room"))
    status = ended(severed, run, "failed")
    assert (status.message, status.values) == ("the worker failed: {reason}", {"reason": "MemoryError: no room"})
    sound.end(1)
    assert script.next().folder == str(other.folder)


def test_a_task_that_ends_as_the_app_does_is_no_failure(severed: Engine, script: Script) -> None:
    """The engine is closed between a task's result and the next task: the run is left paused."""

    class Last(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            closing = threading.Thread(target=severed.close, daemon=True)
            closing.start()
            closing.join(10)
            return super().result(0)

    run = submit(severed, SHORT)
    task = script.next()
    task.future.__class__ = Last
    task.end(1)
    assert run.status().state in (*LIVE, "paused")


def test_a_run_resumed_by_several_at_once_has_one_chain(severed: Engine, script: Script) -> None:
    """Eight people press the button in the same moment."""
    runs = [Run.create(SHORT, CORPUS) for _ in range(5)]
    for run in runs:
        together = threading.Barrier(8)

        def press(run: Run = run, together: threading.Barrier = together) -> None:
            together.wait(10)
            severed.resume(run.id)

        people = [threading.Thread(target=press) for _ in range(8)]
        for person in people:
            person.start()
        for person in people:
            person.join(10)
    until(lambda: len({task.folder for task in script.waiting}) == len(runs), 10)
    until(lambda: not any(thread.name.endswith("(_submit_next)") for thread in threading.enumerate()), 10)
    assert len(script.waiting) == len(runs)


class Lost(Future[Any]):
    """A task that has ended, but whose result never comes, as happens while a client closes."""

    def result(self, timeout: float | None = None) -> Any:
        if timeout is None:
            threading.Event().wait(60)
        raise TimeoutError


def test_a_result_that_never_comes_blocks_nobody(severed: Engine, script: Script) -> None:
    """Dask calls back on one thread for all runs of a process: waiting there for ever would stop every run."""
    run = submit(severed, SHORT)
    task = script.next()
    task.future.__class__ = Lost
    threading.Thread(target=lambda: task.end(1), daemon=True).start()
    until(lambda: severed.view(run.id).status.state == "failed" or len(script.tasks) > 1, 30)


def test_a_run_does_not_fail_because_the_app_ends(severed: Engine, script: Script) -> None:
    """Its task is cancelled as the client closes; the run can be resumed when the app is back."""
    live, halting = submit(severed, SHORT), submit(severed, SHORT)
    until(lambda: len(script.waiting) == 2, 10)
    severed.pause(halting.id)
    severed.close()
    assert live.status().state in (*LIVE, "paused")
    assert halting.status().state == "paused"


def test_nobody_waits_for_the_cluster_to_start(home: Path) -> None:
    """Runs are submitted, halted and looked at meanwhile; their tasks follow when it stands."""
    client = Script()
    client.stands.clear()
    engine = Engine(connection=client)  # type: ignore[arg-type]
    runs: list[Run] = []

    def visitors() -> None:
        runs.extend(submit(engine, SHORT) for _ in range(3))
        engine.pause(runs[1].id)
        assert [engine.view(run.id).status.state for run in runs] == ["queued", "paused", "queued"]
        runs.append(submit(engine, SHORT))

    thread = threading.Thread(target=visitors, daemon=True)
    thread.start()
    thread.join(5)
    waited = thread.is_alive()
    client.stands.set()
    thread.join(5)
    try:
        assert not waited
        until(lambda: sum(task.name == "advance" for task in client.waiting) == 3, 10)
        advanced = {task.folder for task in client.waiting if task.name == "advance"}
        assert advanced == {str(run.folder) for run in runs} - {str(runs[1].folder)}
    finally:
        engine.close()


# Without a cluster


def test_an_engine_without_workers_says_so(severed: Engine) -> None:
    """What a person asks gives an InputError with the reason."""
    run = Run.create(SHORT, CORPUS)
    with pytest.raises(InputError, match=r"the workers cannot be reached: .*nowhere"):
        severed.call("trace", run, text="1")


def test_a_run_without_workers_is_paused_with_the_reason(severed: Engine) -> None:
    """It does not stay queued for ever, and can be resumed when there are workers again."""
    run = submit(severed, SHORT)
    status = ended(severed, run, "paused")
    assert status.message == "the workers cannot be reached: {reason}"
    assert status.values is not None
    assert "nowhere" in status.values["reason"]


def test_an_unknown_run_is_told(severed: Engine) -> None:
    """Whatever is asked of an id that no run has."""
    for act in (severed.view, severed.pause, severed.cancel, severed.resume):
        with pytest.raises(InputError, match="is not the folder of a run"):
            act("0" * 20)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("halt", "halted"), [("pause", "paused"), ("cancel", "stopped")])
def test_a_run_that_no_engine_drives_is_halted_in_its_folder(
    severed: Engine, state: State, halt: str, halted: State
) -> None:
    """What was left live or paused takes the new state; what has ended keeps its own."""
    run = Run.create(SHORT, CORPUS)
    run.set_status(Status(state))
    getattr(severed, halt)(run.id)
    assert run.status().state == (halted if state in (*LIVE, "paused") else state)


@pytest.mark.parametrize("state", STATES)
def test_a_silent_run_of_another_process_is_shown_as_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """Live by its file but untouched for a minute, it was interrupted; all other states are what they say."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    run = Run.create(SHORT, CORPUS)
    run.set_status(Status(state, "why {n}", {"n": 1}))
    assert _status_of_stranger(run) == run.status()
    long_ago = time.time() - 60
    for name in ("reports.jsonl", "status.json"):
        os.utime(run.folder / name, (long_ago, long_ago))
    assert _status_of_stranger(run) == (Status("paused") if state in LIVE else run.status())
    os.utime(run.folder / "reports.jsonl")
    assert _status_of_stranger(run) == run.status()


# Calculations that belong to no run


def test_a_function_is_computed_in_a_worker(engine: Engine) -> None:
    """Its result comes back, and its InputError too."""
    assert engine.compute("sampling.starts_per_epoch", sampling="random", length=100, batch_size=2, num_steps=7) >= 1
    with pytest.raises(InputError, match="one batch"):
        engine.compute("sampling.check_length", sampling="random", length=3, batch_size=2, num_steps=7)


def test_a_batch_is_computed_once_for_all_who_ask(engine: Engine) -> None:
    """Results come in order, and asking again starts nothing new."""
    parts = [{"step": step} for step in range(5)]
    until(lambda: engine.batch("milestones", "runs.is_milestone", parts).finished)
    batch = engine.batch("milestones", "runs.is_milestone", parts)
    assert batch.results == [is_milestone(step) for step in range(5)]
    assert not batch.under_way
    assert engine.batch("milestones", "runs.is_milestone", parts) is batch


def test_a_batch_that_cannot_go_on_says_why(engine: Engine) -> None:
    """The first error ends it."""
    parts = [{"sampling": "random", "length": 3, "batch_size": 2, "num_steps": 7}] * 3
    until(lambda: engine.batch("short", "sampling.check_length", parts).finished)
    batch = engine.batch("short", "sampling.check_length", parts)
    assert batch.error is not None
    assert "one batch" in batch.error.message
    assert batch.results == []


def test_a_batch_that_nobody_asks_for_halts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on when somebody asks again."""
    monkeypatch.setattr("rnnviz.engine._UNASKED_SECONDS", 0.0)
    parts = [{"step": step} for step in range(4)]
    batch = engine.batch("unasked", "runs.is_milestone", parts)
    until(lambda: not batch.under_way)
    assert not batch.finished
    monkeypatch.setattr("rnnviz.engine._UNASKED_SECONDS", 20.0)
    until(lambda: engine.batch("unasked", "runs.is_milestone", parts).finished)
