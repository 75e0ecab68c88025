"""Writing: greedy prediction as in the lecture notes, and sampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnviz.cells import find_cell
from rnnviz.config import ModelConfig
from rnnviz.errors import InputError
from rnnviz.nn.generation import generate, predict
from rnnviz.nn.model import LanguageModel
from rnnviz.text.corpora import Vocabulary

VOCABULARY = Vocabulary("abcdef")
V = len(VOCABULARY)
KINDS: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "rnn-relu": {"cell": "rnn", "activation": "relu"},
    "gru": {"cell": "gru"},
    "gru-before": {"cell": "gru", "reset": "before"},
    "gru-torch": {"cell": "gru", "implementation": "torch"},
    "lstm": {"cell": "lstm"},
    "lstm-torch-2": {"cell": "lstm", "implementation": "torch", "num_layers": 2},
}


def make_model(seed: int = 0, scale: float = 1.5, **settings: Any) -> LanguageModel:
    """A model with weights large enough to write different characters."""
    model = LanguageModel(ModelConfig(**{"hidden_size": 5, **settings}), V)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: scale * torch.randn(value.shape, generator=generator) for name, value in sorted(model.weights().items())
    }
    model.load_weights(weights)
    return model


def fixed_model(logits: list[float]) -> LanguageModel:
    """A model that ignores what it reads: only b_q determines its output."""
    model = make_model()
    with torch.no_grad():
        model.W_hq.zero_()
        model.b_q.copy_(torch.tensor(logits))
    return model


def predict_rnn(prefix: str, num_chars: int, model: LanguageModel, idx_to_char: str) -> str:
    """predict_rnn of the lecture notes: feed the prefix, then the likeliest character, one step at a time."""
    char_to_idx = {char: i for i, char in enumerate(idx_to_char)}
    state = model.initial_state(1)
    output = [char_to_idx[prefix[0]]]
    for t in range(num_chars + len(prefix) - 1):
        X = torch.tensor([[output[-1]]])
        with torch.no_grad():
            Y, state = model(X, state)
        if t < len(prefix) - 1:
            output.append(char_to_idx[prefix[t + 1]])
        else:
            output.append(int(Y[0, 0].argmax()))
    return "".join(idx_to_char[i] for i in output)


@pytest.mark.parametrize("prefix", ["a", "fed", "abcabc"])
@pytest.mark.parametrize("kind", KINDS)
def test_prediction_equals_that_of_the_lecture_notes(kind: str, prefix: str) -> None:
    """It is character for character what predict_rnn of the lecture notes writes, for several models."""
    written = set()
    for seed in range(4):
        model = make_model(seed, **KINDS[kind])
        text = predict(model, VOCABULARY, prefix, 25)
        assert text == predict_rnn(prefix, 25, model, VOCABULARY.characters)
        written.add(text)
    assert len(written) > 1


def gru_by_hand(model: LanguageModel, ids: list[int], length: int) -> list[int]:
    """Greedy writing by a bidirectional GRU with one-character windows: both directions advance together."""
    W = {name: value.detach() for name, value in model.weights().items()}
    direction = {d: {n.split(".")[2]: v for n, v in W.items() if f".{d}." in n} for d in ("forward", "backward")}
    H = {d: torch.zeros(1, 5) for d in direction}

    def step(index: int) -> Tensor:
        x = torch.eye(V)[[index]]
        for d in direction:
            H[d] = find_cell("gru").step(x, (H[d],), direction[d])["H"]
        return torch.cat([H["forward"], H["backward"]], dim=1) @ W["W_hq"] + W["b_q"]

    for index in ids:
        logits = step(index)
    written = []
    for _ in range(length):
        written.append(int(logits.argmax()))
        logits = step(written[-1])
    return written


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
def test_a_bidirectional_model_writes_with_both_states_carried(implementation: str) -> None:
    """Each character is one step of both directions, whose states are carried on, as in the lecture notes."""
    written = set()
    for seed in range(4):
        model = make_model(seed, bidirectional=True, implementation=implementation)
        text = predict(model, VOCABULARY, "fade", 20)
        expected = gru_by_hand(model, VOCABULARY.encode("fade").tolist(), 20)
        assert text == "fade" + VOCABULARY.decode(np.array(expected))
        written.add(text)
    assert len(written) > 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_distributions_are_the_softmax_of_the_models_own_logits(kind: str, temperature: float) -> None:
    """Reading the finished text at once gives, at each place, the distribution from which its next character came."""
    model = make_model(1, **KINDS[kind])
    made = generate(model, VOCABULARY, "ba", 15, temperature=temperature)
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(VOCABULARY.encode(made.text)).unsqueeze(1))
    expected = torch.softmax(logits[1:-1, 0] / temperature, dim=-1).numpy()
    assert made.distributions.shape == (15, V)
    assert made.distributions.dtype == np.float32
    np.testing.assert_allclose(made.distributions, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(made.distributions.sum(axis=1), 1, rtol=0, atol=1e-5)
    assert (made.prefix, made.text[:2], len(made.text)) == ("ba", "ba", 17)


def test_temperature_zero_reports_the_distribution_at_one() -> None:
    """The likeliest character is taken, and the reported distribution says how likely it was."""
    model = make_model(1)
    made = generate(model, VOCABULARY, "ba", 15, temperature=0)
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(VOCABULARY.encode(made.text)).unsqueeze(1))
    np.testing.assert_allclose(made.distributions, torch.softmax(logits[1:-1, 0], dim=-1), rtol=0, atol=1e-5)
    assert made.text == "ba" + VOCABULARY.decode(made.distributions.argmax(axis=1))


@pytest.mark.parametrize("temperature", [1e-3, 1e-10, 1e-40, 5e-324])
def test_a_temperature_near_zero_gives_the_likeliest_character(temperature: float) -> None:
    """Down to the smallest float, sampling becomes prediction and never gives a distribution of NaN.

    The likeliest character is ahead by more than 0.1 nats at each step of this model, so at a temperature of 0.001 no
    other has a probability that float32 can hold.
    """
    model = make_model(1)
    made = generate(model, VOCABULARY, "ab", 20, temperature=temperature)
    assert made.text == predict(model, VOCABULARY, "ab", 20)
    np.testing.assert_array_equal(np.sort(made.distributions), np.eye(V)[[-1] * 20])


def test_a_high_temperature_flattens_the_distribution() -> None:
    """It approaches the uniform distribution."""
    made = generate(make_model(2), VOCABULARY, "ab", 10, temperature=1e6)
    np.testing.assert_allclose(made.distributions, 1 / V, rtol=0, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_characters_are_drawn_as_often_as_the_distribution_says(temperature: float) -> None:
    """Over 1,000 characters, every frequency is within five standard deviations, at any temperature."""
    p = np.array([0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
    model = fixed_model((temperature * np.log(p)).tolist())
    made = generate(model, VOCABULARY, "a", 1000, temperature=temperature)
    counts = np.bincount(VOCABULARY.encode(made.text[1:]), minlength=V)
    assert (np.abs(counts - 1000 * p) < 5 * np.sqrt(1000 * p * (1 - p))).all()


def test_the_seed_determines_what_is_written() -> None:
    """The same seed gives the same text, another seed another; the default seed is 0."""
    model = make_model(3, scale=0.3)
    texts = [
        generate(model, VOCABULARY, "a", 30, generator=torch.Generator().manual_seed(seed)).text for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]
    torch.manual_seed(9)
    assert generate(model, VOCABULARY, "a", 30).text == texts[0]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_keeps_the_k_likeliest(k: int) -> None:
    """All others have probability 0 and are never written; the rest keep their proportions."""
    model = make_model(1, scale=0.5)
    made = generate(model, VOCABULARY, "a", 40, top_k=k)
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(VOCABULARY.encode(made.text)).unsqueeze(1))
    full = torch.softmax(logits[:-1, 0], dim=-1).numpy()
    for P, whole, index in zip(made.distributions, full, VOCABULARY.encode(made.text[1:]), strict=True):
        best = np.argsort(whole)[-k:]
        assert set(np.flatnonzero(P)) == set(best)
        assert index in best
        np.testing.assert_allclose(P[best], whole[best] / whole[best].sum(), rtol=1e-4)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_keeps_k_even_if_characters_are_equally_likely(k: int) -> None:
    """A tie does not let more through: at the start of training all characters are equally likely."""
    made = generate(fixed_model([0.0] * V), VOCABULARY, "a", 5, top_k=k)
    assert [np.count_nonzero(P) for P in made.distributions] == [k] * 5


@pytest.mark.parametrize("k", [V, V + 1, 1000])
def test_top_k_of_all_characters_changes_nothing(k: int) -> None:
    """A k of as many characters as there are, or more, cuts nothing."""
    model = make_model(1)
    cut, whole = generate(model, VOCABULARY, "a", 10, top_k=k), generate(model, VOCABULARY, "a", 10)
    assert cut.text == whole.text
    assert (cut.distributions == whole.distributions).all()


def test_top_1_is_prediction() -> None:
    """This holds at any temperature."""
    model = make_model(5)
    made = generate(model, VOCABULARY, "cab", 20, top_k=1, temperature=3.0)
    assert made.text == predict(model, VOCABULARY, "cab", 20)


def test_unknown_characters_of_a_prefix_are_read_as_zero_vectors() -> None:
    """They are kept in the text, and the model sees only its biases for them."""
    model = make_model(4, cell="rnn")
    made = generate(model, VOCABULARY, "a\u5206b", 3, temperature=0)
    assert made.text.startswith("a\u5206b")
    W = {name.removeprefix("layer1.forward."): value.detach() for name, value in model.weights().items()}
    H = torch.zeros(5)
    for row in (W["W_xh"][0], torch.zeros(5), W["W_xh"][1]):
        H = torch.tanh(row + H @ W["W_hh"] + W["b_h"])
    expected = torch.softmax(H @ W["W_hq"] + W["b_q"], dim=-1).numpy()
    np.testing.assert_allclose(made.distributions[0], expected, rtol=0, atol=1e-5)


def test_a_length_of_0_gives_the_prefix_alone() -> None:
    """The array of distributions is then empty."""
    made = generate(make_model(), VOCABULARY, "ab", 0)
    assert (made.text, made.distributions.shape) == ("ab", (0, V))
    assert made.distributions.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prefix": ""}, "the prefix is empty"),
        ({"temperature": -0.1}, "the temperature is -0.1; allowed: 0 and above"),
        ({"temperature": math.nan}, "the temperature is nan"),
        ({"top_k": 0}, "top-k is 0; allowed: 1 and above"),
        ({"top_k": -2}, "top-k is -2"),
    ],
    ids=str,
)
def test_invalid_requests_to_write_are_refused(changes: dict[str, Any], message: str) -> None:
    """The message names the value and what is allowed."""
    asked: dict[str, Any] = {"prefix": "a", "length": 3}
    with pytest.raises(InputError, match=message):
        generate(make_model(), VOCABULARY, **(asked | changes))


def test_writing_does_not_change_the_model() -> None:
    """It leaves no gradients and no changed weights."""
    model = make_model()
    before = {name: value.detach().clone() for name, value in model.weights().items()}
    generate(model, VOCABULARY, "a", 5)
    assert all(torch.equal(value, before[name]) for name, value in model.weights().items())
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
