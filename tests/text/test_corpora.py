"""Corpora, vocabularies and the two parts of a text."""

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

from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.text import corpora

LYRICS, TALES = corpora.DATA / "lyrics-zh.txt", corpora.DATA / "tales-en.txt"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
GENERATORS = {
    "brackets": corpora.generate_brackets,
    "counting": corpora.generate_counting,
    "sums": corpora.generate_sums,
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
        assert corpora.decode(ENCODERS[encoding](expected)) == expected


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("source", ["想要有直升机", "我想你", "Hello there, world"])
def test_decode_reads_very_short_texts(encoding: str, source: str) -> None:
    """Even one line of a song is decoded, in whatever encoding it was saved."""
    assert corpora.decode(ENCODERS[encoding](source)) == source


JAPANESE = (
    "むかしむかし、あるところにおじいさんとおばあさんが住んでいました。おじいさんは山へしばかりに、"
    "おばあさんは川へせんたくに行きました。川の上からモモがどんぶらこと流れてきました。"
)
KOREAN = (
    "옛날 어느 마을에 할머니와 할아버지가 살고 있었습니다. 할아버지는 산으로 나무를 하러 가고 "
    "할머니는 강으로 빨래를 하러 갔습니다. 강 위에서 커다란 복숭아가 떠내려왔습니다."
)
FOREIGN = [("Shift-JIS", "cp932", JAPANESE), ("EUC-JP", "euc_jp", JAPANESE), ("EUC-KR", "cp949", KOREAN)]


@pytest.mark.parametrize(("name", "codec", "source"), FOREIGN)
@pytest.mark.parametrize("length", [45, 70, 200])
def test_japanese_and_korean_are_not_read_as_chinese(name: str, codec: str, source: str, length: int) -> None:
    """Their bytes are valid GB18030, but would be nonsense."""
    part = source[:length]
    assert corpora.find_encoding(part.encode(codec)) == name
    assert corpora.decode(part.encode(codec)) == part
    assert corpora.decode(zipped(("a.txt", part.encode(codec)))) == part


def test_no_chinese_text_is_taken_for_another_language() -> None:
    """This holds wherever the text is cut out of the songs."""
    songs = LYRICS.read_text("utf-8")
    for length in (30, 45, 300):
        for at in range(0, len(songs) - length, 97):
            assert corpora.find_encoding(songs[at : at + length].encode("gb18030")) == "GB18030", songs[
                at : at + length
            ]


@pytest.mark.parametrize(("name", "codec"), corpora.ENCODINGS.items())
def test_an_encoding_may_be_named(name: str, codec: str) -> None:
    """Then nothing is guessed."""
    source = "Über 100 Äpfel" if codec == "cp1252" else "abc 100"
    assert corpora.decode(source.encode(codec), encoding=name) == source
    assert corpora.read(source.encode(codec), encoding=name) == source


def test_a_text_that_is_not_in_the_named_encoding_is_reported() -> None:
    """The message gives the position of the first invalid bytes."""
    with pytest.raises(InputError, match="the file is not in EUC-KR: the bytes at 3 are no character"):
        corpora.decode(b"ab \xff\xff", encoding="EUC-KR")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"], exclude_characters="\ufeff"), min_size=1))
def test_decode_returns_any_utf8_text_unchanged(source: str) -> None:
    """Valid UTF-8 is read as such, except that white space alone is not a text."""
    data = source.encode("utf-8")
    if data.strip():
        assert corpora.decode(data) == source


def test_decode_keeps_line_breaks_of_every_kind() -> None:
    """Decoding leaves line breaks to `split`."""
    assert corpora.decode(b"a\nb\r\nc\rd") == "a\nb\r\nc\rd"


@pytest.mark.parametrize("data", [b"", b" \n\t\r ", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_decode_refuses_an_empty_file(data: bytes) -> None:
    """No bytes, white space, or a lone byte order mark give an error that a person can understand."""
    with pytest.raises(InputError):
        corpora.decode(data)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [64, 999, 4096])
def test_decode_refuses_random_bytes(seed: int, size: int) -> None:
    """Random bytes are not a text in any encoding."""
    data = random.Random(seed).randbytes(size)  # noqa: S311  a fixed sample, not a secret
    with pytest.raises(InputError, match="encoding of the file is not recognized"):
        corpora.decode(data)


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
    """A picture, an archive or a program is refused, and NUL characters are never accepted as text."""
    with pytest.raises(InputError):
        corpora.decode(binary_files()[kind])


def test_decode_refuses_a_file_over_the_limit() -> None:
    """A file may have as many bytes as the limit and no more; the message has both numbers."""
    assert corpora.decode(b"ab" * 50, limit=100) == "ab" * 50
    with pytest.raises(InputError, match="101 bytes; allowed: at most 100"):
        corpora.decode(b"ab" * 50 + b"c", limit=100)


# --- Zip ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoding", ENCODERS)
def test_decode_opens_a_zip_that_holds_one_text(method: int, encoding: str) -> None:
    """Files like the lecture notes' `jaychou_lyrics.txt.zip` open in every encoding and compression."""
    expected = LYRICS.read_text("utf-8")[:2000]
    assert corpora.decode(zipped(("lyrics.txt", ENCODERS[encoding](expected)), method=method)) == expected


def test_decode_ignores_clutter_in_a_zip() -> None:
    """Folders, hidden files, macOS resource forks and pictures do not count as texts."""
    entries = [
        ("folder/", b""),
        ("folder/song.TXT", b"one text"),
        ("__MACOSX/folder/._song.txt", b"fork"),
        (".DS_Store", b"x"),
        ("cover.png", b"\x89PNG"),
    ]
    assert corpora.decode(zipped(*entries)) == "one text"
    assert corpora.decode(zipped(("no-extension", b"one text"))) == "one text"


@pytest.mark.parametrize(
    ("entries", "count"),
    [([], 0), ([("folder/", b"")], 0), ([("a.txt", b"a"), ("b.txt", b"b")], 2), ([("a", b"a"), ("b", b"b")], 2)],
)
def test_decode_refuses_a_zip_without_exactly_one_text(entries: list[tuple[str, bytes]], count: int) -> None:
    """It would be unclear which of two texts is meant; the message says how many there are."""
    with pytest.raises(InputError, match=f"the zip holds {count} texts"):
        corpora.decode(zipped(*entries))


def test_decode_refuses_an_encrypted_zip() -> None:
    """A zip with the flag for encryption is refused before anything is unpacked."""
    with pytest.raises(InputError, match="the zip is encrypted; save it without a password"):
        corpora.decode(patched(zipped(("a.txt", b"some text")), flag=1))


def test_decode_refuses_a_zip_bomb_by_its_declared_size() -> None:
    """An entry that declares more than the limit is not unpacked; one exactly as large is."""
    content = b"ab" * 5000
    archive = zipped(("a.txt", content))
    assert len(archive) < 1000
    assert corpora.decode(archive, limit=10_000) == content.decode()
    with pytest.raises(InputError, match="larger than 9,999 bytes unpacked"):
        corpora.decode(archive, limit=9_999)


@pytest.mark.parametrize("declared", [1, 10, 1000])
@pytest.mark.parametrize("method", METHODS[1:])
def test_decode_refuses_a_zip_with_a_false_size(declared: int, method: int) -> None:
    """A header that declares less than is packed is no way around the limit."""
    archive = patched(zipped(("a.txt", b"ab" * 100_000), method=method), size=declared)
    assert len(archive) < 2000
    with pytest.raises(InputError):
        corpora.decode(archive, limit=2000)


@pytest.mark.parametrize("method", METHODS)
def test_decode_raises_only_input_errors_for_damaged_zips(method: int) -> None:
    """With any one byte changed, or cut off anywhere, a zip is read or refused, and no other error is raised."""
    expected = "to be or not to be, that is the question. " * 3
    archive = zipped(("a.txt", expected.encode()), method=method)
    damaged = [archive[:i] + bytes([archive[i] ^ 0x55]) + archive[i + 1 :] for i in range(4, len(archive))]
    damaged += [archive[:n] for n in range(4, len(archive), 7)]
    refused = 0
    for data in damaged:
        try:
            corpora.decode(data, limit=10_000)
        except InputError:
            refused += 1
    assert refused > len(damaged) // 2


def test_decode_refuses_an_empty_text_in_a_zip() -> None:
    """An empty entry is as empty as an empty file."""
    with pytest.raises(InputError, match="empty"):
        corpora.decode(zipped(("a.txt", b"")))


# --- Reading --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", corpora.CORPORA)
def test_read_knows_every_corpus_by_its_name(name: str) -> None:
    """Each named corpus is a text long enough to train on, and its prefixes are in its alphabet."""
    whole = corpora.read(name)
    assert len(whole) >= 10_000
    corpus = corpora.split(whole, name)
    assert len(corpus.training) == 10_000
    assert all(c in corpus.vocabulary for prefix in corpora.default_prefixes(corpus) for c in prefix)


def test_read_of_a_shipped_corpus_is_its_file() -> None:
    """A name and the path of the file behind it give the same text."""
    assert corpora.read("lyrics-zh") == corpora.read(LYRICS) == corpora.read(str(LYRICS)) == LYRICS.read_text("utf-8")
    assert corpora.read("tales-en") == corpora.read(TALES) == TALES.read_text("utf-8")


@pytest.mark.parametrize("name", GENERATORS)
def test_read_hands_the_seed_to_a_generated_corpus(name: str) -> None:
    """The seed of `read` is passed to the generator."""
    assert corpora.read(name, seed=3) == GENERATORS[name](seed=3)
    assert corpora.read(name, seed=3) != corpora.read(name, seed=4)


def test_read_takes_a_path_bytes_and_a_zip(tmp_path: Path) -> None:
    """A file, its bytes and a zip of it give the same text."""
    expected, data = "想要有直升机\n想要和你飞", "想要有直升机\n想要和你飞".encode()
    plain, packed = tmp_path / "song.txt", tmp_path / "song.txt.zip"
    plain.write_bytes(data)
    packed.write_bytes(zipped(("song.txt", data)))
    assert [corpora.read(s) for s in (plain, str(plain), packed, data, packed.read_bytes())] == [expected] * 5


@pytest.mark.parametrize("source", ["no-such-corpus", "folder/none.txt", "a\x00b", ""])
def test_read_refuses_what_is_neither_a_corpus_nor_a_file(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message lists the names that are allowed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="lyrics-zh, tales-en, brackets, counting, recall, sums"):
        corpora.read(source)


def test_read_refuses_a_folder(tmp_path: Path) -> None:
    """A folder is not a text."""
    with pytest.raises(InputError, match="neither a corpus"):
        corpora.read(tmp_path)


def test_read_refuses_a_file_over_the_limit_without_reading_it(tmp_path: Path) -> None:
    """The size of a file is checked before its content is read."""
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(corpora.MAX_BYTES + 1)
    with pytest.raises(InputError, match=f"allowed: at most {corpora.MAX_BYTES:,}"):
        corpora.read(path)


def test_read_passes_on_why_a_file_cannot_be_decoded(tmp_path: Path) -> None:
    """The particular reason is not replaced by a general one."""
    path = tmp_path / "empty.txt"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        corpora.read(path)


# --- The shipped and the generated corpora -----------------------------------------------------


def test_shipped_lyrics_are_as_hard_as_those_of_the_lecture_notes() -> None:
    """They have at least 12,000 characters, and about a thousand distinct ones in the first 10,000."""
    whole = LYRICS.read_text("utf-8")
    assert len(whole) >= 12_000
    distinct = len(corpora.split(whole).vocabulary)
    assert distinct == len(set(whole.replace("\n", " ")[:10_000]))
    assert 900 <= distinct <= 1300


def test_shipped_tales_are_long_enough() -> None:
    """They have at least 30,000 characters of English."""
    assert len(TALES.read_text("utf-8")) >= 30_000


@pytest.mark.parametrize("name", GENERATORS)
@given(size=st.integers(1, 400), seed=st.integers(0, 2**31 - 1))
def test_generated_corpora_have_exactly_the_requested_length(name: str, size: int, seed: int) -> None:
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
def test_generated_corpora_need_a_positive_size(name: str, size: int) -> None:
    """A text of no characters cannot be generated."""
    with pytest.raises(InputError, match=f"of {size} characters"):
        GENERATORS[name](size)


def is_balanced(word: str) -> bool:
    while word != (word := word.replace("()", "").replace("[]", "").replace("{}", "")):
        pass
    return not word


@pytest.mark.parametrize("seed", range(5))
def test_brackets_are_balanced(seed: int) -> None:
    """In every complete word, what closes matches what opened; all three kinds and nesting occur."""
    whole = corpora.generate_brackets(5000, seed)
    words = whole.split(" ")[:-1]
    assert all(word and is_balanced(word) for word in words)
    assert set(whole) == set("()[]{} ")
    assert any("((" in word or "[(" in word or "{[" in word for word in words)


@pytest.mark.parametrize("seed", range(5))
def test_counting_words_have_as_many_b_as_a(seed: int) -> None:
    """Every complete word is a^n b^n with n from 1 to 12."""
    words = corpora.generate_counting(5000, seed).split(" ")[:-1]
    lengths = [len(word) // 2 for word in words]
    assert words == ["a" * n + "b" * n for n in lengths]
    assert set(lengths) == set(range(1, 13))


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_true(seed: int) -> None:
    """Every complete word is a sum that adds up, of numbers from 0 to 99."""
    words = corpora.generate_sums(5000, seed).split(" ")[:-1]
    for word in words:
        left, right = word.split("=")
        a, b = map(int, left.split("+"))
        assert a + b == int(right)
        assert 0 <= min(a, b) <= max(a, b) <= 99
    assert len(set(words)) > len(words) // 2


# --- Vocabulary and one-hot vectors --------------------------------------------------------


@given(st.text(min_size=1, max_size=60))
def test_vocabulary_orders_the_distinct_characters_by_code_point(source: str) -> None:
    """The order depends on which characters occur, not on where; decoding is the inverse of encoding."""
    vocabulary = corpora.Vocabulary(source)
    assert list(vocabulary.characters) == sorted(set(source))
    assert vocabulary.characters == corpora.Vocabulary(source[::-1] * 2).characters
    assert len(vocabulary) == len(set(source))
    ids = vocabulary.encode(source)
    assert ids.dtype == np.int64
    assert ids.tolist() == [sorted(set(source)).index(c) for c in source]
    assert vocabulary.decode(ids) == source


def test_vocabulary_gives_unknown_characters_minus_one() -> None:
    """An example is a character that the training part lacks."""
    vocabulary = corpora.Vocabulary("cab")
    assert vocabulary.encode("abxcy").tolist() == [0, 1, -1, 2, -1]
    assert "a" in vocabulary
    assert "x" not in vocabulary
    assert vocabulary.encode("").tolist() == []


def test_one_hot_sets_one_component_and_none_for_unknown() -> None:
    """A known character gives its row of the identity matrix, an unknown one gives zeros."""
    ids = np.array([[2, -1], [0, 1]])
    expected = [[[0, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 1, 0]]]
    vectors = corpora.one_hot(ids, 3)
    assert vectors.tolist() == expected
    assert vectors.dtype == np.float32


# --- Training and held-out part ----------------------------------------------------------------


def test_split_takes_the_first_characters_and_holds_out_those_that_follow() -> None:
    """By default, ten per cent follow the training part."""
    source = "".join(chr(0x4E00 + i) for i in range(200))
    corpus = corpora.split(source, "mine", max_chars=100)
    assert (corpus.name, corpus.training, corpus.held_out) == ("mine", source[:100], source[100:110])


def test_split_takes_the_held_out_part_from_the_end_if_too_little_follows() -> None:
    """The training part becomes shorter, so that the held-out part keeps its length."""
    source = "".join(chr(0x4E00 + i) for i in range(104))
    corpus = corpora.split(source, max_chars=100)
    assert (corpus.training, corpus.held_out) == (source[:94], source[94:104])
    corpus = corpora.split(source, max_chars=1000)
    assert (corpus.training, corpus.held_out) == (source[:94], source[94:])


@given(
    length=st.integers(20, 300), max_chars=st.integers(2, 400), held_out=st.none() | st.integers(0, 19), data=st.data()
)
def test_split_parts_are_adjacent(length: int, max_chars: int, held_out: int | None, data: st.DataObject) -> None:
    """Training has at most `max_chars` from the start, and held-out is what follows, exactly as long as asked for."""
    source = "ab" + "".join(data.draw(st.lists(st.sampled_from("abc "), min_size=length - 2, max_size=length - 2)))
    if max(1, length - (held_out or 0)) < 2:
        return
    expected = min(max_chars, length) // 10 if held_out is None else held_out
    corpus = corpora.split(source, max_chars=max_chars, held_out_chars=held_out) if length - expected >= 2 else None
    if corpus is None:
        return
    assert source.startswith(corpus.training + corpus.held_out)
    assert len(corpus.held_out) == expected
    assert len(corpus.training) == min(max_chars, length - expected)


def test_split_may_hold_nothing_out() -> None:
    """Then the model learns the whole text, and the known share is 1."""
    corpus = corpora.split("abab" * 10, max_chars=100, held_out_chars=0)
    assert (corpus.training, corpus.held_out, corpus.known_share) == ("abab" * 10, "", 1.0)


def test_split_turns_line_breaks_into_spaces_before_it_counts() -> None:
    """As in the lecture notes, it does so character by character: CR LF becomes two spaces, which are then counted."""
    source = "ab\ncd\r\nef\rgh\n\nij"
    notes = source.replace("\n", " ").replace("\r", " ")
    assert corpora.split(source, held_out_chars=0).training == notes == "ab cd  ef gh  ij"
    corpus = corpora.split(source, max_chars=8, held_out_chars=3)
    assert (corpus.training, corpus.held_out) == ("ab cd  e", "f g")


def test_split_keeps_line_breaks_when_asked() -> None:
    """Each kept line break is one character."""
    assert corpora.split("ab\ncd\r\nef\rgh", held_out_chars=0, keep_line_breaks=True).training == "ab\ncd\nef\ngh"


def test_a_configuration_determines_its_corpus_and_how_it_is_cut(tmp_path: Path) -> None:
    """The seed of a generated text, both lengths and the line breaks count; a file's corpus has the file's name."""
    config = TrainConfig(corpus="sums", seed=3, max_chars=200, held_out_chars=7)
    assert corpora.corpus_of(config) == corpora.split(
        corpora.generate_sums(seed=3), "sums", max_chars=200, held_out_chars=7
    )
    file = tmp_path / "mine.txt"
    file.write_text("ab\n" * 20, encoding="utf-8")
    config = TrainConfig(corpus=str(file), max_chars=30, held_out_chars=6, keep_line_breaks=True)
    assert corpora.corpus_of(config) == corpora.Corpus("mine.txt", "ab\n" * 10, "ab\n" * 2)
    assert corpora.corpus_of(config, "cd\n" * 20) == corpora.Corpus("mine.txt", "cd\n" * 10, "cd\n" * 2)


def test_corpus_takes_its_vocabulary_only_from_the_training_part() -> None:
    """A held-out character that training lacks is unknown, and known_share counts the others."""
    corpus = corpora.split("abcabcabxbcy", max_chars=8, held_out_chars=4)
    assert (corpus.training, corpus.held_out) == ("abcabcab", "xbcy")
    assert corpus.vocabulary.characters == "abc"
    assert corpus.vocabulary.encode(corpus.held_out).tolist() == [-1, 1, 2, -1]
    assert corpus.known_share == 0.5


@pytest.mark.parametrize("source", ["", "   ", "\n\r\n\t ", "\u3000\u3000"])
def test_split_refuses_an_empty_text(source: str) -> None:
    """White space alone is not a text."""
    with pytest.raises(InputError, match="the text is empty"):
        corpora.split(source)


def test_split_refuses_a_single_distinct_character() -> None:
    """One repeated character leaves nothing to predict; a second one that is only held out does not help."""
    with pytest.raises(InputError, match="the one character 'a' repeated"):
        corpora.split("a" * 50)
    with pytest.raises(InputError, match="the one character 'a' repeated"):
        corpora.split("a" * 10 + "b", max_chars=10)


def test_split_refuses_to_hold_everything_out() -> None:
    """The message has both lengths."""
    with pytest.raises(InputError, match="5 characters and 7 are to be held out"):
        corpora.split("abcde", held_out_chars=7)


def test_default_prefixes_and_probe_come_from_the_corpus() -> None:
    """A corpus of ours has its own prefixes; models of any other continue the beginning of its text."""
    ours = corpora.split(corpora.read("lyrics-zh"), "lyrics-zh")
    assert corpora.default_prefixes(ours) == ("分开", "不分开")
    other = corpora.split("  once upon a time", "mine", held_out_chars=0)
    assert corpora.default_prefixes(other) == ("once",)
    assert corpora.default_probe(other, 6) == "  once"


@pytest.mark.parametrize(
    "grapheme",
    ["👨\u200d👩\u200d👧\u200d👦", "👍🏽", "🇨🇳", "e\u0301", "\u1100\u1161\u11a8", "☎\ufe0f"],
    ids=["joined", "skin tone", "flag", "combining mark", "jamo", "variation selector"],
)
def test_default_prefixes_never_cut_a_grapheme(grapheme: str) -> None:
    """What a reader sees as one character counts as one, however many code points it has."""
    corpus = corpora.Corpus("mine", " " + grapheme * 6 + "abc", "")
    assert corpora.default_prefixes(corpus) == (grapheme * 4,)
    mixed = corpora.Corpus("mine", "ab" + grapheme * 6, "")
    assert corpora.default_prefixes(mixed) == ("ab" + grapheme * 2,)
