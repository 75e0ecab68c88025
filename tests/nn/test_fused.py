"""The fused core against autograd: values, gradients, dL/dH_t, and buffers that are not overwritten too early."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnviz.cells import cell_of
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn.fused import output
from rnnviz.nn.fused.layer import FusedLayer
from rnnviz.nn.model import LanguageModel, ModelState, for_device
from rnnviz.nn.tracing import trace
from rnnviz.nn.training import Trainer
from rnnviz.text.corpora import UNKNOWN, Corpus, Vocabulary

CELLS = [
    ModelConfig(cell="rnn"),
    ModelConfig(cell="rnn", activation="relu"),
    ModelConfig(cell="gru", reset="before"),
    ModelConfig(cell="gru", reset="after"),
    ModelConfig(cell="gru", reset="after-bias"),
    ModelConfig(cell="mingru"),
    ModelConfig(cell="lstm"),
]
SHAPES = [(1, 1, 2, 1), (5, 3, 7, 4), (4, 1, 3, 2)]  # T, B, V, h
TOLERANCE = 1e-10


def pair(config: ModelConfig, V: int, h: int, seed: int = 0) -> tuple[LanguageModel, LanguageModel]:
    """The same float64 weights in the fused and in the scratch implementation."""
    config = replace(config, hidden_size=h, implementation="fused", initialisation="uniform")
    model = LanguageModel(config, V, torch.Generator().manual_seed(seed)).double()
    return model, model.convert(implementation="scratch")


def batch(T: int, B: int, V: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and targets, some of them unknown."""
    generator = torch.Generator().manual_seed(seed)
    X, Y = (torch.randint(UNKNOWN, V, (T, B), generator=generator) for _ in range(2))
    Y[0, 0] = 0
    return X, Y


def random_state(model: LanguageModel, B: int, seed: int = 0) -> ModelState:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        tuple(torch.randn(S.shape, generator=generator, dtype=S.dtype) for S in layer)
        for layer in model.initial_state(B)
    )


def assert_equal(model: LanguageModel, reference: LanguageModel, X: Tensor, Y: Tensor, state: ModelState) -> None:
    loss, after = model.loss_and_gradients(X, Y, state)
    expected, expected_after = reference.loss_and_gradients(X, Y, state)
    assert loss.characters == expected.characters
    assert loss.nats == pytest.approx(expected.nats, abs=TOLERANCE)
    gradients, expected_gradients = model.gradients(), reference.gradients()
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, atol=TOLERANCE, rtol=0, msg=name)
    for mine, theirs in zip(itertools.chain(*after), itertools.chain(*expected_after), strict=True):
        torch.testing.assert_close(mine, theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("config", CELLS, ids=str)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("given_state", [False, True])
def test_values_and_gradients_equal_autograd(
    config: ModelConfig, num_layers: int, bidirectional: bool, shape: tuple[int, int, int, int], given_state: bool
) -> None:
    """Loss, state and every gradient equal those of the equations under autograd, in float64."""
    T, B, V, h = shape
    model, reference = pair(replace(config, num_layers=num_layers, bidirectional=bidirectional), V, h)
    state = random_state(model, B) if given_state else model.initial_state(B)
    assert_equal(model, reference, *batch(T, B, V), state)


@given(
    config=st.sampled_from(CELLS),
    T=st.integers(1, 6),
    B=st.integers(1, 4),
    V=st.integers(2, 9),
    h=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_any_size_equals_autograd(config: ModelConfig, T: int, B: int, V: int, h: int, seed: int) -> None:
    """The same holds for any sizes that Hypothesis finds."""
    model, reference = pair(config, V, h, seed)
    assert_equal(model, reference, *batch(T, B, V, seed), random_state(model, B, seed))


def autograd_adjoints(model: LanguageModel, X: Tensor, Y: Tensor) -> list[list[Tensor]]:
    """dL/dH_t of the first layer's forward direction, by differentiating with respect to a zero added to each H_t."""
    cell, W = cell_of(model.config), model._layers()[0].weights()[0]
    T, B = X.shape
    X_hot = torch.nn.functional.one_hot(X, model.vocab_size).to(model.W_hq.dtype)
    state = tuple(torch.zeros(B, model.config.hidden_size, dtype=torch.float64) for _ in cell.state)
    added = [[torch.zeros_like(S, requires_grad=True) for S in state] for _ in range(T)]
    H = []
    for t in range(T):
        signals = cell.step(X_hot[t], state, W)
        # what is added to C_t acts through H_t as well, as dL/dC_t requires
        if "C" in signals:
            C = signals["C"] + added[t][1]
            state = (signals["O"] * torch.tanh(C) + added[t][0], C)
        else:
            state = (signals["H"] + added[t][0],)
        H.append(state[0])
    logits = torch.stack(H) @ model.W_hq + model.b_q
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), Y.flatten())
    flat = list(torch.autograd.grad(loss, [a for step in added for a in step]))
    n = len(cell.state)
    return [flat[k::n] for k in range(n)]


