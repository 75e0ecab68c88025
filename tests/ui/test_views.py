"""The views of a page: on a wall, only watched, and sent to others."""

from __future__ import annotations

import re
from urllib.parse import quote

import numpy as np
import pytest
import segno
from starlette.requests import Request
from starlette.responses import Response

from rnnviz.runs.folder import Status
from rnnviz.server import routes
from rnnviz.ui.send import MOST_BYTES
from tests.helpers import IdleEngine, open_app

# What trains or halts a run, on any page.
BUTTONS = {
    "train", "pause", "resume", "stop", "twins", "compute", "measure", "train-start", "train-dropout", "open-own",
    "run-notes", "pause-notes", "resume-notes", "run-d2l", "pause-d2l", "resume-d2l",
}  # fmt: skip


def modules_of(svg: str) -> np.ndarray:
    """The dark modules (n, n) of a code with its margin, from the strokes of its drawing."""
    size = int(re.search(r'viewBox="0 0 (\d+) \1"', svg)[1])  # type: ignore[index]
    dark = np.zeros((size, size), dtype=bool)
    x = y = 0
    for dx, dy, width in re.findall(r"[Mm](-?\d+) (-?[\d.]+)h(\d+)", re.search(r'stroke="#000" d="([^"]*)"', svg)[1]):  # type: ignore[index]
        x, y = x + int(dx), int(y + float(dy))
        dark[y, x : x + int(width)] = True
        x += int(width)
    return dark


def ask_for_code(address: str) -> Response:
    """What the server answers to the browser's request for a code."""
    (route,) = [route for route in routes() if route.path == "/app/code"]
    query = f"address={quote(address, safe='')}".encode()
    answer = route.endpoint(Request({"type": "http", "method": "GET", "headers": [], "query_string": query}))
    assert isinstance(answer, Response)
    return answer


@pytest.mark.parametrize(
    "address", ["http://10.0.0.7:8501/gru?t=12&lang=en", "https://a.example/rnn?reads=天涯&view=watch"]
)
def test_the_code_is_that_of_the_address(address: str) -> None:
    """The server draws the very modules that the address has, for whatever host the browser names."""
    answer = ask_for_code(address)
    assert answer.media_type == "image/svg+xml"
    expected = np.array(list(segno.make_qr(address, error="l").matrix_iter(border=4)), dtype=bool)
    np.testing.assert_array_equal(modules_of(bytes(answer.body).decode()), expected)


@pytest.mark.parametrize("address", ["", "javascript:alert(1)", "http://a/" + "x" * MOST_BYTES])
def test_what_is_no_address_has_no_code(address: str) -> None:
    """Nor has a long one; the answer says what is allowed."""
    answer = ask_for_code(address)
    assert answer.status_code == 400
    assert "allowed: " in bytes(answer.body).decode()


def keys(app: object) -> set[str]:
    return {button.key for button in app.button}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("train", {}),
        ("rnn", {"view": "train.watch"}),
        ("gradients", {"tab": "clipping"}),
        ("gradients", {"tab": "map"}),
        ("deep", {"tab": "start"}),
        ("deep", {"tab": "cost"}),
        ("gru", {}),
        ("reproduce", {}),
        ("reproduce", {"tab": "held_back"}),
    ],
)
def test_who_watches_can_neither_train_nor_halt(engine: IdleEngine, page: str, query: dict[str, str]) -> None:
    """The form and its buttons are there for everybody else, and the view is kept."""
    usual = {"view": "train"} if "view" in query else {}
    assert keys(open_app(page, **{**query, **usual})) & BUTTONS
    app = open_app(page, **{"view": "watch", **query})
    assert not keys(app) & BUTTONS
    assert "unattended" not in {toggle.key for toggle in app.toggle}
    assert app.query_params["view"] == "watch"


def test_who_watches_a_run_cannot_press_what_others_can(engine: IdleEngine) -> None:
    """A run under way has Pause and Stop; who watches the same run has neither, and the run goes on.

    The same holds for the runs of a reproduction, which go on one by one.
    """
    app = open_app("train")
    app.button(key="train").click().run()
    run_id = app.query_params["run"]
    assert {"pause", "stop"} <= keys(app)
    watcher = open_app("train", view="watch", run=run_id)
    assert not keys(watcher) & BUTTONS
    watcher.run()
    assert engine.states[run_id].state == "running"
    assert len(engine.submitted) == 1
    app = open_app("reproduce")
    app.button(key="run-notes").click().run()
    assert "pause-notes" in keys(app)
    runs = [run for _config, run in engine.submitted[1:]]
    for state in ("running", "paused"):
        for run in runs:
            engine.states[run] = Status(state)
        assert not keys(open_app("reproduce", view="watch", notes=".".join(runs))) & BUTTONS
    assert "resume-notes" in keys(open_app("reproduce", notes=".".join(runs)))


def test_the_projector_view_is_kept_across_pages_and_languages(engine: IdleEngine) -> None:
    """It has a switch, its own style, and its word in the address beside `watch`."""
    app = open_app("home", view="projector")
    assert app.toggle(key="projector").value
    assert any("--projected: 1" in str(element.proto.body) for element in app.get("html"))
    app.switch_page("pages/gru.py").run()
    assert app.query_params["view"] == "projector"
    app.session_state["lang"] = "zh"
    app.run()
    assert app.query_params["view"] == "projector"
    home = open_app("home", view="projector")
    home.toggle(key="projector").set_value(False).run()
    assert "view" not in home.query_params
    both = open_app("rnn", view="watch.projector")
    assert both.query_params["view"] == "projector.watch"


def test_an_older_address_of_the_rnn_page_opens_what_it_opened(engine: IdleEngine) -> None:
    """What is now `show` was `view`."""
    app = open_app("rnn", view="train")
    assert app.segmented_control(key="show").value == app.query_params["show"] == "train"
    assert "view" not in app.query_params


def test_a_view_can_be_sent(engine: IdleEngine) -> None:
    """The button is in the sidebar, which is the same on every page."""
    sent = [element.proto.component_name for element in open_app("home").sidebar.get("bidi_component")]
    assert "rnnviz_send_this" in sent
