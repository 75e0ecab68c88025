"""Recovery from killed workers, killed apps, lost schedulers, full disks, damaged files and unwatched runs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from distributed.comm.core import CommClosedError

from rnnviz.engine.batches import Batch
from rnnviz.engine.calls import MAX_DEATHS, Call
from rnnviz.engine.chains import MAX_RECOVERIES
from rnnviz.engine.connection import Worker
from rnnviz.engine.engine import Engine
from rnnviz.engine.quota import make_room
from rnnviz.engine.settings import MIB, Limits, Settings
from rnnviz.errors import HostError, InputError
from rnnviz.nn import execution
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import DISK_FULL, Run, State, Status
from rnnviz.runs.reports import Report, is_stored
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
from tests.helpers import Script, until

pytestmark = [
    # Dask and Tornado leave sockets open until the interpreter ends in the process that tests them.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FORKED = """
import os, sys, time
from rnnviz.nn import execution
from rnnviz.runs.folder import Run
execution.CHECKPOINT_SECONDS = 0.05
execution.RECORDING_SECONDS = 0.05
folder, steps = sys.argv[1], int(sys.argv[2])
for seconds in sys.argv[3:]:
    if (child := os.fork()) == 0:
        for target in range(1, steps + 1, 3):
            execution.advance(folder, target)
        execution.advance(folder, steps)
        os._exit(0)
    time.sleep(float(seconds))
    os.kill(child, 9)
    os.waitpid(child, 0)
execution.advance(folder, steps)
"""
RESUMING = """
import faulthandler, sys, time
from rnnviz.engine.engine import Engine
from rnnviz.engine.settings import Settings

def save_often():  # few apps live for the ten seconds between two checkpoints
    from rnnviz.nn import execution
    execution.CHECKPOINT_SECONDS = 0.3

engine = Engine(Settings(workers=1))
sys.stdin.readline()
faulthandler.dump_traceback_later(60, exit=True)  # show what holds it up
engine.resume(sys.argv[1])
while (client := engine._connection.ready()) is None:
    time.sleep(0.01)
client.submit(save_often, priority=10).result()
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def pair(home: Path) -> Iterator[Engine]:
    """An engine with two workers, of which one can be lost."""
    engine = Engine(Settings(workers=2))
    yield engine
    engine.close()


def client_of(engine: Engine) -> Client:
    client = engine._connection.ready()
    assert client is not None
    return client


def kill_worker(engine: Engine, run: Run) -> None:
    """Send SIGKILL to the worker that has the run, once there is one."""
    until(lambda: job_of(engine, run.id).worker in client_of(engine).scheduler_info()["workers"])
    worker = job_of(engine, run.id).worker
    with contextlib.suppress(Exception):  # it may be gone before it answers
        assert worker is not None
        os.kill(client_of(engine).run(os.getpid, workers=[worker])[worker], signal.SIGKILL)


def goes_on(run: Run) -> None:
    reached = steps(run)
    until(lambda: steps(run) > reached or run.status().state == "failed")
    assert run.status().state != "failed", run.status()


def stopped_as_if_uninterrupted(engine: Engine, run: Run) -> None:
    """Stop an endless run, and compare its reports and weights with those of an undisturbed run without an engine."""
    engine.cancel(run.id)
    ended(engine, run, "stopped")
    is_as_if_uninterrupted(run)


def is_as_if_uninterrupted(run: Run) -> None:
    """Compare what a run has kept with an undisturbed one. It may have halted amid the reports of an epoch's end."""
    kept, trainer = run.load_checkpoint(), Trainer(run.config, CORPUS)
    reports: list[Report] = []
    while len(reports) < kept.meta["reports"]:
        reports += filter(is_stored, trainer.piece())
    assert run.reports() == reports
    expected = trainer.checkpoint()
    assert {name: kept.meta[name] for name in ("step", "told")} == {"step": trainer.step, "told": expected.meta["told"]}
    assert kept.arrays.keys() == expected.arrays.keys()
    assert not [name for name, array in expected.arrays.items() if array.tobytes() != kept.arrays[name].tobytes()]