@pytest.mark.parametrize("config", CELLS, ids=str)
def test_adjoints_of_every_step_equal_autograd(config: ModelConfig) -> None:
    """dL/dH_t through time, and the LSTM's dL/dC_t, equal autograd's."""
    model, reference = pair(config, 6, 4)
    X, Y = (tensor.clamp(min=0) for tensor in batch(7, 3, 6))
    *_, adjoints = model.backpropagate(X, Y, model.initial_state(3))
    expected = autograd_adjoints(reference, X, Y)
    for mine, theirs in zip(adjoints[0][0], expected, strict=True):
        torch.testing.assert_close(mine, torch.stack(theirs), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("config", CELLS, ids=str)
def test_gradients_equal_finite_differences(config: ModelConfig) -> None:
    """A small change of each parameter changes the loss as its gradient says."""
    model, _ = pair(config, 5, 3, seed=3)
    X, Y = batch(4, 2, 5, seed=3)
    state = random_state(model, 2)
    model.loss_and_gradients(X, Y, state)
    gradient = model.flat.grad
    assert gradient is not None
    expected, analytic, epsilon = [], gradient.clone(), 1e-6
    for i in range(len(model.flat)):
        losses = []
        for sign in (1, -1):
            model.flat[i] += sign * epsilon
            losses.append(model.loss_and_gradients(X, Y, state)[0].mean)
            model.flat[i] -= sign * epsilon
        expected.append((losses[0] - losses[1]) / (2 * epsilon))
    torch.testing.assert_close(analytic, torch.tensor(expected, dtype=torch.float64), atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("config", CELLS, ids=str)
def test_the_tape_holds_the_signals_of_the_equations(config: ModelConfig) -> None:
    """The gates on the tape are those that the equations give for the same weights and text."""
    model, _ = pair(replace(config, bidirectional=True), 6, 4)
    vocabulary = Vocabulary("abcdef")
    text = "fadebcafe"
    recorded = trace(model, vocabulary, text)
    ids = torch.from_numpy(vocabulary.encode(text)).unsqueeze(1)
    layer = model.layers[0]
    assert isinstance(layer, FusedLayer)
    _, _, tapes = layer.run(ids, model.initial_state(1)[0])
    for direction, tape in zip(("forward", "backward"), tapes, strict=True):
        assert set(tape.signals) == set(recorded.names)
        for name, values in tape.signals.items():
            expected = torch.from_numpy(recorded.signal(name, 1, direction))
            torch.testing.assert_close(values[:, 0].float(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", [c for c in CELLS if cell_of(c).torch_name], ids=str)
def test_weights_convert_exactly_both_ways(config: ModelConfig) -> None:
    """Weights go from fused to scratch and torch and back without losing a bit."""
    model, _ = pair(replace(config, num_layers=2, bidirectional=True), 5, 3)
    back = model.convert(implementation="torch").convert(implementation="scratch").convert(implementation="fused")
    for name, weight in model.weights().items():
        assert torch.equal(weight, back.weights()[name]), name


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("config", [c for c in CELLS if cell_of(c).torch_name], ids=str)
def test_three_implementations_train_alike(config: ModelConfig, optimizer: str) -> None:
    """After 20 clipped steps from the same weights in float64 the losses agree to 1e-8."""
    X, Y = (tensor.clamp(min=0) for tensor in batch(6, 4, 7))
    losses = []
    for implementation in ("fused", "scratch", "torch"):
        model = pair(config, 7, 5)[0].convert(implementation=implementation)
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
        steps = kind(model.trainable(), lr=0.1 if optimizer == "sgd" else 0.01)
        for _ in range(20):
            loss, _ = model.loss_and_gradients(X, Y, model.initial_state(4))
            norm = sum(n * n for n in model.gradient_norms().values()) ** 0.5
            for p in model.trainable():
                if p.grad is not None:
                    p.grad.mul_(min(0.5 / norm, 1.0))
            steps.step()
        losses.append(loss.nats)
    assert losses[0] == pytest.approx(losses[1], abs=1e-8)
    assert losses[0] == pytest.approx(losses[2], abs=1e-8)


@pytest.mark.parametrize("config", CELLS, ids=str)
def test_changing_shapes_and_a_second_model_leave_no_trace(config: ModelConfig) -> None:
    """Incomplete batches in between, and another model's steps, change nothing in what a model computes."""
    model, reference = pair(config, 6, 4)
    other, other_reference = pair(config, 6, 4, seed=9)
    shapes = [(5, 3), (5, 2), (1, 3), (5, 3), (7, 1), (3, 3), (2, 2), (5, 3)]
    for seed, (T, B) in enumerate(shapes):
        X, Y = batch(T, B, 6, seed)
        assert_equal(model, reference, X, Y, random_state(model, B, seed))
        assert_equal(other, other_reference, X, Y, random_state(other, B, seed + 50))


def test_a_carried_state_is_not_overwritten_by_the_next_batch() -> None:
    """The returned state keeps its values while the buffers that it came from are used again."""
    model, _ = pair(ModelConfig(cell="lstm"), 6, 4)
    X, Y = batch(5, 3, 6)
    _, after = model.loss_and_gradients(X, Y, model.initial_state(3))
    kept = [S.clone() for S in itertools.chain(*after)]
    model.loss_and_gradients(Y.clamp(min=0), X, random_state(model, 3))
    assert all(torch.equal(a, b) for a, b in zip(kept, itertools.chain(*after), strict=True))


def test_a_hopeless_target_has_a_finite_loss() -> None:
    """Where softmax underflows, the loss is still the exact logarithm."""
    model, reference = pair(ModelConfig(cell="rnn"), 4, 2)
    model = model.float()
    with torch.no_grad():
        model.b_q.copy_(torch.tensor([0.0, 300.0, 0.0, 0.0]))
        reference.load_weights(model.double().weights())
        model = model.float()
    X, Y = torch.zeros(2, 1, dtype=torch.int64), torch.tensor([[0], [1]])
    loss, _ = model.loss_and_gradients(X, Y, model.initial_state(1))
    expected, _ = reference.loss_and_gradients(X, Y, reference.initial_state(1))
    assert loss.nats == pytest.approx(expected.nats, rel=1e-6)
    assert loss.nats > 200


def test_rows_in_parts_give_the_same_as_all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Working on few rows at a time changes nothing, even if the last part is smaller."""
    model, reference = pair(ModelConfig(), 6, 4)
    monkeypatch.setattr(output, "_LOGITS_IN_CACHE", 1)  # the smallest part is 64 rows
    assert_equal(model, reference, *batch(50, 3, 6), model.initial_state(3))


def test_parameters_and_gradients_are_views_of_one_tensor() -> None:
    """Named weights and gradients are in the flat tensors, even after a change of precision."""
    model = LanguageModel(ModelConfig(hidden_size=3, num_layers=2), 5).double()
    X, Y = (tensor.clamp(min=0) for tensor in batch(4, 2, 5))
    model.loss_and_gradients(X, Y, model.initial_state(2))
    assert sum(w.numel() for w in model.weights().values()) == model.flat.numel()
    model.flat.zero_()
    assert model.flat.grad is not None
    model.flat.grad.fill_(2)
    assert all(not w.any() for w in model.weights().values())
    assert all((g == 2).all() for g in model.gradients().values())


def test_a_fused_run_is_repeatable() -> None:
    """Two trainings from one seed report the same numbers, bit for bit."""
    corpus = Corpus("test", "the cat sat on the mat. " * 40, "a hat on the cat. " * 5)
    config = TrainConfig(
        model=ModelConfig(hidden_size=8), epochs=3, batch_size=4, num_steps=7, optimizer="adam", learning_rate=0.01
    )
    assert Trainer(config, corpus).advance(10**6) == Trainer(config, corpus).advance(10**6)


def test_on_cuda_cudnn_replaces_the_loop_if_it_supports_the_cell() -> None:
    """The fused loop stays on the CPU; on CUDA only cells that torch lacks keep it."""
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert for_device(ModelConfig(), cuda).implementation == "torch"
    assert for_device(ModelConfig(reset="before"), cuda).implementation == "fused"
    assert for_device(ModelConfig(cell="mingru"), cuda).implementation == "fused"
    assert for_device(ModelConfig(cell="lstm", reset="before"), cuda).implementation == "torch"
    assert for_device(ModelConfig(), cpu).implementation == "fused"
    with pytest.raises(InputError):
        ModelConfig(reset="before", implementation="torch")


@pytest.mark.slow
def test_long_sequences_and_a_large_vocabulary_fit_in_two_gigabytes() -> None:
    """T = 1,000 with V = 5,000 trains within 2 GB of resident memory."""
    import subprocess
    import sys

    script = """
import resource, torch
from rnnviz.config import ModelConfig
from rnnviz.nn.model import LanguageModel
model = LanguageModel(ModelConfig(), 5000)
X = torch.randint(5000, (1000, 8))
loss, _ = model.loss_and_gradients(X, X, model.initial_state(8))
assert 8.4 < loss.mean < 8.6
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(answer.stdout) < 2 * 2**30
