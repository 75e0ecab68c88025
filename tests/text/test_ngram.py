"""n-gram models against counts by hand, with plain dictionaries and one character at a time."""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.config import ModelConfig
from rnnviz.errors import InputError
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.training import evaluate
from rnnviz.text.corpora import CORPORA, Corpus, Vocabulary, read, split
from rnnviz.text.ngram import (
    MAX_ORDER,
    REFERENCE_ORDERS,
    SET_ASIDE,
    NgramModel,
    count,
    fit_ngrams,
    fit_weights,
    references,
)

SMALL = "the cat sat on the mat, the rat sat on the cat. that was that."
texts = st.text(alphabet="ab c", min_size=1, max_size=60)
questions = st.text(alphabet="ab cZ", max_size=12)  # Z is in no training text
orders = st.integers(1, MAX_ORDER)


# Counting by hand


def tally(text: str) -> Counter[str]:
    """How often each n-gram of up to six characters occurs."""
    return Counter(text[i : i + k] for k in range(1, MAX_ORDER + 1) for i in range(len(text) - k + 1))


def frequency(text: str, context: str, character: str, k: int) -> float:
    """P_k, or P_{k-1} if the context never occurs before a character."""
    if k == 0:
        return 1 / len(set(text))
    if len(context) >= k - 1:
        given = context[len(context) - (k - 1) :]
        followers = [text[i + k - 1] for i in range(len(text) - k + 1) if text[i : i + k - 1] == given]
        if followers:
            return followers.count(character) / len(followers)
    return frequency(text, context, character, k - 1)


def probability(model: NgramModel, text: str, context: str, character: str, n: int) -> float:
    return sum(float(model.weights[n - 1][k]) * frequency(text, context, character, k) for k in range(n + 1))


@given(texts)
def test_counts_equal_a_direct_count(text: str) -> None:
    """Every n-gram of every order is in the tree as often as in the text, and no other is."""
    vocabulary = Vocabulary(text)
    counts = count(vocabulary.encode(text), len(vocabulary))
    grams = tally(text)
    assert counts.seen().tolist() == [len({g for g in grams if len(g) == k}) for k in range(1, MAX_ORDER + 1)]
    nodes = counts.nodes(vocabulary.encode(text))
    for k in range(1, MAX_ORDER + 1):
        assert [int(counts.numbers[k - 1][node]) for node in nodes[k]] == [
            grams[text[i : i + k]] for i in range(len(text) - k + 1)
        ]
        assert int(counts.numbers[k - 1].sum()) == int(counts.totals[k - 1].sum()) == max(len(text) - k + 1, 0)


@given(texts, questions)
def test_frequencies_equal_a_direct_count(text: str, asked: str) -> None:
    """P_k of every character is checked, with unseen contexts shortened and with unknown characters."""
    vocabulary = Vocabulary(text)
    P = count(vocabulary.encode(text), len(vocabulary)).frequencies(vocabulary.encode(asked))
    for t, character in enumerate(asked):
        if character in vocabulary:
            assert P[t] == pytest.approx([frequency(text, asked[:t], character, k) for k in range(MAX_ORDER + 1)])


@given(texts, questions, orders)
def test_every_distribution_sums_to_one_and_is_a_direct_count(text: str, context: str, n: int) -> None:
    """After any context and in every order, probabilities are positive, sum to 1, and equal the count by hand."""
    model = fit_ngrams(text)
    P = model.distribution(context, n)
    assert P.sum() == pytest.approx(1, abs=1e-12)
    assert (P > 0).all()
    by_hand = [probability(model, text, context, c, n) for c in model.vocabulary.characters]
    assert P.tolist() == pytest.approx(by_hand)


