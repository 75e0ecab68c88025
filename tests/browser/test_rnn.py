"""The RNN page in a real Chromium: the equation and its numbers, stepping, live training, carrying and detaching."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from rnnviz.analysis.reading import Reading
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA
from tests.browser.helpers import (
    Server,
    chart,
    curve,
    messages,
    press,
    progress,
    step_through,
    train,
    visit,
    wait_for_quiet,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
TINY = Run.open(DATA / "tiny-tanh")


def reading() -> Reading:
    recording = TINY.recording()
    assert recording is not None
    return Reading.of(recording, TINY.load_checkpoint().weights(), TINY.corpus.vocabulary)


def numbers(page: Page, term: str) -> list[str]:
    """The numbers in the cells of a term, as the browser shows them; a vector may be shown in two places."""
    return list(page.locator(f".linked-equation .cell[data-term={term}]").all_inner_texts())


def shown(values: Any) -> list[str]:
    """Numbers rounded as in the cells."""

    def text(value: float) -> str:
        digits = 0 if value == int(value) else 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1
        return f"{value:.{digits}f}".replace("-", "−")

    return [text(float(f"{value:.6g}")) for value in np.ravel(values).tolist()]


def lit(page: Page) -> set[str]:
    """The terms with a highlighted number."""
    return set(page.locator(".linked-equation.lit .cell.on").evaluate_all("all => all.map((c) => c.dataset.term)"))


def symbol(page: Page, name: str) -> Locator:
    return page.locator(f".linked-equation .lines button[data-term={name}]").first


def open_rnn(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".linked-equation .cell").first).to_be_visible(timeout=60_000)
    expect(chart(page, "painted").locator(".plot-container")).to_be_visible(timeout=60_000)


def test_a_cold_deep_link_shows_the_step_it_names(browser: Browser, tmp_path: Path) -> None:
    """On a server that has served nothing yet, the page shows the view, model, text and step of the address."""
    cold = Server(tmp_path)
    try:
        for visitor in visit(browser):
            open_rnn(visitor, f"{cold.url}/rnn?model=tiny-relu&reads=aab+ab&t=3&unit=2")
            expect(visitor.get_by_role("heading", name="RNN", level=1)).to_be_visible()
            expect(visitor.get_by_role("textbox", name="Text to read")).to_have_value("aab ab")
            expect(visitor.locator(".linked-equation .lines")).to_contain_text("ReLU(")
            assert numbers(visitor, "X") == ["1", "0", "0"]  # a space, the first of the vocabulary
            assert all(part in visitor.url for part in ("model=tiny-relu", "t=3", "unit=2"))
    finally:
        cold.close()


def test_numbers_and_terms_highlight_each_other(page: Page, server: Server) -> None:
    """Pointing at a term highlights its numbers, at a number its terms and its factors; the keyboard does the same."""
    open_rnn(page, f"{server.url}/rnn")
    symbol(page, "W_hh").hover()
    wait_until(lambda: lit(page) == {"W_hh", "HW", "A"}, 20)
    page.locator(".linked-equation .cell[data-term=HW]").nth(1).hover()
    wait_until(lambda: lit(page) == {"HW", "H_before", "W_hh"}, 20)
    assert page.locator(".linked-equation .cell.on[data-term=W_hh]").count() == 4  # one column
    expect(symbol(page, "H_before")).to_have_class(re.compile(r"\bon\b"))
    expect(symbol(page, "X")).not_to_have_class(re.compile(r"\bon\b"))
    step = reading().step(5)
    expect(page.locator(".linked-equation .readout")).to_contain_text(f"= {step.HW[1]:.3g}".replace("-", "−"))
    page.mouse.move(2, 2)
    symbol(page, "H").focus()
    page.keyboard.press("Tab")
    expect(symbol(page, "X")).to_be_focused()
    wait_until(lambda: lit(page) == {"X", "XW", "A"}, 20)
    expect(page.locator(".linked-equation .readout")).to_contain_text("input, one-hot")


def test_arrow_keys_step_along_the_text_with_the_models_numbers(page: Page, server: Server) -> None:
    """Each step shows its own numbers, which are the core's; the address and the highlighting follow."""
    open_rnn(page, f"{server.url}/rnn?t=9")
    model = reading()
    for key, t in (("ArrowRight", 10), ("ArrowRight", 11), ("ArrowLeft", 10)):
        press(page, key)
        step = model.step(t)
        wait_until(lambda step=step: numbers(page, "A") == shown(step.A), 30)
        for term in ("X", "XW", "HW", "O", "P"):
            assert numbers(page, term) == shown(getattr(step, term))
        assert numbers(page, "W_hh") == shown(model.weights["W_hh"])
        assert sum(float(text) for text in numbers(page, "P")) == pytest.approx(1, abs=0.002)
        page.wait_for_url(re.compile(rf"t={t}\b"))
    symbol(page, "H").focus()
    press(page, "ArrowRight")
    wait_until(lambda: numbers(page, "A") == shown(model.step(11).A), 30)
    expect(symbol(page, "H")).to_be_focused()
    assert "H" in lit(page)