def living(mark: str) -> list[psutil.Process]:
    """All living processes of the app with this mark: every process inherits the app's environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it belongs to another user, or is just ending
            if process.environ().get("RNNVIZ_TEST_LIFE") == mark:
                found.append(process)
    return found


# Killed processes


def test_a_run_killed_at_twenty_random_moments_reports_the_same_as_an_unkilled_one(home: Path) -> None:
    """A process that trains is killed again and again, in the middle of whatever it writes, and nothing is lost."""
    run = Run.create(LONG, CORPUS)
    generator = random.Random(0)  # noqa: S311
    moments = [f"{generator.uniform(0.0, 0.12):.3f}" for _ in range(20)]
    command = [sys.executable, "-c", FORKED, str(run.folder), str(LONG.epochs * 9), *moments]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    assert run.reports() == uninterrupted(LONG)
    assert run.load_checkpoint().meta["reports"] == len(run.reports())


@pytest.mark.usefixtures("home")
def test_a_run_that_stops_amid_the_reports_of_an_epochs_end_has_lost_none() -> None:
    """A task may end there, when its time is up: the checkpoint says which reports are still to come."""
    run = Run.create(ENDLESS, CORPUS)
    going = execution.Execution.start(run, Trainer(run.config, CORPUS))
    while not going.trainer.is_ending:
        going.advance(10_000, seconds=0)
    going.save()
    is_as_if_uninterrupted(run)


@pytest.mark.slow
def test_runs_go_on_after_their_workers_are_killed(pair: Engine) -> None:
    """They are killed at random moments, three times for each run; the curve is bit for bit as without kills."""
    generator = random.Random(1)  # noqa: S311
    for seed in range(2):
        run = submit(pair, replace(ENDLESS, seed=seed))
        for _ in range(MAX_RECOVERIES):
            goes_on(run)
            time.sleep(generator.uniform(0, 0.4))
            kill_worker(pair, run)
        goes_on(run)
        stopped_as_if_uninterrupted(pair, run)


@pytest.mark.slow
def test_a_call_that_kills_real_workers_is_refused_and_the_run_beside_it_goes_on(pair: Engine) -> None:
    """The worker's death is blamed on the call, not on the run that waited behind it."""
    run = submit(pair, replace(ENDLESS, seed=11))
    goes_on(run)
    for _ in range(MAX_DEATHS):
        with pytest.raises(HostError, match="the worker was lost; try again"):
            pair.compute("os:abort")
        goes_on(run)
    with pytest.raises(InputError, match="this calculation brought down 2 workers"):
        pair.compute("os:abort")
    assert pair.view(run.id).recoveries == 0
    stopped_as_if_uninterrupted(pair, run)


