"""The home page in Chromium, and the way from page to page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from rnnviz.chapters.home import WRITTEN
from rnnviz.i18n import translator
from rnnviz.ui.frame import PAGES, heading
from tests.browser.helpers import SMALL, Server, arrived, frames_sent, go, progress, train, visit, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
NOTE_SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""
VIEW = "document.querySelector('.cell-view').cellView"


@pytest.fixture
def still(browser: Browser) -> Iterator[Page]:
    yield from visit(browser, reduced_motion="reduce", viewport={"width": 1280, "height": 800})


def open_home(page: Page, server: Server, query: str = "") -> None:
    page.goto(f"{server.url}/{query}")
    expect(page.locator(".cv-chip").first).to_be_visible(timeout=60_000)


def test_a_cell_plays_before_anything_is_pressed(browser: Browser, server: Server) -> None:
    """It reads on without a click and without the server. An address that names a step does not play."""
    for page in visit(browser):
        sent = frames_sent(page)
        open_home(page, server)
        arrived(page, "Home")
        before, count = page.evaluate(f"{VIEW}.t"), len(sent)
        wait_until(lambda page=page, before=before: page.evaluate(f"{VIEW}.t") > before + 1, 20)
        assert len(sent) == count
        page.get_by_role("button", name="Pause").click()
        page.wait_for_url(re.compile(r"t=\d+"))  # an address that names a step shows that step
        page.reload()
        expect(page.locator(".cv-chip").first).to_be_visible(timeout=60_000)
        assert not page.evaluate(f"{VIEW}.playing")


def test_the_first_screen_is_the_cell(still: Page, server: Server) -> None:
    """At 1280 by 800 the cell, its controls and the link to Train are visible; with reduced motion it does not play.

    Hardly anything moves while the page loads, and plotly.js is not loaded, since no chart is shown. The lever is among
    the controls, and with it the guesses fail. What the model writes is marked as its own.
    """
    still.add_init_script(NOTE_SHIFTS)
    asked: list[str] = []
    still.on("request", lambda request: asked.append(request.url))
    open_home(still, server)
    arrived(still, "Home")
    assert still.evaluate("window.shifted") < 0.1
    assert [address for address in asked if "live_charts" in address]
    assert not [address for address in asked if "plotly" in address]
    assert not still.evaluate(f"{VIEW}.playing")
    for part in (still.locator(".cv-stage"), still.locator(".cv-controls"), still.locator(".st-key-start a")):
        box = part.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 800
    packed = f"{VIEW}.packed"
    assert still.locator(".cv-written").count() == still.evaluate(f"{packed}.text.length - {packed}.written") == WRITTEN
    still.locator(".cv-controls").get_by_role("button", name="Hold the update gate at 1").click()
    banner = still.locator(".cv-banner")
    expect(banner).to_contain_text("Z held at 1.00 for all units")
    before, after = re.findall(r"mean surprise ([\d.]+) → ([\d.]+) nats", banner.inner_text())[0]
    assert float(after) > float(before) + 1


def test_chapters_and_runs_of_this_browser_are_remembered(still: Page, server: Server) -> None:
    """The card of a chapter that was opened is marked, and a run that was started here is listed as a link."""
    open_home(still, server)
    expect(still.locator(".st-key-card-train a")).not_to_have_attribute("data-visited", "")
    expect(still.locator(".own-runs")).to_be_hidden()
    still.goto(f"{server.url}/train?epochs=1&{SMALL}")
    arrived(still, "Train")
    train(still)
    run = re.search("run=[0-9a-f]{20}", still.url)
    assert run
    expect(progress(still)).to_contain_text("of 1 ·", timeout=60_000)
    open_home(still, server)
    expect(still.locator(".st-key-card-train a")).to_have_attribute("data-visited", "")
    expect(still.locator(".st-key-card-rnn a")).not_to_have_attribute("data-visited", "")
    link = still.locator(".own-runs-links a")
    expect(link).to_have_text(re.compile("Train · "))
    link.click()
    arrived(still, "Train")
    assert run[0] in still.url


def test_every_page_leads_to_the_next(still: Page, server: Server) -> None:
    """The links lead from Home to the last chapter, which has none; a click on a card's picture opens its chapter."""
    open_home(still, server)
    titles = [info.title for info in PAGES if info.name != "status"]
    for title in titles[1:]:
        still.get_by_role("link", name=f"Next: {title}").click()
        arrived(still, title)
    expect(still.get_by_role("link", name=re.compile("^Next: "))).to_have_count(0)
    go(still, "Home")
    still.locator(".st-key-card-gru").click(position={"x": 60, "y": 40})  # on the picture
    arrived(still, "GRU")


@pytest.mark.parametrize(("width", "scheme"), [(1920, "dark"), (390, "light")])
def test_home_fits(browser: Browser, server: Server, width: int, scheme: Any) -> None:
    """On a wide screen and a phone, every chapter has a card with its picture, and nothing scrolls sideways."""
    for page in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme, locale="zh-CN"):
        open_home(page, server)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading("home", translator("zh")))
        for info in PAGES:
            if info.name not in ("home", "status"):
                card = page.locator(f".st-key-card-{info.name}")
                expect(card.get_by_role("link")).to_be_visible()
                wait_until(lambda card=card: card.locator("img").evaluate("(image) => image.naturalWidth") > 100, 20)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
