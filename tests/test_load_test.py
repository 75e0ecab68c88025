"""Many visitors at once, using the sessions of the load command."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rnnviz.engine.settings import HOSTED, MIB
from rnnviz.errors import InputError
from rnnviz.load_test import App, Session, _start_run, run
from rnnviz.text.corpora import DATA

pytestmark = pytest.mark.slow


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    running = App(tmp_path, workers=1)
    try:
        running.wait()
        yield running
    finally:
        running.close()


def copies(home: Path, count: int) -> list[str]:
    """Copy so many finished runs into a home folder, and return their ids."""
    names = [secrets.token_hex(10) for _ in range(count)]
    for name in names:
        shutil.copytree(DATA / "example-en", home / "runs" / name)
    return names


def test_a_session_sees_what_a_browser_would(app: App, tmp_path: Path) -> None:
    """It sees the page of a run at its address, its charts as text, and a choice that changes one of them."""

    async def visit() -> None:
        session = Session(app.port)
        await session.open("train", run=copies(tmp_path, 1)[0])
        assert "by similarity" in session.described["gates"]
        await session.choose("units", "by mean")
        await session._until(lambda: "by mean" in session.described["gates"])
        await session.close()

    asyncio.run(visit())


def test_newest_curves_have_an_address(app: App, tmp_path: Path) -> None:
    """A run that has ended is sent once more without a next time to ask; invalid requests get a message."""

    def ask(address: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{app.port}/app/newest/{address}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    (name,) = copies(tmp_path, 1)
    status, body = ask(f"{name}?lang=zh&version=0")
    told = json.loads(body)
    assert status == 200
    assert [chart["title"] for chart in told["charts"]] == ["困惑度", "梯度范数"]
    assert (told["every"], told["source"]) == (None, "")
    assert ask("../../etc/passwd")[0] == 400
    assert ask("nothing?lang=zh") == (404, "'nothing' 不是训练的编号")
    assert ask(f"{name}?version=-1") == (400, "version is '-1'; allowed: a whole number")


def test_a_server_that_is_terminated_leaves_its_runs_paused(app: App, tmp_path: Path) -> None:
    """After SIGTERM Python calls no exit functions, so the server has to close its engine itself."""
    started = asyncio.run(_start_run(app.port, tmp_path, 0))
    family = psutil.Process(app.process.pid).children(recursive=True)
    app.process.terminate()
    app.process.wait(20)
    assert started.status().state == "paused"
    assert not psutil.wait_procs(family, 20)[1]


def test_the_page_process_stays_small_after_two_hundred_runs(app: App, tmp_path: Path) -> None:
    """Runs are opened by visitors who leave again; after two hundred, memory that grows once does not grow again.

    What leaks for each run would be in both of the last two spans of sixty.
    """
    names = copies(tmp_path, 260)
    sizes: list[float] = []

    async def visit(name: str) -> None:
        session = Session(app.port)
        await session.open("train", run=name)
        await session.close()

    async def all_of_them() -> None:
        for name in names:
            await visit(name)
            sizes.append(psutil.Process(app.process.pid).memory_info().rss / MIB)

    asyncio.run(all_of_them())
    growth = sizes[199] - sizes[139], sizes[259] - sizes[199]
    assert min(growth) < 8, [round(size) for size in sizes[::20]]


def test_a_hosted_server_is_loaded_with_runs_that_it_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are as long as it allows. More runs than it allows are refused before it is started."""
    monkeypatch.setenv("RNNVIZ_HOSTED", "1")
    with pytest.raises(InputError, match="runs is 31; this server allows at most 30"):
        run(viewers=1, runs=31, seconds=5)
    hosted = App(tmp_path)
    try:
        hosted.wait()
        started = asyncio.run(_start_run(hosted.port, tmp_path, 0))
    finally:
        hosted.close()
    assert started.config.epochs == HOSTED.epochs
