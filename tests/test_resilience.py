"""What must survive: killed workers, killed apps, lost schedulers, full disks, damaged files, unwatched runs."""

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

import psutil
import pytest

from rnnviz import execution
from rnnviz.connection import Worker
from rnnviz.engine import MAX_RECOVERIES, Engine
from rnnviz.errors import HostError, InputError
from rnnviz.keeping import make_room
from rnnviz.runs import Run, State, Status
from rnnviz.settings import Limits, Settings
from rnnviz.training import Trainer
from tests.test_engine import (
    CORPUS,
    ENDLESS,
    LONG,
    PARENT,
    ROOT,
    SHORT,
    Script,
    cluster_of,
    ended,
    is_gone,
    script,
    severed,
    steps,
    submit,
    uninterrupted,
    until,
)

__all__ = ["script", "severed"]
pytestmark = [
    # Dask and Tornado leave sockets to the interpreter's end in the process that tests them.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FORKED = """
import os, sys, time
from rnnviz import execution
from rnnviz.runs import Run
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
from rnnviz.engine import Engine
from rnnviz.settings import Settings

def save_often():  # few apps live for the ten seconds between two checkpoints
    from rnnviz import execution
    execution.CHECKPOINT_SECONDS = 0.3

engine = Engine(Settings(workers=1))
sys.stdin.readline()
faulthandler.dump_traceback_later(60, exit=True)  # whatever holds it up is told
engine.resume(sys.argv[1])
engine._connection.client.submit(save_often, priority=10).result()
print("up", flush=True)
time.sleep(600)
"""
KILLS = 20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home folder of this file's runs, known to the workers since before they started."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNVIZ_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def pair(home: Path) -> Iterator[Engine]:
    """Two workers, of which one can be lost."""
    engine = Engine(Settings(workers=2))
    yield engine
    engine.close()


def kill_worker(engine: Engine, run: Run) -> None:
    """SIGKILL for the worker that has the run, once there is one."""
    until(lambda: engine._jobs[run.id].worker in engine._connection.client.scheduler_info()["workers"])
    worker = engine._jobs[run.id].worker
    with contextlib.suppress(Exception):  # it may be gone before it answers
        os.kill(engine._connection.client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)


def goes_on(run: Run) -> None:
    reached = steps(run)
    until(lambda: steps(run) > reached or run.status().state == "failed")
    assert run.status().state != "failed", run.status()


def stopped_as_if_uninterrupted(engine: Engine, run: Run) -> None:
    """An endless run is stopped; what it told and all that it has learnt is what the plain library gives first."""
    engine.cancel(run.id)
    ended(engine, run, "stopped")
    kept, trainer = run.load_checkpoint(), Trainer(run.config, CORPUS)
    assert run.reports() == trainer.advance(kept.meta["step"])
    expected = trainer.checkpoint().arrays
    assert kept.arrays.keys() == expected.keys()
    assert not [name for name, array in expected.items() if array.tobytes() != kept.arrays[name].tobytes()]


def living(mark: str) -> list[psutil.Process]:
    """All that lives of the app with this mark: every process inherits the app's environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # another user's, or it ends just now
            if process.environ().get("RNNVIZ_TEST_LIFE") == mark:
                found.append(process)
    return found


# Killed processes


def test_a_run_killed_at_twenty_random_moments_tells_what_an_unkilled_one_does(home: Path) -> None:
    """A process that trains is killed again and again, in the midst of whatever it writes; nothing is lost."""
    run = Run.create(LONG, CORPUS)
    generator = random.Random(0)  # noqa: S311
    moments = [f"{generator.uniform(0.0, 0.12):.3f}" for _ in range(20)]
    command = [sys.executable, "-c", FORKED, str(run.folder), str(LONG.epochs * 9), *moments]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    assert run.reports() == uninterrupted(LONG)
    assert run.load_checkpoint().meta["reports"] == len(run.reports())


@pytest.mark.slow
def test_runs_go_on_after_their_workers_are_killed(pair: Engine) -> None:
    """At random moments, each run three times: bit for bit the curve of the run that was never interrupted."""
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
def test_an_app_killed_at_twenty_random_moments_goes_on_where_it_was(home: Path, pair: Engine) -> None:
    """Every fifth while it starts, the others within two seconds of taking the run up; then another one ends it.

    Of half of them the page alone is killed, of the others every process; nothing of any stays.
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
        for life in range(KILLS):
            for near in range(life, min(life + 3, KILLS)):  # starting takes longest: two start while this one trains
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
    assert trained > KILLS / 2
    pair.resume(run.id)
    goes_on(run)
    stopped_as_if_uninterrupted(pair, run)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_an_app_that_is_told_to_end(home: Path, sign: signal.Signals) -> None:
    """As with SIGKILL, however the app ends."""
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
    """The embedded cluster dies as a whole; another one takes its place, and the run ends as if nothing had been."""
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
    """It brings down a worker each time; the reason stands in its folder, and another run ends well beside it."""
    engine = Engine(Settings(workers=2, worker_mib=700))
    try:
        ended(engine, submit(engine, SHORT), "finished")
        greedy = replace(ENDLESS, model=replace(ENDLESS.model, hidden_size=4000))
        with pytest.raises(InputError, match=r"the run would need about .* MB of memory; a worker has 700 MB"):
            engine.submit(greedy, CORPUS)
        large = Run.create(greedy, CORPUS)
        engine._start(large, None, True)  # past the check
        other = submit(engine, replace(LONG, seed=3))
        ended(engine, other, "finished")
        status = ended(engine, large, "failed")
        assert "its worker died" in status.message
        assert status.values == {"count": MAX_RECOVERIES + 1}
        assert large.status() == status
        assert other.reports() == uninterrupted(other.config)
    finally:
        engine.close()


# A cluster of somebody else's


@pytest.mark.slow
def test_an_external_scheduler_with_workers_that_come_and_go(home: Path) -> None:
    """Dask's own commands: a second worker is used as it joins, and missed without harm when it is killed.

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
        until(lambda: len({engine._jobs[run.id].worker for run in runs}) == 2)
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
    """A file system of one megabyte; skipped where it cannot be mounted (the injected error is tested anyway)."""
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


def test_a_full_disk_pauses_the_run_and_freeing_space_lets_it_go_on(small_disk: Path) -> None:
    """Training says that the disk is full, leaves a readable run, and goes on to the same end once there is room."""
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


@pytest.mark.parametrize("number", execution.DISK_FULL)
def test_a_disk_that_refuses_to_write_is_told(home: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The same with an injected error."""
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


def test_what_the_host_cannot_do_now_pauses_a_run(severed: Engine, script: Script) -> None:
    """It says why, and can be resumed."""
    run = submit(severed, SHORT)
    script.next().future.set_exception(HostError("the disk is full: {reason}", reason=errno.ENOSPC))
    assert ended(severed, run, "paused").message == "the disk is full: {reason}"
    severed.resume(run.id)
    assert script.next().folder == str(run.folder)


@pytest.mark.parametrize("name", ["config.json", "corpus.json", "reports.jsonl", "checkpoints/latest.safetensors"])
@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_a_damaged_file_ends_its_run_with_a_reason(home: Path, name: str, damage: str) -> None:
    """When another worker takes the run over: an InputError, or it begins again from what is there."""
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
        assert damage == "gone"
        assert name.startswith("checkpoints")
        execution.advance(str(run.folder), SHORT.epochs * 9)
        assert run.reports() == uninterrupted(SHORT)


def test_a_run_deleted_beneath_its_feet_fails_and_no_other(severed: Engine, script: Script) -> None:
    """Its status cannot be written any more; the page is told all the same."""
    run, other = submit(severed, SHORT), submit(severed, SHORT)
    until(lambda: len(script.waiting) == 2, 10)
    gone = next(task for task in script.waiting if task.folder == str(run.folder))
    shutil.rmtree(run.folder)
    with pytest.raises(InputError) as told:
        execution.advance(gone.folder, 3)
    gone.future.set_exception(told.value)
    until(lambda: severed.view(run.id).status.state == "failed", 10)
    script.next().end(1)
    assert script.next().folder == str(other.folder)


# Recoveries, counted


class KilledError(Exception):
    """Stands in for Dask's KilledWorker."""


def test_a_run_whose_task_died_is_sent_again_at_most_three_times(
    severed: Engine, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lost attempt counts; a run that only stood beside it does not."""
    monkeypatch.setattr("rnnviz.engine._is_loss", lambda error: isinstance(error, KilledError))
    culprit = submit(severed, SHORT)
    for _ in range(MAX_RECOVERIES + 1):
        task = script.next()
        culprit.begin_attempt()
        task.future.set_exception(KilledError())
    status = ended(severed, culprit, "failed")
    assert status.values == {"count": MAX_RECOVERIES + 1}
    bystander = submit(severed, SHORT)
    for _ in range(3 * MAX_RECOVERIES):
        script.next().future.set_exception(KilledError())
    script.next().end(90, total=90)
    ended(severed, bystander, "finished")


def test_workers_that_end_their_task_before_they_leave_are_not_counted(
    severed: Engine, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker told to leave is lost to the scheduler while its last task is still under way."""
    monkeypatch.setattr("rnnviz.engine._is_loss", lambda error: isinstance(error, KilledError))
    run = submit(severed, SHORT)
    task = script.next()
    for _ in range(2 * MAX_RECOVERIES):
        run.begin_attempt()
        task.future.set_exception(KilledError())
        task = script.next()
        run.end_attempts()  # by the worker that leaves
    task.end(90, total=90)
    ended(severed, run, "finished")
    assert severed.view(run.id).recoveries == 0


def test_an_attempt_that_ended_is_not_counted(home: Path) -> None:
    """The note of a task under way is gone when it ends, well or badly; one that died is told by the next."""
    run = Run.create(SHORT, CORPUS)
    assert execution.advance(str(run.folder), 2).lost == 0
    assert run.attempts() == 0
    run.begin_attempt()
    assert execution.advance(str(run.folder), 3).lost == 1
    assert execution.advance(str(run.folder), 4).lost == 0


# The unwatched


def graced(seconds: int) -> Settings:
    return Settings(grace_seconds=seconds)


def test_an_unwatched_run_is_paused_after_its_grace(severed: Engine, script: Script) -> None:
    """A closed tab starts the time of grace, a returning one ends it; watched and kept runs go on."""
    severed.settings = graced(60)
    runs = {
        name: Run.find(severed.submit(SHORT, CORPUS, visitor=name, kept=name == "kept"))
        for name in ("left", "back", "kept", "seen")
    }
    severed.watch(runs["seen"].id, "somebody else")
    for name in runs:
        severed.leave(name)
    severed.watch(runs["back"].id, "back")
    severed._pause_unwatched(time.monotonic() + 59)
    assert {severed.view(run.id).status.state for run in runs.values()} == {"queued"}
    severed._pause_unwatched(time.monotonic() + 61)
    states: dict[str, State] = {name: severed.view(run.id).status.state for name, run in runs.items()}
    assert states == {"left": "paused", "back": "queued", "kept": "queued", "seen": "queued"}
    assert runs["left"].status() == Status("paused", "nobody was watching")


# What the host allows


def test_a_visitor_has_so_many_runs_and_all_together_so_many(severed: Engine, script: Script) -> None:
    """The message says how many there are and how many may be; ended and paused ones do not count."""
    severed.settings = Settings(limits=Limits(visitor_runs=2, runs=3))
    own = [severed.submit(SHORT, CORPUS, visitor="a") for _ in range(2)]
    with pytest.raises(InputError, match="2 of your runs are under way; this server allows 2"):
        severed.submit(SHORT, CORPUS, visitor="a")
    severed.submit(SHORT, CORPUS, visitor="b")
    with pytest.raises(InputError, match="3 runs are under way; this server allows 3"):
        severed.submit(SHORT, CORPUS, visitor="c")
    severed.pause(own[0])
    severed.submit(SHORT, CORPUS, visitor="a")
    with pytest.raises(InputError, match="under way"):
        severed.resume(own[0], visitor="a")


def test_a_run_is_stopped_at_the_hosts_limit_of_time(severed: Engine, script: Script) -> None:
    """What it has reached is kept, and the status says why it ended."""
    severed.settings = Settings(limits=Limits(run_seconds=1))
    run = submit(severed, SHORT)
    script.next().end(3, seconds=0.9)
    script.next().end(6, seconds=0.2)
    until(lambda: script.waiting[-1].name == "pause" if script.waiting else False, 10)
    assert severed.view(run.id).status == Status(
        "stopped", "this server trains a run for {seconds} s at most", {"seconds": 1}
    )


def test_the_oldest_ended_unwatched_runs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live, paused and watched runs stay; where that is not enough, a new run is refused."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    states: tuple[State, ...] = ("finished", "running", "paused", "failed", "finished")
    runs = []
    for age, state in enumerate(states):
        run = Run.create(SHORT, CORPUS)
        run.set_status(Status(state))
        (run.folder / "ballast").write_bytes(b"0" * 2**20)
        for name in ("reports.jsonl", "status.json"):
            os.utime(run.folder / name, (1000 + age, 1000 + age))
        runs.append(run)
    make_room(6, set())
    assert all(run.folder.exists() for run in runs)
    make_room(4, {runs[0].id})
    assert [run.folder.exists() for run in runs] == [True, True, True, False, False]
    with pytest.raises(HostError, match="the runs occupy 3 MB; this server allows 2"):
        make_room(2, {runs[0].id}, needed=True)


def test_runs_are_spread_over_the_workers(severed: Engine, script: Script) -> None:
    """Where one worker has two runs more, one moves: first its checkpoint, then its next task elsewhere."""
    idle = Worker(0, 0, 0)
    script.workers = {"worker-1": idle}
    runs = [submit(severed, SHORT) for _ in range(3)]
    until(lambda: len(script.waiting) == 3, 10)
    for task in script.waiting:
        task.end(1)
    until(lambda: len(script.waiting) == 3, 10)
    script.workers = {"worker-1": idle, "worker-2": idle}
    severed._balance()
    severed._balance()
    (moving,) = [job for job in severed._jobs.values() if job.move_to]
    next(task for task in script.waiting if task.folder == str(moving.run.folder)).end(2)
    until(lambda: any(task.name == "pause" for task in script.waiting), 10)
    (last,) = [task for task in script.waiting if task.name == "pause"]
    assert last.options["workers"] == ["worker-1"]
    last.future.set_result((None, "worker-1"))
    until(lambda: any(task.options["workers"] == ["worker-2"] for task in script.waiting), 10)
    assert len(runs) == 3


def test_what_waits_for_a_worker_that_has_gone_is_sent_again(severed: Engine, script: Script) -> None:
    """Dask would keep it for that worker for ever, where no other was there when it went."""
    script.workers = {"worker-1": Worker(0, 0, 0)}
    run = submit(severed, SHORT)
    task = script.next()
    assert task.options["workers"] == ["worker-1"]
    sent = severed._jobs[run.id].sent_at
    severed._send_stranded(sent + 10)
    script.workers = {}
    severed._send_stranded(sent + 10)
    script.workers = {"worker-2": Worker(0, 0, 0)}
    severed._send_stranded(sent + 1)
    assert script.waiting == [task]
    severed._send_stranded(sent + 10)
    again = script.next()
    assert task.future.cancelled()
    assert (again.name, again.options["workers"]) == ("advance", None)
    again.end(90, total=90)
    ended(severed, run, "finished")


def test_runs_go_to_workers_that_suit_them(severed: Engine, script: Script) -> None:
    """Workers tagged with a GPU train what may use one, the others what is to stay on a CPU."""
    plain, tagged = Worker(0, 0, 0), Worker(0, 0, 0, gpu=True)
    script.workers = {"worker-1": plain}
    runs = {run.id: run for run in (submit(severed, replace(SHORT, device=device)) for device in ("auto", "cpu"))}
    until(lambda: len(script.waiting) == 2, 10)
    assert all(task.options["workers"] == ["worker-1"] for task in script.waiting)
    for task in script.waiting:
        task.end(1)
    until(lambda: len(script.waiting) == 2, 10)
    script.workers = {"worker-1": plain, "tagged": tagged}
    severed._balance()
    moves = {runs[job.run.id].config.device: job.move_to for job in severed._jobs.values()}
    assert moves == {"auto": "tagged", "cpu": None}
    assert severed._idlest(next(iter(runs.values()))) == "tagged"


def test_the_page_process_does_not_keep_what_has_ended(severed: Engine, script: Script) -> None:
    """Of three hundred runs opened and closed, the engine remembers the last hundred."""
    for _ in range(300):
        run = submit(severed, SHORT)
        script.next().end(90, total=90)
        assert severed._jobs[run.id].ended.wait(10)
    assert len(severed._jobs) <= 101
    assert threading.active_count() < 50
