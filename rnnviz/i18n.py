"""Languages: labels by gettext, prose in Markdown files, and numbers in a readable form."""

from __future__ import annotations

import gettext
import io
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from rnnviz.errors import InputError

Translate = Callable[[str], str]
LANGUAGES = {"en": "English", "zh": "中文"}
SOURCE = "en"
_HERE = Path(__file__).resolve().parent


def match_language(locale: str | None) -> str:
    """The language of the app for a browser's locale such as `zh-CN` or `en_GB`; English for all others."""
    language = (locale or "").replace("_", "-").split("-")[0].lower()
    return language if language in LANGUAGES else SOURCE


@cache
def translator(language: str) -> Translate:
    """A function from an English message to this language; a message without translation stays English."""
    if language == SOURCE:
        return str
    with (_HERE / "locale" / language / "LC_MESSAGES" / "rnnviz.po").open("rb") as file:
        catalog = read_po(file)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled).gettext


@cache
def lesson(page: str, language: str) -> str:
    """The prose of a page, in Markdown; `lesson_part` cuts it at its `## name` headings."""
    return (_HERE / "lessons" / language / f"{page}.md").read_text(encoding="utf-8")


def lesson_part(page: str, language: str, part: str) -> str:
    """The Markdown below the heading `## part` of a page's lesson, up to the next such heading.

    Raises KeyError where the lesson has no such part.
    """
    parts = dict(section.split("\n", 1) for section in ("\n" + lesson(page, language)).split("\n## ")[1:])
    return parts[part].strip()


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def explain(error: InputError, translate: Translate) -> str:
    """An error's message in the reader's language, with its values filled in."""
    return translate(error.message).format(**error.values)


def why_not_a_language_model(translate: Translate) -> str:
    """What stands beside the perplexity of a model that has read the characters that it predicts."""
    return translate("The model has read the characters that it predicts: this is not a language model’s perplexity.")


def perplexity_names(translate: Translate, *, reads_ahead: bool) -> tuple[str, str]:
    """What the training and the held-out perplexity are called; those of a model that `reads_ahead` say so."""
    _ = translate
    if reads_ahead:
        return _("training, future read"), _("held-out, future read")
    return _("training"), _("held-out")


def why_it_cannot_continue(translate: Translate) -> str:
    """What stands beside a text that a bidirectional model continues."""
    return translate(
        "A bidirectional model cannot continue a text: its backward pass would have to come from the characters that "
        "are not written yet. Here it goes on from the character before instead, and copies."
    )


def quantity(value: float) -> str:
    """A number with three significant digits: 0.0123, 4.56, 151, 12,300, 2.80 × 10⁻⁶; ∞ if it is infinite."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 1000:
        return f"{rounded:,.0f}" if abs(rounded) < 1e7 else _scientific(value)
    if rounded != 0 and abs(rounded) < 1e-4:
        return _scientific(value)
    return f"{rounded:#.3g}".rstrip(".") if rounded else "0"


def _scientific(value: float) -> str:
    digits, exponent = f"{value:.2e}".split("e")
    return times_power(digits, int(exponent))


def times_power(digits: str, exponent: int) -> str:
    """Scientific notation, as in 2.80 × 10⁻⁶."""
    return f"{digits} × 10{str(exponent).translate(_SUPERSCRIPTS)}"


def duration(seconds: float) -> str:
    """A span of time: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
