"""Looking inside: a recording of every gate and state over a text."""

from __future__ import annotations

import torch

from rnnviz.cells import cell_of, scan
from rnnviz.errors import InputError
from rnnviz.model import LanguageModel, ModelState, encode_one_hot
from rnnviz.recording import Array, Trace
from rnnviz.text import Vocabulary


@torch.no_grad()
def trace(model: LanguageModel, vocabulary: Vocabulary, text: str, state: ModelState | None = None) -> Trace:
    """Every signal of every layer and direction while the model reads `text`, from `state` or zeros.

    The equations of `cells.py` run over the model's own weights, so a recording is the same for
    every implementation. Each array is float32 of shape (len(text), h).
    """
    if not text:
        raise InputError("the text is empty; it needs at least one character")
    ids = torch.from_numpy(vocabulary.encode(text)).to(model.W_hq.device).unsqueeze(1)
    X = encode_one_hot(ids, model.vocab_size, model.W_hq.dtype)
    state = model.initial_state(1) if state is None else state
    cell = cell_of(model.config)
    weights = model.weights()
    recorded: dict[str, Array] = {}
    for i, layer_state in enumerate(state, start=1):
        outputs = []
        for d, direction in enumerate(("forward", "backward")[: model.config.num_directions]):
            prefix = f"layer{i}.{direction}."
            W = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            signals = scan(cell, X, tuple(S[d] for S in layer_state), W, backward=direction == "backward")
            outputs.append(signals["H"])
            recorded |= {prefix + name: value[:, 0].float().cpu().numpy() for name, value in signals.items()}
        X = torch.cat(outputs, dim=-1)
    return Trace(text, model.config.cell, model.config.reset, model.config.activation, recorded)
