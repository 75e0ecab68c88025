"""A reading agrees with our core and with torch in every product, sum, probability and loss of every step."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnnviz.analysis.reading import Reading, log_softmax
from rnnviz.cells import cell_of
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn import execution
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import trace
from rnnviz.nn.training import Trainer, evaluate
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, Vocabulary, split

VOCABULARY = Vocabulary("abcdef")
TEXT = "fadedbeaf?cab"  # one character is unknown
ACTIVATIONS = pytest.mark.parametrize("activation", ["tanh", "relu"])


def make_model(activation: str = "tanh", **settings: Any) -> LanguageModel:
    config = ModelConfig(cell="rnn", hidden_size=4, activation=activation, initialisation="uniform", **settings)  # type: ignore[arg-type]
    return LanguageModel(config, len(VOCABULARY), torch.Generator().manual_seed(3))


def numbers(model: LanguageModel) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in model.weights().items()}


def read(model: LanguageModel, text: str = TEXT) -> Reading:
    return Reading.of(trace(model, VOCABULARY, text), numbers(model), VOCABULARY)


@ACTIVATIONS
@pytest.mark.parametrize("implementation", ["fused", "scratch", "torch"])
def test_every_step_has_the_models_logits_and_losses(activation: str, implementation: str) -> None:
    """With every implementation, O is the model's output and the loss is autograd's cross-entropy."""
    model = make_model(activation, implementation=implementation)
    reading = read(model)
    ids = torch.from_numpy(VOCABULARY.encode(TEXT))
    logits = model(ids.unsqueeze(1))[0][:, 0].detach()
    for t in range(len(TEXT)):
        step = reading.step(t)
        np.testing.assert_allclose(step.O, logits[t], atol=1e-5)
        following = ids[t + 1] if t + 1 < len(TEXT) else torch.tensor(-1)
        if following >= 0:
            assert step.loss == pytest.approx(float(F.cross_entropy(logits[t], following)), abs=1e-5)
        else:
            assert math.isnan(step.loss)
            assert not step.Y.any()


@ACTIVATIONS
def test_every_step_has_torchs_hidden_states(activation: str) -> None:
    """torch.nn.RNN with the same weights goes through the same states."""
    model = make_model(activation)
    reading, W = read(model), {name.split(".")[-1]: value.detach() for name, value in model.weights().items()}
    rnn: Any = torch.nn.RNN(len(VOCABULARY), 4, nonlinearity=activation)
    with torch.no_grad():
        for name, value in (("weight_ih", W["W_xh"].T), ("weight_hh", W["W_hh"].T), ("bias_ih", W["b_h"])):
            getattr(rnn, f"{name}_l0").copy_(value)
        rnn.bias_hh_l0.zero_()
        X = torch.from_numpy(np.array([reading.step(t).X for t in range(len(TEXT))]))
        states = rnn(X)[0]
    for t in range(len(TEXT)):
        step = reading.step(t)
        np.testing.assert_allclose(step.H, states[t], atol=1e-6)
        np.testing.assert_allclose(step.H_before, states[t - 1] if t else np.zeros(4), atol=1e-6)


@ACTIVATIONS
def test_the_terms_add_up_to_the_step(activation: str) -> None:
    """A is the sum of its three terms, and the activation of A is the result of the core's step."""
    model = make_model(activation)
    reading = read(model)
    W = {name: torch.from_numpy(np.array(value)) for name, value in reading.weights.items()}
    for t in range(len(TEXT)):
        step = reading.step(t)
        np.testing.assert_allclose(step.A, step.XW + step.HW + reading.weights["b_h"], atol=1e-6)
        core = cell_of(model.config).step(torch.from_numpy(step.X), (torch.from_numpy(step.H_before),), W)["H"]
        phi = np.tanh if activation == "tanh" else lambda A: np.maximum(A, 0)
        np.testing.assert_allclose(phi(step.A), core, atol=1e-6)
        np.testing.assert_allclose(step.H, core, atol=1e-6)


