"""The cell at work in a real Chromium: every number on every wire, the drawing against the wiring, playing, levers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from rnnviz.analysis.reading import Reading
from rnnviz.cells import cell_of, interpret
from rnnviz.figures.cell_view import cell_page, cell_script, pack_cell
from rnnviz.i18n import translator
from rnnviz.modules import trace_module
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, one_hot
from tests.browser.helpers import Server, frames_sent, note, noted, stop_if_going, train, visit, wait_until
from tests.helpers import CELLS, TEXT, make_reading

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
AT_REST = "document.querySelector('.cell-view').cellView.phase >= 6"
VIEW = "document.querySelector('.cell-view').cellView"


@pytest.fixture
def still(browser: Browser) -> Iterator[Page]:
    """A visitor who prefers reduced motion: a step is drawn at once."""
    yield from visit(browser, reduced_motion="reduce")


def open_file(page: Page, reading: Reading, folder: Path, language: str = "en") -> None:
    file = folder / "cell.html"
    file.write_text(cell_page(pack_cell(reading, translator(language)), "A cell", language), encoding="utf-8")
    page.goto(file.as_uri())
    expect(page.locator(".cv-chip").first).to_be_visible()


def open_app(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".cv-chip").first).to_be_visible(timeout=60_000)


def values_of(reading: Reading, t: int) -> dict[str, np.ndarray]:
    """Everything on the wires at a step: recorded signals, and in between float64 values from the equations."""
    trace, cell = reading.trace, cell_of(reading.trace)
    recorded = {name: trace.signal(name).astype(np.float64) for name in cell.equations}
    X = one_hot(reading.vocabulary.encode(trace.text[t]), len(reading.vocabulary))[0]
    before = {f"{name}_before": recorded[name][t - 1] if t else np.zeros_like(recorded[name][0]) for name in cell.state}
    return interpret(
        cell.wiring, {"X": X, **before, **{name: value[t] for name, value in recorded.items()}}, reading.weights
    )


def shown(value: float) -> str:
    places = Decimal("0.01") if abs(value) < 10 else Decimal("0.1")
    rounded = Decimal(float(value)).quantize(places, ROUND_HALF_UP)
    return str(abs(rounded) if rounded == 0 else rounded).replace("-", "−")


def on_wires(page: Page) -> dict[str, str]:
    script = "(all) => all.map((c) => [c.dataset.node, c.querySelector('.cv-value').textContent])"
    return dict(page.locator(".cv-chip").evaluate_all(script))


@CELLS
def test_the_browser_computes_the_step(page: Page, name: str) -> None:
    """The JavaScript of a step equals Python's on random weights, for every signal of a text."""
    reading = make_reading(name)
    page.goto("about:blank")
    page.add_script_tag(content=cell_script())
    script = """(packed) => {
      const recording = new Recording(packed);
      const signals = recording.operated();
      return Object.fromEntries(Object.entries(signals).map(([name, rows]) => [name, rows.map((row) => [...row])]));
    }"""
    computed = page.evaluate(script, pack_cell(reading))
    assert set(computed) == set(cell_of(reading.trace).equations)
    for signal, rows in computed.items():
        np.testing.assert_allclose(rows, reading.trace.signal(signal), atol=1e-5)


@CELLS
def test_the_drawing_is_the_wiring(still: Page, tmp_path: Path, name: str) -> None:
    """A wire is drawn if and only if it is an edge of the graph; a gate's sum and function are one box."""
    reading = make_reading(name)
    cell = cell_of(reading.trace)
    open_file(still, reading, tmp_path)
    box = {
        node.inputs[0]: node.name
        for node in cell.wiring
        if node.op in ("sigma", "tanh", "relu") and node.inputs[0].startswith("A_")
    }
    edges = {(source, box.get(node.name, node.name)) for node in cell.wiring for source in node.inputs}
    expected = {(source, target) for source, target in edges if source not in box}
    expected |= {(state, "") for state in cell.state} | {("H", "P")}
    drawn = still.locator(".cv-hits path").evaluate_all("(all) => all.map((w) => [w.dataset.node, w.dataset.target])")
    assert {tuple(wire) for wire in drawn} == expected
    assert len(drawn) == len(expected)
    assert still.locator(".cv-node.cv-box, .cv-node.cv-circle").count() == len(cell.wiring) - len(box) + 1
    equations = still.locator(".cv-symbols").evaluate_all("(all) => all.map((e) => e.textContent)")
    plain = [re.sub(r"_", "", e).replace("ₜ₋₁", "t−1").replace("ₜ", "t") for e in cell.equations.values()]
    assert sorted(equations) == sorted(plain)