def test_steps_need_no_message(page: Page, server: Server) -> None:
    """Twenty presses at four a second and fifteen of a held key: each shows the core's numbers before the next frame.

    None is lost, and the server hears of the last alone, which language and reload keep.
    """
    sent = messages(page)
    open_rnn(page, f"{server.url}/rnn?t=0")
    wait_for_quiet(page, sent)
    sent.clear()
    cells = "[...document.querySelectorAll('.linked-equation .cell[data-term=A]')].map((c) => c.textContent).join()"
    seen = step_through(page, "t", [("ArrowRight", 250)] * 20 + [("ArrowRight", 33)] * 15, cells)
    assert sent == []
    model = reading()
    assert [(at, numbers) for at, _address, numbers in seen] == [
        (t, ",".join(shown(model.step(t).A))) for t in range(1, 36)
    ]
    assert [address for _at, address, _numbers in seen[:20]] == [None if t == 5 else str(t) for t in range(1, 21)]
    page.wait_for_url(re.compile(r"t=35\b"))
    wait_for_quiet(page, sent)
    assert sent
    frame = "document.querySelector('.live-chart[data-name=state]')._fullLayout.shapes[0].x0"
    wait_until(lambda: page.evaluate(frame) == 34.5)
    page.get_by_role("radio", name="中文").or_(page.get_by_role("button", name="中文")).click()
    expect(page.get_by_role("heading", name="循环神经网络", level=1)).to_be_visible()
    assert numbers(page, "A") == shown(model.step(35).A)
    page.wait_for_url(re.compile(r"t=35\b"))
    page.reload()
    wait_until(lambda: numbers(page, "A") == shown(model.step(35).A))


def test_a_step_on_an_unknown_character_has_a_note(page: Page, server: Server) -> None:
    """The other steps have none."""
    open_rnn(page, f"{server.url}/rnn?lang=en&reads=ab分ab&t=2")
    note = page.get_by_text("The model does not know 分")
    expect(note).to_be_visible()
    assert page.locator(".st-key-by-t").inner_text().strip() == note.inner_text()
    press(page, "ArrowLeft")
    expect(note).to_be_hidden()


def test_a_network_is_trained_and_can_then_be_read(page: Page, server: Server) -> None:
    """Training moves its curve; then the visitor's own network can be read like the small ones, step by step."""
    page.goto(f"{server.url}/rnn?view=train&corpus=counting&variant=relu-torch")
    expect(chart(page, "perplexity").locator(".plot-container")).to_be_visible(timeout=60_000)
    train(page)
    expect(progress(page)).to_contain_text("Training", timeout=60_000)
    wait_until(lambda: len(curve(page, "perplexity", "training")) > 3)
    expect(progress(page)).to_contain_text("Finished", timeout=60_000)
    page.get_by_role("radio", name="One step").or_(page.get_by_role("button", name="One step")).click()
    own = page.get_by_role("radio", name="your model").or_(page.get_by_role("button", name="your model"))
    own.click()
    wait_until(lambda: page.locator(".linked-equation .cell[data-term=W_hh]").count() == 32 * 32, 30)
    page.wait_for_url(re.compile("model=own"))
    assert page.get_by_test_id("stAlert").count() == 0


def test_carrying_and_detaching_are_measured(page: Page, server: Server) -> None:
    """The graph grows without detach and not with it, and torch's error message is shown below."""
    page.goto(f"{server.url}/rnn?view=carry")
    expect(page.get_by_text("Trying to backward through the graph a second time")).to_be_visible(timeout=60_000)
    expect(chart(page, "growth").locator(".plot-container")).to_be_visible(timeout=60_000)
    wait_until(lambda: len(curve(page, "growth", "without")) > 5)
    kept, detached = curve(page, "growth", "without"), curve(page, "growth", "with detach")
    assert kept[-1] > 10 * kept[0] == 10 * detached[-1]
    expect(page.get_by_text("modified by an inplace operation")).to_be_visible()


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("zh", "dark")])
def test_it_looks_right(
    browser: Browser,
    server: Server,
    tmp_path: Path,
    language: str,
    scheme: Any,
) -> None:
    """In both languages, light and dark, wide and narrow, nothing sticks out and no labels overlap."""
    for visitor in visit(browser, color_scheme=scheme):
        open_rnn(visitor, f"{server.url}/rnn?lang={language}")
        title = {"en": "RNN", "zh": "循环神经网络"}[language]
        expect(visitor.get_by_role("heading", name=title, level=1)).to_be_visible()
        assert contrast(visitor) >= 4.5
        for width in (1280, 390):
            visitor.set_viewport_size({"width": width, "height": 900})
            wait_until(lambda visitor=visitor, width=width: fits(visitor, width), 30)
            assert len(visitor.screenshot(path=tmp_path / f"{width}.png", full_page=True)) > 20_000


def fits(page: Page, width: int) -> bool:
    """Whether nothing is wider than the window, and no two labels of a kind overlap."""
    kinds = (
        ".linked-equation .name:not(.row)",
        ".linked-equation .lines button",
        ".live-chart[data-name=state] .xtick text",
    )
    script = "(all) => Math.max(...all.map((p) => p.scrollWidth - p.clientWidth))"
    return (
        int(page.evaluate("document.documentElement.scrollWidth")) <= width
        and all(overlapping(page, kind) == 0 for kind in kinds)
        and int(page.locator(".linked-equation .panel").evaluate_all(script)) <= 1
    )


def overlapping(page: Page, selector: str) -> int:
    """How many pairs of elements of one kind overlap."""
    script = """(all) => {
      const boxes = all.map((e) => e.getBoundingClientRect()).filter((b) => b.width && b.height);
      const apart = (a, b) =>
        a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
      return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => !apart(a, b))).length;
    }"""
    return int(page.locator(selector).evaluate_all(script))


def contrast(page: Page) -> float:
    """The lowest contrast between a number and its background."""
    script = """(all) => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      const luminance = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      return Math.min(...all.map((cell) => {
        const style = getComputedStyle(cell);
        const [low, high] = [luminance(style.color), luminance(style.backgroundColor)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      }));
    }"""
    return float(page.locator(".linked-equation .cell").evaluate_all(script))
