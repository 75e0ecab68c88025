"""A network that goes on writing where its text ends, in NumPy: every signal, as for the text that it read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnviz.analysis.reading import Reading, log_softmax
from rnnviz.cells import Signals, cell_of
from rnnviz.text.corpora import one_hot


def write_on(reading: Reading, length: int, seed: int = 0) -> Reading:
    """The same network, which after its text reads `length` characters that it writes itself.

    Each is drawn from softmax(H_t W_hq + b_q), (V,), so the text depends on the seed alone. The network has one
    layer and one direction; the signals of the new reading are (T + length, h).
    """
    cell, W, V = cell_of(reading.trace), reading.weights, len(reading.vocabulary)
    draw, text = np.random.default_rng(seed), reading.trace.text
    state = tuple(reading.trace.signal(name)[-1] for name in cell.state)
    steps: list[Signals] = []
    for _ in range(length):
        chances = np.exp(log_softmax((state[0] @ W["W_hq"] + W["b_q"]).astype(np.float64)))
        written = np.asarray(draw.choice(V, p=chances / chances.sum()))
        text += reading.vocabulary.decode(written[None])
        steps.append(cell.step(one_hot(written, V), state, W))
        state = tuple(steps[-1][name] for name in cell.state)
    signals = {
        name: np.concatenate([read, *(step[name.split(".")[-1]][None] for step in steps)])
        for name, read in reading.trace.signals.items()
    }
    return replace(reading, trace=replace(reading.trace, text=text, signals=signals))
