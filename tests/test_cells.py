"""The equations against NumPy, against finite differences, and at their limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnviz.cells import cell_of, find_cell, interpret
from rnnviz.config import ModelConfig
from rnnviz.nn.layers import last_state, scan
from tests import helpers

B, D_IN, H_SIZE, T = 2, 3, 4, 5
ON, OFF = 40.0, -40.0  # sigma(40) is 1 in float64 and sigma(-40) about 4e-18
CONFIGS = {name: ModelConfig(**settings) for name, settings in helpers.CONFIGS.items()}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights_of(config: ModelConfig, d: int = D_IN, h: int = H_SIZE) -> dict[str, Tensor]:
    """Random weights, all different, in float64."""
    shapes = cell_of(config).shapes(d, h)
    return {name: 0.7 * draw(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items(), start=10)}


def state_of(config: ModelConfig) -> tuple[Tensor, ...]:
    return tuple(draw(B, H_SIZE, seed=100 + i) for i, _ in enumerate(cell_of(config).state))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def by_hand(name: str, X: np.ndarray, S: list[np.ndarray], W: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One step of the textbook's equations in NumPy, unit by unit where a product is elementwise."""
    H = S[0]

    if name == "mingru":  # the paper's Z is one minus ours
        Z_paper = 1 - sigmoid(X @ W["W_xz"] + W["b_z"])
        H_tilde = X @ W["W_xh"] + W["b_h"]
        return {"Z": 1 - Z_paper, "H_tilde": H_tilde, "H": (1 - Z_paper) * H + Z_paper * H_tilde}

    def linear(g: str) -> Any:
        return X @ W[f"W_x{g}"] + H @ W[f"W_h{g}"] + W[f"b_{g}"]

    if name == "rnn":
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
        b_hn = W["b_hn"] if name == "gru-after-bias" else 0
        H_tilde = np.tanh(X @ W["W_xh"] + W["b_h"] + R * (H @ W["W_hh"] + b_hn))
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
    """They are checked for every signal with respect to the input, the state and each weight, in double precision."""
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


@pytest.mark.parametrize("reset", ["before", "after", "after-bias"])
def test_update_gate_of_one_keeps_the_state(reset: str) -> None:
    """With Z = 1, the GRU's new state is its old one, whatever it read."""
    W = weights_of(CONFIGS[f"gru-{reset}"]) | {"b_z": torch.full((H_SIZE,), ON, dtype=torch.float64)}
    H = draw(B, H_SIZE, seed=1)
    signals = find_cell("gru", reset).step(draw(B, D_IN), (H,), W)
    torch.testing.assert_close(signals["H"], H, rtol=0, atol=1e-13)
    assert (signals["H_tilde"] - H).abs().max() > 0.1


@pytest.mark.parametrize("reset", ["before", "after", "after-bias"])
def test_a_gru_that_resets_nothing_and_keeps_nothing_is_the_plain_rnn(reset: str) -> None:
    """With R = 1 and Z = 0 (and b_hn = 0), H is tanh of the candidate's linear part."""
    W = weights_of(CONFIGS[f"gru-{reset}"])
    W |= {"b_r": torch.full((H_SIZE,), ON, dtype=torch.float64), "b_z": torch.full((H_SIZE,), OFF, dtype=torch.float64)}
    W["b_hn"] = torch.zeros(H_SIZE, dtype=torch.float64)
    X, H = draw(B, D_IN), draw(B, H_SIZE, seed=1)
    plain = find_cell("rnn").step(X, (H,), {name: W[name] for name in ("W_xh", "W_hh", "b_h")})
    torch.testing.assert_close(find_cell("gru", reset).step(X, (H,), W)["H"], plain["H"], rtol=0, atol=1e-13)


def test_an_lstm_that_forgets_nothing_and_admits_nothing_keeps_its_memory() -> None:
    """With F = 1 and I = 0, the memory cell stays, and the output gate still shows a view of it."""
    W = weights_of(CONFIGS["lstm"])
    W |= {"b_f": torch.full((H_SIZE,), ON, dtype=torch.float64), "b_i": torch.full((H_SIZE,), OFF, dtype=torch.float64)}
    H, C = draw(B, H_SIZE, seed=1), draw(B, H_SIZE, seed=2)
    signals = find_cell("lstm").step(draw(B, D_IN), (H, C), W)
    torch.testing.assert_close(signals["C"], C, rtol=0, atol=1e-13)
    torch.testing.assert_close(signals["H"], signals["O"] * torch.tanh(C), rtol=0, atol=1e-13)


