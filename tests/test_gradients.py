"""Gradients through time as measured, against autograd; bounds where they must hold; what ships."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnnviz.cells import cell_of
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.execution import Execution
from rnnviz.experiments import THETAS, map_cells
from rnnviz.gradients import (
    SCALES,
    WINDOWS,
    gradient_by_lag,
    map_cell,
    scale_recurrence,
    ship,
    study,
    windows_of,
)
from rnnviz.model import LanguageModel, encode_one_hot
from rnnviz.reports import StepReport
from rnnviz.runs import Run
from rnnviz.text import Corpus

V, T, B = 6, 9, 3
CELLS: dict[str, dict[str, Any]] = {
    "rnn-tanh": {"cell": "rnn"},
    "rnn-relu": {"cell": "rnn", "activation": "relu"},
    "gru-before": {"cell": "gru", "reset": "before"},
    "gru-after": {"cell": "gru", "reset": "after"},
    "lstm": {"cell": "lstm", "forget_bias": 1.0},
}


def random_model(name: str, scale: float = 0.6, seed: int = 0) -> LanguageModel:
    """Weights of N(0, scale), biases included, in float64."""
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
    """For each window dL_T/dS_t of every state, t = 1 … T: the equations in a loop, `retain_grad` on every step."""
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
    """‖dL_T/dH_t‖, and for the LSTM ‖dL_T/dC_t‖, at every lag and in every window, to 1e-12 in float64."""
    model, (X, Y) = random_model(name), random_batch()
    lag = gradient_by_lag(model, X, Y)
    expected = np.array([[S.norm(dim=1).numpy() for S in reversed(window)] for window in by_autograd(model, X, Y)])
    np.testing.assert_allclose(lag.H, expected[..., 0], rtol=1e-12, atol=1e-15)
    assert (lag.C is None) is (name != "lstm")
    if lag.C is not None:
        np.testing.assert_allclose(lag.C, expected[..., 1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
def test_every_implementation_gives_the_same(implementation: str) -> None:
    """The weights count, not what trained them."""
    X, Y = random_batch()
    model = random_model("lstm")
    ours, theirs = (gradient_by_lag(m, X, Y) for m in (model, model.convert(implementation=implementation)))
    np.testing.assert_allclose(ours.H, theirs.H, rtol=1e-12)


@given(name=st.sampled_from(["rnn-tanh", "rnn-relu"]), scale=st.floats(0.05, 2.5), seed=st.integers(0, 2**20))
@settings(max_examples=40)
def test_the_bounds_of_the_rnn_are_never_below_the_gradient(name: str, scale: float, seed: int) -> None:
    """Measured <= step by step <= by sigma_max, at every lag of every window, vanishing or exploding."""
    lag = gradient_by_lag(random_model(name, scale, seed), *random_batch(seed))
    sigma = lag.sigma_bound()
    assert lag.bound is not None
    assert sigma is not None
    room = 1 + 1e-9
    assert (lag.bound * room + 1e-300 >= lag.H).all()
    assert (lag.bound <= sigma * room + 1e-300).all()
    np.testing.assert_allclose(lag.bound[:, 0], lag.H[:, 0])


def test_the_step_by_step_bound_is_the_product_of_the_jacobians_norms() -> None:
    """dH_t / dH_{t-1} by autograd, its largest singular value by SVD, multiplied up along the lag."""
    model, (X, Y) = random_model("rnn-tanh"), random_batch()
    lag = gradient_by_lag(model, X, Y)
    W = {name.removeprefix("layer1.forward."): w.detach() for name, w in model.weights().items()}
    H, norms = torch.zeros(5, dtype=torch.float64), []
    for x in encode_one_hot(X[:, 0], V, torch.float64):
        step = lambda H, x=x: torch.tanh(x @ W["W_xh"] + H @ W["W_hh"] + W["b_h"])  # noqa: E731
        jacobian = torch.autograd.functional.jacobian(step, H)
        norms.append(float(torch.linalg.svdvals(jacobian)[0]))
        H = step(H)
    expected = lag.H[0, 0] * np.cumprod([1, *norms[:0:-1]])
    assert lag.bound is not None
    np.testing.assert_allclose(lag.bound[0], expected, rtol=1e-10)
    assert lag.sigma == pytest.approx(float(torch.linalg.svdvals(W["W_hh"])[0]))


def test_no_bound_is_claimed_for_cells_with_gates() -> None:
    """A GRU and an LSTM have no bound by one matrix, and the RNN has no path through gates."""
    X, Y = random_batch()
    for name in ("gru-after", "lstm"):
        lag = gradient_by_lag(random_model(name), X, Y)
        assert lag.bound is None
        assert lag.sigma is None
        assert lag.sigma_bound() is None
        assert lag.direct is not None
    assert gradient_by_lag(random_model("rnn-tanh"), X, Y).direct is None


@pytest.mark.parametrize(("name", "gate"), [("lstm", "f"), ("gru-after", "z")])
def test_the_direct_path_is_all_where_nothing_else_is(name: str, gate: str) -> None:
    """With all recurrent weights zero and the gate's bias b, sigma(b)^lag is left, and it is the whole gradient."""
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


