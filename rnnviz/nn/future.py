"""The future in a bidirectional model's predictions: scored without it, and its gradient measured.

The backward pass has read the character that is to be predicted. With the future masked it starts at
the character read last, so that each prediction is made from the text up to there alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnviz.analysis.leak import LENGTH, Leak, Leakage, Scores
from rnnviz.i18n import LANGUAGES
from rnnviz.nn import memory
from rnnviz.nn.execution import load_model
from rnnviz.nn.fused.layer import FusedLayer
from rnnviz.nn.fused.tape import Tape
from rnnviz.nn.model import BatchLoss, LanguageModel, encode_one_hot
from rnnviz.nn.training import evaluate, perplexity
from rnnviz.runs.folder import Run, write_atomically
from rnnviz.text.corpora import DATA, UNKNOWN, Vocabulary
from rnnviz.text.sampling import Indices

_WORK = 1_000_000_000  # parameters times characters scored: a second or two


@torch.no_grad()
def masked_logits(model: LanguageModel, ids: Tensor) -> Tensor:
    """Logits (T, V) of a text (T,), each made from the characters up to its own alone.

    The backward pass of step t starts from zeros at x_t: it is as if the text ended there. For a model
    of one direction these are its usual logits.
    """
    if not model.config.bidirectional:
        logits: Tensor = model(ids.unsqueeze(1))[0][:, 0]
        return logits
    if model.config.num_layers > 1:  # a lower layer's backward pass ends elsewhere for every step
        return torch.stack([model(ids[: t + 1].unsqueeze(1))[0][-1, 0] for t in range(len(ids))])
    h = model.config.hidden_size
    forward = model.hidden(ids.unsqueeze(1), model.initial_state(1))[0][:, 0, :h].clone()
    backward = model.hidden(ids.unsqueeze(0), model.initial_state(len(ids)))[0][0, :, h:]
    return torch.cat([forward, backward], dim=-1) @ model.W_hq + model.b_q


def evaluate_masked(model: LanguageModel, ids: Indices) -> BatchLoss:
    """The loss over a text with the future masked: each character is predicted from those before it alone.

    That is the loss of a language model, and for a model of one direction the same as `evaluate`.
    """
    text = torch.from_numpy(ids).to(model.W_hq.device)
    logits, Y = masked_logits(model, text[:-1]), text[1:]
    nats = F.cross_entropy(logits, Y, ignore_index=UNKNOWN, reduction="sum")
    return BatchLoss(float(nats), int((Y != UNKNOWN).sum()))


@torch.no_grad()
def leak(model: LanguageModel, vocabulary: Vocabulary, text: str) -> Leak:
    """The gradient of every prediction of a text's true next character to every character read.

    By our own backpropagation through time, in double precision. The text is read T - 1 times side by
    side, and row t of the mini-batch has the gradient of the prediction at step t.
    """
    model = model.convert(implementation="fused").double()
    ids = torch.from_numpy(vocabulary.encode(text))
    steps = torch.arange(len(ids) - 1)
    X = encode_one_hot(ids, len(vocabulary), torch.float64).unsqueeze(1).repeat(1, len(steps), 1)
    layers: list[FusedLayer] = list(model.layers)  # type: ignore[arg-type]
    tapes: list[list[Tape]] = []
    for layer, state in zip(layers, model.initial_state(len(steps)), strict=True):
        H, _after, tape = layer.run(X, state)
        X = H + X if model.config.residual and tapes else H
        tapes.append(tape)
    P = torch.softmax(X[steps, steps] @ model.W_hq + model.b_q, dim=-1)
    answers = ids[1:].clamp(min=0)
    true = P[steps, answers]
    dO = true.unsqueeze(1) * (F.one_hot(answers, len(vocabulary)) - P)  # dP_y / dO = P_y (e_y - P)
    d = torch.zeros_like(X)
    d[steps, steps] = dO @ model.W_hq.T
    states: list[tuple[Tensor, ...]] = []
    for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
        around = d.clone()  # the layer may complete d in place
        below, adjoints = layer.backward(tape, d)
        states = states or adjoints
        assert below is not None  # noqa: S101  only indices have no gradient
        d = below + around if model.config.residual and layer is not layers[0] else below
    by_state = _norms(states[1][0]) if model.config.bidirectional else torch.zeros(len(steps), len(ids)).double()
    masked = torch.softmax(masked_logits(model, ids[:-1]), dim=-1)[steps, answers]
    known = torch.where(ids[1:] == UNKNOWN, torch.nan, 1.0).double()
    by_row = known.unsqueeze(1)
    arrays = (_norms(d) * by_row, by_state * by_row, true * known, masked * known)
    return Leak(text, *(array.numpy() for array in arrays))


def _norms(gradients: Tensor) -> Tensor:
    """(T, B, d) as norms (B, T)."""
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=-1).T
    return norms


def measure(folder: str, text: str) -> Leakage:
    """A run's newest model: its leak over the beginning of a text, and its perplexities over what was held out."""
    run = Run.open(folder)
    config, vocabulary = run.config.model, run.corpus.vocabulary
    text = text[:LENGTH]
    memory.require(2 * memory.of_graph(config, len(vocabulary), len(text) ** 2))
    model = load_model(run)
    return Leakage(leak(model, vocabulary, text), scores(model, run))


def scores(model: LanguageModel, run: Run) -> Scores:
    """Over the held-out text, or what was trained on where nothing was held out; of a large model over its beginning.

    Both are read from a zero state at once.
    """
    characters = max(_WORK // run.config.model.parameter_count(len(run.corpus.vocabulary)), 2)
    if run.config.model.num_layers > 1:
        characters = min(characters, 200)  # each of which is predicted by a reading of its own
    ids = run.corpus.vocabulary.encode((run.corpus.held_out or run.corpus.training)[:characters])
    read, masked = evaluate(model, ids), evaluate_masked(model, ids)
    return Scores(perplexity(read.nats, read.characters), perplexity(masked.nats, masked.characters))


def ship(folder: Path) -> None:
    """Measure the runs that the Bidirectional page opens on, and a GRU of one direction on the same text as each."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        text = Run.open(DATA / f"bidirectional-{language}").config.probe
        for name in (f"bidirectional-{language}", f"gru-{language}"):
            measured = measure(str(DATA / name), text)
            values = {"leak": measured.leak.to_json(), "scores": vars(measured.scores)}
            write_atomically(folder / f"{name}.json", json.dumps(values, allow_nan=False).encode())


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
