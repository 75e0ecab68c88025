"""Attacks on a running server of `make run` and `make class`: who may connect, and whom it contacts."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.settings import MIB
from rnnviz.load_test import App, Session
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import Run, Status
from rnnviz.text.corpora import Corpus

ROOT = Path(__file__).resolve().parent.parent
RUN_ID = "0123456789abcdef0123"
# This is written into the server's own process, and records every connection and name look-up to the outside.
WATCH = """
import socket, sys

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[0].type == socket.SOCK_STREAM:
        host = arguments[1][0]
    else:
        return
    if host not in (None, "", "localhost", "::1", "0.0.0.0", "::") and not str(host).startswith("127."):
        with open({log!r}, "a") as file:
            print(event, arguments, file=file)

sys.addaudithook(watch)
"""
pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]


class Server:
    """A server started by a target of the Makefile, on its own port."""

    def __init__(self, target: str, home: Path, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.calls = home / "calls.log"
        (home / "sitecustomize.py").write_text(WATCH.format(log=str(self.calls)))
        make = ["make", "--no-print-directory", "-n", target, f"BIN={Path(sys.executable).parent}", "RNNVIZ_WORKERS=1"]
        recipe = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        self.log = home / "server.log"
        variables = {"RNNVIZ_HOME": str(home), "PYTHONPATH": str(home), **environment}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["env", *shlex.split(recipe), "--server.port", str(self.port)],
                cwd=ROOT,
                env={**os.environ, **variables},
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Wait until the server prints its address."""
        deadline = time.monotonic() + 30
        while "rnnviz is at" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def answers(self, address: str) -> bool:
        """Whether the server accepts a connection at one of this machine's addresses."""
        try:
            socket.create_connection((address, self.port), 5).close()
        except ConnectionRefusedError:
            return False
        return True

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, headers and body of a response."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()

    def open_stream(self, host: str = "127.0.0.1", **options: Any) -> None:
        """Connect to Streamlit's websocket and disconnect again. Raises InvalidStatus if that is refused."""
        way = socket.create_connection(("127.0.0.1", self.port))
        with contextlib.closing(way), connect(f"ws://{host}:{self.port}/_stcore/stream", sock=way, **options):
            pass

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextlib.contextmanager
def serving(target: str, home: Path, **environment: str) -> Iterator[Server]:
    """A server that answers, and is ended in any case."""
    server = Server(target, home, **environment)
    try:
        server.wait()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`make run`."""
    with serving("run", tmp_path_factory.mktemp("own")) as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`make class`, on a host that is known by two names."""
    with serving("class", tmp_path_factory.mktemp("shared"), RNNVIZ_HOSTS="127.0.0.1,class.test") as server:
        yield server


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    """Another `make class`, which has served nobody yet, so that its metrics are those of this test."""
    with serving("class", tmp_path, RNNVIZ_HOSTS="127.0.0.1,class.test") as server:
        yield server


def test_a_private_server_answers_only_this_machine(own: Server) -> None:
    """A server on all interfaces would also answer at 127.0.0.2, another of its addresses."""
    assert not own.answers("127.0.0.2")
    assert f"rnnviz is at http://localhost:{own.port}\n" in own.said


