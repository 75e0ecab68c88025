"""What our server adds to Streamlit's, tested without starting one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from rnnviz import server
from rnnviz.scripts import files
from rnnviz.server import routes
from tests.helpers import listens_at

ROOT = Path(__file__).resolve().parent.parent
APPLIED = """
import json
import streamlit as st
from rnnviz.server import check_settings, middleware
settings = check_settings()
options = ("server.maxUploadSize", "server.maxWidgetStateSize", "client.showErrorDetails")
print(json.dumps([*map(st.get_option, options), [guard.cls.__name__ for guard in middleware(settings)]]))
"""
GUARDS = ["SameOrigin", "FewUploads", "LeftPages", "LastingFiles"]


@pytest.mark.parametrize(
    ("environment", "applied"),
    [
        ({}, [20, 25, "full", ["AnswerHeaders", *GUARDS]]),
        (
            {"RNNVIZ_HOSTED": "1", "RNNVIZ_HOSTS": "class.test"},
            [
                2,
                7,
                "none",
                ["AnswerHeaders", "TrustedHostMiddleware", "SameOrigin", "FewUploads", "LeftPages", "LastingFiles"],
            ],
        ),
        (
            {"RNNVIZ_MAX_UPLOAD_MIB": "5", "RNNVIZ_HOSTED": "1"},
            [5, 10, "none", ["AnswerHeaders", *GUARDS]],
        ),
    ],
)
def test_settings_reach_streamlit(environment: dict[str, str], applied: list[object]) -> None:
    """They set the size of uploads and of pasted texts, and on a hosted server they hide tracebacks."""
    fresh = subprocess.run(
        [sys.executable, "-c", APPLIED],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(fresh.stdout) == applied


@pytest.mark.slow
def test_the_cloud_starts_a_hosted_server_that_its_host_can_reach(tmp_path: Path) -> None:
    """It listens on all interfaces and has a hosted server's headers, from whatever folder it is started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "cloud" / "app.py"), "--server.port", str(port)]
    log, environment = tmp_path / "log", {**os.environ, "RNNVIZ_HOME": str(tmp_path)}
    with log.open("w") as out, subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=out) as app:
        try:
            while "rnnviz is at" not in log.read_text():
                assert app.poll() is None, log.read_text()
                time.sleep(0.1)
            assert listens_at(app.pid) == {"0.0.0.0"}  # noqa: S104
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/train") as answer:
                assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
        finally:
            app.terminate()


def answer(path: str, meanwhile: Callable[[], None] = lambda: None) -> bytes:
    """The body that our routes answer with, when something has happened after they were asked."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        asked = asyncio.create_task(Starlette(routes=routes())(scope, receive, send))
        await asyncio.sleep(0.1)
        meanwhile()
        await asked

    asyncio.run(main())
    return bytes(sent[1]["body"])


@pytest.mark.parametrize(("path", "charts"), [("/", False), ("/gru", False), ("/deep", False), ("/train", True)])
def test_scripts_are_loaded_beside_streamlits_own(path: str, charts: bool) -> None:
    """The page's head names our modules, and plotly.js where a chart is the first picture; all of them are there."""
    page = answer(path).decode()
    named = re.findall(r'<link rel="(\w+)"[^>]* href="\./(app/static/[^"]+)"', page)
    assert [name for name in named if "plotly" in name[1]] == [name for name in named if name[0] == "preload"]
    assert len([name for name in named if name[0] == "preload"]) == charts
    assert len(named) > 5
    assert {address.removeprefix("app/static/") for _, address in named} <= set(files())
    for part in server._EARLY:
        assert page.count(f"/{part}.") == 1, "Streamlit calls this part otherwise"
    assert ("BACKEND_BASE_URL" in page) == (path != "/")


def test_scripts_are_handed_out_from_where_they_are_installed() -> None:
    """Nothing is copied, because an installed app may be read-only; other names are not found."""
    for name, path in files().items():
        assert answer(f"/app/static/{name}") == path.read_bytes()
    assert answer("/app/static/../server.py") == answer("/app/static/none.js") == b"there is no such file"


def test_slow_curves_do_not_delay_other_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reading of a long run's reports takes seconds, while the server's loop goes on."""
    loop_went_on = threading.Event()
    monkeypatch.setattr("rnnviz.ui.run_view.newest_curves", lambda *_: b"{}" if loop_went_on.wait(20) else b"")
    assert answer("/app/newest/0123456789abcdef0123", meanwhile=loop_went_on.set) == b"{}"
