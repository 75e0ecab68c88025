"""What a text quotes: its spans that stand word for word in a training text.

A suffix automaton of the training text (Blumer et al. 1985, "The smallest automaton recognizing the
subwords of a text") reads the other text once. After each character it knows the longest span that
ends there and occurs in the training text. Both take time in proportion to the texts' lengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SHORTEST = 8  # characters; shorter spans recur by chance


@dataclass(frozen=True)
class Quotation:
    """The characters from `start` to before `end`, which the training text has from `source` on."""

    start: int
    end: int
    source: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Quoted:
    """A text with its quotations in order.

    Each is as long as it can be: with one more character on either side it would not occur in the
    training text. So none lies within another, but they may overlap.
    """

    text: str
    quotations: tuple[Quotation, ...]

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Whether each character is part of a quotation, of shape (len(text),)."""
        marked = np.zeros(len(self.text), dtype=np.bool_)
        for quotation in self.quotations:
            marked[quotation.start : quotation.end] = True
        return marked

    @property
    def share(self) -> float:
        """The share of the characters that are part of a quotation; 0 for an empty text."""
        return float(self.marked.mean()) if self.text else 0.0

    @property
    def longest(self) -> Quotation | None:
        """The first of the longest quotations; None where there is none."""
        return max(self.quotations, key=len, default=None)

    def passages(self) -> Iterator[tuple[str, bool]]:
        """The text cut into passages that are quoted and passages that are not."""
        marked = self.marked
        edges = [0, *(np.flatnonzero(np.diff(marked)) + 1).tolist(), len(self.text)]
        for start, end in pairwise(edges):
            if start < end:
                yield self.text[start:end], bool(marked[start])


class Source:
    """A training text, prepared once, in which the quotations of other texts are found.

    Each state of the automaton stands for spans that end at the same places in the text: `_length`
    is the length of the longest of them, `_end` the first place where they end. The shorter
    suffixes of a span end at more places; `_link` is the state of the longest such suffix.
    """

    def __init__(self, training: str) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._link, self._length, self._end = [-1], [0], [0]
        following, link = self._next, self._link
        last = 0  # the state of the whole text so far
        for end, character in enumerate(training, start=1):
            new = self._add({}, 0, end, end)
            state = last
            while state != -1 and character not in following[state]:
                following[state][character] = new
                state = link[state]
            if state != -1:
                link[new] = self._suffix(state, character)
            last = new

    def _suffix(self, state: int, character: str) -> int:
        """The state of a state's longest span and a character; it is split off where longer spans share it."""
        target = self._next[state][character]
        length = self._length[state] + 1
        if self._length[target] == length:
            return target
        split = self._add(self._next[target].copy(), self._link[target], length, self._end[target])
        while state != -1 and self._next[state].get(character) == target:
            self._next[state][character] = split
            state = self._link[state]
        self._link[target] = split
        return split

    def _add(self, following: dict[str, int], link: int, length: int, end: int) -> int:
        self._next.append(following)
        self._link.append(link)
        self._length.append(length)
        self._end.append(end)
        return len(self._length) - 1

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """After each character, the length of the longest span that ends there, and where it first ends in the source.

        A last (0, 0) stands for the end of the text.
        """
        state = length = 0
        for character in text:
            while state and character not in self._next[state]:
                state = self._link[state]
                length = self._length[state]
            if character in self._next[state]:
                state = self._next[state][character]
                length += 1
            yield length, self._end[state]
        yield 0, 0

    def quoted(self, text: str, shortest: int = SHORTEST) -> Quoted:
        """The quotations in a text that have at least `shortest` characters, which is 1 or more."""
        found: list[Quotation] = []
        before, source_end = 0, 0
        for end, (length, next_source_end) in enumerate(self._spans(text)):
            if length <= before and before >= shortest:  # the span that ends here cannot be continued
                found.append(Quotation(end - before, end, source_end - before))
            before, source_end = length, next_source_end
        return Quoted(text, tuple(found))


def quoted_from(training: str, text: str, shortest: int = SHORTEST) -> Quoted:
    """The same quotations for one short text: nothing is prepared and nothing stays in memory.

    The training text is searched at most twice for each character of the text, which is fast for some hundreds.
    """
    found: list[Quotation] = []
    reached = 0  # where the last quotation ends
    for start in range(len(text) - shortest + 1):
        end = max(reached, start + shortest)
        if text[start:end] not in training:
            continue
        while end < len(text) and text[start : end + 1] in training:
            end += 1
        if end > reached:
            found.append(Quotation(start, end, training.index(text[start:end])))
            reached = end
    return Quoted(text, tuple(found))
