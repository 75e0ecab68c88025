"""Middleware that every request passes before it reaches Streamlit.

It refuses requests from pages of other sites, adds security headers to answers, removes uploads that
nobody reads, keeps a page that was left from coming back, and compresses files that never change.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from cachetools import LRUCache
from google.protobuf.message import DecodeError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
NO_FOREIGN_FRAMES = {"X-Frame-Options": "SAMEORIGIN", "Content-Security-Policy": "frame-ancestors 'self'"}
KEPT_UPLOADS = 2  # of a session
KEPT_UPLOAD_BYTES = 64 * 2**20  # of all sessions
KEPT_FILE_BYTES = 24 * 2**20  # compressed
_LASTING = re.compile(r"/static/(js|css)/|/app/static/(plotly|charts)-[0-9a-f]{12}\b")
_UPLOAD = re.compile(r"/_stcore/upload_file/(?P<session>[^/]+)/[^/]+")
_log = logging.getLogger(__name__)


class SameOrigin:
    """Refuses requests that come from a page of another site.

    Streamlit would refuse them as well, but it first asks a server on the internet for its own public
    address, and all requests wait meanwhile.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str] = ()) -> None:
        """`allowed` are origins such as `https://class.example.org`, besides the one that the request names as host."""
        self.app, self.allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._allows(Headers(scope=scope)):
            answer = PlainTextResponse("A page of another site may not use this server.", 403)
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _allows(self, headers: Headers) -> bool:
        origin, host = headers.get("origin"), headers.get("host")
        if origin is None or origin in self.allowed or urlsplit(origin).netloc == host:
            return True
        _log.warning("refused a page of %.80r; the host that it asked for is %.80r", origin, host)
        return False


class AnswerHeaders:
    """Adds headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self.app, self.headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    own.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, add if scope["type"] == "http" else send)


class UploadedFiles(Protocol):
    """The part of Streamlit's upload manager that is used here: the files by session and id, oldest first."""

    @property
    def file_storage(self) -> Mapping[str, Mapping[str, Any]]: ...

    def remove_file(self, session_id: str, file_id: str) -> None: ...


class FewUploads:
    """Removes all but the newest uploads, since the script copies a file as soon as it has arrived.

    Otherwise a session could fill the memory with files that no widget has asked for.
    """

    def __init__(self, app: ASGIApp, files: Callable[[], UploadedFiles]) -> None:
        self.app, self.files = app, files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        if scope["type"] == "http" and scope["method"] == "PUT" and (match := _UPLOAD.search(scope["path"])):
            drop_old_uploads(self.files(), match["session"])


def drop_old_uploads(files: UploadedFiles, session: str) -> None:
    """Remove all but the newest uploads of this session, then the oldest ones until all together are small enough."""
    for file_id in list(files.file_storage.get(session, ()))[:-KEPT_UPLOADS]:
        files.remove_file(session, file_id)
    sessions = list(files.file_storage.items())
    kept = [(owner, file_id, len(file.data)) for owner, own in sessions for file_id, file in list(own.items())]
    total = sum(size for _, _, size in kept)
    for owner, file_id, size in kept:
        if total <= KEPT_UPLOAD_BYTES:
            break
        files.remove_file(owner, file_id)
        total -= size


class LeftPages:
    """Drops the requests of fragments whose page has been left.

    Until a browser has the page that was asked for, its slider or its timer may ask once more for a
    fragment of the page before. Streamlit would then name that page again, and show nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = ""  # the last one requested as a whole; the first request names none

        async def receive_for_page() -> Message:
            nonlocal page
            while True:
                message = await receive()
                asked_page, fragment = _rerun_of(message)
                if not fragment:
                    page = asked_page or page
                    return message
                if page in ("", asked_page):
                    return message

        await self.app(scope, receive_for_page if scope["type"] == "websocket" else receive, send)


def _rerun_of(message: Message) -> tuple[str, str]:
    """The page and the fragment that a message of the browser asks for; empty where it names none."""
    try:
        rerun = BackMsg.FromString(message.get("bytes") or b"").rerun_script
    except DecodeError:  # Streamlit will say so
        return "", ""
    return rerun.page_script_hash, rerun.fragment_id


class LastingFiles:
    """Compresses a script or style whose name changes with its content once for all visitors.

    Browsers keep it for ever. Streamlit would send its own scripts as they are, and compress ours for every visitor.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._kept: LRUCache[str, Response] = LRUCache(KEPT_FILE_BYTES, getsizeof=lambda answer: len(answer.body))
        self._compressing = asyncio.Lock()  # a class that arrives at once asks for the same files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not _LASTING.search(scope["path"]):
            return await self.app(scope, receive, send)
        asked = Headers(scope=scope)
        if "gzip" not in asked.get("accept-encoding", "") or "range" in asked:
            return await self.app(scope, receive, send)
        async with self._compressing:
            answer = self._kept.get(scope["path"]) or await self._compressed(scope, receive)
        return await answer(scope, receive, send)

    async def _compressed(self, scope: Scope, receive: Receive) -> Response:
        """The application's answer; it is kept if there is such a file."""
        sent: list[Message] = []

        async def collect(message: Message) -> None:
            sent.append(message)

        await self.app({**scope, "headers": [], "extensions": {}}, receive, collect)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        headers = MutableHeaders(raw=list(sent[0]["headers"]))
        # Streamlit answers with the page itself where it has no such file.
        if sent[0]["status"] != 200 or headers.get("cache-control") == "no-cache":
            return Response(body, sent[0]["status"], headers)
        for name in ("content-length", "etag", "last-modified"):
            del headers[name]
        headers |= {
            "Cache-Control": "public, immutable, max-age=31536000",
            "Content-Encoding": "gzip",
            "Vary": "Accept-Encoding",
        }
        answer = Response(await asyncio.to_thread(gzip.compress, body, 6), 200, headers)
        if len(answer.body) <= KEPT_FILE_BYTES:
            self._kept[scope["path"]] = answer
        return answer