def test_a_server_for_a_class_answers_everybody(shared: Server) -> None:
    """It prints its addresses, and has the limits of a hosted server."""
    assert shared.answers("127.0.0.2")
    assert re.search(rf"rnnviz is at http://localhost:{shared.port}( http://[\d.]+:{shared.port})*\n", shared.said)
    assert shared.ask("/")[1]["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("origin", ["http://evil.test", "http://localhost:1", "null"])
def test_a_page_of_another_site_is_refused_at_once(own: Server, origin: str) -> None:
    """No outside service is asked for this machine's address, neither now nor when the server started."""
    began = time.monotonic()
    with pytest.raises(InvalidStatus) as refused:
        own.open_stream(origin=origin)
    assert refused.value.response.status_code == 403
    assert own.ask("/_stcore/health", Origin=origin)[0] == 403
    assert time.monotonic() - began < 1
    own.open_stream(origin=f"http://127.0.0.1:{own.port}")
    assert not own.calls.exists(), own.calls.read_text()


def test_a_request_under_another_host_name_is_refused(shared: Server) -> None:
    """A page could make such requests if its own name pointed to this machine."""
    assert shared.ask("/", Host="class.test")[0] == 200
    assert shared.ask("/", Host="evil.test")[0] == 400
    with pytest.raises(InvalidStatus) as refused:
        shared.open_stream("evil.test")
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize("path", ["/", "/train", "/_stcore/health", f"/app/newest/{RUN_ID}", "/app/static/none.js"])
def test_every_answer_has_security_headers(shared: Server, path: str) -> None:
    """They forbid guessing of types, sending a run's address to other sites, and frames on other sites."""
    headers = shared.ask(path)[1]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.parametrize("version", ["9" * 4300, "9" * 5000, "9" * 16, "-1", "1.5", "", "\u0661" * 4301])
def test_an_invalid_version_is_reported(shared: Server, version: str) -> None:
    """Exceeding Python's limit for the digits of a number is not an internal error."""
    status, _, body = shared.ask(f"/app/newest/{RUN_ID}?version={quote(version)}")
    assert (status, "allowed: a whole number" in body) == (400, True)


def test_no_message_reveals_a_folder_of_the_server(shared: Server) -> None:
    """Neither the error for a missing run nor what the server tells a page about itself does."""
    status, _, body = shared.ask(f"/app/newest/{RUN_ID}")
    assert (status, body) == (404, f"There is no run {RUN_ID}")
    folder = str(shared.calls.parent)
    assert not [p for p in ("/_stcore/host-config", "/_stcore/metrics", "/none") if folder in shared.ask(p)[2]]


def test_files_that_no_page_uses_are_not_kept(fresh: Server) -> None:
    """Of a dozen uploads of one visitor two are kept, none of which is larger than a hosted server allows."""
    way = socket.create_connection(("127.0.0.1", fresh.port))
    with connect(f"ws://127.0.0.1:{fresh.port}/_stcore/stream", sock=way, max_size=None) as stream:
        message = BackMsg()
        message.rerun_script.query_string = ""
        stream.send(message.SerializeToString())
        session = ""
        while not session:
            session = ForwardMsg.FromString(stream.recv(20)).new_session.initialize.session_id  # type: ignore[arg-type]
        cookie = fresh.ask("/_stcore/health")[1]["set-cookie"].split(";")[0]
        headers = {"Cookie": cookie, "X-Xsrftoken": cookie.split("=", 1)[1]}

        def put(name: str, size: int) -> int:
            body = (
                b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
                + bytes(size)
                + b"\r\n--b--\r\n"
            )
            given = {**headers, "Content-Type": "multipart/form-data; boundary=b"}
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=20)) as connection:
                connection.request("PUT", f"/_stcore/upload_file/{session}/{name}", body, given)
                return connection.getresponse().status

        assert [put(str(i), 2 * MIB - 1000) for i in range(12)] == [204] * 12
        assert put("large", 3 * MIB) == 413
        metrics = fresh.ask("/_stcore/metrics")[2]
    (kept,) = re.findall(r'^cache_memory_bytes\{cache_type="UploadedFileManager".*\} (\d+)$', metrics, re.MULTILINE)
    assert int(kept) == 2 * (2 * MIB - 1000)


@pytest.mark.timeout(240)  # twenty pages in a row, a second each, or three on a busy machine
def test_reading_many_texts_does_not_fill_the_memory(tmp_path: Path) -> None:
    """What a model of several megabytes reads is cached with its weights, but not for all of twenty texts."""
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
    corpus = Corpus("many", letters * 2, letters[:100])
    config = TrainConfig(ModelConfig(cell="rnn", hidden_size=512), batch_size=2, num_steps=20, epochs=1)
    run = Run.create(config, corpus, tmp_path / "runs" / RUN_ID)
    run.save_checkpoint(Trainer(config, corpus).checkpoint().only_weights())
    run.set_status(Status("paused"))
    app = App(tmp_path, workers=1)

    async def read(text: str) -> None:
        session = Session(app.port)
        await session.open("rnn", run=RUN_ID, model="own", reads=text)
        await session.close()

    try:
        app.wait()
        for start in range(20):
            asyncio.run(read(letters[start : start + 30]))
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{app.port}/_stcore/metrics").read().decode()
    finally:
        app.close()
    (remembered,) = re.findall(r'^cache_memory_bytes\{.*reading\._readings".*\} (\d+)$', metrics, re.MULTILINE)
    assert 10 * MIB < int(remembered) <= 64 * MIB
