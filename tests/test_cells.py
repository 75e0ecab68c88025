"""The equations: against NumPy, against finite differences, and at their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnviz.cells import cell_of, gru_step, last_state, lstm_step, rnn_step, scan
from rnnviz.config import ModelConfig

B, D_IN, H_SIZE, T = 2, 3, 4, 5
ON, OFF = 40.0, -40.0  # sigma(40) is 1 in float64 and sigma(-40) about 4e-18
CONFIGS = {
    "rnn-tanh": ModelConfig(cell="rnn"),
    "rnn-relu": ModelConfig(cell="rnn", activation="relu"),
    "gru-before": ModelConfig(cell="gru", reset="before"),
    "gru-after": ModelConfig(cell="gru", reset="after"),
    "lstm": ModelConfig(cell="lstm"),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights_of(config: ModelConfig, d: int = D_IN, h: int = H_SIZE) -> dict[str, Tensor]:
    """Random weights, every one different, float64."""
    shapes = cell_of(config).shapes(d, h)
    return {name: 0.7 * draw(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items(), start=10)}


def state_of(config: ModelConfig) -> tuple[Tensor, ...]:
    return tuple(draw(B, H_SIZE, seed=100 + i) for i, _ in enumerate(cell_of(config).state))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(name: str, X: np.ndarray, S: list[np.ndarray], W: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One step of the notes' equations in NumPy, unit by unit where a product is elementwise."""
    H = S[0]

    def linear(g: str) -> np.ndarray:
        return X @ W[f"W_x{g}"] + H @ W[f"W_h{g}"] + W[f"b_{g}"]

    if name == "rnn-tanh":
        return {"H": np.tanh(linear("h"))}
    if name == "rnn-relu":
        return {"H": np.maximum(linear("h"), 0)}
    if name == "lstm":
        I, F, O = (sigmoid(linear(g)) for g in "ifo")  # noqa: E741
        C_tilde = np.tanh(linear("c"))
        C = F * S[1] + I * C_tilde
        return {"I": I, "F": F, "O": O, "C_tilde": C_tilde, "C": C, "H": O * np.tanh(C)}
    R, Z = sigmoid(linear("r")), sigmoid(linear("z"))
    if name == "gru-before":
        H_tilde = np.tanh(X @ W["W_xh"] + (R * H) @ W["W_hh"] + W["b_h"])
    else:
        H_tilde = np.tanh(X @ W["W_xh"] + W["b_h"] + R * (H @ W["W_hh"] + W["b_hn"]))
    return {"R": R, "Z": Z, "H_tilde": H_tilde, "H": Z * H + (1 - Z) * H_tilde}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_computes_the_equations(name: str) -> None:
    """Every signal of a step equals the same equation written in NumPy."""
    config = CONFIGS[name]
    X, S, W = draw(B, D_IN), state_of(config), weights_of(config)
    expected = by_hand(name, X.numpy(), [s.numpy() for s in S], {k: w.numpy() for k, w in W.items()})
    signals = cell_of(config).step(X, S, W)
    assert list(signals) == list(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(signals[key].numpy(), value, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_of_a_step_agree_with_finite_differences(name: str) -> None:
    """Of every signal, with respect to the input, the state and each weight, in double precision."""
    config = CONFIGS[name]
    cell, X, S, W = cell_of(config), draw(B, D_IN), state_of(config), weights_of(config)
    names = list(W)
    if name == "rnn-relu":  # finite differences must not straddle the kink
        linear = X @ W["W_xh"] + S[0] @ W["W_hh"] + W["b_h"]
        assert float(linear.abs().min()) > 1e-2
        assert (linear > 0).any()
        assert (linear < 0).any()

    def function(X: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state, weights = rest[: len(S)], rest[len(S) :]
        return tuple(cell.step(X, state, dict(zip(names, weights, strict=True))).values())

    inputs = [v.clone().requires_grad_() for v in (X, *S, *W.values())]
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_update_gate_of_one_keeps_the_state(reset: str) -> None:
    """Z = 1: the GRU's new state is its old one, whatever it read."""
    W = weights_of(CONFIGS[f"gru-{reset}"]) | {"b_z": torch.full((H_SIZE,), ON, dtype=torch.float64)}
    H = draw(B, H_SIZE, seed=1)
    signals = gru_step(draw(B, D_IN), (H,), W, reset)
    torch.testing.assert_close(signals["H"], H, rtol=0, atol=1e-13)
    assert (signals["H_tilde"] - H).abs().max() > 0.1


@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_gru_that_resets_nothing_and_keeps_nothing_is_the_plain_rnn(reset: str) -> None:
    """R = 1 and Z = 0 (and b_hn = 0): H is tanh of the candidate's linear part."""
    W = weights_of(CONFIGS[f"gru-{reset}"])
    W |= {"b_r": torch.full((H_SIZE,), ON, dtype=torch.float64), "b_z": torch.full((H_SIZE,), OFF, dtype=torch.float64)}
    W["b_hn"] = torch.zeros(H_SIZE, dtype=torch.float64)
    X, H = draw(B, D_IN), draw(B, H_SIZE, seed=1)
    plain = rnn_step(X, (H,), {name: W[name] for name in ("W_xh", "W_hh", "b_h")})
    torch.testing.assert_close(gru_step(X, (H,), W, reset)["H"], plain["H"], rtol=0, atol=1e-13)


def test_an_lstm_that_forgets_nothing_and_admits_nothing_keeps_its_memory() -> None:
    """F = 1 and I = 0: the memory cell stays, and the output gate still shows a view of it."""
    W = weights_of(CONFIGS["lstm"])
    W |= {"b_f": torch.full((H_SIZE,), ON, dtype=torch.float64), "b_i": torch.full((H_SIZE,), OFF, dtype=torch.float64)}
    H, C = draw(B, H_SIZE, seed=1), draw(B, H_SIZE, seed=2)
    signals = lstm_step(draw(B, D_IN), (H, C), W)
    torch.testing.assert_close(signals["C"], C, rtol=0, atol=1e-13)
    torch.testing.assert_close(signals["H"], signals["O"] * torch.tanh(C), rtol=0, atol=1e-13)


def test_an_lstm_that_forgets_all_and_admits_all_holds_the_candidate() -> None:
    """F = 0 and I = 1: the memory cell is the candidate."""
    W = weights_of(CONFIGS["lstm"])
    W |= {"b_f": torch.full((H_SIZE,), OFF, dtype=torch.float64), "b_i": torch.full((H_SIZE,), ON, dtype=torch.float64)}
    signals = lstm_step(draw(B, D_IN), (draw(B, H_SIZE, seed=1), draw(B, H_SIZE, seed=2)), W)
    torch.testing.assert_close(signals["C"], signals["C_tilde"], rtol=0, atol=1e-13)


def test_the_two_resets_differ_with_the_same_weights() -> None:
    """Before and after the matrix product are two functions: the candidates differ by a tenth and more."""
    W = weights_of(CONFIGS["gru-after"]) | {"b_hn": torch.zeros(H_SIZE, dtype=torch.float64)}
    X, H = draw(B, D_IN), draw(B, H_SIZE, seed=1)
    before, after = gru_step(X, (H,), W, "before"), gru_step(X, (H,), W, "after")
    assert torch.equal(before["R"], after["R"])
    assert torch.equal(before["Z"], after["Z"])
    assert (before["H_tilde"] - after["H_tilde"]).abs().max() > 0.1


def test_the_two_resets_agree_where_nothing_is_reset() -> None:
    """With R = 1 and no inner bias there is no difference."""
    W = weights_of(CONFIGS["gru-after"]) | {"b_hn": torch.zeros(H_SIZE, dtype=torch.float64)}
    W["b_r"] = torch.full((H_SIZE,), ON, dtype=torch.float64)
    X, H = draw(B, D_IN), draw(B, H_SIZE, seed=1)
    before, after = gru_step(X, (H,), W, "before"), gru_step(X, (H,), W, "after")
    torch.testing.assert_close(before["H"], after["H"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_scan_steps_through_the_text_in_either_direction(name: str, backward: bool) -> None:
    """Signals stand in the order of the text, also when it is read from its end; the last state is where it stopped."""
    config = CONFIGS[name]
    X, W = draw(T, B, D_IN), weights_of(config)
    S = [s.numpy() for s in state_of(config)]
    arrays = {k: w.numpy() for k, w in W.items()}
    expected = {}
    for t in range(T)[::-1] if backward else range(T):
        expected[t] = by_hand(name, X[t].numpy(), S, arrays)
        S = [expected[t][key] for key in cell_of(config).state]
    signals = scan(cell_of(config), X, state_of(config), W, backward=backward)
    for key in expected[0]:
        wanted = np.stack([expected[t][key] for t in range(T)])
        np.testing.assert_allclose(signals[key].numpy(), wanted, rtol=0, atol=1e-13)
    for got, wanted in zip(last_state(cell_of(config), signals, backward=backward), S, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=0, atol=1e-13)


def test_shapes_names_every_weight_of_the_equations() -> None:
    """The textbook's names, (d, h) from the input and (h, h) from the state; b_hn only for the reset after."""
    for name, gates in {"rnn-tanh": "h", "gru-before": "rzh", "gru-after": "rzh", "lstm": "ifco"}.items():
        expected = {f"W_x{g}": (3, 4) for g in gates} | {f"W_h{g}": (4, 4) for g in gates}
        expected |= {f"b_{g}": (4,) for g in gates}
        if name == "gru-after":
            expected["b_hn"] = (4,)
        assert cell_of(CONFIGS[name]).shapes(3, 4) == expected
        assert cell_of(CONFIGS[name]).gates == gates
