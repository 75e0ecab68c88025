"""The language model: parity with torch's own modules, exact conversion, and scoring."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnviz.config import Implementation, Initialisation, ModelConfig
from rnnviz.errors import InputError
from rnnviz.nn.model import BatchLoss, LanguageModel, ModelState, detach, encode_one_hot
from rnnviz.nn.training import evaluate, perplexity
from rnnviz.text.corpora import UNKNOWN, one_hot
from tests.helpers import CONFIGS, IN_TORCH

V, H_SIZE, T, B = 6, 4, 5, 3
ORDER = {"rnn": "h", "gru": "rzh", "lstm": "ifco"}  # torch's r, z, n and i, f, g, o by the textbook's names
shapes = pytest.mark.parametrize(
    ("layers", "bidirectional"), [(1, False), (2, False), (3, False), (1, True), (2, True), (3, True)]
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, V, shape, generator=seeded(seed))


def make_model(
    name: str, layers: int = 1, bidirectional: bool = False, implementation: Implementation = "scratch"
) -> LanguageModel:
    """A float64 model with random weights, large enough that every gate matters, the same for both implementations."""
    config = ModelConfig(
        **CONFIGS[name],
        hidden_size=H_SIZE,
        num_layers=layers,
        bidirectional=bidirectional,
        implementation=implementation,
    )
    model = LanguageModel(config, V).double()
    generator = seeded(11)
    drawn = {
        key: 0.6 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for key, value in sorted(model.weights().items())
    }
    model.load_weights(drawn)
    return model


def random_state(model: LanguageModel, seed: int = 4) -> ModelState:
    generator = seeded(seed)
    return tuple(
        tuple(torch.randn(S.shape, generator=generator, dtype=S.dtype).requires_grad_() for S in layer)
        for layer in model.initial_state(B)
    )


def suffixes(model: LanguageModel) -> list[tuple[str, str]]:
    """Our prefix and torch's suffix for every layer and direction."""
    directions = [("forward", ""), ("backward", "_reverse")][: model.config.num_directions]
    return [
        (f"layer{i + 1}.{ours}.", f"l{i}{theirs}")
        for i in range(model.config.num_layers)
        for ours, theirs in directions
    ]


def plain_torch(model: LanguageModel) -> tuple[nn.RNNBase, nn.Linear]:
    """nn.RNN, nn.GRU or nn.LSTM of all layers at once and nn.Linear, packed here from the textbook's weights."""
    config, W = model.config, {key: value.detach() for key, value in model.weights().items()}
    settings = {"num_layers": config.num_layers, "bidirectional": config.bidirectional, "dtype": torch.float64}
    if config.cell == "rnn":
        rnn: nn.RNNBase = nn.RNN(V, H_SIZE, nonlinearity=config.activation, **settings)
    else:
        rnn = {"gru": nn.GRU, "lstm": nn.LSTM}[config.cell](V, H_SIZE, **settings)
    linear = nn.Linear(config.num_directions * H_SIZE, V, dtype=torch.float64)
    order = ORDER[config.cell]
    with torch.no_grad():
        for ours, theirs in suffixes(model):
            getattr(rnn, f"weight_ih_{theirs}").copy_(torch.cat([W[f"{ours}W_x{g}"].T for g in order]))
            getattr(rnn, f"weight_hh_{theirs}").copy_(torch.cat([W[f"{ours}W_h{g}"].T for g in order]))
            getattr(rnn, f"bias_ih_{theirs}").copy_(torch.cat([W[f"{ours}b_{g}"] for g in order]))
            second = getattr(rnn, f"bias_hh_{theirs}").zero_()
            if config.cell == "gru" and config.reset == "after-bias":
                second[-H_SIZE:] = W[f"{ours}b_hn"]
        linear.weight.copy_(W["W_hq"].T)
        linear.bias.copy_(W["b_q"])
    return rnn, linear


