"""What a run tells while it trains, and what it keeps: values without torch or Streamlit."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StepReport:
    """One mini-batch. `loss` is the mean in nats over its `characters`.

    `norm_before` and `norm_after` are the global gradient norm on either side of clipping;
    `norms` are the norms before clipping, parameter by parameter.
    """

    step: int
    epoch: int
    loss: float
    characters: int
    norm_before: float
    norm_after: float
    norms: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class GlobalNorms:
    """The global gradient norms of many steps, each of shape (number of steps,): a long run's would be many objects."""

    step: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @classmethod
    def of(cls, reports: Iterable[StepReport]) -> GlobalNorms:
        """Of these reports, in their order."""
        rows = [(r.step, r.norm_before, r.norm_after) for r in reports]
        step, before, after = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        return cls(step.astype(np.int64), before, after)

    def __add__(self, later: GlobalNorms) -> GlobalNorms:
        pairs = zip(vars(self).values(), vars(later).values(), strict=True)
        return GlobalNorms(*(np.concatenate(pair) for pair in pairs))

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True)
class EpochReport:
    """One pass over the training text; `step` is the last step of it.

    Perplexities are exp(total nats / total characters); the gradient norms are means over the
    epoch's steps. `known_share` is the share of held-out characters in the vocabulary, the only
    ones that `held_out_perplexity` scores; both are None where nothing is held out. Times are no
    part of equality: the same seed gives equal reports, on a faster machine too.
    """

    step: int
    epoch: int
    perplexity: float
    held_out_perplexity: float | None
    known_share: float | None
    norm_before: float
    norm_after: float
    characters_per_second: float = field(compare=False)
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class PredictionReport:
    """What the model writes after a prefix, always choosing the likeliest character."""

    step: int
    epoch: int
    prefix: str
    text: str


@dataclass(frozen=True)
class FailureReport:
    """The run ended because a number stopped being finite. `message` with `values` says how."""

    step: int
    epoch: int
    message: str
    values: Mapping[str, Any]

    @property
    def reason(self) -> str:
        return self.message.format(**self.values)


Report = StepReport | EpochReport | PredictionReport | FailureReport
_KINDS: dict[str, type[Any]] = {
    "step": StepReport,
    "epoch": EpochReport,
    "prediction": PredictionReport,
    "failure": FailureReport,
}


def to_json(report: Report) -> dict[str, Any]:
    """A dictionary for one line of `reports.jsonl`; infinities become None, which JSON lacks."""
    kind = next(name for name, cls in _KINDS.items() if type(report) is cls)
    values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(report).items()}
    return {"kind": kind, **values}


def from_json(values: Mapping[str, Any]) -> Report:
    """The report that `to_json` wrote. Raises KeyError, TypeError or AttributeError for anything else."""
    fields = {k: v for k, v in values.items() if k != "kind"}
    if values["kind"] == "epoch":
        if fields["perplexity"] is None:
            fields["perplexity"] = math.inf
        if fields["held_out_perplexity"] is None and fields["known_share"]:
            fields["held_out_perplexity"] = math.inf
    report: Report = _KINDS[values["kind"]](**fields)
    return report


_COLUMNS = (
    "kind", "step", "epoch", "loss", "characters", "perplexity", "held_out_perplexity", "known_share",
    "norm_before", "norm_after", "characters_per_second", "seconds",
)  # fmt: skip


def to_csv(reports: Iterable[Report]) -> str:
    """Steps and epochs as comma-separated values, a row a report; what a report lacks stays empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(to_json(r) for r in reports if isinstance(r, StepReport | EpochReport))
    return buffer.getvalue()


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on exactly: named arrays, and numbers that JSON can hold.

    `weights.<textbook name>` are the parameters, `optimizer.*` the optimiser's memory and
    `state.*` the carried state; `meta` has the position in the run and in the epoch.
    """

    arrays: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]

    def weights(self) -> dict[str, NDArray[np.floating[Any]]]:
        prefix = "weights."
        return {name.removeprefix(prefix): a for name, a in self.arrays.items() if name.startswith(prefix)}

    def only_weights(self) -> Checkpoint:
        """What it takes to look at the model, and not to train on: a third of the size with Adam."""
        return Checkpoint({f"weights.{name}": a for name, a in self.weights().items()}, self.meta)
