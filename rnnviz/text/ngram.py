"""n-gram language models: every order is counted once, and the orders are interpolated.

    P(x_t | x_1 … x_{t-1})  ≈  Σ_k λ_k P_k(x_t | the k−1 characters before x_t),    k = 0 … n

P_0 is 1/V. P_k is a relative frequency: how often the context was followed by this character,
over how often it was followed by any. Where the training text has no such context, P_k is P_{k−1},
that of the next shorter one; so every P_k, and with it the sum, is a distribution.

The weights λ are fitted by expectation maximisation on the last tenth of the training text, under
counts of the rest (Jelinek & Mercer 1980, "Interpolated estimation of Markov source parameters
from sparse data"). Fitted on counted text, they would trust the longest context alone, which has
seen that text before. Then the whole training text is counted. Held-out text is not used.

A character that the vocabulary lacks is never scored, and no context reaches across it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rnnviz.errors import InputError
from rnnviz.text.corpora import UNKNOWN, Corpus, Vocabulary

Ids = NDArray[np.int64]
Array = NDArray[np.float64]
MAX_ORDER = 6
SET_ASIDE = 0.1  # of the training text, for the weights
_ABSENT = -1
_EM_STEPS = 1000
_EM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Counts:
    """The n-grams of a text as a tree, with three arrays for the level of each order.

    A node is an n-gram, and its number is the place of its key in its level. The key is
    `parent * V + last character`; keys are sorted, so that the characters that followed a context are
    together. `numbers` says how often the n-gram occurs, `totals` how often each context was followed by
    any character. An order costs one sort of the text's positions, whatever V**n is.
    """

    vocab_size: int
    keys: tuple[Ids, ...]
    numbers: tuple[Ids, ...]
    totals: tuple[Ids, ...]

    @property
    def max_order(self) -> int:
        return len(self.keys)

    def seen(self) -> Ids:
        """How many different n-grams of each order the text has, of shape (max_order,)."""
        return np.array([len(keys) for keys in self.keys])

    def possible(self) -> list[int]:
        """How many there could be: V, V², V³, …, as integers, because an array could not hold them exactly."""
        return [self.vocab_size**n for n in range(1, self.max_order + 1)]

    def _children(self, order: int, parents: Ids, characters: Ids) -> Ids:
        """The nodes of one level below these parents, by their last characters; _ABSENT where there is none."""
        keys = self.keys[order - 1]
        wanted = parents * self.vocab_size + characters
        nodes = np.searchsorted(keys, wanted)
        found = np.append(keys, _ABSENT)[nodes] == wanted
        return np.where(found & (parents >= 0) & (characters >= 0), nodes, _ABSENT)

    def nodes(self, ids: Ids) -> list[Ids]:
        """For each order k from 0, the node of the k-gram that starts at every position of a text."""
        levels = [np.zeros(len(ids) + 1, dtype=np.int64)]
        for order in range(1, self.max_order + 1):
            characters = ids[order - 1 :]
            levels.append(self._children(order, levels[-1][: len(characters)], characters))
        return levels

    def _followed(self, levels: list[Ids], order: int) -> Ids:
        """How often the context of each character from position `order - 1` was followed by any."""
        contexts = levels[order - 1][: max(len(levels[0]) - order, 0)]
        return np.append(self.totals[order - 1], 0)[contexts]  # _ABSENT reads the last entry, 0

    def reach(self, ids: Ids) -> Ids:
        """The greatest k for which the training text has the k−1 characters before each character, of shape (T,)."""
        levels, reach = self.nodes(ids), np.zeros(len(ids), dtype=np.int64)
        for k in range(1, self.max_order + 1):
            reach[k - 1 :][self._followed(levels, k) > 0] = k
        return reach

    def frequencies(self, ids: Ids) -> Array:
        """P_k(x_t | the k−1 characters before) for each character of a text and each k from 0, (T, max_order + 1).

        The row of an unknown character is meaningless and must not be used.
        """
        T, V = len(ids), self.vocab_size
        P = np.empty((T, self.max_order + 1))
        P[:, 0] = 1 / V
        levels = self.nodes(ids)
        for k in range(1, self.max_order + 1):
            P[:, k] = P[:, k - 1]
            totals = self._followed(levels, k)
            numbers = np.append(self.numbers[k - 1], 0)[levels[k]]
            known = totals > 0
            P[k - 1 :, k][known] = numbers[known] / totals[known]
        return P

    def mixture(self, context: Ids, weights: Array) -> Array:
        """Σ_k λ_k P_k(· | the last k−1 characters of a context), of shape (V,)."""
        V = self.vocab_size
        known = list(self._known(context, len(weights) - 1))
        reach = len(known)
        shares = np.append(weights[:reach], weights[reach:].sum())  # beyond it P_k is P_reach
        P = np.full(V, shares[0] / V)
        for k, node in enumerate(known, start=1):
            keys = self.keys[k - 1]
            low, high = keys.searchsorted((node * V, (node + 1) * V))
            P[keys[low:high] - node * V] += shares[k] / self.totals[k - 1][node] * self.numbers[k - 1][low:high]
        return P

    def _known(self, context: Ids, order: int) -> Iterator[int]:
        """The nodes of a context's last 0, 1, 2, … characters, up to the first that no character ever followed."""
        for k in range(1, order + 1):
            node = self._node(context, k - 1)
            if node == _ABSENT or not self.totals[k - 1][node]:
                return
            yield node

    def _node(self, context: Ids, length: int) -> int:
        """The node of a context's last characters."""
        if length > len(context):
            return _ABSENT
        node = 0
        for order, character in enumerate(context[len(context) - length :].tolist(), start=1):
            keys, wanted = self.keys[order - 1], node * self.vocab_size + character
            node = int(keys.searchsorted(wanted))
            if character == UNKNOWN or node == len(keys) or keys[node] != wanted:
                return _ABSENT
        return node


