"""Reports: values that survive a line of JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.runs.reports import (
    Checkpoint,
    EpochReport,
    FailureReport,
    PredictionReport,
    Report,
    StepReport,
    from_json,
    is_stored,
    to_csv,
    to_json,
)

STEP = StepReport(7, 2, 1.2345678901234567, 1120, 0.75, 0.01, {"layer1.forward.W_xz": 0.1, "W_hq": 1 / 3})
EPOCH = EpochReport(8, 2, 3.5, 9.25, 0.875, 0.75, 0.01, 12345.678, 1.9)
PREDICTION = PredictionReport(8, 2, "分开", "分开 我想要\n这样")
FAILURE = FailureReport(9, 3, "{what} became {value} in step {step}", {"what": "the loss", "value": "nan", "step": 10})


def through_json(report: Report) -> Report:
    """Pass a report through a line of reports.jsonl, which strict JSON readers can read as well."""
    line = json.dumps(to_json(report), allow_nan=False)
    assert "\n" not in line
    return from_json(json.loads(line))


@pytest.mark.parametrize("report", [STEP, EPOCH, PREDICTION, FAILURE], ids=lambda r: type(r).__name__)
def test_every_kind_of_report_survives_json(report: Report) -> None:
    """It has the same kind and the same values, including times."""
    back = through_json(report)
    assert type(back) is type(report)
    assert dataclasses.asdict(back) == dataclasses.asdict(report)


finite = st.floats(allow_nan=False, allow_infinity=False)
perplexities = st.floats(1, allow_nan=False)


@given(
    st.builds(
        StepReport,
        step=st.integers(0, 2**63 - 1),
        epoch=st.integers(0, 2**63 - 1),
        loss=finite,
        characters=st.integers(0, 2**63 - 1),
        norm_before=finite,
        norm_after=finite,
        norms=st.dictionaries(st.text(), finite),
    )
)
def test_any_step_report_survives_json(report: StepReport) -> None:
    """Floats are the same bit for bit, whatever the names are."""
    assert through_json(report) == report


@given(
    st.builds(
        EpochReport,
        step=st.integers(0, 2**63 - 1),
        epoch=st.integers(0, 2**63 - 1),
        perplexity=perplexities,
        held_out_perplexity=perplexities,
        known_share=st.floats(0, 1, exclude_min=True),
        norm_before=finite,
        norm_after=finite,
        characters_per_second=finite,
        seconds=finite,
    )
)
def test_any_epoch_report_survives_json(report: EpochReport) -> None:
    """This includes infinite perplexities, which JSON lacks."""
    back = through_json(report)
    assert back == report
    assert (back.seconds, back.characters_per_second) == (report.seconds, report.characters_per_second)


def test_infinite_perplexities_are_not_confused_with_absent_ones() -> None:
    """Infinity is read back as infinity; if nothing was held out, None is read back as None."""
    infinite = replace(EPOCH, perplexity=math.inf, held_out_perplexity=math.inf)
    assert to_json(infinite)["perplexity"] is None
    assert through_json(infinite) == infinite
    absent = replace(EPOCH, perplexity=math.inf, held_out_perplexity=None, known_share=None)
    assert through_json(absent) == absent


def test_without_known_characters_there_is_no_held_out_perplexity_even_after_json() -> None:
    """A share of 0 means that nothing was scored, not that the score was infinitely bad."""
    nothing_known = replace(EPOCH, held_out_perplexity=None, known_share=0.0)
    assert through_json(nothing_known) == nothing_known


def test_equality_ignores_times() -> None:
    """The same run on a faster machine gives equal reports; any other difference counts."""
    assert replace(EPOCH, seconds=99.0, characters_per_second=1.0) == EPOCH
    for name in ("step", "epoch", "perplexity", "held_out_perplexity", "known_share", "norm_before", "norm_after"):
        change: dict[str, Any] = {name: 0.5}
        assert replace(EPOCH, **change) != EPOCH


def test_reports_are_frozen() -> None:
    """What has happened does not change."""
    for report in (STEP, EPOCH, PREDICTION, FAILURE):
        with pytest.raises(dataclasses.FrozenInstanceError):
            report.step = 1  # type: ignore[misc]


def test_the_reason_of_a_failure_fills_in_its_values() -> None:
    """Message and values are separate for translation, and together for reading."""
    assert FAILURE.reason == "the loss became nan in step 10"
    back = through_json(FAILURE)
    assert isinstance(back, FailureReport)
    assert back.reason == FAILURE.reason


@pytest.mark.parametrize("kind", ["step", "epoch", "prediction", "failure"])
def test_json_has_the_kind(kind: str) -> None:
    """A reader in another language can distinguish the lines."""
    kinds = {to_json(r)["kind"] for r in (STEP, EPOCH, PREDICTION, FAILURE)}
    assert kind in kinds
    assert len(kinds) == 4


@pytest.mark.parametrize(
    "values", [{}, {"kind": "song"}, {"kind": "step"}, {"kind": "prediction", "extra": 1}], ids=str
)
def test_invalid_reports_are_refused(values: dict[str, object]) -> None:
    """An unknown kind or a missing or unknown field is a KeyError or a TypeError."""
    with pytest.raises((KeyError, TypeError)):
        from_json(values)


def test_checkpoint_weights_are_its_arrays_without_the_prefix() -> None:
    """The optimiser's memory and the carried state are not weights."""
    arrays = {name: np.full(2, i) for i, name in enumerate(("weights.W_hq", "weights.layer1.forward.b_z", "state.0.0"))}
    weights = Checkpoint(arrays | {"optimizer.0.step": np.zeros(1)}, {"step": 1}).weights()
    assert list(weights) == ["W_hq", "layer1.forward.b_z"]
    assert weights["W_hq"] is arrays["weights.W_hq"]
    assert weights["layer1.forward.b_z"] is arrays["weights.layer1.forward.b_z"]


