"""A recurrent layer in three implementations with one interface; the fused one is in `fused/`.

A layer maps (T, B, d) inputs and a state to (T, B, D h) hidden states, D = 1 or 2 directions. The
state is a tuple of (D, B, h) tensors: H, and C for the LSTM. `weights()` gives the parameters
under the textbook's names, one dictionary per direction; `load_weights` takes them back, so a layer of
one implementation can be turned into another exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from rnnviz.cells import Cell, Signals, State, Weights, cell_of, unpack
from rnnviz.config import ModelConfig
from rnnviz.nn.fused.layer import FusedLayer


class Layer(Protocol):
    """The interface of a layer."""

    def __call__(self, X: Tensor, state: State) -> tuple[Tensor, State]: ...

    def weights(self) -> list[dict[str, Tensor]]: ...

    def gradients(self) -> list[dict[str, Tensor]]: ...

    def load_weights(self, weights: Sequence[Weights]) -> None: ...


def initial_weights(config: ModelConfig, d: int, generator: torch.Generator) -> list[dict[str, Tensor]]:
    """Fresh weights for one layer, one dictionary per direction, float32.

    "normal": N(0, 0.01) matrices and zero biases (the lecture notes). "uniform": everything from
    U(-1/sqrt(h), 1/sqrt(h)), as in torch; where torch adds two biases, b is their sum.
    """
    h = config.hidden_size
    cell = cell_of(config)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if config.initialisation == "normal":
            is_bias = name.startswith("b_")
            return torch.zeros(shape) if is_bias else torch.empty(shape).normal_(0, 0.01, generator=generator)
        k = 1 / math.sqrt(h)
        value = torch.empty(shape).uniform_(-k, k, generator=generator)
        # torch sums an input and a hidden bias, except around the GRU's reset gate, where they are separate
        single = not name.startswith("b_") or (cell.inner_bias and name in ("b_h", "b_hn"))
        return value if single else value + torch.empty(shape).uniform_(-k, k, generator=generator)

    directions = []
    for _ in range(config.num_directions):
        weights = {name: draw(name, shape) for name, shape in cell.shapes(d, h).items()}
        if "forget_bias" in cell.settings:
            weights["b_f"] += config.forget_bias
        directions.append(weights)
    return directions


def scan(
    cell: Cell, X: Tensor, state: State, W: Weights, *, backward: bool = False, lengths: Tensor | None = None
) -> Signals:
    """All signals over a sequence, each of shape (T, B, h), in the order of the text.

    X is (T, B, d), the state (B, h). `backward` reads the text from its end, as the second
    direction of a bidirectional layer does. With `lengths` (B,) some sequences end before the step T: beyond its
    end the state of a sequence does not change, and its gates have no meaning.
    """
    T = X.shape[0]
    steps: list[Signals] = []
    for t in reversed(range(T)) if backward else range(T):
        signals = cell.step(X[t], state, W)
        if lengths is not None:
            goes_on = (t < lengths).unsqueeze(-1)
            signals |= {n: torch.where(goes_on, signals[n], S) for n, S in zip(cell.state, state, strict=True)}
        steps.append(signals)
        state = tuple(signals[name] for name in cell.state)
    if backward:
        steps.reverse()
    return {name: torch.stack([signals[name] for signals in steps]) for name in steps[0]}


def last_state(cell: Cell, signals: Signals, *, backward: bool = False) -> State:
    """The state after the whole sequence, (B, h) each: where `scan` stopped."""
    return tuple(signals[name][0 if backward else -1] for name in cell.state)


def _gradient(parameter: Tensor) -> Tensor:
    """dL/dparameter, or zeros before the first backward pass."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


