"""A character-level language model: recurrent layers and an output layer.

ids (T, B) -> one-hot (T, B, V) -> layers -> H (T, B, D h) -> O_t = H_t W_hq + b_q, logits (T, B, V).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnviz.cells import State, cell_of
from rnnviz.config import ModelConfig
from rnnviz.nn.fused.layer import MAX_SHAPES, Adjoints, FusedLayer
from rnnviz.nn.fused.output import output_loss
from rnnviz.nn.fused.tape import Buffers
from rnnviz.nn.layers import Layer, initial_weights, make_layer
from rnnviz.text.corpora import UNKNOWN

ModelState = tuple[State, ...]
"""A state per layer: a tuple of (D, B, h) tensors, H and for the LSTM C."""


def for_device(config: ModelConfig, device: torch.device) -> ModelConfig:
    """The configuration that runs best on a device, with the same mathematics.

    The fused loop is Python, one step at a time. On CUDA cuDNN's layers run all steps in one call, so
    they take its place wherever torch has the cell.
    """
    if device.type == "cuda" and config.implementation == "fused" and cell_of(config).torch_name:
        return replace(config, implementation="torch")
    return config


@dataclass(frozen=True)
class BatchLoss:
    """The loss of one mini-batch: nats summed over the characters scored, and their number.

    `correct` counts those that were the likeliest; in training it is not counted.
    """

    nats: float
    characters: int
    correct: int = 0

    def __add__(self, other: BatchLoss) -> BatchLoss:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return BatchLoss(*(one + another for one, another in pairs))

    @property
    def mean(self) -> float:
        return self.nats / self.characters if self.characters else 0.0


class LanguageModel(nn.Module):
    """Predicts the next character from all before it.

    Weights are drawn from `generator` (seed 0 if none is given) in an order that does not
    depend on the implementation, so that one seed gives every implementation the same weights.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        h, D = config.hidden_size, config.num_directions
        sizes = [vocab_size] + [D * h] * (config.num_layers - 1)
        self.layers = nn.ModuleList(make_layer(config, d) for d in sizes)
        self.W_hq = nn.Parameter(torch.zeros(D * h, vocab_size))
        self.b_q = nn.Parameter(torch.zeros(vocab_size))
        self._output_buffers: dict[tuple[int, int], Buffers] = {}
        self._flatten()
        self._initialise(sizes, generator or torch.Generator().manual_seed(0))

    def _apply(self, *arguments: Any, **options: Any) -> LanguageModel:
        """A change of device or precision makes new parameters, which go into new flat buffers."""
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._output_buffers.clear()
        self._flatten()
        return self

    def _flatten(self) -> None:
        """If fused, put all parameters into one tensor and all gradients into another, with views in their places.

        The norm, the clipping and the optimiser are then one pass each.
        """
        if self.config.implementation != "fused":
            return
        parameters = list(self.parameters())
        self.flat = torch.cat([p.data.flatten() for p in parameters])
        self.flat.grad = torch.zeros_like(self.flat)
        offset = 0
        for p in parameters:
            p.data = self.flat[offset : offset + p.numel()].view_as(p)
            p.grad = self.flat.grad[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        for layer in self.layers:
            layer.forget_buffers()  # type: ignore[operator]  # a FusedLayer

    def trainable(self) -> list[Tensor]:
        """The tensors for an optimiser: all parameters, or with the fused implementation the one that holds them."""
        return [self.flat] if self.config.implementation == "fused" else list(self.parameters())

    @torch.no_grad()
    def _initialise(self, sizes: list[int], generator: torch.Generator) -> None:
        for layer, d in zip(self._layers(), sizes, strict=True):
            layer.load_weights(initial_weights(self.config, d, generator))
        if self.config.initialisation == "normal":
            self.W_hq.copy_(torch.empty(self.W_hq.shape).normal_(0, 0.01, generator=generator))
        else:  # nn.Linear's own start
            k = 1 / math.sqrt(self.W_hq.shape[0])
            self.W_hq.copy_(torch.empty(self.W_hq.shape).uniform_(-k, k, generator=generator))
            self.b_q.copy_(torch.empty(self.b_q.shape).uniform_(-k, k, generator=generator))

    def _layers(self) -> list[Layer]:
        return list(self.layers)  # type: ignore[arg-type]  # every module in the list is a Layer

    def initial_state(self, batch_size: int) -> ModelState:
        """Zeros for every layer."""
        shape = (self.config.num_directions, batch_size, self.config.hidden_size)
        return tuple(
            tuple(
                torch.zeros(shape, dtype=self.W_hq.dtype, device=self.W_hq.device) for _ in cell_of(self.config).state
            )
            for _ in self.layers
        )

    def hidden(
        self, ids: Tensor, state: ModelState, dropout: torch.Generator | None = None
    ) -> tuple[Tensor, ModelState]:
        """What the last layer hands over (T, B, D h), its hidden states, and the state after the last step.

        With a generator, what each layer but the last hands over is dropped out as the configuration says; without
        one, nothing is.
        """
        # a one-hot vector times a matrix is a row of it: the fused layer looks the row up
        fused = self.config.implementation == "fused"
        X = ids if fused else encode_one_hot(ids, self.vocab_size, self.W_hq.dtype)
        after = []
        for i, (layer, layer_state, mask) in enumerate(
            zip(self._layers(), state, self._masks(ids.shape, dropout), strict=True)
        ):
            H, new_state = layer(X, layer_state)
            X = self._handed_on(H, X if i else None, mask)
            after.append(new_state)
        return X, tuple(after)

    def _handed_on(self, H: Tensor, X: Tensor | None, mask: Tensor | None) -> Tensor:
        """What a layer that read X hands to the next one; X is None in the first, whose input is no hidden state."""
        out = H + X if self.config.residual and X is not None else H
        return out if mask is None else out * mask

    def _masks(self, shape: torch.Size, generator: torch.Generator | None) -> list[Tensor | None]:
        """What the outputs of each layer are multiplied with: 0 or 1 / (1 - dropout), and None after the last."""
        p, (T, B), width = self.config.dropout, shape, self.W_hq.shape[0]
        if not p or generator is None:
            return [None] * len(self.layers)
        drawn = [torch.empty(T, B, width, dtype=self.W_hq.dtype) for _ in self.layers[1:]]
        return [m.bernoulli_(1 - p, generator=generator).div_(1 - p).to(self.W_hq.device) for m in drawn] + [None]

    def forward(
        self, ids: Tensor, state: ModelState | None = None, dropout: torch.Generator | None = None
    ) -> tuple[Tensor, ModelState]:
        """Logits (T, B, V) for ids (T, B), and the state after the last step."""
        H, after = self.hidden(ids, self.initial_state(ids.shape[1]) if state is None else state, dropout)
        return H @ self.W_hq + self.b_q, after

    def loss(
        self, X: Tensor, Y: Tensor, state: ModelState, dropout: torch.Generator | None = None
    ) -> tuple[Tensor, BatchLoss, ModelState]:
        """Mean cross-entropy in nats over the known targets of Y (T, B): a tensor for autograd, and a BatchLoss."""
        logits, after = self(X, state, dropout)
        total, characters = total_loss(logits, Y)
        return total / max(characters, 1), BatchLoss(float(total.detach()), characters), after

    def loss_and_gradients(
        self, X: Tensor, Y: Tensor, state: ModelState, dropout: torch.Generator | None = None
    ) -> tuple[BatchLoss, ModelState]:
        """One forward and backward pass; leaves dL/dparameter in `.grad` and returns a detached state."""
        if self.config.implementation == "fused":
            return self.backpropagate(X, Y, state, dropout)[:2]
        self.zero_grad(set_to_none=True)
        mean, loss, after = self.loss(X, Y, state, dropout)
        mean.backward()
        return loss, detach(after)

    @torch.no_grad()
    def backpropagate(
        self, X: Tensor, Y: Tensor, state: ModelState, dropout: torch.Generator | None = None
    ) -> tuple[BatchLoss, ModelState, list[Adjoints]]:
        """`loss_and_gradients` of the fused implementation, with dL/dH_t of every step.

        The last value is, layer by layer and direction by direction, dL/dH_t and for the LSTM
        dL/dC_t, (T, B, h) each: views, valid until the next call of the same shape.
        """
        layers: list[FusedLayer] = list(self.layers)  # type: ignore[arg-type]
        T, B = X.shape
        masks = self._masks(X.shape, dropout)
        read, tapes, after = X, [], []
        for i, (layer, layer_state, mask) in enumerate(zip(layers, state, masks, strict=True)):
            H, new_state, tape = layer.run(read, layer_state)
            read = self._handed_on(H, read if i else None, mask)
            tapes.append(tape)
            after.append(new_state)
        if len(self._output_buffers) > MAX_SHAPES:
            self._output_buffers.clear()
        buffers = self._output_buffers.setdefault((T, B), Buffers(self.flat))
        nats, characters, dH = output_loss(read, Y, self.W_hq, self.b_q, buffers)
        adjoints: list[Adjoints] = []
        for i in reversed(range(len(layers))):
            around = dH.clone() if self.config.residual and i else None  # the layer completes dH in place
            below, own = layers[i].backward(tapes[i], dH)
            adjoints.insert(0, own)
            if below is not None:  # the first layer reads indices
                dH = self._handed_back(below, around, masks[i - 1])
        return BatchLoss(nats, characters), tuple(after), adjoints

    def _handed_back(self, dX: Tensor, around: Tensor | None, mask: Tensor | None) -> Tensor:
        """dL/dH of the layer below from dL/dX, and from what came around the layer where it has a residual."""
        back = dX if around is None else dX + around
        return back if mask is None else back * mask

    def weights(self) -> dict[str, Tensor]:
        """Every parameter by its textbook name, such as `layer1.forward.W_xz`, `W_hq`, `b_q`.

        Views, not copies, whatever the implementation.
        """
        return self._named("weights") | {"W_hq": self.W_hq, "b_q": self.b_q}

    def gradients(self) -> dict[str, Tensor]:
        """dL/dparameter of the last backward pass, by the names of `weights`. Views."""
        output = {name: p.grad for name, p in (("W_hq", self.W_hq), ("b_q", self.b_q)) if p.grad is not None}
        return self._named("gradients") | output

    def gradient_norms(self) -> dict[str, float]:
        """The L2 norm of dL/dparameter for every parameter, by the names of `weights`."""
        if self.config.implementation == "fused":
            output = {name: torch.linalg.vector_norm(p.grad) for name, p in (("W_hq", self.W_hq), ("b_q", self.b_q))}
            norms = self._named("gradient_norms") | output
            return dict(zip(norms, torch.stack(list(norms.values())).tolist(), strict=True))
        gradients = self.gradients()
        return dict(zip(gradients, torch.stack(torch._foreach_norm(list(gradients.values()))).tolist(), strict=True))

    def _named(self, part: Literal["weights", "gradients", "gradient_norms"]) -> dict[str, Tensor]:
        return {
            f"layer{i}.{direction}.{name}": value
            for i, layer in enumerate(self._layers(), start=1)
            for direction, parameters in zip(("forward", "backward"), getattr(layer, part)(), strict=False)
            for name, value in parameters.items()
        }

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights by their textbook names, from a model of any implementation.

        Raises KeyError where one is missing and RuntimeError where a shape differs.
        """
        for i, layer in enumerate(self._layers(), start=1):
            layer.load_weights(
                [
                    {name: weights[f"layer{i}.{direction}.{name}"] for name in parameters}
                    for direction, parameters in zip(("forward", "backward"), layer.weights(), strict=False)
                ]
            )
        self.W_hq.copy_(weights["W_hq"])
        self.b_q.copy_(weights["b_q"])

    def convert(self, **changes: Any) -> LanguageModel:
        """The same weights in another implementation: `model.convert(implementation="torch")`.

        Raises InputError where the mathematics does not allow it (a GRU with reset before, in torch).
        """
        other = LanguageModel(replace(self.config, **changes), self.vocab_size).to(self.W_hq)
        other.load_weights({name: value.detach() for name, value in self.weights().items()})
        return other


def total_loss(logits: Tensor, Y: Tensor) -> tuple[Tensor, int]:
    """Cross-entropy in nats, summed over the known targets of Y (T, B), and their number."""
    total = F.cross_entropy(logits.flatten(0, 1), Y.flatten(), ignore_index=UNKNOWN, reduction="sum")
    return total, int((Y != UNKNOWN).sum())


def encode_one_hot(ids: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """One-hot vectors (*ids.shape, V); an unknown character is the zero vector."""
    vectors = torch.zeros(*ids.shape, size, dtype=dtype, device=ids.device)
    known = (ids != UNKNOWN).to(dtype).unsqueeze(-1)
    return vectors.scatter_(-1, ids.clamp(min=0).unsqueeze(-1), known)


def detach(state: ModelState) -> ModelState:
    """The same state, detached from the graph that made it."""
    return tuple(tuple(S.detach() for S in layer) for layer in state)
