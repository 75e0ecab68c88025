"""The recurrent cells: one record each, with the equations as text and as code.

The code of the equations works on torch tensors and NumPy arrays alike, and needs neither library
itself: the trainer, the recorder, the pages and the tests all run this code.

A step takes the input X_t of shape (B, d), the state before it (arrays of shape (B, h)) and the
cell's weights by their textbook names. It has two halves, so that a gate can be held at a value
in between: `open` returns the gates, and `update` computes all other signals from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, get_args

import numpy as np

CellName = Literal["rnn", "gru", "mingru", "lstm"]
Activation = Literal["tanh", "relu"]
Reset = Literal["before", "after", "after-bias"]
"""Where the GRU's reset gate acts: before the matrix product, after it, or after it with a bias of its own, b_hn."""

Array = Any  # a torch tensor or a NumPy array
Weights = Mapping[str, Array]
State = tuple[Array, ...]
Signals = dict[str, Array]
Op = Literal["affine", "sigma", "tanh", "relu", "times", "plus", "one-minus"]


@dataclass(frozen=True)
class Node:
    """One operation of a cell's computation graph.

    `inputs` names the nodes that it reads, or "X", "H_before" and "C_before". An affine node is the
    sum of its inputs, each times the matrix at the same place in `weights`, where "" takes the input as
    it is; a weight beyond the inputs is the bias.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """A recurrent cell, with everything that the rest of rnnviz knows about it.

    `equations` gives each signal's equation in the order of computation. `gates` names the signals
    that `open` returns; `state` those that are carried to the next step, H first. `blocks` are
    the suffixes of the weights W_x., W_h. and b_., in the order in which torch packs them.

    `wiring` is the same computation as a graph, in the order of computation: drawings are made
    from it, and a browser can compute with it. Nodes that are signals have the signals' names.

    `main` is the signal that shows most of what the cell does. `carry_gate` is the gate that multiplies the
    last carried state from one step to the next, so that its product over the steps is the direct path
    of the gradient. `unbounded` signals may leave the range that `SIGNALS` gives.

    `recurrent` cells have the matrices W_h.; an `inner_bias` is b_hn. `torch_name` is the class in
    torch.nn. `variant` is the value of the setting that changes the equations, and `settings` are
    those of `ModelConfig` that only this cell uses.
    """

    name: CellName
    label: str
    equations: Mapping[str, str]
    gates: tuple[str, ...]
    state: tuple[str, ...]
    blocks: str
    open: Callable[[Array, State, Weights], Signals]
    update: Callable[[Array, State, Weights, Signals], Signals]
    wiring: tuple[Node, ...]
    main: str
    carry_gate: str | None = None
    unbounded: frozenset[str] = frozenset()
    recurrent: bool = True
    inner_bias: bool = False
    torch_name: str | None = None
    variant: str = ""
    settings: tuple[str, ...] = ()

    def step(self, X: Array, state: State, W: Weights) -> Signals:
        """Every signal of one time step by name, (B, h) each, in the order of the equations."""
        gates = self.open(X, state, W)
        return {**gates, **self.update(X, state, W, gates)}

    def shapes(self, d: int, h: int) -> dict[str, tuple[int, ...]]:
        """Every weight by its textbook name, for inputs of size d and h hidden units."""
        shapes: dict[str, tuple[int, ...]] = {}
        for g in self.blocks:
            shapes |= {f"W_x{g}": (d, h), f"W_h{g}": (h, h), f"b_{g}": (h,)}
        if not self.recurrent:
            shapes = {name: shape for name, shape in shapes.items() if not name.startswith("W_h")}
        return shapes | ({"b_hn": (h,)} if self.inner_bias else {})


class Described(Protocol):
    """Anything that names a cell and its variant: a ModelConfig or a Trace."""

    @property
    def cell(self) -> CellName: ...

    @property
    def reset(self) -> Reset: ...

    @property
    def activation(self) -> Activation: ...


def cell_of(described: Described) -> Cell:
    """The record of the cell that a configuration or a recording names."""
    return find_cell(described.cell, described.reset, described.activation)


@cache
def find_cell(name: CellName, reset: Reset = "after", activation: Activation = "tanh") -> Cell:
    """The record of a cell. Raises KeyError for an unknown name."""
    makers: dict[CellName, Callable[[], Cell]] = {
        "rnn": lambda: _rnn(activation),
        "gru": lambda: _gru(reset),
        "mingru": _mingru,
        "lstm": _lstm,
    }
    return makers[name]()


def all_cells() -> tuple[Cell, ...]:
    """The record of every cell, in its default variant."""
    return tuple(find_cell(name) for name in get_args(CellName))


def of_layer(values: Mapping[str, Array], layer: int = 1, direction: str = "forward") -> dict[str, Array]:
    """The weights or signals of one layer and direction, whose full names begin with `layer1.forward.`."""
    prefix = f"layer{layer}.{direction}."
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def short_names(names: Iterable[str]) -> list[str]:
    """Names without `layer1.forward.` if all belong to one layer and direction; otherwise unchanged."""
    names = list(names)
    several = len({name.rpartition(".")[0] for name in names} - {""}) > 1
    return names if several else [name.rpartition(".")[2] for name in names]


def unpack(cell: Cell, W_x: Array, W_h: Array, b: Array, b_second: Array) -> dict[str, Array]:
    """Views of torch's packed parameters (G h, d), (G h, h) and (G h,) for G blocks, under the textbook's names.

    torch has two bias vectors per gate where the textbook has one. Of the second only b_hn is a parameter here.
    """
    h = len(W_h) // len(cell.blocks)
    weights: dict[str, Array] = {}
    for i, block in enumerate(cell.blocks):
        rows = slice(i * h, (i + 1) * h)
        weights |= {f"W_x{block}": W_x[rows].T, f"W_h{block}": W_h[rows].T, f"b_{block}": b[rows]}
    return weights | ({"b_hn": b_second[-h:]} if cell.inner_bias else {})


def unpack_trained(cell: Cell, W_x: Array, W_h: Array, b: Array, b_second: Array) -> dict[str, Array]:
    """The same for parameters that torch has trained: the sum of both biases, save around the GRU's reset gate."""
    total, h = b + b_second, len(W_h) // len(cell.blocks)
    if cell.inner_bias:
        total[-h:] = b[-h:]
    return unpack(cell, W_x, W_h, total, b_second)