def plain_gradients(model: LanguageModel, rnn: nn.RNNBase, linear: nn.Linear) -> dict[str, Tensor]:
    """The gradients of plain torch modules under the textbook's names."""
    W_hq, b_q = linear.weight.grad, linear.bias.grad
    assert W_hq is not None
    assert b_q is not None
    gradients = {"W_hq": W_hq.T, "b_q": b_q}
    for ours, theirs in suffixes(model):
        for i, g in enumerate(ORDER[model.config.cell]):
            rows = slice(i * H_SIZE, (i + 1) * H_SIZE)
            gradients[f"{ours}W_x{g}"] = getattr(rnn, f"weight_ih_{theirs}").grad[rows].T
            gradients[f"{ours}W_h{g}"] = getattr(rnn, f"weight_hh_{theirs}").grad[rows].T
            gradients[f"{ours}b_{g}"] = getattr(rnn, f"bias_ih_{theirs}").grad[rows]
        if model.config.reset == "after-bias":
            gradients[f"{ours}b_hn"] = getattr(rnn, f"bias_hh_{theirs}").grad[-H_SIZE:]
    return gradients


def assert_all_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], atol: float = 1e-10) -> None:
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=atol, msg=partial("{}: {}".format, key))


# --- Parity ------------------------------------------------------------------------------------


@shapes
@pytest.mark.parametrize("implementation", ["scratch", "torch"])
@pytest.mark.parametrize("name", IN_TORCH)
def test_model_equals_plain_torch_modules(
    name: str, implementation: Implementation, layers: int, bidirectional: bool
) -> None:
    """Logits, loss, last states and all gradients, also of initial states, agree to 1e-10 with torch's modules."""
    model = make_model(name, layers, bidirectional, implementation)
    rnn, linear = plain_torch(model)
    X, Y = random_ids(T, B, seed=1), random_ids(T, B, seed=2)

    state = random_state(model)
    logits, after = model(X, state)
    mean, loss, _ = model.loss(X, Y, state)
    mean.backward()

    packed = [torch.cat([layer[k] for layer in random_state(model)]).detach() for k in range(len(state[0]))]
    packed = [S.requires_grad_() for S in packed]
    H, last = rnn(F.one_hot(X, V).double(), tuple(packed) if len(packed) == 2 else packed[0])
    their_logits = linear(H)
    their_loss = F.cross_entropy(their_logits.reshape(-1, V), Y.reshape(-1))
    their_loss.backward()

    torch.testing.assert_close(logits, their_logits, rtol=0, atol=1e-10)
    assert loss.mean == pytest.approx(their_loss.item(), abs=1e-10)
    assert mean.item() == pytest.approx(their_loss.item(), abs=1e-10)
    assert_all_close(model.gradients(), plain_gradients(model, rnn, linear))
    last = last if isinstance(last, tuple) else (last,)
    for k, their_last in enumerate(last):
        torch.testing.assert_close(torch.cat([layer[k] for layer in after]), their_last, rtol=0, atol=1e-10)
        ours = torch.cat([layer[k].grad for layer in state])
        torch.testing.assert_close(ours, packed[k].grad, rtol=0, atol=1e-10)
        assert ours.abs().max() > 1e-6


@shapes
@pytest.mark.parametrize("name", IN_TORCH)
def test_scratch_equals_the_torch_implementation(name: str, layers: int, bidirectional: bool) -> None:
    """With the same text, state and weights, both implementations give the same loss, state and gradients."""
    scratch = make_model(name, layers, bidirectional)
    other = scratch.convert(implementation="torch")
    X, Y = random_ids(T, B, seed=1), random_ids(T, B, seed=2)
    state = detach(random_state(scratch))
    loss, after = scratch.loss_and_gradients(X, Y, state)
    their_loss, their_after = other.loss_and_gradients(X, Y, state)
    assert loss.nats == pytest.approx(their_loss.nats, abs=1e-10)
    assert_all_close(scratch.gradients(), other.gradients())
    for ours, theirs in zip(after, their_after, strict=True):
        for S, their_S in zip(ours, theirs, strict=True):
            torch.testing.assert_close(S, their_S, rtol=0, atol=1e-10)
            assert not S.requires_grad


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_of_the_loss_agree_with_finite_differences(name: str) -> None:
    """The whole model is tested with two layers in both directions, and with the reset that torch lacks."""
    model = make_model(name, 2, bidirectional=True)
    X, Y = random_ids(3, 2, seed=1), random_ids(3, 2, seed=2)
    state = model.initial_state(2)
    model.loss_and_gradients(X, Y, state)
    weights, gradients = model.weights(), model.gradients()
    generator = np.random.default_rng(0)
    for key, value in weights.items():
        flat = value.detach().reshape(-1)
        at = int(generator.integers(len(flat)))
        losses = []
        for shift in (1e-6, -1e-6):
            moved = {k: w.detach().clone() for k, w in weights.items()}
            moved[key].view(-1)[at] += shift
            other = make_model(name, 2, bidirectional=True)
            other.load_weights(moved)
            losses.append(float(other.loss(X, Y, state)[0].detach()))
        numeric = (losses[0] - losses[1]) / 2e-6
        assert float(gradients[key].reshape(-1)[at]) == pytest.approx(numeric, abs=1e-7), key