def test_a_checkpoint_can_be_reduced_to_its_weights() -> None:
    """What is left is enough to look at the model but not to train on; the position is kept."""
    arrays = {name: np.full(2, i) for i, name in enumerate(("weights.W_hq", "weights.layer1.forward.b_z", "state.0.0"))}
    only = Checkpoint(arrays | {"optimizer.0.step": np.zeros(1)}, {"step": 1}).only_weights()
    assert list(only.arrays) == ["weights.W_hq", "weights.layer1.forward.b_z"]
    assert only.arrays["weights.W_hq"] is arrays["weights.W_hq"]
    assert only.meta == {"step": 1}


def test_csv_has_a_row_for_each_step_and_each_epoch() -> None:
    """Rows are in the order of the run, under one header; missing values are empty, and texts are left out."""
    rows = list(csv.DictReader(io.StringIO(to_csv([STEP, EPOCH, PREDICTION, FAILURE], reads_ahead=True))))
    assert [row["kind"] for row in rows] == ["step", "epoch"]
    step, epoch = rows
    assert (int(step["step"]), int(step["epoch"]), int(step["characters"])) == (7, 2, 1120)
    assert float(step["loss"]) == STEP.loss
    assert (float(step["norm_before"]), float(step["norm_after"])) == (0.75, 0.01)
    assert step["perplexity"] == epoch["loss"] == ""
    assert (float(epoch["perplexity"]), float(epoch["held_out_perplexity"])) == (3.5, 9.25)
    assert (float(epoch["known_share"]), float(epoch["seconds"])) == (0.875, 1.9)
    assert [row["future_read"] for row in rows] == ["True", "True"]
    assert list(csv.DictReader(io.StringIO(to_csv([], reads_ahead=False)))) == []


def test_the_longest_run_has_few_reports() -> None:
    """All steps of an ordinary run are kept; ten million give no more than sixty thousand lines."""
    step = StepReport(1, 1, 1.0, 1, 1.0, 1.0, {})
    assert all(is_stored(replace(step, step=n)) for n in range(1, 10_001))
    kept = [n for n in range(1, 100_001) if is_stored(replace(step, step=n))]
    assert len(kept) < 28_000
    gaps = {b - a for a, b in pairwise(kept)}
    assert gaps == {1, 2, 4, 8, 16}
    assert sum(is_stored(replace(step, step=n)) for n in range(9_000_001, 9_010_241)) == 10
