"""Two languages that say the same, and numbers in a readable form."""

from __future__ import annotations

import ast
import math
import re
from functools import cache
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_keywords
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.config import PRESETS
from rnnviz.errors import InputError
from rnnviz.i18n import LANGUAGES, SOURCE, duration, explain, lesson, lesson_part, match_language, quantity, translator
from rnnviz.runs.reports import FailureReport
from rnnviz.signals import SIGNALS
from rnnviz.text.corpora import CORPORA
from rnnviz.ui.frame import PAGES
from tests.helpers import read_quantity

ROOT = Path(__file__).resolve().parent.parent
OTHERS = [language for language in LANGUAGES if language != SOURCE]
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u2b00-\u2bff]")
HAN = re.compile("[\u4e00-\u9fff]")


@cache
def extracted() -> tuple[str, ...]:
    """Every message of the code, found with the keywords and folders that `make messages` uses."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (keywords,) = re.findall(r"^KEYWORDS := (.*)$", makefile, re.MULTILINE)
    (folders,) = re.findall(r"pybabel .*\bextract\b.* --add-location=never (.*)$", makefile, re.MULTILINE)
    ours = {**DEFAULT_KEYWORDS, **parse_keywords(re.findall(r"-k (\S+)", keywords))}
    found: dict[str, None] = {}
    for folder in folders.split():
        for _file, _line, message, _comments, _context in extract_from_dir(ROOT / folder, keywords=ours):
            assert isinstance(message, str), message
            found[message] = None
    return tuple(found)


@cache
def catalog(language: str) -> Catalog:
    with (ROOT / "rnnviz" / "locale" / language / "LC_MESSAGES" / "rnnviz.po").open("rb") as file:
        return read_po(file, locale=language)


@cache
def pages() -> dict[str, str]:
    """Names and titles of the pages, read from the source, because importing it would import Streamlit."""
    tree = ast.parse((ROOT / "rnnviz" / "ui" / "frame.py").read_text(encoding="utf-8"))
    assigned = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "PAGES"]
    (value,) = (node.value for node in assigned)
    assert isinstance(value, ast.Tuple)
    calls = [
        [ast.literal_eval(argument) for argument in call.args] for call in value.elts if isinstance(call, ast.Call)
    ]
    return {name: title for name, title, *_ in calls}


def fields(message: str) -> list[str]:
    """The names in braces, sorted; a number's format may differ between languages, but not its name."""
    return sorted(field for _, field, _, _ in Formatter().parse(message) if field is not None)


# Messages


def test_there_are_messages_of_every_kind() -> None:
    """The keywords find labels in tables, errors, reasons of failures and texts of pages."""
    messages = extracted()
    for expected in ("hidden state", "Sums", "GRU from scratch, SGD", "Train", "the file is empty", "Perplexity"):
        assert expected in messages
    assert any(message.startswith("the training diverged") for message in messages)
    assert any(message.startswith("the worker failed") for message in messages)


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_translated(language: str) -> None:
    """None is missing and none is empty."""
    catalogue = catalog(language)
    assert [m for m in extracted() if m not in catalogue or not catalogue[m].string] == []


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_left_over(language: str) -> None:
    """Every message of the catalogue is in the code, word for word, and none is fuzzy."""
    catalogue = catalog(language)
    assert [m.id for m in catalogue if m.id and m.id not in extracted()] == []
    assert list(catalogue.obsolete) == []
    assert [m.id for m in catalogue if m.id and m.fuzzy] == []


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_same_placeholders(language: str) -> None:
    """The same values are filled in in every language, and Plotly's %{x} are kept."""
    for message in catalog(language):
        if message.id:
            assert isinstance(message.id, str)
            assert isinstance(message.string, str)
            assert fields(message.string) == fields(message.id), message.id
            assert message.string.count("%{") == message.id.count("%{"), message.id


@pytest.mark.parametrize("language", OTHERS)
def test_translations_are_in_their_language(language: str) -> None:
    """All but formulas and proper names have Chinese characters."""
    same = [str(m.id) for m in catalog(language) if m.id and not HAN.search(str(m.string))]
    assert [message for message in same if re.search("[a-z]{4}", re.sub(r"\{[^}]*\}", "", message))] == []


