"""The Sequences page without a browser: what it shows is what the text and the mini-batches are."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.i18n import lesson_part
from rnnviz.sampling import cover, epoch_starts
from rnnviz.text import CORPORA, clean, read, split
from rnnviz.ui.sequences import MAX_TYPED
from tests.test_pages import charts, engine, open_app  # noqa: F401  engine is a fixture

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
    at: dict[tuple[float, float], str] = {}
    for trace in charts(app)[key]["data"]:
        if trace.get("mode") == "text":
            at |= {(y, x): s for x, y, s in zip(plain(trace["x"]), plain(trace["y"]), trace["text"], strict=True)}
    return "".join(at[place] for place in sorted(at))


def plain(values: Any) -> list[float]:
    """An array as Plotly's JSON has it: a list, or packed bytes."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).tolist()  # type: ignore[no-any-return]
    return list(values)


@pytest.mark.parametrize(("language", "title"), [("en", "Sequences"), ("zh", "序列数据")])
def test_it_opens_on_a_text_in_the_readers_language(language: str, title: str) -> None:
    """Its title, and the lesson's own text already cleaned, numbered and one-hot."""
    app = open_page(language)
    assert app.title[0].value == title
    example = lesson_part("sequences", language, "text")
    shown = signs(app, "vectors")
    assert shown.startswith(example.replace("\n", "↵").replace(" ", "␣"))
    T, V = len(example), len(set(clean(example)))
    assert f"({T}, {V})" in charts(app)["vectors"]["description"]
    assert not app.error


def test_a_typed_text_is_shown_and_gives_its_vocabulary_to_another() -> None:
    """A second text is encoded with the first one's vocabulary; what it lacks is counted."""
    app = open_page()
    app.text_area(key="typed").set_value("ab\ncab").run()
    assert signs(app, "vectors").startswith("ab↵cabab␣cab" + "120312")
    app.text_input(key="other").set_value("bad").run()
    assert signs(app, "vectors").startswith("badbad21−1")
    assert "1 are not in the vocabulary" in words(app)


@pytest.mark.parametrize(
    ("typed", "message"), [("   \n", "text is empty"), ("aaaa", "one character"), ("a", "one character")]
)
def test_a_text_that_is_no_text_is_told(typed: str, message: str) -> None:
    """Nothing, or one character over and over, has no vocabulary to speak of."""
    app = open_page(typed=typed)
    assert message in app.error[0].value
    assert "vectors" not in charts(app)


def test_our_text_follows_the_language_and_a_typed_one_stays() -> None:
    """Until a visitor types, the text is the lesson's, in the address as it is; what was typed is kept."""
    app = open_page()
    assert app.query_params["typed"] == lesson_part("sequences", "en", "text")
    app.session_state["lang"] = "zh"
    app.run()
    assert app.text_area(key="typed").value == lesson_part("sequences", "zh", "text")
    app.text_area(key="typed").set_value("ab").run()
    app.session_state["lang"] = "en"
    app.run()
    assert app.text_area(key="typed").value == app.query_params["typed"] == "ab"


def test_a_long_text_is_cut_and_says_so() -> None:
    """As many characters as stand side by side."""
    app = open_page()
    app.text_area(key="typed").set_value("the cat sat. " * 20).run()
    assert f"The first {MAX_TYPED} of 260 characters" in app.caption[0].value
    assert charts(app)["vectors"]["layout"]["meta"]["columns"] == MAX_TYPED
    assert "The first 60 of" in open_page(typed="ab" * 5000).caption[0].value


def test_markup_in_a_text_stays_text() -> None:
    """A user's signs reach the pictures one by one, and no Markdown at all."""
    text = "<b>[x](http://example.org)</b>"
    app = open_page(typed=text)
    assert signs(app, "vectors").startswith(text)
    assert text not in words(app)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", CHARTS)
