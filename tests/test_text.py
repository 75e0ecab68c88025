"""Corpora, vocabulary and the two parts of a text."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz import text
from rnnviz.errors import InputError

LYRICS, TALES = text.DATA / "lyrics-zh.txt", text.DATA / "tales-en.txt"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
GENERATORS = {
    "brackets": text.generate_brackets,
    "counting": text.generate_counting,
    "sums": text.generate_sums,
}


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


def patched(archive: bytes, *, flag: int | None = None, size: int | None = None) -> bytes:
    """The archive of one entry with its flag bits or its unpacked size overwritten in both headers."""
    data = bytearray(archive)
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    if flag is not None:
        struct.pack_into("<H", data, local + 6, flag)
        struct.pack_into("<H", data, central + 8, flag)
    if size is not None:
        struct.pack_into("<I", data, local + 22, size)
        struct.pack_into("<I", data, central + 24, size)
    return bytes(data)


# --- Decoding -------------------------------------------------------------------------------


def slices() -> list[str]:
    """Realistic Chinese and English texts, from a short one to the whole file."""
    chinese, english = LYRICS.read_text("utf-8"), TALES.read_text("utf-8")
    cut = [200, 1000, 5000]
    parts = [whole[at : at + n] for whole in (chinese, english) for n in cut for at in (0, 3001, 7002)]
    return [*parts, chinese, english, english[:100] + chinese[:100]]


ENCODERS = {
    "utf-8": lambda s: s.encode("utf-8"),
    "utf-8 with BOM": lambda s: s.encode("utf-8-sig"),
    "utf-16 LE with BOM": lambda s: b"\xff\xfe" + s.encode("utf-16-le"),
    "utf-16 BE with BOM": lambda s: b"\xfe\xff" + s.encode("utf-16-be"),
    "gb18030": lambda s: s.encode("gb18030"),
}


@pytest.mark.parametrize("encoding", ENCODERS)
def test_decode_reads_real_texts_in_every_supported_encoding(encoding: str) -> None:
    """UTF-8, UTF-16 and GB18030 bytes of a Chinese or an English text give exactly that text."""
    for expected in slices():
        assert text.decode(ENCODERS[encoding](expected)) == expected


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("source", ["想要有直升机", "我想你", "Hello there, world"])
def test_decode_reads_very_short_texts(encoding: str, source: str) -> None:
    """Even one line of a song is decoded, whatever it was saved as."""
    assert text.decode(ENCODERS[encoding](source)) == source


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"], exclude_characters="\ufeff"), min_size=1))
def test_decode_returns_any_utf8_text_unchanged(source: str) -> None:
    """Whatever is valid UTF-8 is read as such, except that white space alone is no text."""
    data = source.encode("utf-8")
    if data.strip():
        assert text.decode(data) == source


def test_decode_keeps_line_breaks_of_every_kind() -> None:
    """Decoding leaves line breaks to `split`."""
    assert text.decode(b"a\nb\r\nc\rd") == "a\nb\r\nc\rd"


@pytest.mark.parametrize("data", [b"", b" \n\t\r ", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_decode_refuses_an_empty_file(data: bytes) -> None:
    """No bytes, white space, or a lone byte order mark are an error that a person can understand."""
    with pytest.raises(InputError):
        text.decode(data)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [64, 999, 4096])
def test_decode_refuses_random_bytes(seed: int, size: int) -> None:
    """Random bytes are no text in any encoding."""
    data = random.Random(seed).randbytes(size)  # noqa: S311  a fixed sample, not a secret
    with pytest.raises(InputError, match="not a text in UTF-8, UTF-16 or GB18030"):
        text.decode(data)


def binary_files() -> dict[str, bytes]:
    """The beginnings of files that people pick by mistake."""
    noise = random.Random(7).randbytes(500)  # noqa: S311
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("a.txt")
        entry.size = 11
        tar.addfile(entry, io.BytesIO(b"hello world"))
    return {
        "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x01\x00\x08\x06\x00\x00\x00" + noise,
        "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + noise,
        "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + noise,
        "elf": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + noise,
        "tar of ASCII": archive.getvalue(),
        "zeros": bytes(300),
    }


@pytest.mark.parametrize("kind", binary_files())
def test_decode_refuses_binary_files(kind: str) -> None:
    """A picture, an archive or a program is refused; NUL characters are never let through as text."""
    with pytest.raises(InputError):
        text.decode(binary_files()[kind])


def test_decode_refuses_a_file_over_the_limit() -> None:
    """A file may have as many bytes as the limit and not one more; the message names both numbers."""
    assert text.decode(b"ab" * 50, limit=100) == "ab" * 50
    with pytest.raises(InputError, match="101 bytes; allowed: at most 100"):
        text.decode(b"ab" * 50 + b"c", limit=100)


# --- Zip ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoding", ENCODERS)
def test_decode_opens_a_zip_that_holds_one_text(method: int, encoding: str) -> None:
    """The seeds' `jaychou_lyrics.txt.zip` kind of file opens in every encoding and compression."""
    expected = LYRICS.read_text("utf-8")[:2000]
    assert text.decode(zipped(("lyrics.txt", ENCODERS[encoding](expected)), method=method)) == expected


