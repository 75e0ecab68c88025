"""Writing: greedy prediction as in the lecture notes, and sampling with a temperature and top-k."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rnnviz.errors import InputError
from rnnviz.nn.model import LanguageModel, ModelState
from rnnviz.runs.recording import Generation
from rnnviz.text.corpora import Vocabulary


@torch.no_grad()
def generate(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prefix: str,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Generation:
    """Continue `prefix` by `length` characters, one step at a time, each fed back as the next input.

    The distribution is softmax(logits / temperature), cut to the `top_k` likeliest characters;
    temperature 0 always takes the likeliest one, and reports the distribution at 1. Characters of
    the prefix that the vocabulary lacks are read as zero vectors.

    Raises InputError for an empty prefix, a negative temperature, or a top_k below 1.
    """
    _check_prefix(prefix)
    if not temperature >= 0:  # also refuses NaN
        raise InputError("the temperature is {value}; allowed: 0 and above", value=temperature)
    if top_k is not None and top_k < 1:
        raise InputError("top-k is {value}; allowed: 1 and above", value=top_k)
    generator = generator or torch.Generator().manual_seed(0)
    device = model.W_hq.device
    state = model.initial_state(1)
    for index in vocabulary.encode(prefix):
        logits, state = model(torch.tensor([[index]], device=device), state)
    indices: list[int] = []
    distributions = []
    for _ in range(length):
        P = _distribution(logits[0, 0], temperature, top_k).cpu()
        choice = P.argmax() if temperature == 0 else torch.multinomial(P, 1, generator=generator)[0]
        indices.append(int(choice))
        distributions.append(P.float().numpy())
        logits, state = model(choice.to(device).reshape(1, 1), state)
    written = vocabulary.decode(np.array(indices, dtype=np.int64))
    return Generation(
        prefix, prefix + written, np.array(distributions, dtype=np.float32).reshape(length, len(vocabulary))
    )


def _distribution(logits: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """softmax(logits / temperature) over the top_k likeliest characters, (V,)."""
    if top_k is not None and top_k < len(logits):
        best = logits.topk(top_k)
        logits = torch.full_like(logits, -torch.inf).scatter(0, best.indices, best.values)
    if temperature:
        # the largest logit becomes 0, so that a tiny temperature overflows to -inf and never to NaN
        logits = torch.where(logits == logits.max(), 0.0, (logits - logits.max()) / temperature)
    return torch.softmax(logits, dim=-1)


def predict(model: LanguageModel, vocabulary: Vocabulary, prefix: str, length: int) -> str:
    """predict_rnn of the lecture notes: the prefix and `length` characters, always the likeliest next one."""
    return prefix + "".join(likeliest(model, vocabulary, prefix, length))


def likeliest(model: LanguageModel, vocabulary: Vocabulary, prefix: str, length: int) -> Iterator[str]:
    """The same, character by character, without the prefix. Raises InputError if the prefix is empty."""
    _check_prefix(prefix)
    state = model.initial_state(1)
    for index in vocabulary.encode(prefix):
        choice, state = _read(model, int(index), state)
    for _ in range(length):
        yield vocabulary.decode(np.array([choice]))
        choice, state = _read(model, choice, state)


def _check_prefix(prefix: str) -> None:
    if not prefix:
        raise InputError("the prefix is empty; it needs at least one character")


@torch.no_grad()
def _read(model: LanguageModel, index: int, state: ModelState) -> tuple[int, ModelState]:
    """The likeliest character after this one, and the state."""
    logits, state = model(torch.tensor([[index]], device=model.W_hq.device), state)
    return int(_distribution(logits[0, 0], 0, None).argmax()), state