@pytest.mark.parametrize("language", OTHERS)
def test_the_labels_of_our_tables_are_translated(language: str) -> None:
    """Signals, presets, corpora and pages are looked up as when a page is drawn."""
    translate = translator(language)
    labels = [signal.label for signal in SIGNALS.values()] + [preset.label for preset in PRESETS.values()]
    labels += [corpus.label for corpus in CORPORA.values()] + list(pages().values())
    assert [label for label in labels if translate(label) == label] == []


def test_labels_do_not_shout() -> None:
    """They have no emoji and no exclamation marks in any language."""
    texts = [*extracted(), *(str(m.string) for language in OTHERS for m in catalog(language) if m.id)]
    for text in texts:
        plain = re.sub(r"\{[^}]*\}", "", text)
        assert not EMOJI.search(plain), text
        assert not re.search("[!！]", plain), text


def test_english_is_what_the_code_says() -> None:
    """The source language needs no catalogue, and what a catalogue lacks stays English."""
    assert translator("en")("Perplexity") == "Perplexity"
    assert translator("zh")("Perplexity") == "困惑度"
    assert translator("zh")("no such message") == "no such message"


def test_an_error_is_explained_in_the_readers_language() -> None:
    """Message and values are sent separately and put together here."""
    error = InputError("{name} is {value}; allowed: {allowed}", name="cell", value="elman", allowed="rnn, gru")
    assert explain(error, translator("en")) == str(error) == "cell is elman; allowed: rnn, gru"
    chinese = explain(error, translator("zh"))
    assert HAN.search(chinese)
    assert all(value in chinese for value in ("cell", "elman", "rnn, gru"))


@pytest.mark.parametrize("place", ["in step", "in the last epoch"])
def test_a_failure_has_one_message_in_all_languages(place: str) -> None:
    """The failure of a diverged run is the same in the folder and translated."""
    (message,) = [m for m in extracted() if m.startswith(f"the training diverged: {place}")]
    values = dict.fromkeys(fields(message), 1)
    assert FailureReport(1, 1, message, values).reason == message.format(**values)
    assert HAN.search(translator("zh")(message).format(**values))


# Lessons