@CELLS
def test_every_number_on_every_wire_is_the_recorded_one(still: Page, tmp_path: Path, name: str) -> None:
    """This is checked for every step of a text, on the wires, in the equation, and in the text for screen readers."""
    reading = make_reading(name)
    open_file(still, reading, tmp_path)
    still.evaluate(f"{VIEW}.go(0)")
    unit = int(still.evaluate(f"{VIEW}.unit"))
    for t in range(len(reading.trace.text)):
        values = values_of(reading, t)
        assert on_wires(still) == {node: shown(values[node][unit]) for node in on_wires(still)}
        results = still.locator(".cv-numbers > .cv-number:first-child").all_inner_texts()
        signals = [node.name for node in cell_of(reading.trace).wiring if node.name in cell_of(reading.trace).equations]
        assert results == [shown(values[signal][unit]) for signal in signals]
        expect(still.locator(".cv-said")).to_contain_text(f"Step {t + 1} of {len(reading.trace.text)} ")
        still.keyboard.press("ArrowRight")
    assert still.locator(".cv-strip .cv-character").all_text_contents() == list(TEXT)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_cell_of_any_model_plays_on_its_vectors(still: Page, tmp_path: Path, direction: str) -> None:
    """All numbers are those of the trace, from the state that was given; nothing is predicted, and levers work."""
    torch.manual_seed(0)
    words = ["an", "unbelievable", "story", "of", "<b>"]
    (trace,) = trace_module(
        torch.nn.LSTM(3, 4, 2, bidirectional=True), torch.randn(5, 1, 3), tuple(torch.randn(2, 4, 1, 4))
    ).values()
    still.goto(trace.html(tmp_path / "cell.html", labels=words, layer=2, direction=direction).as_uri())
    expect(still.locator(".cv-chip").first).to_be_visible(timeout=60_000)
    still.evaluate(f"{VIEW}.go(0)")
    unit = int(still.evaluate(f"{VIEW}.unit"))
    for t in range(5) if direction == "forward" else reversed(range(5)):
        values = trace.cell(t, unit, layer=2, direction=direction)
        assert on_wires(still) == {node: shown(values[node]) for node in on_wires(still)}
        expect(still.locator(".cv-said")).to_contain_text(f"reads {words[t]}.")
        still.keyboard.press("ArrowRight")
    letters = still.locator(".cv-strip .cv-character").all_text_contents()
    assert letters == ["an", "unbeli…", "story", "of", "<b>"][:: 1 if direction == "forward" else -1]
    assert still.locator(".cv-panel").count() == 0
    H = np.array(still.evaluate(f"{VIEW}.recording.operated().H.map((row) => [...row])"))
    turn = 1 if direction == "forward" else -1
    np.testing.assert_allclose(H, trace.signal("H", 2, direction)[::turn, 0], atol=1e-5)
    still.get_by_role("button", name="Hold the forget gate at 0").click()
    expect(still.locator(".cv-banner")).to_have_text("F held at 0.00 for all unitsRelease all")
    assert not np.array(still.evaluate(f"{VIEW}.recording.signals.F.map((row) => [...row])")).any()


