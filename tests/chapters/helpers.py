"""Helpers for tests of pages and lessons: what a page shows, and what a lesson claims."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from rnnviz.analysis.reading import Reading
from rnnviz.i18n import LANGUAGES, lesson_part, translator
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA

_NUMBER = r"(\d[\d,]*(?:\.\d+)?)"
OWN_TEXT = {"en": ("tales-en", "English tales"), "zh": ("lyrics-zh", "中文歌词")}


def groups(app: AppTest) -> list[dict[str, Any]]:
    """The data that the browser receives for each group of charts on the page."""
    shown = [element.proto for element in app.main.get("bidi_component")]
    return [json.loads(proto.bytes) for proto in shown if proto.component_name == "rnnviz_live_charts"]


def cells_of(app: AppTest) -> list[dict[str, Any]]:
    """What the browser is given for each cell view of the page."""
    shown = [element.proto for element in app.main.get("bidi_component")]
    return [json.loads(proto.bytes) for proto in shown if proto.component_name == "rnnviz_cell_view"]


def charts(app: AppTest) -> dict[str, Any]:
    """The data of each live chart on the page, by its name: figure and description."""
    return {chart["name"]: chart for group in groups(app) for chart in group["charts"]}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The numbers of a line, a heatmap or a column of a table as the browser receives them."""
    kind = {"f4": "<f4", "f8": "<f8"}[packed["dtype"]]
    shape = [int(n) for n in packed.get("shape", "-1").split(",")]
    return np.frombuffer(base64.b64decode(packed["bdata"]), kind).reshape(shape)


def by_step(app: AppTest, slider: str) -> list[str]:
    """The Markdown that the browser shows at each value of a slider."""
    (place,) = [block for block in containers(app.main) if block.proto.id.endswith(f"-by-{slider}")]
    (element,) = place.children.values()
    return str(element.value).split("\n\n")


def show_settings(app: AppTest) -> None:
    """Ask for all settings of the Train page's form."""
    app.button(key="all-settings").click().run()


def containers(block: Any) -> Iterator[Any]:
    """All containers within a block."""
    for child in getattr(block, "children", {}).values():
        if hasattr(child.proto, "flex_container"):
            yield child
        yield from containers(child)


def said(page: str, part: str, words: str = "", **translated: str) -> list[float]:
    """The numbers at each # of a sentence, which must be in a part of a lesson with the same numbers in every language.

    `translated` has the sentence in each language where they differ. An … stands for any words in between.
    """
    found = []
    for language in LANGUAGES:
        sentence = translated.get(language, words)
        pattern = re.escape(sentence).replace(r"\#", _NUMBER).replace("…", ".*?")
        match = re.search(pattern, lesson_part(page, language, part), re.DOTALL)
        assert match, f"{page}, {part}, {language}: {sentence}"
        found.append([float(number.replace(",", "")) for number in match.groups()])
    assert all(numbers == found[0] for numbers in found), found
    return found[0]


def refers_to(page: str, part: str, *labels: str) -> None:
    """Check that the lesson calls what is on the page by its label, in every language."""
    for language in LANGUAGES:
        for label in labels:
            assert translator(language)(label).lower() in lesson_part(page, language, part).lower(), (label, language)


def run_code(page: str, part: str, language: str) -> dict[str, Any]:
    """The names that a lesson's example code defines, after running it."""
    (code,) = re.findall(r"```python\n(.*?)```", lesson_part(page, language, part), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  our own lesson
    return names


def shipped_example(language: str) -> Run:
    """The trained run on which Home and Train open in a language."""
    folders = (DATA / f"example-{language}", DATA / "example")
    return Run.open(next(folder for folder in folders if folder.is_dir()))


def shipped_reading(name: str) -> Reading:
    """A shipped run reading the text of its recording."""
    run = Run.open(DATA / name)
    trace = run.recording()
    assert trace is not None
    return Reading.of(trace, run.load_checkpoint().weights(), run.corpus.vocabulary)


def epochs_of(run: Run) -> list[EpochReport]:
    return [report for report in run.reports() if isinstance(report, EpochReport)]


def check_example(page: str) -> None:
    """Check the sentence about the example run, its hidden units, its characters and its text, in each language."""
    hidden, characters = said(
        page, "example", en="GRU of # hidden units … # characters", zh="# 个隐藏单元的 GRU…# 个字符"
    )
    for language, (corpus, name) in OWN_TEXT.items():
        run = shipped_example(language)
        assert (run.config.model.cell, run.config.model.hidden_size) == ("gru", hidden)
        assert len(run.corpus.training) == run.config.max_chars == characters
        assert name in lesson_part(page, language, "example")
        assert run.folder.name == "example" or run.config.corpus == corpus