def count(ids: Ids, vocab_size: int, max_order: int = MAX_ORDER) -> Counts:
    """Count the n-grams of every order up to `max_order` in a text of known characters."""
    levels: list[tuple[Ids, Ids, Ids]] = []
    parents, contexts = np.zeros(len(ids), dtype=np.int64), 1
    for order in range(1, max_order + 1):
        packed = parents * vocab_size + ids[order - 1 :]
        keys, nodes, numbers = np.unique(packed, return_inverse=True, return_counts=True)
        totals = np.zeros(contexts, dtype=np.int64)
        np.add.at(totals, keys // vocab_size, numbers)
        levels.append((keys, numbers, totals))
        parents, contexts = nodes[:-1], len(keys)
    return Counts(vocab_size, *zip(*levels, strict=True))


def fit_weights(frequencies: Array) -> Array:
    """The λ that make a text most probable, found by expectation maximisation from its P_k of shape (T, n + 1).

    Each character is shared among the orders in proportion to λ_k P_k, and λ_k becomes the share
    of order k. One imagined character for each order keeps every weight above 0, even where there
    is no text at all. The optimum is unique, because the objective is concave.
    """
    T, orders = frequencies.shape
    weights = np.full(orders, 1 / orders)
    for _ in range(_EM_STEPS):
        shares = weights * (frequencies.T @ (1 / (frequencies @ weights)))
        before, weights = weights, (shares + 1) / (T + orders)
        if np.abs(weights - before).max() < _EM_TOLERANCE:
            break
    return weights


@dataclass(frozen=True)
class Chain:
    """The chain rule over a text: P(x_1 … x_T) is the product of P(x_t | all characters before it).

    `terms` of shape (T, n + 1) are λ_k P_k(x_t | …); their sum over k is the probability. `scored`
    is false for characters that the vocabulary lacks. `reach` of shape (T,) is the greatest k whose
    context the training text has; from there on P_k is P_reach.
    """

    text: str
    scored: NDArray[np.bool_]
    reach: Ids
    weights: Array
    terms: Array

    @property
    def order(self) -> int:
        return len(self.weights) - 1

    @cached_property
    def probabilities(self) -> Array:
        """P(x_t | x_1 … x_{t-1}) of shape (T,); NaN for a character that is not scored."""
        return np.where(self.scored, self.terms.sum(axis=1), np.nan)

    @cached_property
    def log_probabilities(self) -> Array:
        """log P(x_1 … x_t) in nats after each character, of shape (T,)."""
        return np.nancumsum(np.log(self.probabilities))

    @property
    def perplexity(self) -> float:
        """exp of the total nats over the scored characters; NaN where none is scored."""
        scored = int(self.scored.sum())
        return float(np.exp(-self.log_probabilities[-1] / scored)) if scored else float("nan")


@dataclass(frozen=True)
class NgramModel:
    """n-gram models of every order from 1 to `max_order` over the same counts.

    `weights[n - 1]` are λ_0 … λ_n of the model of order n.
    """

    vocabulary: Vocabulary
    counts: Counts
    weights: tuple[Array, ...]

    @property
    def max_order(self) -> int:
        return self.counts.max_order

    def chain(self, text: str, order: int) -> Chain:
        """A text's probability under the model of this order, character by character."""
        weights = self._weights(order)
        ids = self.vocabulary.encode(text)
        terms = self.counts.frequencies(ids)[:, : order + 1] * weights
        return Chain(text, ids != UNKNOWN, self.counts.reach(ids), weights, terms)

    def distribution(self, context: str, order: int) -> Array:
        """P(· | context) over the vocabulary, of shape (V,)."""
        return self._distribution(self.vocabulary.encode(context), order)

    def _distribution(self, context: Ids, order: int) -> Array:
        return self.counts.mixture(context, self._weights(order))

    def perplexities(self, text: str, first: int = 0) -> Array:
        """The perplexity of a text from its character `first` on under each order from 1, of shape (max_order,).

        It is the exp of all nats over all scored characters; NaN where no character is known.
        """
        ids = self.vocabulary.encode(text)
        P = self.counts.frequencies(ids)[first:][ids[first:] != UNKNOWN]
        if not len(P):
            return np.full(self.max_order, np.nan)
        nats = [-np.log(P[:, : n + 1] @ self.weights[n - 1]).mean() for n in range(1, self.max_order + 1)]
        return np.exp(nats)

    def seen_shares(self, text: str) -> Array:
        """The share of a text's n-grams that the training text has, for each order, of shape (max_order,).

        NaN where the text is shorter than the n-gram.
        """
        levels = self.counts.nodes(self.vocabulary.encode(text))[1:]
        return np.array([np.mean(level != _ABSENT) if len(level) else np.nan for level in levels])

    def write(self, prefix: str, length: int, order: int, generator: np.random.Generator) -> str:
        """Continue a prefix with the model of this order, drawing each character from P(· | all before it)."""
        ids = self.vocabulary.encode(prefix).tolist()
        for _ in range(length):
            below = self._distribution(np.array(ids[-order:], dtype=np.int64), order).cumsum()
            ids.append(int(below.searchsorted(generator.random() * below[-1], side="right")))
        return self.vocabulary.decode(np.array(ids[len(prefix) :], dtype=np.int64))

    def _weights(self, order: int) -> Array:
        _check_order(order, self.max_order)
        return self.weights[order - 1]


def _check_order(order: int, greatest: int) -> None:
    if not 1 <= order <= greatest:
        raise InputError(
            "{name} is {value}; allowed: {low:,.12g} to {high:,.12g}", name="order", value=order, low=1, high=greatest
        )


def fit_ngrams(text: str, max_order: int = MAX_ORDER) -> NgramModel:
    """Models of every order up to `max_order`, fitted on a training text.

    In the part set aside, as in any text, only characters that the counted text has are scored.
    Raises InputError for an empty text and for an order that is not 1 to 6.
    """
    _check_order(max_order, MAX_ORDER)
    if not text:
        raise InputError("the text is empty; it needs at least two different characters")
    vocabulary = Vocabulary(text)
    ids = vocabulary.encode(text)
    fitted = len(ids) - int(len(ids) * SET_ASIDE)
    P = count(ids[:fitted], len(vocabulary), max_order).frequencies(ids)[fitted:]
    P = P[np.isin(ids[fitted:], ids[:fitted])]
    weights = tuple(fit_weights(P[:, : n + 1]) for n in range(1, max_order + 1))
    return NgramModel(vocabulary, count(ids, len(vocabulary), max_order), weights)


REFERENCE_ORDERS = (2, 3, 4, 5)


@dataclass(frozen=True)
class References:
    """What a held-out perplexity is measured against: guessing, and counting in the same training part.

    `uniform` is V. `ngrams` are the perplexities of the interpolated models of the REFERENCE_ORDERS.
    All are of the same held-out `characters`, those that a recurrent network is scored on as well: the
    vocabulary has them, and they are not the first, which it only reads. With no such characters,
    the counted ones are NaN.
    """

    uniform: int
    unigram: float
    ngrams: Mapping[int, float]
    characters: int

    def best_order(self) -> int:
        """The order that predicts the held-out text best."""
        return min(self.ngrams, key=self.ngrams.__getitem__)


def references(corpus: Corpus) -> References:
    """The reference perplexities of a corpus's held-out part. Raises InputError for an empty training part."""
    model = fit_ngrams(corpus.training, max(REFERENCE_ORDERS))
    perplexities = model.perplexities(corpus.held_out, first=1)
    scored = int((corpus.vocabulary.encode(corpus.held_out)[1:] != UNKNOWN).sum())
    unigram, *ngrams = map(float, perplexities)
    return References(len(corpus.vocabulary), unigram, dict(zip(REFERENCE_ORDERS, ngrams, strict=True)), scored)
