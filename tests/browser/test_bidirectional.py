"""The tabs of the Bidirectional page in Chromium: the passes play by themselves, and every tab fits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.helpers import Server, chart, note, noted, visit, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
CHARTS = {"passes": "passes", "cell": "", "cheat": "perplexity", "leak": "leak", "restore": "restore"}


def open_tab(page: Page, server: Server, tab: str, rest: str = "") -> None:
    page.goto(f"{server.url}/bidirectional?tab={tab}{rest}")
    expect(picture(page, tab)).to_be_visible(timeout=60_000)


def picture(page: Page, tab: str) -> Locator:
    """What a tab shows: a chart, or the drawn cell."""
    return chart(page, CHARTS[tab]).locator(".plot-container") if CHARTS[tab] else page.locator(".cv-frame")


def shapes(page: Page) -> list[float]:
    """Where the cursor of each pass stands, as drawn: its column's left edge."""
    script = "document.querySelector('.live-chart[data-name=passes]')._fullLayout.shapes.slice(2, 4).map((s) => s.x0)"
    return list(page.evaluate(script))


def test_both_cursors_move_in_the_browser_alone(page: Page, server: Server) -> None:
    """Play leads to the end, one forward and one backward; the address follows when it halts; arrows step."""
    sent: list[int] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(len(frame))))
    open_tab(page, server, "passes", "&s=29&lang=en")
    expect(page.locator(".chart-slider output")).to_contain_text("29")
    wait_until(lambda: shapes(page) == [27.5, 7.5])
    page.wait_for_function("document.querySelector('[data-test-script-state=notRunning]')")
    before = len(sent)
    note(page, "[document.querySelector('.chart-slider output').textContent, location.search]")
    page.get_by_role("button", name="Play").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("s=37"))
    played = [(int(text.split()[0]), address) for text, address in noted(page)]
    under_way = [(step, address) for step, address in played if step < 37]
    assert [step for step, _address in under_way] == list(range(29, 37))
    assert all("s=29" in address for _step, address in under_way)
    page.wait_for_function("document.querySelector('[data-test-script-state=notRunning]')")
    assert len(sent) - before <= 2  # not one for each step
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    wait_until(lambda: shapes(page) == [35.5, -0.5])
    page.get_by_role("button", name="Play").click()  # from the beginning again
    page.get_by_role("button", name="Pause").click()
    page.wait_for_url(re.compile(r"s=\d\b"))
    page.locator(".chart-slider input").focus()
    page.keyboard.press("End")
    page.wait_for_url(re.compile("s=37"))


def test_a_step_moves_the_cursors_and_draws_nothing_else_again(page: Page, server: Server) -> None:
    """Plotly keeps what it has computed for the heatmaps. In a window that has just become narrower it fits."""
    computed = "document.querySelector('.live-chart[data-name=passes]').calcdata"
    width = """() => {
      const plot = document.querySelector(".live-chart[data-name=passes]");
      return plot._fullLayout.width === plot.clientWidth && plot.clientWidth;
    }"""
    open_tab(page, server, "passes", "&s=3&lang=en")
    wait_until(lambda: shapes(page) == [1.5, 33.5])
    wide = page.evaluate(width)
    page.evaluate(f"window.computed = {computed}")
    page.get_by_role("button", name="Next").click()
    wait_until(lambda: shapes(page) == [2.5, 32.5])
    assert page.evaluate(f"window.computed === {computed}")
    page.set_viewport_size({"width": 800, "height": 1000})
    page.get_by_role("button", name="Next").click()
    wait_until(lambda: shapes(page) == [3.5, 31.5])
    wait_until(lambda: 0 < page.evaluate(width) < wide)


def test_a_visitors_own_text_is_measured(page: Page, server: Server) -> None:
    """By a worker: the leak of a text that ships with no measurements."""
    open_tab(page, server, "leak", "&reads=the boat&lang=en")
    expect(page.locator(".chart-slider output")).to_contain_text("4  ␣ → b", timeout=60_000)
    expect(page.locator(".chart-caption")).to_contain_text("in the model of one direction: 0.")


@pytest.mark.parametrize(("width", "language", "scheme"), [(1280, "zh", "dark"), (390, "en", "light")])
def test_every_tab_fits(browser: Browser, server: Server, width: int, language: str, scheme: Any) -> None:
    """Wide and on a phone, dark and light, in both languages: the picture is there and nothing scrolls sideways."""
    for visitor in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme):
        open_tab(visitor, server, "passes", f"&lang={language}")
        for tab in CHARTS:
            visitor.locator(".st-key-tab button").nth(list(CHARTS).index(tab)).click()
            if tab != "passes":
                visitor.wait_for_url(re.compile(f"tab={tab}"))
            expect(picture(visitor, tab)).to_be_visible(timeout=60_000)
            expect(visitor.locator("[data-test-script-state=notRunning]")).to_be_visible()
            assert visitor.evaluate("document.documentElement.scrollWidth") <= width
            box = picture(visitor, tab).bounding_box()
            assert box is not None
            assert box["width"] > 0.4 * min(width, 890)
