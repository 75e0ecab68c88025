"""The parts that all cells' passes share: buffers, the tape of a forward pass, packed weights and the input's part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnviz.cells import Cell

_LINE = 16  # float32 numbers in a cache line
_ONE, _TWO = torch.tensor(1.0), torch.tensor(2.0)  # a Python number would become a tensor at every use


class Buffers:
    """Named scratch tensors of one shape (T, B), each allocated at its first use.

    `steps` returns a tensor's T + n slices along time, which are made only once, since making views costs as
    much as the small operations of a step.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._tensors: dict[str, Tensor] = {}
        self._steps: dict[str, tuple[Tensor, ...]] = {}

    def get(self, name: str, *shape: int) -> Tensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            tensor = self._tensors[name] = self._like.new_empty(shape)
        return tensor

    def steps(self, name: str, tensor: Tensor) -> tuple[Tensor, ...]:
        """The slices of a buffer along time; a `name` must always be used for the same tensor."""
        slices = self._steps.get(name)
        if slices is None:
            slices = self._steps[name] = tensor.unbind(0)
        return slices


def odd_lines(columns: int) -> int:
    """The width at which to store so many columns, so that rows fill an odd number of cache lines.

    This makes products faster: no row shares a line with the next, and no two fall on the same place of
    the cache, as those of 1,024 columns do.
    """
    return _LINE * (-(-columns // _LINE) | 1)


@dataclass(frozen=True)
class Tape:
    """One direction's forward pass: its signals, its input, and the order of its steps.

    `signals` are views of shape (T, B, h) by their names. `states` are the carried signals with
    T + 1 rows, with the given state at the end where the direction starts. `order` has the steps in the order
    in which they were taken. `W_h` are the weights (h, G h) used for them.
    """

    cell: Cell
    buffers: Buffers
    W_h: Tensor
    signals: dict[str, Tensor]
    X: Tensor
    states: Mapping[str, Tensor]
    order: Sequence[int]
    reverse: bool

    @property
    def T(self) -> int:  # noqa: N802
        return len(self.order)

    @property
    def H(self) -> Tensor:  # noqa: N802
        """The hidden states, (T + 1, B, h)."""
        return self.states["H"]

    def buffer(self, name: str, columns: int = 1) -> Tensor:
        """The buffer of this name, of shape (T, B, columns h)."""
        T, B, h = self.signals["H"].shape
        return self.buffers.get(name, T, B, columns * h)

    def before(self, t: int) -> int:
        """The row of a state that has its value before step t."""
        return t + 1 if self.reverse else t

    def after(self, t: int) -> int:
        """The row of a state that has its value after step t."""
        return t if self.reverse else t + 1

    def earlier(self, t: int) -> int | None:
        """The step taken before step t; None for the first one, whose state was given."""
        s = t + 1 if self.reverse else t - 1
        return s if 0 <= s < self.T else None

    def previous(self, state: Tensor) -> Tensor:
        """The values before each step, (T, B, h), of a state with T + 1 rows."""
        return state[1:] if self.reverse else state[:-1]

    def outputs(self, state: Tensor) -> Tensor:
        """The values after each step, (T, B, h), of a state with T + 1 rows."""
        return state[:-1] if self.reverse else state[1:]


class Direction(nn.Module):
    """The packed weights of one direction of a layer: W_x (d, G h), W_h (h, G h), b (G h), and where
    the cell has an inner bias b_hn (h). `blocks` is their order: the gates, which take a sigmoid, first.

    W_h of a cell without recurrent matrices has no columns.
    """

    def __init__(self, cell: Cell, d: int, h: int) -> None:
        super().__init__()
        sigmoids = "".join(gate.lower() for gate in cell.gates)
        self.blocks = sigmoids + "".join(block for block in cell.blocks if block not in sigmoids)
        self.h = h
        G = len(self.blocks)
        self.W_x = nn.Parameter(torch.zeros(d, G * h))
        self.W_h = nn.Parameter(torch.zeros(h, G * h if cell.recurrent else 0))
        self.b = nn.Parameter(torch.zeros(G * h))
        self.b_hn = nn.Parameter(torch.zeros(h)) if cell.inner_bias else None

    def _packed(self) -> list[tuple[str, nn.Parameter]]:
        packed = [("W_x", self.W_x), ("W_h", self.W_h), ("b_", self.b)]
        return [(name, parameter) for name, parameter in packed if parameter.numel()]

    def named(self, part: str = "data") -> dict[str, Tensor]:
        """Views of the weights, or with "grad" of their gradients, under the textbook's names."""
        h, named = self.h, {}
        for i, block in enumerate(self.blocks):
            columns = slice(i * h, (i + 1) * h)
            for name, packed in self._packed():
                named[f"{name}{block}"] = getattr(packed, part)[..., columns]
        return named if self.b_hn is None else {**named, "b_hn": getattr(self.b_hn, part)}

    def gradient_norms(self) -> dict[str, Tensor]:
        """The L2 norm of every gradient by its textbook name, in one pass: of the rows of each block first."""
        norms: dict[str, Tensor] = {}
        for name, packed in self._packed():
            gradient = packed.grad.view(-1, len(self.blocks), self.h)  # type: ignore[union-attr]
            each = torch.linalg.vector_norm(torch.linalg.vector_norm(gradient, dim=2), dim=0)
            norms |= {f"{name}{block}": norm for block, norm in zip(self.blocks, each.unbind(), strict=True)}
        return norms if self.b_hn is None else {**norms, "b_hn": torch.linalg.vector_norm(self.b_hn.grad)}


def input_part(W: Direction, X: Tensor, out: Tensor) -> Tensor:
    """X_t W_x + b for all steps, (T, B, G h). X is (T, B, d), or (T, B) indices, -1 the zero vector."""
    rows = out.flatten(0, 1)
    if X.dtype == torch.int64:
        indices = X.flatten()
        torch.index_select(W.W_x.data, 0, indices.clamp(min=0), out=rows)
        if bool((indices < 0).any()):
            rows[indices < 0] = 0
        rows += W.b.data
    else:
        torch.addmm(W.b.data, X.flatten(0, 1), W.W_x.data, out=rows)
    return out


def input_gradients(W: Direction, X: Tensor, dA: Tensor) -> Tensor | None:
    """dL/dW_x and dL/db from dL/dA, A = X W_x + b; returns dL/dX, or None where X were indices."""
    rows = dA.flatten(0, 1)
    torch.mv(rows.T, rows.new_ones(len(rows)), out=W.b.grad)  # faster than the sum
    if X.dtype == torch.int64:
        indices = X.flatten()
        if bool((indices < 0).any()):
            rows, indices = rows[indices >= 0], indices[indices >= 0]
        W.W_x.grad.zero_().index_add_(0, indices, rows)  # type: ignore[union-attr]
        return None
    torch.mm(X.flatten(0, 1).T, rows, out=W.W_x.grad)
    return (rows @ W.W_x.data.T).view_as(X)


class Pass(NamedTuple):
    """A cell's forward and backward pass.

    `allocate` puts the gates of a tape into buffers and returns the one, (T, B, G h), that holds the
    input's part A = X W_x + b before `forward` turns it into gates. `backward` takes the part of dL/dH_t
    that comes through the output, and zeros for each further state, (T, B, h) each; it completes
    them in place to dL/dH_t and dL/dC_t, leaves the gradient of W_h in `.grad`, and returns dL/dA.
    """

    allocate: Callable[[Tape], Tensor]
    forward: Callable[[Direction, Tape, Tensor], None]
    backward: Callable[..., Tensor]


def tanh(x: Tensor, out: Tensor) -> Tensor:
    """tanh(x) = 2 sigma(2 x) - 1, into `out`: torch's sigmoid is four times as fast as its tanh on a CPU."""
    return torch.mul(x, _TWO, out=out).sigmoid_().mul_(_TWO).sub_(_ONE)


def tanh_(x: Tensor) -> Tensor:
    """`tanh` in place."""
    return tanh(x, out=x)


def one_minus_square(x: Tensor, out: Tensor) -> Tensor:
    """1 - x^2, into `out`, in one pass."""
    return torch.addcmul(x.new_ones(()), x, x, value=-1, out=out)


def rows(steps: Tensor) -> Tensor:
    """(T, B, n) as (T B, n)."""
    return steps.flatten(0, 1)
