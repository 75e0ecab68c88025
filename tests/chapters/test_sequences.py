"""The Sequences page without a browser: it shows what the text and the mini-batches are."""

from __future__ import annotations

import base64
import time
from typing import Any, cast

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.chapters.sequences import MAX_TYPED
from rnnviz.i18n import lesson_part
from rnnviz.text.corpora import CORPORA, clean, read, split
from rnnviz.text.sampling import cover, epoch_starts
from tests.chapters.helpers import charts
from tests.helpers import open_app, patched

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
BATCHES = {"part": "batches"}
CHARTS = {
    "sequential": ["painting-sequential", "windows-sequential"],
    "random": ["painting-random", "windows-random"],
    "both": ["painting-sequential", "windows-sequential", "painting-random", "windows-random"],
}


def open_page(language: str = "en", **query: str) -> AppTest:
    return open_app("sequences", language, **query)


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in app.main.markdown)


def signs(app: AppTest, key: str) -> str:
    """All characters of a grid, line by line."""
    return signs_of(charts(app)[key])


def signs_of(chart: dict[str, Any]) -> str:
    at: dict[tuple[float, float], str] = {}
    for trace in chart["data"]:
        if trace.get("mode") == "text":
            at |= {(y, x): s for x, y, s in zip(plain(trace["x"]), plain(trace["y"]), trace["text"], strict=True)}
    return "".join(at[place] for place in sorted(at))


def plain(values: Any) -> list[float]:
    """An array from Plotly's JSON, which has a list, or packed bytes."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).tolist()  # type: ignore[no-any-return]
    return list(values)


@pytest.mark.parametrize(("language", "title"), [("en", "Sequences"), ("zh", "序列数据")])
def test_it_opens_on_a_text_in_the_readers_language(language: str, title: str) -> None:
    """It shows its title and the lesson's own text, already cleaned, numbered and one-hot."""
    app = open_page(language)
    assert app.title[0].value == title
    example = lesson_part("sequences", language, "text")
    shown = signs(app, "vectors")
    assert shown.startswith(example.replace("\n", "↵").replace(" ", "␣"))
    T, V = len(example), len(set(clean(example)))
    assert f"({T}, {V})" in charts(app)["vectors"]["description"]
    assert not app.error


def test_another_text_is_encoded_with_the_typed_texts_vocabulary() -> None:
    """Characters that the vocabulary lacks are counted."""
    app = open_page()
    app.text_area(key="typed").set_value("ab\ncab").run()
    assert signs(app, "vectors").startswith("ab↵cabab␣cab" + "120312")
    app.text_input(key="other").set_value("bad").run()
    assert signs(app, "vectors").startswith("badbad21−1")
    assert "1 are not in the vocabulary" in words(app)


@pytest.mark.parametrize(
    ("typed", "message"), [("   \n", "text is empty"), ("aaaa", "one character"), ("a", "one character")]
)
def test_a_text_without_a_vocabulary_is_reported(typed: str, message: str) -> None:
    """It is empty, or one character over and over."""
    app = open_page(typed=typed)
    assert message in app.error[0].value
    assert "vectors" not in charts(app)


def test_the_default_text_follows_the_language_and_a_typed_one_stays() -> None:
    """Until a visitor types, box and address have the lesson's text in the page's language; a typed text is kept."""
    app = open_page()
    assert app.query_params["typed"] == lesson_part("sequences", "en", "text")
    app.session_state["lang"] = "zh"
    app.run()
    assert app.text_area(key="typed").value == lesson_part("sequences", "zh", "text")
    app.text_area(key="typed").set_value("ab").run()
    app.session_state["lang"] = "en"
    app.run()
    assert app.text_area(key="typed").value == app.query_params["typed"] == "ab"


def test_a_long_text_is_cut_and_the_page_says_so() -> None:
    """It is cut to as many characters as fit side by side."""
    app = open_page()
    app.text_area(key="typed").set_value("the cat sat. " * 20).run()
    assert f"The first {MAX_TYPED} of 260 characters" in app.caption[0].value
    assert charts(app)["vectors"]["layout"]["meta"]["columns"] == MAX_TYPED
    assert "The first 60 of" in open_page(typed="ab" * 5000).caption[0].value


def test_markup_in_a_text_stays_text() -> None:
    """A user's characters reach the pictures one by one, and never as Markdown."""
    text = "<b>[x](http://example.org)</b>"
    app = open_page(typed=text)
    assert signs(app, "vectors").startswith(text)
    assert text not in words(app)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", CHARTS)
def test_the_batches_view_opens_filled(language: str, kind: str) -> None:
    """It shows the painted text and X and Y of the kind of sampling in the address, without an error."""
    app = open_page(language, kind=kind, **BATCHES)
    assert not app.error
    assert [key for key in CHARTS["both"] if key in charts(app)] == CHARTS[kind]
    corpus = {"en": "tales-en", "zh": "lyrics-zh"}[language]
    assert app.query_params["corpus"] == corpus
    text = split(read(corpus), max_chars=300).training
    painting = signs(app, CHARTS[kind][0])
    assert painting == text.replace(" ", "␣")


