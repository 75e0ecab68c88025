"""What carrying the hidden state is worth, and what it costs not to detach it: measured on a run's newest model."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node

from rnnviz.execution import load
from rnnviz.model import BatchLoss, LanguageModel, ModelState, detach
from rnnviz.recording import Growth
from rnnviz.runs import Run
from rnnviz.sampling import Indices, check_length, sequential_starts, window
from rnnviz.training import evaluate, perplexity

WINDOWS = (1, 2, 4, 8, 16, 32, 64)
MAX_CHARACTERS = 4000
_STEPS, _BATCH_SIZE, _NUM_STEPS = 24, 4, 16


def reset_perplexities(folder: str, windows: Sequence[int] = WINDOWS) -> tuple[float, dict[int, float]]:
    """Perplexity of the training text with the state carried on, and with it set to zero every so many characters.

    Both score the same characters, at most MAX_CHARACTERS of them.
    """
    run = Run.open(folder)
    model, ids = load(run), run.corpus.vocabulary.encode(run.corpus.training[:MAX_CHARACTERS])
    whole = evaluate(model, ids)
    parts = {T: evaluate_windows(model, ids, T) for T in windows if len(ids) > T}
    return perplexity(whole.nats, whole.characters), {T: perplexity(p.nats, p.characters) for T, p in parts.items()}


def evaluate_windows(model: LanguageModel, ids: Indices, num_steps: int) -> BatchLoss:
    """The loss over a text (length,) that is read in windows of `num_steps`, each from a zero state."""
    whole = (len(ids) - 1) // num_steps
    X, Y = (torch.from_numpy(part[: whole * num_steps].reshape(whole, num_steps).T) for part in (ids[:-1], ids[1:]))
    with torch.no_grad():
        loss = model.loss(X, Y, model.initial_state(whole))[1]
    rest = evaluate(model, ids[whole * num_steps :])
    return BatchLoss(loss.nats + rest.nats, loss.characters + rest.characters)


def graph_growth(folder: str, steps: int = _STEPS) -> Growth:
    """Training steps on neighbouring windows with the state detached after each, and with its graph kept.

    The weights stay as they are, so that both ways compute the same numbers; only the graphs differ.
    """
    run = Run.open(folder)
    model = load(run).convert(implementation="scratch")
    ids = run.corpus.vocabulary.encode(run.corpus.training)
    check_length("sequential", len(ids), _BATCH_SIZE, _NUM_STEPS)
    begins = sequential_starts(len(ids), _BATCH_SIZE, _NUM_STEPS)
    batches = [window(ids, begins[k % len(begins)], _NUM_STEPS) for k in range(steps)]
    tensors = [(torch.from_numpy(X), torch.from_numpy(Y)) for X, Y in batches]
    _measure(model, tensors[:1], keep=False)  # the first call of all warms up
    measured = {"detached": _measure(model, tensors, keep=False), "kept": _measure(model, tensors, keep=True)}
    return Growth(
        nodes={way: [nodes for nodes, _ in steps] for way, steps in measured.items()},
        milliseconds={way: [time for _, time in steps] for way, steps in measured.items()},
        errors={"second": _error(model, tensors[0], retain=False), "update": _error(model, tensors[0], retain=True)},
    )


def _measure(model: LanguageModel, batches: Sequence[tuple[Tensor, Tensor]], *, keep: bool) -> list[tuple[int, float]]:
    """The graph's nodes and the milliseconds of every step."""
    state, measured = model.initial_state(_BATCH_SIZE), []
    for X, Y in batches:
        began = time.thread_time()
        loss, _, after = model.loss(X, Y, state)
        loss.backward(retain_graph=keep)
        milliseconds = 1000 * (time.thread_time() - began)
        measured.append((count_nodes(loss), milliseconds))
        state = after if keep else detach(after)
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
    """What torch says to the second of two training steps whose state was not detached."""
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
