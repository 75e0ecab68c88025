"""How the future leaks into a bidirectional model's predictions, as measured. No torch here.

The prediction at step t is made of H_t, forward and backward. The backward pass has read x_{t+1}, the
very character that is to be predicted, so that P_t(x_{t+1}) depends on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA

Array = NDArray[np.float64]
LENGTH = 40  # characters whose gradients are measured; each has one for every prediction
SHIPPED = DATA / "bidirectional"  # what `rnnviz.nn.future.ship` wrote


@dataclass(frozen=True)
class Leak:
    """A model reading a text of T characters, with the gradients of its T - 1 predictions.

    `by_input` is ‖dP_t(x_{t+1}) / dx_j‖ (T - 1, T), a row for each prediction and a column for each
    character read: above the diagonal stands what comes from the future. `by_state` is
    ‖dP_t(x_{t+1}) / dH_j‖ (T - 1, T) of the backward pass, zeros for a model without one. `true` has
    P_t(x_{t+1}) with the whole text read, `masked` from x_1 … x_t alone, (T - 1,) each. All are NaN for
    a prediction whose answer the vocabulary lacks.
    """

    text: str
    by_input: Array
    by_state: Array
    true: Array
    masked: Array

    @property
    def answers(self) -> Array:
        """‖dP_t(x_{t+1}) / dx_{t+1}‖, (T - 1,): how strongly each prediction depends on its own answer."""
        return np.diagonal(self.by_input, 1)

    def to_json(self) -> dict[str, Any]:
        """Lists for JSON in five digits, NaN as None."""
        return {"text": self.text} | {name: _lists(value) for name, value in vars(self).items() if name != "text"}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Leak:
        """What `to_json` wrote."""
        arrays = {name: np.array(value, np.float64) for name, value in values.items() if name != "text"}
        return Leak(values["text"], **arrays)


def _lists(values: Any) -> Any:
    if np.ndim(values):
        return [_lists(value) for value in values]
    return float(f"{values:.5g}") if math.isfinite(values) else None


@dataclass(frozen=True)
class Scores:
    """A model's perplexity over a held-out text with the future read, and with the future masked."""

    read: float
    masked: float


@dataclass(frozen=True)
class Leakage:
    """What the page shows of a model: the gradients over a text, and the two perplexities over another."""

    leak: Leak
    scores: Scores


def shipped_leakage(run: Run) -> Leakage | None:
    """That of a run that ships, over the beginning of its recording's text; None for another run."""
    path = SHIPPED / f"{run.folder.name}.json"
    if run.folder.parent != DATA or not path.is_file():
        return None
    saved = json.loads(path.read_text(encoding="utf-8"))
    return Leakage(Leak.from_json(saved["leak"]), Scores(**saved["scores"]))