def test_the_softmax_sums_to_one() -> None:
    """It does so at every step of our models, and for logits far beyond the range of exp."""
    reading = read(make_model())
    for t in range(len(TEXT)):
        P = reading.step(t).P
        assert P.sum() == pytest.approx(1, abs=1e-6)
        assert (P > 0).all()
    for logits in ([1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]):
        assert np.exp(log_softmax(np.array(logits, np.float32))).sum() == pytest.approx(1)


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-500, 500)))
def test_log_softmax_is_torchs(logits: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """It agrees in float64, and does not change its input."""
    before = logits.copy()
    ours = log_softmax(logits)
    np.testing.assert_allclose(ours, torch.log_softmax(torch.from_numpy(logits), 0), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(logits, before)


def test_the_mean_loss_is_that_of_the_run() -> None:
    """The mean of the losses over a text is what `evaluate` returns for it."""
    run = Run.open(DATA / "tiny-tanh")
    trace_, weights = run.recording(), run.load_checkpoint().weights()
    assert trace_ is not None
    reading = Reading.of(trace_, weights, run.corpus.vocabulary)
    total = sum(reading.step(t).loss for t in range(len(trace_.text) - 1))
    expected = evaluate(execution.load_model(run), run.corpus.vocabulary.encode(trace_.text))
    assert total == pytest.approx(expected.nats, rel=1e-5)


def test_an_unknown_character_is_the_zero_vector() -> None:
    """The state then changes only by W_hh and the bias."""
    step = read(make_model()).step(TEXT.index("?"))
    assert not step.X.any()
    assert not step.XW.any()
    assert step.A.any()


def test_a_text_may_be_one_character() -> None:
    """Such a text has one step, from a state of zeros, and no loss."""
    step = read(make_model(), "a").step(0)
    assert not step.H_before.any()
    assert math.isnan(step.loss)


@pytest.mark.parametrize("cell", ["rnn", "gru", "mingru", "lstm"])
def test_the_probabilities_of_any_cell_are_the_models(cell: Literal["rnn", "gru", "mingru", "lstm"]) -> None:
    """log P of all steps at once is the log-softmax of the model's logits."""
    model = LanguageModel(ModelConfig(cell=cell, hidden_size=4, initialisation="uniform"), len(VOCABULARY))
    logits = model(torch.from_numpy(VOCABULARY.encode(TEXT)).unsqueeze(1))[0][:, 0].detach()
    np.testing.assert_allclose(read(model).log_probabilities(), F.log_softmax(logits, -1), atol=1e-5)


def test_a_missing_layer_or_the_step_of_a_cell_with_gates_is_refused() -> None:
    """The message says what the model is and what was asked for."""
    with pytest.raises(InputError, match="the run is a GRU; allowed here: an RNN"):
        read(LanguageModel(ModelConfig(cell="gru", hidden_size=4), len(VOCABULARY))).step(0)
    model = make_model()
    recorded = trace(model, VOCABULARY, "abc")
    for layer, direction in ((2, "forward"), (0, "forward"), (1, "backward")):
        with pytest.raises(InputError, match=f"layer {layer} and the direction {direction}"):
            Reading.of(recorded, numbers(model), VOCABULARY, layer, direction)


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_step_of_any_layer_and_direction_is_what_the_model_computed(layer: int, direction: str) -> None:
    """Its A gives the recorded state, and its logits are those of the whole model."""
    config = ModelConfig(cell="rnn", hidden_size=4, num_layers=2, bidirectional=True, initialisation="uniform")
    model = LanguageModel(config, len(VOCABULARY))
    reading = Reading.of(trace(model, VOCABULARY, "abcabd"), numbers(model), VOCABULARY, layer, direction)
    logits, _ = model(torch.from_numpy(VOCABULARY.encode("abcabd")).unsqueeze(1))
    for t in range(6):
        step = reading.step(t)
        np.testing.assert_allclose(np.tanh(step.A), step.H, atol=1e-6)
        np.testing.assert_allclose(step.O, logits[t, 0].detach().numpy(), atol=1e-5)


def test_a_run_in_memory_is_read_with_the_weights_of_its_recording(tmp_path: object) -> None:
    """`execution.read` returns a recording and weights of the same moment, and raises an error for an empty text."""
    config = TrainConfig(ModelConfig(cell="rnn", hidden_size=3), batch_size=2, num_steps=5, epochs=2, device="cpu")
    corpus = split("abcabd" * 30, held_out_chars=0)
    run = Run.create(config, corpus, tmp_path / "run")  # type: ignore[operator]
    started = execution.Execution.start(run, Trainer(config, corpus))
    started.advance(3)
    started.save()
    reading = execution.read(str(run.folder), "abcabd")
    for t in range(6):
        step = reading.step(t)
        np.testing.assert_allclose(np.tanh(step.A), step.H, atol=1e-6)
    assert reading.hidden_size == 3
    with pytest.raises(InputError, match="the text is empty"):
        execution.read(str(run.folder), "")


@pytest.mark.parametrize("name", ["tiny-tanh", "tiny-relu"])
def test_the_shipped_small_networks_have_learned_to_count(name: str) -> None:
    """They have four units and three characters, and a held-out perplexity far below that of a trigram model."""
    run = Run.open(DATA / name)
    assert (run.config.model.hidden_size, len(run.corpus.vocabulary)) == (4, 3)
    assert f"{run.config.model.activation}" == name.removeprefix("tiny-")
    loss = evaluate(execution.load_model(run), run.corpus.vocabulary.encode(run.corpus.held_out))
    assert loss.mean < math.log(1.3)
    assert sum(file.stat().st_size for file in run.folder.rglob("*.*")) < 500_000
