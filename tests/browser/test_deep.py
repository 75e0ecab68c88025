"""The Deep page in Chromium: all cells of the stack move, layers are chosen in it, and every tab fits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from rnnviz.analysis.reading import Reading, every_layer, log_softmax
from rnnviz.cells import cell_of
from rnnviz.figures.cell_view import cell_script, pack_cell, pack_checkpoints
from rnnviz.text.corpora import one_hot
from tests.browser.helpers import Server, chart, visit, wait_until
from tests.helpers import CONFIGS, VOCABULARY, make_reading

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
TABS = ("training", "reach", "start", "dropout", "cost")
VIEW = "document.querySelector('.cell-view').cellView"


def layers_of(name: str, residual: bool) -> tuple[Reading, ...]:
    """Three layers that differ, of random weights."""
    first = make_reading(name, num_layers=3, residual=residual)
    rng = np.random.default_rng(0)
    weights = {
        f"layer{i}.forward.{k}": rng.normal(0, 0.7, (6, 6) if k.startswith("W_x") and i > 1 else w.shape).astype("f4")
        for i in (1, 2, 3)
        for k, w in first.weights.items()
        if k not in ("W_hq", "b_q")
    }
    return every_layer(first.trace, weights | {k: first.weights[k] for k in ("W_hq", "b_q")}, VOCABULARY)


def read(layers: tuple[Reading, ...], held: int, gate: str, value: float) -> tuple[list[np.ndarray], np.ndarray]:
    """H of every layer (T, h), and the last step's probabilities, with a gate of one layer held."""
    X, states = one_hot(VOCABULARY.encode(layers[0].trace.text), len(VOCABULARY)), []
    cell = cell_of(layers[0].trace)
    for layer in layers:
        state, rows = tuple(np.zeros(6, np.float32) for _ in cell.state), []
        for x in X:
            gates = cell.open(x, state, layer.weights)
            if layer.layer == held:
                gates = gates | {gate: np.full(6, value, np.float32)}
            signals = {**gates, **cell.update(x, state, layer.weights, gates)}
            state = tuple(signals[name] for name in cell.state)
            rows.append(signals["H"])
        H = np.stack(rows)
        states.append(H)
        X = H + X if layer.trace.residual and layer.layer > 1 else H
    last = layers[-1].weights
    return states, np.exp(log_softmax(X[-1] @ last["W_hq"] + last["b_q"]))


@pytest.mark.parametrize("name", [name for name, settings in CONFIGS.items() if settings["cell"] != "rnn"])
def test_a_gate_held_in_one_layer_changes_it_and_all_above(page: Page, name: str) -> None:
    """The JavaScript of a stack equals Python's: states of every layer and the prediction; below nothing changes."""
    page.goto("about:blank")
    page.add_script_tag(content=cell_script())
    script = """([packed, gate]) => {
      const recording = new Recording(packed);
      recording.hold({ [gate]: { value: 0.25, unit: null } });
      const states = recording.states().map((rows) => rows.map((row) => [...row]));
      return { states, ...recording.prediction(recording.length - 1) };
    }"""
    for residual in (False, True):
        layers = layers_of(name, residual)
        gate = cell_of(layers[0].trace).gates[0]
        free, _P = read(layers, 0, "", 0)
        signals = {f"layer{i}.forward.H": H for i, H in enumerate(free, start=1)}
        trace = replace(layers[0].trace, signals=dict(layers[0].trace.signals) | signals)
        layers = tuple(replace(layer, trace=trace) for layer in layers)
        for held in (1, 2, 3):
            shown = page.evaluate(script, [pack_cell(layers[held - 1], layers=layers), gate])
            states, P = read(layers, held, gate, 0.25)
            for layer, (rows, expected) in enumerate(zip(shown["states"], states, strict=True), start=1):
                np.testing.assert_allclose(rows, expected, atol=1e-5)
                assert (layer < held) == np.allclose(expected, free[layer - 1], atol=1e-7)
            np.testing.assert_allclose(shown["probabilities"], np.sort(P)[::-1][:5], rtol=1e-3)


def test_every_cell_of_the_stack_follows_a_checkpoint(page: Page) -> None:
    """With kept weights of every layer the browser computes all signals as Python does, whichever layer is drawn."""
    page.goto("about:blank")
    page.add_script_tag(content=cell_script())
    script = """(packed) => {
      const recording = new Recording(packed);
      recording.look(0);
      const layers = recording.layers().map((signals) => Array.from(signals.F, (row) => [...row]));
      return { layers, fed: [...recording.fed(3, 4)], ...recording.prediction(recording.length - 1) };
    }"""
    for residual in (False, True):
        layers = layers_of("lstm", residual)
        rng = np.random.default_rng(1)
        weights = {
            f"layer{each.layer}.forward.{k}": rng.normal(0, 0.7, w.shape).astype("f4")
            for each in layers
            for k, w in each.weights.items()
            if k not in ("W_hq", "b_q")
        } | {k: rng.normal(0, 0.7, layers[0].weights[k].shape).astype("f4") for k in ("W_hq", "b_q")}
        other = every_layer(layers[0].trace, weights, VOCABULARY)
        states, P = read(other, 0, "", 0)
        forget = [forget_gates(reading, X) for reading, X in zip(other, inputs(states, residual), strict=True)]
        for n in (1, 2, 3):
            packed = pack_cell(layers[n - 1], layers=layers, whole=n == 1, steps=[5], last=9)
            packed["kept"]["arrays"] = pack_checkpoints(layers[n - 1], [weights])
            shown = page.evaluate(script, packed)
            np.testing.assert_allclose(shown["layers"], forget, atol=1e-5)
            np.testing.assert_allclose(shown["fed"], inputs(states, residual)[2][4], atol=1e-5)
            np.testing.assert_allclose(shown["probabilities"], np.sort(P)[::-1][:5], rtol=1e-3)


