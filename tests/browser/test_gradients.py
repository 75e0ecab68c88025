"""The Gradients page in Chromium: a cold deep link, the arrow keys, live training, the map, themes, a phone."""

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
    curve,
    formulas,
    line_of,
    messages,
    note,
    noted,
    press,
    progress,
    step_through,
    visit,
    wait_for_quiet,
    wait_until,
)
from tests.helpers import GRADIENT_CHARTS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
MEASURED = "‖dL<sub>T</sub>/dH<sub>t</sub>‖"
NAMES = dict(zip(GRADIENT_CHARTS, ("展开", "随间隔变化", "谱", "缩放", "裁剪", "发散图"), strict=True))


def open_page(page: Page, server: Server, tab: str, rest: str = "") -> None:
    page.goto(f"{server.url}/gradients?tab={tab}{rest}")
    for key in GRADIENT_CHARTS[tab]:
        expect(chart(page, key).locator(".plot-container")).to_be_visible(timeout=60_000)


def ask(page: Page, name: str) -> None:
    """Choose one of the page's questions."""
    page.locator(".st-key-tab").get_by_text(name, exact=True).click()


def overlaps(page: Page, key: str) -> list[str]:
    """Labels of a chart that overlap."""
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


def test_a_cold_deep_link_opens_and_the_arrow_key_sends_the_gradient_back(page: Page, server: Server) -> None:
    """A fresh server shows the step that the address names; ← goes one step back; s makes the gradient explode."""
    open_page(page, server, "unrolled", "&word=sea%20air&at=4")
    title = page.get_by_role("heading", name="Gradients", level=1)
    expect(title).to_be_visible()
    expect(page.get_by_role("link", name="Train", exact=True)).to_be_visible()
    expect(chart(page, "unrolled")).to_have_attribute("aria-label", re.compile("back to step 5"))
    title.click()  # so that the keyboard belongs to the page, not to the word
    press(page, "ArrowLeft")
    page.wait_for_url(re.compile("at=3"))
    expect(chart(page, "unrolled")).to_have_attribute("aria-label", re.compile("back to step 4"))
    (equation,) = page.locator(".katex-display").filter(has_text="φ′(A", visible=True).all_inner_texts()
    assert "dH3" in re.sub(r"\s", "", equation)
    assert "sea" in page.url
    ask(page, "Scaled")
    page.wait_for_url(re.compile("tab=scale"))
    wait_until(lambda: len(curve(page, "scale", MEASURED)) == 40)
    trained = curve(page, "scale", MEASURED)
    page.get_by_role("slider", name="Scale s").focus()
    page.keyboard.press("End")
    page.wait_for_url(re.compile("s=4"))
    wait_until(lambda: (curve(page, "scale", MEASURED) or [0])[-1] > 1e6 * trained[-1])


def test_steps_back_need_no_message(page: Page, server: Server) -> None:
    """Back and forth at four a second and at a held key: each press moves picture, equation and address at once."""
    sent = messages(page)
    open_page(page, server, "unrolled", "&word=seashores")
    wait_for_quiet(page, sent)
    sent.clear()
    look = f"[{formulas('at')}, {chart_label('unrolled')}]"
    walk = [("ArrowLeft", 250)] * 7 + [("ArrowRight", 33)] * 7 + [("ArrowLeft", 33)] * 6
    seen = step_through(page, "at", walk, look)
    assert sent == []
    expected = list(itertools.accumulate((1 if key == "ArrowRight" else -1 for key, _pause in walk), initial=7))[1:]
    assert [at for at, _address, _shown in seen] == expected
    assert [address for _at, address, _shown in seen[:7]] == [str(at) for at in expected[:7]]
    for at, _address, (equation, label) in seen:
        assert f"{{dH_{{{at}}}}}_" in equation
        assert f"{{dH_{{{at + 1}}}}}_" in equation
        assert f"back to step {at + 1}" in label
    page.wait_for_url(re.compile(r"at=1\b"))
    wait_for_quiet(page, sent)
    assert sent
    page.reload()
    wait_until(lambda: "{dH_{2}}_" in page.evaluate(formulas("at")))


def test_the_three_train_live_and_their_gradients_change(page: Page, server: Server) -> None:
    """The shipped lines give way to the fresh models' own, step by step; trained, they reach farther than at first."""
    open_page(page, server, "reach")
    shipped = curve(page, "reach-rnn", MEASURED)
    note(page, f"[{line_of('reach-rnn', MEASURED)}, document.querySelectorAll('[data-testid=stProgress]').length]")
    page.locator(".st-key-train-three button").click()
    page.wait_for_url(re.compile(r"three=[0-9a-f]{20}\.[0-9a-f]{20}\.[0-9a-f]{20}"))
    wait_until(lambda: len([line for line, bars in noted(page) if line not in (shipped, []) and bars == 3]) > 0)
    steps = page.get_by_role("slider", name="Training step")
    steps.wait_for(timeout=120_000)  # it appears when all three have ended
    trained = curve(page, "reach-rnn", MEASURED)
    steps.press("Home")
    wait_until(lambda: trained[-1] > 3 * curve(page, "reach-rnn", MEASURED)[-1])


def test_a_map_is_computed_and_shows_its_progress(page: Page, server: Server) -> None:
    """A seed that does not ship starts empty; trainings appear one by one with a count, diverged ones as crosses."""
    crosses = "() => document.querySelector('.live-chart[data-name=learning-map]')?._fullData?.[1]?.x?.length ?? 0"
    open_page(page, server, "map", "&seed=2&map=rnn-adam")
    assert page.evaluate(crosses) == 0
    page.get_by_role("button", name="Compute it here").click()
    page.wait_for_url(re.compile("computed=rnn-adam-2"))
    expect(progress(page)).to_contain_text("of 63 trainings")
    wait_until(lambda: page.evaluate(crosses) > 0)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_no_labels_overlap_and_nothing_is_cut_off(
    browser: Browser,
    server: Server,
    tmp_path: Path,
    width: int,
    scheme: Any,
) -> None:
    """On every tab, wide and on a phone, dark and light, labels do not overlap and nothing scrolls sideways."""
    for visitor in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme, locale="zh-CN"):
        open_page(visitor, server, "unrolled", "&word=lighthous&at=0")
        visitor.wait_for_function("document.fonts.status === 'loaded'")
        for tab, name in NAMES.items():
            ask(visitor, name)
            for key in GRADIENT_CHARTS[tab]:
                expect(chart(visitor, key).locator(".plot-container")).to_be_visible()
                assert overlaps(visitor, key) == []
            assert visitor.evaluate("document.documentElement.scrollWidth") <= width
            colour = visitor.evaluate(
                f"document.querySelector('.live-chart[data-name={GRADIENT_CHARTS[tab][0]}]')._fullLayout.font.color"
            )
            assert (int(re.sub("[^0-9a-fA-F]", "", colour)[:2], 16) > 128) == (scheme == "dark")
            assert len(visitor.screenshot(full_page=True, path=tmp_path / f"{tab}.png")) > 20_000
