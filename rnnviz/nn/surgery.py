"""Gate surgery: a model whose gates are held at values between the two halves of its cell's step."""

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
from rnnviz.nn.model import BatchLoss, LanguageModel
from rnnviz.nn.training import evaluate, perplexity
from rnnviz.runs.folder import Run
from rnnviz.text.sampling import Indices

MAX_PREFIX, MAX_LENGTH, MAX_CHARACTERS = 100, 400, 4000
_WORK = 1_000_000_000  # parameters times characters of the held-out text: a second or two


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


def operate(model: LanguageModel, holds: Sequence[Hold]) -> LanguageModel:
    """The same weights with gates held from the first step on. The model can read one text, once.

    Raises InputError for a model of more than one layer or direction.
    """
    config = model.config
    if config.num_layers * config.num_directions > 1:
        raise InputError(
            "the run is a {cell} of {layers} layers and {directions} directions; "
            "allowed here: one {allowed} layer of one direction",
            cell=cell_of(config).label,
            layers=config.num_layers,
            directions=config.num_directions,
            allowed=cell_of(config).label,
        )
    other = model.convert(implementation="scratch")
    layer = HeldLayer(other.config, other.vocab_size, holds).to(other.W_hq)
    layer.load_weights([{name: value.detach() for name, value in model.layers[0].weights()[0].items()}])  # type: ignore[operator]
    other.layers[0] = layer
    return other


def write(folder: str, holds: str, prefix: str, length: int, temperature: float, seed: int) -> Operated:
    """A run's newest model writing with gates held as `parse_holds` reads it, and without, from the same seed.

    Raises InputError for a prefix or a length beyond the limits, or for gates that the model lacks.
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
            operate(model, each),
            corpus.vocabulary,
            prefix,
            length,
            temperature=temperature,
            generator=torch.Generator().manual_seed(seed),
        ).text
        for each in ((), operation)
    )
    characters = min(MAX_CHARACTERS, _WORK // config.parameter_count(len(corpus.vocabulary)))
    ids = corpus.vocabulary.encode(corpus.held_out[: max(characters, 2)])
    operated = operate(model, [replace(hold, first=1, last=None) for hold in operation])
    perplexities = (_perplexity(model, ids), _perplexity(operated, ids))
    return Operated(prefix, before, after, *perplexities, characters=len(ids))


def _perplexity(model: LanguageModel, ids: Indices) -> float | None:
    """None where no character can be scored."""
    loss = evaluate(model, ids) if len(ids) > 1 else BatchLoss(0.0, 0)
    return perplexity(loss.nats, loss.characters) if loss.characters else None
