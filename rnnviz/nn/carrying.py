"""The effect of carrying the hidden state, and the cost of not detaching it, measured on a run's newest model."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node

from rnnviz.nn import memory
from rnnviz.nn.execution import load_model
from rnnviz.nn.model import BatchLoss, LanguageModel, ModelState, detach
from rnnviz.nn.training import evaluate, perplexity
from rnnviz.runs.folder import Run
from rnnviz.runs.recording import Growth, Resets
from rnnviz.text.corpora import UNKNOWN
from rnnviz.text.sampling import Indices, check_length, sequential_starts, window

WINDOWS = (1, 2, 4, 8, 16, 32, 64)
MAX_CHARACTERS = 4000
_LARGEST_LOGITS = 2**23  # in memory at a time
_GRAPH_WORK = 400_000_000  # parameters times windows that backward walks through: some seconds at most
_STEPS, _BATCH_SIZE, _NUM_STEPS = 24, 4, 16


def reset_perplexities(folder: str, windows: Sequence[int] = WINDOWS) -> tuple[Resets, Resets | None]:
    """Perplexities of the training text and of the held-out one, with the state carried and with it set to zero.

    Both ways score the same characters, at most MAX_CHARACTERS of a text. The second is None where nothing is held out
    that can be scored.
    """
    run = Run.open(folder)
    run.config.check_predicts()
    memory.require(memory.of_reading(run.config.model, len(run.corpus.vocabulary), max(windows)))
    model, encode = load_model(run), run.corpus.vocabulary.encode
    training, held_out = (encode(text[:MAX_CHARACTERS]) for text in (run.corpus.training, run.corpus.held_out))
    scored = bool((held_out[1:] != UNKNOWN).any())
    return _resets(model, training, windows), _resets(model, held_out, windows) if scored else None


def _resets(model: LanguageModel, ids: Indices, windows: Sequence[int]) -> Resets:
    whole = evaluate(model, ids)
    parts = {T: evaluate_windows(model, ids, T) for T in windows if len(ids) > T}
    return Resets(
        perplexity(whole.nats, whole.characters), {T: perplexity(p.nats, p.characters) for T, p in parts.items()}
    )


def evaluate_windows(model: LanguageModel, ids: Indices, num_steps: int) -> BatchLoss:
    """The loss over a text (length,) that is read in windows of `num_steps`, each from a zero state."""
    whole = (len(ids) - 1) // num_steps
    X, Y = (torch.from_numpy(part[: whole * num_steps].reshape(whole, num_steps).T) for part in (ids[:-1], ids[1:]))
    together = max(1, _LARGEST_LOGITS // (num_steps * model.vocab_size))  # windows whose logits are in memory at once
    loss = evaluate(model, ids[whole * num_steps :])
    with torch.no_grad():
        for x, y in zip(X.split(together, 1), Y.split(together, 1), strict=True):
            loss += model.loss(x, y, model.initial_state(x.shape[1]))[1]
    return loss


def graph_growth(folder: str, steps: int = _STEPS) -> Growth:
    """Measure training steps on consecutive windows, with the state detached after each and with its graph kept.

    The weights stay the same, so both ways compute the same numbers, and only the graphs differ.
    A large model takes fewer steps, because with the graph kept each one goes back through all before it.
    """
    run = Run.open(folder)
    run.config.check_predicts()
    parameters = run.config.model.parameter_count(len(run.corpus.vocabulary))
    while steps > 2 and parameters * steps * (steps + 1) // 2 > _GRAPH_WORK:
        steps -= 1
    characters = steps * _BATCH_SIZE * _NUM_STEPS
    memory.require(memory.of_graph(run.config.model, len(run.corpus.vocabulary), characters))
    model = load_model(run).convert(implementation="scratch")
    ids = run.corpus.vocabulary.encode(run.corpus.training)
    check_length("sequential", len(ids), _BATCH_SIZE, _NUM_STEPS)
    begins = sequential_starts(len(ids), _BATCH_SIZE, _NUM_STEPS)
    batches = [window(ids, begins[k % len(begins)], _NUM_STEPS) for k in range(steps)]
    tensors = [(torch.from_numpy(X), torch.from_numpy(Y)) for X, Y in batches]
    _measure(model, tensors[:1], detached=True)  # warm up
    measured = {
        "detached": _measure(model, tensors, detached=True),
        "attached": _measure(model, tensors, detached=False),
    }
    return Growth(
        nodes={way: [nodes for nodes, _ in steps] for way, steps in measured.items()},
        milliseconds={way: [time for _, time in steps] for way, steps in measured.items()},
        errors={"second": _error(model, tensors[0], retain=False), "update": _error(model, tensors[0], retain=True)},
    )


def _measure(
    model: LanguageModel, batches: Sequence[tuple[Tensor, Tensor]], *, detached: bool
) -> list[tuple[int, float]]:
    """The graph's nodes and the milliseconds of every step."""
    state, measured = model.initial_state(_BATCH_SIZE), []
    for X, Y in batches:
        began = time.thread_time()
        loss, _, after = model.loss(X, Y, state)
        loss.backward(retain_graph=not detached)
        milliseconds = 1000 * (time.thread_time() - began)
        measured.append((count_nodes(loss), milliseconds))
        state = detach(after) if detached else after
    return measured


def count_nodes(loss: Tensor) -> int:
    """How many nodes backward walks through from a loss."""
    seen: set[Node] = set()
    ahead = [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            ahead += [following for following, _ in node.next_functions]
    return len(seen)


def _error(model: LanguageModel, batch: tuple[Tensor, Tensor], *, retain: bool) -> str:
    """The error of torch at the second of two training steps when the state is not detached."""
    model = model.convert()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state: ModelState = model.initial_state(_BATCH_SIZE)
    try:
        for _ in range(2):
            loss, _scored, state = model.loss(*batch, state)
            loss.backward(retain_graph=retain)
            optimizer.step()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("torch took a graph that it should have refused")
