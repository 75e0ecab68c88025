"""Gate surgery: a model of which a layer's gates are held at values between the two halves of its cell's step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rnnviz.analysis.surgery import Hold, Operated, held, parse_holds
from rnnviz.cells import Cell, State, cell_of
from rnnviz.config import ModelConfig
from rnnviz.errors import InputError
from rnnviz.nn import memory
from rnnviz.nn.execution import load_model
from rnnviz.nn.generation import generate
from rnnviz.nn.layers import ScratchLayer
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.training import evaluate, perplexity
from rnnviz.runs.folder import Run
from rnnviz.text.sampling import Indices

MAX_PREFIX, MAX_LENGTH, MAX_CHARACTERS = 100, 400, 4000
_WORK = 500_000_000  # parameters times characters of a text: a second or two for both


class HeldLayer(ScratchLayer):
    """The equations with gates held. It counts the steps that it has read, so it can read only one text."""

    def __init__(self, config: ModelConfig, d: int, holds: Sequence[Hold]) -> None:
        super().__init__(config, d)
        self.untouched, self.holds, self.t = self.cell, tuple(holds), 0

    def forward(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        hidden = []
        for x in X.split(1):
            self.cell = self._operated([hold for hold in self.holds if hold.at(self.t)])
            H, state = super().forward(x, state)
            hidden.append(H)
            self.t += 1
        return torch.cat(hidden), state

    def _operated(self, holds: Sequence[Hold]) -> Cell:
        cell = self.untouched
        return replace(cell, open=lambda X, state, W: held(cell.open(X, state, W), holds)) if holds else cell


def operate(model: LanguageModel, holds: Sequence[Hold], layer: int = 1) -> LanguageModel:
    """The same weights with gates of one layer held from the first step on. The model can read one text, once.

    Raises InputError for a layer that the model lacks, or for a model of two directions.
    """
    config = model.config
    if config.num_directions > 1 or not 1 <= layer <= config.num_layers:
        raise InputError(
            "gates are held in layer {layer} of a model of {layers} layers and {directions} directions; "
            "allowed: a layer from 1 to {layers} of one direction",
            layer=layer,
            layers=config.num_layers,
            directions=config.num_directions,
        )
    other = model.convert(implementation="scratch")
    operated = HeldLayer(other.config, other.vocab_size if layer == 1 else config.hidden_size, holds).to(other.W_hq)
    operated.load_weights([{k: w.detach() for k, w in model.layers[layer - 1].weights()[0].items()}])  # type: ignore[operator]
    other.layers[layer - 1] = operated
    return other


def write(folder: str, holds: str, prefix: str, length: int, temperature: float, seed: int, layer: int = 1) -> Operated:
    """A run's newest model writing with gates of a layer held as `parse_holds` reads it, and without, from one seed.

    Raises InputError for a prefix or a length beyond the limits, or for gates or a layer that the model lacks.
    """
    if len(prefix) > MAX_PREFIX or not 1 <= length <= MAX_LENGTH:
        raise InputError(
            "the prefix has {prefix:,} characters and {length:,} are to follow; allowed: at most {most} and {longest}",
            prefix=len(prefix),
            length=length,
            most=MAX_PREFIX,
            longest=MAX_LENGTH,
        )
    run = Run.open(folder)
    corpus, config = run.corpus, run.config.model
    memory.require(memory.of_reading(config, len(corpus.vocabulary), length))
    model, operation = load_model(run), parse_holds(holds, cell_of(config), config.hidden_size)
    before, after = (
        generate(
            operate(model, each, layer),
            corpus.vocabulary,
            prefix,
            length,
            temperature=temperature,
            generator=torch.Generator().manual_seed(seed),
        ).text
        for each in ((), operation)
    )
    characters = max(2, min(MAX_CHARACTERS, _WORK // config.parameter_count(len(corpus.vocabulary))))
    throughout = [replace(hold, first=1, last=None) for hold in operation]
    training, held_out = (
        _perplexities(model, throughout, layer, corpus.vocabulary.encode(text[:characters]))
        for text in (corpus.training, corpus.held_out)
    )
    return Operated(prefix, before, after, training, held_out)


def _perplexities(model: LanguageModel, holds: Sequence[Hold], layer: int, ids: Indices) -> tuple[float, float] | None:
    """As the model is, and with gates held; None where no character can be scored."""
    if len(ids) < 2:
        return None
    losses = evaluate(model, ids), evaluate(operate(model, holds, layer), ids)
    if not losses[0].characters:
        return None
    before, after = (perplexity(loss.nats, loss.characters) for loss in losses)
    return before, after