@given(texts, questions, orders)
def test_chain_and_perplexity_equal_a_direct_count(text: str, asked: str, n: int) -> None:
    """These are the product over known characters, the nats, and exp of their mean; unknown characters do not count."""
    model = fit_ngrams(text)
    chain = model.chain(asked, n)
    by_hand = [probability(model, text, asked[:t], c, n) if c in text else math.nan for t, c in enumerate(asked)]
    assert chain.probabilities.tolist() == pytest.approx(by_hand, nan_ok=True)
    known = [p for p in by_hand if not math.isnan(p)]
    if known:
        assert math.exp(chain.log_probabilities[-1]) == pytest.approx(math.prod(known))
        assert chain.perplexity == pytest.approx(math.prod(known) ** (-1 / len(known)))
        assert model.perplexities(asked)[n - 1] == pytest.approx(chain.perplexity)
    else:
        assert math.isnan(chain.perplexity)
        assert np.isnan(model.perplexities(asked)).all()


@given(st.text(alphabet="abc", min_size=1, max_size=30), orders)
def test_the_probabilities_of_all_texts_of_a_length_add_up_to_one(text: str, n: int) -> None:
    """The chain rule gives a distribution over texts, checked by adding up those of three characters."""
    model = fit_ngrams(text)
    every = ["".join(characters) for characters in product(model.vocabulary.characters, repeat=3)]
    assert sum(math.exp(model.chain(each, n).log_probabilities[-1]) for each in every) == pytest.approx(1)


@given(texts, questions)
def test_reach_is_the_longest_known_context(text: str, asked: str) -> None:
    """Beyond it nothing was counted, and P_k stays the same."""
    vocabulary = Vocabulary(text)
    counts = count(vocabulary.encode(text), len(vocabulary))
    for t, k in enumerate(counts.reach(vocabulary.encode(asked)).tolist()):
        assert k == max(j for j in range(1, MAX_ORDER + 1) if j - 1 <= t and asked[t - j + 1 : t] in text[:-1])


# The weights


def map_objective(P: np.ndarray, weights: np.ndarray) -> float:
    """The objective of the weights: the text's log-probability, with one imagined character for each order."""
    return float(np.log(P @ weights).sum() + np.log(weights).sum())


@given(st.integers(0, 40), st.integers(2, 7), st.integers(0, 10_000))
def test_weights_are_at_the_optimum(T: int, size: int, seed: int) -> None:
    """They are positive, sum to 1, and no other weights, near or far, are better."""
    generator = np.random.default_rng(seed)
    P = generator.random((T, size)) * (generator.random((T, size)) < 0.7)
    P[:, 0] = 0.1  # the uniform part is never 0
    weights = fit_weights(P)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    best = map_objective(P, weights)
    for other in (*generator.dirichlet(np.ones(size), 20), *generator.dirichlet(weights * 2000, 20)):
        assert map_objective(P, np.maximum(other, 1e-12)) <= best + 1e-3


def test_weights_of_no_text_are_equal() -> None:
    """If nothing is set aside, every order has the same weight."""
    assert fit_weights(np.empty((0, 4))) == pytest.approx([0.25] * 4)


@given(st.text(alphabet="ab c", min_size=10, max_size=80), orders)
def test_weights_come_from_the_part_set_aside(text: str, n: int) -> None:
    """It is the last tenth, scored by hand under counts of the rest, without characters that the rest lacks."""
    model = fit_ngrams(text)
    fitted = len(text) - int(len(text) * SET_ASIDE)
    rows = []
    for t in range(fitted, len(text)):
        if text[t] in text[:fitted]:
            row = [frequency(text[:fitted], text[:t], text[t], k) for k in range(1, n + 1)]
            rows.append([1 / len(set(text)), *row])
    weights = np.full(n + 1, 1 / (n + 1))
    for _ in range(1000):
        shares = [[w * p for w, p in zip(weights, row, strict=True)] for row in rows]
        parts = [sum(share[k] / sum(share) for share in shares) for k in range(n + 1)]
        before, weights = weights, np.array([(part + 1) / (len(rows) + n + 1) for part in parts])
        if abs(weights - before).max() < 1e-6:
            break
    assert model.weights[n - 1] == pytest.approx(weights, abs=1e-4)


