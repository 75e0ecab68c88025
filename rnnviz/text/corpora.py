"""Corpora and vocabularies: from a name, a file, bytes or a zip to training and held-out text."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import regex
from charset_normalizer import from_bytes
from numpy.typing import NDArray

from rnnviz.config import TrainConfig
from rnnviz.errors import InputError

MAX_BYTES = 20 * 2**20
UNKNOWN = -1
# Python's codecs, by the usual names of the encodings.
ENCODINGS = {
    "UTF-8": "utf_8",
    "UTF-16 LE": "utf_16_le",
    "UTF-16 BE": "utf_16_be",
    "GB18030": "gb18030",
    "Big5": "cp950",
    "Shift-JIS": "cp932",
    "EUC-JP": "euc_jp",
    "EUC-KR": "cp949",
    "Windows-1252": "cp1252",
}
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16 LE", b"\xfe\xff": "UTF-16 BE"}
_KANA, _HANGUL = re.compile("[\u3041-\u30fe]"), re.compile("[\uac00-\ud7a3]")
_IDEOGRAPHS = re.compile("[\u4e00-\u9fff]")
# The bytes of these are also valid GB18030; a large share of a script that Chinese lacks tells them apart.
_BY_SCRIPT = {"Shift-JIS": (_KANA, 0.2), "EUC-JP": (_KANA, 0.2), "EUC-KR": (_HANGUL, 0.95)}
_LEAST_OF_SCRIPT = 15  # different characters; fewer are not enough evidence
RECALL_BETWEEN = "ABCDEFGHIJKLMNOPQRSTUV"  # between a letter and its recall in `generate_recall`
_HERE = Path(__file__).resolve().parent.parent
# `data/` is beside the package in a checkout, and inside it once installed as a wheel.
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
        """The characters at these indices, which must be known."""
        return "".join(self.characters[i] for i in indices)


def one_hot(indices: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """One-hot vectors of shape (*indices.shape, size); UNKNOWN gives the zero vector."""
    vectors: NDArray[np.float32] = (indices[..., None] == np.arange(size)).astype(np.float32)
    return vectors


@dataclass(frozen=True)
class Corpus:
    """A text cut into the part that a model is trained on and the part held out."""

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
    """Replace each carriage return and each line feed by a space, so that CR LF becomes two, as in the lecture notes.

    Where line breaks are kept, those of every system become a line feed.
    """
    if keep_line_breaks:
        return text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", " ").replace("\r", " ")


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
    `held_out_chars` characters (by default a tenth of the training part); if fewer follow the
    first `max_chars`, it is taken from the end of the text and the training part becomes shorter.

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


def corpus_of(config: TrainConfig, text: str | None = None) -> Corpus:
    """The corpus that a configuration names, cut as the configuration says.

    `text` is the whole text where the caller has read it already. Raises InputError where there is
    no such corpus, or where the text is too short to be cut.
    """
    return split(
        read(config.corpus, seed=config.seed) if text is None else text,
        config.corpus if config.corpus in CORPORA else Path(config.corpus).name,
        max_chars=config.max_chars,
        held_out_chars=config.held_out_chars,
        keep_line_breaks=config.keep_line_breaks,
    )


def decode(data: bytes, limit: int = MAX_BYTES, encoding: str | None = None) -> str:
    """The text in a file's bytes, or in the one text of a zip; without an `encoding` of ENCODINGS, it is detected.

    Raises InputError where the file is empty, larger than `limit` bytes or not in the encoding, or is a zip
    that is encrypted, damaged, too large when unpacked, or does not hold exactly one text.
    """
    data = _content(data, limit)
    name = encoding or _find_encoding(data)
    if name is None:
        raise unrecognized()
    try:
        text = data.decode(ENCODINGS[name]).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(
            "the file is not in {encoding}: the bytes at {position:,} are no character; choose another encoding",
            encoding=name,
            position=error.start,
        ) from error
    if text == "":
        raise InputError("the file is empty")
    if "\x00" in text:
        raise unrecognized()
    return text


def find_encoding(data: bytes, limit: int = MAX_BYTES) -> str | None:
    """The encoding of a file's bytes, or of the one text of a zip, by its name in ENCODINGS; None where none fits.

    UTF-8 and the encodings that a byte order mark names are certain; all others are guesses, which a
    person may have to correct. Raises InputError for a file in which `decode` would not look for a text.
    """
    return _find_encoding(_content(data, limit))


def unrecognized() -> InputError:
    """The error for a file whose encoding is neither named nor recognized."""
    return InputError("the encoding of the file is not recognized; choose it, or save the file as UTF-8 and try again")


def _content(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise InputError("the file has {size:,} bytes; allowed: at most {limit:,}", size=len(data), limit=limit)
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        data = _unzip(data, limit)
    if not data.strip():
        raise InputError("the file is empty")
    return data


def _find_encoding(data: bytes) -> str | None:
    for mark, name in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return name
    if _decoded(data, "UTF-8") is not None:
        return "UTF-8"
    for name, (script, share) in _BY_SCRIPT.items():
        text = (_decoded(data, name) or "")[:10_000]
        letters, ideographs = len(set(script.findall(text))), len(set(_IDEOGRAPHS.findall(text)))
        if letters >= _LEAST_OF_SCRIPT and letters > share * (letters + ideographs):
            return name
    codecs = {ENCODINGS[name]: name for name in ("UTF-16 LE", "UTF-16 BE", "GB18030")}
    match = from_bytes(data, cp_isolation=list(codecs)).best()
    return codecs[match.encoding] if match else None


def _decoded(data: bytes, name: str) -> str | None:
    try:
        return data.decode(ENCODINGS[name])
    except UnicodeDecodeError:
        return None


def _unzip(data: bytes, limit: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [i for i in archive.infolist() if not i.is_dir() and not _is_clutter(i.filename)]
            texts = [i for i in names if i.filename.lower().endswith(".txt")] or names
            if len(texts) != 1:
                raise InputError("the zip holds {count:,} texts; allowed: exactly one", count=len(texts))
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


def read(source: str | Path | bytes, *, seed: int = 0, encoding: str | None = None) -> str:
    """The whole text of a corpus, given by a name in CORPORA, a path, or a file's bytes, which `decode` decodes.

    Raises InputError where there is no such corpus or file, or it cannot be decoded.
    """
    if source in CORPORA:
        return CORPORA[str(source)].text(seed)
    return decode(source if isinstance(source, bytes) else read_file(source), encoding=encoding)


def read_file(source: str | Path) -> bytes:
    """The bytes of a file that may be a corpus. Raises InputError where it cannot be read or is too large."""
    path = Path(source)
    try:
        if path.exists() and not path.is_file():
            raise IsADirectoryError(0, "it is not a file")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                "the file has {size:,} bytes; allowed: at most {limit:,}", size=path.stat().st_size, limit=MAX_BYTES
            )
        return path.read_bytes()
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
    """Words of balanced brackets of three kinds: each closing bracket must match the one that opened."""
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
    """Words that are sums of two numbers from 0 to 99, such as 12+34=46."""
    rng = random.Random(seed)

    def equation() -> str:
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        return f"{a}+{b}={a + b}"

    return _words(equation, size)


def generate_recall(size: int = 20_000, seed: int = 0) -> str:
    """Words such as bABCDEFGHIJKLMNOPQRSTUVb: to know how a word ends, a model has to recall how it began."""
    rng = random.Random(seed)

    def word() -> str:
        letter = rng.choice("abcd")
        return f"{letter}{RECALL_BETWEEN}{letter}"

    return _words(word, size)


def _words(word: Callable[[], str], size: int) -> str:
    """Join words by spaces until the text is `size` characters long, and cut it there."""
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
    """A corpus that ships with rnnviz. Its models continue `prefixes` by default."""

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
        NamedCorpus("recall", "Delayed recall", lambda s: generate_recall(seed=s), ("aABCD", "dABCD")),
        NamedCorpus("sums", "Sums", lambda s: generate_sums(seed=s), ("12+34=", "7+8=")),
    )
}


def corpus_in(language: str) -> str:
    """The name of the corpus on which a page in this language opens."""
    return "lyrics-zh" if language == "zh" else "tales-en"


def default_prefixes(corpus: Corpus) -> tuple[str, ...]:
    """The prefixes that models of this corpus continue by default: its own, or the beginning of its text.

    The beginning is the text's first four graphemes: what a reader sees as one character, such as a flag
    or a letter with its accents, may have several code points and is never cut.
    """
    named = CORPORA.get(corpus.name)
    if named:
        return named.prefixes
    beginning = regex.match(r"\X{1,4}", corpus.training.lstrip())
    return (beginning.group() if beginning else corpus.training[:1],)


def default_probe(corpus: Corpus, length: int = 48) -> str:
    """The text over which gates are recorded by default: the beginning of the corpus."""
    return corpus.training[:length]