def test_the_file_plays_from_disk(page: Page, tmp_path: Path) -> None:
    """Space plays it to the end of the text, in Chinese as well, and no network request is made."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_file(page, make_reading("lstm", "abcabcab"), tmp_path, "zh")
    expect(page.get_by_role("button", name="播放")).to_be_visible()
    page.evaluate(f"{VIEW}.go(0)")
    page.locator(".cv-speed input").fill("4")
    page.locator(".cv-stage").focus()
    page.keyboard.press(" ")
    wait_until(lambda: page.evaluate(f"{VIEW}.t") == 7 and page.evaluate(AT_REST), 30)
    expect(page.get_by_role("button", name="播放")).to_be_visible()
    assert [url for url in asked if not url.startswith("file:")] == []


def test_a_cell_taken_off_the_page_draws_nothing(page: Page, tmp_path: Path) -> None:
    """React removes the cell from the page before it cleans up; a frame that comes in between reports no error."""
    open_file(page, make_reading("gru-after"), tmp_path)
    page.evaluate(f"const view = {VIEW}; view.root.remove(); view.advance(16); view.remove();")


def test_a_step_has_six_phases(page: Page, tmp_path: Path) -> None:
    """Shift and an arrow key move by one phase; parts not reached yet show the step before."""
    reading = make_reading("gru-after")
    open_file(page, reading, tmp_path)
    page.evaluate(f"{VIEW}.go(3)")
    unit = int(page.evaluate(f"{VIEW}.unit"))
    old, new = values_of(reading, 3), values_of(reading, 4)
    for phase in range(1, 7):
        page.keyboard.press("Shift+ArrowRight")
        wait_until(lambda phase=phase: page.evaluate(f"{VIEW}.phase") == phase, 10)
        wires = on_wires(page)
        assert wires["H_before"] == shown(new["H_before"][unit])
        assert wires["Z"] == shown((new if phase > 2 else old)["Z"][unit])
        assert wires["H"] == shown((new if phase > 5 else old)["H"][unit])
    assert page.evaluate(f"{VIEW}.t") == 4


def test_holding_a_gate_changes_the_network(still: Page, tmp_path: Path) -> None:
    """At its own value a lever changes nothing; with Z at 1 the state stays the same, and the page says so."""
    open_file(still, make_reading("gru-after", "a"), tmp_path)
    numbers = """() => { const v = document.querySelector('.cell-view').cellView;
      return [...v.recording.values(0).H, ...v.recording.prediction(0).probabilities]; }"""
    before = still.evaluate(numbers)
    still.evaluate(f"{VIEW}.hold({{Z: {{value: {VIEW}.recording.signals.Z[0][2], unit: 2}}}})")
    np.testing.assert_allclose(still.evaluate(numbers), before, atol=1e-6)
    reading = make_reading("gru-after")
    open_file(still, reading, tmp_path)
    still.evaluate(f"{VIEW}.go(9)")
    held = still.evaluate("() => document.querySelector('.cell-view').cellView.recording.prediction(9).probabilities")
    still.get_by_role("button", name="Hold the update gate", exact=True).click()
    still.get_by_role("slider", name="Hold the update gate").fill("1")
    expect(still.locator(".cv-banner")).to_contain_text("Z held at 1.00 for all units")
    assert on_wires(still)["H"] == "0.00"
    assert still.evaluate(f"{VIEW}.recording.prediction(9).probabilities") != held
    expect(still.locator(".cv-unequal")).to_have_text([" ≠ "])
    still.get_by_role("button", name="Release all").click()
    expect(still.locator(".cv-banner")).to_be_empty()
    assert still.evaluate(f"{VIEW}.recording.prediction(9).probabilities") == held


def test_units_and_steps_selected_in_the_heatmap_are_held(still: Page, tmp_path: Path) -> None:
    """Dragging with Shift selects units and steps; the lever then holds exactly these. A click ends the selection."""
    reading = make_reading("gru-after")
    open_file(still, reading, tmp_path)
    still.locator(".cv-map-frame").scroll_into_view_if_needed()
    box = still.locator(".cv-map canvas").bounding_box()
    assert box is not None
    width, height = box["width"] / len(reading.trace.text), box["height"] / reading.trace.signal("H").shape[1]
    still.keyboard.down("Shift")
    still.mouse.move(box["x"] + 5.5 * width, box["y"] + 2.5 * height)
    still.mouse.down()
    still.mouse.move(box["x"] + 2.5 * width, box["y"] + 0.5 * height)
    still.mouse.up()
    still.keyboard.up("Shift")
    order = still.evaluate(f"{VIEW}.packed.order")
    units = sorted(order[:3])
    own = np.array(still.evaluate(f"{VIEW}.recording.signals.Z.map((row) => [...row])"))
    still.get_by_role("button", name="Hold the update gate", exact=True).click()
    expect(still.get_by_role("checkbox", name="only the 3 selected units at steps 3 to 6")).to_be_checked()
    still.get_by_role("slider", name="Hold the update gate").fill("1")
    assert still.evaluate(f"saidAsText({VIEW}.recording.held)") == f"Z=1@{','.join(map(str, units))}:3-6"
    expect(still.locator(".cv-banner")).to_contain_text(f"for unit {', '.join(map(str, units))} at steps 3 to 6")
    held = np.array(still.evaluate(f"{VIEW}.recording.signals.Z.map((row) => [...row])"))
    assert (held[2:6][:, units] == 1).all()
    assert (held[2][np.delete(np.arange(held.shape[1]), units)] != 1).all()
    np.testing.assert_allclose(held[:2], own[:2], rtol=1e-6)
    assert (held[6:] != 1).all()
    still.get_by_role("checkbox", name="only the 3 selected").uncheck()
    assert still.evaluate(f"saidAsText({VIEW}.recording.held)") == "Z=1"
    still.keyboard.press("Escape")
    still.mouse.click(box["x"] + 1.5 * width, box["y"] + 1.5 * height)
    expect(still.locator(".cv-map-selection")).to_be_hidden()


def test_wires_boxes_and_terms_highlight_each_other(still: Page, tmp_path: Path) -> None:
    """Pointing at a wire highlights its box and its terms, and shows the value of the unit below the pointer."""
    reading = make_reading("lstm")
    open_file(still, reading, tmp_path)
    x, y = still.evaluate("""() => { const v = document.querySelector('.cell-view').cellView;
      const [x, y] = v.layout.wires.find((w) => w.source === 'I').points[1];
      const b = v.svg.getBoundingClientRect();
      return [b.left + (x + 60) * v.scale, b.top + (y - 6) * v.scale]; }""")
    still.mouse.move(x, y)
    lit = "(all) => [...new Set(all.map((e) => e.dataset.node))]"
    assert still.locator(".cv-lit").evaluate_all(lit) == ["I"]
    assert still.locator(".cv-symbols .cv-lit").count() >= 2
    readout = still.locator(".cv-readout")
    expect(readout).to_contain_text("input gate")
    unit = int(re.search(r"unit (\d+)", readout.inner_text()).group(1))  # type: ignore[union-attr]
    t = int(still.evaluate(f"{VIEW}.t"))
    expect(readout).to_contain_text(f"{reading.trace.signal('I')[t, unit]:.3g}")
    still.mouse.click(x, y)
    assert still.evaluate(f"{VIEW}.unit") == unit
    still.mouse.move(2, 2)
    still.locator(".cv-term[data-node=C_before]").focus()
    assert still.locator(".cv-lit").evaluate_all(lit) == ["C_before"]
    expect(readout).to_contain_text("memory cell one step before")


def test_the_page_steps_and_plays_without_the_server(page: Page, server: Server) -> None:
    """Twenty presses at four per second make twenty steps; neither they nor playing send a message."""
    sent = frames_sent(page)
    open_app(page, f"{server.url}/gru?t=3&unit=7")
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1000)
    assert [page.evaluate(f"{VIEW}.{name}") for name in ("t", "unit")] == [3, 7]
    sent.clear()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(250)
    wait_until(lambda: page.evaluate(AT_REST), 10)
    assert page.evaluate(f"{VIEW}.t") == 23
    page.wait_for_url(re.compile(r"t=23&unit=7"))
    run = Run.open(DATA / "gru-en")
    recording = run.recording()
    assert recording is not None
    reading = Reading.of(recording, run.load_checkpoint().weights(), run.corpus.vocabulary)
    values = values_of(reading, 23)
    assert on_wires(page) == {node: shown(values[node][7]) for node in on_wires(page)}
    page.get_by_role("button", name="Play").click()
    wait_until(lambda: page.evaluate(f"{VIEW}.t") >= 26, 20)
    page.get_by_role("button", name="Pause").click()
    assert sent == []
    page.wait_for_url(re.compile(r"t=(2[6-9]|[3-9]\d)&unit=7"))
    page.reload()
    expect(page.locator(".cv-chip").first).to_be_visible(timeout=60_000)
    assert page.evaluate(f"{VIEW}.t") >= 26


def test_the_slider_leads_back_through_training(still: Page, server: Server) -> None:
    """The browser computes the whole text with a kept checkpoint; heatmap, address and a reload follow."""
    sent = frames_sent(still)
    open_app(still, f"{server.url}/gru?t=20&unit=22")
    slider = still.get_by_role("slider", name="Training step")
    slider.fill("2")
    wait_until(lambda: still.evaluate(f"{VIEW}.recording.at") == 2, 30)
    sent.clear()
    slider.fill("4")
    run = Run.open(DATA / "gru-en")
    step = run.checkpoint_steps()[4]
    expect(still.locator(".cv-kept output")).to_have_text(str(step))
    recording = run.recording()
    assert recording is not None
    reading = Reading.of(recording, run.load_checkpoint(step).weights(), run.corpus.vocabulary)
    cell, ids = cell_of(recording), run.corpus.vocabulary.encode(recording.text)
    weights = {name: w.astype(np.float64) for name, w in reading.weights.items()}
    H = np.zeros(64)
    for i in ids:
        values = interpret(cell.wiring, {"X": one_hot(i, len(run.corpus.vocabulary)), "H_before": H}, weights)
        H = values["H"]
    computed = still.evaluate(
        f"Object.fromEntries(Object.entries({VIEW}.recording.signals).map(([n, v]) => [n, [...v.at(-1)]]))"
    )
    for name in cell.equations:
        np.testing.assert_allclose(computed[name], values[name], atol=1e-5)
    still.get_by_label("Signal", exact=True).select_option("Z")
    box = still.locator(".cv-map-frame").bounding_box()
    assert box is not None
    still.locator(".cv-map-frame").click(
        position={"x": (30 + 0.5) * box["width"] / len(ids), "y": (10 + 0.5) * box["height"] / 64}
    )
    assert still.evaluate(f"[{VIEW}.t, {VIEW}.packed.order.indexOf({VIEW}.unit)]") == [30, 10]
    still.get_by_label("All signals").check()
    expect(still.locator(".cv-map")).to_have_count(len(cell.equations))
    still.wait_for_url(re.compile(rf"(?=.*t=30)(?=.*signal=Z)(?=.*step={step}\b)"))
    assert sent == []
    before = still.evaluate(f"[{VIEW}.t, {VIEW}.unit, {VIEW}.tint, {VIEW}.recording.at]")
    still.reload()
    expect(still.locator(".cv-chip").first).to_be_visible(timeout=60_000)
    wait_until(lambda: still.evaluate(f"[{VIEW}.t, {VIEW}.unit, {VIEW}.tint, {VIEW}.recording.at]") == before, 30)


# For a run that goes on: one value of the view, and whether its checkpoints can be chosen.
MOVING_VALUE = """(() => {
  const view = document.querySelector('.cell-view')?.cellView;
  if (!view?.packed.revision.includes('moving')) return null;
  return [view.recording.signals.F[5][9], document.querySelector('.cv-kept').checkVisibility()];
})()"""


def test_a_cell_can_be_watched_while_it_trains(still: Page, server: Server) -> None:
    """Newer numbers replace those shown; step, unit and playing are kept. When training is over, the slider appears."""
    open_app(still, f"{server.url}/lstm?t=5&unit=9&corpus=lyrics-zh")
    note(still, MOVING_VALUE)
    train(still)
    wait_until(lambda: len(noted(still)) > 0)
    still.evaluate(f"{VIEW}.play(true)")
    wait_until(lambda: len(noted(still)) > 2)
    assert still.evaluate(f"[{VIEW}.unit, {VIEW}.playing]") == [9, True]
    assert still.evaluate(f"{VIEW}.t") >= 5
    stop_if_going(still)
    expect(still.get_by_role("slider", name="Training step")).to_be_visible(timeout=120_000)
    assert still.evaluate(f"{VIEW}.unit") == 9
    assert not any(choosable for _value, choosable in noted(still))


def test_a_visitors_own_text_is_read(page: Page, server: Server) -> None:
    """The engine reads it, the view starts again, and a text that is too long is refused with a message."""
    open_app(page, f"{server.url}/lstm?unit=5")
    box = page.get_by_role("textbox", name="Text to read")
    box.fill("A cat <b>")
    box.press("Enter")
    wait_until(lambda: page.evaluate(f"{VIEW}.packed.text.join('')") == "A␣cat␣<b>", 60)
    assert [page.evaluate(f"{VIEW}.{name}") for name in ("t", "unit")] == [0, 5]
    box.fill("a" * 201)
    box.press("Enter")
    expect(page.get_by_test_id("stAlert")).to_contain_text("201 characters", timeout=60_000)


def test_the_model_writes_with_what_the_levers_hold(page: Page, server: Server) -> None:
    """A lever held for one unit goes to the server together with the operation's hold, and the cell keeps both."""
    open_app(page, f"{server.url}/gru?tab=surgery&unit=7")
    expect(page.locator(".painted-text .painted-mark").first).to_be_visible(timeout=60_000)
    page.evaluate(f"{VIEW}.go(9)")
    page.get_by_role("button", name="Hold the reset gate").click()
    page.get_by_role("slider", name="Hold the reset gate").fill("0.25")
    page.get_by_role("checkbox", name="only the chosen unit").check()
    page.get_by_role("button", name="Write with this").click()
    page.wait_for_url(re.compile(r"operation=own&holds=Z%3D1%3A5-%3BR%3D0\.25%407"))
    expect(page.get_by_role("textbox", name="Held gates")).to_have_value("Z=1:5-;R=0.25@7")
    expect(page.locator(".cv-banner")).to_contain_text("R held at 0.25 for unit 7")
    assert page.evaluate(f"{VIEW}.t") == 9
    expect(page.locator(".painted-text").nth(1)).to_contain_text("The")


