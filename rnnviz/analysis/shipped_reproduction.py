"""A reproduction as it ships in `data/`: every epoch of every run as numbers, without the runs themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, cast

from rnnviz.analysis.published import TABLES
from rnnviz.analysis.reproduction import Machine, Outcome, Plan, Result
from rnnviz.config import TrainConfig
from rnnviz.runs import reports
from rnnviz.runs.reports import EpochReport, FailureReport
from rnnviz.text.corpora import DATA, corpus_of

SHIPPED = DATA / "reproduction"
_DIGITS = 6


@dataclass(frozen=True)
class Shipped:
    """A plan with what was reached, and on what machine."""

    plan: Plan
    results: tuple[Result, ...]
    machine: Machine


def to_json(plan: Plan, results: Sequence[Result], machine: Machine) -> dict[str, Any]:
    """What `from_json` reads back, with six digits of every number. Its corpus is one of ours."""
    return {
        "table": plan.table.name,
        "corpus": plan.corpus.name,
        "implementation": plan.implementation,
        "seeds": list(plan.seeds),
        "epochs": plan.epochs,
        "machine": asdict(machine),
        "results": {result.experiment.name: [_pack(outcome) for outcome in result.outcomes] for result in results},
    }


def _pack(outcome: Outcome) -> dict[str, Any]:
    """The reports of all epochs field by field, which takes less room than report by report."""
    rows = [reports.to_json(report) for report in outcome.epochs]
    columns = {f.name: [_short(row[f.name]) for row in rows] for f in fields(EpochReport)}
    failure = outcome.failure and reports.to_json(outcome.failure)
    return {"seed": outcome.seed, "epochs": columns, "texts": dict(outcome.texts), "failure": failure}


def _short(value: float | None) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def from_json(values: Mapping[str, Any]) -> Shipped:
    """The reproduction that `to_json` wrote."""
    table = TABLES[values["table"]]
    experiments = tuple(table.experiments[name] for name in values["results"])
    plan = Plan(
        corpus_of(TrainConfig(corpus=values["corpus"])),
        experiments,
        values["implementation"],
        tuple(values["seeds"]),
        values["epochs"],
        table=table,
    )
    results = tuple(
        Result(plan, experiment, tuple(map(_unpack, values["results"][experiment.name]))) for experiment in experiments
    )
    return Shipped(plan, results, Machine(**values["machine"]))


def _unpack(values: Mapping[str, Any]) -> Outcome:
    columns: dict[str, list[Any]] = values["epochs"]
    rows = zip(*columns.values(), strict=True)
    epochs = [reports.from_json({"kind": "epoch", **dict(zip(columns, row, strict=True))}) for row in rows]
    told = tuple(report for report in epochs if isinstance(report, EpochReport))
    failure = reports.from_json(values["failure"]) if values["failure"] else None  # an older file has "" for none
    return Outcome(values["seed"], told, values["texts"], cast("FailureReport | None", failure))


@cache
def shipped(table: str) -> Shipped:
    """The reproduction of a table that comes with the app."""
    return from_json(json.loads((SHIPPED / f"{table}.json").read_text(encoding="utf-8")))
