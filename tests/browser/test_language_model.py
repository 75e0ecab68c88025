"""The Language model page in Chromium: a cold deep link, typing, stepping, the themes, a phone."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.helpers import (
    Server,
    chart,
    chart_label,
    go,
    messages,
    step_through,
    visit,
    wait_for_quiet,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
OPACITIES = "() => document.querySelector('.live-chart[data-name=chain]')._fullData.map((trace) => trace.opacity)"
CHARTS = ("chain", "next", "orders", "growth")


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
    """Labels of a chart that overlap."""
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


def test_a_cold_deep_link_opens_and_typing_stepping_and_highlighting_change_the_picture(
    browser: Browser,
    server: Server,
) -> None:
    """A fresh server shows what the address names; a new sentence has new bars, and its step a new equation."""
    for page in visit(browser):
        open_page(page, f"{server.url}/language_model?corpus=tales-en&n=3&sentence=the%20cat&t=2")
        expect(page.get_by_role("heading", name="Language model", level=1)).to_be_visible()
        expect(page.get_by_role("link", name="Train", exact=True).first).to_be_visible()
        wait_until(lambda page=page: len(bars(page)) == 7)
        before = bars(page)
        assert before[1] > 0.3  # h after t

        page.get_by_role("textbox", name="Your sentence").fill("the lamp")
        page.get_by_role("textbox", name="Your sentence").press("Enter")
        page.wait_for_url(re.compile(r"sentence=the\+lamp"))
        wait_until(lambda page=page: len(bars(page)) == 8)
        assert bars(page)[:4] == pytest.approx(before[:4])

        equation = page.locator(".term-sum").filter(has_text="λ3")
        first = equation.inner_text()
        page.get_by_role("button", name="Next").click()
        page.wait_for_url(re.compile("t=3"))
        wait_until(lambda equation=equation, first=first: equation.inner_text() != first)
        page.get_by_role("radio", name="P₂").or_(page.get_by_role("button", name="P₂")).click()
        page.wait_for_url(re.compile("lit=2"))
        wait_until(lambda page=page: page.evaluate(OPACITIES)[:4] == [0.3, 0.3, 1, 0.3])
        chart(page, "chain").locator(".points path").nth(17).hover(force=True)
        expect(page.locator(".live-chart[data-name=chain] .hovertext")).to_contain_text("P(xₜ | …) =")


def test_steps_need_no_message(page: Page, server: Server) -> None:
    """In a long sentence a held key loses no step: each has its equation and its picture before the next frame.

    A character that the training text lacks has words instead. The language may change before the server has heard
    of the step.
    """
    sent = messages(page)
    sentence = "the Ω lamp " * 18
    open_page(page, f"{server.url}/language_model?sentence={sentence}&t=0")
    wait_for_quiet(page, sent)
    sent.clear()
    look = f"[document.querySelector('.term-sum').textContent, {chart_label('next')}]"
    seen = step_through(page, "t", [("ArrowRight", 250)] * 8 + [("ArrowRight", 33)] * 72, look)
    assert sent == []
    assert [at for at, _address, _shown in seen] == list(range(1, 81))
    assert [address for _at, address, _shown in seen[:8]] == [None if t == 4 else str(t) for t in range(1, 9)]
    for at, _address, (equation, label) in seen:
        assert equation.startswith(f"P(x{at + 1} | …)") == (sentence[at] != "Ω")
        assert f"at step {at + 1}," in label
    page.get_by_role("radio", name="中文").or_(page.get_by_role("button", name="中文")).click()
    expect(page.get_by_role("heading", name="语言模型", level=1)).to_be_visible()
    expect(page.locator(".chart-slider output").first).to_have_text(re.compile("^81 "))
    page.wait_for_url(re.compile(r"t=80\b"))
    page.get_by_role("slider", name="时间步 t").fill("81")  # Ω
    expect(page.get_by_text("训练文本里没有这个字符").filter(visible=True)).to_be_visible()


def test_the_sentence_survives_another_page_and_language(browser: Browser, server: Server) -> None:
    """The same address also shows the same to another visitor, in that visitor's language."""
    for page in visit(browser):
        open_page(page, f"{server.url}/language_model")
        page.get_by_role("textbox", name="Your sentence").fill("a <b>cat</b> $x$")
        page.get_by_role("textbox", name="Your sentence").press("Enter")
        page.wait_for_url(re.compile("sentence=a"))
        wait_until(lambda page=page: len(bars(page)) == 16)
        address = page.url
        go(page, "Home")
        go(page, "Language model")
        expect(page.get_by_role("textbox", name="Your sentence")).to_have_value("a <b>cat</b> $x$")
        for other in visit(browser, locale="zh-CN"):
            open_page(other, address)
            expect(other.get_by_role("heading", name="语言模型", level=1)).to_be_visible()
            expect(other.get_by_role("textbox", name="你的句子")).to_have_value("a <b>cat</b> $x$")
            assert bars(other)[2] == pytest.approx(bars(page)[2], nan_ok=True)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_no_labels_overlap_and_nothing_is_cut_off(
    browser: Browser,
    server: Server,
    tmp_path: Path,
    width: int,
    scheme: Any,
) -> None:
    """Wide and on a phone, light and dark, labels do not overlap, nothing scrolls sideways, and the equation fits."""
    for page in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme, locale="zh-CN"):
        open_page(page, f"{server.url}/language_model?n=6&t=7")
        page.wait_for_function("document.fonts.status === 'loaded'")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for key in CHARTS:
            assert overlaps(page, key, ".xtick text, .ytick text, .y2tick text, .annotation-text, .legendtext") == []
        colour = page.evaluate("document.querySelector('.live-chart[data-name=chain]')._fullLayout.font.color")
        assert (int(re.sub("[^0-9a-fA-F]", "", colour)[:2], 16) > 128) == (scheme == "dark")
        right = "e => e.getBoundingClientRect().right"
        assert page.locator(".term-sum").evaluate(right) <= width
        assert page.locator(".term-sum").evaluate("e => e.scrollWidth <= e.clientWidth")
        assert len(page.screenshot(full_page=True, path=tmp_path / "page.png")) > 20_000
