"""Guards check every request before Streamlit sees it."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from rnnviz.guards import (
    HEADERS,
    KEPT_UPLOAD_BYTES,
    KEPT_UPLOADS,
    AnswerHeaders,
    FewUploads,
    LastingFiles,
    LeftPages,
    SameOrigin,
    drop_old_uploads,
)

MIB = 2**20


async def answers_200(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind a guard."""
    start = "websocket.accept" if scope["type"] == "websocket" else "http.response.start"
    await send({"type": start, "status": 200, "headers": [(b"x-frame-options", b"DENY")]})


def ask(guard: Any, kind: str = "http", method: str = "GET", path: str = "/", **headers: str) -> Message:
    """The first message that a guard, or the application behind it, sends."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("no guard reads what is sent")

    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": method, "path": path, "headers": encoded, "extensions": {}}
    if kind == "websocket":
        scope["extensions"] = {"websocket.http.response": {}}
    asyncio.run(guard(scope, receive, send))
    return sent[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "class.test"}, True),  # no browser, or one that asks for a page of ours
        ({"host": "class.test:8501", "origin": "http://class.test:8501"}, True),
        ({"host": "class.test", "origin": "https://class.test"}, True),  # behind a proxy with TLS
        ({"host": "class.test", "origin": "https://friend.test"}, True),
        ({"host": "class.test", "origin": "http://friend.test"}, False),
        ({"host": "class.test:8501", "origin": "http://class.test"}, False),
        ({"host": "class.test", "origin": "http://evil.test"}, False),
        ({"host": "class.test", "origin": "http://localhost"}, False),
        ({"host": "class.test", "origin": "null"}, False),
        ({"host": "class.test", "origin": ""}, False),
        ({"origin": "http://class.test"}, False),
        ({"host": "class.test", "origin": "http://class.test@evil.test"}, False),
    ],
)
def test_pages_of_other_sites_are_refused(kind: str, headers: dict[str, str], allowed: bool) -> None:
    """A page may come from the host that it talks to, or from one that is listed."""
    answer = ask(SameOrigin(answers_200, ["https://friend.test"]), kind, **headers)
    assert answer["status"] == (200 if allowed else 403)


def test_every_answer_has_security_headers() -> None:
    """A header that the application has already set is kept."""
    answer = ask(AnswerHeaders(answers_200, HEADERS | {"X-Frame-Options": "SAMEORIGIN"}))
    assert dict(answer["headers"]) == {
        b"x-frame-options": b"DENY",
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"same-origin",
    }


def uploaded(session: str, name: str, size: int = 1) -> tuple[str, UploadedFileRec]:
    return session, UploadedFileRec(name, name, "text/plain", bytes(size))


def names(files: MemoryUploadedFileManager) -> dict[str, list[str]]:
    return {session: list(own) for session, own in files.file_storage.items() if own}


def test_a_session_keeps_its_newest_uploads() -> None:
    """This holds however many it sends; those of other sessions are not touched."""
    files = MemoryUploadedFileManager("/upload")
    files.add_file(*uploaded("other", "a"))

    def store(name: str) -> FewUploads:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            files.add_file(*uploaded("mine", name))
            await answers_200(scope, receive, send)

        return FewUploads(app, lambda: files)

    for name in "abcdef":
        ask(store(name), method="PUT", path=f"/base/_stcore/upload_file/mine/{name}")
    assert names(files) == {"other": ["a"], "mine": ["e", "f"]}
    assert KEPT_UPLOADS == 2
    ask(store("g"), method="PUT", path="/elsewhere/mine/g")
    assert names(files)["mine"] == ["e", "f", "g"]


def test_all_uploads_together_are_bounded() -> None:
    """The files of the oldest sessions are deleted first, and only as many as necessary."""
    files = MemoryUploadedFileManager("/upload")
    for session in "abcdefgh":
        files.add_file(*uploaded(session, "file", 10 * MIB))
    drop_old_uploads(files, "h")
    assert list(names(files)) == list("cdefgh")
    assert KEPT_UPLOAD_BYTES == 64 * MIB


def rerun(page: str, fragment: str = "") -> Message:
    """The message with which a browser runs a page's script, or one of its fragments."""
    message = BackMsg()
    message.rerun_script.page_script_hash = page
    message.rerun_script.fragment_id = fragment
    return {"type": "websocket.receive", "bytes": message.SerializeToString()}


