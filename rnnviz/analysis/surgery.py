"""Gate surgery: which gates are held at which values, written as in `Z=1`, `R=0@3,17` or `F=1:9-30`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rnnviz.cells import Array, Cell, Signals
from rnnviz.errors import InputError

_MAX_HOLDS = 16
_HOLD = re.compile(
    r"(?P<gate>\w{1,8})=(?P<value>[01](\.\d{1,6})?)(@(?P<units>\d{1,5}(,\d{1,5})*))?(:(?P<first>\d{1,6})-(?P<last>\d{1,6})?)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Hold:
    """A gate held at a value: for all units or the given ones, at all steps or from the `first` to the `last`.

    Steps are counted from 1, as they are on the page. A `last` of None is the end of the text.
    """

    gate: str
    value: float
    units: tuple[int, ...] | None = None
    first: int = 1
    last: int | None = None

    def at(self, t: int) -> bool:
        """Whether it holds while character `text[t]` is read."""
        return self.first <= t + 1 and (self.last is None or t + 1 <= self.last)


@dataclass(frozen=True)
class Operated:
    """A text written again with gates held, from the same seed, and the effect on perplexity.

    `before` and `after` begin with the same prefix. The perplexities, without and with the gates held at every
    step, are those of the first characters of the training text and of the text held out; None where there are
    not even two.
    """

    prefix: str
    before: str
    after: str
    training: tuple[float, float] | None
    held_out: tuple[float, float] | None

    @property
    def differing(self) -> list[bool]:
        """For each character, whether the two texts differ there."""
        return [a != b for a, b in zip(self.before, self.after, strict=True)]


def parse_holds(text: str, cell: Cell, hidden_size: int) -> tuple[Hold, ...]:
    """Parse holds separated by semicolons. Raises InputError where the cell has no such gate or unit."""
    parts = [part for part in text.split(";") if part]
    if len(parts) > _MAX_HOLDS:
        raise InputError("{count:,} gates are held; allowed: at most {most}", count=len(parts), most=_MAX_HOLDS)
    holds = tuple(_parse_hold(part, cell, hidden_size) for part in parts)
    if len({hold.gate for hold in holds}) < len(holds):
        raise InputError("a gate is held twice in {what}; allowed: once", what=text[:80])
    return holds


def _parse_hold(part: str, cell: Cell, hidden_size: int) -> Hold:
    said = _HOLD.fullmatch(part)
    units = tuple(int(unit) for unit in said["units"].split(",")) if said and said["units"] else None
    first, last = (int(said["first"] or 1), int(said["last"]) if said["last"] else None) if said else (0, None)
    if (
        not said
        or said["gate"] not in cell.gates
        or float(said["value"]) > 1
        or max(units or (0,)) >= hidden_size
        or first < 1
        or (last is not None and last < first)
    ):
        raise InputError(
            "{what} does not say which gate to hold; allowed: one of {gates}, a value from 0 to 1, units below "
            "{units:,} and steps from 1, as in {example}",
            what=part[:80],
            gates=", ".join(cell.gates),
            units=hidden_size,
            example=f"{cell.main}=0.5@0,3:1-20",
        )
    return Hold(said["gate"], float(said["value"]), units, first, last)


def held(gates: Signals, holds: Sequence[Hold]) -> Signals:
    """Gates (B, h) with the held values put in place. Works on torch tensors and NumPy arrays alike."""
    gates = dict(gates)
    for hold in holds:
        gates[hold.gate] = _held(gates[hold.gate], hold)
    return gates


def _held(gate: Array, hold: Hold) -> Array:
    operated = gate * 0 + hold.value
    if hold.units is not None:
        others = [unit for unit in range(gate.shape[-1]) if unit not in hold.units]
        operated[..., others] = gate[..., others]
    return operated
