"""What our server adds to Streamlit's.

It prepares its process, refuses wrong settings, guards every request, puts our script into
every page, prints its address, answers with a run's newest curves and with an address's QR code, and closes the engine
when it ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from socket import AF_INET
from typing import cast

import psutil
import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from streamlit import config
from streamlit.cli_util import open_browser
from streamlit.runtime import get_instance
from streamlit.runtime.pages_manager import PagesManager
from streamlit.web.cli import main as streamlit_command
from streamlit.web.server.server_util import get_url

from rnnviz.engine.settings import APP, Settings
from rnnviz.errors import InputError
from rnnviz.guards import (
    HEADERS,
    NO_FOREIGN_FRAMES,
    AnswerHeaders,
    FewUploads,
    LastingFiles,
    LeftPages,
    SameOrigin,
    UploadedFiles,
)
from rnnviz.i18n import match_language, translator
from rnnviz.scripts import ADDRESS, files, head

_OURS = Path(__file__).resolve().parent / "ui" / "static"
_STREAMLITS = Path(st.__file__).parent / "static"
# Parts of Streamlit that the first picture of every page waits for; its own document names only what all apps use.
_EARLY = ("Html", "BidiComponent", "serialization", "recordbatch", "_arrayReduce")
# On a page's own address Streamlit first looks for its server below that address, which costs it a tenth of a second.
_WHERE_THE_SERVER_IS = '<script>window.__streamlit = {BACKEND_BASE_URL: new URL(".", location.href).href}</script>'
_LONGEST_VERSION = 15  # digits
_opens_browser = False


def serve(address: str | None, port: int | None, *, browser: bool) -> None:
    """Run the app until it is ended, as `streamlit run app.py` does with these options, and open it in a browser.

    None leaves an option as it is in `.streamlit/config.toml`: 127.0.0.1, and the first free port from 8501 on.
    """
    global _opens_browser  # noqa: PLW0603  one process, one server
    has_screen = sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    _opens_browser = browser and has_screen
    options = {"--server.address": address, "--server.port": port}
    given = [str(part) for option in options.items() if option[1] is not None for part in option]
    streamlit_command(["run", str(APP / "app.py"), *given])


def prepare_process() -> None:
    """Make new files private to this account, and allow as many connections as the system permits."""
    os.umask(0o077)
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limits; others may refuse the highest
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_settings() -> Settings:
    """Read the host's settings, including Streamlit's secrets, and pass those that concern Streamlit on to it.

    If a setting is not allowed, the process ends with an error message at once.
    """
    st.secrets.load_if_toml_exists()  # this turns them into environment variables
    try:
        settings = Settings.from_environment()
    except InputError as error:
        raise SystemExit(str(error)) from None
    config.set_option("server.maxUploadSize", settings.limits.upload_mib)
    config.set_option("server.maxWidgetStateSize", settings.limits.upload_mib + 5)  # a pasted text and everything else
    if settings.hosted:
        st.set_option("client.showErrorDetails", "none")
    return settings


def middleware(settings: Settings) -> list[Middleware]:
    """The middleware between the network and Streamlit, the outermost first."""
    headers = HEADERS | NO_FOREIGN_FRAMES if settings.hosted else HEADERS
    guards = [
        Middleware(AnswerHeaders, headers=headers),
        Middleware(SameOrigin, allowed=tuple(config.get_option("server.corsAllowedOrigins"))),
        Middleware(FewUploads, files=lambda: cast("UploadedFiles", get_instance().uploaded_file_mgr)),
        Middleware(LeftPages),
        Middleware(LastingFiles),
    ]
    if settings.hosts:
        guards.insert(1, Middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts, www_redirect=False))
    return guards


def routes() -> list[Route]:
    """The addresses that this server has in addition to Streamlit's own."""
    base = str(st.get_option("server.baseUrlPath")).strip("/")
    base = f"/{base}" if base else ""
    pages = {page.stem: _html(page.stem) for page in APP.glob("pages/*.py")}
    ours = {f"{ADDRESS}/{{name:path}}": _script, "app/newest/{run}": _newest, "app/code": _code}
    addresses = {"": _html("home"), **pages, **ours}
    return [Route(f"{base}/{path}", answer) for path, answer in addresses.items()]


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Print where the server is. However it ends, runs are paused: after SIGTERM Python calls no exit functions."""
    # Until `app.py` has run once, Streamlit would take `pages/` for its older kind of navigation, and so answer the
    # first visitor's `/train` without `app.py`.
    PagesManager.uses_pages_directory = False
    addresses = [get_url(host) for host in _reachable_at()]
    print("rnnviz is at", *addresses, flush=True)
    if _opens_browser:
        open_browser(addresses[0])
    yield
    from rnnviz.ui.frame import close_engine

    close_engine()


def _html(page: str) -> Callable[[Request], Response]:
    """The document that Streamlit sends for every page, with our script and style, and what is loaded early."""

    @cache
    def document() -> str:
        html = (_STREAMLITS / "index.html").read_text(encoding="utf-8")
        script, style = ((_OURS / name).read_text(encoding="utf-8") for name in ("history.js", "page.css"))
        early = [path for name in _EARLY for path in _STREAMLITS.glob(f"static/js/{name}.*.js")]
        links = [f'<link rel="modulepreload" href="./{path.relative_to(_STREAMLITS).as_posix()}">' for path in early]
        server = "" if page == "home" else _WHERE_THE_SERVER_IS
        own = "".join([server, *links, head(page), f"<style>{style}</style>"])
        return html.replace("<head>", f"<head><script>{script}</script>", 1).replace("</head>", own + "</head>", 1)

    return lambda _: HTMLResponse(document(), headers={"Cache-Control": "no-cache"})


def _reachable_at() -> list[str]:
    """The names by which this server can be reached; Streamlit would ask a server on the internet for one more."""
    address = config.get_option("server.address") or "0.0.0.0"  # noqa: S104  Streamlit's own default
    if address not in ("0.0.0.0", "::"):  # noqa: S104
        return ["localhost" if address == "127.0.0.1" else address]
    interfaces = psutil.net_if_addrs().values()
    addresses = [entry.address for entries in interfaces for entry in entries if entry.family == AF_INET]
    return ["localhost", *(address for address in addresses if not address.startswith("127."))]


def _script(request: Request) -> Response:
    """One of the files that browsers keep for ever; the middleware compresses it."""
    path = files().get(request.path_params["name"])
    if path is None:
        return PlainTextResponse("there is no such file", 404)
    return Response(path.read_bytes(), media_type="text/javascript")


def _newest(request: Request) -> Response:
    """Curves newer than `?version=` and `?phase=`, in `?lang=`; 204 if there are none, 404 if there is no run.

    With `?with=` another run's are drawn over them.

    It is not a coroutine, so that it runs in a thread and the server goes on while reports are read.
    """
    from rnnviz.ui.frame import Frame  # Streamlit's caches can only be made once its server is there
    from rnnviz.ui.run_view import newest_curves

    version = request.query_params.get("version", "0")
    if not version.isdecimal() or len(version) > _LONGEST_VERSION:
        return PlainTextResponse(f"version is {version[:40]!r}; allowed: a whole number", 400)
    language = match_language(request.query_params.get("lang"))
    frame = Frame("train", language, translator(language))
    try:
        phase, other = (request.query_params.get(name, "") for name in ("phase", "with"))
        charts = newest_curves(frame, request.path_params["run"], int(version), phase, other)
    except InputError as error:
        return PlainTextResponse(frame.explain(error), 404)
    if charts is None:
        return Response(status_code=204)
    # Compressing it for every viewer would take longer than making it.
    headers = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
    return Response(charts, media_type="application/json", headers=headers)


def _code(request: Request) -> Response:
    """The QR code of `?address=` as SVG; 400 for what is no address of a page, or a long one."""
    from rnnviz.ui.send import code_of

    try:
        code = code_of(request.query_params.get("address", ""))
    except InputError as error:
        return PlainTextResponse(str(error), 400)
    return Response(code, media_type="image/svg+xml", headers={"Cache-Control": "max-age=3600"})
