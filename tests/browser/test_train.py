"""The Train page as a dashboard in Chromium: everything that moves is on one screen, and nothing is pushed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.helpers import (
    SMALL,
    Server,
    arrived,
    chart,
    curve,
    note,
    noted,
    progress,
    stop_if_going,
    train,
    visit,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
SIZES = ((1280, 800), (1440, 900), (1920, 1080))
PARTS = (
    ".st-key-training-bar",
    ".st-key-train button",
    ".st-key-pause button",
    "[data-testid=stProgress]",
    ".live-chart[data-name=perplexity] .plot-container",
    ".live-chart[data-name=gradient_norm] .plot-container",
    ".live-chart[data-name=gates] .plot-container",
    ".chart-multiples",
    ".st-key-run-writing",
)
# The shifts of anything that was there before, from now on. What a run writes is new each time, and as long as it is.
NOTE_SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) {
      if (shift.sources.every(({ node }) => node?.parentElement?.closest(".st-key-run-writing"))) continue;
      const moves = shift.sources.map(({ node, previousRect: from, currentRect: to }) =>
        `${node?.className ?? node?.textContent}: ${JSON.stringify([from, to])}`);
      window.shifts.push([shift.value, ...moves]);
    }
  }).observe({ type: "layout-shift" });
}"""


def places(page: Page) -> dict[str, Any]:
    """Where each part is, in pixels of the window; it is not scrolled."""
    return {part: page.locator(part).first.bounding_box() for part in PARTS}


def in_sight(page: Page) -> bool:
    """Whether every part is wholly inside the window."""
    size = page.viewport_size
    assert size is not None
    return all(
        box
        and box["y"] >= 0
        and box["y"] + box["height"] <= size["height"]
        and box["x"] + box["width"] <= size["width"]
        for box in places(page).values()
    )


def test_the_settings_stand_in_rows(browser: Browser, server: Server) -> None:
    """They come once all are asked for; no control is pushed down by room that is kept for a picture."""
    tall = """(key) => [...document.querySelectorAll(`.st-key-${key} [data-testid=stElementContainer]`)]
      .map((place) => [place.className, place.getBoundingClientRect().height]).filter(([, height]) => height > 120)"""
    for page in visit(browser, viewport={"width": 1280, "height": 800}):
        page.goto(f"{server.url}/train")
        page.get_by_text("Change", exact=True).click()
        page.get_by_role("button", name="All settings").click()
        rows = [page.get_by_role("combobox", name=name) for name in ("Cell", "Implementation", "Reset gate (GRU)")]
        for control in rows:
            expect(control).to_be_visible(timeout=60_000)
        assert page.evaluate(tall, "training-bar") == []
        page.goto(f"{server.url}/gradients?tab=scale")
        expect(page.locator(".st-key-cell")).to_be_visible(timeout=60_000)
        box = page.locator(".st-key-cell").bounding_box()
        assert box is not None
        assert box["height"] < 120


def test_all_that_moves_is_on_one_screen_and_nothing_is_pushed(browser: Browser, server: Server) -> None:
    """At three sizes, in both languages, while a run goes on; pressing Train shifts nothing that was there.

    The form opens over the page, and a small heatmap is enlarged by a click or a key, without the server.
    """
    for page in visit(browser, viewport={"width": 1280, "height": 800}):
        page.goto(f"{server.url}/train?lang=zh&epochs=20000&{SMALL}")
        for name in ("perplexity", "gradient_norm", "gates"):
            expect(chart(page, name).locator(".plot-container")).to_be_visible(timeout=60_000)
        expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()
        note(page, "document.querySelector('.live-chart[data-name=gates]')?.getBoundingClientRect().top ?? null")
        page.get_by_text("更改", exact=True).click()
        expect(page.get_by_role("spinbutton", name="隐藏单元数")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("spinbutton", name="隐藏单元数")).to_be_hidden()
        assert len(noted(page)) == 1, noted(page)  # it stood still while the form opened and closed
        page.evaluate(NOTE_SHIFTS)
        train(page, "训练")
        expect(progress(page)).to_contain_text("训练中")
        wait_until(lambda page=page: len(curve(page, "perplexity", "训练集")) > 3)
        shifts = page.evaluate("window.shifts")
        assert sum(value for value, *_nodes in shifts) == 0, shifts
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            wait_until(lambda page=page: in_sight(page), 20)
        page.get_by_role("radio", name="English").or_(page.get_by_role("button", name="English")).click()
        arrived(page, "Train")
        for width, height in reversed(SIZES):
            page.set_viewport_size({"width": width, "height": height})
            wait_until(lambda page=page: in_sight(page), 20)

        small = page.locator(".chart-multiples button")
        expect(small).to_have_text([re.compile(symbol) for symbol in ("Rₜ", "Zₜ", "H̃ₜ", "Hₜ")])
        expect(small.nth(1)).to_have_attribute("aria-pressed", "true")
        enlarged = "() => document.querySelector('.live-chart[data-name=gates]').ariaLabel"
        said = page.evaluate(
            f"() => {{ document.querySelector('.chart-multiples button').click(); return ({enlarged})(); }}"
        )
        assert said.startswith("Heatmap of reset gate")  # in the same moment
        page.wait_for_url(re.compile(r"signal=R\b"))
        small.nth(3).focus()
        page.keyboard.press("Enter")
        expect(chart(page, "gates")).to_have_attribute("aria-label", re.compile("Heatmap of hidden state"))
        page.wait_for_url(re.compile(r"signal=H\b"))
        stop_if_going(page)
        expect(page.get_by_role("button", name="Train a twin")).to_be_visible()
        slider = page.get_by_role("slider", name="Training step")
        slider.press("Home")
        expect(page.locator(".st-key-by-step p").filter(visible=True)).to_have_text(
            "The first text appears after some epochs."
        )
