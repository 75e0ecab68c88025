"""Measured gradients through time against autograd, bounds where they must hold, and what ships."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnnviz.analysis.experiments import THETAS, map_cells
from rnnviz.cells import cell_of, of_layer
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn.execution import Execution
from rnnviz.nn.gradients import SCALES, WINDOWS, gradient_by_lag, map_cell, scale_recurrence, ship, study, windows_of
from rnnviz.nn.model import LanguageModel, encode_one_hot
from rnnviz.nn.training import Trainer, evaluate, perplexity, train
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport, FailureReport, StepReport
from rnnviz.text.corpora import UNKNOWN, Corpus, corpus_of
from tests.helpers import CONFIGS

V, T, B = 6, 9, 3
CELLS = CONFIGS | {"lstm": {"cell": "lstm", "forget_bias": 1.0}}


def random_model(name: str, scale: float = 0.6, seed: int = 0) -> LanguageModel:
    """A float64 model with weights from N(0, scale), including the biases."""
    config = ModelConfig(**CELLS[name], hidden_size=5)
    model = LanguageModel(config, V).double()
    generator = torch.Generator().manual_seed(seed)
    model.load_weights(
        {key: scale * torch.randn(W.shape, generator=generator).double() for key, W in model.weights().items()}
    )
    return model


def random_batch(seed: int = 1) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, V, (T + 1, B), generator=torch.Generator().manual_seed(seed))
    return ids[:-1], ids[1:]


def by_autograd(model: LanguageModel, X: Tensor, Y: Tensor) -> list[list[Tensor]]:
    """For each window, dL_T/dS_t of every state, t = 1 … T: the equations in a loop, `retain_grad` on every step."""
    cell = cell_of(model.config)
    W = {name.removeprefix("layer1.forward."): w for name, w in model.weights().items()}
    results = []
    for b in range(X.shape[1]):
        state = tuple(torch.zeros(1, model.config.hidden_size, dtype=torch.float64) for _ in cell.state)
        kept: list[tuple[Tensor, ...]] = []
        for x in encode_one_hot(X[:, b : b + 1], V, torch.float64):
            signals = cell.step(x.requires_grad_(), state, W)
            state = tuple(signals[name] for name in cell.state)
            for S in state:
                S.retain_grad()
            kept.append(state)
        logits = state[0] @ W["W_hq"] + W["b_q"]
        torch.nn.functional.cross_entropy(logits, Y[-1, b : b + 1]).backward()
        results.append([torch.cat([torch.zeros_like(S) if S.grad is None else S.grad for S in s]) for s in kept])
    return results


@pytest.mark.parametrize("name", CELLS)
def test_the_measured_gradient_is_autograds(name: str) -> None:
    """‖dL_T/dH_t‖, and for the LSTM ‖dL_T/dC_t‖, agree at every lag and in every window to 1e-12 in float64."""
    model, (X, Y) = random_model(name), random_batch()
    lag = gradient_by_lag(model, X, Y)
    expected = np.array([[S.norm(dim=1).numpy() for S in reversed(window)] for window in by_autograd(model, X, Y)])
    np.testing.assert_allclose(lag.H, expected[..., 0], rtol=1e-12, atol=1e-15)
    assert (lag.C is None) is (name != "lstm")
    if lag.C is not None:
        np.testing.assert_allclose(lag.C, expected[..., 1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_an_unknown_last_character_leaves_the_other_windows_as_they_are(name: str) -> None:
    """Its own window has no loss and no gradient; gradient and theory of all others are the same without it."""
    model, (X, Y) = random_model(name), random_batch()
    whole = gradient_by_lag(model, X, Y)
    Y[-1, 0] = UNKNOWN
    partly = gradient_by_lag(model, X, Y)
    for before, after in zip(vars(whole).values(), vars(partly).values(), strict=True):
        if isinstance(before, np.ndarray):
            np.testing.assert_allclose(after[1:], before[1:], rtol=1e-12)
            assert not after[0].any()
    Y[-1] = UNKNOWN
    assert not gradient_by_lag(model, X, Y).H.any()


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
def test_every_implementation_gives_the_same(implementation: str) -> None:
    """Only the weights count, not the implementation that trained them."""
    X, Y = random_batch()
    model = random_model("lstm")
    ours, theirs = (gradient_by_lag(m, X, Y) for m in (model, model.convert(implementation=implementation)))
    np.testing.assert_allclose(ours.H, theirs.H, rtol=1e-12)


@given(name=st.sampled_from(["rnn", "rnn-relu"]), scale=st.floats(0.05, 2.5), seed=st.integers(0, 2**20))
@settings(max_examples=40)
def test_the_bounds_of_the_rnn_are_never_below_the_gradient(name: str, scale: float, seed: int) -> None:
    """At every lag of every window, the norm is at most the bound by steps, and that at most the bound by sigma_max."""
    lag = gradient_by_lag(random_model(name, scale, seed), *random_batch(seed))
    sigma = lag.sigma_bound()
    assert lag.bound is not None
    assert sigma is not None
    room = 1 + 1e-9
    assert (lag.bound * room + 1e-300 >= lag.H).all()
    assert (lag.bound <= sigma * room + 1e-300).all()
    np.testing.assert_allclose(lag.bound[:, 0], lag.H[:, 0])


def test_the_step_by_step_bound_is_the_product_of_the_jacobians_norms() -> None:
    """The largest singular values of autograd's dH_t / dH_{t-1}, found by SVD, are multiplied along the lag."""
    model, (X, Y) = random_model("rnn"), random_batch()
    lag = gradient_by_lag(model, X, Y)
    W = {name.removeprefix("layer1.forward."): w.detach() for name, w in model.weights().items()}
    H, norms = torch.zeros(5, dtype=torch.float64), []
    for x in encode_one_hot(X[:, 0], V, torch.float64):

        def step(H: Tensor, x: Tensor = x) -> Tensor:
            return torch.tanh(x @ W["W_xh"] + H @ W["W_hh"] + W["b_h"])

        jacobian = torch.autograd.functional.jacobian(step, H)
        norms.append(float(torch.linalg.svdvals(jacobian)[0]))
        H = step(H)
    expected = lag.H[0, 0] * np.cumprod([1, *norms[:0:-1]])
    assert lag.bound is not None
    np.testing.assert_allclose(lag.bound[0], expected, rtol=1e-10)
    assert lag.sigma == pytest.approx(float(torch.linalg.svdvals(W["W_hh"])[0]))


