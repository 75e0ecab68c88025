"""Recordings show what the model really computed, and survive saving and loading unchanged."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnviz.cells import cell_of
from rnnviz.config import ModelConfig
from rnnviz.errors import InputError
from rnnviz.nn import layers
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import trace
from rnnviz.runs.recording import Trace, order_by_similarity
from rnnviz.text.corpora import Vocabulary
from tests.helpers import CONFIGS, IN_TORCH

VOCABULARY = Vocabulary("abcdef")
TEXT = "fadedbeaf?cab"  # one character is unknown
H_SIZE = 4
shapes = pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (2, False), (1, True), (2, True)])


def make_model(name: str, num_layers: int = 1, bidirectional: bool = False, **settings: Any) -> LanguageModel:
    settings = {"implementation": "scratch", **settings}  # the fused tape has its own tests
    config = ModelConfig(
        **CONFIGS[name], hidden_size=H_SIZE, num_layers=num_layers, bidirectional=bidirectional, **settings
    )
    model = LanguageModel(config, len(VOCABULARY))
    generator = torch.Generator().manual_seed(2)
    scale = 0.3 if config.activation == "relu" else 0.7  # a ReLU state must not grow from step to step
    drawn = {key: scale * torch.randn(w.shape, generator=generator) for key, w in sorted(model.weights().items())}
    model.load_weights(drawn)
    return model


def ids_of(text: str) -> Tensor:
    return torch.from_numpy(VOCABULARY.encode(text)).unsqueeze(1)


# --- What is recorded ----------------------------------------------------------------------------


@shapes
@pytest.mark.parametrize("name", CONFIGS)
def test_a_trace_has_what_the_forward_pass_computed(
    name: str, num_layers: int, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every signal of every layer and direction equals that of the model's own forward pass, bit for bit."""
    model = make_model(name, num_layers, bidirectional)
    seen = []
    original = layers.scan

    def spy(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
        seen.append(original(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(layers, "scan", spy)
    with torch.no_grad():
        model(ids_of(TEXT))
    recorded = trace(model, VOCABULARY, TEXT)
    directions = ("forward", "backward")[: model.config.num_directions]
    places = [(layer + 1, direction) for layer in range(num_layers) for direction in directions]
    assert len(seen) == len(places)
    for (layer, direction), signals in zip(places, seen, strict=True):
        assert set(signals) == set(cell_of(model.config).equations)
        for key, value in signals.items():
            array = recorded.signal(key, layer, direction)
            assert array.dtype == np.float32
            assert (array == value[:, 0].numpy()).all()
    assert len(recorded.signals) == len(places) * len(recorded.names)


@shapes
@pytest.mark.parametrize("name", IN_TORCH)
def test_a_trace_of_torchs_modules_has_their_hidden_states(name: str, num_layers: int, bidirectional: bool) -> None:
    """H of the last layer, both directions side by side, equals that of nn.RNN, nn.GRU or nn.LSTM to 1e-6."""
    model = make_model(name, num_layers, bidirectional, implementation="torch")
    recorded = trace(model, VOCABULARY, TEXT)
    H, _ = model.hidden(ids_of(TEXT), model.initial_state(1))
    ours = np.concatenate([recorded.signal("H", num_layers, d) for d in recorded.directions], axis=1)
    np.testing.assert_allclose(ours, H[:, 0].detach().numpy(), rtol=0, atol=1e-6)
    assert np.abs(ours).max() > 0.1


@pytest.mark.parametrize("name", IN_TORCH)
def test_a_trace_does_not_depend_on_the_implementation(name: str) -> None:
    """The same weights give the same recording, whichever implementation computes the model."""
    model = make_model(name, 2, bidirectional=True)
    ours, theirs = (trace(m, VOCABULARY, TEXT) for m in (model, model.convert(implementation="torch")))
    assert (ours.cell, ours.reset, ours.activation) == (theirs.cell, theirs.reset, theirs.activation)
    assert list(ours.signals) == list(theirs.signals)
    for key, value in ours.signals.items():
        np.testing.assert_allclose(value, theirs.signals[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_backward_direction_is_in_the_order_of_the_text(name: str) -> None:
    """Row t is the step that read text[t]: reading the reversed text forward gives the same rows in reverse."""
    both, one = make_model(name, bidirectional=True), make_model(name)
    weights = {key: value.detach() for key, value in both.weights().items()}
    swapped = {key: weights[key.replace("forward", "backward")] for key in one.weights() if key.startswith("layer")}
    one.load_weights(swapped | {"W_hq": one.W_hq.detach().clone(), "b_q": one.b_q.detach().clone()})
    recorded, reversed_text = trace(both, VOCABULARY, TEXT), trace(one, VOCABULARY, TEXT[::-1])
    for key in recorded.names:
        np.testing.assert_allclose(
            recorded.signal(key, direction="backward"), reversed_text.signal(key)[::-1], rtol=0, atol=1e-6
        )
        assert np.abs(recorded.signal(key, direction="backward") - recorded.signal(key)).max() > 1e-3


def test_the_backward_direction_has_read_the_text_from_its_end() -> None:
    """A changed last character changes the backward states everywhere, and the forward states only there."""
    model = make_model("gru-after", bidirectional=True)
    first, other = trace(model, VOCABULARY, "abcdea"), trace(model, VOCABULARY, "abcdef")
    forward = first.signal("H") - other.signal("H")
    backward = first.signal("H", direction="backward") - other.signal("H", direction="backward")
    assert (forward[:-1] == 0).all()
    assert (np.abs(forward[-1]) > 0).any()
    assert (np.abs(backward).max(axis=1) > 0).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_recorded_signals_obey_the_equations(name: str) -> None:
    """Its states follow from its own gates, character after character."""
    model = make_model(name)
    recorded = trace(model, VOCABULARY, TEXT)
    S = {key: recorded.signal(key).astype(np.float64) for key in recorded.names}
    before = {key: np.vstack([np.zeros(H_SIZE), value[:-1]]) for key, value in S.items()}
    if name.endswith("gru") or name.startswith("gru"):
        expected = S["Z"] * before["H"] + (1 - S["Z"]) * S["H_tilde"]
        np.testing.assert_allclose(S["H"], expected, rtol=0, atol=1e-6)
    elif name == "lstm":
        np.testing.assert_allclose(S["C"], S["F"] * before["C"] + S["I"] * S["C_tilde"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(S["H"], S["O"] * np.tanh(S["C"]), rtol=0, atol=1e-6)
    else:
        W = {key.split(".")[-1]: w.detach().numpy() for key, w in model.weights().items()}
        X = np.array([W["W_xh"][i] if i >= 0 else np.zeros(H_SIZE) for i in VOCABULARY.encode(TEXT)])
        linear = X + before["H"] @ W["W_hh"] + W["b_h"]
        phi = np.tanh if name == "rnn" else lambda x: np.maximum(x, 0)
        np.testing.assert_allclose(S["H"], phi(linear), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_trace_can_start_from_a_given_state(name: str) -> None:
    """Recording two halves, with the state carried between them, equals recording the whole."""
    model = make_model(name, 2)
    whole = trace(model, VOCABULARY, TEXT)
    with torch.no_grad():
        _, state = model(ids_of(TEXT[:5]))
    rest = trace(model, VOCABULARY, TEXT[5:], state)
    for key, value in rest.signals.items():
        np.testing.assert_allclose(value, whole.signals[key][5:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_trace_knows_its_text_its_cell_and_its_names(name: str) -> None:
    """It has the text, the settings that determine the equations, and the names of signals, layers and directions."""
    model = make_model(name, 2, bidirectional=True)
    recorded = trace(model, VOCABULARY, TEXT)
    assert (recorded.text, recorded.cell) == (TEXT, model.config.cell)
    assert (recorded.reset, recorded.activation) == (model.config.reset, model.config.activation)
    expected = {
        "rnn": ["H"],
        "gru": ["R", "Z", "H_tilde", "H"],
        "mingru": ["Z", "H_tilde", "H"],
        "lstm": ["I", "F", "O", "C_tilde", "C", "H"],
    }
    assert recorded.names == tuple(cell_of(model.config).equations) == tuple(expected[recorded.cell])
    assert (recorded.num_layers, recorded.directions) == (2, ("forward", "backward"))
    assert trace(make_model(name), VOCABULARY, TEXT).directions == ("forward",)
    assert all(value.shape == (len(TEXT), H_SIZE) for value in recorded.signals.values())
    with pytest.raises(KeyError):
        recorded.signal("H", layer=3)
    with pytest.raises(KeyError):
        recorded.signal("nothing")


def test_a_trace_of_an_empty_text_is_refused() -> None:
    """There is nothing to record over an empty text, and the error is an InputError."""
    with pytest.raises(InputError):
        trace(make_model("gru-after"), VOCABULARY, "")


def test_recording_leaves_nothing_behind() -> None:
    """It leaves no gradients and no hooks, and gives the same result a second time."""
    model = make_model("lstm", implementation="torch")
    first, second = trace(model, VOCABULARY, TEXT), trace(model, VOCABULARY, TEXT)
    assert all((value == second.signals[key]).all() for key, value in first.signals.items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules() if isinstance(m, nn.Module))


# --- Recordings on disk --------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, "分开\n不分开", "a", "tab\tand \u3000 space "])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_recording_survives_saving_and_loading(name: str, text: str) -> None:
    """Text, settings, the order of names, and every array are the same bit for bit."""
    recorded = trace(make_model(name, 2, bidirectional=True), VOCABULARY, text)
    read = Trace.load(io.BytesIO(recorded.to_bytes()))
    assert (read.text, read.cell, read.reset, read.activation) == (
        recorded.text,
        recorded.cell,
        recorded.reset,
        recorded.activation,
    )
    assert list(read.signals) == list(recorded.signals)
    for key, value in recorded.signals.items():
        assert read.signals[key].dtype == np.float32
        assert (read.signals[key] == value).all()


def test_a_saved_recording_holds_plain_arrays() -> None:
    """NumPy opens it without unpickling anything."""
    recorded = trace(make_model("gru-after"), VOCABULARY, TEXT)
    with np.load(io.BytesIO(recorded.to_bytes()), allow_pickle=False) as arrays:
        assert str(arrays["text"]) == TEXT
        assert (arrays["layer1.forward.Z"] == recorded.signal("Z")).all()
        assert all(arrays[key].dtype != object for key in arrays.files)


def test_a_recording_can_be_written_as_json() -> None:
    """It has the same names as the file, with lists for arrays."""
    recorded = trace(make_model("gru-after"), VOCABULARY, TEXT)
    values = json.loads(json.dumps(recorded.to_json()))
    assert (values["text"], values["cell"], values["reset"]) == (TEXT, "gru", "after")
    for key, value in recorded.signals.items():
        assert (np.array(values[key], dtype=np.float32) == value).all()


def test_a_recording_of_the_first_format_keeps_its_equations() -> None:
    """It does not state its format, and its reset "after" included the bias b_hn."""
    recorded = trace(make_model("gru-after-bias"), VOCABULARY, TEXT)
    about = {"text": TEXT, "cell": "gru", "reset": "after", "activation": "tanh"}
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.array(value) for name, value in about.items()} | dict(recorded.signals)
    np.savez(file, **arrays)
    file.seek(0)
    assert Trace.load(file).reset == "after-bias"


def damaged() -> dict[str, bytes]:
    good = trace(make_model("gru-after"), VOCABULARY, TEXT).to_bytes()
    without, pickled, array = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(without, text=np.array("ab"))
    about = {"text": "ab", "cell": "rnn", "reset": "after", "activation": "tanh"}
    arrays: dict[str, Any] = {k: np.array(v) for k, v in about.items()}
    arrays["layer1.forward.H"] = np.array([{}], dtype=object)
    np.savez(pickled, **arrays)
    np.save(array, np.zeros(3))
    middle = bytearray(good)
    middle[len(good) // 2] ^= 0xFF
    return {
        "empty": b"",
        "text": b"this is no recording",
        "cut": good[: len(good) // 2],
        "one byte wrong": bytes(middle),
        "without a cell": without.getvalue(),
        "with a pickled object": pickled.getvalue(),
        "one array": array.getvalue(),
        "a pickle": pickle.dumps({"text": "ab"}),
    }


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_recording_is_refused(kind: str) -> None:
    """Any damage to the file raises an InputError, and nothing in the file is executed."""
    with pytest.raises(InputError, match="the recording cannot be read"):
        Trace.load(io.BytesIO(damaged()[kind]))


# --- Units side by side --------------------------------------------------------------------------


@given(
    T=st.integers(1, 8),
    h=st.integers(1, 9),
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["random", "gates", "constant", "some constant", "rank one"]),
)
def test_an_order_of_units_is_a_permutation(T: int, h: int, seed: int, kind: str) -> None:
    """It has every unit once, even for one time step, one unit, or units that never change."""
    values = activity(kind, T, h, seed)
    assert sorted(order_by_similarity(values).tolist()) == list(range(h))
    assert (order_by_similarity(values) == order_by_similarity(values.copy())).all()


def activity(kind: str, T: int, h: int, seed: int) -> np.ndarray:
    """Activity (T, h) of several kinds, in float32."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((T, h))
    if kind == "gates":
        values = 1 / (1 + np.exp(-3 * values))
    if kind == "constant":
        values = np.full((T, h), 0.1)
    if kind == "some constant":
        values[:, ::2] = rng.standard_normal(len(values[0, ::2]))
    if kind == "rank one":
        values = values[:, :1] * rng.choice([-1.0, 1.0], h)
    return values.astype(np.float32)


@given(
    T=st.integers(1, 12),
    groups=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["random", "gates", "some constant", "rank one"]),
)
def test_identical_units_are_neighbours(T: int, groups: list[int], seed: int, kind: str) -> None:
    """Copies of one unit, shuffled among others, are next to each other in the order."""
    originals = activity(kind, T, len(groups), seed)
    labels = np.repeat(np.arange(len(groups)), groups)
    labels = np.random.default_rng(seed).permutation(labels)
    _, labels = np.unique(originals[:, labels], axis=1, return_inverse=True)  # groups that happen to be equal are one
    values = np.unique(originals, axis=1)[:, labels]
    ordered = labels[order_by_similarity(values)]
    changes = int((np.diff(ordered) != 0).sum())
    assert changes == len(set(labels.tolist())) - 1


def test_similar_units_are_nearer_than_different_ones() -> None:
    """Two clearly different families of noisy units are not mixed."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 6, 60)[:, None]
    family = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    values = np.where(family == 0, np.sin(t), np.cos(3 * t)) + 0.05 * rng.standard_normal((60, 8))
    ordered = family[order_by_similarity(values.astype(np.float32))]
    assert int((np.diff(np.append(ordered, ordered[0])) != 0).sum()) == 2


def test_cell_names_and_recorded_names_are_one_table() -> None:
    """A step returns what the table lists, in its order."""
    for name in CONFIGS:
        config = make_model(name).config
        recorded = trace(make_model(name), VOCABULARY, "ab")
        assert [key.split(".")[-1] for key in recorded.signals] == list(cell_of(config).equations)
        assert set(cell_of(config).state) <= set(recorded.names)