def test_an_lstm_that_forgets_all_and_admits_all_holds_the_candidate() -> None:
    """With F = 0 and I = 1, the memory cell is the candidate."""
    W = weights_of(CONFIGS["lstm"])
    W |= {"b_f": torch.full((H_SIZE,), OFF, dtype=torch.float64), "b_i": torch.full((H_SIZE,), ON, dtype=torch.float64)}
    signals = find_cell("lstm").step(draw(B, D_IN), (draw(B, H_SIZE, seed=1), draw(B, H_SIZE, seed=2)), W)
    torch.testing.assert_close(signals["C"], signals["C_tilde"], rtol=0, atol=1e-13)


def test_the_two_resets_differ_with_the_same_weights() -> None:
    """Before and after the matrix product are two functions: the candidates differ by at least a tenth."""
    W = weights_of(CONFIGS["gru-after"])
    X, H = draw(B, D_IN), draw(B, H_SIZE, seed=1)
    before, after = (find_cell("gru", reset).step(X, (H,), W) for reset in ("before", "after"))
    assert torch.equal(before["R"], after["R"])
    assert torch.equal(before["Z"], after["Z"])
    assert (before["H_tilde"] - after["H_tilde"]).abs().max() > 0.1


def test_the_two_resets_agree_where_nothing_is_reset() -> None:
    """With R = 1 and no inner bias there is no difference."""
    W = weights_of(CONFIGS["gru-after"])
    W["b_r"] = torch.full((H_SIZE,), ON, dtype=torch.float64)
    X, H = draw(B, D_IN), draw(B, H_SIZE, seed=1)
    before, after = (find_cell("gru", reset).step(X, (H,), W) for reset in ("before", "after"))
    torch.testing.assert_close(before["H"], after["H"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_scan_steps_through_the_text_in_either_direction(name: str, backward: bool) -> None:
    """Signals are in the order of the text even if it is read from its end; the last state is where reading stopped."""
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


def test_shapes_has_every_weight_of_the_equations() -> None:
    """Weights have the textbook's names: (d, h) from the input, (h, h) from the state; b_hn only for after-bias."""
    for name, gates in {"rnn": "h", "gru-before": "rzh", "gru-after-bias": "rzh", "lstm": "ifco"}.items():
        expected: dict[str, tuple[int, ...]] = {f"W_x{g}": (3, 4) for g in gates}
        expected |= {f"W_h{g}": (4, 4) for g in gates}
        expected |= {f"b_{g}": (4,) for g in gates}
        if name == "gru-after-bias":
            expected["b_hn"] = (4,)
        assert cell_of(CONFIGS[name]).shapes(3, 4) == expected
        assert cell_of(CONFIGS[name]).blocks == gates
    assert cell_of(CONFIGS["mingru"]).shapes(3, 4) == {"W_xz": (3, 4), "b_z": (4,), "W_xh": (3, 4), "b_h": (4,)}


@pytest.mark.parametrize("name", CONFIGS)
def test_numpy_arrays_and_tensors_give_the_same(name: str) -> None:
    """The same code serves both: arrays give arrays, equal to 1e-15."""
    config = CONFIGS[name]
    cell, X, S, W = cell_of(config), draw(B, D_IN), state_of(config), weights_of(config)
    expected = cell.step(X, S, W)
    signals = cell.step(X.numpy(), tuple(s.numpy() for s in S), {k: w.numpy() for k, w in W.items()})
    assert list(signals) == list(expected)
    for key, value in signals.items():
        assert isinstance(value, np.ndarray)
        np.testing.assert_allclose(value, expected[key].numpy(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gate_can_be_held_between_the_two_halves_of_a_step(name: str) -> None:
    """`open` returns only the gates; `update` takes whatever is put in their place, and returns all other signals."""
    config = CONFIGS[name]
    cell, X, S, W = cell_of(config), draw(B, D_IN), state_of(config), weights_of(config)
    gates = cell.open(X, S, W)
    assert tuple(gates) == cell.gates
    assert (*gates, *cell.update(X, S, W, gates)) == tuple(cell.equations)
    if cell.carry_gate:
        held = cell.update(X, S, W, {**gates, cell.carry_gate: torch.ones_like(S[-1])})
        kept = held[cell.state[-1]]
        admitted = gates["I"] * held["C_tilde"] if "I" in gates else 0
        torch.testing.assert_close(kept, S[-1] + admitted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CONFIGS)
def test_signals_stay_in_their_range_unless_the_record_says_otherwise(name: str) -> None:
    """Large weights drive every unbounded signal beyond 1 and no other."""
    config = CONFIGS[name]
    cell, W = cell_of(config), {key: 9 * w for key, w in weights_of(config).items()}
    state = tuple(torch.zeros(B, H_SIZE, dtype=torch.float64) for _ in cell.state)
    signals = scan(cell, 3 * draw(40, B, D_IN), state, W)
    beyond = {key for key, value in signals.items() if value.abs().max() > 1}
    assert beyond == cell.unbounded


def given_of(config: ModelConfig) -> dict[str, Tensor]:
    """X and the state before the step, under the names that a wiring uses for them."""
    names = (f"{name}_before" for name in cell_of(config).state)
    return {"X": draw(B, D_IN), **dict(zip(names, state_of(config), strict=True))}


@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_wiring_computes_the_step(name: str, library: str) -> None:
    """The graph that drawings are made from gives every signal of the equations, in float64."""
    config = CONFIGS[name]
    cell, given, W = cell_of(config), given_of(config), weights_of(config)
    step = cell.step(given["X"], state_of(config), W)
    if library == "numpy":
        arrays = [{key: value.numpy() for key, value in values.items()} for values in (given, W)]
        values = interpret(cell.wiring, *arrays)
    else:
        values = interpret(cell.wiring, given, W)
    for signal, expected in step.items():
        np.testing.assert_allclose(np.asarray(values[signal]), expected.numpy(), atol=1e-14, rtol=0)


def sources_and_targets(config: ModelConfig) -> set[tuple[str, str]]:
    """The signals that the equations change when one input, one bias or one gate is changed."""
    cell, given, W = cell_of(config), given_of(config), weights_of(config)

    def step(
        given: dict[str, Tensor], W: dict[str, Tensor], gates: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        state = tuple(given[f"{name}_before"] for name in cell.state)
        gates = gates or cell.open(given["X"], state, W)
        return {**gates, **cell.update(given["X"], state, W, gates)}

    before = step(given, W)
    changed = {name: step({**given, name: given[name] + 0.1}, W) for name in given}
    changed |= {name: step(given, {**W, name: W[name] + 0.1}) for name in W if name.startswith("b_")}
    open_gates = {gate: before[gate] for gate in cell.gates}
    changed |= {gate: step(given, W, {**open_gates, gate: open_gates[gate] + 0.1}) for gate in cell.gates}
    return {
        (source, target)
        for source, after in changed.items()
        for target in before
        if source != target and not torch.equal(after[target], before[target])
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_paths_of_the_wiring_are_the_dependencies_of_the_equations(name: str) -> None:
    """An input, a bias or a gate changes exactly those signals that it reaches along the edges of the wiring."""
    config = CONFIGS[name]
    wiring = cell_of(config).wiring
    reached: dict[str, set[str]] = {}
    for node in wiring:
        sources = {*node.inputs, *node.weights}
        reached[node.name] = sources.union(*(reached.get(source, set()) for source in sources))
    told = {source for source, _ in sources_and_targets(config)}
    signals = {*cell_of(config).equations}
    paths = {(source, node) for node, sources in reached.items() for source in sources & told if node in signals}
    assert paths == sources_and_targets(config)


@pytest.mark.parametrize("name", CONFIGS)
def test_edges_are_the_dependencies_of_single_nodes(name: str) -> None:
    """With all other nodes held, each node depends on its own inputs and on nothing else."""
    config = CONFIGS[name]
    cell, W = cell_of(config), weights_of(config)
    values = interpret(cell.wiring, given_of(config), W)
    for node in cell.wiring:
        others = {key: value for key, value in values.items() if key != node.name}
        for source, value in others.items():
            after = interpret(cell.wiring, {**others, source: value + 0.1}, W)
            assert torch.equal(after[node.name], values[node.name]) == (source not in node.inputs)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_weight_is_in_the_wiring_once(name: str) -> None:
    """None is missing and none is used twice."""
    config = CONFIGS[name]
    used = [weight for node in cell_of(config).wiring for weight in node.weights if weight]
    assert sorted(used) == sorted(cell_of(config).shapes(D_IN, H_SIZE))


def test_a_node_that_is_given_is_not_computed() -> None:
    """A held gate keeps its value, and what follows is computed from it."""
    config = CONFIGS["gru-after"]
    given = given_of(config)
    values = interpret(cell_of(config).wiring, {**given, "Z": torch.ones(B, H_SIZE)}, weights_of(config))
    assert torch.equal(values["H"], given["H_before"])
