"""A class with one hostile visitor: what one session does must not stop the others."""

from __future__ import annotations

import asyncio
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from distributed.comm.core import connect as comm_connect
from distributed.security import Security
from streamlit.proto.BackMsg_pb2 import BackMsg

from rnnviz.config import ModelConfig
from rnnviz.engine.calls import Call
from rnnviz.engine.engine import Engine
from rnnviz.engine.settings import Settings
from rnnviz.errors import InputError
from rnnviz.load_test import App, Session, _start_run
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport, Report, StepReport
from rnnviz.text.corpora import Corpus, generate_sums, split
from tests.engine.helpers import CORPUS, ENDLESS, SHORT, job_of
from tests.helpers import Script, until

OTHER = Security.temporary()  # a certificate made by somebody else

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[App]:
    """One server with one worker, started as from a shell, for all tests of this file that need a server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, soft), hard))
    running = App(home, workers=1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        running.wait()
        asyncio.run(_visit(running))
        until(lambda: len(_cluster_ports(running)) >= 3)  # those of the scheduler, a nanny and its worker
        yield running
    finally:
        running.close()


async def _send(session: Session, message: BackMsg) -> None:
    assert session._socket is not None
    await session._socket.send(message.SerializeToString())


async def _visit(app: App) -> None:
    """Open a page, whose engine starts the cluster."""
    session = Session(app.port)
    await session.open("train")
    await session.close()


def _cluster(app: App) -> psutil.Process | None:
    children = psutil.Process(app.process.pid).children()
    return next((child for child in children if "rnnviz.engine.cluster" in child.cmdline()), None)


def _family(app: App) -> list[psutil.Process]:
    """The processes of the server's cluster."""
    cluster = _cluster(app)
    return [cluster, *cluster.children(recursive=True)] if cluster else []


def _cluster_ports(app: App) -> set[int]:
    """The ports on which these listen."""
    connections = [connection for process in _family(app) for connection in process.net_connections("inet")]
    return {connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN}


def test_clearing_streamlits_caches_leaves_the_engine_alone(app: App, home: Path) -> None:
    """Any browser may send this message; the cluster stays the same, and another visitor's run goes on."""

    async def attack() -> None:
        run = await _start_run(app.port, home, 0)
        cluster = _cluster(app)
        hostile = Session(app.port)
        await hostile.open("home")
        await _send(hostile, BackMsg(clear_cache=True))
        await hostile._rerun()  # the server has dealt with the message when it answers the next one
        await asyncio.sleep(1)
        reached = run.reports_size()
        await hostile._until(lambda: run.reports_size() > reached)
        assert cluster is not None
        assert _cluster(app) == cluster
        assert run.status().state == "running"
        await hostile.close()

    asyncio.run(attack())


def test_a_command_stopped_with_ctrl_z_writes_no_step_twice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It still holds the run: nobody else can resume it, and `fg` continues it."""
    monkeypatch.setenv("RNNVIZ_HOME", str(home / "terminal"))
    command = "rnnviz train --corpus sums --max-chars 300 --hidden-size 4 --batch-size 4 --num-steps 10 --device cpu"
    arguments = [*command.split()[1:], "--epochs", "100000", "--predict-every", "0"]
    process = subprocess.Popen([sys.executable, "-m", "rnnviz", *arguments], stderr=subprocess.DEVNULL)
    engine = Engine(connection=Script())  # type: ignore[arg-type]
    try:
        folder = home / "terminal" / "runs"
        until(lambda: folder.exists() and any(folder.glob("*/config.json")))
        run = Run.open(next(folder.iterdir()))
        until(lambda: run.reports_size() > 0)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(InputError, match="another process trains this run"):
            engine.resume(run.id)
        assert engine.view(run.id).status.state == "running"
        process.send_signal(signal.SIGCONT)
        reached = run.reports_size()
        until(lambda: run.reports_size() > reached)
        process.send_signal(signal.SIGINT)
        process.wait(30)
    finally:
        engine.close()
        process.kill()
        process.wait()
    told = [report.step for report in run.reports() if isinstance(report, StepReport)]
    assert told == list(range(1, len(told) + 1))


async def _ask_identity(address: str, security: Security | None) -> object:
    """A request that any client may make first to a part of a Dask cluster."""
    arguments = security.get_connection_args("client") if security else {}
    comm = await asyncio.wait_for(comm_connect(address, timeout=3, **arguments), 5)
    try:
        await comm.write({"op": "identity", "reply": True})
        return await asyncio.wait_for(comm.read(), 5)
    finally:
        comm.abort()


def test_other_accounts_of_the_machine_cannot_use_the_cluster(app: App) -> None:
    """Scheduler, nannies and workers listen on loopback, which all accounts reach, but require the certificate.

    The certificate is in no file and in no environment, and the run's folders are closed to others.
    """
    ports = _cluster_ports(app)

    async def attack() -> list[object]:
        plain = [_ask_identity(f"tcp://127.0.0.1:{port}", None) for port in ports]
        foreign = [_ask_identity(f"tls://127.0.0.1:{port}", OTHER) for port in ports]
        return await asyncio.gather(*plain, *foreign, return_exceptions=True)

    answers = asyncio.run(attack())
    assert [answer for answer in answers if not isinstance(answer, OSError | TimeoutError)] == []
    for process in [psutil.Process(app.process.pid), *_family(app)]:
        assert "PRIVATE KEY" not in " ".join([*process.environ().values(), *process.cmdline()])


def test_other_accounts_cannot_read_runs(home: Path) -> None:
    """This holds for a run's folder and for the folder of all runs, whose names are the addresses that give access."""
    folder = home / "modes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNVIZ_HOME", str(folder))
        run = Run.create(SHORT, CORPUS)
        other = Run.create(SHORT, CORPUS, home / "out")
    for path in (run.folder, run.folder.parent, other.folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_the_server_raises_its_descriptor_limit_and_keeps_its_files_private(app: App, home: Path) -> None:
    """A class of 250 met the soft limit; the workers have the higher one too, and also write private files."""
    for process in (psutil.Process(app.process.pid), *_family(app)):
        soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        assert soft == hard
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (home / "runs").rglob("*")} == {0}