@pytest.mark.parametrize("shape", [{"num_layers": 2}, {"bidirectional": True}])
def test_other_shapes_are_refused(shape: dict[str, Any]) -> None:
    """Several layers or two directions: the message says what is measured and what this model has."""
    model = LanguageModel(ModelConfig(hidden_size=3, **shape), V)
    with pytest.raises(InputError, match="one layer that reads forward"):
        gradient_by_lag(model, *random_batch())


def test_scaling_touches_recurrent_matrices_alone() -> None:
    """Every W_h. is multiplied, nothing else, and the model given stays as it was."""
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


def test_a_study_is_of_the_runs_own_checkpoints(tmp_path: Path) -> None:
    """At every checkpoint the gradient of those very weights; at s = 1 that of the newest; spectra as NumPy's."""
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


def test_a_run_without_checkpoints_is_told(tmp_path: Path) -> None:
    """A run that has not begun has nothing to study."""
    run = Run.create(TrainConfig(), Corpus("x", "abcabc" * 10, ""), tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint yet"):
        study(str(run.folder))


def test_windows_of_a_short_text_are_as_long_as_it_is() -> None:
    """A text shorter than forty characters is read whole."""
    texts, X, _Y = windows_of(Corpus("x", "abcab", ""))
    assert set(texts) == {"abcab"}
    assert X.shape == (4, WINDOWS)


def test_a_cell_of_the_map_is_a_training_to_its_end() -> None:
    """The perplexity before is that of the fresh model; a small rate learns, a huge one without clipping diverges."""
    cells = map_cells("rnn-sgd")
    good, bad = (next(c for c in cells if (c.clip, c.learning_rate) == key) for key in ((0.3, 3.2), (0.0, 1000.0)))
    learned, diverged = map_cell(good), map_cell(bad)
    assert learned.start == diverged.start == pytest.approx(40, rel=0.1)
    assert learned.end < 0.5 * learned.start
    assert not learned.diverged
    assert diverged.diverged
    assert {config.clip for config in cells} == set(THETAS)


def test_shipping_writes_all_that_the_page_opens_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three studies, the small RNN's weights and the maps, infinite perplexities as null."""
    monkeypatch.setattr("rnnviz.gradients._train", lambda config, folder: small_run(folder, config.model.cell))
    monkeypatch.setattr("rnnviz.gradients.SCALES", (1.0,))
    monkeypatch.setattr("rnnviz.gradients.map_cells", lambda name: map_cells(name)[-1:])
    ship(tmp_path / "gradients")
    written = sorted(path.name for path in (tmp_path / "gradients").iterdir())
    assert written == ["gru.npz", "lstm.npz", "maps.json", "rnn.npz", "unrolled.safetensors"]
    maps = json.loads((tmp_path / "gradients" / "maps.json").read_text())
    assert maps["rnn-sgd"][0][1] is None or maps["rnn-sgd"][0][1] > 40


def test_the_trainings_own_norms_are_those_of_the_study(tmp_path: Path) -> None:
    """The global norm from single norms is the one that the trainer clipped by."""
    run = small_run(tmp_path / "run", "lstm")
    norms = study(str(run.folder)).norms
    reports = [report for report in run.reports() if isinstance(report, StepReport)]
    np.testing.assert_allclose(norms.total(), [report.norm_before for report in reports], rtol=1e-6)
    after = np.sqrt((norms.clipped(run.config.clip) ** 2).sum(axis=1))
    np.testing.assert_allclose(after, [report.norm_after for report in reports], rtol=1e-6)