# --- Weights by name ------------------------------------------------------------------------------


@shapes
@pytest.mark.parametrize("name", CONFIGS)
def test_parameter_count_is_the_number_of_textbook_weights(name: str, layers: int, bidirectional: bool) -> None:
    """The configuration counts what the model has, with one bias per gate."""
    implementations: list[Implementation] = ["scratch", "torch"] if name in IN_TORCH else ["scratch"]
    for implementation in implementations:
        model = make_model(name, layers, bidirectional, implementation)
        assert sum(w.numel() for w in model.weights().values()) == model.config.parameter_count(V)


@shapes
@pytest.mark.parametrize("name", IN_TORCH)
def test_converting_there_and_back_is_exact(name: str, layers: int, bidirectional: bool) -> None:
    """From scratch to torch and back, every weight is equal bit for bit."""
    model = make_model(name, layers, bidirectional)
    there = model.convert(implementation="torch")
    back = there.convert(implementation="scratch")
    assert (there.config.implementation, back.config.implementation) == ("torch", "scratch")
    for key, value in model.weights().items():
        assert torch.equal(value, there.weights()[key])
        assert torch.equal(value, back.weights()[key])
        assert value.dtype == there.weights()[key].dtype


def test_conversion_copies() -> None:
    """Training the converted model does not change the original."""
    model = make_model("gru-after")
    before = {key: value.detach().clone() for key, value in model.weights().items()}
    other = model.convert(implementation="torch")
    with torch.no_grad():
        for value in other.weights().values():
            value.add_(1)
    assert all(torch.equal(value, before[key]) for key, value in model.weights().items())


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_real_torch_module_with_two_biases_can_be_converted(kind: type[nn.RNN | nn.GRU | nn.LSTM]) -> None:
    """The textbook's bias is the sum of torch's two, except b_h and b_hn around the GRU's reset gate."""
    torch.manual_seed(0)
    rnn: Any = kind(V, H_SIZE, dtype=torch.float64)
    linear = nn.Linear(H_SIZE, V, dtype=torch.float64)
    cell: Any = kind.__name__.lower()
    weights = {"W_hq": linear.weight.T, "b_q": linear.bias}
    for i, g in enumerate(ORDER[cell]):
        rows = slice(i * H_SIZE, (i + 1) * H_SIZE)
        weights[f"layer1.forward.W_x{g}"] = rnn.weight_ih_l0[rows].T
        weights[f"layer1.forward.W_h{g}"] = rnn.weight_hh_l0[rows].T
        weights[f"layer1.forward.b_{g}"] = rnn.bias_ih_l0[rows] + rnn.bias_hh_l0[rows]
    if cell == "gru":
        weights["layer1.forward.b_h"] = rnn.bias_ih_l0[-H_SIZE:]
        weights["layer1.forward.b_hn"] = rnn.bias_hh_l0[-H_SIZE:]
    X = random_ids(T, B)
    expected = linear(rnn(F.one_hot(X, V).double())[0])
    for implementation in ("scratch", "torch"):
        config = ModelConfig(cell=cell, hidden_size=H_SIZE, implementation=implementation, reset="after-bias")
        model = LanguageModel(config, V).double()
        model.load_weights({key: value.detach() for key, value in weights.items()})
        torch.testing.assert_close(model(X)[0], expected, rtol=0, atol=1e-12)


def test_reset_before_cannot_be_converted_to_torch() -> None:
    """It is mathematically impossible, and the error says so."""
    with pytest.raises(InputError, match="reset=before has no torch implementation"):
        make_model("gru-before").convert(implementation="torch")