def headings(page: str, language: str) -> list[str]:
    return re.findall(r"^## (.+)$", lesson(page, language), re.MULTILINE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_has_its_lesson(language: str) -> None:
    """Every lesson also has its page."""
    lessons = {path.stem for path in (ROOT / "rnnviz" / "lessons" / language).glob("*.md")}
    assert lessons == set(pages())
    assert {path.stem for path in (ROOT / "pages").glob("*.py")} == set(pages())


@pytest.mark.parametrize("page", pages())
@pytest.mark.parametrize("language", OTHERS)
def test_lessons_say_the_same_in_every_language(page: str, language: str) -> None:
    """They have the same parts in the same order, with as many code blocks, formulas, list items and tables in each."""
    assert headings(page, language) == headings(page, SOURCE) != []
    for part in headings(page, SOURCE):
        ours, theirs = (lesson_part(page, each, part) for each in (SOURCE, language))
        for pattern in (r"^```", r"\$\$", r"(?<!\$)\$(?!\$)", r"^\d+\. ", r"^[-*] ", r"^\|"):
            count = [len(re.findall(pattern, text, re.MULTILINE)) for text in (ours, theirs)]
            assert count[0] == count[1], f"{part}: {pattern}"
        for block, other in zip(*(re.findall(r"```.*?```", t, re.DOTALL) for t in (ours, theirs)), strict=True):
            assert code_of(block) == code_of(other)


def code_of(block: str) -> list[str]:
    """A code block without its comments, which are in the reader's language, and without its strings."""
    return [re.sub(r'".*?"', '""', line.split("#")[0]).rstrip() for line in block.splitlines()]


@pytest.mark.parametrize("page", pages())
@pytest.mark.parametrize("language", LANGUAGES)
def test_lessons_are_complete(page: str, language: str) -> None:
    """No part is empty, fences and formulas are closed, Chinese parts are in Chinese, and there are no emoji."""
    for part in headings(page, language):
        text = lesson_part(page, language, part)
        assert text
        assert len(re.findall("^```", text, re.MULTILINE)) % 2 == 0
        assert text.count("$") % 2 == 0
        assert bool(HAN.search(text)) is (language == "zh") or "```" in text or "lyrics" in text
        assert not EMOJI.search(text)


@pytest.mark.parametrize("page", pages())
def test_a_page_asks_for_the_parts_that_its_lesson_has(page: str) -> None:
    """It leaves none unread."""
    sources = [ROOT / "pages" / f"{page}.py", *(ROOT / "rnnviz" / "chapters" / page).glob("*.py")]
    pattern = r"""(?:frame\.lesson\(|introduce\(frame, )["'](\w+)["']\)"""
    asked = [part for source in sources for part in re.findall(pattern, source.read_text("utf-8"))]
    if page == "home":
        asked += [f"about_{info.name}" for info in PAGES if info.name not in ("home", "status")]
    if "ui.ask(frame, questions)" in (text := sources[0].read_text("utf-8")):
        names = re.findall(r"""^    "(\w+)": \(_\(""", text, re.MULTILINE)
        asked += [f"{name}{part}" for name in names for part in ("", "_try", "_why")]
    assert sorted(set(asked)) == sorted(headings(page, SOURCE))


def test_a_part_ends_where_the_next_one_begins() -> None:
    """Its heading is not part of it, and a part that does not exist is a KeyError."""
    text = lesson_part("train", "en", "try")
    assert text.startswith("1. ")
    assert "## " not in text
    with pytest.raises(KeyError):
        lesson_part("train", "en", "nowhere")


# The reader's language


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh_TW", "zh"),
        ("ZH-hans-CN", "zh"),
        ("en", "en"),
        ("en-GB", "en"),
        ("de-DE", "en"),
        ("zhx", "en"),
        ("", "en"),
        ("-", "en"),
        ("*", "en"),
        (None, "en"),
    ],
)
def test_a_browsers_locale_gives_a_language(locale: str | None, language: str) -> None:
    """It is one of ours if we have it, and English otherwise."""
    assert match_language(locale) == language


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1, "1.00"),
        (4.56, "4.56"),
        (4.564, "4.56"),
        (0.0123, "0.0123"),
        (0.01, "0.0100"),
        (0.1, "0.100"),
        (0.00012345, "0.000123"),
        (0.0001, "0.000100"),
        (0.00001, "1.00 × 10⁻⁵"),
        (12.34, "12.3"),
        (9.996, "10.0"),
        (99.96, "100"),
        (151, "151"),
        (151.43, "151"),
        (999.4, "999"),
        (999.6, "1,000"),
        (1027, "1,030"),
        (12_345, "12,300"),
        (1_234_567, "1,230,000"),
        (1e7, "1.00 × 10⁷"),
        (3e14, "3.00 × 10¹⁴"),
        (-4.56, "-4.56"),
        (-12_345, "-12,300"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "–"),
    ],
)
def test_a_number_has_three_significant_digits(value: float, text: str) -> None:
    """It has commas between thousands, powers of ten only for extreme values, and signs for NaN and infinities."""
    assert quantity(value) == text


@given(st.floats(1e-12, 1e12))
def test_a_rounded_number_is_close_to_the_number(value: float) -> None:
    """It is within half a step of its third digit, has three digits or more, and never ends in a point."""
    text = quantity(value)
    assert read_quantity(text) == pytest.approx(value, rel=0.00501)
    assert not text.endswith(".")
    assert len(re.sub(r" ×.*|\D", "", text).lstrip("0")) >= 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (7, "0:07"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (754, "12:34"),
        (3599.6, "1:00:00"),
        (3723, "1:02:03"),
        (360_000, "100:00:00"),
        (-5, "0:00"),
    ],
)
def test_a_span_of_time_is_written_as_on_a_clock(seconds: float, text: str) -> None:
    """It has minutes and seconds, and hours if there are any."""
    assert duration(seconds) == text
