"""Corpora and vocabulary: from a name, a file, bytes or a zip to training and held-out text."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from charset_normalizer import from_bytes
from numpy.typing import NDArray

from rnnviz.errors import InputError

MAX_BYTES = 20 * 2**20
UNKNOWN = -1
_ENCODINGS = ["utf_8", "utf_16", "utf_16_le", "utf_16_be", "gb18030"]
_HERE = Path(__file__).resolve().parent
# `data/` stands beside the package in a checkout and inside it once installed as a wheel.
DATA = next(folder for folder in (_HERE / "data", _HERE.parent / "data") if folder.is_dir())


class Vocabulary:
    """The distinct characters of a text, in the order of their code points, and their indices."""

    def __init__(self, characters: str) -> None:
        self.characters = "".join(sorted(set(characters)))
        self._index = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: object) -> bool:
        return character in self._index

    def encode(self, text: str) -> NDArray[np.int64]:
        """Indices of shape (len(text),); a character outside the vocabulary is UNKNOWN, -1."""
        return np.fromiter((self._index.get(c, UNKNOWN) for c in text), dtype=np.int64, count=len(text))

    def decode(self, indices: NDArray[np.int64]) -> str:
        """The characters of known indices."""
        return "".join(self.characters[i] for i in indices)


def one_hot(indices: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """One-hot vectors of shape (*indices.shape, size); UNKNOWN gives the zero vector."""
    vectors: NDArray[np.float32] = (indices[..., None] == np.arange(size)).astype(np.float32)
    return vectors


@dataclass(frozen=True)
class Corpus:
    """A text cut in two: the part a model learns and the part it is only asked about."""

    name: str
    training: str
    held_out: str

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.training)

    @property
    def known_share(self) -> float:
        """The share of held-out characters that the vocabulary knows; 1 where nothing is held out."""
        known = sum(character in self.vocabulary for character in self.held_out)
        return known / len(self.held_out) if self.held_out else 1.0


def clean(text: str, *, keep_line_breaks: bool = False) -> str:
    """Line breaks of every system become spaces, as in the notes; or, where they are kept, a plain newline."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if keep_line_breaks else text.replace("\n", " ")


def split(
    text: str,
    name: str = "text",
    *,
    max_chars: int = 10_000,
    held_out_chars: int | None = None,
    keep_line_breaks: bool = False,
) -> Corpus:
    """Cut a text into its training part and the held-out part that follows it.

    The text is cleaned first. The held-out part has
    `held_out_chars` characters (by default a tenth of the training part); where too few follow
    the first `max_chars`, it is cut from the end and the training part is the shorter for it.

    Raises InputError for an empty text or one with a single distinct character.
    """
    text = clean(text, keep_line_breaks=keep_line_breaks)
    if not text.strip():
        raise InputError("the text is empty; it needs at least two different characters")
    held_out = min(max_chars, len(text)) // 10 if held_out_chars is None else held_out_chars
    end = min(max_chars, len(text) - held_out)
    if end < 1:
        raise InputError(
            "the text has {length:,} characters and {held_out:,} are to be held out, which leaves none to learn from",
            length=len(text),
            held_out=held_out,
        )
    corpus = Corpus(name, text[:end], text[end : end + held_out])
    if len(corpus.vocabulary) < 2:
        raise InputError(
            "the training text is the one character {character!r} repeated; it needs at least two different characters",
            character=corpus.training[0],
        )
    return corpus


def decode(data: bytes, limit: int = MAX_BYTES) -> str:
    """The text in a file's bytes: UTF-8, UTF-16 or GB18030, or a zip that holds one such text.

    Raises InputError where it is empty, larger than `limit` bytes, in no known encoding, or a
    zip that is encrypted, damaged, too large inside, or does not hold exactly one text.
    """
    if len(data) > limit:
        raise InputError("the file has {size:,} bytes; allowed: at most {limit:,}", size=len(data), limit=limit)
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        data = _unzip(data, limit)
    if not data.strip():
        raise InputError("the file is empty")
    try:
        text: str | None = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        match = from_bytes(data, cp_isolation=_ENCODINGS).best()
        text = None if match is None else str(match).removeprefix("\ufeff")
    if text == "":
        raise InputError("the file is empty")
    if text is None or "\x00" in text:
        raise InputError("the file is not a text in UTF-8, UTF-16 or GB18030; save it as UTF-8 and try again")
    return text