def test_decode_ignores_clutter_in_a_zip() -> None:
    """Folders, hidden files, macOS resource forks and pictures do not count as texts."""
    entries = [
        ("folder/", b""),
        ("folder/song.TXT", b"one text"),
        ("__MACOSX/folder/._song.txt", b"fork"),
        (".DS_Store", b"x"),
        ("cover.png", b"\x89PNG"),
    ]
    assert text.decode(zipped(*entries)) == "one text"
    assert text.decode(zipped(("no-extension", b"one text"))) == "one text"


@pytest.mark.parametrize(
    ("entries", "count"),
    [([], 0), ([("folder/", b"")], 0), ([("a.txt", b"a"), ("b.txt", b"b")], 2), ([("a", b"a"), ("b", b"b")], 2)],
)
def test_decode_refuses_a_zip_without_exactly_one_text(entries: list[tuple[str, bytes]], count: int) -> None:
    """Which of two texts is meant nobody knows: the message says how many there are."""
    with pytest.raises(InputError, match=f"the zip holds {count} texts"):
        text.decode(zipped(*entries))


def test_decode_refuses_an_encrypted_zip() -> None:
    """A zip whose flag says encrypted is refused before anything is unpacked."""
    with pytest.raises(InputError, match="the zip is encrypted; save it without a password"):
        text.decode(patched(zipped(("a.txt", b"some text")), flag=1))


def test_decode_refuses_a_zip_bomb_by_its_declared_size() -> None:
    """What says it is larger than the limit is not unpacked; what is just as large is."""
    content = b"ab" * 5000
    archive = zipped(("a.txt", content))
    assert len(archive) < 1000
    assert text.decode(archive, limit=10_000) == content.decode()
    with pytest.raises(InputError, match="larger than 9,999 bytes unpacked"):
        text.decode(archive, limit=9_999)


@pytest.mark.parametrize("declared", [1, 10, 1000])
@pytest.mark.parametrize("method", METHODS[1:])
def test_decode_refuses_a_zip_that_lies_about_its_size(declared: int, method: int) -> None:
    """A header that declares less than is packed does not open the door to a bomb."""
    archive = patched(zipped(("a.txt", b"ab" * 100_000), method=method), size=declared)
    assert len(archive) < 2000
    with pytest.raises(InputError):
        text.decode(archive, limit=2000)


@pytest.mark.parametrize("method", METHODS)
def test_decode_answers_every_damaged_zip_with_an_input_error(method: int) -> None:
    """With any one byte wrong, or cut off anywhere, a zip is read or refused, and nothing else escapes."""
    expected = "to be or not to be, that is the question. " * 3
    archive = zipped(("a.txt", expected.encode()), method=method)
    damaged = [archive[:i] + bytes([archive[i] ^ 0x55]) + archive[i + 1 :] for i in range(4, len(archive))]
    damaged += [archive[:n] for n in range(4, len(archive), 7)]
    refused = 0
    for data in damaged:
        try:
            text.decode(data, limit=10_000)
        except InputError:
            refused += 1
    assert refused > len(damaged) // 2


