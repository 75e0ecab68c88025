"""The Language model page without a browser: it shows the model's numbers and keeps the visitor's input."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.chapters.language_model import MAX_SENTENCE, SENTENCES
from rnnviz.figures.language_model import scientific
from rnnviz.i18n import quantity
from rnnviz.text.corpora import CORPORA, read, split
from rnnviz.text.ngram import MAX_ORDER, NgramModel, fit_ngrams
from tests.chapters.helpers import charts
from tests.helpers import open_app

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def open_page(language: str = "en", **query: str) -> AppTest:
    return open_app("language_model", language, **query)


def metrics(app: AppTest) -> list[str]:
    return [metric.value for metric in app.metric]


def sums_of(app: AppTest) -> dict[str, Any]:
    """What the browser is given for the sum of each step."""
    shown = [element.proto for element in app.main.get("bidi_component")]
    (sums,) = [json.loads(proto.bytes) for proto in shown if proto.component_name == "rnnviz_term_sum"]
    assert isinstance(sums, dict)
    return sums


def steps_of(sums: list[list[list[str]]]) -> list[int]:
    """The t of each sum P(x_t | …) = …."""
    return [int(t) for (symbol, _total), *_terms in sums for t in re.findall(r"P\(x_{(\d+)} \| …\)", symbol)]


def model_of(name: str, length: int = 10_000) -> NgramModel:
    return fit_ngrams(split(read(name), name, max_chars=length).training)


@pytest.mark.parametrize(
    ("language", "title", "corpus"), [("en", "Language model", "tales-en"), ("zh", "语言模型", "lyrics-zh")]
)
def test_it_opens_in_each_language_on_a_corpus_and_a_sentence(language: str, title: str, corpus: str) -> None:
    """It has a title, four figures and six texts; corpus and sentence are in the address even if nobody chose them."""
    app = open_page(language)
    assert app.title[0].value == title
    assert [bool(charts(app)[key]["data"]) for key in ("chain", "next", "orders", "growth")] == [True] * 4
    assert app.query_params["corpus"] == corpus
    assert app.query_params["sentence"] == app.text_input(key="sentence").value == SENTENCES[corpus]
    assert sum(code.value.startswith(SENTENCES[corpus]) for code in app.code) == MAX_ORDER


@pytest.mark.parametrize("name", CORPORA)
def test_the_totals_are_the_models(name: str) -> None:
    """P, log P and perplexity are right for each corpus's own sentence, all of whose characters are known."""
    app = open_page(corpus=name, n="3")
    chain = model_of(name).chain(SENTENCES[name], 3)
    nats = float(chain.log_probabilities[-1])
    T = len(SENTENCES[name])
    assert metrics(app) == [scientific(nats), quantity(nats), quantity(chain.perplexity), f"{T} / {T}"]
    assert SENTENCES[name] not in read(name)


def test_the_figures_hold_the_models_numbers() -> None:
    """Bars are the terms, curves the perplexities and counts of the chosen text and length."""
    app = open_page(corpus="sums", length="3000", n="2", sentence="1+1=2")
    corpus = split(read("sums"), "sums", max_chars=3000)
    model = fit_ngrams(corpus.training)
    bars = [trace for trace in charts(app)["chain"]["data"] if trace["type"] == "bar"]
    assert [values(bar["y"]) for bar in bars] == pytest.approx(model.chain("1+1=2", 2).terms.T)
    _uniform, ours, theirs = charts(app)["orders"]["data"]
    assert values(ours["y"]) == pytest.approx(model.perplexities(corpus.training))
    assert values(theirs["y"]) == pytest.approx(model.perplexities(corpus.held_out))
    _length, possible, seen = charts(app)["growth"]["data"]
    assert values(possible["y"]) == pytest.approx(model.counts.possible())
    assert values(seen["y"]) == pytest.approx(model.counts.seen())


def test_counts_are_shown_in_full() -> None:
    """They are whole numbers with separated thousands: neither 57.0 nor 1,100 for 1,102."""
    app = open_page("zh")
    model = model_of("lyrics-zh")
    possible, seen = model.counts.possible(), model.counts.seen()
    said = charts(app)["growth"]["description"]
    assert all(f"{count:,}" in said for count in (possible[0], possible[-1], seen[0], seen[-1]))
    assert 900 < possible[0] == seen[0] < 1000 < seen[-1]
    assert f"{possible[0]:,}" in charts(app)["orders"]["description"]


def values(array: Any) -> list[float]:
    """A list from Plotly's JSON, which has numbers, or bytes in base64."""
    if isinstance(array, list):
        return array
    numbers: list[float] = np.frombuffer(base64.b64decode(array["bdata"]), dtype=array["dtype"]).tolist()
    return numbers


