"""Parts of a page that are redrawn while what they show goes on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import streamlit as st

from rnnviz import ui
from rnnviz.analysis.experiments import CELLS, study_config
from rnnviz.errors import InputError
from rnnviz.i18n import translator
from rnnviz.runs.folder import Status
from rnnviz.text.corpora import corpus_of
from rnnviz.ui import live
from rnnviz.ui.live import HALTED_SECONDS, MOVING, REFRESH_SECONDS, live_part
from tests.helpers import IdleEngine, open_app

FRAME = ui.Frame("train", "en", translator("en"))


class Rerun(Exception):  # noqa: N818  Streamlit's own is not an error either
    """Stands in for the exception with which Streamlit reruns the whole page."""


class Page:
    """Stands in for Streamlit: it draws a fragment once, and again when `look` is called."""

    def __init__(self) -> None:
        self.every: float | None = None
        self.look: Callable[[], None] = lambda: None
        self.errors: list[str] = []

    def fragment(self, part: Callable[..., None], run_every: float | None) -> Callable[..., None]:
        def draw(*args: object) -> None:
            self.every, self.look = run_every, lambda: part(*args)
            self.look()

        return draw

    def rerun(self) -> None:
        raise Rerun


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, engine: IdleEngine) -> Page:
    stub = Page()
    monkeypatch.setattr(live, "st", stub)
    monkeypatch.setattr(live, "show_error", lambda _frame, error: stub.errors.append(str(error)))
    return stub


def test_a_live_part_is_redrawn_and_the_page_reruns_when_it_ends(page: Page) -> None:
    """The page's buttons change with the phase; until then only the part is redrawn."""
    phases = SimpleNamespace(now=MOVING)
    drawn: list[str] = []
    every = live_part(FRAME, lambda: phases.now, drawn.append)
    assert every == page.every == pytest.approx(REFRESH_SECONDS, rel=0.15)
    page.look()
    assert drawn == [MOVING, MOVING]
    phases.now = "paused"
    with pytest.raises(Rerun):
        page.look()
    assert drawn == [MOVING, MOVING]


@pytest.mark.parametrize(
    ("phase", "watch_halted", "every"),
    [("paused", True, HALTED_SECONDS), ("paused", False, None), ("finished", True, None)],
)
def test_a_halted_run_is_checked_if_another_tab_may_resume_it(
    page: Page, phase: str, watch_halted: bool, every: float | None
) -> None:
    """It is checked less often than a live run, and only if asked for; a finished run is not checked."""
    live_part(FRAME, lambda: phase, lambda _: None, watch_halted=watch_halted)
    assert page.every == (every and pytest.approx(every, rel=0.15))


@pytest.mark.parametrize("least_seconds", [REFRESH_SECONDS, 1.0])
def test_the_pace_follows_the_number_of_viewers(
    page: Page, engine: IdleEngine, monkeypatch: pytest.MonkeyPatch, least_seconds: float
) -> None:
    """If many more viewers watch, or many have left, the page reruns at the new pace."""
    for viewers, seconds in ((1, least_seconds), (30, 6.0), (31, 6.2), (1, least_seconds)):
        monkeypatch.setattr(engine, "viewers", viewers)
        if page.every and not 0.7 < seconds / page.every < 1.4:
            with pytest.raises(Rerun):
                page.look()
        live_part(FRAME, lambda: MOVING, lambda _: None, least_seconds=least_seconds)
        assert page.every == pytest.approx(seconds, rel=0.15)


def test_an_error_is_shown_in_place_of_the_part(page: Page) -> None:
    """A file of the run may be damaged while it is watched."""

    def draw(_: str) -> None:
        raise InputError("the run's reports cannot be read")

    live_part(FRAME, lambda: MOVING, draw)
    assert page.errors == ["the run's reports cannot be read"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("page_name", ["train", "rnn", "clipping", "reach"])
def test_every_live_page_adapts_its_pace(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch, page_name: str) -> None:
    """With thirty viewers, a page that shows a run looks at it every six seconds or less often."""
    monkeypatch.setattr(engine, "viewers", 30)
    paces: list[float | None] = []
    monkeypatch.setattr(st, "fragment", recording(st.fragment, paces))
    configs = [study_config(cell) for cell in CELLS]
    ids = [engine.submit(config, corpus_of(config)) for config in configs]
    for run_id in ids:
        engine.states[run_id] = Status("running")
    query = {"train": {"run": ids[0]}, "rnn": {"run": ids[0], "view": "train"}}
    query |= {"clipping": {"run": ids[0], "tab": "clipping"}, "reach": {"three": ".".join(ids), "tab": "reach"}}
    open_app(page_name if page_name in ("train", "rnn") else "gradients", **query[page_name])
    assert [pace for pace in paces if pace]
    assert all(pace > 5 for pace in paces if pace)


def recording(fragment: Callable[..., Callable[..., None]], paces: list[float | None]) -> Callable[..., object]:
    def noted(part: Callable[..., None] | None = None, *, run_every: float | None = None) -> object:
        paces.append(run_every)
        return fragment(part, run_every=run_every)

    return noted
