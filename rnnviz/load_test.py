"""A load test: many sessions over the websocket, without browsers, and the latencies that they see.

    rnnviz load --viewers 30 --runs 8

starts its own app on the loopback address, in its own home folder. First one run trains
alone, then all of them with nobody watching, then with every viewer, then again with nobody. Each
viewer refreshes as a browser does and occasionally sorts the units anew. The test ends by itself.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from rnnviz.engine.settings import MIB, Settings
from rnnviz.errors import InputError
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import Follower

_MOST_ASIDE = 8.0  # seconds of each measurement beside the one with viewers, which may be shorter
_THINKING = (2.0, 4.0)  # seconds between two choices of a visitor
_PATIENCE = 60.0
_EPOCHS = 100_000  # more than a test lasts
_ORDERS = ("by similarity", "by mean", "by index")  # of the units, which the server sorts


class Session:
    """A visitor without a browser, who sends and answers the same messages as Streamlit's front end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.widgets: dict[str, str] = {}  # their ids by their keys
        self.described: dict[str, str] = {}  # what the newest chart of each name shows, in words
        self.updates = 0
        self.address = ""
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._values: dict[str, list[str]] = {}
        self._fragments: dict[str, str] = {}
        self._curves: dict[str, Any] = {"every": None}
        self._fetching: asyncio.Task[None] | None = None
        self._page = self._script = ""
        self._finished = asyncio.Event()

    async def open(self, page: str, **query: str) -> None:
        """Ask for a page and wait until its script has run to its end."""
        address = f"ws://127.0.0.1:{self.port}/_stcore/stream"
        self._socket = await connect(address, subprotocols=["streamlit"], max_size=None)  # type: ignore[list-item]
        self._page, self.address = page, urlencode(query)
        self._tasks.append(asyncio.create_task(self._listen()))
        await self._rerun()
        await self._until(self._finished.is_set)

    async def press(self, key: str) -> None:
        """Press a button."""
        await self._until(lambda: key in self.widgets)
        self._finished.clear()
        await self._rerun(pressed=self.widgets[key])

    async def choose(self, key: str, option: str) -> None:
        """Choose an option of a row of buttons, by its label."""
        await self._until(lambda: key in self.widgets)
        widget = self.widgets[key]
        self._values[widget] = [option]
        await self._rerun(fragment=self._fragments.get(widget, ""))

    async def close(self) -> None:
        """Close the tab."""
        for task in (*self._tasks, *self._timers.values(), *filter(None, [self._fetching])):
            task.cancel()
        if self._socket is not None:
            await self._socket.close()

    async def _until(self, condition: Any) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            for task in filter(None, [*self._tasks, self._fetching]):
                if task.done():
                    task.result()  # raises the error that ended it
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page {self._page} did not answer within {_PATIENCE:g} s")
            await asyncio.sleep(0.005)

    async def _rerun(self, *, pressed: str = "", fragment: str = "", automatic: bool = False) -> None:
        message = BackMsg()
        rerun = message.rerun_script
        rerun.page_name, rerun.query_string = self._page, self.address
        rerun.page_script_hash = self._script
        rerun.fragment_id, rerun.is_auto_rerun = fragment, automatic
        rerun.context_info.locale = "en-US"
        for widget, value in self._values.items():
            state = rerun.widget_states.widgets.add(id=widget)
            state.string_array_value.data.extend(value)
        if pressed:
            rerun.widget_states.widgets.add(id=pressed, trigger_value=True)
        assert self._socket is not None  # noqa: S101  it was opened
        await self._socket.send(message.SerializeToString())

    async def _listen(self) -> None:
        assert self._socket is not None  # noqa: S101  it was opened
        drawn = False
        async for data in self._socket:
            assert isinstance(data, bytes)  # noqa: S101  Streamlit sends no text
            message = ForwardMsg.FromString(data)
            kind = message.WhichOneof("type")
            if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                drawn |= self._note(message.delta)
            elif kind == "navigation":
                self._script = message.navigation.page_script_hash
            elif kind == "page_info_changed":
                self.address = message.page_info_changed.query_string
            elif kind == "auto_rerun":
                self._repeat(message.auto_rerun.fragment_id, message.auto_rerun.interval)
            elif kind == "stop_auto_rerun":
                for fragment in message.stop_auto_rerun.fragment_ids:
                    self._stop(fragment)
            elif kind == "new_session":
                drawn = False
            elif kind == "script_finished":
                self.updates += drawn
                if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    self._finished.set()

    def _note(self, delta: Any) -> bool:
        """Remember what can be pressed, and what charts show. Returns whether the element has a run's curves."""
        element = delta.new_element
        kind = element.WhichOneof("type")
        part = getattr(element, kind)
        if not hasattr(part, "id"):
            return False
        key = part.id.rsplit("-", 1)[-1]
        self.widgets[key] = part.id
        self._fragments[part.id] = delta.fragment_id
        if kind == "bidi_component" and part.bytes:
            shown = json.loads(part.bytes)
            self._describe(shown)
            if key == "curves":
                self._curves = shown
                if self._fetching is None:
                    self._fetching = asyncio.create_task(self._fetch())
        return bool(key == "curves")

    def _describe(self, shown: dict[str, Any]) -> None:
        """Note what the charts of a component show; the cell view has none."""
        self.described |= {chart["name"]: chart["description"] for chart in shown.get("charts", ())}

    async def _fetch(self) -> None:
        """Ask for newer curves, as the component does, as long as there are more to come."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)) as connection:
            while self._curves["every"]:
                await asyncio.sleep(self._curves["every"] * random.uniform(0.85, 1.15))  # noqa: S311  no secret
                asked = self._curves
                body = await asyncio.to_thread(_get, connection, f"/{asked['source']}&version={asked['version']}")
                if body and self._curves is asked:
                    self._curves = json.loads(body)
                    self._describe(self._curves)
                    self.updates += 1
        self._fetching = None

    def _stop(self, fragment: str) -> None:
        if fragment in self._timers:
            self._timers.pop(fragment).cancel()

    def _repeat(self, fragment: str, interval: float) -> None:
        async def timer() -> None:
            while True:
                await asyncio.sleep(interval)
                await self._rerun(fragment=fragment, automatic=True)

        self._stop(fragment)
        self._timers[fragment] = asyncio.create_task(timer())


def _get(connection: http.client.HTTPConnection, address: str) -> bytes:
    """The body of an answer; empty for a 204."""
    connection.request("GET", address, headers={"Accept-Encoding": "gzip"})  # as browsers do
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 204):
        raise InputError("{address} answered {status}", address=address, status=answer.status)
    return body


class App:
    """The app on its own port and in its own home folder; it is ended with all its processes."""

    def __init__(self, home: Path, workers: int | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {**os.environ, "RNNVIZ_HOME": str(home), "RNNVIZ_LOG": "WARNING"}
        if workers:
            environment["RNNVIZ_WORKERS"] = str(workers)
        command = [sys.executable, "-m", "rnnviz", "app", "--port", str(self.port), "--no-browser"]
        self.log = home / "app.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)  # noqa: S603  our own app

    def wait(self) -> None:
        """Wait until it answers. Raises InputError if it does not."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_stcore/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise InputError("the app did not start: {reason}", reason=self.log.read_text()[-500:])

    def memory(self) -> dict[str, int]:
        """The bytes that each process shares with no other: the page's, then the cluster's and its workers'."""
        page = psutil.Process(self.process.pid)
        family = [page, *page.children(recursive=True)]
        names = ["page", *(f"{_role(process)} {process.pid}" for process in family[1:])]
        return {name: process.memory_full_info().uss for name, process in zip(names, family, strict=True)}

    def close(self) -> None:
        """End it, and wait for it."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _role(process: psutil.Process) -> str:
    return "cluster" if "rnnviz.engine.cluster" in process.cmdline() else "worker"


@dataclass
class Outcome:
    """The results of a load test. Speeds are in characters per second, latencies in seconds, memory in MiB."""

    viewers: int
    runs: int
    updates_per_viewer_and_second: float = 0.0
    interactions: int = 0
    latency_p50: float = 0.0
    latency_p95: float = 0.0
    speed_alone: float = 0.0
    speed_unwatched: float = 0.0
    speed: float = 0.0
    shares: list[float] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    lost: int = 0

    @property
    def figures(self) -> dict[str, Any]:
        """Everything that is printed; a share is a run's characters as a part of the mean run's."""
        return {
            **vars(self),
            "of_unwatched": self.speed / max(self.speed_unwatched, 1e-9),
            "of_one_run_alone": self.speed / max(self.speed_alone, 1e-9),
            "worst_share": max((abs(share - 1) for share in self.shares), default=0.0),
            "memory_total": sum(self.memory.values()),
        }


async def measure(port: int, home: Path, app: App, viewers: int, runs: int, seconds: float) -> Outcome:
    """Load a running app and measure what its visitors experience."""
    outcome, aside = Outcome(viewers, runs), min(seconds, _MOST_ASIDE)
    found = [await _start_run(port, home, 0)]
    followers = [Follower(found[0])]
    outcome.speed_alone = sum(await _characters(followers, aside)) / aside
    found += [await _start_run(port, home, seed) for seed in range(1, runs)]
    followers += map(Follower, found[1:])
    await asyncio.sleep(3)  # runs on unevenly busy workers move first
    unwatched = sum(await _characters(followers, aside))
    sessions = [Session(port) for _ in range(viewers)]
    for start in range(0, viewers, 5):  # a class does not arrive all at once
        group = sessions[start : start + 5]
        await asyncio.gather(
            *(session.open("train", run=found[(start + i) % runs].id) for i, session in enumerate(group))
        )
    await asyncio.sleep(2)
    before = sum(session.updates for session in sessions)
    latencies: list[float] = []
    visitors = [asyncio.create_task(_visit(s, random.Random(i), latencies)) for i, s in enumerate(sessions)]  # noqa: S311
    progress = await _characters(followers, seconds)
    for visitor in visitors:
        visitor.cancel()
    outcome.updates_per_viewer_and_second = (sum(s.updates for s in sessions) - before) / viewers / seconds
    outcome.speed = sum(progress) / seconds
    outcome.shares = [value / max(statistics.fmean(progress), 1e-9) for value in progress]
    outcome.memory = {name: size / MIB for name, size in app.memory().items()}
    outcome.lost = sum(run.status().state != "running" for run in found)
    ranked = sorted(latencies) or [float("nan")]
    outcome.interactions = len(latencies)
    outcome.latency_p50, outcome.latency_p95 = (ranked[int(share * (len(ranked) - 1))] for share in (0.5, 0.95))
    for session in sessions:
        await session.close()
    await asyncio.sleep(2)
    unwatched += sum(await _characters(followers, aside))  # before and after: a machine's speed drifts
    outcome.speed_unwatched = unwatched / (2 * aside)
    return outcome


async def _start_run(port: int, home: Path, seed: int) -> Run:
    """A visitor starts the longest run that the host allows, which goes on without them, and leaves."""
    session = Session(port)
    epochs = min(_EPOCHS, Settings.from_environment().limits.epochs)
    await session.open("train", epochs=str(epochs), predict_every="0", seed=str(seed))
    known = set(_runs(home))
    await session.press("train")
    await session._until(lambda: set(_runs(home)) - known)
    (new,) = set(_runs(home)) - known
    run = Run.open(home / "runs" / new)
    await session._until(lambda: len(run.reports()) > 0)
    await session.close()
    return run


def _runs(home: Path) -> list[str]:
    folder = home / "runs"
    return [path.name for path in folder.iterdir() if (path / "config.json").exists()] if folder.exists() else []


async def _characters(runs: Sequence[Follower], seconds: float) -> list[int]:
    """How many characters each run trains on in so many seconds."""
    before = [run.story(0).step for run in runs]
    await asyncio.sleep(seconds)
    steps = [run.story(0).step - step for run, step in zip(runs, before, strict=True)]
    configs = [run.run.config for run in runs]
    return [n * config.batch_size * config.num_steps for n, config in zip(steps, configs, strict=True)]


async def _visit(session: Session, generator: random.Random, latencies: list[float]) -> None:
    """Choose another order of the units now and then, and measure how long its picture takes to appear."""
    while True:
        await asyncio.sleep(generator.uniform(*_THINKING))
        order = generator.choice([order for order in _ORDERS if order not in session.described["gates"]])
        began = time.perf_counter()
        await session.choose("units", order)
        await session._until(lambda order=order: order in session.described["gates"])
        latencies.append(time.perf_counter() - began)


def run(viewers: int, runs: int, seconds: float, workers: int | None = None) -> Outcome:
    """Start an app, load it, and end it. Raises InputError if it does not start, or allows fewer runs."""
    allowed = Settings.from_environment().limits.runs
    if runs > allowed:
        raise InputError(
            "{name} is {value:,}; this server allows at most {limit:,}", name="runs", value=runs, limit=allowed
        )
    with tempfile.TemporaryDirectory(prefix="rnnviz-load-") as folder:
        home = Path(folder)
        app = App(home, workers)
        try:
            app.wait()
            return asyncio.run(measure(app.port, home, app, viewers, runs, seconds))
        finally:
            app.close()
