"""One layer in two implementations: its initial weights, their packing, and its output."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnviz.cells import cell_of
from rnnviz.config import Initialisation, ModelConfig
from rnnviz.nn.layers import ScratchLayer, TorchLayer, initial_weights, make_layer
from tests.helpers import CONFIGS, IN_TORCH


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_weights(config: ModelConfig, d: int) -> list[dict[str, Tensor]]:
    """Random weights for each direction, float64."""
    generator = seeded(3)
    shapes = cell_of(config).shapes(d, config.hidden_size)
    return [
        {name: 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
        for _ in range(config.num_directions)
    ]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", IN_TORCH)
def test_both_implementations_compute_the_same_function(name: str, bidirectional: bool) -> None:
    """Values, last states, and gradients of weights, inputs and initial states agree to 1e-10 in float64."""
    d, h, T, B = 3, 4, 6, 2
    config = ModelConfig(**CONFIGS[name], hidden_size=h, bidirectional=bidirectional)
    weights = random_weights(config, d)
    results = []
    for kind in (ScratchLayer, TorchLayer):
        layer = kind(config, d).double()
        layer.load_weights(weights)
        generator = seeded(5)
        X = torch.randn(T, B, d, generator=generator, dtype=torch.float64).requires_grad_()
        shape = (config.num_directions, B, h)
        state = tuple(
            torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in cell_of(config).state
        )
        H, after = layer(X, state)
        mixing = torch.randn(H.shape, generator=generator, dtype=torch.float64)
        ((H * mixing).sum() + sum((S**2).sum() for S in after)).backward()
        gradients = [g for direction in layer.gradients() for _, g in sorted(direction.items())]
        results.append([H, *after, X.grad, *(S.grad for S in state), *gradients])
    assert len(results[0]) == len(results[1])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
        assert ours.abs().max() > 1e-3


@pytest.mark.parametrize("name", IN_TORCH)
def test_weights_are_views_under_the_textbook_names(name: str) -> None:
    """Names and shapes are those of the cell, and writing through a view changes the layer itself."""
    config = ModelConfig(**CONFIGS[name], hidden_size=4, bidirectional=True)
    for kind in (ScratchLayer, TorchLayer):
        layer = kind(config, 3)
        layer.load_weights([{k: w.float() for k, w in direction.items()} for direction in random_weights(config, 3)])
        for direction in layer.weights():
            assert {k: tuple(w.shape) for k, w in direction.items()} == cell_of(config).shapes(3, 4)
        before, _ = layer(torch.ones(2, 1, 3), tuple(torch.zeros(2, 1, 4) for _ in cell_of(config).state))
        with torch.no_grad():
            for direction in layer.weights():
                for value in direction.values():
                    value.zero_()
        after, _ = layer(torch.ones(2, 1, 3), tuple(torch.zeros(2, 1, 4) for _ in cell_of(config).state))
        assert before.abs().max() > 0.01
        assert after.abs().max() == 0


@pytest.mark.parametrize("name", IN_TORCH)
def test_gates_are_packed_in_torchs_order(name: str) -> None:
    """GRU r, z, n and LSTM i, f, g, o: each textbook matrix is the block that torch documents."""
    order = {"rnn": "h", "rnn-relu": "h", "gru-after": "rzh", "gru-after-bias": "rzh", "lstm": "ifco"}[name]
    config = ModelConfig(**CONFIGS[name], hidden_size=4)
    layer = TorchLayer(config, 3)
    (weights,) = random_weights(config, 3)
    layer.load_weights([{k: w.float() for k, w in weights.items()}])
    rnn: Any = layer.rnn  # torch does not declare its weights as attributes
    for i, gate in enumerate(order):
        rows = slice(4 * i, 4 * (i + 1))
        assert torch.equal(rnn.weight_ih_l0[rows], weights[f"W_x{gate}"].T.float())
        assert torch.equal(rnn.weight_hh_l0[rows], weights[f"W_h{gate}"].T.float())
        assert torch.equal(rnn.bias_ih_l0[rows], weights[f"b_{gate}"].float())
    second = torch.zeros(4 * len(order))
    if name == "gru-after-bias":
        second[8:] = weights["b_hn"].float()
    assert torch.equal(rnn.bias_hh_l0, second)


@pytest.mark.parametrize("name", IN_TORCH)
def test_torchs_second_bias_stays_zero_under_training(name: str) -> None:
    """Adam would move it at once if its gradient were not held at zero; the GRU's b_hn does move."""
    config = ModelConfig(**CONFIGS[name], hidden_size=4, bidirectional=True)
    layer = TorchLayer(config, 3)
    layer.load_weights([{k: w.float() for k, w in direction.items()} for direction in random_weights(config, 3)])
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    rnn: Any = layer.rnn
    start = [rnn.bias_hh_l0.detach().clone(), rnn.bias_hh_l0_reverse.detach().clone()]
    for _ in range(3):
        optimizer.zero_grad()
        X = torch.randn(5, 2, 3, generator=seeded(8))
        H, _ = layer(X, tuple(torch.zeros(2, 2, 4) for _ in cell_of(config).state))
        (H**2).sum().backward()
        optimizer.step()
    for bias, before in zip((rnn.bias_hh_l0, rnn.bias_hh_l0_reverse), start, strict=True):
        inner = 4 if name == "gru-after-bias" else 0
        rest = len(bias) - inner
        assert torch.equal(bias[:rest], torch.zeros(rest))
        assert (bias[rest:] != before[rest:]).all()