def test_order_step_and_highlighted_term_change_the_picture_and_the_address() -> None:
    """Each control keeps its value in the address, and the sum follows: total, P₆ … P₁, 1/V."""
    app = open_page()
    app.segmented_control(key="n").set_value("2").run()
    assert len([t for t in charts(app)["chain"]["data"] if t["type"] == "bar"]) == 3
    app.query_params["t"] = "5"  # as the browser would write it
    app.run()
    sums = sums_of(app)
    assert (sums["slider"], sums["lit"]) == ("t", None)
    assert steps_of(sums["steps"]) == list(range(1, len(SENTENCES["tales-en"]) + 1))
    app.segmented_control(key="lit").set_value("1").run()
    sums = sums_of(app)
    assert all(terms[sums["lit"]][0].startswith("λ_{1} P_{1}(x_") for terms in sums["steps"])
    assert sums["colours"][1:] == [bar["marker"]["color"] for bar in reversed(charts(app)["chain"]["data"][:3])]
    assert {"n": "2", "t": "5", "lit": "1"}.items() <= dict(app.query_params).items()
    app.segmented_control(key="n").set_value("6").run()
    assert all("P_{6}" in terms[1][0] for terms in sums_of(app)["steps"])


def test_a_visitors_sentence_stays_when_the_corpus_changes() -> None:
    """The default sentence is replaced by the next corpus's, but not one that a visitor typed."""
    app = open_page()
    app.selectbox(key="corpus").set_value("sums").run()
    assert app.query_params["sentence"] == SENTENCES["sums"]
    app.text_input(key="sentence").set_value("9+9=18").run()
    app.selectbox(key="corpus").set_value("brackets").run()
    assert app.query_params["sentence"] == app.text_input(key="sentence").value == "9+9=18"
    assert "occurs in the training text" in app.error[0].value


def test_a_link_opens_exactly_what_it_names() -> None:
    """It names corpus, length, order, step, highlighted term, sentence and dice, whatever the browser's language."""
    asked = {"corpus": "tales-en", "length": "3000", "n": "5", "t": "2", "lit": "3", "sentence": "a cat", "dice": "7"}
    app = open_page("zh", **asked)
    assert asked.items() <= dict(app.query_params).items()
    assert metrics(app)[2] == quantity(model_of("tales-en", 3000).chain("a cat", 5).perplexity)


def test_write_again_uses_another_seed() -> None:
    """It writes six other texts, and the address leads back to them."""
    app = open_page()
    before = [code.value for code in app.code]
    app.button(key="write").click().run()
    after = [code.value for code in app.code]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == MAX_ORDER
    assert [code.value for code in open_page(dice=app.query_params["dice"]).code] == after


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("", "sentence is empty"),
        ("a" * (MAX_SENTENCE + 1), "has 201 characters; allowed: at most 200"),
        ("分开", "no character of the sentence occurs in the training text"),
    ],
)
def test_a_sentence_that_cannot_be_scored_is_reported(sentence: str, message: str) -> None:
    """The reason is beside the box, and the rest of the page is still shown."""
    app = open_page(sentence=sentence)
    assert message in app.error[0].value.replace("\\", "").lower()
    assert charts(app)["orders"]["data"]


@pytest.mark.parametrize("sentence", ["a", "Ω the", "the Ω", "x" * MAX_SENTENCE, "<b>$x$ [a](b)`", "line\nbreak"])
def test_odd_sentences_are_drawn(sentence: str) -> None:
    """Tested with one character, unknown characters, the longest sentence, and markup: known characters are scored."""
    app = open_page(sentence=sentence, t="0")
    vocabulary = model_of("tales-en").vocabulary
    known = sum(character in vocabulary for character in sentence.replace("\n", " "))
    assert metrics(app)[3] == f"{known} / {len(sentence)}"
    assert not app.error


def test_a_step_on_an_unknown_character_is_described_as_not_scored() -> None:
    """Instead of a sum, which every other step of the longest sentence has."""
    *known, unknown, after = sums_of(open_page(sentence="a" * (MAX_SENTENCE - 2) + "Ωa", t="4"))["steps"]
    assert "not scored" in unknown
    assert steps_of([*known, after]) == [*range(1, MAX_SENTENCE - 1), MAX_SENTENCE]


def test_a_visitors_own_text_is_modelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nothing is pasted, a reason is shown and no figures; then the model is fitted on what was pasted."""
    box = [""]
    monkeypatch.setattr("rnnviz.ui.forms.pasted_text", lambda frame: box[0])
    app = open_page(corpus="paste")
    assert not charts(app)
    assert [caption.value for caption in app.caption] == ["The box is empty: paste or type a text first."]
    box[0] = "ab"
    assert charts(app.run())["growth"]["data"]
    box[0] = "the cat sat on the mat. " * 9
    assert app.run().text_input(key="sentence").value == box[0][:20]
    box[0] = "aaaa"
    assert "one character" in app.run().error[0].value