def test_load_weights_refuses_missing_names_and_wrong_shapes() -> None:
    """A missing name is a KeyError, a wrong shape a RuntimeError."""
    for implementation in ("scratch", "torch"):
        model = make_model("gru-after", implementation=implementation)
        weights = {key: value.detach().clone() for key, value in model.weights().items()}
        with pytest.raises(KeyError, match=r"layer1\.forward\.W_xz"):
            model.load_weights({key: value for key, value in weights.items() if key != "layer1.forward.W_xz"})
        with pytest.raises(RuntimeError):
            model.load_weights(weights | {"layer1.forward.W_hh": torch.zeros(H_SIZE + 1, H_SIZE + 1)})


# --- The start --------------------------------------------------------------------------------------


@shapes
@pytest.mark.parametrize("initialisation", ["normal", "uniform"])
@pytest.mark.parametrize("name", IN_TORCH)
def test_one_seed_gives_both_implementations_the_same_weights(
    name: str, initialisation: Initialisation, layers: int, bidirectional: bool
) -> None:
    """They are equal bit for bit, and differ for another seed."""
    settings = CONFIGS[name] | {"hidden_size": 4, "num_layers": layers, "bidirectional": bidirectional}
    kinds: list[tuple[Implementation, int]] = [("scratch", 5), ("torch", 5), ("scratch", 6)]
    models = [
        LanguageModel(ModelConfig(**settings, implementation=kind, initialisation=initialisation), V, seeded(seed))
        for kind, seed in kinds
    ]
    first, same, other = (model.weights() for model in models)
    assert set(first) == set(same)
    for key, value in first.items():
        assert torch.equal(value, same[key])
        if not (initialisation == "normal" and key.split(".")[-1].startswith("b_")):
            assert not torch.equal(value, other[key])


def test_output_layer_starts_as_in_the_lecture_notes_or_torch() -> None:
    """It has N(0, 0.01) and a zero bias, or U(-1/sqrt(D h), 1/sqrt(D h)) for both, as in nn.Linear."""
    normal = LanguageModel(ModelConfig(hidden_size=50, bidirectional=True), 90)
    assert normal.W_hq.std().item() == pytest.approx(0.01, rel=0.05)
    assert normal.b_q.abs().max().item() == 0
    uniform = LanguageModel(ModelConfig(hidden_size=50, bidirectional=True, initialisation="uniform"), 90)
    for value in (uniform.W_hq, uniform.b_q):
        assert 0.9 * 0.1 < value.abs().max().item() <= 0.1
        assert value.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.2)


def test_forget_bias_raises_every_forget_gate() -> None:
    """In each layer and direction b_f starts at the forget bias, and no other bias does."""
    model = LanguageModel(ModelConfig(cell="lstm", hidden_size=4, num_layers=2, bidirectional=True, forget_bias=2.5), V)
    biases = {key: value for key, value in model.weights().items() if key.split(".")[-1].startswith("b_")}
    assert sum(key.endswith("b_f") for key in biases) == 4
    assert all((value == (2.5 if key.endswith("b_f") else 0.0)).all() for key, value in biases.items())


def test_initial_state_is_zero_for_every_layer() -> None:
    """H, and C for the LSTM, are zeros (D, B, h) in the type of the weights."""
    model = make_model("lstm", 3, bidirectional=True)
    state = model.initial_state(B)
    assert [[tuple(S.shape) for S in layer] for layer in state] == [[(2, B, H_SIZE)] * 2] * 3
    assert all(S.abs().max() == 0 and S.dtype == torch.float64 for layer in state for S in layer)


# --- Scoring -----------------------------------------------------------------------------------------


@given(text=st.lists(st.integers(-1, V - 1), min_size=2, max_size=40), cell=st.sampled_from(list(CONFIGS)))
def test_a_uniform_model_has_the_perplexity_v(text: list[int], cell: str) -> None:
    """With an output layer of zeros every character costs log V nats, on any text with a character to score."""
    model = make_model(cell)
    with torch.no_grad():
        model.W_hq.zero_()
        model.b_q.zero_()
    loss = evaluate(model, np.array(text))
    assert loss.characters == sum(i != UNKNOWN for i in text[1:])
    assert loss.nats == pytest.approx(loss.characters * math.log(V), rel=1e-12)
    if loss.characters:
        assert perplexity(loss.nats, loss.characters) == pytest.approx(V, rel=1e-10)


