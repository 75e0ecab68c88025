"""The engine on a real cluster: runs take turns, halt and fail, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest

from rnnviz.engine.chains import CUT_SECONDS
from rnnviz.engine.connection import Worker
from rnnviz.engine.engine import Engine, _status_of_stranger
from rnnviz.engine.jobs import LIVE
from rnnviz.engine.settings import Settings
from rnnviz.errors import HostError, InputError
from rnnviz.nn import tracing
from rnnviz.nn.execution import load_model
from rnnviz.runs.folder import Run, State, Status, is_milestone
from rnnviz.runs.recording import Generation, Trace
from tests.engine.helpers import (
    CORPUS,
    ENDLESS,
    LONG,
    PARENT,
    ROOT,
    SHORT,
    cluster_of,
    ended,
    is_gone,
    job_of,
    steps,
    submit,
    uninterrupted,
)
from tests.helpers import SECONDS, Script, until

STATES: tuple[State, ...] = ("queued", "running", "paused", "finished", "stopped", "failed")


def _engine(workers: int) -> Iterator[Engine]:
    engine = Engine(Settings(workers=workers))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[Engine]:
    """An engine with one worker: runs have to take turns, and a call comes after all that was queued before it."""
    yield from _engine(1)


@pytest.fixture
def severed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine that has no cluster and never gets one."""

    def refuse(address: str, **options: object) -> None:
        raise OSError(f"nobody answers at {address}")

    monkeypatch.setattr("distributed.Client", refuse)
    engine = Engine(Settings(scheduler="tcp://nowhere:1"))
    yield engine
    engine.close()


def ask(engine: Engine, run: Run, **changes: Any) -> Generation:
    """A short continuation."""
    values: dict[str, Any] = {"prefix": "1+", "length": 5, "temperature": 0.0, "top_k": None, "seed": 0} | changes
    written = engine.compute("rnnviz.nn.execution:generate", run, **values)
    assert isinstance(written, Generation)
    return written


# One run


@pytest.mark.slow
def test_a_run_equals_that_of_the_plain_library(engine: Engine) -> None:
    """Every report is the same bit for bit, and then the run is finished."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(SHORT)
    assert engine.drives(run.id)


@pytest.mark.slow
def test_a_run_goes_from_queued_to_running_to_finished(engine: Engine) -> None:
    """A page that asks repeatedly sees the states in this order, and no others."""
    seen = [(run := submit(engine, LONG)).status().state]
    while (state := engine.view(run.id).status.state) in LIVE:
        seen.append(state)
        time.sleep(0.01)
    order = ["queued", "running", state]
    assert state == "finished"
    assert sorted(seen, key=order.index) == seen
    assert "running" in seen


@pytest.mark.slow
def test_a_paused_run_reports_nothing_until_it_is_resumed(engine: Engine) -> None:
    """It then ends like a run that was never paused."""
    run = submit(engine, LONG)
    until(lambda: steps(run) > 50)
    engine.pause(run.id)
    ended(engine, run, "paused")
    reached, size = steps(run), run.reports_size()
    assert 50 < reached < LONG.epochs * 9
    assert run.load_checkpoint().meta["step"] == reached
    engine.compute("rnnviz.nn.execution:trace", run, text="1+2")  # comes after everything that was still queued
    assert run.reports_size() == size
    assert engine.view(run.id).status.state == "paused"
    engine.resume(run.id)
    assert engine.view(run.id).status.state in LIVE
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(LONG)


@pytest.mark.slow
def test_resuming_a_live_run_changes_nothing(engine: Engine) -> None:
    """A button that is pressed twice, or by two people, starts no second chain."""
    run = submit(engine, LONG)
    for _ in range(3):
        engine.resume(run.id)
    until(lambda: steps(run) > 20)
    engine.resume(run.id)
    ended(engine, run, "finished")
    assert run.reports() == uninterrupted(LONG)


@pytest.mark.slow
def test_a_cancelled_run_keeps_what_it_reached(engine: Engine) -> None:
    """Its reports are the beginning of the whole run's, and its checkpoint belongs to the last of them."""
    run = submit(engine, ENDLESS)
    until(lambda: steps(run) > 20)
    engine.cancel(run.id)
    ended(engine, run, "stopped")
    reports, reached = run.reports(), steps(run)
    engine.compute("rnnviz.nn.execution:trace", run, text="1+2")
    assert run.reports() == reports
    assert run.load_checkpoint().meta["step"] == reached
    assert reports[:20] == uninterrupted(SHORT)[:20]


