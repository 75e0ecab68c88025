"""The future in a bidirectional model's predictions: scored without it, and its gradient, against autograd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rnnviz.analysis.leak import LENGTH, SHIPPED, Leak, shipped_leakage
from rnnviz.config import ModelConfig
from rnnviz.nn.future import evaluate_masked, leak, masked_logits, measure
from rnnviz.nn.model import LanguageModel, encode_one_hot
from rnnviz.nn.training import evaluate
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, Vocabulary
from tests.helpers import CELLS, CONFIGS

VOCABULARY = Vocabulary("abcdef")
TEXT = "fadedbe?fcab"  # one character is unknown
IMPLEMENTATIONS = ("fused", "scratch", "torch")


def make_model(name: str, **settings: Any) -> LanguageModel:
    config = ModelConfig(**CONFIGS[name], hidden_size=4, initialisation="uniform", **settings)
    model = LanguageModel(config, len(VOCABULARY), torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        for W in model.weights().values():
            W.mul_(2)
    return model


def ids_of(text: str) -> Tensor:
    return torch.from_numpy(VOCABULARY.encode(text))


def chance(model: LanguageModel, X: Tensor, t: int, answer: int) -> Tensor:
    """P_t of the answer, given one-hot vectors X (T, V), by the layers themselves: a graph for autograd."""
    H = X.unsqueeze(1)
    for i, (layer, state) in enumerate(zip(model._layers(), model.initial_state(1), strict=True)):
        out, _after = layer(H, state)
        H = out + H if model.config.residual and i else out
    return torch.softmax(H[t, 0] @ model.W_hq + model.b_q, dim=-1)[answer]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (1, True), (2, False), (2, True)])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_masked_scoring_is_a_model_that_never_saw_the_future(
    cell: Any, num_layers: int, bidirectional: bool, implementation: Any
) -> None:
    """Every prediction equals that of the text cut off after its character, and so does the loss."""
    name = "gru-after" if cell == "gru" else cell
    model = make_model(name, num_layers=num_layers, bidirectional=bidirectional, implementation=implementation)
    ids = ids_of(TEXT)
    with torch.no_grad():
        alone = torch.stack([model(ids[: t + 1].unsqueeze(1))[0][-1, 0] for t in range(len(ids))])
    torch.testing.assert_close(masked_logits(model, ids), alone, rtol=0, atol=1e-12)
    nats = F.cross_entropy(alone[:-1], ids[1:], ignore_index=-1, reduction="sum")
    masked = evaluate_masked(model, ids.numpy())
    assert masked.nats == pytest.approx(float(nats), abs=1e-10)
    assert masked.characters == len(TEXT) - 2
    seen = evaluate(model, ids.numpy())
    assert (abs(seen.nats - masked.nats) < 1e-9) == (not bidirectional)


@CELLS
@pytest.mark.parametrize(("num_layers", "residual"), [(1, False), (2, False), (2, True)])
def test_the_leak_is_autograds_gradient(name: str, num_layers: int, residual: bool) -> None:
    """Of every prediction to every character read, forward and backward, in double precision."""
    model = make_model(name, num_layers=num_layers, residual=residual, bidirectional=True, implementation="scratch")
    found = leak(model, VOCABULARY, TEXT)
    ids = ids_of(TEXT)
    for t in range(len(TEXT) - 1):
        if ids[t + 1] < 0:
            assert np.isnan(found.by_input[t]).all()
            continue
        X = encode_one_hot(ids, len(VOCABULARY), torch.float64).requires_grad_()
        P = chance(model, X, t, int(ids[t + 1]))
        (gradient,) = torch.autograd.grad(P, X)
        np.testing.assert_allclose(found.by_input[t], gradient.norm(dim=-1).numpy(), rtol=0, atol=1e-12)
        assert found.true[t] == pytest.approx(P.item(), abs=1e-12)
    assert np.nanmax(found.answers) > 1e-3


def test_the_leak_is_a_finite_difference() -> None:
    """P_t(x_{t+1}) moves by the gradient when the answer's own vector is moved a little along it."""
    model = make_model("gru-after", bidirectional=True)
    found, ids, t, step = leak(model, VOCABULARY, TEXT), ids_of(TEXT), 3, 1e-5
    X = encode_one_hot(ids, len(VOCABULARY), torch.float64)
    sides = []
    for v in range(len(VOCABULARY)):
        moved = [X.clone(), X.clone()]
        moved[0][t + 1, v] += step
        moved[1][t + 1, v] -= step
        above, below = (chance(model, each, t, int(ids[t + 1])).item() for each in moved)
        sides.append((above - below) / (2 * step))
    assert found.answers[t] == pytest.approx(float(np.linalg.norm(sides)), rel=1e-6)


def test_the_way_back_runs_through_the_backward_pass() -> None:
    """Of the backward states only those from the prediction's own on carry it, and autograd agrees."""
    model = make_model("gru-after", bidirectional=True, implementation="scratch")
    found, ids, t = leak(model, VOCABULARY, TEXT), ids_of(TEXT), 4
    assert (found.by_state[t, :t] == 0).all()
    assert (found.by_state[t, t:] > 0).all()
    X = encode_one_hot(ids, len(VOCABULARY), torch.float64).unsqueeze(1)
    (layer,) = model._layers()
    H = layer(X, model.initial_state(1)[0])[0].detach().requires_grad_()
    P = torch.softmax(H[t, 0] @ model.W_hq + model.b_q, dim=-1)[ids[t + 1]]
    (direct,) = torch.autograd.grad(P, H)
    assert found.by_state[t, t] == pytest.approx(float(direct[t, 0, 4:].norm()), abs=1e-12)


@CELLS
def test_one_direction_has_no_leak_at_all(name: str) -> None:
    """Not a small gradient from the future, but exactly none; masked or not is one."""
    found = leak(make_model(name), VOCABULARY, TEXT.replace("?", "a"))
    assert (np.triu(found.by_input, 1) == 0).all()
    assert (np.diagonal(found.by_input) > 0).any()
    assert (found.by_state == 0).all()
    np.testing.assert_allclose(found.masked, found.true, rtol=0, atol=1e-12)


def test_a_leak_comes_back_from_json() -> None:
    """In five digits, with nothing where the answer is unknown."""
    found = leak(make_model("lstm", bidirectional=True), VOCABULARY, TEXT)
    back = Leak.from_json(found.to_json())
    assert back.text == TEXT
    for name in ("by_input", "by_state", "true", "masked"):
        np.testing.assert_allclose(getattr(back, name), getattr(found, name), rtol=1e-4)


@pytest.mark.parametrize("name", ["bidirectional-en", "bidirectional-zh", "gru-en", "gru-zh"])
def test_what_ships_is_what_is_measured(name: str) -> None:
    """Of the runs in `data/`, over the text on which the page opens."""
    run = Run.open(DATA / name)
    shipped = shipped_leakage(run)
    assert shipped is not None
    measured = measure(str(run.folder), shipped.leak.text)
    np.testing.assert_allclose(shipped.leak.by_input, measured.leak.by_input, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(shipped.leak.masked, measured.leak.masked, rtol=1e-3)
    assert shipped.scores.read == pytest.approx(measured.scores.read, rel=1e-3)
    assert shipped.scores.masked == pytest.approx(measured.scores.masked, rel=1e-3)
    assert len(shipped.leak.text) <= LENGTH


def test_a_run_of_ones_own_ships_nothing(tmp_path: Path) -> None:
    """Its leak is measured by a worker."""
    assert shipped_leakage(Run(tmp_path / "bidirectional-en")) is None
    assert (SHIPPED / "bidirectional-en.json").is_file()
