"""The memory of a worker: a calculation that would exceed it is refused before it starts."""

from __future__ import annotations

import psutil

from rnnviz.config import ModelConfig
from rnnviz.errors import InputError

_MIB = 2**20
_limit: int | None = None  # bytes for this process; None if it is not replaced for using too many


def set_limit(limit: int | None) -> None:
    """Set the limit when a worker starts; None for no limit."""
    global _limit  # noqa: PLW0603  a process has one memory
    _limit = limit


def require(needed: int) -> None:
    """Raises InputError if this process cannot take so many more bytes."""
    left = None if _limit is None else _limit - psutil.Process().memory_info().rss
    if left is not None and needed > left:
        raise InputError(
            "this would need about {needed:,.0f} MB of memory; the worker has {left:,.0f} MB left. "
            "Choose a model with fewer hidden units or a text with fewer different characters",
            needed=needed / _MIB,
            left=max(left, 0) / _MIB,
        )


def of_reading(model: ModelConfig, vocab_size: int, length: int) -> int:
    """Roughly how many bytes it takes to load a model, let it read a text, and send weights and signals.

    The weights exist in the file, in the model, in the answer and in transit; for each character there
    are a one-hot vector and the logits, and for each unit all signals.
    """
    units = model.num_layers * model.num_directions * model.hidden_size
    return 4 * (4 * model.parameter_count(vocab_size) + length * (4 * vocab_size + 20 * units))


def of_graph(model: ModelConfig, vocab_size: int, characters: int) -> int:
    """Roughly how many bytes autograd's graph of so many characters takes, with the weights and their gradients."""
    units = model.num_layers * model.num_directions * model.hidden_size
    return 4 * (6 * model.parameter_count(vocab_size) + characters * (5 * vocab_size + 60 * units))
