"""The pictures of the chapter on sequences show exactly what the mini-batches and vectors are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plotly.colors import unlabel_rgb

from rnnviz.figures import sequences
from rnnviz.figures.kit import visible
from rnnviz.figures.sequences import COLUMNS, painting_figures, vectors_figure, windows_figure
from rnnviz.i18n import translator
from rnnviz.text.corpora import Vocabulary, clean, one_hot
from rnnviz.text.sampling import characters_needed, cover, epoch_starts, window
from tests.figures.helpers import packed

SAMPLINGS = ("sequential", "random")
sizes = st.tuples(st.integers(2, 130), st.integers(1, 6), st.integers(1, 40))
Places = dict[int, tuple[int, int, int]]


def letters(length: int) -> str:
    """A text in which neighbours differ."""
    return "".join(chr(ord("a") + (n * 7) % 26) for n in range(length))


def painted(length: int, B: int, T: int, sampling: str, k: int = 0, **options: Any) -> tuple[go.Figure, Any]:
    begin = epoch_starts(sampling, length, B, T, seed=1, epoch=2)  # type: ignore[arg-type]
    carried = sampling == "sequential"
    (figure,) = painting_figures(letters(length), cover(begin, T, length), [k], carried=carried, **options)
    return go.Figure(figure), begin


def read_places(figure: go.Figure) -> Places:
    """The hover text of each character that is read: position to mini-batch, row and step, from 0."""
    found: Places = {}
    for trace in figure.data[1:]:
        if trace.mode == "text" and trace.customdata is not None:
            for x, y, sign, (p, k, i, t) in zip(trace.x, trace.y, trace.text, trace.customdata, strict=True):
                assert (x, y) == ((p - 1) % COLUMNS, (p - 1) // COLUMNS)
                assert sign == letters(p)[p - 1]
                assert p - 1 not in found
                found[int(p) - 1] = (k - 1, i - 1, t - 1)
    return found


def named(figure: go.Figure, name: str) -> set[int]:
    """The positions of the marks whose name begins with `name`."""
    traces = [trace for trace in figure.data if (trace.name or "").startswith(name)]
    return {int(y) * COLUMNS + int(np.ceil(x)) for trace in traces for x, y in zip(trace.x, trace.y, strict=True)}


def colour_at(figure: go.Figure, z: float) -> str:
    """The colour of a cell of this value."""
    scale = figure.data[0].colorscale
    bands = zip(scale[::2], scale[1::2], strict=True)
    return next(str(colour) for (low, colour), (high, _c) in bands if low <= z <= high)


# The painted text


@settings(max_examples=40)
@given(sizes, st.sampled_from(SAMPLINGS))
def test_the_picture_covers_exactly_what_the_batches_cover(size: tuple[int, int, int], sampling: str) -> None:
    """Each character that a window reads is painted once, with its mini-batch, row and step; no other is."""
    length, B, T = size
    assume(length >= characters_needed(sampling, B, T))  # type: ignore[arg-type]
    figure, begin = painted(length, B, T, sampling)
    read: Places = {}
    asked: set[int] = set()
    for k, row in enumerate(begin):
        X, Y = window(np.arange(length), row, T)
        read |= {int(position): (k, i, t) for (t, i), position in np.ndenumerate(X)}
        asked |= {int(position) for position in Y.ravel()}
    assert read_places(figure) == read
    assert named(figure, "only a target") == asked - set(read)
    assert named(figure, "never seen") == set(range(length)) - asked - set(read)


@settings(max_examples=40)
@given(sizes, st.sampled_from(SAMPLINGS), st.sampled_from(["batch", "row"]))
def test_a_colour_is_a_mini_batch_or_a_row(size: tuple[int, int, int], sampling: str, colour_by: Any) -> None:
    """Cells that share it have the same colour, others differ; characters not read are grey, and the rest is empty."""
    length, B, T = size
    assume(length >= characters_needed(sampling, B, T))  # type: ignore[arg-type]
    figure, _begin = painted(length, B, T, sampling, colour_by=colour_by)
    cells = np.array(figure.data[0].z).ravel()
    number = {p: place[colour_by == "row"] for p, place in read_places(figure).items()}
    colours = [colour_at(figure, z) for z in cells]
    of_number = {n: {colours[p] for p in number if number[p] == n} for n in set(number.values())}
    assert all(len(found) == 1 for found in of_number.values())
    if len(of_number) <= 64:
        assert len(set.union(*of_number.values())) == len(of_number)
    unread = {colours[p] for p in range(length) if p not in number}
    assert unread <= {sequences._GREY}
    assert set(colours[length:]) <= {sequences._NOTHING}


@settings(max_examples=40)
@given(sizes, st.sampled_from(SAMPLINGS), st.integers(0, 8))
def test_the_frames_hold_the_current_mini_batch(size: tuple[int, int, int], sampling: str, k: int) -> None:
    """Every cell of it is in a frame, and no other cell is."""
    length, B, T = size
    assume(length >= characters_needed(sampling, B, T))  # type: ignore[arg-type]
    figure, begin = painted(length, B, T, sampling)
    k %= len(begin)
    figure, begin = painted(length, B, T, sampling, k)
    frames = [trace for trace in figure.data[1:] if trace.mode == "lines"]
    assert len(frames) == 2
    for frame in frames:
        corners = np.array([p for p in zip(frame.x, frame.y, strict=True) if p[0] is not None], dtype=float)
        inside: list[int] = []
        for box in corners.reshape(-1, 5, 2):
            (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
            assert bottom - top == 1
            line = int(top + 0.5)
            inside += [line * COLUMNS + c for c in range(int(left + 0.5), int(right + 0.5))]
        assert sorted(inside) == sorted(window(np.arange(length), begin[k], T)[0].ravel().tolist())


def test_the_state_is_carried_where_a_row_continues() -> None:
    """In sequential sampling, each window but a row's first begins where the one before ended; in random, none does."""
    figure, begin = painted(300, 4, 8, "sequential")
    places = read_places(figure)
    carried, fresh = named(figure, "state carried over"), named(figure, "fresh state")
    assert fresh == set(begin[0].tolist())
    assert carried == set(begin[1:].ravel().tolist())
    for p in carried:
        k, i, t = places[p]
        assert t == 0
        assert places[p - 1] == (k - 1, i, 7)
    figure, begin = painted(300, 4, 8, "random")
    assert named(figure, "fresh state") == set(begin.ravel().tolist())
    assert named(figure, "state carried over") == set()