@pytest.mark.parametrize("kind", ["sequential", "random"])
@pytest.mark.parametrize("name", CORPORA)
def test_the_description_counts_what_the_picture_leaves_out(name: str, kind: Any) -> None:
    """Characters that are read, only a target or never seen are those of this epoch's mini-batches with this seed."""
    app = open_page(kind=kind, corpus=name, epoch="3", order="5", chars="401", rows="3", steps="7", **BATCHES)
    coverage = cover(epoch_starts(kind, 401, 3, 7, seed=5, epoch=2), 7, 401)
    read, target, never = (int(kind.sum()) for kind in (coverage.is_input, coverage.only_target, coverage.never_seen))
    assert f"read {read} of 401 characters in epoch 3; {target} are only a target, {never} (" in words(app)
    names = {trace.get("name") for trace in charts(app)[f"painting-{kind}"]["data"]}
    assert (f"never seen: {never}" in names) is (never > 0)


def test_stepping_walks_through_the_mini_batches() -> None:
    """The browser has X and Y of all of them; the description of the state is that of the one in the address."""
    app = open_page(corpus="sums", **BATCHES)
    text = split(read("sums"), max_chars=300).training.replace(" ", "␣")
    assert "every row starts from a fresh state" in words(app)
    first = dict(charts(app)["windows-sequential"])
    starts = epoch_starts("sequential", 300, 4, 8, seed=0, epoch=0)
    for patch, begin in zip(first.pop("frames"), starts, strict=True):
        rows = [text[s : s + 8] + text[s + 1 : s + 9] for s in begin]
        assert signs_of(patched(first, patch)) == "".join(rows)
    for k in (1, 8):
        app.query_params["k"] = str(k)
        app.run()
        assert f"Mini-batch {k + 1}: each row carries on" in words(app)


def test_epoch_and_seed_change_random_sampling_only() -> None:
    """Sequential sampling is the same in every epoch, so both controls are disabled for it."""
    first, second, seeded = (
        open_page(kind="both", epoch=e, order=s, **BATCHES) for e, s in (("1", "0"), ("2", "0"), ("1", "1"))
    )
    for other in (second, seeded):
        assert signs(first, "windows-sequential") == signs(other, "windows-sequential")
        assert signs(first, "windows-random") != signs(other, "windows-random")
    ordered = open_page(**BATCHES)
    assert ordered.number_input(key="epoch").disabled
    assert ordered.number_input(key="order").disabled


def test_settings_that_do_not_fit_are_reported() -> None:
    """The message says how many characters a mini-batch needs, and no picture is shown; random sampling needs fewer."""
    query = {"chars": "100", "rows": "4", "steps": "25", **BATCHES}
    app = open_page(**query)
    assert "needs at least 104" in app.error[0].value
    assert "painting-sequential" not in charts(app)
    assert "needs at least 101" in open_page(kind="random", **query).error[0].value
    query["chars"] = "101"
    assert not open_page(kind="random", **query).error
    assert "needs at least 104" in open_page(kind="both", **query).error[0].value


def test_a_single_mini_batch_is_an_epoch() -> None:
    """Its slider has one position; the largest text in the smallest pieces also works; the browser gets one of them."""
    assert not open_page(chars="20", rows="1", steps="19", **BATCHES).error
    text = split(read("sums"), max_chars=2000).training.replace(" ", "␣")
    app = open_page(kind="both", corpus="sums", chars="2000", rows="1", steps="1", k="1500", **BATCHES)
    assert not app.error
    assert "frames" not in charts(app)["painting-random"]
    assert signs(app, "windows-sequential") == text[1500:1502]


@pytest.mark.parametrize("value", ["-1", "99999999999", "x", ""])
def test_nonsense_in_the_address_does_no_harm(value: str) -> None:
    """A value that is out of range or not a number leaves every setting at an allowed value."""
    keys = ("chars", "rows", "steps", "epoch", "order")
    app = open_page(kind="random", k=value, **dict.fromkeys(keys, value), **BATCHES)
    for element in cast("list[Any]", app.number_input):  # Streamlit declares that they may have no limits
        assert element.min <= element.value <= element.max
    assert "painting-random" in charts(app)


def test_a_step_is_answered_at_once() -> None:
    """The server needs a fraction of a second to describe another mini-batch, even for the longest text."""
    for chars, limit in (("300", 0.6), ("2000", 1.2)):
        app = open_page(chars=chars, **BATCHES)
        began = time.perf_counter()
        app.query_params["k"] = "3"
        app.run()
        assert time.perf_counter() - began < limit
