"""The Gradients page in Chromium: a cold deep link, the arrow keys, live training, the map, themes, a phone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.test_browser import (  # noqa: F401  fixtures
    Server,
    browser,
    chart,
    curve,
    page,
    press,
    progress,
    visit,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
MEASURED = "‖dL<sub>T</sub>/dH<sub>t</sub>‖"
CHARTS = {
    "unrolled": ("unrolled", "product", "contributions"),
    "reach": ("reach-rnn", "reach-gru", "reach-lstm"),
    "spectrum": ("plane", "growth"),
    "scale": ("scale", "scaled-plane"),
    "clipping": ("clipping", "parameters"),
    "map": ("learning-map",),
}
NAMES = dict(zip(CHARTS, ("展开", "随间隔变化", "谱", "缩放", "裁剪", "发散图"), strict=True))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("home"))
    yield running
    running.close()


def open_page(page: Page, server: Server, tab: str, rest: str = "") -> None:  # noqa: F811
    page.goto(f"{server.url}/gradients?tab={tab}{rest}")
    for key in CHARTS[tab]:
        expect(chart(page, key).locator(".plot-container")).to_be_visible(timeout=60_000)


def ask(page: Page, name: str) -> None:  # noqa: F811
    """Choose one of the page's questions."""
    page.locator(".st-key-tab").get_by_text(name, exact=True).click()


def overlaps(page: Page, key: str) -> list[str]:  # noqa: F811
    """Labels of a chart that lie on each other."""
    boxes = (
        chart(page, key)
        .locator(".xtick text, .ytick text, .annotation-text, .legendtext, .xtitle, .ytitle")
        .evaluate_all("""labels => labels.map((l) => [l.textContent, l.getBoundingClientRect()])
            .map(([text, r]) => [text, r.left, r.right, r.top, r.bottom])""")
    )
    return [
        f"{a[0]} on {b[0]}"
        for a, b in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) - max(a[1], b[1]) > 1 and min(a[4], b[4]) - max(a[3], b[3]) > 1
    ]


def test_a_cold_deep_link_opens_and_the_arrow_key_sends_the_gradient_back(page: Page, server: Server) -> None:  # noqa: F811
    """A fresh server shows the step that the address names; ← goes one step back; s makes the gradient explode."""
    open_page(page, server, "unrolled", "&word=sea%20air&at=4")
    title = page.get_by_role("heading", name="Gradients", level=1)
    expect(title).to_be_visible()
    expect(page.get_by_role("link", name="Train", exact=True)).to_be_visible()
    expect(chart(page, "unrolled")).to_have_attribute("aria-label", re.compile("back to step 5"))
    title.click()  # the keyboard is the page's, not the word's
    press(page, "ArrowLeft")
    page.wait_for_url(re.compile("at=3"))
    expect(chart(page, "unrolled")).to_have_attribute("aria-label", re.compile("back to step 4"))
    assert "sea" in page.url
    ask(page, "Scaled")
    page.wait_for_url(re.compile("tab=scale"))
    wait_until(lambda: len(curve(page, "scale", MEASURED)) == 40)
    trained = curve(page, "scale", MEASURED)
    page.get_by_role("slider", name="Scale s").focus()
    page.keyboard.press("End")
    page.wait_for_url(re.compile("s=4"))
    wait_until(lambda: (curve(page, "scale", MEASURED) or [0])[-1] > 1e6 * trained[-1])


def test_the_three_train_live_and_their_gradients_move(page: Page, server: Server) -> None:  # noqa: F811
    """From the shipped lines to the fresh models' own; they reach farther as training goes on; Stop ends it."""
    open_page(page, server, "reach")
    shipped = curve(page, "reach-rnn", MEASURED)
    page.locator(".st-key-train-three button").click()
    page.wait_for_url(re.compile(r"three=[0-9a-f]{20}\.[0-9a-f]{20}\.[0-9a-f]{20}"))
    expect(progress(page)).to_have_count(3, timeout=60_000)
    wait_until(lambda: curve(page, "reach-rnn", MEASURED) not in (shipped, []))
    fresh = curve(page, "reach-rnn", MEASURED)
    wait_until(lambda: (curve(page, "reach-rnn", MEASURED) or [0])[-1] > 3 * fresh[-1])
    stop = page.locator(".st-key-stop-three button")
    if stop.count():  # they may have come to their end meanwhile
        stop.click()
    expect(page.locator(".st-key-train-three button")).to_be_enabled(timeout=60_000)
    expect(page.get_by_text("Training step")).to_be_visible()


def test_a_map_is_computed_with_its_progress(page: Page, server: Server) -> None:  # noqa: F811
    """A seed that does not ship starts empty; trainings are told and appear one by one, diverged ones as crosses."""
    crosses = "() => document.querySelector('.live-chart[data-name=learning-map]')?._fullData?.[1]?.x?.length ?? 0"
    open_page(page, server, "map", "&seed=2&map=rnn-adam")
    assert page.evaluate(crosses) == 0
    page.get_by_role("button", name="Compute it here").click()
    page.wait_for_url(re.compile("computed=rnn-adam-2"))
    expect(progress(page)).to_contain_text("of 63 trainings")
    wait_until(lambda: page.evaluate(crosses) > 0)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_no_label_lies_on_another_and_nothing_is_cut_off(
    browser: Browser,  # noqa: F811
    server: Server,
    tmp_path: Path,
    width: int,
    scheme: Any,
) -> None:
    """Every question, wide and on a phone, dark and light: labels apart, no sideways scrolling."""
    for visitor in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme, locale="zh-CN"):
        open_page(visitor, server, "unrolled", "&word=lighthous&at=0")
        visitor.wait_for_function("document.fonts.status === 'loaded'")
        for tab, name in NAMES.items():
            ask(visitor, name)
            for key in CHARTS[tab]:
                expect(chart(visitor, key).locator(".plot-container")).to_be_visible()
                assert overlaps(visitor, key) == []
            assert visitor.evaluate("document.documentElement.scrollWidth") <= width
            colour = visitor.evaluate(
                f"document.querySelector('.live-chart[data-name={CHARTS[tab][0]}]')._fullLayout.font.color"
            )
            assert (int(re.sub("[^0-9a-fA-F]", "", colour)[:2], 16) > 128) == (scheme == "dark")
            assert len(visitor.screenshot(full_page=True, path=tmp_path / f"{tab}.png")) > 20_000