def test_cells_with_gates_have_no_bound() -> None:
    """A GRU and an LSTM have no bound by one matrix, and the RNN has no path through gates."""
    X, Y = random_batch()
    for name in ("gru-after", "lstm"):
        lag = gradient_by_lag(random_model(name), X, Y)
        assert lag.bound is None
        assert lag.sigma is None
        assert lag.sigma_bound() is None
        assert lag.direct is not None
    assert gradient_by_lag(random_model("rnn"), X, Y).direct is None


@pytest.mark.parametrize(("name", "gate"), [("lstm", "f"), ("gru-after", "z")])
def test_the_direct_path_is_the_whole_gradient_if_there_is_no_other(name: str, gate: str) -> None:
    """If all recurrent weights are zero and the gate's bias is b, the whole gradient is sigma(b)^lag."""
    model, (X, Y) = random_model(name), random_batch()
    with torch.no_grad():
        for key, W in model.weights().items():
            if ".W_h" in key or key.endswith((f"W_x{gate}", "b_hn")):
                W.zero_()
            if key.endswith(f"b_{gate}"):
                W.fill_(1.5)
    lag = gradient_by_lag(model, X, Y)
    assert lag.direct is not None
    whole = lag.C if name == "lstm" else lag.H
    assert whole is not None
    np.testing.assert_allclose(lag.direct, whole, rtol=1e-10)
    sigma = 1 / (1 + math.exp(-1.5))
    np.testing.assert_allclose(lag.direct, whole[:, :1] * sigma ** np.arange(T), rtol=1e-10)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_every_layer_and_direction_agrees_with_autograd(name: str, layer: int, direction: str) -> None:
    """A zero is added to each state of that layer, and the loss of one character is differentiated by it."""
    config = ModelConfig(**CELLS[name], hidden_size=3, num_layers=2, bidirectional=True, initialisation="uniform")
    model, (X, Y) = LanguageModel(config, V).double(), random_batch()
    lag = gradient_by_lag(model, X, Y, layer, direction)
    cell, weights = cell_of(config), model.weights()
    last = 0 if direction == "backward" else T - 1
    for b in range(B):
        added = [[torch.zeros(1, 3, dtype=torch.float64, requires_grad=True) for _ in cell.state] for _ in range(T)]
        below = encode_one_hot(X[:, b : b + 1], V, torch.float64)
        for i in (1, 2):
            outputs = []
            for d in ("forward", "backward"):
                state = tuple(torch.zeros(1, 3, dtype=torch.float64) for _ in cell.state)
                H: dict[int, Tensor] = {}
                for t in range(T) if d == "forward" else reversed(range(T)):
                    signals = cell.step(below[t], state, of_layer(weights, i, d))
                    if (i, d) == (layer, direction):
                        if "C" in signals:  # what is added to C_t acts through H_t as well
                            signals["C"] = signals["C"] + added[t][1]
                            signals["H"] = signals["O"] * torch.tanh(signals["C"])
                        signals["H"] = signals["H"] + added[t][0]
                    state = tuple(signals[key] for key in cell.state)
                    H[t] = state[0]
                outputs.append(torch.stack([H[t] for t in range(T)]))
            below = torch.cat(outputs, dim=-1)
        logits = below[last] @ model.W_hq + model.b_q
        loss = torch.nn.functional.cross_entropy(logits, Y[last, b : b + 1])
        flat = torch.autograd.grad(loss, [a for step in added for a in step], allow_unused=True)
        norms = np.array([0.0 if g is None else float(g.norm()) for g in flat]).reshape(T, len(cell.state))
        by_lag = norms if direction == "backward" else norms[::-1]
        np.testing.assert_allclose(lag.H[b], by_lag[:, 0], rtol=1e-10, atol=1e-15)
        if lag.C is not None:
            np.testing.assert_allclose(lag.C[b], by_lag[:, 1], rtol=1e-10, atol=1e-15)