def test_gradients_are_zero_before_the_first_backward_pass() -> None:
    """A layer that has not been trained yet returns zeros and raises no error."""
    for implementation in ("scratch", "torch"):
        layer = make_layer(ModelConfig(hidden_size=4, implementation=implementation), 3)
        (gradients,) = layer.gradients()
        assert set(gradients) == set(cell_of(ModelConfig()).shapes(3, 4))
        assert all(g.abs().max() == 0 for g in gradients.values())


def test_load_needs_a_dictionary_for_each_direction() -> None:
    """Weights of one direction are not enough for two."""
    for implementation in ("scratch", "torch"):
        layer = make_layer(ModelConfig(hidden_size=4, bidirectional=True, implementation=implementation), 3)
        with pytest.raises(ValueError, match="shorter"):
            layer.load_weights([{k: w.float() for k, w in random_weights(ModelConfig(hidden_size=4), 3)[0].items()}])


def test_make_layer_follows_the_configuration() -> None:
    """The name of the implementation determines the class."""
    assert isinstance(make_layer(ModelConfig(implementation="torch"), 3), TorchLayer)
    assert isinstance(make_layer(ModelConfig(implementation="scratch"), 3), ScratchLayer)


# --- Initial weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_normal_initialisation_is_that_of_the_lecture_notes(name: str) -> None:
    """Matrices are from N(0, 0.01), biases are zero."""
    config = ModelConfig(**CONFIGS[name], hidden_size=60, bidirectional=True)
    directions = initial_weights(config, 80, seeded(0))
    assert len(directions) == 2
    for weights in directions:
        for key, value in weights.items():
            if key.startswith("b_"):
                assert value.abs().max() == 0
            else:
                n = value.numel()
                assert abs(float(value.mean())) < 5 * 0.01 / math.sqrt(n)
                assert float(value.std()) == pytest.approx(0.01, rel=5 / math.sqrt(2 * n))
                assert 0.025 < float(value.abs().max()) < 0.06  # a normal tail, not a uniform one
    first, second = (next(iter(weights.values())) for weights in directions)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", CONFIGS)
def test_uniform_initialisation_is_that_of_torch(name: str) -> None:
    """Matrices fill U(-1/sqrt(h), 1/sqrt(h)); a bias that torch adds up from two is a sum of two such draws."""
    h = 64
    k = 1 / math.sqrt(h)
    config = ModelConfig(**CONFIGS[name], hidden_size=h, initialisation="uniform")
    draws = [initial_weights(config, 50, seeded(seed))[0] for seed in range(20)]
    for key in draws[0]:
        values = torch.stack([weights[key] for weights in draws]).double()
        n = values.numel()
        single = not key.startswith("b_") or (name == "gru-after-bias" and key in ("b_h", "b_hn"))
        variance = (1 if single else 2) * k**2 / 3
        assert abs(float(values.mean())) < 5 * math.sqrt(variance / n)
        assert float(values.var()) == pytest.approx(variance, rel=0.15)
        largest = float(values.abs().max())
        if single:
            assert 0.95 * k < largest <= k
        else:
            assert 1.5 * k < largest <= 2 * k


def test_uniform_initialisation_has_the_statistics_of_a_fresh_torch_module() -> None:
    """The variance of each summed bias is that of the sum of nn.LSTM's two biases."""
    torch.manual_seed(0)
    modules: list[Any] = [nn.LSTM(3, 64) for _ in range(20)]
    theirs = torch.cat([(m.bias_ih_l0 + m.bias_hh_l0).detach() for m in modules])
    config = ModelConfig(cell="lstm", hidden_size=64, initialisation="uniform")
    ours = torch.cat(
        [
            torch.cat([w[f"b_{g}"] for g in "ifco"])
            for (w,) in (initial_weights(config, 3, seeded(s)) for s in range(20))
        ]
    )
    assert len(ours) == len(theirs) == 20 * 4 * 64
    assert float(ours.var()) == pytest.approx(float(theirs.var()), rel=0.08)


@pytest.mark.parametrize("initialisation", ["normal", "uniform"])
def test_forget_bias_shifts_only_the_forget_gate(initialisation: Initialisation) -> None:
    """b_f is larger by exactly the forget bias, in each direction; all other weights are drawn as without it."""
    config = ModelConfig(cell="lstm", hidden_size=5, bidirectional=True, initialisation=initialisation)
    shifted = ModelConfig(
        cell="lstm", hidden_size=5, bidirectional=True, initialisation=initialisation, forget_bias=3.0
    )
    for plain, raised in zip(
        initial_weights(config, 3, seeded(1)), initial_weights(shifted, 3, seeded(1)), strict=True
    ):
        for key, value in plain.items():
            torch.testing.assert_close(raised[key], value + 3.0 if key == "b_f" else value, rtol=0, atol=1e-6)


def test_forget_bias_does_not_affect_other_cells() -> None:
    """A GRU or a plain RNN has no forget gate to shift."""
    for cell in ("rnn", "gru"):
        plain, shifted = ModelConfig(cell=cell, hidden_size=5), ModelConfig(cell=cell, hidden_size=5, forget_bias=3.0)
        (a,), (b,) = initial_weights(plain, 3, seeded(1)), initial_weights(shifted, 3, seeded(1))
        assert all(torch.equal(a[key], b[key]) for key in a)