@pytest.mark.slow
def test_a_paused_run_can_be_stopped_and_a_stopped_one_resumed(engine: Engine) -> None:
    """Both buttons can be undone."""
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
    """Pausing or cancelling a finished run leaves it finished."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    engine.pause(run.id)
    engine.cancel(run.id)
    ended(engine, run, "finished")


# Several runs


@pytest.mark.slow
def test_two_runs_take_turns(engine: Engine) -> None:
    """On one worker, both make progress together, and a page can say that two runs share it."""
    first, second = submit(engine, ENDLESS), submit(engine, replace(ENDLESS, seed=1))

    def both_moved(before_first: int, before_second: int) -> bool:
        return steps(first) > before_first and steps(second) > before_second

    until(partial(both_moved, 0, 0))
    for _ in range(3):
        until(partial(both_moved, steps(first), steps(second)))
        assert engine.view(first.id).sharing == engine.view(second.id).sharing == 2
    for run in (first, second):
        engine.cancel(run.id)
        ended(engine, run, "stopped")
    assert engine.view(first.id).sharing == 0


@pytest.mark.slow
def test_calls_are_answered_while_runs_train(engine: Engine) -> None:
    """A continuation and a recording are computed ahead of the tasks of training, which goes on."""
    runs = [submit(engine, replace(ENDLESS, seed=seed)) for seed in range(3)]
    until(lambda: min(map(steps, runs)) > 0)
    recorded = engine.compute("rnnviz.nn.execution:trace", runs[0], text="1+2=3")
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
def test_an_answer_uses_the_newest_weights(engine: Engine) -> None:
    """A finished run's recording is the one that its last checkpoint gives."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    recorded = engine.compute("rnnviz.nn.execution:trace", run, text="9+9")
    expected = tracing.trace(load_model(run), CORPUS.vocabulary, "9+9")
    np.testing.assert_array_equal(recorded.signal("H"), expected.signal("H"))


@pytest.mark.slow
def test_a_failing_run_says_why_and_disturbs_no_other(engine: Engine) -> None:
    """Its text was damaged while it was paused; the run beside it ends as usual."""
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
def test_an_input_error_in_a_worker_is_raised_again(engine: Engine) -> None:
    """The InputError has its message and values separate, so that a page can translate it."""
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
def test_a_call_does_not_wait_for_ever(engine: Engine) -> None:
    """If no worker answers in time, it raises an InputError."""
    run = submit(engine, SHORT)
    ended(engine, run, "finished")
    with pytest.raises(InputError, match=r"no worker answered within 0\.0001 seconds"):
        engine.compute(
            "rnnviz.nn.execution:generate",
            run,
            timeout=1e-4,
            prefix="1",
            length=2000,
            temperature=1.0,
            top_k=None,
            seed=0,
        )


@pytest.mark.slow
def test_another_engine_goes_on_where_this_one_paused(engine: Engine) -> None:
    """The other engine uses the cluster at the address in RNNVIZ_SCHEDULER; closing it leaves that cluster alone."""
    run = submit(engine, LONG)
    until(lambda: steps(run) > 20)
    engine.pause(run.id)
    ended(engine, run, "paused")
    client = engine._connection.ready()
    assert client is not None
    tls = {
        "require-encryption": True,
        "tls.ca-file": client.security.tls_ca_file,
        "tls.client.cert": client.security.tls_client_cert,
        "tls.client.key": client.security.tls_client_key,
    }
    with dask.config.set({f"distributed.comm.{name}": value for name, value in tls.items()}):
        assert client.scheduler is not None
        other = Engine(Settings(scheduler=client.scheduler.address))
        try:
            assert not other.drives(run.id)
            until(lambda: other._connection._client is not None)
            other.resume(run.id)
            ended(other, run, "finished")
        finally:
            other.close()
    assert run.reports() == uninterrupted(LONG)
    ended(engine, submit(engine, SHORT), "finished")