@pytest.mark.parametrize(("name", "language", "scheme"), [("gru", "en", "light"), ("lstm", "zh", "dark")])
def test_it_looks_right(
    browser: Browser,
    server: Server,
    tmp_path: Path,
    name: str,
    language: str,
    scheme: Any,
) -> None:
    """On both pages in both languages, nothing sticks out at any width, and no number overlaps another."""
    for visitor in visit(browser, color_scheme=scheme):
        open_app(visitor, f"{server.url}/{name}?lang={language}")
        said = {"en": "next character", "zh": "下一个字符"}[language]
        expect(visitor.locator(".cv-panel")).to_contain_text(said)
        for width, least in ((1920, 18), (1280, 14), (390, 14)):
            visitor.set_viewport_size({"width": width, "height": 1000})
            wait_until(lambda visitor=visitor, width=width: fits(visitor, width), 30)
            assert smallest_text(visitor) >= least - 0.2
            assert len(visitor.screenshot(path=tmp_path / f"{width}.png")) > 20_000
        assert json.loads(visitor.evaluate(f"JSON.stringify({VIEW}.words)"))["play"] in {"Play", "播放"}


def fits(page: Page, width: int) -> bool:
    """Whether the page is no wider than the window, and no two numbers of the drawing overlap."""
    script = """(all) => {
      const boxes = all.map((e) => e.getBoundingClientRect());
      const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
      return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => !apart(a, b))).length;
    }"""
    wide = int(page.evaluate("document.documentElement.scrollWidth")) <= width
    return wide and page.locator(".cv-chip rect").evaluate_all(script) == 0


def smallest_text(page: Page) -> float:
    """The smallest text in the drawing, in pixels on the screen, except subscripts."""
    script = """(all) => { const scale = document.querySelector('.cell-view').cellView.scale;
      return Math.min(...all.map((e) => parseFloat(getComputedStyle(e).fontSize) * scale)); }"""
    return float(page.locator(".cv-svg text").evaluate_all(script))