def test_batches_open_filled(language: str, kind: str) -> None:
    """The painted text and X and Y of each kind of sampling, from the address, without an error."""
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
def test_the_words_count_what_the_picture_leaves_out(name: str, kind: Any) -> None:
    """Read, only a target, never seen: as the mini-batches of this epoch and seed have it."""
    app = open_page(kind=kind, corpus=name, epoch="3", order="5", chars="401", rows="3", steps="7", **BATCHES)
    coverage = cover(epoch_starts(kind, 401, 3, 7, seed=5, epoch=2), 7, 401)
    read, target, never = (int(kind.sum()) for kind in (coverage.is_input, coverage.only_target, coverage.never_seen))
    assert f"read {read} of 401 characters in epoch 3; {target} are only a target, {never} (" in words(app)
    names = {trace.get("name") for trace in charts(app)[f"painting-{kind}"]["data"]}
    assert (f"never seen: {never}" in names) is (never > 0)


def test_stepping_walks_through_the_mini_batches() -> None:
    """Next and Back move k, which is in the address; frames, X and the words about the state follow."""
    app = open_page(corpus="sums", **BATCHES)
    text = split(read("sums"), max_chars=300).training.replace(" ", "␣")
    assert "every row starts from a fresh state" in words(app)
    for k in (1, 2):
        app.button(key="k-next").click().run()
        assert app.query_params["k"] == str(k)
        begin = epoch_starts("sequential", 300, 4, 8, seed=0, epoch=0)[k]
        rows = [text[s : s + 8] + text[s + 1 : s + 9] for s in begin]
        assert signs(app, "windows-sequential") == "".join(rows)
        assert f"Mini-batch {k + 1}: each row carries on" in words(app)
    app.button(key="k-back").click().run()
    assert app.query_params["k"] == "1"
    app.select_slider(key="k").set_value(8).run()
    assert app.query_params["k"] == "8"


def test_epoch_and_seed_change_random_sampling_only() -> None:
    """Sequential sampling is the same in every epoch, and says so by leaving both out of reach."""
    first, second, seeded = (
        open_page(kind="both", epoch=e, order=s, **BATCHES) for e, s in (("1", "0"), ("2", "0"), ("1", "1"))
    )
    for other in (second, seeded):
        assert signs(first, "windows-sequential") == signs(other, "windows-sequential")
        assert signs(first, "windows-random") != signs(other, "windows-random")
    ordered = open_page(**BATCHES)
    assert ordered.number_input(key="epoch").disabled
    assert ordered.number_input(key="order").disabled


def test_settings_that_do_not_fit_are_told() -> None:
    """How many characters one mini-batch needs, and no picture; random sampling needs fewer."""
    query = {"chars": "100", "rows": "4", "steps": "25", **BATCHES}
    app = open_page(**query)
    assert "needs at least 104" in app.error[0].value
    assert "painting-sequential" not in charts(app)
    assert "needs at least 101" in open_page(kind="random", **query).error[0].value
    query["chars"] = "101"
    assert not open_page(kind="random", **query).error
    assert "needs at least 104" in open_page(kind="both", **query).error[0].value


def test_one_mini_batch_is_an_epoch_too() -> None:
    """A slider with one position, and the largest text in the smallest pieces."""
    assert not open_page(chars="20", rows="1", steps="19", **BATCHES).error
    app = open_page(kind="both", chars="2000", rows="1", steps="1", k="5000", **BATCHES)
    assert not app.error
    assert app.query_params["k"] == "1998"


@pytest.mark.parametrize("value", ["-1", "99999999999", "x", ""])
def test_nonsense_in_the_address_does_no_harm(value: str) -> None:
    """What is out of range or no number leaves every setting where it may be."""
    keys = ("chars", "rows", "steps", "epoch", "order")
    app = open_page(kind="random", k=value, **dict.fromkeys(keys, value), **BATCHES)
    for element in app.number_input:
        assert element.min <= element.value <= element.max
    assert "painting-random" in charts(app)


def test_a_step_is_answered_at_once() -> None:
    """Between two mini-batches the server needs a fraction of a second, also for the longest text."""
    for chars, limit in (("300", 0.6), ("2000", 1.2)):
        app = open_page(chars=chars, **BATCHES)
        began = time.perf_counter()
        app.button(key="k-next").click().run()
        assert time.perf_counter() - began < limit