# One worker, and another visitor's run on it


@pytest.fixture(scope="module")
def crowded(home: Path) -> Iterator[Engine]:
    """An engine with one worker of 900 MB, without the limits of a hosted server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNVIZ_HOME", str(home / "crowded"))
        engine = Engine(Settings(workers=1, worker_mib=900))
        yield engine
        engine.close()


@pytest.fixture
def victim(crowded: Engine) -> Iterator[Run]:
    """A small run that is under way."""
    run = Run.find(crowded.submit(ENDLESS, CORPUS, visitor="victim"))
    until(lambda: run.reports_size() > 0)
    yield run
    crowded.cancel(run.id)
    crowded.wait(run.id, 30)


def _share(engine: Engine, run: Run, seconds: float = 5.0) -> float:
    """How many of these seconds the worker spends on this run; a busy machine does not lower the number."""
    job = job_of(engine, run.id)
    before = job.seconds
    time.sleep(seconds)
    return (job.seconds - before) / seconds


def _end(engine: Engine, run: Run) -> float:
    """Stop a run, and measure how many seconds that takes."""
    began = time.monotonic()
    engine.cancel(run.id)
    engine.wait(run.id, 60)
    return time.monotonic() - began


def _told(run: Run, kind: type[Report]) -> bool:
    return any(isinstance(report, kind) for report in run.reports())


def test_twenty_thousand_prefixes_stop_nobody_else(crowded: Engine, victim: Run) -> None:
    """The predictions at the end of an epoch take turns like training, and can be stopped in the middle."""
    config = replace(ENDLESS, prefixes=("1",) * 20_000, predict_every=1, predict_length=2000)
    hostile = Run.find(crowded.submit(config, CORPUS, visitor="hostile"))
    until(lambda: _told(hostile, EpochReport))
    assert _share(crowded, victim) > 0.25
    assert _end(crowded, hostile) < 20


def test_a_run_of_long_steps_leaves_half_of_the_worker_to_others(crowded: Engine, victim: Run) -> None:
    """Turns are counted in seconds, and stopping the run takes no longer than a step."""
    config = replace(ENDLESS, model=ModelConfig(hidden_size=512, num_layers=2), batch_size=40, num_steps=100)
    corpus = split(generate_sums(9000), "sums", max_chars=8500)
    hostile = Run.find(crowded.submit(config, corpus, visitor="hostile"))
    until(lambda: hostile.reports_size() > 0)
    assert _share(crowded, victim, 8) > 0.25
    job = job_of(crowded, hostile.id)
    assert _end(crowded, hostile) < 5 + 3 * job.seconds / job.step


def test_ten_measurements_at_once_leave_half_to_training(crowded: Engine, victim: Run) -> None:
    """Each takes a second or more of the worker; ten tabs of one visitor count as ten visitors."""
    large = Run.create(replace(ENDLESS, model=ModelConfig(hidden_size=128)), CORPUS)
    crowded.resume(large.id, visitor="hostile")
    until(lambda: large.checkpoint_path().exists())
    _end(crowded, large)
    calls = [Call("rnnviz.nn.carrying:graph_growth", {"folder": str(large.folder)}, f"tab {n}") for n in range(10)]
    answers = [crowded._calls.ask(call) for call in calls]
    until(lambda: sum(answer.done() for answer in answers) >= 3)  # calls may begin with their own second
    began, trained = time.monotonic(), job_of(crowded, victim.id).seconds
    until(lambda: sum(answer.done() for answer in answers) >= 6)
    assert job_of(crowded, victim.id).seconds - trained > 0.25 * (time.monotonic() - began)
    for answer in answers:
        answer.cancel()
    assert crowded.compute("rnnviz.runs.folder:is_milestone", step=3)


def test_a_vocabulary_too_large_for_the_worker_does_not_kill_it(crowded: Engine, victim: Run) -> None:
    """The measurement is refused with the reason before the worker begins it; the run beside it loses nothing."""
    text = "".join(map(chr, range(0x10000, 0x10000 + 150_000)))
    config = replace(ENDLESS, model=ModelConfig(hidden_size=4), batch_size=1, num_steps=4)
    hostile = Run.find(crowded.submit(config, Corpus("many", text, text[:100]), visitor="hostile"))
    until(lambda: hostile.checkpoint_path().exists())
    _end(crowded, hostile)
    with pytest.raises(InputError, match=r"this would need about [\d,]+ MB of memory"):
        crowded.compute("rnnviz.nn.carrying:graph_growth", folder=str(hostile.folder))
    assert crowded.view(victim.id).recoveries == 0
