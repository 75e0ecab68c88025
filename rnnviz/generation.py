"""Writing: greedy prediction as in the notes, and sampling with a temperature and top-k."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rnnviz.errors import InputError
from rnnviz.model import LanguageModel
from rnnviz.recording import Generation
from rnnviz.text import Vocabulary


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
    the prefix that the vocabulary lacks enter as zero vectors.

    Raises InputError for an empty prefix, a negative temperature, or a top_k below 1.
    """
    if not prefix:
        raise InputError("the prefix is empty; it needs at least one character")
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
    """The notes' predict_rnn: the prefix and `length` characters, always the likeliest next one."""
    return generate(model, vocabulary, prefix, length, temperature=0).text