def test_what_is_left_out_is_counted_in_the_legend() -> None:
    """With 300 characters in four rows of eight, it counts each row's last target and the two after it."""
    names = {trace.name for trace in painted(300, 4, 8, "sequential", 4)[0].data if trace.showlegend is not False}
    assert {"only a target: 4", "never seen: 8", "mini-batch 5", "fresh state", "state carried over"} <= names


@given(st.integers(1, 64))
def test_characters_contrast_with_every_colour(count: int) -> None:
    """They are black or white, with a contrast of at least 4.5."""

    def luminance(colour: str) -> float:
        rgb = unlabel_rgb(colour) if colour.startswith("rgb") else [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        channels = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]

    for scale in (sequences._SCALE, sequences._STEP_SCALE):
        shades = sequences._shades(count, scale)
        pairs = [*zip(shades, sequences._inks(shades), strict=True)]
        for shade, ink in [*pairs, (sequences._HOT, "#FFFFFF"), (sequences._CHANGED, "#FFFFFF")]:
            low, high = sorted((luminance(shade), luminance(str(ink))))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (shade, ink)


def test_the_longest_text_is_a_small_picture() -> None:
    """2,000 characters in 2,000 mini-batches are sent anew at every step along them."""
    figure, begin = painted(2000, 1, 1, "random")
    assert len(begin) == 1999
    assert len(json.dumps(packed(figure))) < 200_000


# X and Y


@settings(max_examples=40)
@given(sizes, st.sampled_from(SAMPLINGS))
def test_x_and_y_stand_side_by_side_shifted_by_one(size: tuple[int, int, int], sampling: str) -> None:
    """The characters are the window's; those in both have one colour, one column further left in Y."""
    length, B, T = size
    assume(length >= characters_needed(sampling, B, T))  # type: ignore[arg-type]
    text = letters(length)
    vocabulary = Vocabulary(text)
    begin = epoch_starts(sampling, length, B, T, seed=0, epoch=0)  # type: ignore[arg-type]
    X, Y = window(vocabulary.encode(text), begin[0], T)
    figure = go.Figure(windows_figure(X, Y, vocabulary))
    at = {}
    for trace in figure.data[1:]:
        for x, y, sign, data in zip(trace.x, trace.y, trace.text, trace.customdata, strict=True):
            at[int(y), int(x)] = sign
            row, t = int(data[0]) - 1, int(data[1]) - 1
            assert (row, t) == (y, x % (T + 1))
            assert vocabulary.characters[data[2]] == data[4] == text[begin[0][row] + t]
            assert vocabulary.characters[data[3]] == data[5] == text[begin[0][row] + t + 1]
    for i, start in enumerate(begin[0]):
        assert "".join(at[i, x] for x in range(T)) == text[start : start + T]
        assert "".join(at[i, x] for x in range(T + 1, 2 * T + 1)) == text[start + 1 : start + T + 1]
    cells = np.array(figure.data[0].z)
    assert (cells[:, 1:T] == cells[:, T + 1 : 2 * T]).all()
    assert figure.layout.meta["partner"] == T + 1


# Vectors

TYPED = "the rain\nthe river"


def vectors(typed: str = TYPED, of: str = TYPED, translate: Any = str) -> go.Figure:
    vocabulary = Vocabulary(clean(of))
    return go.Figure(vectors_figure(typed, clean(typed), vocabulary.encode(clean(typed)), vocabulary, translate))