def test_a_missing_layer_or_direction_is_refused() -> None:
    """The message says what was asked for and what this model has."""
    model = LanguageModel(ModelConfig(hidden_size=3), V)
    for layer, direction in ((2, "forward"), (0, "forward"), (1, "backward")):
        with pytest.raises(InputError, match=f"no {direction} direction in a layer {layer}; this model has 1 layers"):
            gradient_by_lag(model, *random_batch(), layer, direction)


def test_only_the_last_layer_has_a_bound() -> None:
    """Below it, the gradient of an RNN can bypass W_hh."""
    model = LanguageModel(ModelConfig(cell="rnn", hidden_size=3, num_layers=2), V)
    assert gradient_by_lag(model, *random_batch(), layer=1).bound is None
    assert gradient_by_lag(model, *random_batch(), layer=2).bound is not None


def test_scaling_changes_only_recurrent_matrices() -> None:
    """Every W_h. is multiplied and nothing else, and the given model is not changed."""
    model = random_model("gru-after")
    before = {name: W.clone() for name, W in model.weights().items()}
    for name, W in scale_recurrence(model, 2.5).weights().items():
        torch.testing.assert_close(W, before[name] * (2.5 if ".W_h" in name else 1.0))
    for name, W in model.weights().items():
        assert torch.equal(W, before[name])
    assert 1.0 in SCALES


def small_run(folder: Path, cell: str = "rnn") -> Run:
    text = "the cat sat on the mat and the dog sat on the log. " * 4
    config = TrainConfig(
        ModelConfig(cell=cell, hidden_size=4, initialisation="uniform"),  # type: ignore[arg-type]
        batch_size=2,
        num_steps=10,
        epochs=2,
        optimizer="adam",
        learning_rate=0.01,
        device="cpu",
    )
    run = Run.create(config, Corpus("cats", text, text[:50]), folder)
    execution = Execution.resume(run)
    execution.advance(execution.trainer.total_steps)
    return run


def test_a_study_uses_the_runs_own_checkpoints(tmp_path: Path) -> None:
    """At every checkpoint it has the gradient of those weights, at s = 1 that of the newest, and NumPy's spectra."""
    run = small_run(tmp_path / "run")
    made = study(str(run.folder))
    assert list(made.steps) == run.checkpoint_steps()
    texts, X, Y = windows_of(run.corpus)
    assert made.texts == texts
    assert all(text in run.corpus.training for text in texts)
    for step, lag in zip(made.steps, made.by_step, strict=True):
        weights = run.load_checkpoint(step).weights()
        model = LanguageModel(run.config.model, len(run.corpus.vocabulary))
        model.load_weights({name: torch.from_numpy(value) for name, value in weights.items()})
        np.testing.assert_array_equal(lag.H, gradient_by_lag(model, X, Y).H)
        k = made.steps.index(step)
        W_hh = weights["layer1.forward.W_hh"].astype(np.float64)
        assert made.spectrum.singular_values["W_hh"][k, 0] == pytest.approx(np.linalg.norm(W_hh, 2))
        assert np.prod(made.spectrum.eigenvalues["W_hh"][k]).real == pytest.approx(np.linalg.det(W_hh), abs=1e-12)
        assert lag.sigma == pytest.approx(made.spectrum.singular_values["W_hh"][k, 0])
    np.testing.assert_allclose(made.by_scale[made.scales.index(1.0)].H, made.by_step[-1].H)
    assert len(made.norms.steps) == run.reports()[-1].step
    assert len(made.by_step[0].H) == WINDOWS