@pytest.mark.parametrize(
    "kills", [pytest.param(8, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.endurance)]
)
def test_an_app_killed_at_random_moments_goes_on_where_it_was(home: Path, pair: Engine, kills: int) -> None:
    """Every fifth dies while it starts, the others within two seconds of taking the run up; then another one ends it.

    For half of them only the page's process is killed, for the others every process; none of these is left.
    """
    generator = random.Random(2)  # noqa: S311
    run = Run.create(ENDLESS, CORPUS)
    trained = 0
    with contextlib.ExitStack() as stack:

        def start(life: int) -> subprocess.Popen[bytes]:
            """An app that takes the run up when it is told to."""
            environment = {**os.environ, "RNNVIZ_TEST_LIFE": f"{run.id} {life}"}
            command = [sys.executable, "-c", RESUMING, run.id]
            app = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=ROOT, env=environment
            )
            stack.enter_context(app)
            stack.callback(app.kill)
            return app

        apps: dict[int, subprocess.Popen[bytes]] = {}
        for life in range(kills):
            for near in range(life, min(life + 3, kills)):  # starting takes longest: two start while this one trains
                if near not in apps and (near == life or near % 5 > 0):
                    apps[near] = start(near)
            app, told = apps[life], run.reports_size()
            assert app.stdin is not None
            assert app.stdout is not None
            app.stdin.write(b"\n")
            if stands := life % 5 > 0:
                assert app.stdout.readline() == b"up\n"
            time.sleep(generator.uniform(0, 2))
            processes = living(f"{run.id} {life}")
            assert app.pid in [process.pid for process in processes]
            assert not stands or len(processes) >= 4  # the page, the cluster, its worker, their resource tracker
            for process in generator.choice([[app], processes]):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            assert app.wait() == -signal.SIGKILL
            until(lambda processes=processes: all(map(is_gone, processes)))  # type: ignore[misc]
            until(lambda life=life: not living(f"{run.id} {life}"))  # type: ignore[misc]
            trained += run.reports_size() > told
    assert trained > kills / 2
    pair.resume(run.id)
    goes_on(run)
    stopped_as_if_uninterrupted(pair, run)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_an_app_that_is_told_to_end(home: Path, sign: signal.Signals) -> None:
    """Like an app that is killed, one that ends in any other way leaves no process."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        cluster = cluster_of(parent.pid)
        processes = [cluster, *cluster.children(recursive=True)]
        parent.send_signal(sign)
        parent.wait(30)
    until(lambda: all(map(is_gone, processes)), 20)


@pytest.mark.slow
def test_a_lost_scheduler_is_replaced_and_the_runs_go_on(pair: Engine) -> None:
    """The embedded cluster dies as a whole; another takes its place, and the run ends as if nothing had happened."""
    run = submit(pair, replace(ENDLESS, seed=9))
    goes_on(run)
    before = pair._connection.process_id
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: pair._connection.process_id not in (before, None))
    until(lambda: len(pair._connection.workers) > 0)
    goes_on(run)
    stopped_as_if_uninterrupted(pair, run)


@pytest.mark.slow
def test_a_run_that_outgrows_its_worker_fails_after_three_recoveries(home: Path) -> None:
    """It brings down a worker each time; its folder has the reason, and another run beside it ends well."""
    engine = Engine(Settings(workers=2, worker_mib=700))
    try:
        ended(engine, submit(engine, SHORT), "finished")
        greedy = replace(ENDLESS, model=replace(ENDLESS.model, hidden_size=4000))
        with pytest.raises(InputError, match=r"the run would need about .* MB of memory; a worker has 700 MB"):
            engine.submit(greedy, CORPUS)
        large = Run.create(greedy, CORPUS)
        engine._start(large, None, True)  # skips the check
        other = submit(engine, replace(LONG, seed=3))
        ended(engine, other, "finished")
        status = ended(engine, large, "failed")
        assert "its worker died" in status.message
        assert status.values == {"count": MAX_RECOVERIES + 1}
        assert large.status() == status
        assert other.reports() == uninterrupted(other.config)
    finally:
        engine.close()


# An external cluster


@pytest.mark.slow
def test_an_external_scheduler_with_workers_that_come_and_go(home: Path) -> None:
    """Dask's own commands are used: a second worker is used as it joins, and can be killed without harm.

    When the last one is told to leave, the runs wait for the next.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = f"{folder}/scheduler.json"

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", file]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            return process

        def join() -> subprocess.Popen[bytes]:
            return start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")

        start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        until(lambda: Path(file).exists() and Path(file).stat().st_size > 0)
        first = join()
        engine = Engine(Settings(scheduler=json.loads(Path(file).read_text())["address"]))
        stack.callback(engine.close)
        runs = [submit(engine, replace(ENDLESS, seed=seed)) for seed in range(2)]
        until(lambda: all(steps(run) > 20 for run in runs))
        second = join()
        until(lambda: len({job_of(engine, run.id).worker for run in runs}) == 2)
        second.send_signal(signal.SIGKILL)
        until(lambda: len(engine._connection.workers) == 1)
        for run in runs:
            goes_on(run)
        first.terminate()
        until(lambda: len(engine._connection.workers) == 0)
        join()
        for run in runs:
            goes_on(run)
        for run in runs:
            stopped_as_if_uninterrupted(engine, run)


# Disks and files


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skipped where it cannot be mounted (the injected error is tested in any case)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def advance_singly(run: Run) -> None:
    for target in range(6, LONG.epochs * 9):
        execution.advance(str(run.folder), target)


