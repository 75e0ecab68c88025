"""What a run writes on a page: quotations are marked, and other authors write beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.i18n import translator
from rnnviz.runs.folder import BEST, Run
from rnnviz.runs.recording import Generation
from rnnviz.runs.reports import PredictionReport
from rnnviz.text.corpora import DATA
from rnnviz.text.quotation import Source, quoted_from
from rnnviz.ui.writing import places, summary
from tests.helpers import IdleEngine, open_app

TRAINING = "the cat sat on the mat and the dog sat on the log"


def painted(app: AppTest) -> list[dict[str, Any]]:
    """The data that the browser receives for each written text."""
    shown = [element.proto for element in app.main.get("bidi_component")]
    return [json.loads(proto.bytes) for proto in shown if proto.component_name == "rnnviz_painted_text"]


def test_a_text_is_summed_up_in_words() -> None:
    """The share of its characters, and its longest quotation; or that there is none."""
    quoted = quoted_from(TRAINING, "a cat sat on the dog sat on the")
    assert summary(quoted, str) == "97% quoted; the longest quotation has 19 characters:  the dog sat on the"
    assert summary(quoted_from(TRAINING, "the bat"), str) == "Nothing in it is quoted."
    assert "19 个字符" in summary(quoted, translator("zh"))


def test_each_quoted_character_says_where_it_comes_from() -> None:
    """By its first quotation, with the training text around it; other characters say nothing."""
    titles = places(quoted_from(TRAINING, "xx sat on the log"), TRAINING, str)
    assert titles[:2] == ["", ""]
    assert titles[2] == "from character 35 of the training text on: … and the dog sat on the log…"
    assert set(titles[2:]) == {titles[2]}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_quotations_are_marked_on_the_train_page(engine: IdleEngine, language: str) -> None:
    """In the example's newest text, character by character; spaces stay spaces."""
    run = Run.open(DATA / f"example-{language}")
    newest = [report for report in run.reports() if isinstance(report, PredictionReport)][-1]
    shown = painted(open_app("train", language))
    (text,) = (each for each in shown if each["characters"] == list(newest.text))
    quoted = Source(run.corpus.training).quoted(newest.text)
    assert text["marks"] == quoted.marked.tolist()
    assert sum(text["marks"]) > 8
    assert [bool(title) for title in text["titles"]] == text["marks"]


def test_n_gram_models_and_the_best_epoch_write_beside_it(
    engine: IdleEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each from the same prefix, as long as the others; a run without such a checkpoint offers none."""
    app = open_app("train", author="ngrams")
    texts = painted(app)
    prefix = len(texts[0]["characters"]) - 200
    assert [len(text["characters"]) for text in texts] == [prefix + 200] * 4
    assert BEST not in app.selectbox(key="author").options
    run = Run(tmp_path / "runs" / ("0" * 20))
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    shutil.copytree(DATA / "example-en", run.folder)
    run.save_checkpoint(run.load_checkpoint(), BEST)
    asked: list[dict[str, Any]] = []

    def compute(function: str, of: Run, **arguments: Any) -> Generation:
        asked.append({"function": function, "run": of.id, **arguments})
        return Generation("<b>", "<b>**river**</b>", np.zeros((0, 0), dtype=np.float32))

    monkeypatch.setattr(engine, "compute", compute, raising=False)
    app = open_app("train", run=run.id, author=BEST)
    ((text,), (call,)) = painted(app), asked
    assert "".join(text["characters"]) == "<b>**river**</b>"
    assert (call["function"], call["run"], call["checkpoint"]) == ("rnnviz.nn.execution:generate", run.id, BEST)
    assert (call["length"], call["temperature"]) == (200, 1.0)
    app.run()
    assert len(asked) == 1
    run.save_checkpoint(run.load_checkpoint(), BEST)  # of the same epoch, as after a run that was resumed
    app.run()
    assert len(asked) == 2