# What goes wrong with processes


@pytest.mark.slow
def test_the_cluster_listens_on_loopback_only(engine: Engine) -> None:
    """Scheduler, nannies and workers cannot be reached from the network."""
    ended(engine, submit(engine, SHORT), "finished")
    pid = engine._connection.process_id
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    listening = [c for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


@pytest.mark.slow
def test_closing_ends_the_cluster_and_a_live_run_can_be_resumed(engine: Engine) -> None:
    """No process is left, and a run under way has not failed: another engine finishes it."""
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


@pytest.mark.slow
def test_nothing_outlives_an_app_that_was_killed(home: Path) -> None:
    """SIGKILL gives the app no time to clean up; the cluster and its workers end all the same."""
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
from rnnviz.engine.chains import CUT_SECONDS
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.engine import LIVE, Engine
from rnnviz.errors import HostError, InputError
from rnnviz.figures.gates import gates_figure
from rnnviz.figures.curves import gradient_norm_figure, perplexity_figure
from rnnviz.runs.follower import Follower
from rnnviz.runs.folder import Run
from rnnviz.engine.settings import Settings
from rnnviz.text.corpora import Corpus
engine = Engine(Settings(workers=1))
config = TrainConfig(ModelConfig(hidden_size=4), batch_size=2, num_steps=4, epochs=3, device="cpu", predict_every=1)
run = Run.find(engine.submit(config, Corpus("text", "abcdabcdabcd" * 9, "abcd")))
follower = Follower(run)
while engine.view(run.id).status.state in LIVE:
    follower.story()
    time.sleep(0.05)
story = Follower(run).story()
perplexity_figure(story.epochs, 4, 3), gradient_norm_figure(story.norms, 0.01, follower.steps_per_epoch, 3)
gates_figure(engine.compute("rnnviz.nn.execution:trace", run, text="abc"), "Z")
try:
    engine.compute("rnnviz.nn.execution:generate", run, prefix="", length=1, temperature=1.0, top_k=None, seed=0)
except InputError as error:
    print(error)
print(engine.view(run.id).status.state, len(story.epochs), "torch" in sys.modules, flush=True)
engine.close()
"""


@pytest.mark.slow
def test_the_page_process_never_imports_torch(home: Path) -> None:
    """A fresh process submits a run, follows it to its end, makes calls and draws, without torch."""
    page = subprocess.run(
        [sys.executable, "-c", PAGE], capture_output=True, text=True, cwd=ROOT, timeout=SECONDS, check=False
    )
    assert page.stdout.splitlines() == [
        "the prefix is empty; it needs at least one character",
        "finished 3 False",
    ], page.stderr


# On a client that does nothing by itself: each test decides when and how a task ends


def test_one_task_of_a_run_is_under_way_at_a_time(scripted: Engine, script: Script) -> None:
    """This holds however often it is halted and resumed: two tasks on two workers would report everything twice."""
    run = submit(scripted, SHORT)
    task = script.next()
    for halt in (scripted.pause, scripted.cancel, scripted.pause):
        halt(run.id)
        scripted.resume(run.id)
        scripted.resume(run.id)
    assert script.waiting == [task]
    assert scripted.view(run.id).status.state in LIVE
    task.end(1)
    task = script.next()
    assert task.name == "advance"
    assert task.arguments["target"] > 1


def test_every_task_of_a_chain_begins_where_the_last_one_ended(scripted: Engine, script: Script) -> None:
    """It runs on the worker that has the run in memory, or on another if that worker is gone, and after all calls."""
    run = submit(scripted, SHORT)
    task = script.next()
    assert (task.name, task.arguments) == ("advance", {"folder": str(run.folder), "target": 1, "seconds": CUT_SECONDS})
    assert task.options["workers"] is None
    assert run.status().state == "queued"
    task.end(1)
    task = script.next()
    assert run.status().state == "running"
    assert (task.name, task.folder) == ("advance", str(run.folder))
    assert 1 < task.arguments["target"] <= 5
    assert (task.options["workers"], task.options["allow_other_workers"]) == (["worker-1"], True)
    script.workers = {"worker-1": Worker(0, 0, 0)}
    asking = threading.Thread(target=lambda: scripted.compute("rnnviz.nn.execution:trace", run, text="a"), daemon=True)
    asking.start()
    until(lambda: len(script.waiting) == 2, 10)
    asked = script.waiting[1]
    assert (asked.name, asked.arguments) == ("trace", {"folder": str(run.folder), "text": "a"})
    assert asked.options["workers"] == ["worker-1"]
    assert asked.options["priority"] > task.options["priority"]
    asked.answer("answer")
    asking.join(10)
    assert len({one.options["key"] for one in script.tasks}) == len(script.tasks)


def test_tasks_grow_to_a_fifth_of_a_second(scripted: Engine, script: Script) -> None:
    """The steps grow fourfold at most, shrink at once if they become slow, and are never fewer than one."""
    submit(scripted, SHORT)
    step, sizes = 0, []
    for seconds_per_step in [0.001] * 8 + [0.05] * 2 + [3.0] * 2:
        task = script.next()
        sizes.append(task.arguments["target"] - step)
        step = task.arguments["target"]
        task.end(step, sizes[-1] * seconds_per_step)
    assert sizes == [1, 4, 16, 64, 200, 200, 200, 200, 200, 4, 4, 1]


def test_a_halted_run_ends_with_its_checkpoint(scripted: Engine, script: Script) -> None:
    """The engine waits only for the task that writes it, and the run has halted only after that."""
    run = submit(scripted, SHORT)
    script.next().end(1)
    task = script.next()
    scripted.pause(run.id)
    assert run.status().state == "paused"
    assert scripted.view(run.id).moving  # the reports of the task under way are still to come
    task.end(5)
    task = script.next()
    assert not scripted.view(run.id).moving
    assert (task.name, task.options["workers"]) == ("pause", ["worker-1"])
    assert not job_of(scripted, run.id).ended.is_set()
    task.answer(None)
    ended(scripted, run, "paused")
    assert script.waiting == []


@pytest.mark.parametrize("failure", [None, Status("failed", "{a} is bad", {"a": "b"})], ids=["end", "failure"])
def test_the_last_task_ends_the_run(scripted: Engine, script: Script, failure: Status | None) -> None:
    """It is finished at its last step, or failed with the reason that the task gave."""
    run = submit(scripted, SHORT)
    script.next().end(90, total=90, failure=failure)
    status = ended(scripted, run, "failed" if failure else "finished")
    assert failure is None or status == failure
    assert script.waiting == []


def test_a_button_pressed_during_the_last_task_agrees_with_its_end(scripted: Engine, script: Script) -> None:
    """A run stopped during its last task has finished; one that the host had to pause stays stopped."""
    done, full = submit(scripted, SHORT), submit(scripted, SHORT)
    until(lambda: len(script.waiting) == 2, 10)
    for run in (done, full):
        scripted.cancel(run.id)
    last, refused = sorted(script.waiting, key=lambda task: task.folder != str(done.folder))
    last.end(90, total=90)
    refused.future.set_exception(HostError("the disk is full"))
    ended(scripted, done, "finished")
    ended(scripted, full, "stopped")


def test_a_task_that_raises_ends_its_run_with_the_reason(scripted: Engine, script: Script) -> None:
    """The run's status has the reason, whatever the worker raised; the run beside it goes on."""
    run, other = submit(scripted, SHORT), submit(scripted, SHORT)
    until(lambda: len(script.waiting) == 2, 10)
    broken, sound = sorted(script.waiting, key=lambda task: task.folder != str(run.folder))
    broken.future.set_exception(MemoryError("no room"))
    status = ended(scripted, run, "failed")
    assert (status.message, status.values) == ("the worker failed: {reason}", {"reason": "MemoryError: no room"})
    sound.end(1)
    assert script.next().folder == str(other.folder)


def test_a_task_that_ends_with_the_app_is_not_a_failure(scripted: Engine, script: Script) -> None:
    """The engine is closed between a task's result and the next task, and the run is left paused."""

    class Last(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            closing = threading.Thread(target=scripted.close, daemon=True)
            closing.start()
            closing.join(10)
            return super().result(0)

    run = submit(scripted, SHORT)
    task = script.next()
    task.future.__class__ = Last
    task.end(1)
    assert run.status().state in (*LIVE, "paused")


def test_a_run_resumed_several_times_at_once_has_one_chain(scripted: Engine, script: Script) -> None:
    """Eight people press the button at the same moment."""
    runs = [Run.create(SHORT, CORPUS) for _ in range(5)]
    for run in runs:
        together = threading.Barrier(8)

        def press(run: Run = run, together: threading.Barrier = together) -> None:
            together.wait(10)
            scripted.resume(run.id)

        people = [threading.Thread(target=press) for _ in range(8)]
        for person in people:
            person.start()
        for person in people:
            person.join(10)
    until(lambda: len({task.folder for task in script.waiting}) == len(runs), 10)
    assert len(script.waiting) == len(runs)


class Lost(Future[Any]):
    """A task that has ended, but whose result never comes, as happens while a client closes."""

    def result(self, timeout: float | None = None) -> Any:
        if timeout is None:
            threading.Event().wait(60)
        raise TimeoutError


def test_a_result_that_never_comes_blocks_nobody(scripted: Engine, script: Script) -> None:
    """Dask calls back on one thread for all runs of a process: waiting there for ever would stop every run."""
    run = submit(scripted, SHORT)
    task = script.next()
    task.future.__class__ = Lost
    threading.Thread(target=lambda: task.end(1), daemon=True).start()
    until(lambda: scripted.view(run.id).status.state == "failed" or len(script.tasks) > 1, 30)


def test_a_run_does_not_fail_because_the_app_ends(scripted: Engine, script: Script) -> None:
    """Its task is cancelled as the client closes; the run can be resumed when the app is back."""
    live, halting = submit(scripted, SHORT), submit(scripted, SHORT)
    until(lambda: len(script.waiting) == 2, 10)
    scripted.pause(halting.id)
    scripted.close()
    assert live.status().state in (*LIVE, "paused")
    assert halting.status().state == "paused"


def test_the_engine_does_not_wait_for_the_cluster_to_start(home: Path) -> None:
    """Runs are submitted, halted and watched meanwhile; their tasks follow when the cluster is ready."""
    client = Script()
    client.stands = False
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
    client.stands = True
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
    """A call raises an InputError with the reason."""
    run = Run.create(SHORT, CORPUS)
    with pytest.raises(InputError, match=r"the workers cannot be reached: .*nowhere"):
        severed.compute("rnnviz.nn.execution:trace", run, text="1")


def test_a_run_without_workers_is_paused_with_the_reason(severed: Engine) -> None:
    """It does not stay queued for ever, and can be resumed when there are workers again."""
    run = submit(severed, SHORT)
    status = ended(severed, run, "paused")
    assert status.message == "the workers cannot be reached: {reason}"
    assert status.values is not None
    assert "nowhere" in status.values["reason"]


def test_an_unknown_run_is_reported(severed: Engine) -> None:
    """Every request with an id that no run has is reported."""
    for act in (severed.view, severed.pause, severed.cancel, severed.resume):
        with pytest.raises(InputError, match="there is no run"):
            act("0" * 20)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("halt", "halted"), [("pause", "paused"), ("cancel", "stopped")])
def test_a_run_that_no_engine_drives_can_be_halted_in_its_folder(
    severed: Engine, state: State, halt: str, halted: State
) -> None:
    """A run left live or paused takes the new state; one that has ended keeps its own."""
    run = Run.create(SHORT, CORPUS)
    run.set_status(Status(state))
    getattr(severed, halt)(run.id)
    assert run.status().state == (halted if state in (*LIVE, "paused") else state)


@pytest.mark.parametrize("state", STATES)
def test_a_run_whose_driver_died_is_shown_as_paused(home: Path, state: State) -> None:
    """This does not depend on clocks; all other states are shown as they are."""
    run, same = Run.create(SHORT, CORPUS), Status(state, "why {n}", {"n": 1})
    run.set_status(same)
    driver = Run.open(run.folder)
    driver.claim()
    assert _status_of_stranger(run) == same
    driver.release()
    assert _status_of_stranger(run) == (Status("paused") if state in LIVE else same)


def test_only_one_process_drives_a_run(scripted: Engine, script: Script) -> None:
    """A run driven by another process can be neither resumed nor halted here, and that process goes on driving it."""
    run = submit(scripted, SHORT)
    other = Engine(connection=Script())  # type: ignore[arg-type]
    try:
        assert other.view(run.id).status.state == "queued"
        for act in (other.resume, other.pause, other.cancel):
            with pytest.raises(InputError, match="another process trains this run"):
                act(run.id)
        scripted.pause(run.id)
        script.next().end(1)
        script.next().answer(None)
        ended(scripted, run, "paused")
        other.resume(run.id)
        assert other.view(run.id).moving
        assert scripted.view(run.id).status.state == "queued"
        with pytest.raises(InputError, match="another process trains this run"):
            scripted.resume(run.id)
    finally:
        other.close()
    scripted.resume(run.id)


# Calculations outside runs


def test_a_function_is_computed_in_a_worker(engine: Engine) -> None:
    """Its result is returned, and its InputError is raised again."""
    values: dict[str, Any] = {"sampling": "random", "length": 100, "batch_size": 2, "num_steps": 7}
    assert engine.compute("rnnviz.text.sampling:starts_per_epoch", **values) >= 1
    with pytest.raises(InputError, match="one batch"):
        engine.compute("rnnviz.text.sampling:check_length", sampling="random", length=3, batch_size=2, num_steps=7)


def test_a_batch_is_computed_once_for_all_who_ask(engine: Engine) -> None:
    """Results come in order, and asking again starts nothing new."""
    parts = [{"step": step} for step in range(5)]
    until(lambda: engine.batch("milestones", "rnnviz.runs.folder:is_milestone", parts).finished)
    batch = engine.batch("milestones", "rnnviz.runs.folder:is_milestone", parts)
    assert batch.results == [is_milestone(step) for step in range(5)]
    assert not batch.under_way
    assert engine.batch("milestones", "rnnviz.runs.folder:is_milestone", parts) is batch


def test_a_batch_that_fails_says_why(engine: Engine) -> None:
    """The first error ends it."""
    parts = [{"sampling": "random", "length": 3, "batch_size": 2, "num_steps": 7}] * 3
    until(lambda: engine.batch("short", "rnnviz.text.sampling:check_length", parts).finished)
    batch = engine.batch("short", "rnnviz.text.sampling:check_length", parts)
    assert batch.error is not None
    assert "one batch" in batch.error.message
    assert batch.results == []


def test_a_batch_that_nobody_asks_for_halts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on when somebody asks again."""
    monkeypatch.setattr("rnnviz.engine.batches._UNASKED_SECONDS", 0.0)
    parts = [{"step": step} for step in range(4)]
    batch = engine.batch("unasked", "rnnviz.runs.folder:is_milestone", parts)
    until(lambda: not batch.under_way)
    assert not batch.finished
    monkeypatch.setattr("rnnviz.engine.batches._UNASKED_SECONDS", 20.0)
    until(lambda: engine.batch("unasked", "rnnviz.runs.folder:is_milestone", parts).finished)