@given(st.lists(st.integers(-1, V - 1), min_size=1, max_size=10))
def test_both_one_hot_encodings_agree(ids: list[int]) -> None:
    """NumPy's for the page and torch's for the model give the same vectors."""
    ours = encode_one_hot(torch.tensor(ids), V, torch.float32).numpy()
    assert (ours == one_hot(np.array(ids), V)).all()


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
def test_an_unknown_input_is_the_zero_vector(implementation: Implementation) -> None:
    """The model sees only its biases and its state there; known characters in the batch are not affected."""
    model = make_model("rnn", implementation=implementation)
    W = model.weights()
    H0 = torch.linspace(-1, 1, 2 * H_SIZE, dtype=torch.float64).view(1, 2, H_SIZE)
    logits, _ = model(torch.tensor([[UNKNOWN, 3]]), ((H0,),))
    linear = H0[0] @ W["layer1.forward.W_hh"] + W["layer1.forward.b_h"]
    linear[1] += W["layer1.forward.W_xh"][3]
    expected = torch.tanh(linear) @ W["W_hq"] + W["b_q"]
    torch.testing.assert_close(logits[0], expected, rtol=0, atol=1e-12)


def test_unknown_targets_are_not_scored() -> None:
    """They add no nats, do not count as characters, and leave no gradient."""
    model = make_model("gru-after")
    X, Y = random_ids(T, B, seed=1), random_ids(T, B, seed=2)
    hidden_targets = Y.clone()
    hidden_targets[1, 0] = hidden_targets[4, 2] = UNKNOWN
    _, loss, _ = model.loss(X, hidden_targets, model.initial_state(B))
    log_p = torch.log_softmax(model(X)[0], dim=-1).detach()
    nats = sum(
        -float(log_p[t, b, hidden_targets[t, b]]) for t in range(T) for b in range(B) if hidden_targets[t, b] >= 0
    )
    assert loss.characters == T * B - 2
    assert loss.nats == pytest.approx(nats, abs=1e-12)
    assert loss.mean == pytest.approx(nats / (T * B - 2), abs=1e-12)

    model.loss_and_gradients(X, hidden_targets, model.initial_state(B))
    gradients = {key: value.clone() for key, value in model.gradients().items()}
    model.zero_grad()
    logits, _ = model(X)
    known = hidden_targets != UNKNOWN
    F.cross_entropy(logits[known], Y[known]).backward()  # the mean over the known targets alone
    assert_all_close(gradients, model.gradients(), atol=1e-12)

    nothing = torch.full_like(Y, UNKNOWN)
    loss, _ = model.loss_and_gradients(X, nothing, model.initial_state(B))
    assert loss == BatchLoss(0.0, 0)
    assert loss.mean == 0.0
    assert all(g.abs().max() == 0 for g in model.gradients().values())


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
@pytest.mark.parametrize("name", ["rnn", "gru-after", "lstm"])
def test_reading_in_two_pieces_with_the_state_carried_equals_reading_at_once(
    name: str, implementation: Implementation
) -> None:
    """The returned state is all that a model of one direction needs of the past."""
    model = make_model(name, 2, implementation=implementation)
    X = random_ids(8, B)
    whole, last = model(X)
    first, state = model(X[:3])
    second, end = model(X[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-12)
    for a, b in zip(last, end, strict=True):
        for S, other in zip(a, b, strict=True):
            torch.testing.assert_close(S, other, rtol=0, atol=1e-12)


def test_a_bidirectional_model_sees_the_future_and_one_direction_does_not() -> None:
    """Changing the last character changes the first logits of the bidirectional model only."""
    X = random_ids(T, 1)
    changed = X.clone()
    changed[-1] = (X[-1] + 1) % V
    one, both = make_model("gru-after"), make_model("gru-after", bidirectional=True)
    assert torch.equal(one(X)[0][:-1], one(changed)[0][:-1])
    assert (both(X)[0][0] - both(changed)[0][0]).abs().max() > 1e-4


def test_loss_and_gradients_start_afresh_each_time() -> None:
    """Gradients are not added up from call to call."""
    model = make_model("lstm")
    X, Y = random_ids(T, B, seed=1), random_ids(T, B, seed=2)
    model.loss_and_gradients(X, Y, model.initial_state(B))
    first = {key: value.clone() for key, value in model.gradients().items()}
    model.loss_and_gradients(X, Y, model.initial_state(B))
    assert all(torch.equal(first[key], value) for key, value in model.gradients().items())