def test_a_full_disk_pauses_the_run_until_there_is_space(small_disk: Path) -> None:
    """Training reports that the disk is full, leaves a readable run, and reaches the same end once there is space."""
    ballast = small_disk / "ballast"
    run = Run.create(LONG, CORPUS, small_disk / "run")
    execution.advance(str(run.folder), 5)
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"0" * 4096)
            file.flush()
    with pytest.raises(HostError, match="the disk is full"):
        advance_singly(run)
    run.count_reports()
    assert run.reports() == uninterrupted(LONG)[: len(run.reports())]
    run.load_checkpoint()
    ballast.unlink()
    execution.advance(str(run.folder), LONG.epochs * 9)
    assert run.reports() == uninterrupted(LONG)


@pytest.mark.parametrize("number", DISK_FULL)
def test_a_disk_that_refuses_to_write_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The same is tested with an injected error."""
    run = Run.create(SHORT, CORPUS)
    execution.advance(str(run.folder), 1)

    def refuse(self: Run, reports: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Run, "append", refuse)
    with pytest.raises(HostError, match="the disk is full; free some space, then resume"):
        execution.advance(str(run.folder), 3)
    monkeypatch.undo()
    execution.advance(str(run.folder), SHORT.epochs * 9)
    assert run.reports() == uninterrupted(SHORT)


def test_an_error_of_the_host_pauses_a_run(scripted: Engine, script: Script) -> None:
    """The run says why, and can be resumed."""
    run = submit(scripted, SHORT)
    script.next().future.set_exception(HostError("the disk is full: {reason}", reason=errno.ENOSPC))
    assert ended(scripted, run, "paused").message == "the disk is full: {reason}"
    scripted.resume(run.id)
    assert script.next().folder == str(run.folder)


@pytest.mark.parametrize("name", ["config.json", "corpus.json", "reports.jsonl", "checkpoints/latest.safetensors"])
@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_a_damaged_file_ends_its_run_with_a_reason(home: Path, name: str, damage: str) -> None:
    """When another worker takes the run over, it raises an InputError or starts again from what is left."""
    run = Run.create(SHORT, CORPUS)
    execution.advance(str(run.folder), 4)
    execution.pause(str(run.folder))
    path = run.folder / name
    path.write_bytes(b"\x00garbage\n") if damage == "garbage" else path.unlink()
    try:
        execution.advance(str(run.folder), 6)
    except InputError as error:
        assert str(error)  # noqa: PT017  either is right
    else:
        assert name.startswith("checkpoints")
        execution.advance(str(run.folder), SHORT.epochs * 9)
        assert run.reports() == uninterrupted(SHORT)


def test_a_run_deleted_while_it_trains_fails_and_no_other(scripted: Engine, script: Script) -> None:
    """Its status can no longer be written, but the page shows it all the same."""
    run, other = submit(scripted, SHORT), submit(scripted, SHORT)
    until(lambda: len(script.waiting) == 2, 10)
    gone = next(task for task in script.waiting if task.folder == str(run.folder))
    shutil.rmtree(run.folder)
    with pytest.raises(InputError) as told:
        execution.advance(gone.folder, 3)
    gone.future.set_exception(told.value)
    until(lambda: scripted.view(run.id).status.state == "failed", 10)
    script.next().end(1)
    assert script.next().folder == str(other.folder)


# Recoveries, counted


class KilledError(Exception):
    """Stands in for Dask's KilledWorker."""


