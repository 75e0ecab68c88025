"""Backpropagation through time written out in NumPy agrees with autograd."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from rnnviz.analysis import experiments
from rnnviz.analysis.experiments import shipped_unrolled
from rnnviz.analysis.unrolled import unroll
from rnnviz.config import ModelConfig
from rnnviz.nn.model import LanguageModel

IDS = np.array([3, 0, 4, 4, 1, 2])


def random_model(scale: float) -> LanguageModel:
    model = LanguageModel(ModelConfig(cell="rnn", hidden_size=4, implementation="scratch"), 5).double()
    generator = torch.Generator().manual_seed(7)
    model.load_weights(
        {name: scale * torch.randn(W.shape, generator=generator).double() for name, W in model.weights().items()}
    )
    return model


@pytest.mark.parametrize("scale", [0.1, 0.8, 2.0])
def test_the_sum_of_the_terms_is_autograds_gradient(scale: float) -> None:
    """dL/dW_hh and the mean loss agree to 1e-12 in float64."""
    model = random_model(scale)
    u = unroll({name: W.detach().numpy() for name, W in model.weights().items()}, IDS)
    ids = torch.from_numpy(IDS).unsqueeze(1)
    model.loss_and_gradients(ids[:-1], ids[1:], model.initial_state(1))
    np.testing.assert_allclose(u.dW.sum(axis=0), model.gradients()["layer1.forward.W_hh"].numpy(), rtol=1e-12)
    mean, _, _ = model.loss(ids[:-1], ids[1:], model.initial_state(1))
    assert u.loss.mean() == pytest.approx(mean.item(), rel=1e-12)
    assert u.T == 5


def test_each_steps_gradient_is_autograds() -> None:
    """Both the whole dL/dH_t and the part of it that comes from the step's own loss agree."""
    model = random_model(0.8)
    W = {name.removeprefix("layer1.forward."): w.detach() for name, w in model.weights().items()}
    H, kept, losses, own = torch.zeros(1, 4, dtype=torch.float64), [], [], []

    def loss_of(H: torch.Tensor, y: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(H @ W["W_hq"] + W["b_q"], torch.tensor([y])) / 5

    for x, y in itertools.pairwise(IDS):
        H = torch.tanh(W["W_xh"][x] + H @ W["W_hh"] + W["b_h"]).requires_grad_()
        H.retain_grad()
        kept.append(H)
        losses.append(loss_of(H, y))
        alone = H.detach().requires_grad_()
        own.append(torch.autograd.grad(loss_of(alone, y), alone)[0])
    torch.stack(losses).sum().backward()
    u = unroll({name: w.detach().numpy() for name, w in model.weights().items()}, IDS)
    np.testing.assert_allclose(u.dH, torch.cat([H.grad for H in kept if H.grad is not None]).numpy(), rtol=1e-12)
    np.testing.assert_allclose(u.own, torch.cat(own).numpy(), rtol=1e-12)


def test_the_characters_of_the_unrolled_rnn_follow_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting that affects the text counts: if line breaks are kept, one of the characters is a line break."""
    config = experiments.UNROLLED.with_settings({"keep_line_breaks": True})
    monkeypatch.setattr(experiments, "UNROLLED", config)
    assert "\n" in shipped_unrolled()[1]


def test_the_terms_of_a_step_fit_together() -> None:
    """dH_{t-1} = (dH_t * slope_t) W_hh^T + its own part; the last step receives nothing from later ones."""
    weights, vocabulary = shipped_unrolled()
    u = unroll(weights, vocabulary.encode("rivers"))
    np.testing.assert_allclose(u.dA, u.dH * u.slope)
    np.testing.assert_allclose(u.carried, u.dA @ u.W_hh.T)
    np.testing.assert_allclose(u.dH[:-1], u.own[:-1] + u.carried[1:])
    np.testing.assert_array_equal(u.dH[-1], u.own[-1])
    np.testing.assert_array_equal(u.dW[0], 0)  # H_0 = 0
