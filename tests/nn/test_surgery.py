"""Held gates against the equations written out once more, at the limits, and with the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rnnviz.analysis.surgery import Hold, parse_holds
from rnnviz.cells import cell_of, find_cell, of_layer
from rnnviz.config import ModelConfig
from rnnviz.errors import InputError
from rnnviz.nn.generation import generate
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.surgery import operate, write
from rnnviz.nn.tracing import trace
from rnnviz.text.corpora import DATA, Vocabulary
from tests.helpers import CONFIGS

TEXT = "deadbeefcafe"
VOCABULARY = Vocabulary(TEXT)
GATED = [name for name in CONFIGS if find_cell(CONFIGS[name]["cell"]).gates]


def make_model(name: str, **settings: Any) -> LanguageModel:
    config = ModelConfig(hidden_size=6, initialisation="uniform", **{**CONFIGS[name], **settings})
    model = LanguageModel(config, len(VOCABULARY), torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        for w in model.weights().values():
            w.mul_(3)
    return model


@torch.no_grad()
def logits(model: LanguageModel) -> np.ndarray:
    answer: np.ndarray = model(torch.from_numpy(VOCABULARY.encode(TEXT)).unsqueeze(1))[0][:, 0].numpy()
    return answer


def by_hand(model: LanguageModel, holds: list[Hold]) -> np.ndarray:
    """The original equations in NumPy, one step and one unit at a time, with each held value put in its place."""
    cell = cell_of(model.config)
    W = {name: value.detach().numpy() for name, value in model.weights().items()}
    layer, state = of_layer(W), tuple(np.zeros((1, 6)) for _ in cell.state)
    rows = []
    for t, index in enumerate(VOCABULARY.encode(TEXT)):
        X = np.eye(len(VOCABULARY))[[index]]
        gates = cell.open(X, state, layer)
        for hold in holds:
            for unit in range(6):
                if hold.first - 1 <= t < (hold.last or len(TEXT)) and unit in (hold.units or range(6)):
                    gates[hold.gate][0, unit] = hold.value
        values = gates | cell.update(X, state, layer, gates)
        state = tuple(values[name] for name in cell.state)
        rows.append(values["H"][0] @ W["W_hq"] + W["b_q"])
    return np.array(rows)


@pytest.mark.parametrize("name", GATED)
@pytest.mark.parametrize(("units", "first", "last"), [(None, 1, None), ((0, 4), 1, None), (None, 3, 7), ((5,), 4, 4)])
def test_held_gates_equal_the_equations_with_values_put_in(
    name: str, units: tuple[int, ...] | None, first: int, last: int | None
) -> None:
    """They are held for all or chosen units, over all of the text or a span, several at once."""
    model = make_model(name)
    holds = [Hold(gate, 0.25 * i, units, first, last) for i, gate in enumerate(cell_of(model.config).gates, start=1)]
    np.testing.assert_allclose(logits(operate(model, holds)), by_hand(model, holds), atol=1e-12)
    assert not np.allclose(logits(operate(model, holds)), logits(model), atol=1e-7)


@pytest.mark.parametrize("name", GATED)
def test_holding_a_gate_at_its_own_value_changes_nothing(name: str) -> None:
    """Every gate of every unit is held, step by step, at the value it has anyway; no hold changes nothing either."""
    model = make_model(name)
    recording = trace(model, VOCABULARY, TEXT)
    holds = [
        Hold(gate, float(recording.signal(gate)[t, unit]), (unit,), t + 1, t + 1)
        for gate in cell_of(model.config).gates
        for t in range(len(TEXT))
        for unit in range(6)
    ]
    np.testing.assert_allclose(logits(operate(model, holds)), logits(model), atol=1e-5)
    np.testing.assert_allclose(logits(operate(model, ())), logits(model), atol=1e-12)


def test_an_update_gate_of_1_keeps_the_state() -> None:
    """From the step at which it is held, the output stays the same to the last bit."""
    model = make_model("gru-after-bias")
    rows = logits(operate(model, [Hold("Z", 1.0, None, 4)]))
    assert (rows[3:] == rows[2]).all()
    assert not np.allclose(rows[1], rows[2])


def test_a_forget_gate_of_1_and_an_input_gate_of_0_keep_the_memory() -> None:
    """If they are held from the start, C stays 0 and so does H, and every output is the bias."""
    model = make_model("lstm")
    rows = logits(operate(model, [Hold("F", 1.0), Hold("I", 0.0)]))
    assert (rows == model.b_q.detach().numpy()).all()


def test_without_a_hold_the_seed_gives_the_same_text() -> None:
    """It is the text that the model writes by itself, and it is the same twice."""
    folder = str(DATA / "gru-en")
    made = write(folder, "", "The ", 80, 0.7, seed=3)
    assert made.before == made.after
    assert not any(made.differing)
    for both in (made.training, made.held_out):
        assert both is not None
        assert both[1] == pytest.approx(both[0])
    assert made.before != write(folder, "", "The ", 80, 0.7, seed=4).before


def test_the_original_text_is_what_the_model_writes() -> None:
    """It comes from the same weights and the same seed."""
    model = make_model("lstm")
    texts = [
        generate(m, VOCABULARY, "dea", 60, generator=torch.Generator().manual_seed(5)).text
        for m in (model, operate(model, ()))
    ]
    assert texts[0] == texts[1]


def test_holding_the_update_gate_makes_the_text_constant() -> None:
    """After the prefix the likeliest character stays the same, and the held-out perplexity is much higher."""
    made = write(str(DATA / "gru-en"), "Z=1:5-", "The ", 60, 0.0, seed=0)
    assert len(set(made.after[4:])) == 1
    assert len(set(made.before[4:])) > 5
    for both in (made.training, made.held_out):
        assert both is not None
        assert both[1] > 2 * both[0]
    assert made.held_out[0] > made.training[0]  # type: ignore[index]
    assert made.before[:4] == made.after[:4] == "The "


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", ()),
        ("Z=1", (Hold("Z", 1.0),)),
        ("R=0.25@3,5;Z=0:2-4", (Hold("R", 0.25, (3, 5)), Hold("Z", 0.0, None, 2, 4))),
        ("Z=1@0:7-", (Hold("Z", 1.0, (0,), 7),)),
    ],
)
def test_holds_are_parsed(text: str, holds: tuple[Hold, ...]) -> None:
    """They have a gate, a value, units and steps."""
    assert parse_holds(text, find_cell("gru"), 6) == holds


@pytest.mark.parametrize(
    "text",
    ["F=1", "Z=1.5", "Z=-1", "Z=nan", "Z", "Z=1@6", "Z=1@", "Z=1:0-3", "Z=1:4-3", "Z=1:-", "<b>", "Z=1;Q=2", "Z=1e5"],
)
def test_invalid_holds_are_refused(text: str) -> None:
    """The message says what the cell has and gives an example."""
    with pytest.raises(InputError, match="does not say which gate to hold; allowed: one of R, Z"):
        parse_holds(text, find_cell("gru"), 6)


def test_too_many_holds_or_characters_are_refused() -> None:
    """The cost of a request is bounded."""
    with pytest.raises(InputError, match="40 gates are held; allowed: at most 16"):
        parse_holds("Z=1;" * 40, find_cell("gru"), 6)
    with pytest.raises(InputError, match="a gate is held twice in Z=1;Z=0@2"):
        parse_holds("Z=1;Z=0@2", find_cell("gru"), 6)
    with pytest.raises(InputError, match="at most 100 and 400"):
        write(str(DATA / "gru-en"), "", "a" * 101, 10, 1.0, 0)
    with pytest.raises(InputError, match="at most 100 and 400"):
        write(str(DATA / "gru-en"), "", "a", 401, 1.0, 0)


@pytest.mark.parametrize("name", GATED)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_held_gates_of_a_layer_equal_the_equations(name: str, residual: bool, layer: int) -> None:
    """The layers read each other's states one after the other; the gates of one have the held value."""
    model = make_model(name, num_layers=3, residual=residual)
    cell, W = cell_of(model.config), {k: w.detach().numpy() for k, w in model.weights().items()}
    gate = cell.gates[0]
    X = np.eye(len(VOCABULARY))[VOCABULARY.encode(TEXT)]
    for n in (1, 2, 3):
        own, rows = of_layer(W, n), []
        state = tuple(np.zeros((1, 6)) for _ in cell.state)
        for x in X:
            gates = cell.open(x[None], state, own)
            if n == layer:
                gates[gate] = np.full((1, 6), 0.25)
            values = gates | cell.update(x[None], state, own, gates)
            state = tuple(values[signal] for signal in cell.state)
            rows.append(values["H"][0])
        X = np.stack(rows) + (X if residual and n > 1 else 0)
    np.testing.assert_allclose(logits(operate(model, [Hold(gate, 0.25)], layer)), X @ W["W_hq"] + W["b_q"], atol=1e-12)


def test_a_layer_that_is_not_there_and_two_directions_are_refused() -> None:
    """With which layers there are."""
    with pytest.raises(InputError, match=r"in layer 3 of a model of 2 layers .* a layer from 1 to 2 of one direction"):
        operate(make_model("gru-after", num_layers=2), (), 3)
    with pytest.raises(InputError, match="2 directions; allowed: a layer from 1 to 1 of one direction"):
        operate(make_model("gru-after", bidirectional=True), ())
