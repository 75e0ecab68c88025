"""The projector view and the address that is sent, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from rnnviz.ui.frame import PAGES
from tests.browser.helpers import ADDRESSES, Server, arrived, visit, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
LEAST = 21.9  # pixels at 1920 wide; indices below letters are smaller
LEAST_LINE = 2.9
# Every text in the page's main part that is smaller, with its size: a chart is enlarged as a whole, and so is the
# cell's stage.
SMALL = """(least) => {
  const found = [];
  const left = "sub, sup, tspan[style*='font-size:'], .cv-below, .katex, .cv-said, style, script, " +
    "[data-testid=stIconMaterial]";
  const walk = document.createTreeWalker(document.querySelector("[data-testid=stMain]"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    const shown = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!walk.currentNode.textContent.trim() || !shown) continue;
    if (element.closest(left)) continue;
    const range = document.createRange();
    range.selectNodeContents(walk.currentNode);
    const box = range.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const [chart, stage] = [element.closest(".live-chart"), element.closest(".cv-svg")];
    let size = parseFloat(getComputedStyle(element).fontSize);
    if (chart) size *= chart.getBoundingClientRect().width / chart.offsetWidth;
    if (stage) size *= stage.getBoundingClientRect().height / stage.viewBox.baseVal.height;
    if (size > 0 && size < least) found.push(`${size.toFixed(1)} ${walk.currentNode.textContent.slice(0, 40)}`);
  }
  return found;
}"""
# Lines that are thinner on the screen.
THIN = """(least) => {
  const found = new Set();
  for (const line of document.querySelectorAll(".live-chart :is(.js-line, .shapelayer path), .cv-svg .cv-line")) {
    const [chart, stage] = [line.closest(".live-chart"), line.closest(".cv-svg")];
    const { stroke, strokeWidth } = getComputedStyle(line);
    if (stroke === "none" || !line.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const scale = chart
      ? chart.getBoundingClientRect().width / chart.offsetWidth
      : stage.getBoundingClientRect().height / stage.viewBox.baseVal.height;
    const width = parseFloat(strokeWidth) * scale;
    if (width > 0 && width < least) found.add(`${width.toFixed(1)} ${chart?.dataset.name ?? "cell"}`);
  }
  return [...found];
}"""
# Texts of one picture that cover each other by more than a third of a line; a text's box is higher than its letters.
OVERLAPS = """() => {
  const found = [];
  for (const picture of document.querySelectorAll(".live-chart, .cv-svg")) {
    const labels = ".xtick text, .ytick text, .annotation-text, .legendtext, .xtitle, .ytitle";
    const seen = { opacityProperty: true, visibilityProperty: true };
    const boxes = [...picture.querySelectorAll(picture.matches(".cv-svg") ? "text" : labels)]
      .filter((text) => text.textContent.trim() && text.checkVisibility(seen))
      .map((text) => [text.textContent.slice(0, 20), text.getBoundingClientRect()]);
    boxes.forEach(([a, p], i) => {
      for (const [b, q] of boxes.slice(i + 1)) {
        const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        const covered = across > 2 && down > Math.min(p.height, q.height) / 3;
        if (covered) found.push(`${picture.dataset.name ?? "cell"}: ${a} on ${b}`);
      }
    });
  }
  return found;
}"""
# Whether every chart is drawn in the size of its place.
DRAWN = """() => {
  const charts = [...document.querySelectorAll(".live-chart[aria-label]")];
  return charts.every(({ _fullLayout: { width, height } = {}, clientWidth, clientHeight }) =>
    Math.abs(width - clientWidth) < 2 && Math.abs(height - clientHeight) < 2);
}"""
PROJECTED = "getComputedStyle(document.documentElement).getPropertyValue('--projected') !== ''"
WIDTH = "document.querySelector('[data-testid=stMain]').scrollWidth"
# The parts of pages that N does not lead to.
PARTS = [address for address in ADDRESSES if re.search("tab=|view=|part=", address)]


@pytest.fixture
def wall(browser: Browser) -> Iterator[Page]:
    yield from visit(browser, reduced_motion="reduce", viewport={"width": 1920, "height": 1080})


def check_legible(wall: Page, name: str) -> None:
    """No text is smaller than 22 pixels and no line thinner than 3 at 1920x1080; there and at 1280x720 no texts
    overlap, and nothing scrolls sideways."""
    wall.wait_for_function(DRAWN)
    assert wall.evaluate(SMALL, LEAST) == [], name
    assert wall.evaluate(THIN, LEAST_LINE) == [], name
    for width, height in ((1920, 1080), (1280, 720)):
        wall.set_viewport_size({"width": width, "height": height})
        wall.wait_for_function(DRAWN)
        assert wall.evaluate(OVERLAPS) == [], name
        wall.wait_for_function(f"{WIDTH} <= {width}")  # a table follows the window a little later
    wall.set_viewport_size({"width": 1920, "height": 1080})


def test_on_a_wall_every_page_is_legible(wall: Page, server: Server) -> None:
    """N leads from page to page, as in a lecture, and B back."""
    wall.goto(f"{server.url}/?view=projector")
    wall.wait_for_function(PROJECTED)
    for info in PAGES:
        arrived(wall, info.title)
        check_legible(wall, info.name)
        assert "view=projector" in wall.url
        wall.keyboard.press("n")
    wall.keyboard.press("b")
    arrived(wall, PAGES[-2].title)


def test_on_a_wall_every_part_is_legible_in_chinese_and_dark(wall: Page, server: Server) -> None:
    wall.emulate_media(color_scheme="dark")
    for address in PARTS:
        view = "&view=projector" if "view=" not in address else ""
        wall.goto(f"{server.url}{address.replace('view=', 'view=projector.')}{view}&lang=zh")
        wall.wait_for_function(PROJECTED)
        expect(wall.locator("[data-test-script-state=notRunning]")).to_be_visible(timeout=60_000)
        check_legible(wall, address)


def test_keys_play_the_cell_and_show_one_picture_alone(wall: Page, server: Server) -> None:
    """P plays and pauses; F shows a cell, equations or a published table on the whole screen, and ends that."""
    wall.goto(f"{server.url}/gru?view=projector&t=5")
    expect(wall.locator(".cv-chip").first).to_be_visible(timeout=60_000)
    arrived(wall, "GRU")
    playing = "document.querySelector('.cell-view').cellView.playing"

    def plays() -> bool:
        wall.keyboard.press("p")
        return bool(wall.evaluate(playing))

    wait_until(plays, 20)  # the script that listens for keys may come after the page
    assert not plays()
    shows_alone(wall, ".cell-view")
    for title, selector in (("RNN", ".linked-equation"), ("Reproduce", ".reproduction")):
        link = wall.locator(f"[data-testid=stSidebarNavLink][href$='/{title.lower()}']")
        link.evaluate("(link) => link.click()")  # as keys N and B do: the sidebar is folded
        arrived(wall, title)
        expect(wall.locator(selector)).to_be_visible()
        shows_alone(wall, selector)


def shows_alone(page: Page, selector: str) -> None:
    page.keyboard.press("f")
    page.wait_for_function("(selector) => document.fullscreenElement?.matches(selector)", arg=selector)
    painted = page.evaluate("getComputedStyle(document.fullscreenElement).backgroundColor")
    assert painted == "rgb(255, 255, 255)"  # without a background it stands on black
    page.keyboard.press("f")
    page.wait_for_function("() => !document.fullscreenElement")


def test_the_address_is_sent_with_its_code_and_without_its_size(wall: Page, server: Server) -> None:
    """It is the browser's own, with every choice, what is held, and the language; a box makes it one only to watch.

    Who opens it sees the same gates held.
    """
    wall.context.grant_permissions(["clipboard-read", "clipboard-write"])
    wall.goto(f"{server.url}/gru?view=projector&t=5")
    expect(wall.locator(".cv-chip").first).to_be_visible(timeout=60_000)
    expect(wall.locator(".send-open")).to_be_attached()
    arrived(wall, "GRU")
    held = "R=0.25@3,7:2-4;Z=1"
    wall.evaluate(
        """() => document.querySelector(".cell-view").cellView.hold(
          { R: { value: 0.25, unit: [3, 7], first: 2, last: 4 }, Z: { value: 1, unit: null } })"""
    )
    wall.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("held") == [held])
    wall.keyboard.press("q")
    field = wall.locator(".send-address")
    sent = urlsplit(field.input_value())
    assert f"{sent.scheme}://{sent.netloc}{sent.path}" == f"{server.url}/gru"
    assert {"t": ["5"], "held": [held], "lang": ["en"]}.items() <= parse_qs(sent.query).items()
    assert "view" not in parse_qs(sent.query)
    wait_until(lambda: wall.locator(".send-code").evaluate("(code) => code.naturalWidth > 0"), 20)
    wall.locator(".send-watch input").check()
    assert parse_qs(urlsplit(field.input_value()).query)["view"] == ["watch"]
    assert (
        field.input_value() in parse_qs(urlsplit(str(wall.locator(".send-code").get_attribute("src"))).query)["address"]
    )
    wall.locator(".send-copy").click()
    expect(wall.locator(".send-copy")).to_have_text("Copied")
    assert wall.evaluate("navigator.clipboard.readText()") == field.input_value()
    wall.goto(field.input_value())
    expect(wall.locator(".cv-banner")).to_contain_text("R held at 0.25 for unit 3, 7 at steps 2 to 4", timeout=60_000)
    expect(wall.locator(".cv-banner")).to_contain_text("Z held at 1.00 for all units")
    wall.get_by_role("button", name="Release all").click()
    wall.wait_for_url(lambda url: "held" not in parse_qs(urlsplit(url).query))