def test_the_whole_training_text_is_counted_in_the_end() -> None:
    """This includes the part on which the weights were fitted."""
    model = fit_ngrams("ab" * 50 + "zq")
    assert int(model.counts.numbers[0].sum()) == 102
    assert frequency("ab" * 50 + "zq", "z", "q", 2) == 1
    assert model.distribution("z", 2)[model.vocabulary.characters.index("q")] > model.weights[1][2]


# On the shipped corpora


@pytest.mark.parametrize("name", CORPORA)
def test_long_contexts_know_the_training_text_by_heart_and_not_the_held_out_part(name: str) -> None:
    """Training perplexity falls with every order; held-out perplexity stays above it, and below the uniform V."""
    corpus = split(read(name), name, max_chars=10_000)
    model = fit_ngrams(corpus.training)
    training, held_out = model.perplexities(corpus.training), model.perplexities(corpus.held_out)
    assert (np.diff(training) < 0).all()
    assert training[-1] < held_out[-1]
    assert (held_out < len(corpus.vocabulary)).all()
    assert held_out[-1] < held_out.min() * 1.01  # interpolated, a longer context does no harm


def test_a_random_sequence_has_the_perplexity_of_its_vocabulary() -> None:
    """If characters are drawn uniformly from four, no order does better than a guess."""
    text = "".join(np.random.default_rng(0).choice(list("abcd"), 20_000))
    model = fit_ngrams(text[:15_000])
    assert model.perplexities(text[15_000:]) == pytest.approx([4] * MAX_ORDER, rel=0.01)


def test_a_periodic_text_is_predicted_by_the_order_that_sees_the_period() -> None:
    """In aabaab… one character of context is ambiguous, two are not."""
    model = fit_ngrams("aab" * 500)
    _unigram, bigram, trigram, *_rest = model.perplexities("aab" * 100)
    assert bigram > 1.5
    assert trigram < 1.03


def test_possible_ngrams_grow_exponentially_and_seen_ones_do_not() -> None:
    """There are V^n possible n-grams, but at most one per position."""
    corpus = split(read("lyrics-zh"), "lyrics-zh", max_chars=10_000)
    counts = fit_ngrams(corpus.training).counts
    V, N = len(corpus.vocabulary), len(corpus.training)
    assert counts.possible() == pytest.approx([V**n for n in range(1, MAX_ORDER + 1)])
    assert counts.seen().tolist() == [len({corpus.training[i : i + n] for i in range(N - n + 1)}) for n in range(1, 7)]
    assert (counts.seen() <= N - np.arange(MAX_ORDER)).all()


@given(texts, questions)
def test_seen_shares_equal_a_direct_count(text: str, asked: str) -> None:
    """It is the share of a text's n-grams that the training text has; NaN if the text is shorter than n."""
    shares = fit_ngrams(text).seen_shares(asked)
    for n, share in enumerate(shares, start=1):
        grams = [asked[i : i + n] for i in range(len(asked) - n + 1)]
        by_hand = sum(gram in text for gram in grams) / len(grams) if grams else math.nan
        assert share == pytest.approx(by_hand, nan_ok=True)


# Reference lines of a held-out perplexity


@given(texts, questions)
def test_references_equal_a_direct_count(text: str, held_out: str) -> None:
    """V, the unigram and orders 2 to 5, over the held-out characters but the first that the vocabulary has."""
    found = references(Corpus("text", text, held_out))
    scored = [t for t, character in enumerate(held_out) if t and character in text]
    assert (found.uniform, found.characters) == (len(set(text)), len(scored))
    assert tuple(found.ngrams) == REFERENCE_ORDERS == (2, 3, 4, 5)
    model = fit_ngrams(text, 5)
    for order, perplexity in {1: found.unigram, **found.ngrams}.items():
        nats = [-math.log(probability(model, text, held_out[:t], held_out[t], order)) for t in scored]
        assert perplexity == pytest.approx(math.exp(sum(nats) / len(nats)) if nats else math.nan, nan_ok=True)


