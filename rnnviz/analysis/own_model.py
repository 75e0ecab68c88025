"""A character model that was trained elsewhere: a state dict of torch and a vocabulary as one of our models. No torch.

    embedding (V, d), or none: one-hot vectors    →    nn.RNN, nn.GRU or nn.LSTM    →    linear (V, D h)

The parts are found by their shapes, so their names do not matter. The embedding is a matrix that multiplies a
one-hot vector, as W_x. is after it, so that their product takes the place of both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from rnnviz.cells import Activation, CellName, find_cell, unpack_trained
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.runs.reports import Checkpoint
from rnnviz.text.corpora import Corpus, decode

Arrays = dict[str, NDArray[Any]]
_PACKED = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))_l(\d+)(_reverse)?")
_BLOCKS: dict[int, CellName] = {1: "rnn", 3: "gru", 4: "lstm"}
_UNKNOWN = {"<unk>": "�"}


def read_model(data: bytes) -> Arrays:
    """The state dict in a `.safetensors` file. Raises InputError for anything else, above all for a pickle."""
    try:
        state = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        if data[:4] == b"PK\x03\x04" or data[:1] == b"\x80":  # a valid file may begin with 0x80 too: its header's size
            raise InputError(
                "this is a .pt file: a pickle, which can run any program when it is opened, so it is not read. "
                "Save the model as safetensors: from safetensors.torch import save_file; "
                'save_file(model.state_dict(), "model.safetensors")'
            ) from error
        raise InputError("the file is not a .safetensors file that can be read: {reason}", reason=error) from error
    for name, array in state.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(
                "{name} of the model is {kind}; allowed: finite numbers in float16, float32 or float64",
                name=repr(name),
                kind=array.dtype if array.dtype.kind != "f" else "not finite",
            )
    return {name: array.astype(np.float64) for name, array in state.items()}


def read_vocabulary(data: bytes, size: int) -> tuple[list[str], str]:
    """The characters in the order of their ids, and a text that has all of them.

    A JSON list has them in order. So does a text in which each character occurs once; of a longer text it is its
    different characters, sorted by code point. `<unk>` in a list is shown as �. Raises InputError where there are
    not `size` different ones.
    """
    text = decode(data)
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if isinstance(listed, list):
        characters = [_UNKNOWN.get(entry, entry) if isinstance(entry, str) else repr(entry) for entry in listed]
        text = "".join(characters)
    else:
        text = text.replace("\r\n", "\n")
        characters = list(text) if len(set(text)) == len(text) else sorted(set(text))
    long = next((entry for entry in characters if len(entry) != 1), None)
    if long is not None:
        raise InputError(
            "the vocabulary has the entry {entry!r}; allowed: single characters, and <unk>", entry=long[:20]
        )
    if len(set(characters)) != len(characters) or len(characters) != size:
        raise InputError(
            "the vocabulary has {count:,} entries, {different:,} of them different; the model reads {size:,}. Allowed: "
            "a JSON list of all characters in the order of their ids, a text that has each once in that order, or a "
            "text whose different characters are sorted by code point",
            count=len(characters),
            different=len(set(characters)),
            size=size,
        )
    return characters, text


def find_language_model(
    state: Mapping[str, NDArray[Any]], activation: Activation = "tanh"
) -> tuple[ModelConfig, Arrays]:
    """The configuration of the language model that a state dict is of, and its weights by their textbook names.

    Of an nn.RNN a state dict does not tell the `activation`. Only shapes are known here: what a model does besides,
    such as adding its input to its output, cannot be seen. Raises InputError with what was expected and what is there.
    """
    packed, others = _sorted_out(state)
    W_x, W_h = (packed.get((kind, 0, "")) for kind in ("weight_ih", "weight_hh"))
    if W_x is None or W_h is None or W_x.ndim != 2 or W_h.ndim != 2 or any(kind == "weight_hr" for kind, *_ in packed):
        raise _unexpected(state)
    h = W_h.shape[1]
    name, layers = _BLOCKS.get(len(W_h) // max(h, 1)), 1 + max(layer for _, layer, _ in packed)
    directions = [("forward", ""), ("backward", "_reverse")][: 1 + any(suffix for *_, suffix in packed)]
    if name is None:
        raise _unexpected(state)
    cell, width = find_cell(name, "after-bias", activation), h * len(directions)
    embedding, weights = _input_and_output(state, others, W_x.shape[1], width)
    rows, used = len(cell.blocks) * h, 0
    for layer in range(layers):
        d = width if layer else W_x.shape[1]
        shapes = {"weight_ih": (rows, d), "weight_hh": (rows, h), "bias_ih": (rows,), "bias_hh": (rows,)}
        for direction, suffix in directions:
            found = {kind: packed.get((kind, layer, suffix)) for kind in shapes}
            given = {kind: array for kind, array in found.items() if array is not None}
            if len(given) not in (2, 4) or any(array.shape != shapes[kind] for kind, array in given.items()):
                raise _unexpected(state)
            used += len(given)
            own = {kind: given.get(kind, np.zeros(shape, W_h.dtype)) for kind, shape in shapes.items()}
            if not layer:
                own["weight_ih"] = own["weight_ih"] @ embedding.T
            for weight, value in unpack_trained(cell, *own.values()).items():
                weights[f"layer{layer + 1}.{direction}.{weight}"] = np.ascontiguousarray(value)
    if used != len(packed):
        raise _unexpected(state)
    config = ModelConfig(
        cell=name,
        hidden_size=h,
        num_layers=layers,
        bidirectional=len(directions) == 2,
        reset="after-bias",
        activation=activation,
    )
    return config, weights


def _sorted_out(
    state: Mapping[str, NDArray[Any]],
) -> tuple[dict[tuple[str, int, str], NDArray[Any]], dict[str, NDArray[Any]]]:
    """The parameters of the one recurrent module by kind, layer and suffix, and all others by name."""
    matches = {name: _PACKED.fullmatch(name) for name in state}
    if len({match[1] for match in matches.values() if match}) != 1:
        raise _unexpected(state)
    packed = {(m[2], int(m[3]), m[4] or ""): state[name] for name, m in matches.items() if m}
    return packed, {name: array for name, array in state.items() if not matches[name]}


def _input_and_output(
    state: Mapping[str, NDArray[Any]], others: Mapping[str, NDArray[Any]], d: int, width: int
) -> tuple[NDArray[Any], Arrays]:
    """The embedding (V, d), which is the identity for one-hot vectors, and the output layer's W_hq and b_q."""
    matrices = [name for name, array in others.items() if array.ndim == 2]
    pairs = [(e, o) for e in (*matrices, None) for o in matrices if {e, o} - {None} == set(matrices)]
    fitting = [
        (e, o)
        for e, o in pairs
        if others[o].shape[1] == width
        and (others[e].shape == (len(others[o]), d) if e else len(others[o]) == d)
        and set(others) - {e, o} <= {_bias_of(o)}
    ]
    if not fitting or (len(fitting) > 1 and not np.array_equal(others[matrices[0]], others[matrices[1]])):
        raise _unexpected(state)
    e, o = fitting[0]
    W, b = others[o], others.get(_bias_of(o), np.zeros(len(others[o]), others[o].dtype))
    if b.shape != (len(W),):
        raise _unexpected(state)
    return others[e] if e else np.eye(d, dtype=W.dtype), {"W_hq": np.ascontiguousarray(W.T), "b_q": b}


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _unexpected(state: Mapping[str, NDArray[Any]]) -> InputError:
    shapes = [f"{name} {tuple(array.shape)}" for name, array in state.items()]
    there = ", ".join(shapes[:12]) + (" …" if len(shapes) > 12 else "") or "nothing"
    return InputError(
        "expected: an embedding or none, one nn.RNN, nn.GRU or nn.LSTM without proj_size, and one linear layer to as "
        "many numbers as there are characters; the state dict has {there}",
        there=there,
    )


def own_run(model: bytes, vocabulary: bytes) -> tuple[TrainConfig, Corpus, Checkpoint]:
    """A run's configuration, text and checkpoint from a visitor's two files. Raises InputError where one is wrong.

    Our vocabularies are sorted, so the rows and columns of the weights that belong to characters are sorted as well.
    """
    config, weights = find_language_model(read_model(model))
    characters, text = read_vocabulary(vocabulary, len(weights["b_q"]))
    ours = _in_order(weights, characters)
    arrays = {f"weights.{name}": np.ascontiguousarray(value, np.float32) for name, value in ours.items()}
    corpus = Corpus("own-model", text, "")
    settings = TrainConfig(model=config, corpus=corpus.name, batch_size=1, num_steps=1, epochs=1, predict_every=0)
    return settings, corpus, Checkpoint(arrays, {"step": 0, "reports": 0})


def _in_order(weights: Arrays, characters: Sequence[str]) -> Arrays:
    order = sorted(range(len(characters)), key=characters.__getitem__)
    in_order = {name: w[order] if re.match(r"layer1\.\w+\.W_x", name) else w for name, w in weights.items()}
    return in_order | {"W_hq": weights["W_hq"][:, order], "b_q": weights["b_q"][order]}
