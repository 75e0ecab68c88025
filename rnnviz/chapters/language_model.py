"""n-gram models on a page: a sentence's probability, the orders side by side, what each of them writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from rnnviz.errors import InputError
from rnnviz.figures.language_model import (
    ORDER_COLOURS,
    at_step,
    chain_figure,
    contexts,
    growth_figure,
    next_character_figure,
    orders_figure,
    scientific,
    step_sum,
    term_name,
)
from rnnviz.i18n import quantity, translator
from rnnviz.text.corpora import Corpus
from rnnviz.text.ngram import MAX_ORDER, Chain, NgramModel, fit_ngrams
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.controls import offer, pick, stepper
from rnnviz.ui.frame import Frame, let_it_be_drawn, put_in_address, show_error, starts_anew
from rnnviz.ui.pictures import picture, pictures
from rnnviz.ui.term_sum import term_sum

SENTENCES = {  # none of them occurs in its corpus
    "tales-en": "The keeper lit the lamp",
    "lyrics-zh": "我在河边等一盏灯",
    "brackets": "{[]()} ([]) {(})",
    "counting": "aaabbb ab aabbb",
    "recall": "bABCDEFGHIJKLMNOPQRSTUVd cABC",
    "sums": "12+34=46 50+7=3",
}
MAX_SENTENCE = 200
_WRITTEN = 100  # characters that each order writes
_REMEMBERED = 24  # characters of the sentence before them
_FIRST_STEP = 4
_LISTED = 100  # characters of a step's distribution that its table has
_ORDERS = list(range(1, MAX_ORDER + 1))


@st.cache_data(max_entries=32, show_spinner=False)
def fitted(training: str) -> NgramModel:
    """The models of a training text; fitting takes a tenth of a second at most on what the page offers."""
    return fit_ngrams(training)


@st.cache_data(max_entries=64, show_spinner=False)
def _measured(training: str, part: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    model = fitted(training)
    return model.perplexities(part), model.seen_shares(part)


@st.cache_resource(max_entries=64, show_spinner=False)
def _orders_figure(training: str, held_out: str, order: int, language: str) -> Any:
    ours, theirs = (_measured(training, part)[0] for part in (training, held_out))
    return orders_figure(ours, theirs, len(fitted(training).vocabulary), order, translator(language))


@st.cache_resource(max_entries=64, show_spinner=False)
def _growth_figure(training: str, order: int, language: str) -> Any:
    counts = fitted(training).counts
    return growth_figure(counts.possible(), counts.seen().tolist(), len(training), order, translator(language))


@st.cache_data(max_entries=64, show_spinner=False)
def _written(training: str, prefix: str, dice: int) -> list[str]:
    model = fitted(training)
    return [model.write(prefix, _WRITTEN, n, np.random.default_rng(dice)) for n in _ORDERS]


def sentence_box(frame: Frame, corpus: Corpus) -> str:
    """The sentence in the box and in the address: an example for each corpus, until the visitor types another."""
    offer("sentence", SENTENCES.get(corpus.name, corpus.training[:20]))
    text = str(st.text_input(frame.translate("Your sentence"), key="sentence", persist_state="session"))
    st.query_params["sentence"] = text
    return text.replace("\n", " ")


def check_sentence(text: str, model: NgramModel) -> None:
    """Raises InputError for a sentence that the models cannot score."""
    if not text:
        raise InputError("the sentence is empty; type at least one character")
    if len(text) > MAX_SENTENCE:
        raise InputError(
            "the sentence has {length:,} characters; allowed: at most {limit}", length=len(text), limit=MAX_SENTENCE
        )
    if not any(character in model.vocabulary for character in text):
        raise InputError("no character of the sentence occurs in the training text; allowed are those that do")


def show_sentence(frame: Frame, place: Any, model: NgramModel, text: str, order: int) -> None:
    """A sentence's probability as a product, whose picture is drawn in a `place` high on the page, and each factor of
    it as a sum; or in that place what is wrong with the sentence.
    """
    try:
        check_sentence(text, model)
    except InputError as error:
        show_error(frame, error, place)
        return
    chain = model.chain(text, order)
    _show_totals(frame, chain)
    lit = _lit_term(frame, order)
    with place:
        picture_place = st.container()
        slider = stepper(frame, "t", text, min(_FIRST_STEP, len(text) - 1))
    with picture_place:
        _show_chain(frame, chain, len(model.vocabulary), slider, lit)
    let_it_be_drawn()
    _show_step(frame, chain, model, slider, lit)


def _show_totals(frame: Frame, chain: Chain) -> None:
    _ = frame.translate
    log_P = float(chain.log_probabilities[-1])
    with st.container(horizontal=True, gap="large"):
        st.metric(r"$P(x_1,\dots,x_T)$", scientific(log_P), width="content")
        st.metric(_("log P, nats"), quantity(log_P), width="content")
        st.metric(_("Perplexity"), quantity(chain.perplexity), width="content")
        st.metric(_("Characters scored"), f"{int(chain.scored.sum())} / {len(chain.text)}", width="content")


def _lit_term(frame: Frame, order: int) -> int | None:
    """The k whose term λ_k P_k is highlighted in picture and equation; None if all look alike."""
    _ = frame.translate
    names = {"all": _("all"), **{str(k): term_name(k) for k in range(order + 1)}}
    lit = pick(st, _("Light up a term"), tuple(names), "lit", names.__getitem__)
    return None if lit == "all" else int(lit)


def _show_chain(frame: Frame, chain: Chain, vocab_size: int, slider: Slider, lit: int | None) -> None:
    _ = frame.translate
    text = chain.text
    figure = chain_figure(chain, vocab_size, lit=lit, translate=_)
    description = _(
        "The probability of each of {length} characters given those before it, as stacked bars; below, log P of "
        "the text so far. P = {P}, perplexity {perplexity}."
    ).format(length=len(text), P=scientific(float(chain.log_probabilities[-1])), perplexity=quantity(chain.perplexity))
    table = {
        "t": list(range(1, len(text) + 1)),
        _("context"): contexts(text, chain.order),
        "xₜ": list(text),
        "P(xₜ | …)": chain.probabilities.tolist(),
        _("log P, nats"): chain.log_probabilities.tolist(),
    }
    frames = [
        Chart(at_step(figure, t), name="chain", description=description, table=table, revision=text, height=430)
        for t in range(len(text))
    ]
    pictures(frames, key="chain", follows=slider)


def _show_step(frame: Frame, chain: Chain, model: NgramModel, slider: Slider, lit: int | None) -> None:
    """What the model expects at one step, and the sum behind the probability of what came."""
    _ = frame.translate
    left, right = st.columns(2, gap="large", vertical_alignment="center")
    with left:
        frames = [_next_chart(frame, chain, model, t) for t in range(len(chain.text))]
        pictures(frames, key="next", follows=slider)
    with right:
        unscored = _("The training text has no such character: it is not scored, and no context reaches across it.")
        sums = [step_sum(chain, t) if scored else unscored for t, scored in enumerate(chain.scored)]
        colours = ["", *reversed(ORDER_COLOURS[: chain.order + 1])]
        term_sum(sums, colours, None if lit is None else chain.order + 1 - lit, slider, key="sum")


def _next_chart(frame: Frame, chain: Chain, model: NgramModel, t: int) -> Chart:
    _ = frame.translate
    P, characters = model.distribution(chain.text[:t], chain.order), model.vocabulary.characters
    likeliest = np.argsort(-P, kind="stable")[:_LISTED]
    return Chart(
        next_character_figure(P, characters, chain.text[t], _),
        name="next",
        description=_("The likeliest characters at step {t}, and the one that came.").format(t=t + 1),
        table={"x": [characters[i] for i in likeliest], "P(x | …)": P[likeliest]},
        revision=f"{t} {chain.text}",
        height=260,
    )


def show_orders(frame: Frame, corpus: Corpus, order: int) -> None:
    """Perplexity of training and held-out part against n."""
    _ = frame.translate
    training, _known = _measured(corpus.training, corpus.training)
    held_out, _known = _measured(corpus.training, corpus.held_out)
    picture(
        _orders_figure(corpus.training, corpus.held_out, order, frame.language),
        key="orders",
        description=_(
            "Perplexity against n, from 1 to {order}. Training from {first} to {last}; held-out from {held_out_first} "
            "to {held_out_last}; a uniform guess {uniform:,}."
        ).format(
            order=MAX_ORDER,
            first=quantity(training[0]),
            last=quantity(training[-1]),
            held_out_first=quantity(held_out[0]),
            held_out_last=quantity(held_out[-1]),
            uniform=len(corpus.vocabulary),
        ),
        table={"n": _ORDERS, _("training"): training.tolist(), _("held-out"): held_out.tolist()},
        revision=str(hash(corpus.training)),
    )


def show_growth(frame: Frame, corpus: Corpus, model: NgramModel, order: int) -> None:
    """How many n-grams are possible, and how many the training text has."""
    _ = frame.translate
    possible, seen = model.counts.possible(), model.counts.seen().tolist()
    _perplexities, known = _measured(corpus.training, corpus.held_out)
    picture(
        _growth_figure(corpus.training, order, frame.language),
        key="growth",
        description=_(
            "Different n-grams against n. Possible: from {possible_first:,} to {possible_last:,}. Seen in the training "
            "text: from {seen_first:,} to {seen_last:,}."
        ).format(possible_first=possible[0], possible_last=possible[-1], seen_first=seen[0], seen_last=seen[-1]),
        table={
            "n": _ORDERS,
            _("possible, Vⁿ"): [f"{count:,}" for count in possible],  # too large for a column of numbers
            _("seen"): seen,
            _("share of the held-out n-grams that were seen"): known.tolist(),
        },
        revision=str(hash(corpus.training)),
    )
    if np.isfinite(known).all():
        st.caption(
            _("The training text has {share:.1%} of the held-out part's {n}-grams.").format(
                n=order, share=known[order - 1]
            )
        )


def show_writing(frame: Frame, corpus: Corpus, text: str) -> None:
    """What each order writes after the sentence, all with the same random numbers."""
    _ = frame.translate
    if starts_anew("dice"):
        asked = st.query_params.get("dice", "")
        st.session_state["dice"] = int(asked) if asked.isdecimal() and len(asked) < 10 else 0
    if st.button(_("Write again"), icon=":material/casino:", key="write"):
        st.session_state["dice"] += 1
    dice = int(put_in_address("dice", "0"))
    start = text[-_REMEMBERED:]
    for n, continuation in enumerate(_written(corpus.training, start, dice), start=1):
        label, code = st.columns([1, 14], vertical_alignment="center")
        label.caption(f"n = {n}")
        code.code(start + continuation, language=None, wrap_lines=True)