def test_references_are_scored_on_the_characters_that_a_network_is_scored_on() -> None:
    """A network that always gives the unigram's probabilities has the unigram's held-out perplexity."""
    corpus = split(read("lyrics-zh"), "lyrics-zh", max_chars=4000)
    V, found = len(corpus.vocabulary), references(corpus)
    network = LanguageModel(ModelConfig(hidden_size=2), V)
    weights = {name: torch.zeros_like(value) for name, value in network.weights().items()}
    network.load_weights(weights | {"b_q": torch.tensor(fit_ngrams(corpus.training, 1).distribution("", 1)).log()})
    loss = evaluate(network, corpus.vocabulary.encode(corpus.held_out))
    assert (found.characters, found.uniform) == (loss.characters, V)
    assert found.unigram == pytest.approx(math.exp(loss.nats / loss.characters), rel=1e-5)
    assert found.best_order() in REFERENCE_ORDERS
    assert found.ngrams[found.best_order()] == min(found.ngrams.values()) < found.unigram < V


# Writing


def test_written_characters_follow_the_distribution() -> None:
    """Over many draws each character occurs as often as its probability says; the same seed gives the same text."""
    model = fit_ngrams(SMALL)
    drawn = Counter(model.write("the ", 1, 3, np.random.default_rng(seed)) for seed in range(4000))
    P = model.distribution("the ", 3)
    for character, expected in zip(model.vocabulary.characters, P, strict=True):
        assert abs(drawn[character] / 4000 - expected) < 0.03
    first, second = (model.write("the ", 50, 4, np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert len(first) == 50


def test_writing_can_start_from_nothing_or_unknown_characters() -> None:
    """After an empty prefix, or one that the vocabulary lacks, the distribution is that without context."""
    model = fit_ngrams(SMALL)
    texts_written = [model.write(prefix, 30, 6, np.random.default_rng(1)) for prefix in ("", "Ω")]
    assert texts_written[0] == texts_written[1]
    assert set(texts_written[0]) <= set(SMALL)


# Limits


@pytest.mark.parametrize("text", ["a", "ab", "aaaa", "a" * 30])
def test_the_shortest_texts_can_be_fitted(text: str) -> None:
    """With one character, two, or one repeated, there are still distributions."""
    model = fit_ngrams(text)
    for n in range(1, MAX_ORDER + 1):
        assert model.distribution(text, n).sum() == pytest.approx(1)
        assert model.chain(text, n).perplexity >= 1 - 1e-12


def test_bad_input_is_reported() -> None:
    """An empty text and an order that was not fitted raise an InputError."""
    with pytest.raises(InputError, match="the text is empty"):
        fit_ngrams("")
    with pytest.raises(InputError, match="order is 7; allowed: 1 to 6"):
        fit_ngrams(SMALL, 7)
    with pytest.raises(InputError, match="order is 0; allowed: 1 to 6"):
        fit_ngrams(SMALL).chain("the", 0)
    with pytest.raises(InputError, match="order is 3; allowed: 1 to 2"):
        fit_ngrams(SMALL, 2).distribution("the", 3)


@pytest.mark.parametrize("size", [40, 3000])
def test_order_six_on_a_hundred_thousand_characters_takes_under_two_seconds(size: int) -> None:
    """This includes counting, all weights and all perplexities, for a small and a large vocabulary."""
    ids = np.minimum(np.random.default_rng(0).exponential(size / 8, 100_000), size - 1).astype(int)
    text = "".join(chr(0x4E00 + i) for i in ids)
    begin = time.process_time()
    fit_ngrams(text)
    assert time.process_time() - begin < 2
