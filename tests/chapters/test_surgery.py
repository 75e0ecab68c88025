"""The tabs that find a unit and operate on gates, on both pages, with the workers' functions called directly."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from rnnviz.analysis.surgery import parse_holds
from rnnviz.cells import CellName, find_cell
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import StepReport
from rnnviz.text.corpora import DATA
from rnnviz.ui.surgery import LENGTH, operations
from tests.chapters.helpers import charts
from tests.helpers import IdleEngine, open_app

pytestmark = [
    # Dask and Tornado leave sockets open until the interpreter ends in the process that tests them.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PAGES = pytest.mark.parametrize("page", ["gru", "lstm"])


@pytest.fixture(autouse=True)
def _workers(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer calls to workers at once, in this process."""

    def compute(self: IdleEngine, function: str, run: Any = None, *, visitor: str = "", **arguments: Any) -> Any:
        folder = {"folder": str(run.folder)} if run else {}
        return resolve_name(function)(**folder, **arguments)

    monkeypatch.setattr(IdleEngine, "compute", compute, raising=False)
    st.cache_data.clear()


def painted(app: AppTest) -> list[dict[str, Any]]:
    """The data that the browser receives for each painted text."""
    shown = [element.proto for element in app.main.get("bidi_component")]
    return [json.loads(proto.bytes) for proto in shown if proto.component_name == "rnnviz_painted_text"]


def told(app: AppTest) -> str:
    """The sentence about the best unit."""
    (said,) = [m.value for m in app.markdown if "r = " in m.value and "frac" not in m.value]
    return said


@PAGES
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_best_unit_is_named_and_painted(page: str, language: str) -> None:
    """Its name is above the picture of all units; the text has a colour for each character."""
    app = open_app(page, language, tab="find")
    assert not app.error
    said = told(app)
    assert ("单元" if language == "zh" else "unit ") in said
    assert "ranking" in charts(app)
    (text,) = painted(app)
    assert len(text["characters"]) == len(text["colours"]) == len(text["titles"]) > 300
    assert sum(text["marks"]) > 10


def test_a_unit_follows_the_brackets() -> None:
    """On the shipped LSTM the best unit for brackets follows them far better than chance."""
    app = open_app("lstm", tab="find", model="lstm-brackets")
    said = told(app)
    assert "**C̃ · unit 41**" in said
    assert "r = −0.71" in said
    assert "reaches 0.09 once in 20 shifts" in said


def test_a_visitors_expression_is_ranked_or_refused() -> None:
    """It is in the address and in the box; an invalid one is reported."""
    app = open_app("gru", tab="find", feature="expression", expression=r"\b[a-z]")
    assert "r = " in told(app)
    app.text_input(key="expression").set_value("(").run()
    assert "The expression cannot be read" in app.error[0].value
    app.text_input(key="expression").set_value("(a|[^a])+?(?<=(.+)+)Q").run()
    assert "match" in app.error[0].value or "seconds" in app.error[0].value


@PAGES
def test_every_shipped_operation_fits_its_cell(page: CellName) -> None:
    """There are five on each page, and each has a question."""
    shipped = operations(page, str)
    assert len(shipped) == 5
    for operation in shipped.values():
        assert parse_holds(operation.holds, find_cell(page), 64)
        assert "?" in operation.predict


@PAGES
def test_an_operation_is_compared_with_the_original_text(page: str) -> None:
    """Two texts that begin alike are shown, with the differences marked in both, and the cost of holding."""
    app = open_app(page, tab="surgery")
    assert not app.error
    before, after = painted(app)
    assert len(before["characters"]) == len(after["characters"]) > LENGTH
    differs = [a != b for a, b in zip(before["characters"], after["characters"], strict=True)]
    assert before["marks"] == after["marks"] == differs
    *costs, number = app.metric
    assert [cost.label for cost in costs] == [
        "Training perplexity, gates held throughout",
        "Held-out perplexity, gates held throughout",
    ]
    assert all("→" in cost.value for cost in costs)
    assert number.value == f"{sum(differs)} / {LENGTH}"
    assert "Predict first" in app.info[0].value


def cell_shown(app: AppTest) -> dict[str, Any]:
    """The data that the browser receives for the cell view."""
    shown = [element.proto for element in app.main.get("bidi_component")]
    (packed,) = [json.loads(proto.bytes) for proto in shown if proto.component_name == "rnnviz_cell_view"]
    return dict(packed)


def test_the_cell_of_a_run_that_trained_on_is_shown_anew(tmp_path: Path) -> None:
    """The browser keeps a view whose revision it already has, so the revision changes with the run's reports."""
    run_id = secrets.token_hex(10)
    shutil.copytree(DATA / "gru-en", tmp_path / "runs" / run_id)
    app = open_app("gru", tab="cell", run=run_id, model="own")
    before = cell_shown(app)["revision"]
    assert cell_shown(app.run())["revision"] == before
    Run.find(run_id).append([StepReport(10**6, 10**3, 1.0, 10, 1.0, 1.0, {})])
    assert cell_shown(app.run())["revision"] != before


def test_a_visitors_holds_come_from_the_address_and_the_box() -> None:
    """The cell view begins with them; other holds get a new revision; a gate that the cell lacks is refused."""
    app = open_app("gru", tab="surgery", operation="own", holds="Z=1@3,5:2-9")
    packed = cell_shown(app)
    assert packed["held"] == {"Z": {"value": 1.0, "unit": [3, 5], "first": 2, "last": 9}}
    app.text_input(key="holds").set_value("Z=0").run()
    assert cell_shown(app)["held"]["Z"]["value"] == 0.0
    assert cell_shown(app)["revision"] != packed["revision"]
    app.text_input(key="holds").set_value("F=1").run()
    assert "F\\=1" in app.error[0].value or "F=1" in app.error[0].value
