"""A recording of every gate and state over a text."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnviz.cells import cell_of, of_layer
from rnnviz.errors import InputError
from rnnviz.nn.layers import scan
from rnnviz.nn.model import LanguageModel, ModelState, encode_one_hot
from rnnviz.runs.recording import Trace
from rnnviz.text.corpora import Vocabulary


@torch.no_grad()
def trace(model: LanguageModel, vocabulary: Vocabulary, text: str, state: ModelState | None = None) -> Trace:
    """Every signal of every layer and direction while the model reads `text`, starting from `state` or zeros.

    The equations of `cells.py` run over the model's own weights, so a recording is the same for
    every implementation. Each array is float32 of shape (len(text), h).
    """
    if not text:
        raise InputError("the text is empty; it needs at least one character")
    ids = torch.from_numpy(vocabulary.encode(text)).to(model.W_hq.device).unsqueeze(1)
    signals = record(model, ids, state)
    arrays = {name: value[:, 0].float().cpu().numpy() for name, value in signals.items()}
    config = model.config
    return Trace(text, config.cell, config.reset, config.activation, arrays, config.residual)


def record(model: LanguageModel, ids: Tensor, state: ModelState | None = None) -> dict[str, Tensor]:
    """Every signal (T, B, h) by its full name, such as `layer1.forward.Z`, while the model reads ids (T, B)."""
    X = encode_one_hot(ids, model.vocab_size, model.W_hq.dtype)
    state = model.initial_state(ids.shape[1]) if state is None else state
    cell, weights = cell_of(model.config), model.weights()
    recorded: dict[str, Tensor] = {}
    for i, layer_state in enumerate(state, start=1):
        outputs = []
        for d, direction in enumerate(("forward", "backward")[: model.config.num_directions]):
            W = of_layer(weights, i, direction)
            signals = scan(cell, X, tuple(S[d] for S in layer_state), W, backward=direction == "backward")
            outputs.append(signals["H"])
            recorded |= {f"layer{i}.{direction}.{name}": value for name, value in signals.items()}
        H = torch.cat(outputs, dim=-1)
        X = H + X if model.config.residual and i > 1 else H
    return recorded
