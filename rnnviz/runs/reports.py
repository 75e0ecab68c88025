"""Reports of a run while it trains, and its checkpoints: plain values, without torch or Streamlit."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
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
    """The global gradient norms of many steps as arrays (steps,), which take less memory than an object per step."""

    step: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @classmethod
    def of(cls, reports: Iterable[StepReport]) -> GlobalNorms:
        """The norms in these reports, in their order."""
        rows = [(r.step, r.norm_before, r.norm_after) for r in reports]
        step, before, after = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        return cls(step.astype(np.int64), before, after)

    def __add__(self, later: GlobalNorms) -> GlobalNorms:
        pairs = zip(vars(self).values(), vars(later).values(), strict=True)
        return GlobalNorms(*(np.concatenate(pair) for pair in pairs))

    def halved(self) -> GlobalNorms:
        """Keep the larger of every two neighbours, by the norm before clipping, so that no peak is lost."""
        first = np.arange(0, len(self) - 1, 2)
        longer = first + (self.before[first + 1] > self.before[first])
        return GlobalNorms(self.step[longer], self.before[longer], self.after[longer])

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True)
class EpochReport:
    """One pass over the training text; `step` is the last step of it.

    Perplexities are exp(total nats / total characters); the gradient norms are means over the
    epoch's steps. `known_share` is the share of held-out characters in the vocabulary, the only
    ones that `held_out_perplexity` scores; both are None where nothing is held out. `held_out_accuracy`
    is the share of masked characters that were restored; None for another task. Times do not
    count for equality: the same seed gives equal reports, even on a faster machine.
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
    held_out_accuracy: float | None = None


def best_held_out(epochs: Iterable[EpochReport]) -> EpochReport | None:
    """The first epoch with the lowest held-out perplexity; None where nothing finite was held out and scored."""
    scored = ((e.held_out_perplexity, e) for e in epochs if e.held_out_perplexity is not None)
    lowest = min(scored, key=lambda pair: pair[0], default=(math.inf, None))
    return lowest[1] if lowest[0] < math.inf else None


@dataclass(frozen=True)
class PredictionReport:
    """What the model writes after a prefix when it always chooses the likeliest character."""

    step: int
    epoch: int
    prefix: str
    text: str


@dataclass(frozen=True)
class FailureReport:
    """The run ended because its training diverged. `message`, filled in with `values`, says how."""

    step: int
    epoch: int
    message: str
    values: Mapping[str, Any]

    @property
    def reason(self) -> str:
        return self.message.format(**self.values)


_ALL_STEPS = 10_000  # all reports up to this step are stored


def is_stored(report: Report) -> bool:
    """Whether a report is written. Those of steps become sparser in a long run, to limit the file's size.

    They are written for all of the first 10,000 steps, every second one up to 20,000, every fourth up to 40,000,
    and so on.
    """
    spacing = 1 << ((report.step - 1) // _ALL_STEPS).bit_length()
    return not isinstance(report, StepReport) or report.step % spacing == 0


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
    """The report that `to_json` wrote. Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
    given = {k: v for k, v in values.items() if k != "kind"}
    if values["kind"] == "epoch":
        if given["perplexity"] is None:
            given["perplexity"] = math.inf
        if given["held_out_perplexity"] is None and given["known_share"]:
            given["held_out_perplexity"] = math.inf
    kind = _KINDS[values["kind"]]
    report: Report = kind(**given)
    for f in fields(kind):
        value = getattr(report, f.name)
        if not _IS_OF[str(f.type)](value):
            raise ValueError(f"{f.name} is {value!r:.40}")
    if isinstance(report, FailureReport):
        _ = report.reason  # a page will do the same
    return report


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and (-_LARGEST <= value <= _LARGEST or value == math.inf)


_LARGEST = sys.float_info.max
_IS_OF: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: type(value) is int and 0 <= value < 2**63,
    "float": _is_number,
    "float | None": lambda value: value is None or _is_number(value),
    "str": lambda value: isinstance(value, str),
    "Mapping[str, float]": lambda value: all(map(_is_number, value.values())),
    "Mapping[str, Any]": lambda value: isinstance(value, dict),
}


_COLUMNS = (
    "kind", "step", "epoch", "loss", "characters", "perplexity", "held_out_perplexity", "known_share",
    "norm_before", "norm_after", "characters_per_second", "seconds", "future_read",
    "held_out_accuracy",
)  # fmt: skip


def to_csv(reports: Iterable[Report], *, reads_ahead: bool) -> str:
    """Steps and epochs as comma-separated values, one row per report; what a report lacks stays empty.

    The last column says whether the model `reads_ahead`, so that its perplexities are not a language model's.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        to_json(r) | {"future_read": reads_ahead} for r in reports if isinstance(r, StepReport | EpochReport)
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to continue exactly: named arrays, and numbers for JSON.

    `weights.<textbook name>` are the parameters, `optimizer.*` the optimiser's memory and
    `state.*` the carried state; `meta` has the position in the run and in the epoch.
    """

    arrays: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]

    def weights(self) -> dict[str, NDArray[np.floating[Any]]]:
        prefix = "weights."
        return {name.removeprefix(prefix): a for name, a in self.arrays.items() if name.startswith(prefix)}

    def only_weights(self) -> Checkpoint:
        """A checkpoint with only the weights, enough to look at the model: with Adam, a third of the size."""
        return Checkpoint({f"weights.{name}": a for name, a in self.weights().items()}, self.meta)
