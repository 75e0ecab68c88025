"""The language model's page without a browser: what it shows are the model's numbers, what it is given is kept."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.i18n import quantity
from rnnviz.ngram import MAX_ORDER, NgramModel, fit_ngrams
from rnnviz.ngram_figures import scientific
from rnnviz.text import CORPORA, read, split
from rnnviz.ui.ngrams import MAX_SENTENCE, SENTENCES
from tests.test_pages import charts, engine, open_app  # noqa: F401  engine is a fixture

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def open_page(language: str = "en", **query: str) -> AppTest:
    return open_app("language_model", language, **query)


def metrics(app: AppTest) -> list[str]:
    return [metric.value for metric in app.metric]


def model_of(name: str, length: int = 10_000) -> NgramModel:
    return fit_ngrams(split(read(name), name, max_chars=length).training)


@pytest.mark.parametrize(
    ("language", "title", "corpus"), [("en", "Language model", "tales-en"), ("zh", "语言模型", "lyrics-zh")]
)
def test_it_opens_in_each_language_on_a_corpus_and_a_sentence(language: str, title: str, corpus: str) -> None:
    """Title, four figures, six texts; corpus and sentence are in the address although nobody chose them."""
    app = open_page(language)
    assert app.title[0].value == title
    assert [bool(charts(app)[key]["data"]) for key in ("chain", "next", "orders", "growth")] == [True] * 4
    assert app.query_params["corpus"] == corpus
    assert app.query_params["sentence"] == app.text_input(key="sentence").value == SENTENCES[corpus]
    assert sum(code.value.startswith(SENTENCES[corpus]) for code in app.code) == MAX_ORDER


@pytest.mark.parametrize("name", CORPORA)
def test_the_totals_are_the_models(name: str) -> None:
    """P, log P and perplexity of each corpus's own sentence, all of whose characters are known."""
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


def values(array: Any) -> list[float]:
    """A list as Plotly's JSON writes it: numbers, or bytes in base64."""
    if isinstance(array, list):
        return array
    return np.frombuffer(base64.b64decode(array["bdata"]), dtype=array["dtype"]).tolist()


def test_order_step_and_lit_term_change_the_picture_and_the_address() -> None:
    """Each control keeps its value in the address, and the equation follows."""
    app = open_page()
    app.segmented_control(key="n").set_value("2").run()
    assert len([t for t in charts(app)["chain"]["data"] if t["type"] == "bar"]) == 3
    app.button(key="t-next").click().run()
    assert app.latex[-1].value.count("P(x_{6}") == 1
    app.segmented_control(key="lit").set_value("1").run()
    assert app.latex[-1].value.count("boxed") == 1
    assert {"n": "2", "t": "5", "lit": "1"}.items() <= dict(app.query_params).items()
    app.segmented_control(key="n").set_value("6").run()
    assert "P_6" in app.latex[-1].value


def test_a_sentence_of_ones_own_stays_when_the_corpus_changes() -> None:
    """Ours gives way to the next corpus's; what a visitor typed does not."""
    app = open_page()
    app.selectbox(key="corpus").set_value("sums").run()
    assert app.query_params["sentence"] == SENTENCES["sums"]
    app.text_input(key="sentence").set_value("9+9=18").run()
    app.selectbox(key="corpus").set_value("brackets").run()
    assert app.query_params["sentence"] == app.text_input(key="sentence").value == "9+9=18"
    assert "occurs in the training text" in app.error[0].value


def test_a_link_opens_exactly_what_it_names() -> None:
    """Corpus, length, order, step, lit term, sentence and dice, also where the browser speaks another language."""
    asked = {"corpus": "tales-en", "length": "3000", "n": "5", "t": "2", "lit": "3", "sentence": "a cat", "dice": "7"}
    app = open_page("zh", **asked)
    assert asked.items() <= dict(app.query_params).items()
    assert metrics(app)[2] == quantity(model_of("tales-en", 3000).chain("a cat", 5).perplexity)


def test_write_again_throws_other_dice() -> None:
    """Six other texts, and the address finds them again."""
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
def test_a_sentence_that_cannot_be_asked_about_is_told(sentence: str, message: str) -> None:
    """The reason is beside the box, and the rest of the page is there."""
    app = open_page(sentence=sentence)
    assert message in app.error[0].value.replace("\\", "").lower()
    assert charts(app)["orders"]["data"]


@pytest.mark.parametrize("sentence", ["a", "Ω the", "the Ω", "x" * MAX_SENTENCE, "<b>$x$ [a](b)`", "line\nbreak"])
def test_odd_sentences_are_drawn(sentence: str) -> None:
    """One character, unknown ones, the longest, markup: the known characters are scored."""
    app = open_page(sentence=sentence, t="0")
    vocabulary = model_of("tales-en").vocabulary
    known = sum(character in vocabulary for character in sentence.replace("\n", " "))
    assert metrics(app)[3] == f"{known} / {len(sentence)}"
    assert not app.error


def test_a_step_on_an_unknown_character_says_that_it_is_not_scored() -> None:
    """Instead of an equation."""
    app = open_page(sentence="the Ω", t="4")
    assert "not scored" in app.info[0].value
    assert not app.latex


def test_texts_of_ones_own() -> None:
    """Nothing pasted yet: no figures and no traceback; then the model is fitted on what was pasted."""
    app = open_page(corpus="paste")
    assert not app.main.get("bidi_component")
    app.text_area(key="pasted").set_value("ab").run()
    assert charts(app)["growth"]["data"]
    app.text_area(key="pasted").set_value("the cat sat on the mat. " * 9).run()
    assert app.text_input(key="sentence").value == ("the cat sat on the mat. " * 9)[:20]
    app.text_area(key="pasted").set_value("aaaa").run()
    assert "one character" in app.error[0].value
