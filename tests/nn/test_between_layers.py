"""What stands between the layers: residual connections and dropout, against autograd, torch.nn and differences."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnviz.analysis.reading import every_layer
from rnnviz.cells import cell_of
from rnnviz.config import Implementation, ModelConfig, TrainConfig
from rnnviz.nn.gradients import gradient_by_lag
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import trace
from rnnviz.nn.training import Trainer, evaluate
from rnnviz.runs.folder import Run
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA, Corpus, Vocabulary
from tests.helpers import CONFIGS, IN_TORCH

V, T, B, H_SIZE, P = 6, 7, 3, 4, 0.4
VOCABULARY = Vocabulary("abcdef")
CORPUS = Corpus("test", "the cat sat on the mat. " * 30, "a hat on the cat. " * 5)
BETWEEN = pytest.mark.parametrize(
    "between", [{"residual": True}, {"dropout": P}, {"residual": True, "dropout": P}], ids=str
)


def make_model(name: str, layers: int = 3, bidirectional: bool = False, **settings: Any) -> LanguageModel:
    """A float64 model with random weights of a size that makes every gate matter."""
    config = ModelConfig(
        **CONFIGS[name], hidden_size=H_SIZE, num_layers=layers, bidirectional=bidirectional, **settings
    )
    model = LanguageModel(config, V).double()
    generator = torch.Generator().manual_seed(5)
    model.load_weights(
        {k: 0.5 * torch.randn(w.shape, generator=generator).double() for k, w in sorted(model.weights().items())}
    )
    return model


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, V, (T + 1, B), generator=torch.Generator().manual_seed(seed))
    return ids[:-1], ids[1:]


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def step_of(model: LanguageModel, dropout: torch.Generator | None) -> tuple[float, dict[str, Tensor], list[Tensor]]:
    X, Y = batch()
    loss, after = model.loss_and_gradients(X, Y, model.initial_state(B), dropout)
    return loss.nats, {k: g.clone() for k, g in model.gradients().items()}, list(itertools.chain(*after))


def assert_same(one: LanguageModel, other: LanguageModel, dropout: bool = True) -> None:
    """The same loss, gradients and state of a step in which the same is dropped."""
    ours, theirs = (step_of(model, seeded() if dropout else None) for model in (one, other))
    assert ours[0] == pytest.approx(theirs[0], abs=1e-10)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=1e-10, rtol=0, msg=name)
    for mine, expected in zip(ours[2], theirs[2], strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-10, rtol=0)


@BETWEEN
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", CONFIGS)
def test_our_backward_pass_is_autograds(name: str, layers: int, bidirectional: bool, between: dict[str, Any]) -> None:
    """Loss, state and every gradient of the fused pass equal those of the equations, and those of torch's layers."""
    model = make_model(name, layers, bidirectional, **between)
    assert_same(model, model.convert(implementation="scratch"))
    if cell_of(model.config).torch_name:
        assert_same(model, model.convert(implementation="torch"))


@BETWEEN
def test_gradients_equal_finite_differences(between: dict[str, Any]) -> None:
    """A small step of each parameter changes the loss, with the same dropped, as its gradient says."""
    model = make_model("lstm", 2, **between)
    X, Y = batch()

    def loss() -> float:
        return model.loss_and_gradients(X, Y, model.initial_state(B), seeded())[0].mean

    loss()
    assert model.flat.grad is not None
    analytic, expected, epsilon = model.flat.grad.clone(), [], 1e-6
    for i in range(len(model.flat)):
        ends = []
        for sign in (1, -1):
            model.flat[i] += sign * epsilon
            ends.append(loss())
            model.flat[i] -= sign * epsilon
        expected.append((ends[0] - ends[1]) / (2 * epsilon))
    torch.testing.assert_close(analytic, torch.tensor(expected, dtype=torch.float64), atol=1e-8, rtol=1e-5)


def packed_into(rnn: nn.RNNBase, model: LanguageModel, layer: int, suffix: str) -> None:
    """Copy the weights of a layer of ours into torch's layer `suffix`."""
    packed: Any = model.convert(implementation="torch").layers[layer]
    with torch.no_grad():
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(rnn, f"{kind}_{suffix}").copy_(getattr(packed.rnn, f"{kind}_l0"))


