"""The tabs of the GRU's and the LSTM's pages in Chromium: switches, a unit without the server, live trainings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from safetensors.torch import save
from torch import nn

from rnnviz.analysis.side_by_side import shipped_curves
from tests.browser.helpers import Server, chart, curve, line_of, note, noted, stop_if_going, visit, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
CHARTS = {
    "gru": {"limits": "limits", "reset": "reset", "implementations": "implementations"},
    "lstm": {"limits": "limits", "forget": "recall", "memory": "memory", "implementations": "implementations"},
}


def open_tab(page: Page, server: Server, name: str, tab: str, rest: str = "") -> None:
    page.goto(f"{server.url}/{name}?tab={tab}{rest}")
    expect(chart(page, CHARTS[name][tab]).locator(".plot-container")).to_be_visible(timeout=60_000)


def test_switches_units_and_three_trainings_work(page: Page, server: Server) -> None:
    """A switch changes the curve and the address; the unit's slider draws at once; fresh curves replace the shipped."""
    open_tab(page, server, "gru", "limits")
    kept = curve(page, "limits", "gates held")
    page.locator(".st-key-hold-Z").get_by_text("0", exact=True).click()
    page.wait_for_url(re.compile("hold-Z=0"))
    wait_until(lambda: curve(page, "limits", "gates held") not in (kept, []))
    open_tab(page, server, "lstm", "memory", "&unit=0")
    first = curve(page, "memory", "Cₜ")
    page.get_by_role("slider", name="Unit").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile("unit=1"))
    wait_until(lambda: curve(page, "memory", "Cₜ") not in (first, []))
    open_tab(page, server, "lstm", "implementations", "&corpus=sums")
    shipped = curve(page, "implementations", "torch")
    assert shipped[-1] == pytest.approx(shipped_curves("lstm")["torch"].perplexity[-1])
    lines = [line_of("implementations", name) for name in ("torch", "fused")]
    note(page, f"[{', '.join(lines)}]")
    page.locator(".st-key-train-implementations button").click()
    page.wait_for_url(re.compile(r"implementations=[0-9a-f]{20}\.[0-9a-f]{20}\.[0-9a-f]{20}"))
    wait_until(lambda: len(in_training(page, len(shipped))) > 0)
    first, second = in_training(page, len(shipped))[0]
    assert first == pytest.approx(second, rel=1e-3)
    stop_if_going(page)
    expect(page.locator(".st-key-train-implementations button")).to_be_enabled(timeout=60_000)


def test_a_model_trained_elsewhere_is_uploaded(page: Page, server: Server) -> None:
    """Two files and a press of the button: its cell is drawn, and on the tab of the surgery it writes."""
    text = "the quick brown fox jumps over the lazy dog. " * 3
    size = len(set(text))
    parts = {"embedding": nn.Embedding(size, 4), "rnn": nn.LSTM(4, 6), "output": nn.Linear(6, size)}
    page.goto(f"{server.url}/lstm")
    page.get_by_text("Your model, trained elsewhere").click()
    files = {"own-model": save(nn.ModuleDict(parts).state_dict()), "own-vocabulary": text.encode()}
    for key, data in files.items():
        box = page.locator(f".st-key-{key} input[type=file]")
        box.set_input_files({"name": key, "mimeType": "", "buffer": data})
        expect(page.locator(f".st-key-{key}")).to_contain_text(key)  # as a visitor sees it before the next one
    page.locator(".st-key-open-own button").click()
    page.wait_for_url(re.compile("run=[0-9a-f]{20}"))
    wait_until(lambda: page.evaluate("document.querySelector('.cell-view')?.cellView?.packed?.order.length") == 6)
    page.locator(".st-key-tab button").filter(has_text="Gate surgery").click()
    page.get_by_role("textbox", name="Prefix").fill("lazy")
    page.get_by_role("textbox", name="Prefix").press("Enter")
    for i in range(2):
        expect(page.locator(".painted-text").nth(i)).to_contain_text("lazy", timeout=60_000)


def in_training(page: Page, whole: int) -> list[list[list[float]]]:
    """The pairs of curves that were shown between the first epochs and the last, as far as both went."""
    pairs = [[line[: min(map(len, pair))] for line in pair] for pair in noted(page)]
    return [pair for pair in pairs if 2 < len(pair[0]) < whole]


@pytest.mark.parametrize(("width", "language", "scheme"), [(1280, "zh", "dark"), (390, "en", "light")])
def test_every_tab_fits(browser: Browser, server: Server, width: int, language: str, scheme: Any) -> None:
    """Wide and on a phone, dark and light, in both languages, the picture is shown and nothing scrolls sideways."""
    for visitor in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme):
        for name, tabs in CHARTS.items():
            open_tab(visitor, server, name, "limits", f"&lang={language}")
            for tab, key in tabs.items():
                visitor.locator(".st-key-tab button").nth(1 + list(tabs).index(tab)).click()
                visitor.wait_for_url(re.compile(f"tab={tab}"))
                expect(chart(visitor, key).locator(".plot-container")).to_be_visible(timeout=60_000)
                assert visitor.evaluate("document.documentElement.scrollWidth") <= width
                box = chart(visitor, key).bounding_box()
                assert box is not None
                assert box["width"] > 0.6 * min(width, 890)
