"""The Sequences page in Chromium: a cold deep link, stepping, partners, typing, the themes, a phone."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from rnnviz.text.corpora import read, split
from rnnviz.text.sampling import epoch_starts
from tests.browser.helpers import Server, chart, go, press, visit, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def open_page(page: Page, address: str, *keys: str) -> None:
    page.goto(address)
    for key in keys:
        expect(chart(page, key).locator(".plot-container")).to_be_visible(timeout=60_000)


def rows(page: Page, key: str) -> list[str]:
    """The characters of a grid as the browser has drawn them, line by line."""
    script = """(key) => {
      const plot = document.querySelector(`.live-chart[data-name=${key}]`);
      const at = [];
      for (const trace of plot?._fullData ?? [])
        if (trace.mode === "text") Array.from(trace.x, (x, i) => at.push([trace.y[i], x, trace.text[i]]));
      return at.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    }"""
    cells = page.evaluate(script, key)
    return ["".join(sign for _y, _x, sign in line) for _y, line in itertools.groupby(cells, key=lambda cell: cell[0])]


def overlaps(page: Page, key: str) -> list[str]:
    """Labels of axes, legend and colour bar that overlap."""
    boxes = (
        chart(page, key)
        .locator(
            ".xtick text, .ytick text, .legendtext, .xtitle, .ytitle, .cbaxis text, .cbtitle text, .annotation-text"
        )
        .evaluate_all(
            """labels => labels.map((l) => [l.textContent, l.getBoundingClientRect()])
            .filter(([, r]) => r.width > 0).map(([text, r]) => [text, r.left, r.right, r.top, r.bottom])"""
        )
    )
    assert len(boxes) > 5
    return [
        f"{a[0]} on {b[0]}"
        for a, b in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) - max(a[1], b[1]) > 1 and min(a[4], b[4]) - max(a[3], b[3]) > 1
    ]


def windows(text: str, begin: Any, T: int) -> list[str]:
    """X and Y side by side, as in the picture."""
    shown = text.replace(" ", "␣")
    return [shown[s : s + T] + shown[s + 1 : s + T + 1] for s in begin]


def point_at(page: Page, key: str, column: int, row: int) -> None:
    """Move the pointer to a cell of a grid, starting outside the grid."""
    script = """([key, x, y]) => {
      const plot = document.querySelector(`.live-chart[data-name=${key}]`);
      plot.scrollIntoView({ block: "center" });
      const area = plot.querySelector(".nsewdrag").getBoundingClientRect();
      const { xaxis, yaxis } = plot._fullLayout;
      return [area.x + xaxis.l2p(x), area.y + yaxis.l2p(y)];
    }"""
    x, y = page.evaluate(script, [key, column, row])
    page.mouse.move(x + 3, y + 3)
    page.mouse.move(x, y, steps=3)


def await_rows(page: Page, key: str, expected: list[str]) -> None:
    wait_until(lambda: rows(page, key)[: len(expected)] == expected)


def test_a_cold_deep_link_opens_and_stepping_moves_to_the_next_mini_batch(page: Page, server: Server) -> None:
    """A fresh server paints what the address names; an arrow key shows the next X and Y."""
    text = split(read("sums"), max_chars=200).training
    address = f"{server.url}/sequences?part=batches&kind=random&corpus=sums&chars=200&rows=3&steps=6&epoch=2&k=4"
    open_page(page, address, "painting-random", "windows-random")
    expect(page.get_by_role("heading", name="Sequences", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="Train", exact=True)).to_be_visible()
    begin = epoch_starts("random", 200, 3, 6, seed=0, epoch=1)
    await_rows(page, "windows-random", windows(text, begin[4], 6))
    assert "".join(rows(page, "painting-random")) == text.replace(" ", "␣")
    page.get_by_role("heading", name="Sequences", level=1).click()
    press(page, "ArrowRight")
    page.wait_for_url(re.compile("k=5"))
    await_rows(page, "windows-random", windows(text, begin[5], 6))
    expect(page.get_by_text("Mini-batch 6: every row starts from a fresh state")).to_be_visible()

    page.get_by_test_id("stMain").get_by_text("sequential", exact=True).first.click()
    begin = epoch_starts("sequential", 200, 3, 6, seed=0, epoch=1)
    await_rows(page, "windows-sequential", windows(text, begin[5], 6))
    expect(chart(page, "painting-sequential").get_by_text("state carried over")).to_be_visible()
    expect(page.get_by_text("Mini-batch 6: each row carries on")).to_be_visible()
    assert overlaps(page, "painting-sequential") == overlaps(page, "windows-sequential") == []


def test_pointing_at_a_cell_frames_its_partner(page: Page, server: Server) -> None:
    """X and Y of one step are framed and named together; away from the grid, nothing is."""
    open_page(page, f"{server.url}/sequences?part=batches&corpus=sums", "windows-sequential")
    text = split(read("sums"), max_chars=300).training
    await_rows(page, "windows-sequential", windows(text, [0], 8))
    frames, told = chart(page, "windows-sequential").locator(".partner"), page.locator(".hovertext")

    def framed() -> bool:
        point_at(page, "windows-sequential", 2, 1)
        return bool(frames.count() == 2)

    wait_until(framed)
    expect(told).to_contain_text("row 2, t = 3")
    expect(told).to_contain_text(f"X: {text[75 + 2]}")
    expect(told).to_contain_text(f"Y: {text[75 + 3]}")
    left, right = (frames.nth(n).bounding_box() for n in range(2))
    assert left
    assert right
    assert left["y"] == pytest.approx(right["y"], abs=1)
    assert right["x"] - left["x"] == pytest.approx(9 * left["width"], rel=0.1)
    page.mouse.move(5, 5, steps=3)
    expect(frames).to_have_count(0)


def test_a_typed_text_becomes_vectors_and_survives_another_page_and_language(page: Page, server: Server) -> None:
    """Typing redraws the vectors; the address has the text, which is still there after Train and in Chinese."""
    open_page(page, f"{server.url}/sequences", "vectors")
    box = page.get_by_role("textbox", name="Your text")
    box.fill("ab\ncab")
    box.press("Control+Enter")
    await_rows(page, "vectors", ["ab↵cab", "ab␣cab", "120312"])
    page.wait_for_url(re.compile("typed=ab%0Acab"))
    assert overlaps(page, "vectors") == []
    go(page, "Train")
    go(page, "Sequences")
    expect(box).to_have_value("ab\ncab")
    page.get_by_role("radio", name="中文").or_(page.get_by_role("button", name="中文")).click()
    expect(page.get_by_role("heading", name="序列数据", level=1)).to_be_visible()
    expect(page.get_by_role("textbox", name="你的文本")).to_have_value("ab\ncab")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_one_column_in_the_colours_of_the_theme(
    browser: Browser,
    server: Server,
    scheme: Any,
) -> None:
    """At 390 pixels in Chinese nothing is cut off, no labels overlap, and characters are legible in their cells."""
    for phone in visit(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme, locale="zh-CN"):
        keys = {"vectors": ["vectors"], "batches": ["painting-sequential", "windows-sequential"]}
        for part, charts in keys.items():
            open_page(phone, f"{server.url}/sequences?part={part}", *charts)
            assert phone.evaluate("document.documentElement.scrollWidth") <= 390
            for key in charts:
                wait_until(lambda phone=phone, key=key: len(rows(phone, key)) > 2)
                assert overlaps(phone, key) == []
                cell, sign, size = phone.evaluate(
                    """(key) => {
                      const plot = document.querySelector(`.live-chart[data-name=${key}]`);
                      const { xaxis } = plot._fullLayout;
                      const widths = [...plot.querySelectorAll(".textpoint text")].map((t) => t.getBBox().width);
                      const sizes = [...plot.querySelectorAll("text")].map((t) =>
                        parseFloat(getComputedStyle(t).fontSize));
                      return [xaxis.l2p(1) - xaxis.l2p(0), Math.max(...widths), Math.min(...sizes)];
                    }""",
                    key,
                )
                assert sign <= cell
                assert size >= 11
                colour = phone.evaluate(
                    f"document.querySelector('.live-chart[data-name={key}]')._fullLayout.font.color"
                )
                assert (int(re.sub("[^0-9a-fA-F]", "", colour)[:2], 16) > 128) == (scheme == "dark")