class ScratchLayer(nn.Module):
    """The equations of `cells.py` under autograd, one step after the other."""

    def __init__(self, config: ModelConfig, d: int) -> None:
        super().__init__()
        self.cell = cell_of(config)
        self.directions = nn.ModuleList(
            nn.ParameterDict({name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()})
            for shapes in [self.cell.shapes(d, config.hidden_size)] * config.num_directions
        )

    def forward(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, after = [], []
        for i, W in enumerate(self.weights()):
            signals = scan(self.cell, X, tuple(S[i] for S in state), W, backward=i == 1)
            hidden.append(signals["H"])
            after.append(last_state(self.cell, signals, backward=i == 1))
        return torch.cat(hidden, dim=-1), tuple(torch.stack(S) for S in zip(*after, strict=True))

    def weights(self) -> list[dict[str, Tensor]]:
        return [dict(direction.named_parameters()) for direction in self.directions]

    def gradients(self) -> list[dict[str, Tensor]]:
        return [{name: _gradient(p) for name, p in parameters.items()} for parameters in self.weights()]

    @torch.no_grad()
    def load_weights(self, weights: Sequence[Weights]) -> None:
        for parameters, given in zip(self.weights(), weights, strict=True):
            for name, parameter in parameters.items():
                parameter.copy_(given[name])


class TorchLayer(nn.Module):
    """torch's own nn.RNN, nn.GRU or nn.LSTM.

    torch has two bias vectors per gate where the textbook has one. Only their sum matters, so the
    second is held at zero: parameters, gradient norms and optimiser steps are then the same as
    those of the equations. Inside the GRU's reset gate the second bias is b_hn: with reset
    "after-bias" it is trained, with "after" it is held at zero like the others.
    """

    def __init__(self, config: ModelConfig, d: int) -> None:
        super().__init__()
        self.cell = cell_of(config)
        h, self.bidirectional = config.hidden_size, config.bidirectional
        assert self.cell.torch_name is not None  # noqa: S101  ModelConfig has checked it
        settings = {"nonlinearity": config.activation} if config.cell == "rnn" else {}
        self.rnn: nn.RNNBase = getattr(nn, self.cell.torch_name)(d, h, bidirectional=self.bidirectional, **settings)
        for suffix in self._suffixes():
            bias = self._parameter("bias_hh", suffix)
            mask = torch.zeros_like(bias)
            if self.cell.inner_bias:
                mask[-h:] = 1
            bias.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient))

    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _packed(self, suffix: str) -> list[Tensor]:
        return [self._parameter(kind, suffix) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def _parameter(self, kind: str, suffix: str) -> Tensor:
        parameter: Tensor = getattr(self.rnn, f"{kind}_l0{suffix}")
        return parameter

    def forward(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        if len(state) == 2:
            H, after = self.rnn(X, state)
            return H, tuple(after)
        H, last = self.rnn(X, state[0])
        return H, (last,)

    def weights(self) -> list[dict[str, Tensor]]:
        return [self._unpack(suffix) for suffix in self._suffixes()]

    def gradients(self) -> list[dict[str, Tensor]]:
        return [self._unpack(suffix, of=_gradient) for suffix in self._suffixes()]

    def _unpack(self, suffix: str, of: Callable[[Tensor], Tensor] | None = None) -> dict[str, Tensor]:
        """Views of torch's packed parameters, or of their gradients, under the textbook's names."""
        return unpack(self.cell, *(of(p) if of else p for p in self._packed(suffix)))

    @torch.no_grad()
    def load_weights(self, weights: Sequence[Weights]) -> None:
        for suffix, given in zip(self._suffixes(), weights, strict=True):
            self._parameter("bias_hh", suffix).zero_()
            for name, view in self._unpack(suffix).items():
                view.copy_(given[name])


def make_layer(config: ModelConfig, d: int) -> ScratchLayer | TorchLayer | FusedLayer:
    """A layer with inputs of size d, in the implementation that the configuration names."""
    if config.implementation == "torch":
        return TorchLayer(config, d)
    return FusedLayer(config, d) if config.implementation == "fused" else ScratchLayer(config, d)