def test_decode_refuses_an_empty_text_in_a_zip() -> None:
    """Nothing in a zip is still nothing."""
    with pytest.raises(InputError, match="empty"):
        text.decode(zipped(("a.txt", b"")))


# --- Reading --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", text.CORPORA)
def test_read_knows_every_corpus_by_its_name(name: str) -> None:
    """Each named corpus is a text long enough to train on, and its prefixes are in its alphabet."""
    whole = text.read(name)
    assert len(whole) >= 10_000
    corpus = text.split(whole, name)
    assert len(corpus.training) == 10_000
    assert all(c in corpus.vocabulary for prefix in text.default_prefixes(corpus) for c in prefix)


def test_read_of_a_shipped_corpus_is_its_file() -> None:
    """A name and the path of the file behind it give the same text."""
    assert text.read("lyrics-zh") == text.read(LYRICS) == text.read(str(LYRICS)) == LYRICS.read_text("utf-8")
    assert text.read("tales-en") == text.read(TALES) == TALES.read_text("utf-8")


@pytest.mark.parametrize("name", GENERATORS)
def test_read_hands_the_seed_to_a_generated_corpus(name: str) -> None:
    """The seed of `read` is the seed of the generator."""
    assert text.read(name, seed=3) == GENERATORS[name](seed=3)
    assert text.read(name, seed=3) != text.read(name, seed=4)


def test_read_takes_a_path_bytes_and_a_zip(tmp_path: Path) -> None:
    """The same text comes from a file, from its bytes and from a zip of it."""
    expected, data = "想要有直升机\n想要和你飞", "想要有直升机\n想要和你飞".encode()
    plain, packed = tmp_path / "song.txt", tmp_path / "song.txt.zip"
    plain.write_bytes(data)
    packed.write_bytes(zipped(("song.txt", data)))
    assert [text.read(s) for s in (plain, str(plain), packed, data, packed.read_bytes())] == [expected] * 5