@pytest.mark.parametrize("implementation", ["fused", "scratch", "torch"])
@pytest.mark.parametrize("name", ["rnn", "gru-after-bias", "lstm"])
def test_dropout_is_torchs(name: str, implementation: Implementation) -> None:
    """nn.RNN, nn.GRU and nn.LSTM of three layers with dropout, from the same random numbers: values and gradients."""
    model = make_model(name, dropout=P).convert(implementation=implementation)
    rnn: nn.RNNBase = getattr(nn, str(cell_of(model.config).torch_name))(
        V, H_SIZE, num_layers=3, dropout=P, dtype=torch.float64
    )
    for layer in range(3):
        packed_into(rnn, model, layer, f"l{layer}")
    X, Y = batch()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        H, _ = rnn(nn.functional.one_hot(X, V).double())
    logits = H @ model.W_hq.detach() + model.b_q.detach()
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), Y.flatten())
    loss.backward()
    nats, gradients, _ = step_of(model, seeded())
    assert nats / (T * B) == pytest.approx(float(loss.detach()), abs=1e-10)
    first = cell_of(model.config).blocks[0]
    for layer in range(3):
        theirs: Any = getattr(rnn, f"weight_hh_l{layer}").grad
        ours = gradients[f"layer{layer + 1}.forward.W_h{first}"]
        torch.testing.assert_close(ours, theirs[:H_SIZE].T, atol=1e-10, rtol=0)


@pytest.mark.parametrize("implementation", ["fused", "scratch", "torch"])
@pytest.mark.parametrize("name", IN_TORCH)
def test_a_residual_layer_adds_its_input(name: str, implementation: Implementation) -> None:
    """Three layers of torch.nn one after the other, from the second on with what they read added: the same logits."""
    model = make_model(name, residual=True).convert(implementation=implementation)
    layers: Any = model.convert(implementation="torch").layers
    X, _Y = batch()
    x: Tensor = nn.functional.one_hot(X, V).double()
    for i, layer in enumerate(layers):
        H, _ = layer.rnn(x)
        x = H + x if i else H
    with torch.no_grad():
        logits, _ = model(X)
    torch.testing.assert_close(logits, x @ model.W_hq + model.b_q, atol=1e-10, rtol=0)


@pytest.mark.parametrize("implementation", ["fused", "scratch", "torch"])
@pytest.mark.parametrize("layers", [1, 3])
def test_nothing_is_dropped_without_a_generator(layers: int, implementation: Implementation) -> None:
    """A model with dropout then gives the numbers of one without, bit for bit; one layer has nothing to drop."""
    model = make_model("lstm", layers, dropout=P).convert(implementation=implementation)
    without = model.convert(dropout=0.0)
    X, _Y = batch()
    with torch.no_grad():
        assert torch.equal(model(X)[0], without(X)[0])
    ours, theirs = step_of(model, seeded() if layers == 1 else None), step_of(without, None)
    assert ours[0] == theirs[0]
    assert all(torch.equal(ours[1][name], gradient) for name, gradient in theirs[1].items())
    assert evaluate(model, np.arange(20) % V) == evaluate(without, np.arange(20) % V)


def test_a_generator_decides_what_is_dropped() -> None:
    """The same seed drops the same, another something else; about the share asked for, and the rest is scaled up."""
    model = make_model("lstm", dropout=P)
    assert step_of(model, seeded(1))[0] == step_of(model, seeded(1))[0] != step_of(model, seeded(2))[0]
    masks = model._masks(torch.Size((50, 40)), seeded())
    assert masks[-1] is None
    for mask in masks[:-1]:
        assert mask is not None
        assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - P)])
        assert float((mask == 0).double().mean()) == pytest.approx(P, abs=0.02)
    assert masks[0] is not None
    assert masks[1] is not None
    assert not torch.equal(masks[0], masks[1])


