"""What the Language model page says about n-gram models of its texts is recomputed."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from rnnviz.chapters.language_model import SENTENCES
from rnnviz.i18n import LANGUAGES
from rnnviz.nn.training import perplexity
from rnnviz.text.corpora import CORPORA, Corpus, read, split
from rnnviz.text.ngram import MAX_ORDER, NgramModel, count, fit_ngrams, fit_weights
from tests.chapters.helpers import OWN_TEXT, refers_to, run_code, said

LENGTHS = (1000, 3000, 10_000, 30_000)  # the page offers these
OPENS_AT = 10_000
OWN = [name for name, _label in OWN_TEXT.values()]  # the page opens on these


@cache
def corpus_of(name: str, length: int = OPENS_AT) -> Corpus:
    return split(read(name), name, max_chars=length)


@cache
def model_of(name: str, length: int = OPENS_AT) -> NgramModel:
    return fit_ngrams(corpus_of(name, length).training)


def held_out(name: str, length: int = OPENS_AT) -> np.ndarray:
    """The held-out perplexity for n = 1 to 6."""
    return model_of(name, length).perplexities(corpus_of(name, length).held_out)


# One sentence


@pytest.mark.parametrize("name", CORPORA)
def test_a_factor_is_a_sum_of_relative_frequencies(name: str) -> None:
    """It is recounted in the training text for a step of the page's sentence; the weights are positive and sum to 1."""
    said("language_model", "step", r"$P_0=1/V$")
    said("language_model", "step", en="positive and add up to 1", zh="都是正数，加起来等于 1")
    training, text, n, t = corpus_of(name).training, SENTENCES[name], 3, 5
    chain = model_of(name).chain(text, n)
    assert (chain.weights > 0).all()
    assert chain.weights.sum() == pytest.approx(1)
    P = [1 / len(corpus_of(name).vocabulary)]
    for k in range(1, n + 1):
        context = text[t - k + 1 : t]
        places = [i for i in range(len(context), len(training)) if training[i - len(context) : i] == context]
        P.append(sum(training[i] == text[t] for i in places) / len(places) if places else P[-1])
    np.testing.assert_allclose(chain.terms[t], chain.weights * P)
    assert math.exp(np.log(chain.probabilities).sum()) == pytest.approx(math.exp(chain.log_probabilities[-1]))


# Which n


def test_perplexity_is_1_at_best_and_v_for_a_uniform_guess() -> None:
    """It has no upper limit: it grows as the probability of what comes falls."""
    said(
        "language_model",
        "perplexity",
        en="1 at best, $V$ for a uniform guess, and has no upper limit",
        zh="最好为 1，均匀猜测时为 $V$，没有上限",
    )
    model = fit_ngrams("abcd" * 100)
    assert perplexity(0.0, 8) == 1
    assert model.perplexities("abcdabcd")[0] == pytest.approx(4)
    assert model.perplexities("ddccbbaa")[1] > 10 * 4
    chain = model.chain("abcdabcd", 2)
    assert chain.perplexity == pytest.approx(chain.probabilities.prod() ** (-1 / 8))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", CORPORA)
def test_the_training_curve_keeps_falling(name: str, length: int) -> None:
    """It falls with every n, on every text and length of the page."""
    said(
        "language_model",
        "perplexity",
        en="As $n$ grows, the training curve keeps falling",
        zh="随着 $n$ 增大，训练曲线一路下降",
    )
    curve = model_of(name, length).perplexities(corpus_of(name, length).training)
    assert all(later < earlier for earlier, later in pairwise(curve))


@pytest.mark.parametrize("name", OWN)
def test_the_held_out_curve_soon_becomes_flat(name: str) -> None:
    """With the page's initial settings, it changes by less than 3 % from n = 4 to 6."""
    said("language_model", "perplexity", en="the curve soon becomes flat", zh="曲线很快变平")
    curve = held_out(name)
    assert abs(curve[5] / curve[3] - 1) < 0.03