def inputs(states: list[np.ndarray], residual: bool) -> list[np.ndarray]:
    """What each of three layers with these states reads."""
    X = one_hot(VOCABULARY.encode(make_reading("lstm").trace.text), len(VOCABULARY))
    return [X, states[0], states[1] + states[0] if residual else states[1]]


def forget_gates(reading: Reading, X: np.ndarray) -> list[np.ndarray]:
    """F at every step (T, h) of a layer that reads X."""
    cell, state, rows = cell_of(reading.trace), (np.zeros(6, np.float32), np.zeros(6, np.float32)), []
    for x in X:
        gates = cell.open(x, state, reading.weights)
        signals = {**gates, **cell.update(x, state, reading.weights, gates)}
        state = (signals["H"], signals["C"])
        rows.append(gates["F"])
    return rows


def open_stack(page: Page, server: Server, language: str, rest: str = "") -> None:
    page.goto(f"{server.url}/deep?lang={language}{rest}")
    expect(page.locator(".cv-stack-name")).to_have_count(3, timeout=60_000)


def chosen(page: Page) -> list[str]:
    return page.locator(".cv-stack-name[aria-pressed=true]").all_inner_texts()


def test_a_layer_is_chosen_in_the_stack_and_the_step_stays(page: Page, server: Server) -> None:
    """By keyboard and by pointer; the address names it; a held gate shows in the ribbons above, and none below.

    At first all layers are there, and one after the other they show the new step.
    """
    open_stack(page, server, "en", "&t=5")
    assert chosen(page) == []
    expect(page.locator(".cv-layer")).to_have_count(3)
    page.evaluate(f"{VIEW}.t = 6; {VIEW}.phase = 2.5; {VIEW}.refresh()")
    phases = page.evaluate(f"{VIEW}.layers.drawings.map((drawing) => [drawing.t, drawing.phase])")
    assert phases == [[6, 6], [6, pytest.approx(1.5)], [6, 0]]
    page.evaluate(f"{VIEW}.jump(5)")
    page.get_by_role("button", name="Enlarge the cell of layer 2").click()
    page.wait_for_url(re.compile("layer=2"))
    expect(page.locator(".cv-chip").first).to_be_visible()
    assert chosen(page) == ["H⁽²⁾"]
    expect(page.locator(".cv-tile .cv-character")).to_have_text("H⁽¹⁾")
    before = page.evaluate(f"{VIEW}.recording.states().map((rows) => [...rows[8]])")
    page.evaluate(f"{VIEW}.hold({{ F: {{ value: 0, unit: null }} }})")
    after = page.evaluate(f"{VIEW}.stack.rows.map((row) => [...row.values[8]])")
    assert before[0] == after[0]
    assert before[1] != after[1]
    assert before[2] != after[2]
    page.locator(".cv-stack-name", has_text="H⁽³⁾").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("layer=3"))
    wait_until(lambda: chosen(page) == ["H⁽³⁾"])
    assert page.evaluate(f"{VIEW}.t") == 5
    frame = page.locator(".cv-stack-frame").last
    box = frame.bounding_box()
    assert box is not None
    length = int(page.evaluate(f"{VIEW}.recording.length"))
    frame.click(position={"x": box["width"] * 20.5 / length, "y": box["height"] / 2})
    wait_until(lambda: chosen(page) == ["H⁽¹⁾"])
    page.wait_for_url(re.compile(r"t=20\b"))
    assert page.evaluate(f"{VIEW}.t") == 20


@pytest.mark.parametrize(("width", "language", "scheme"), [(1280, "zh", "dark"), (390, "en", "light")])
def test_every_tab_fits(browser: Browser, server: Server, width: int, language: str, scheme: Any) -> None:
    """Wide and on a phone, dark and light, in both languages: the picture is there and nothing scrolls sideways."""
    for visitor in visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme):
        open_stack(visitor, server, language)
        stack = visitor.locator(".cv-stack").bounding_box()
        assert stack is not None
        assert stack["width"] > 0.6 * min(width, 890)
        assert visitor.evaluate("document.documentElement.scrollWidth") <= width
        script = "(all) => Math.min(...all.map((e) => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a))"
        assert visitor.locator(".cv-layer text").evaluate_all(script) > 13.8
        for k, tab in enumerate(TABS, start=1):
            visitor.locator(".st-key-tab button").nth(k).click()
            visitor.wait_for_url(re.compile(f"tab={tab}"))
            expect(chart(visitor, tab).locator(".plot-container")).to_be_visible(timeout=60_000)
            assert visitor.evaluate("document.documentElement.scrollWidth") <= width
            box = chart(visitor, tab).bounding_box()
            assert box is not None
            assert box["width"] > 0.6 * min(width, 890)