def signs(figure: go.Figure) -> dict[tuple[int, int], str]:
    """Row and column of each sign."""
    return {
        (int(y), int(x)): sign
        for trace in figure.data[1:]
        for x, y, sign in zip(trace.x, trace.y, trace.text, strict=True)
    }


def test_each_column_is_typed_cleaned_numbered_and_one_hot() -> None:
    """Signs and cells are those of the text, its vocabulary and its one-hot vectors."""
    figure, cleaned, vocabulary = vectors(), clean(TYPED), Vocabulary(clean(TYPED))
    ids, found, T = vocabulary.encode(cleaned), signs(vectors()), len(TYPED)
    assert [found[0, t] for t in range(T)] == visible(TYPED)
    assert [found[1, t] for t in range(T)] == visible(cleaned)
    assert [int(found[2, t]) for t in range(T)] == ids.tolist()
    ones = {(row - 4, t) for (row, t), sign in found.items() if row >= 4 and sign == "1"}
    assert ones == {(int(i), t) for t, i in enumerate(ids)}
    hot = np.array(figure.data[0].z)[4:] == 1
    assert (hot == one_hot(ids, len(vocabulary)).T).all()
    changed = np.flatnonzero(np.array(figure.data[0].z)[0])
    assert changed.tolist() == [8]
    told = figure.data[0].text[4 + ids[0]][0]
    assert told == "t = 1: t<br>component 7, t: 1"


def test_a_character_that_the_vocabulary_lacks_is_the_zero_vector() -> None:
    """Its index is −1 and its column has no one."""
    figure = vectors("rat?")
    assert [signs(figure)[2, t] for t in range(4)][-1] == "−1"
    ones = (np.array(figure.data[0].z)[4:] == 1).sum(axis=0)
    assert ones.tolist() == [1, 1, 1, 0]


def test_a_large_vocabulary_thins_its_labels() -> None:
    """There are at most about thirty, each at its row."""
    text = "".join(chr(0x4E00 + n) for n in range(60))
    axis = vectors(text, text).layout.yaxis
    names = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert 25 <= len(names) <= 35
    assert names[4] == f"{text[0]} 0"
    assert names[10] == f"{text[6]} 6"


# All of them


def every_figure(translate: Any = str) -> list[go.Figure]:
    vocabulary = Vocabulary(letters(60))
    X, Y = window(vocabulary.encode(letters(60)), np.array([0, 30]), 5)
    return [
        painted(60, 2, 5, "sequential", translate=translate)[0],
        painted(60, 2, 5, "random", colour_by="row", translate=translate)[0],
        go.Figure(windows_figure(X, Y, vocabulary, translate)),
        vectors(translate=translate),
    ]


def texts_of(figure: go.Figure) -> list[str]:
    """The texts of each figure that a reader sees, other than the characters themselves."""
    values = json.loads(figure.to_json())
    found = [axis["title"]["text"] for name, axis in values["layout"].items() if "axis" in name and "title" in axis]
    found += [note["text"] for note in values["layout"].get("annotations", []) if not note["text"].startswith("<b>")]
    for trace in values["data"]:
        found += [trace["name"]] if trace.get("name") else []
        found += [trace["hovertemplate"]] if len(trace.get("hovertemplate", "")) > len("%{text}<extra></extra>") else []
    return found


def test_every_text_of_a_figure_is_translated() -> None:
    """Names, axes and hover texts have been through the translation."""
    for figure in every_figure(lambda message: f"«{message}»"):
        assert texts_of(figure)
        assert all("«" in text for text in texts_of(figure))


def test_figures_can_be_chinese() -> None:
    """They use our own catalogue, with placeholders unharmed."""
    for before, after in zip(every_figure(), every_figure(translator("zh")), strict=True):
        for old, new in zip(texts_of(before), texts_of(after), strict=True):
            assert any("\u4e00" <= c <= "\u9fff" for c in new)
            assert sorted(part.split("}")[0] for part in old.split("%{")[1:]) == sorted(
                part.split("}")[0] for part in new.split("%{")[1:]
            )


def test_a_figure_sets_neither_background_nor_font_colour() -> None:
    """Both come from the page, light or dark."""
    for figure in every_figure():
        layout = figure.layout
        assert (layout.paper_bgcolor, layout.plot_bgcolor, layout.font.color) == (None, None, None)


@pytest.mark.parametrize("text", ["<>", "&<b>", "ab<br>cd"])
def test_a_users_characters_are_never_markup(text: str) -> None:
    """Each mark is one character, and two of a user's characters are never in one line of a hover text."""
    figure = vectors(text, text)
    assert all(len(sign) == 1 or sign.isdecimal() for sign in signs(figure).values())
    for row in figure.data[0].text:
        for told in row:
            assert all(line.count("<") + line.count(">") <= 1 for line in told.split("<br>"))