def test_with_little_text_the_held_out_curve_rises_again() -> None:
    """At the length in the text, n = 1 predicts the lyrics best."""
    (length,) = said("language_model", "perplexity", en="with # characters of the lyrics", zh="只用 # 个字符的歌词")
    curve = held_out("lyrics-zh", int(length))
    assert curve.argmin() == 0
    assert curve[-1] > 1.1 * curve[0]


@pytest.mark.parametrize("name", OWN)
def test_weights_fitted_on_the_counted_text_trust_the_longest_context(name: str) -> None:
    """It wins there, but held-out text then has several times the perplexity; alone, it gives some character 0."""
    said("language_model", "weights", en="the longest context would always win", zh="最长的上下文总是最好")
    said("language_model", "perplexity", en="fitted on a separate part", zh="另外划出的一段上拟合的")
    said(
        "language_model",
        "perplexity",
        en="one unseen n-gram makes the perplexity infinite",
        zh="就会让困惑度变成无穷大",
    )
    corpus = corpus_of(name)
    ids, theirs = (corpus.vocabulary.encode(part) for part in (corpus.training, corpus.held_out))
    counts = count(ids, len(corpus.vocabulary))
    weights = fit_weights(counts.frequencies(ids))
    assert weights[-1] > 0.9
    P = counts.frequencies(theirs)[theirs >= 0]
    assert np.exp(-np.log(P @ weights).mean()) > 5 * held_out(name)[-1]
    assert (P[:, -1] == 0).any()


# Why not a larger n


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", OWN)
def test_the_table_is_almost_empty(name: str, length: int) -> None:
    """There are V to the n possible n-grams and at most N - n + 1 in a text; for n = 3, less than the stated share."""
    (share,) = said("language_model", "growth", en="contain less than # % of all", zh="出现的不到 # %")
    (order,) = said("language_model", "growth", en="possible #-grams", zh="所有可能的 # 元组")
    n = int(order)
    model, N = model_of(name, length), len(corpus_of(name, length).training)
    V = len(model.vocabulary)
    possible, seen = model.counts.possible(), model.counts.seen()
    np.testing.assert_allclose(possible, [float(V) ** k for k in range(1, MAX_ORDER + 1)])
    assert all(seen[k - 1] <= N - k + 1 for k in range(1, MAX_ORDER + 1))
    assert seen[n - 1] / possible[n - 1] < share / 100


# What each order writes


def test_six_models_write_with_the_same_random_numbers() -> None:
    """From the same seed each order draws as often; where the probabilities are equal, so are the texts."""
    said("language_model", "writing", en="All six use the same random numbers", zh="六个模型用同一串随机数")
    assert MAX_ORDER == 6
    model = model_of("tales-en")
    generators = [np.random.default_rng(3) for _ in range(MAX_ORDER)]
    for n, generator in enumerate(generators, start=1):
        assert len(model.write("The ", 50, n, generator)) == 50
    assert len({generator.random() for generator in generators}) == 1


# What to try


@pytest.mark.parametrize("name", OWN)
def test_order_1_does_not_see_that_two_letters_changed_places(name: str) -> None:
    """The sentence's probability stays the same; for order 2 it changes."""
    said(
        "language_model",
        "try",
        en="Set $n$ to 1 and say what changes when two letters",
        zh="把 $n$ 设为 1，先说说句子里两个字符对调",
    )
    sentence = SENTENCES[name]
    swapped = sentence[:3] + sentence[4] + sentence[3] + sentence[5:]
    assert swapped != sentence
    first, second = ([model_of(name).chain(text, n).perplexity for text in (sentence, swapped)] for n in (1, 2))
    assert first[0] == pytest.approx(first[1])
    assert second[0] != pytest.approx(second[1], rel=0.01)