@pytest.mark.parametrize("source", ["no-such-corpus", "folder/none.txt", "a\x00b", ""])
def test_read_refuses_what_is_neither_a_corpus_nor_a_file(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message lists the names that would have worked."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="lyrics-zh, tales-en, brackets, counting, sums"):
        text.read(source)


def test_read_refuses_a_folder(tmp_path: Path) -> None:
    """A folder is no text."""
    with pytest.raises(InputError, match="neither a corpus"):
        text.read(tmp_path)


def test_read_refuses_a_file_over_the_limit_without_reading_it(tmp_path: Path) -> None:
    """The size of a file is looked at before its content."""
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(text.MAX_BYTES + 1)
    with pytest.raises(InputError, match=f"allowed: at most {text.MAX_BYTES:,}"):
        text.read(path)


def test_read_passes_on_why_a_file_cannot_be_decoded(tmp_path: Path) -> None:
    """The reason a file is refused is not hidden behind a general one."""
    path = tmp_path / "empty.txt"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        text.read(path)


# --- The shipped and the generated corpora -----------------------------------------------------


def test_shipped_lyrics_are_as_hard_as_the_seeds_own() -> None:
    """At least 12,000 characters, and about a thousand distinct ones in the first 10,000."""
    whole = LYRICS.read_text("utf-8")
    assert len(whole) >= 12_000
    distinct = len(text.split(whole).vocabulary)
    assert distinct == len(set(whole.replace("\n", " ")[:10_000]))
    assert 900 <= distinct <= 1300


def test_shipped_tales_are_long_enough() -> None:
    """At least 30,000 characters of English."""
    assert len(TALES.read_text("utf-8")) >= 30_000


@pytest.mark.parametrize("name", GENERATORS)
@given(size=st.integers(1, 400), seed=st.integers(0, 2**31 - 1))
def test_generated_corpora_are_exactly_as_long_as_asked(name: str, size: int, seed: int) -> None:
    """The size is exact, the same seed gives the same text, and a shorter text is its beginning."""
    made = GENERATORS[name](size, seed)
    assert len(made) == size
    assert made == GENERATORS[name](size, seed)
    assert GENERATORS[name](size + 50, seed).startswith(made)


@pytest.mark.parametrize("name", GENERATORS)
def test_generated_corpora_differ_between_seeds(name: str) -> None:
    """Twenty seeds give twenty texts."""
    assert len({GENERATORS[name](300, seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("size", [0, -5])
def test_generated_corpora_need_a_size(name: str, size: int) -> None:
    """Nothing cannot be generated."""
    with pytest.raises(InputError, match=f"of {size} characters"):
        GENERATORS[name](size)


def is_balanced(word: str) -> bool:
    while word != (word := word.replace("()", "").replace("[]", "").replace("{}", "")):
        pass
    return not word


@pytest.mark.parametrize("seed", range(5))
def test_brackets_are_balanced(seed: int) -> None:
    """What closes matches what opened, in every complete word; all three kinds occur, and nesting too."""
    whole = text.generate_brackets(5000, seed)
    words = whole.split(" ")[:-1]
    assert all(word and is_balanced(word) for word in words)
    assert set(whole) == set("()[]{} ")
    assert any("((" in word or "[(" in word or "{[" in word for word in words)


@pytest.mark.parametrize("seed", range(5))
def test_counting_words_have_as_many_b_as_a(seed: int) -> None:
    """Every complete word is a^n b^n with n from 1 to 12."""
    words = text.generate_counting(5000, seed).split(" ")[:-1]
    lengths = [len(word) // 2 for word in words]
    assert words == ["a" * n + "b" * n for n in lengths]
    assert set(lengths) == set(range(1, 13))


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_true(seed: int) -> None:
    """Every complete word is a sum that adds up, of numbers from 0 to 99."""
    words = text.generate_sums(5000, seed).split(" ")[:-1]
    for word in words:
        left, right = word.split("=")
        a, b = map(int, left.split("+"))
        assert a + b == int(right)
        assert 0 <= min(a, b) <= max(a, b) <= 99
    assert len(set(words)) > len(words) // 2


# --- Vocabulary and one-hot vectors --------------------------------------------------------


@given(st.text(min_size=1, max_size=60))
def test_vocabulary_orders_the_distinct_characters_by_code_point(source: str) -> None:
    """The order depends on which characters occur, not on where; encoding and decoding undo each other."""
    vocabulary = text.Vocabulary(source)
    assert list(vocabulary.characters) == sorted(set(source))
    assert vocabulary.characters == text.Vocabulary(source[::-1] * 2).characters
    assert len(vocabulary) == len(set(source))
    ids = vocabulary.encode(source)
    assert ids.dtype == np.int64
    assert ids.tolist() == [sorted(set(source)).index(c) for c in source]
    assert vocabulary.decode(ids) == source


def test_vocabulary_gives_unknown_characters_minus_one() -> None:
    """A character that the training part lacks is -1."""
    vocabulary = text.Vocabulary("cab")
    assert vocabulary.encode("abxcy").tolist() == [0, 1, -1, 2, -1]
    assert "a" in vocabulary
    assert "x" not in vocabulary
    assert vocabulary.encode("").tolist() == []


def test_one_hot_sets_one_component_and_none_for_unknown() -> None:
    """Row x of the identity matrix for a known character, zeros for an unknown one."""
    ids = np.array([[2, -1], [0, 1]])
    expected = [[[0, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 1, 0]]]
    vectors = text.one_hot(ids, 3)
    assert vectors.tolist() == expected
    assert vectors.dtype == np.float32


# --- Training and held-out part ----------------------------------------------------------------


def test_split_takes_the_first_characters_and_holds_out_those_that_follow() -> None:
    """Ten per cent follow the training part by default."""
    source = "".join(chr(0x4E00 + i) for i in range(200))
    corpus = text.split(source, "mine", max_chars=100)
    assert (corpus.name, corpus.training, corpus.held_out) == ("mine", source[:100], source[100:110])


def test_split_cuts_the_held_out_part_from_the_end_where_too_little_follows() -> None:
    """The training part gives way, so that the held-out part keeps its length."""
    source = "".join(chr(0x4E00 + i) for i in range(104))
    corpus = text.split(source, max_chars=100)
    assert (corpus.training, corpus.held_out) == (source[:94], source[94:104])
    corpus = text.split(source, max_chars=1000)
    assert (corpus.training, corpus.held_out) == (source[:94], source[94:])


@given(
    length=st.integers(20, 300), max_chars=st.integers(2, 400), held_out=st.none() | st.integers(0, 19), data=st.data()
)
def test_split_parts_stand_next_to_each_other(
    length: int, max_chars: int, held_out: int | None, data: st.DataObject
) -> None:
    """Training is at most `max_chars` from the start, held-out is what follows and exactly as long as asked."""
    source = "ab" + "".join(data.draw(st.lists(st.sampled_from("abc "), min_size=length - 2, max_size=length - 2)))
    if max(1, length - (held_out or 0)) < 2:
        return
    expected = min(max_chars, length) // 10 if held_out is None else held_out
    corpus = text.split(source, max_chars=max_chars, held_out_chars=held_out) if length - expected >= 2 else None
    if corpus is None:
        return
    assert source.startswith(corpus.training + corpus.held_out)
    assert len(corpus.held_out) == expected
    assert len(corpus.training) == min(max_chars, length - expected)


def test_split_may_hold_nothing_out() -> None:
    """With nothing held out all is learnt, and all that was asked about is known."""
    corpus = text.split("abab" * 10, max_chars=100, held_out_chars=0)
    assert (corpus.training, corpus.held_out, corpus.known_share) == ("abab" * 10, "", 1.0)


def test_split_turns_line_breaks_into_spaces_before_it_counts() -> None:
    """Each line break, however it is written, is one space; the count of characters is of what is left."""
    source = "ab\ncd\r\nef\rgh\n\nij"
    assert text.split(source, held_out_chars=0).training == "ab cd ef gh  ij"
    corpus = text.split(source, max_chars=7, held_out_chars=3)
    assert (corpus.training, corpus.held_out) == ("ab cd e", "f g")


def test_split_keeps_line_breaks_when_asked() -> None:
    """Kept line breaks are one character each."""
    assert text.split("ab\ncd\r\nef\rgh", held_out_chars=0, keep_line_breaks=True).training == "ab\ncd\nef\ngh"


def test_corpus_learns_its_vocabulary_from_the_training_part_alone() -> None:
    """A held-out character that training lacks is unknown, and known_share counts the others."""
    corpus = text.split("abcabcabxbcy", max_chars=8, held_out_chars=4)
    assert (corpus.training, corpus.held_out) == ("abcabcab", "xbcy")
    assert corpus.vocabulary.characters == "abc"
    assert corpus.vocabulary.encode(corpus.held_out).tolist() == [-1, 1, 2, -1]
    assert corpus.known_share == 0.5


@pytest.mark.parametrize("source", ["", "   ", "\n\r\n\t ", "\u3000\u3000"])
def test_split_refuses_an_empty_text(source: str) -> None:
    """White space alone is no text."""
    with pytest.raises(InputError, match="the text is empty"):
        text.split(source)


def test_split_refuses_a_single_distinct_character() -> None:
    """One repeated character leaves nothing to predict; a second one only held out does not help."""
    with pytest.raises(InputError, match="the one character 'a' repeated"):
        text.split("a" * 50)
    with pytest.raises(InputError, match="the one character 'a' repeated"):
        text.split("a" * 10 + "b", max_chars=10)


def test_split_refuses_to_hold_everything_out() -> None:
    """The message names both lengths."""
    with pytest.raises(InputError, match="5 characters and 7 are to be held out"):
        text.split("abcde", held_out_chars=7)


def test_default_prefixes_and_probe_come_from_the_corpus() -> None:
    """A corpus of ours has its own prefixes; any other is asked to continue how it begins."""
    ours = text.split(text.read("lyrics-zh"), "lyrics-zh")
    assert text.default_prefixes(ours) == ("分开", "不分开")
    other = text.split("  once upon a time", "mine", held_out_chars=0)
    assert text.default_prefixes(other) == ("once",)
    assert text.default_probe(other, 6) == "  once"
