"""What the server does beside Streamlit.

It refuses wrong settings, answers with a run's newest curves, and ends the engine when it ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rnnviz.errors import InputError
from rnnviz.i18n import match_language, translator
from rnnviz.settings import Settings


def check_settings() -> None:
    """End the process with a sentence where a setting is not allowed, before anybody asks for a page."""
    try:
        Settings.from_environment()
    except InputError as error:
        raise SystemExit(str(error)) from None


def routes() -> list[Route]:
    """The addresses that this server has beside Streamlit's own."""
    base = str(st.get_option("server.baseUrlPath")).strip("/")
    return [Route(f"/{base}/app/newest/{{run}}".replace("//", "/"), _newest)]


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Whatever ends the server, runs are left paused: after SIGTERM Python calls no exit functions."""
    yield
    from rnnviz.ui.frame import engine

    engine.clear()


async def _newest(request: Request) -> Response:
    """Curves newer than `?version=`, in `?lang=`; 204 where there are none, 404 where there is no such run."""
    from rnnviz.ui.frame import Frame  # Streamlit's caches want its server to be there before they are made
    from rnnviz.ui.runs import newest_curves

    version = request.query_params.get("version", "0")
    if not version.isdecimal():
        return PlainTextResponse(f"version is {version[:40]!r}; allowed: a whole number", 400)
    language = match_language(request.query_params.get("lang"))
    frame = Frame("train", language, translator(language))
    try:
        charts = newest_curves(frame, request.path_params["run"], int(version))
    except InputError as error:
        return PlainTextResponse(frame.explain(error), 404)
    if charts is None:
        return Response(status_code=204)
    # To compress it for every viewer would take longer than to make it.
    headers = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
    return Response(charts, media_type="application/json", headers=headers)
