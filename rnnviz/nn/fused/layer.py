"""A layer on the fused passes, and which pass belongs to which cell."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rnnviz.cells import CellName, State, Weights, cell_of
from rnnviz.config import ModelConfig
from rnnviz.nn.fused.gru import GRU
from rnnviz.nn.fused.lstm import LSTM
from rnnviz.nn.fused.mingru import MINGRU
from rnnviz.nn.fused.rnn import RNN
from rnnviz.nn.fused.tape import Buffers, Direction, Pass, Tape, input_gradients, input_part, odd_lines

PASSES: dict[CellName, Pass] = {"rnn": RNN, "gru": GRU, "mingru": MINGRU, "lstm": LSTM}
MAX_SHAPES = 4  # shapes whose buffers are kept
_STEPS_WORTH_A_COPY = 8  # of W_h
Adjoints = list[tuple[Tensor, ...]]
"""For each direction of a layer dL/dH_t, and for the LSTM dL/dC_t, (T, B, h) each."""


class FusedLayer(nn.Module):
    """A recurrent layer whose backward pass is written out. It builds no autograd graph."""

    def __init__(self, config: ModelConfig, d: int) -> None:
        super().__init__()
        self.config, self.cell = config, cell_of(config)
        self._pass = PASSES[config.cell]
        self.directions = nn.ModuleList(
            Direction(self.cell, d, config.hidden_size) for _ in range(config.num_directions)
        )
        self._buffers_of: OrderedDict[tuple[int, int, int], Buffers] = OrderedDict()

    def _weights(self) -> list[Direction]:
        return list(self.directions)  # type: ignore[arg-type]

    @torch.no_grad()
    def forward(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        """Hidden states (T, B, D h) and the state after; X is (T, B, d), or (T, B) indices."""
        H, after, _ = self.run(X, state)
        return H, after

    @torch.no_grad()
    def run(self, X: Tensor, state: State) -> tuple[Tensor, State, list[Tape]]:
        """As `forward`, with the tape of each direction, which holds every signal."""
        tapes = [self._run(i, X, tuple(S[i] for S in state)) for i in range(len(self.directions))]
        after = [tuple(S[0 if tape.reverse else -1] for S in tape.states.values()) for tape in tapes]
        H = torch.cat([tape.signals["H"] for tape in tapes], dim=-1) if len(tapes) > 1 else tapes[0].signals["H"]
        return H, tuple(torch.stack(S) for S in zip(*after, strict=True)), tapes

    def _run(self, i: int, X: Tensor, state: State) -> Tape:
        W, tape = self._weights()[i], self._tape(i, X)
        for name, given in zip(self.cell.state, state, strict=True):
            tape.states[name][-1 if tape.reverse else 0] = given
        A = input_part(W, X, self._pass.allocate(tape))
        self._pass.forward(W, tape, A)
        return tape

    def _tape(self, i: int, X: Tensor) -> Tape:
        T, B = X.shape[:2]
        h, reverse, W_h = self.config.hidden_size, i == 1, self._weights()[i].W_h.data
        key = (i, T, B)
        buffers = self._buffers_of.pop(key, None) or Buffers(W_h)
        self._buffers_of[key] = buffers
        while len(self._buffers_of) > MAX_SHAPES * len(self.directions):
            self._buffers_of.popitem(last=False)
        states = {name: buffers.get(name, T + 1, B, h) for name in self.cell.state}
        if self.cell.recurrent and T >= _STEPS_WORTH_A_COPY:
            columns = W_h.shape[1]
            W_h = buffers.get("W_h", h, odd_lines(columns))[:, :columns].copy_(W_h)
        order = range(T - 1, -1, -1) if reverse else range(T)
        tape = Tape(self.cell, buffers, W_h, {}, X, states, order, reverse)
        tape.signals.update({name: tape.outputs(values) for name, values in states.items()})
        return tape

    @torch.no_grad()
    def backward(self, tapes: list[Tape], dH: Tensor) -> tuple[Tensor | None, Adjoints]:
        """Leave the gradients of all weights in `.grad`, given dL/dH (T, B, D h) from above.

        Returns dL/dX, or None where X were indices, and for each direction the whole of dL/dH_t, and
        of dL/dC_t for the LSTM, (T, B, h) each.
        """
        h = self.config.hidden_size
        dX: Tensor | None = None
        adjoints: Adjoints = []
        for i, (W, tape) in enumerate(zip(self._weights(), tapes, strict=True)):
            mine = dH[..., i * h : (i + 1) * h].contiguous() if len(tapes) > 1 else dH
            further = tuple(tape.buffer(f"d{name}").zero_() for name in self.cell.state[1:])
            dA = self._pass.backward(W, tape, mine, *further)
            part = input_gradients(W, tape.X, dA)
            dX = part if dX is None or part is None else dX + part
            adjoints.append((mine, *further))
        return dX, adjoints

    def forget_buffers(self) -> None:
        """Forget the buffers before the weights move to another tensor, because buffers are made to fit the weights."""
        self._buffers_of.clear()

    def weights(self) -> list[dict[str, Tensor]]:
        return [W.named() for W in self._weights()]

    def gradients(self) -> list[dict[str, Tensor]]:
        return [W.named("grad") for W in self._weights()]

    def gradient_norms(self) -> list[dict[str, Tensor]]:
        return [W.gradient_norms() for W in self._weights()]

    @torch.no_grad()
    def load_weights(self, weights: Sequence[Weights]) -> None:
        for views, given in zip(self.weights(), weights, strict=True):
            for name, view in views.items():
                view.copy_(given[name])