def test_a_run_without_checkpoints_is_reported(tmp_path: Path) -> None:
    """A run that has not begun has nothing to study."""
    run = Run.create(TrainConfig(), Corpus("x", "abcabc" * 10, ""), tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint yet"):
        study(str(run.folder))


def test_windows_of_a_short_text_are_as_long_as_it_is() -> None:
    """A text shorter than forty characters is read whole."""
    texts, X, _Y = windows_of(Corpus("x", "abcab", ""))
    assert set(texts) == {"abcab"}
    assert X.shape == (4, WINDOWS)


def test_a_cell_of_the_map_is_a_complete_training() -> None:
    """The perplexity before is that of the fresh model; a small rate learns, a huge one diverges."""
    cells = map_cells("rnn-sgd")
    good, bad = (next(c for c in cells if (c.clip, c.learning_rate) == key) for key in ((0.3, 3.2), (1.0, 32.0)))
    learned, diverged = map_cell(good), map_cell(bad)
    assert learned.start == diverged.start == pytest.approx(40, rel=0.1)
    assert learned.end < 0.5 * learned.start
    assert not learned.diverged
    assert diverged.diverged
    reports = list(train(bad, corpus_of(bad)))
    assert isinstance(reports[-1], FailureReport)
    assert diverged.end == [report.perplexity for report in reports if isinstance(report, EpochReport)][-1] < math.inf
    assert {config.clip for config in cells} == set(THETAS)


def test_a_cell_of_the_map_trains_on_the_text_of_its_configuration() -> None:
    """The seed determines a generated text, and line breaks are kept if the configuration says so."""
    model = ModelConfig(cell="rnn", hidden_size=4)
    small = TrainConfig(model, max_chars=300, batch_size=4, num_steps=10, epochs=1, device="cpu")
    for other in ({"corpus": "sums", "seed": 3}, {"corpus": "tales-en", "keep_line_breaks": True}):
        config = small.with_settings(other)
        trainer = Trainer(config, corpus_of(config))
        loss = evaluate(trainer.model, trainer.ids)
        assert map_cell(config).start == perplexity(loss.nats, loss.characters)


def test_shipping_writes_everything_that_the_page_opens_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes three studies, the small RNN's weights and the maps, with infinite perplexities as null."""
    monkeypatch.setattr("rnnviz.nn.gradients._train", lambda config, folder: small_run(folder, config.model.cell))
    monkeypatch.setattr("rnnviz.nn.gradients.SCALES", (1.0,))
    monkeypatch.setattr("rnnviz.nn.gradients.map_cells", lambda name: map_cells(name)[-1:])
    ship(tmp_path / "gradients")
    written = sorted(path.name for path in (tmp_path / "gradients").iterdir())
    assert written == ["gru.npz", "lstm.npz", "maps.json", "rnn.npz", "unrolled.safetensors"]
    maps = json.loads((tmp_path / "gradients" / "maps.json").read_text())
    assert maps["rnn-sgd"][0][1] is None or maps["rnn-sgd"][0][1] > 40


def test_the_norms_of_the_training_are_those_of_the_study(tmp_path: Path) -> None:
    """The global norm computed from single norms is the one by which the trainer clipped."""
    run = small_run(tmp_path / "run", "lstm")
    norms = study(str(run.folder)).norms
    reports = [report for report in run.reports() if isinstance(report, StepReport)]
    np.testing.assert_allclose(norms.total(), [report.norm_before for report in reports], rtol=1e-6)
    after = np.sqrt((norms.clipped(run.config.clip) ** 2).sum(axis=1))
    np.testing.assert_allclose(after, [report.norm_after for report in reports], rtol=1e-6)