def passed(*messages: Message) -> list[Message]:
    """The messages that reach the application behind the guard."""
    reached: list[Message] = []
    waiting = iter([*messages, {"type": "websocket.disconnect"}])

    async def receive() -> Message:
        return next(waiting)

    async def application(_: Scope, receive: Receive, __: Send) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            reached.append(message)

    async def send(_: Message) -> None:
        raise AssertionError("the guard answers nothing itself")

    asyncio.run(LeftPages(application)({"type": "websocket"}, receive, send))
    return reached


def test_requests_for_a_fragment_of_a_page_that_was_left_are_dropped() -> None:
    """The page may be left by its first request, a link, or Back."""
    first, ticks, link, back = rerun(""), rerun("rnn", "curves"), rerun("train"), rerun("rnn")
    late = rerun("train", "gates")
    assert passed(first, ticks, ticks, link, ticks, late, back, late, ticks) == [
        *(first, ticks, ticks, link, late, back, ticks)
    ]


def test_other_requests_pass() -> None:
    """Examples are pings, and requests that Streamlit itself will refuse."""
    stop = BackMsg(stop_script=True).SerializeToString()
    others: list[Message] = [{"type": "websocket.receive", "bytes": data} for data in (stop, b"", b"\xff\xff\xff")]
    others += [
        {"type": "websocket.receive", "text": "hello"},
        {"type": "websocket.receive", "bytes": None, "text": "a"},
    ]
    assert passed(rerun("rnn"), *others, rerun("rnn", "curves")) == [rerun("rnn"), *others, rerun("rnn", "curves")]


SCRIPT = b"let weights = 0;" * 1000


class Files:
    """An application with a script, a missing file for which it answers with a page, and a count of its answers."""

    def __init__(self) -> None:
        self.answers = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.answers += 1
        there = scope["path"] in ("/static/js/a.js", "/base/app/static/charts-0123456789ab/a.js", "/app/static/own.js")
        cache = b"public" if there else b"no-cache"
        size = str(len(SCRIPT)).encode()
        headers = [(b"cache-control", cache), (b"content-length", size), (b"content-type", b"text/javascript")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (SCRIPT[:100], SCRIPT[100:]):
            await send({"type": "http.response.body", "body": part, "more_body": part == SCRIPT[:100]})


def fetch(guard: LastingFiles, path: str, **headers: str) -> tuple[dict[str, str], bytes]:
    """The headers and the body of an answer."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(guard({"type": "http", "method": "GET", "path": path, "headers": encoded}, receive, send))
    return (
        {name.decode(): value.decode() for name, value in sent[0]["headers"]},
        b"".join(message["body"] for message in sent[1:]),
    )


@pytest.mark.parametrize("path", ["/static/js/a.js", "/base/app/static/charts-0123456789ab/a.js"])
def test_a_file_that_never_changes_is_compressed_once(path: str) -> None:
    """Every visitor gets the same bytes, and the browser may keep them."""
    files = Files()
    guard = LastingFiles(files)
    first, second = (fetch(guard, path, **{"accept-encoding": "gzip, br"}) for _ in range(2))
    assert first == second
    assert files.answers == 1
    headers, body = first
    assert gzip.decompress(body) == SCRIPT
    assert headers["content-length"] == str(len(body))
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
    assert "immutable" in headers["cache-control"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/static/js/a.js", {}),
        ("/static/js/a.js", {"accept-encoding": "gzip", "range": "bytes=0-9"}),
        ("/static/js/none.js", {"accept-encoding": "gzip"}),  # Streamlit answers with its page
        ("/app/static/own.js", {"accept-encoding": "gzip"}),  # its name says nothing about its content
        ("/", {"accept-encoding": "gzip"}),
    ],
)
def test_every_other_answer_is_left_as_it_is(path: str, headers: dict[str, str]) -> None:
    """It is neither compressed here nor kept."""
    files = Files()
    guard = LastingFiles(files)
    for _ in range(2):
        answered, body = fetch(guard, path, **headers)
        assert body == SCRIPT
        assert "immutable" not in answered["cache-control"]
    assert files.answers == 2