def train_config(**settings: Any) -> TrainConfig:
    model = ModelConfig(cell="gru", hidden_size=8, num_layers=2, initialisation="uniform", dropout=P)
    config = TrainConfig(
        model, epochs=3, batch_size=4, num_steps=7, optimizer="adam", learning_rate=0.01, predict_every=3, device="cpu"
    )
    return config.with_settings(settings)


def test_one_seed_is_one_curve_however_a_run_is_cut() -> None:
    """Twice the same reports; the same again where a new trainer goes on from a checkpoint; another seed differs."""
    whole = Trainer(train_config(), CORPUS).advance(10**6)
    assert whole == Trainer(train_config(), CORPUS).advance(10**6)
    first = Trainer(train_config(), CORPUS)
    reports = first.advance(31)
    second = Trainer(train_config(), CORPUS)
    second.restore(first.checkpoint())
    assert reports + second.advance(10**6) == whole
    assert whole != Trainer(train_config(seed=1), CORPUS).advance(10**6)


def test_three_implementations_drop_the_same() -> None:
    """Trained from one seed, their perplexities agree; without dropout they are others, and lower on this text."""

    def curve(**settings: Any) -> list[float]:
        reports = Trainer(train_config(**settings), CORPUS).advance(10**6)
        return [report.perplexity for report in reports if isinstance(report, EpochReport)]

    fused = curve(reset="after-bias")
    for implementation in ("scratch", "torch"):
        assert curve(reset="after-bias", implementation=implementation) == pytest.approx(fused, rel=1e-3)
    assert curve(reset="after-bias", dropout=0.0)[-1] < fused[-1]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recording_predicts_as_the_model_does(residual: bool, bidirectional: bool) -> None:
    """From the recorded states alone; and it tells a file whether its layers add their input."""
    model = make_model("gru-after", 3, bidirectional, residual=residual, dropout=P)
    recorded = trace(model, VOCABULARY, "fadedbeadcab")
    weights = {name: w.detach().numpy() for name, w in model.weights().items()}
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(VOCABULARY.encode(recorded.text)).unsqueeze(1))
    expected = torch.log_softmax(logits[:, 0], -1).numpy()
    read = Trace.load(io.BytesIO(recorded.to_bytes()))
    assert read.residual is recorded.residual is residual
    for layer in every_layer(read, weights, VOCABULARY):
        np.testing.assert_allclose(layer.log_probabilities(), expected, atol=1e-5)
    assert replace(read, residual=not residual).residual is not residual


@pytest.mark.parametrize("layer", [1, 2])
def test_the_gradient_by_lag_goes_around_a_residual_layer(layer: int) -> None:
    """A zero is added to each hidden state of a layer, and the loss of the last character is differentiated by it."""
    model = make_model("gru-after", 2, residual=True)
    X, Y = batch()
    lag = gradient_by_lag(model, X, Y, layer)
    cell, scratch = cell_of(model.config), model.convert(implementation="scratch")
    layers: Any = scratch.layers
    added = torch.zeros(T, B, H_SIZE, dtype=torch.float64, requires_grad=True)
    x: Tensor = nn.functional.one_hot(X, V).double()
    for i, weights in enumerate([each.weights()[0] for each in layers], start=1):
        H, rows = torch.zeros(B, H_SIZE, dtype=torch.float64), []
        for t in range(T):
            H = cell.step(x[t], (H,), weights)["H"] + (added[t] if i == layer else 0)
            rows.append(H)
        x = torch.stack(rows) + x if i > 1 else torch.stack(rows)
    logits = x[-1] @ scratch.W_hq + scratch.b_q
    nn.functional.cross_entropy(logits, Y[-1], reduction="sum").backward()
    assert added.grad is not None
    np.testing.assert_allclose(lag.H, added.grad.norm(dim=-1).flip(0).T.numpy(), rtol=1e-10)


def test_runs_of_earlier_versions_open_without_either(tmp_path: Path) -> None:
    """What was written before there were such settings has none, and neither have its recordings."""
    run = Run.open(DATA / "gru-en")
    assert "dropout" not in (run.folder / "config.json").read_text(encoding="utf-8")
    assert (run.config.model.residual, run.config.model.dropout) == (False, 0.0)
    recording = run.recording()
    assert recording is not None
    assert not recording.residual