@pytest.mark.parametrize("name", OWN)
def test_more_text_raises_the_training_curve_and_lowers_the_held_out_one(name: str) -> None:
    """Between the lengths in the text, training rises at every n; held-out falls from n = 2 on, most at the largest."""
    less, more = said("language_model", "try", en="from # training characters to #", zh="训练字符从 # 增加到 #")
    assert {less, more} <= set(LENGTHS)
    training = [model_of(name, int(L)).perplexities(corpus_of(name, int(L)).training) for L in (less, more)]
    assert (training[1] > training[0]).all()
    before, after = (held_out(name, int(L)) for L in (less, more))
    assert (after[1:] < before[1:]).all()
    assert (before - after).argmax() == (before / after).argmax() == MAX_ORDER - 1


def test_the_lyrics_have_as_many_training_characters_as_the_page_says() -> None:
    """They have fewer than asked for, since the text ends; the tales have all."""
    (there_are,) = said(
        "language_model", "try", en="the training part of the lyrics has only #", zh="歌词的训练部分只有 # 个"
    )
    assert len(corpus_of("lyrics-zh", 30_000).training) == there_are
    assert len(corpus_of("tales-en", 30_000).training) == 30_000


def test_no_order_up_to_6_can_count_to_seven() -> None:
    """In the lesson's word, every order expects the same after the sixth b as after the seventh."""
    refers_to("language_model", "try", "Counting: a…ab…b")
    said("language_model", "try", "`aaaaaaabbbbbbb`")
    said("language_model", "try", en="no model of order up to 6", zh="6 阶以内的模型")
    word, model = "aaaaaaabbbbbbb", model_of("counting")
    for order in range(1, MAX_ORDER + 1):
        sixth, seventh = (model.distribution(word[:end], order) for end in (13, 14))
        np.testing.assert_array_equal(sixth, seventh)


# How the weights are found


@pytest.mark.parametrize("order", [1, 4, 6])
def test_the_weights_are_the_fixed_point_of_the_formula_from_every_start(order: int) -> None:
    """The last tenth of the training text is set aside; from any start, the lesson's formula leads to the weights."""
    said(
        "language_model",
        "weights",
        en="the last tenth of the training text is set aside",
        zh="从训练文本中划出最后十分之一",
    )
    said("language_model", "weights", r"\lambda_k\leftarrow\frac{1+\sum_t r_{tk}}{n+1+T}")
    said(
        "language_model",
        "weights",
        en="there is one optimum and every start leads to it",
        zh="从任何初始值出发都会到达",
    )
    corpus = corpus_of("tales-en", 1000)
    ids = corpus.vocabulary.encode(corpus.training)
    counted, aside = ids[:900], ids[900:]
    P = count(counted, len(corpus.vocabulary)).frequencies(ids)[900:][np.isin(aside, counted)][:, : order + 1]
    for start in np.random.default_rng(0).dirichlet(np.ones(order + 1), size=3):
        weights = start
        for _ in range(2000):
            r = P * weights / (P @ weights)[:, None]
            weights = (1 + r.sum(axis=0)) / (order + 1 + len(P))
        np.testing.assert_allclose(weights, model_of("tales-en", 1000).weights[order - 1], atol=1e-3)


def test_unknown_characters_are_not_scored_and_no_context_reaches_across_them() -> None:
    """Characters after an unknown one are as probable as at the beginning of a sentence."""
    said("language_model", "weights", en="no context reaches across them", zh="上下文也不会跨过它")
    model = model_of("tales-en")
    chain, alone = model.chain("the§lamp", 4), model.chain("lamp", 4)
    assert not chain.scored[3]
    np.testing.assert_allclose(chain.probabilities[4:], alone.probabilities)


# The code


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_gives_what_its_comments_say(language: str) -> None:
    """It gives a probability for each character, a perplexity for each n, and five weights for order 4."""
    names = run_code("language_model", "code", language)
    assert len(names["chain"].probabilities) == len("The keeper lit the lamp")
    assert len(names["model"].perplexities(names["corpus"].held_out)) == 6
    assert len(names["model"].weights[3]) == 4 + 1
    assert names["chain"].order == 4