def test_a_run_whose_task_died_is_sent_again_at_most_three_times(
    scripted: Engine, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lost attempt counts, but not for a run that only shared the worker."""
    monkeypatch.setattr("rnnviz.engine.tasks.is_loss", lambda error: isinstance(error, KilledError))
    culprit = submit(scripted, SHORT)
    for _ in range(MAX_RECOVERIES + 1):
        task = script.next()
        culprit.begin_attempt()
        task.future.set_exception(KilledError())
    status = ended(scripted, culprit, "failed")
    assert status.values == {"count": MAX_RECOVERIES + 1}
    bystander = submit(scripted, SHORT)
    for _ in range(3 * MAX_RECOVERIES):
        script.next().future.set_exception(KilledError())
    script.next().end(90, total=90)
    ended(scripted, bystander, "finished")


def test_workers_that_finish_their_task_before_they_leave_are_not_counted(
    scripted: Engine, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is told to leave is lost to the scheduler while its last task is still under way."""
    monkeypatch.setattr("rnnviz.engine.tasks.is_loss", lambda error: isinstance(error, KilledError))
    run = submit(scripted, SHORT)
    task = script.next()
    for _ in range(2 * MAX_RECOVERIES):
        run.begin_attempt()
        task.future.set_exception(KilledError())
        task = script.next()
        run.end_attempts()  # done by the worker that leaves
    task.end(90, total=90)
    ended(scripted, run, "finished")
    assert scripted.view(run.id).recoveries == 0


def test_an_attempt_that_ended_is_not_counted(home: Path) -> None:
    """The record of a task under way is removed when the task ends, well or badly; the next task finds a death."""
    run = Run.create(SHORT, CORPUS)
    assert execution.advance(str(run.folder), 2).lost == 0
    assert run.attempts() == 0
    run.begin_attempt()
    assert execution.advance(str(run.folder), 3).lost == 1
    assert execution.advance(str(run.folder), 4).lost == 0


def test_an_attempt_ends_before_the_next_one_begins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds however long it takes to record the end; a task waiting for the lock would count it as a death."""
    run = Run.create(SHORT, CORPUS)
    end, lost, is_ending = Run.end_attempts, [], threading.Event()

    def end_slowly(self: Run) -> None:
        is_ending.set()
        time.sleep(0.2)
        end(self)

    def attempt() -> None:
        with run.attempt() as before:
            lost.append(before)

    monkeypatch.setattr(Run, "end_attempts", end_slowly)
    first, *others = attempts = [threading.Thread(target=attempt) for _ in range(3)]
    first.start()
    assert is_ending.wait(10)  # the others come while the first is under way
    for thread in others:
        thread.start()
    for thread in attempts:
        thread.join(10)
    assert lost == [0, 0, 0]


def test_a_call_that_brings_down_its_worker_twice_is_refused(scripted: Engine, script: Script) -> None:
    """Nobody can stop other people's runs by making it again and again; other calls are answered."""

    def ask(**arguments: object) -> Any:
        return scripted._calls.ask(Call("rnnviz.nn.carrying:graph_growth", arguments, "hostile"))

    for _ in range(MAX_DEATHS):
        answer = ask(folder="large")
        task = script.next()
        mark = Path(task.options["mark"])
        mark.parent.mkdir(exist_ok=True)
        mark.touch()  # a living worker would have removed it
        task.future.set_exception(CommClosedError())
        with pytest.raises(HostError, match="the worker was lost; try again"):
            answer.result(10)
        assert not mark.exists()
    with pytest.raises(InputError, match="this calculation brought down 2 workers and is not tried again"):
        ask(folder="large")
    answer = ask(folder="small")
    script.next().answer("grown")
    assert answer.result(10) == "grown"


def test_a_call_queued_behind_one_that_kills_the_worker_is_sent_again(scripted: Engine, script: Script) -> None:
    """It had not begun, so its caller waits a little longer. After some losses it is blamed all the same."""
    answer = scripted._calls.ask(Call("rnnviz.nn.execution:read", {"folder": ""}))
    for _ in range(3):
        script.next().future.set_exception(CommClosedError())
    script.next().answer("read")
    assert answer.result(10) == "read"
    answer = scripted._calls.ask(Call("rnnviz.nn.execution:read", {"folder": ""}))
    while not answer.done():
        for task in script.waiting:
            task.future.set_exception(CommClosedError())
    assert isinstance(answer.exception(), HostError)


def test_a_batch_goes_on_after_an_error_of_the_host(scripted: Engine, script: Script) -> None:
    """The page shows the error and asks again; an error of the calculation itself ends the batch."""

    def ask() -> Batch:
        return scripted.batch("key", "rnnviz.nn.gradients:map_cell", [{"folder": n} for n in range(3)])

    ask()
    script.next().answer(0)
    script.next().future.set_exception(HostError("the disk is full"))
    until(lambda: ask().error is None and len(script.waiting) == 1, 10)
    script.next().answer(1)
    script.next().future.set_exception(InputError("odd"))
    until(lambda: ask().finished, 10)
    assert (ask().results, str(ask().error)) == ([0, 1], "odd")


# Unwatched runs


@pytest.mark.parametrize("settings", [Settings(grace_seconds=60)])
def test_an_unwatched_run_is_paused_after_its_grace_period(scripted: Engine, script: Script) -> None:
    """Closing a tab starts the grace period, coming back ends it; watched and unattended runs go on."""
    runs = {
        name: Run.find(scripted.submit(SHORT, CORPUS, visitor=name, unattended=name == "unattended"))
        for name in ("left", "back", "unattended", "seen")
    }
    scripted.watch(runs["seen"].id, "somebody else")
    for name in runs:
        scripted.leave(name)
    scripted.watch(runs["back"].id, "back")
    scripted._housekeeping.pause_unwatched(time.monotonic() + 59)
    assert {scripted.view(run.id).status.state for run in runs.values()} == {"queued"}
    scripted._housekeeping.pause_unwatched(time.monotonic() + 61)
    states: dict[str, State] = {name: scripted.view(run.id).status.state for name, run in runs.items()}
    assert states == {"left": "paused", "back": "queued", "unattended": "queued", "seen": "queued"}
    assert runs["left"].status() == Status("paused", "nobody was watching")


# The host's limits


@pytest.mark.parametrize("settings", [Settings(limits=Limits(visitor_runs=2, runs=3))])
def test_the_runs_of_a_visitor_and_of_all_together_are_limited(scripted: Engine, script: Script) -> None:
    """The message says how many there are and how many are allowed; ended and paused ones do not count."""
    own = [scripted.submit(SHORT, CORPUS, visitor="a") for _ in range(2)]
    assert (scripted.has_room("a"), scripted.has_room("b")) == (False, True)
    with pytest.raises(InputError, match="2 of your runs are under way; this server allows 2"):
        scripted.submit(SHORT, CORPUS, visitor="a")
    scripted.submit(SHORT, CORPUS, visitor="b")
    with pytest.raises(InputError, match="3 runs are under way; this server allows 3"):
        scripted.submit(SHORT, CORPUS, visitor="c")
    assert not scripted.has_room("b")
    scripted.pause(own[0])
    scripted.submit(SHORT, CORPUS, visitor="a")
    with pytest.raises(InputError, match="under way"):
        scripted.resume(own[0], visitor="a")


@pytest.mark.parametrize("settings", [Settings(limits=Limits(run_seconds=1))])
def test_a_run_is_stopped_at_the_hosts_time_limit(scripted: Engine, script: Script) -> None:
    """Its results are kept, and the status says why it ended."""
    run = submit(scripted, SHORT)
    script.next().end(3, trained=0.9)
    script.next().end(6, trained=1.1)
    until(lambda: script.waiting[-1].name == "pause" if script.waiting else False, 10)
    assert scripted.view(run.id).status == Status(
        "stopped", "this server trains a run for {seconds:,} s at most", {"seconds": 1}
    )


@pytest.mark.parametrize("settings", [Settings(limits=Limits(visitor_runs=3, runs=5))])
def test_simultaneous_requests_start_no_more_runs_than_allowed(scripted: Engine, script: Script) -> None:
    """Five visitors send twenty-five, half of them to resume: five runs are under way, the others are refused."""
    paused = [Run.create(SHORT, CORPUS).id for _ in range(12)]
    together = threading.Barrier(25)
    told: list[str] = []

    def press(n: int) -> None:
        together.wait(10)
        try:
            if n < len(paused):
                scripted.resume(paused[n], visitor=f"v{n % 5}")
            else:
                scripted.submit(SHORT, CORPUS, visitor=f"v{n % 5}")
        except InputError as error:
            told.append(str(error))

    people = [threading.Thread(target=press, args=(n,)) for n in range(25)]
    for person in people:
        person.start()
    for person in people:
        person.join(30)
    assert len(scripted._jobs.live()) == 5
    assert len(told) == 20


def aged(state: State, age: int, mib: int = 1) -> Run:
    """A run of so many megabytes and of the given age in seconds since the epoch."""
    run = Run.create(SHORT, CORPUS)
    run.set_status(Status(state))
    (run.folder / "ballast").write_bytes(b"0" * (mib * MIB))
    for name in ("reports.jsonl", "status.json"):
        os.utime(run.folder / name, (age, age))
    return run


def test_the_oldest_unwatched_runs_are_deleted_to_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused runs and those of a dead process are deleted too, but not those watched or driven by another process."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    states: tuple[State, ...] = ("finished", "running", "running", "paused", "failed", "finished")
    watched, driven, *others = runs = [aged(state, 1000 + age) for age, state in enumerate(states)]
    with Run.open(driven.folder).driven():
        assert make_room(7, set()) == 0
        assert all(run.folder.exists() for run in runs)
        assert make_room(5, {watched.id}) == 0
        assert [run.folder.exists() for run in runs] == [True, True, False, False, True, True]
        assert 0 < make_room(1, {watched.id}) < 1.1 * MIB
        assert [run.folder.exists() for run in runs] == [True, True, False, False, False, False]
    assert len(others) == 4


def test_other_files_are_never_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and files beside the runs, links, and a folder that only has the name of a run are kept."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    aged("finished", 1000)
    elsewhere = aged("finished", 1000).folder.rename(tmp_path / "elsewhere")
    thesis, empty, link = (tmp_path / "runs" / name for name in ("My thesis", "0" * 20, "1" * 20))
    for folder in (thesis, empty):
        folder.mkdir()
        (folder / "chapter 1.txt").write_bytes(b"0" * (3 * MIB))
    link.symlink_to(elsewhere)
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    before = {path for path in tmp_path.rglob("*") if "chapter" in path.name or "elsewhere" in path.parts}
    assert make_room(0, set()) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["0" * 20, "1" * 20, "My thesis", "notes.txt"]
    assert before == {path for path in tmp_path.rglob("*") if "chapter" in path.name or "elsewhere" in path.parts}


@pytest.mark.parametrize("settings", [Settings(limits=Limits(disk_mib=2))])
def test_runs_under_way_count_towards_the_disks_share(
    scripted: Engine, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing can be deleted, the largest is paused and new ones are refused until there is room."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    small, large = (Run.find(scripted.submit(SHORT, CORPUS, visitor=name)) for name in ("a", "b"))
    (large.folder / "ballast").write_bytes(b"0" * (3 * MIB))
    scripted._housekeeping.make_room(time.monotonic() + 100)
    assert large.status().message == "the runs occupy {size:,.0f} MB; this server allows {limit:,}. Try again later"
    assert (small.status().state, large.status().state) == ("queued", "paused")
    with pytest.raises(HostError, match="the runs occupy 3 MB; this server allows 2"):
        scripted.submit(SHORT, CORPUS, visitor="c")
    until(lambda: len(script.waiting) == 2, 10)
    for task in script.waiting:
        task.end(1)
    until(lambda: any(task.name == "pause" for task in script.waiting), 10)
    next(task for task in script.waiting if task.name == "pause").answer(None)
    ended(scripted, large, "paused")
    with pytest.raises(HostError, match="the runs occupy 3 MB"):
        scripted.resume(large.id, visitor="b")
    scripted.leave("b")  # now nobody watches it any more
    scripted.submit(SHORT, CORPUS, visitor="c")
    assert not large.folder.exists()


def test_a_run_that_somebody_watches_is_in_use(scripted: Engine, script: Script) -> None:
    """This holds even if this engine has never driven it."""
    run = Run.create(SHORT, CORPUS)
    scripted.watch(run.id, "a")
    assert run.id in scripted._jobs.in_use()
    assert scripted.viewers == 0
    scripted.leave("a")
    assert run.id not in scripted._jobs.in_use()


def test_runs_are_spread_over_the_workers(scripted: Engine, script: Script) -> None:
    """If one worker has two more runs than another, one run moves: first its checkpoint, then its next task."""
    idle = Worker(0, 0, 0)
    script.workers = {"worker-1": idle}
    runs = [submit(scripted, SHORT) for _ in range(3)]
    until(lambda: len(script.waiting) == 3, 10)
    for task in script.waiting:
        task.end(1)
    until(lambda: len(script.waiting) == 3, 10)
    script.workers = {"worker-1": idle, "worker-2": idle}
    scripted._housekeeping.balance()
    scripted._housekeeping.balance()
    (moving,) = [job for job in scripted._jobs.all() if job.move_to]
    next(task for task in script.waiting if task.folder == str(moving.run.folder)).end(2)
    until(lambda: any(task.name == "pause" for task in script.waiting), 10)
    (last,) = [task for task in script.waiting if task.name == "pause"]
    assert last.options["workers"] == ["worker-1"]
    last.answer(None)
    until(lambda: any(task.options["workers"] == ["worker-2"] for task in script.waiting), 10)
    assert len(runs) == 3


def test_a_task_that_waits_for_a_lost_worker_is_sent_again(scripted: Engine, script: Script) -> None:
    """Dask would keep it for that worker for ever if there was no other when the worker left."""
    script.workers = {"worker-1": Worker(0, 0, 0)}
    run = submit(scripted, SHORT)
    task = script.next()
    assert task.options["workers"] == ["worker-1"]
    sent = job_of(scripted, run.id).sent_at
    scripted._housekeeping.send_stranded(sent + 10)
    script.workers = {}
    scripted._housekeeping.send_stranded(sent + 10)
    script.workers = {"worker-2": Worker(0, 0, 0)}
    scripted._housekeeping.send_stranded(sent + 1)
    assert script.waiting == [task]
    scripted._housekeeping.send_stranded(sent + 10)
    again = script.next()
    assert task.future.cancelled()
    assert (again.name, again.options["workers"]) == ("advance", None)
    again.end(90, total=90)
    ended(scripted, run, "finished")


def test_runs_go_to_workers_that_suit_them(scripted: Engine, script: Script) -> None:
    """Workers tagged with a GPU train runs that may use one; the others train runs that must stay on a CPU."""
    plain, tagged = Worker(0, 0, 0), Worker(0, 0, 0, gpu=True)
    script.workers = {"worker-1": plain}
    runs = {run.id: run for run in (submit(scripted, replace(SHORT, device=device)) for device in ("auto", "cpu"))}
    until(lambda: len(script.waiting) == 2, 10)
    assert all(task.options["workers"] == ["worker-1"] for task in script.waiting)
    for task in script.waiting:
        task.end(1)
    until(lambda: len(script.waiting) == 2, 10)
    script.workers = {"worker-1": plain, "tagged": tagged}
    scripted._housekeeping.balance()
    moves = {runs[job.run.id].config.device: job.move_to for job in scripted._jobs.all()}
    assert moves == {"auto": "tagged", "cpu": None}
    assert scripted._chains.idlest(next(iter(runs.values()))) == "tagged"


def test_the_page_process_forgets_runs_that_have_ended(scripted: Engine, script: Script) -> None:
    """Of three hundred runs opened and closed, the engine remembers the last hundred."""
    for _ in range(300):
        run = submit(scripted, SHORT)
        script.next().end(90, total=90)
        assert job_of(scripted, run.id).ended.wait(10)
    assert len(scripted._jobs.all()) <= 101
    assert threading.active_count() < 50


def test_a_viewer_whose_tab_was_closed_is_noticed(home: Path) -> None:
    """The engine checks who is still there, so it depends on no message from a browser."""
    present = {"one", "two"}
    engine = Engine(connection=Script(), is_present=present.__contains__)  # type: ignore[arg-type]
    try:
        run = Run.find(engine.submit(SHORT, CORPUS, visitor="one"))
        engine.watch(run.id, "two")
        engine._housekeeping.notice_who_left()
        assert engine.viewers == 2
        present.remove("one")
        engine._housekeeping.notice_who_left()
        assert engine.viewers == 1
        assert job_of(engine, run.id).left_at is None
        present.remove("two")
        engine._housekeeping.notice_who_left()
        assert job_of(engine, run.id).left_at is not None
    finally:
        engine.close()