def interpret(wiring: Iterable[Node], given: Mapping[str, Array], W: Weights) -> Signals:
    """Every value of a computation graph by its node's name, from X, H_before and, for the LSTM, C_before.

    A node whose value is given is not computed: this is how a gate is held, and how the values between
    recorded signals are found.
    """
    values = dict(given)
    for node in wiring:
        if node.name not in values:
            values[node.name] = _compute(node, [values[name] for name in node.inputs], W)
    return values


def _compute(node: Node, inputs: list[Array], W: Weights) -> Array:
    if node.op == "affine":
        terms = [x @ W[name] if name else x for x, name in zip(inputs, node.weights, strict=False)]
        return sum(terms[1:] + [W[name] for name in node.weights[len(inputs) :]], start=terms[0])
    operations: dict[Op, Callable[..., Array]] = {
        "sigma": sigma,
        "tanh": tanh,
        "relu": relu,
        "times": lambda a, b: a * b,
        "plus": lambda a, b: a + b,
        "one-minus": lambda a: 1 - a,
    }
    return operations[node.op](*inputs)


def sigma(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 0.5 * (1 + np.tanh(0.5 * x)) if _is_numpy(x) else x.sigmoid()


def tanh(x: Array) -> Array:
    return np.tanh(x) if _is_numpy(x) else x.tanh()


def relu(x: Array) -> Array:
    return np.maximum(x, 0) if _is_numpy(x) else x.relu()


def _is_numpy(x: Array) -> bool:
    return isinstance(x, np.ndarray | np.generic)


def _affine(X: Array, H: Array, W: Weights, block: str) -> Array:
    """X_t W_x. + H_{t-1} W_h. + b_. for one block of the weights."""
    return X @ W[f"W_x{block}"] + H @ W[f"W_h{block}"] + W[f"b_{block}"]


def _gate(name: str, op: Op, block: str, reads: tuple[str, ...] = ("X", "H_before")) -> tuple[Node, Node]:
    """The two nodes of a gate or a candidate: the sum A_., and the function of it."""
    matrices = tuple(f"W_{source}{block}" for source, _ in zip("xh", reads, strict=False))
    return Node(f"A_{block}", "affine", reads, (*matrices, f"b_{block}")), Node(name, op, (f"A_{block}",))


def _mix() -> tuple[Node, ...]:
    """H_t = Z_t * H_{t-1} + (1 - Z_t) * H~_t, the last lines of the GRU and of minGRU."""
    return (
        Node("kept", "times", ("Z", "H_before")),
        Node("opposite", "one-minus", ("Z",)),
        Node("written", "times", ("opposite", "H_tilde")),
        Node("H", "plus", ("kept", "written")),
    )


def _rnn(activation: Activation) -> Cell:
    """Mix the new character into the state (Elman 1990)."""
    phi = {"tanh": tanh, "relu": relu}[activation]

    def update(X: Array, state: State, W: Weights, gates: Signals) -> Signals:
        return {"H": phi(_affine(X, state[0], W, "h"))}

    written = {"tanh": "tanh", "relu": "ReLU"}[activation]
    return Cell(
        name="rnn",
        label="RNN",
        equations={"H": f"Hₜ = {written}(Xₜ W_xh + Hₜ₋₁ W_hh + b_h)"},
        gates=(),
        state=("H",),
        blocks="h",
        open=lambda X, state, W: {},
        update=update,
        wiring=_gate("H", activation, "h"),
        main="H",
        unbounded=frozenset({"H"} if activation == "relu" else ()),
        torch_name="RNN",
        variant=activation,
        settings=("activation",),
    )


_CANDIDATES: dict[Reset, str] = {
    "before": "H̃ₜ = tanh(Xₜ W_xh + (Rₜ ⊙ Hₜ₋₁) W_hh + b_h)",
    "after": "H̃ₜ = tanh(Xₜ W_xh + Rₜ ⊙ (Hₜ₋₁ W_hh) + b_h)",
    "after-bias": "H̃ₜ = tanh(Xₜ W_xh + Rₜ ⊙ (Hₜ₋₁ W_hh + b_hn) + b_h)",
}


def _reset_after(*weights: str) -> tuple[Node, ...]:
    return (
        Node("product", "affine", ("H_before",), weights),
        Node("reset", "times", ("R", "product")),
        Node("A_h", "affine", ("X", "reset"), ("W_xh", "", "b_h")),
        Node("H_tilde", "tanh", ("A_h",)),
    )


_RESETS: dict[Reset, tuple[Node, ...]] = {
    "before": (Node("reset", "times", ("R", "H_before")), *_gate("H_tilde", "tanh", "h", ("X", "reset"))),
    "after": _reset_after("W_hh"),
    "after-bias": _reset_after("W_hh", "b_hn"),
}


def _gru(reset: Reset) -> Cell:
    """Decide unit by unit how much of the old state to keep and how much to rewrite (Cho et al. 2014).

    The paper applies the reset gate before the matrix product. The lecture notes' code applies it
    after the product, and so do torch and cuDNN, which add a bias b_hn inside the gate.
    """

    def open_gates(X: Array, state: State, W: Weights) -> Signals:
        (H,) = state
        return {"R": sigma(_affine(X, H, W, "r")), "Z": sigma(_affine(X, H, W, "z"))}

    def update(X: Array, state: State, W: Weights, gates: Signals) -> Signals:
        (H,), R, Z = state, gates["R"], gates["Z"]
        if reset == "before":
            H_tilde = tanh(X @ W["W_xh"] + (R * H) @ W["W_hh"] + W["b_h"])
        elif reset == "after":
            H_tilde = tanh(X @ W["W_xh"] + R * (H @ W["W_hh"]) + W["b_h"])
        else:
            H_tilde = tanh(X @ W["W_xh"] + W["b_h"] + R * (H @ W["W_hh"] + W["b_hn"]))
        return {"H_tilde": H_tilde, "H": Z * H + (1 - Z) * H_tilde}

    return Cell(
        name="gru",
        label="GRU",
        equations={
            "R": "Rₜ = σ(Xₜ W_xr + Hₜ₋₁ W_hr + b_r)",
            "Z": "Zₜ = σ(Xₜ W_xz + Hₜ₋₁ W_hz + b_z)",
            "H_tilde": _CANDIDATES[reset],
            "H": "Hₜ = Zₜ ⊙ Hₜ₋₁ + (1 − Zₜ) ⊙ H̃ₜ",
        },
        gates=("R", "Z"),
        state=("H",),
        blocks="rzh",
        open=open_gates,
        update=update,
        wiring=(*_gate("R", "sigma", "r"), *_gate("Z", "sigma", "z"), *_RESETS[reset], *_mix()),
        main="Z",
        carry_gate="Z",
        inner_bias=reset == "after-bias",
        torch_name=None if reset == "before" else "GRU",
        variant=reset,
        settings=("reset",),
    )


def _mingru() -> Cell:
    """A GRU whose gate and candidate depend on X_t alone (Feng et al. 2024, "Were RNNs All We Needed?").

    The paper writes H_t = (1 - Z_t) * H_{t-1} + Z_t * H~_t. Here Z_t near 1 keeps the old state, as in
    our GRU and in torch's, so this Z_t is one minus the paper's.
    """

    def open_gates(X: Array, state: State, W: Weights) -> Signals:
        return {"Z": sigma(X @ W["W_xz"] + W["b_z"])}

    def update(X: Array, state: State, W: Weights, gates: Signals) -> Signals:
        (H,), Z = state, gates["Z"]
        H_tilde = X @ W["W_xh"] + W["b_h"]
        return {"H_tilde": H_tilde, "H": Z * H + (1 - Z) * H_tilde}

    return Cell(
        name="mingru",
        label="minGRU",
        equations={
            "Z": "Zₜ = σ(Xₜ W_xz + b_z)",
            "H_tilde": "H̃ₜ = Xₜ W_xh + b_h",
            "H": "Hₜ = Zₜ ⊙ Hₜ₋₁ + (1 − Zₜ) ⊙ H̃ₜ",
        },
        gates=("Z",),
        state=("H",),
        blocks="zh",
        open=open_gates,
        update=update,
        wiring=(*_gate("Z", "sigma", "z", ("X",)), Node("H_tilde", "affine", ("X",), ("W_xh", "b_h")), *_mix()),
        main="Z",
        carry_gate="Z",
        unbounded=frozenset({"H_tilde", "H"}),
        recurrent=False,
    )


def _lstm() -> Cell:
    """Keep a memory cell that is only scaled and added to, and show a gated view of it.

    Hochreiter and Schmidhuber 1997; the forget gate is that of Gers et al. 2000.
    """

    def open_gates(X: Array, state: State, W: Weights) -> Signals:
        H, _C = state
        return {gate: sigma(_affine(X, H, W, block)) for gate, block in (("I", "i"), ("F", "f"), ("O", "o"))}

    def update(X: Array, state: State, W: Weights, gates: Signals) -> Signals:
        H, C = state
        C_tilde = tanh(_affine(X, H, W, "c"))
        C = gates["F"] * C + gates["I"] * C_tilde
        return {"C_tilde": C_tilde, "C": C, "H": gates["O"] * tanh(C)}

    return Cell(
        name="lstm",
        label="LSTM",
        equations={
            "I": "Iₜ = σ(Xₜ W_xi + Hₜ₋₁ W_hi + b_i)",
            "F": "Fₜ = σ(Xₜ W_xf + Hₜ₋₁ W_hf + b_f)",
            "O": "Oₜ = σ(Xₜ W_xo + Hₜ₋₁ W_ho + b_o)",
            "C_tilde": "C̃ₜ = tanh(Xₜ W_xc + Hₜ₋₁ W_hc + b_c)",
            "C": "Cₜ = Fₜ ⊙ Cₜ₋₁ + Iₜ ⊙ C̃ₜ",
            "H": "Hₜ = Oₜ ⊙ tanh(Cₜ)",
        },
        gates=("I", "F", "O"),
        state=("H", "C"),
        blocks="ifco",
        open=open_gates,
        update=update,
        wiring=(
            *_gate("I", "sigma", "i"),
            *_gate("F", "sigma", "f"),
            *_gate("O", "sigma", "o"),
            *_gate("C_tilde", "tanh", "c"),
            Node("kept", "times", ("F", "C_before")),
            Node("written", "times", ("I", "C_tilde")),
            Node("C", "plus", ("kept", "written")),
            Node("squashed", "tanh", ("C",)),
            Node("H", "times", ("O", "squashed")),
        ),
        main="F",
        carry_gate="F",
        unbounded=frozenset({"C"}),
        torch_name="LSTM",
        settings=("forget_bias",),
    )