def _unzip(data: bytes, limit: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [i for i in archive.infolist() if not i.is_dir() and not _is_clutter(i.filename)]
            texts = [i for i in names if i.filename.lower().endswith(".txt")] or names
            if len(texts) != 1:
                raise InputError("the zip holds {count} texts; allowed: exactly one", count=len(texts))
            (entry,) = texts
            if entry.flag_bits & 0x1:
                raise InputError("the zip is encrypted; save it without a password")
            too_large = InputError("the text in the zip is larger than {limit:,} bytes unpacked", limit=limit)
            if entry.file_size > limit:
                raise too_large
            with archive.open(entry) as file:
                inflated = file.read(limit + 1)  # the header may lie about the size
            if len(inflated) > limit:
                raise too_large
            return inflated
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib, bz2 and lzma each raise their own kinds for a damaged archive
        raise InputError("the zip cannot be read: {reason}", reason=error) from error


def _is_clutter(name: str) -> bool:
    return name.startswith("__MACOSX/") or Path(name).name.startswith(".")


def read(source: str | Path | bytes, *, seed: int = 0) -> str:
    """The whole text of a corpus: a name of ours, a path, or a file's bytes.

    Raises InputError where there is no such corpus or file, or it cannot be decoded.
    """
    if isinstance(source, bytes):
        return decode(source)
    if source in CORPORA:
        return CORPORA[str(source)].text(seed)
    path = Path(source)
    try:
        if path.exists() and not path.is_file():
            raise IsADirectoryError(0, "it is not a file")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                "the file has {size:,} bytes; allowed: at most {limit:,}", size=path.stat().st_size, limit=MAX_BYTES
            )
        return decode(path.read_bytes())
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "{source} is neither a corpus ({names}) nor a file that can be read: {reason}",
            source=source,
            names=", ".join(CORPORA),
            reason=getattr(error, "strerror", None) or error,
        ) from error


def generate_brackets(size: int = 20_000, seed: int = 0) -> str:
    """Balanced brackets of three kinds, one expression a word: what closes must match what opened."""
    rng = random.Random(seed)

    def expression(depth: int) -> str:
        pieces = []
        for _ in range(rng.choice((1, 1, 2))):
            left, right = rng.choice(("()", "[]", "{}"))
            inside = expression(depth + 1) if rng.random() < 0.75 ** (depth + 1) else ""
            pieces.append(left + inside + right)
        return "".join(pieces)

    return _words(lambda: expression(0), size)


def generate_counting(size: int = 20_000, seed: int = 0) -> str:
    """Words a…ab…b with as many b as a: to know where a word ends, a model has to count."""
    rng = random.Random(seed)

    def word() -> str:
        n = rng.randint(1, 12)
        return "a" * n + "b" * n

    return _words(word, size)


def generate_sums(size: int = 20_000, seed: int = 0) -> str:
    """Sums such as 12+34=46, one a word, of numbers from 0 to 99."""
    rng = random.Random(seed)

    def equation() -> str:
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        return f"{a}+{b}={a + b}"

    return _words(equation, size)


def _words(word: Callable[[], str], size: int) -> str:
    """Words joined by spaces until the text is `size` characters long, cut there."""
    if size < 1:
        raise InputError("a generated corpus of {size} characters was asked for; it needs at least 1", size=size)
    words: list[str] = []
    length = -1  # a space stands before every word but the first
    while length < size:
        words.append(word())
        length += len(words[-1]) + 1
    return " ".join(words)[:size]


@dataclass(frozen=True)
class NamedCorpus:
    """A corpus of ours. `prefixes` are what its models are asked to continue, unless told otherwise."""

    name: str
    label: str
    text: Callable[[int], str]
    prefixes: tuple[str, ...]


def _shipped(file: str) -> Callable[[int], str]:
    return lambda seed: (DATA / file).read_text(encoding="utf-8")


CORPORA: dict[str, NamedCorpus] = {
    corpus.name: corpus
    for corpus in (
        NamedCorpus("lyrics-zh", "Song lyrics (Chinese)", _shipped("lyrics-zh.txt"), ("分开", "不分开")),
        NamedCorpus("tales-en", "Tales (English)", _shipped("tales-en.txt"), ("The ", "She said")),
        NamedCorpus("brackets", "Balanced brackets", lambda s: generate_brackets(seed=s), ("([", "{")),
        NamedCorpus("counting", "Counting: a…ab…b", lambda s: generate_counting(seed=s), ("aaa", "aaaaaa")),
        NamedCorpus("sums", "Sums", lambda s: generate_sums(seed=s), ("12+34=", "7+8=")),
    )
}


def default_prefixes(corpus: Corpus) -> tuple[str, ...]:
    """What a model of this corpus is asked to continue: its own prefixes, or the text's first characters."""
    named = CORPORA.get(corpus.name)
    return named.prefixes if named else (corpus.training.lstrip()[:4] or corpus.training[:1],)


def default_probe(corpus: Corpus, length: int = 48) -> str:
    """The text over which gates are recorded unless another is given: how the corpus begins."""
    return corpus.training[:length]
