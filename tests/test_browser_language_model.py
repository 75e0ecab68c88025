"""The language model's page in Chromium: a cold deep link, typing, stepping, the themes, a phone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.test_browser import Server, browser, chart, visit, wait_until  # noqa: F401  browser is a fixture

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
OPACITIES = "() => document.querySelector('.live-chart[data-name=chain]')._fullData.map((trace) => trace.opacity)"
CHARTS = ("chain", "next", "orders", "growth")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("home"))
    yield running
    running.close()


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    for key in CHARTS:
        expect(chart(page, key).locator(".plot-container")).to_be_visible(timeout=60_000)


def bars(page: Page) -> list[float]:
    """The heights of the stacked bars as they are drawn."""
    script = """() => {
      const plot = document.querySelector('.live-chart[data-name=chain]');
      const bars = (plot?._fullData ?? []).filter((trace) => trace.type === "bar");
      return bars.length ? Array.from(bars[0].y, (_, t) => bars.reduce((sum, bar) => sum + bar.y[t], 0)) : [];
    }"""
    return [float(value) for value in page.evaluate(script)]


def overlaps(page: Page, key: str, selector: str) -> list[str]:
    """Labels of a chart that lie on each other."""
    boxes = (
        chart(page, key)
        .locator(selector)
        .evaluate_all(
            """labels => labels.map((l) => [l.textContent, l.getBoundingClientRect()])
            .map(([text, r]) => [text, r.left, r.right, r.top, r.bottom])"""
        )
    )
    return [
        f"{a[0]} on {b[0]}"
        for a, b in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) - max(a[1], b[1]) > 1 and min(a[4], b[4]) - max(a[3], b[3]) > 1
    ]


def test_a_cold_deep_link_opens_and_typing_stepping_and_lighting_change_the_picture(
    browser: Browser,  # noqa: F811
    server: Server,
) -> None:
    """A fresh server shows what the address names; a new sentence has new bars, and its step a new equation."""
    for page in visit(browser):
        open_page(page, f"{server.url}/language_model?corpus=tales-en&n=3&sentence=the%20cat&t=2")
        expect(page.get_by_role("heading", name="Language model", level=1)).to_be_visible()
        expect(page.get_by_role("link", name="Train", exact=True)).to_be_visible()
        wait_until(lambda page=page: len(bars(page)) == 7)
        before = bars(page)
        assert before[1] > 0.3  # h after t

        page.get_by_role("textbox", name="Your sentence").fill("the lamp")
        page.get_by_role("textbox", name="Your sentence").press("Enter")
        page.wait_for_url(re.compile(r"sentence=the\+lamp"))
        wait_until(lambda page=page: len(bars(page)) == 8)
        assert bars(page)[:4] == pytest.approx(before[:4])

        equation = page.locator(".katex-display").filter(has_text="λ3").first
        first = equation.inner_text()
        page.get_by_role("button", name="Next").click()
        page.wait_for_url(re.compile("t=3"))
        wait_until(lambda equation=equation, first=first: equation.inner_text() != first)
        page.get_by_role("radio", name="P₂").or_(page.get_by_role("button", name="P₂")).click()
        page.wait_for_url(re.compile("lit=2"))
        wait_until(lambda page=page: page.evaluate(OPACITIES)[:4] == [0.3, 0.3, 1, 0.3])
        chart(page, "chain").locator(".points path").nth(17).hover(force=True)
        expect(page.locator(".live-chart[data-name=chain] .hovertext")).to_contain_text("P(xₜ | …) =")


def test_the_sentence_survives_another_page_and_language(browser: Browser, server: Server) -> None:  # noqa: F811
    """And the same address shows the same to somebody else, in their language."""
    for page in visit(browser):
        open_page(page, f"{server.url}/language_model")
        page.get_by_role("textbox", name="Your sentence").fill("a <b>cat</b> $x$")
        page.get_by_role("textbox", name="Your sentence").press("Enter")
        page.wait_for_url(re.compile("sentence=a"))
        wait_until(lambda page=page: len(bars(page)) == 16)
        address = page.url
        page.get_by_role("link", name="Home").click()
        expect(page.get_by_role("heading", name="Home", level=1)).to_be_visible()
        page.get_by_role("link", name="Language model").click()
        expect(page.get_by_role("textbox", name="Your sentence")).to_have_value("a <b>cat</b> $x$")
        for other in visit(browser, locale="zh-CN"):
            open_page(other, address)
            expect(other.get_by_role("heading", name="语言模型", level=1)).to_be_visible()
            expect(other.get_by_role("textbox", name="你的句子")).to_have_value("a <b>cat</b> $x$")
            assert bars(other)[2] == pytest.approx(bars(page)[2], nan_ok=True)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_no_label_lies_on_another_and_nothing_is_cut_off(
    browser: Browser,  # noqa: F811
    server: Server,
    tmp_path: Path,
    width: int,
    scheme: Any,
) -> None:
    """Wide and on a phone, light and dark: labels apart, no sideways scrolling, the equation within its column."""
    for page in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme, locale="zh-CN"):
        open_page(page, f"{server.url}/language_model?n=6&t=7")
        page.wait_for_function("document.fonts.status === 'loaded'")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for key in CHARTS:
            assert overlaps(page, key, ".xtick text, .ytick text, .y2tick text, .annotation-text, .legendtext") == []
        colour = page.evaluate("document.querySelector('.live-chart[data-name=chain]')._fullLayout.font.color")
        assert (int(re.sub("[^0-9a-fA-F]", "", colour)[:2], 16) > 128) == (scheme == "dark")
        right = "e => e.getBoundingClientRect().right"
        equation = page.locator(".katex-display .base").last
        assert equation.evaluate(right) <= width
        assert len(page.screenshot(full_page=True, path=tmp_path / "page.png")) > 20_000
