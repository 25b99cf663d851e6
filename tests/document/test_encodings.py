"""A file's encoding is known from its bytes, whatever they are, and nothing is lost on the way."""

from __future__ import annotations

import codecs
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.document import encodings
from server.document.detect.encoding import FALLBACK, SAMPLE_SIZE, sniff_encoding
from server.document.encodings import (
    CHOICES,
    Transcoder,
    byte_safe,
    canonical,
    count_damage,
    label,
)
from tests.data.truth import TRUTHS
from tests.data.words import ENCODINGS, WORDS, table

FILES = Path(__file__).parents[1] / "data" / "files"
NAMES = [name for name, _ in CHOICES]
WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.file)
def test_the_encoding_of_a_real_file_is_known(truth):
    source = (FILES / truth.file).read_bytes()
    assert sniff_encoding(source, whole=True).name == truth.encoding


# Certain ones


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides(mark, name):
    found = sniff_encoding(mark + "a\tb\n".encode(name), whole=True)
    assert (found.name, found.bom_bytes, found.why) == (name, len(mark), "mark")


@pytest.mark.parametrize(
    "text", ["id,city\n1,York\n", "имя;город\n7;Тверь\n", "氏名\t都市\n1\t東京\n"]
)
@pytest.mark.parametrize("name", WIDE)
def test_utf_16_and_utf_32_are_known_without_a_mark(text, name):
    found = sniff_encoding((text * 20).encode(name), whole=True)
    assert (found.name, found.bom_bytes, found.why) == (name, 0, "zeros")


def test_zero_bytes_in_8_bit_text_do_not_make_it_utf_16():
    for source in (
        b"a\tb\0\0\0\n" * 50,
        b"\0" * 99,
        b"name\0\0\tx\n1\t2\n",
        b"a\0" * 3 + b"\tb\n" * 9,
    ):
        assert sniff_encoding(source, whole=True).name == "utf-8"
    assert sniff_encoding("Zoë\0\tx\n".encode("cp1252") * 9, whole=True).name == "cp1252"


def test_a_character_that_the_sample_cuts_is_no_error():
    source = "naïve 😀".encode()
    for end in range(len(source) + 1):
        assert sniff_encoding(source[:end], whole=False).name == "utf-8"
    assert sniff_encoding(source[:4], whole=False).why == "valid"


def test_a_few_bad_bytes_among_good_letters_are_damage_to_utf_8():
    source = "Zoë\tMüller\n".encode() * 20 + b"Zo\xeb\t\xff\n"
    found = sniff_encoding(source, whole=True)
    assert (found.name, found.why) == ("utf-8", "guess")
    assert 0.9 < found.confidence < 1


def test_an_empty_file_is_utf_8():
    assert sniff_encoding(b"", whole=True).name == "utf-8"


# Guessed ones


@pytest.mark.parametrize(("language", "encoding"), ENCODINGS)
@pytest.mark.parametrize("size", [300, 2_000, SAMPLE_SIZE])
def test_a_table_of_old_is_read_as_it_was_written(language, encoding, size):
    """Whatever the encoding is called: what counts is that every character is right."""
    for seed in range(3):
        source = table(language, encoding, size, seed=seed).encode(encoding)[:SAMPLE_SIZE]
        found = sniff_encoding(source, whole=size < SAMPLE_SIZE)
        assert source.decode(found.name, "replace") == source.decode(encoding, "replace")
        assert found.why == "guess"


def test_a_single_word_is_mostly_enough():
    right = total = 0
    for language, encoding in ENCODINGS:
        if encoding not in ("cp1252", "cp1250", "cp1251", "koi8-r", "cp1253", "gbk", "shift_jis"):
            continue
        for word in WORDS[language].split():
            if word.isascii():
                continue
            text = f"id,name,town\n1,{word},London\n2,Smith,Oxford\n"
            found = sniff_encoding(text.encode(encoding), whole=True)
            right += text.encode(encoding).decode(found.name, "replace") == text
            total += 1
    assert total > 200
    assert right / total > 0.8


def test_what_is_no_language_is_read_as_western_text():
    found = sniff_encoding(b"a\tb\nx \x9d\t1\n" * 9, whole=True)
    assert (found.name, found.why) == (FALLBACK, "fallback")


@pytest.mark.parametrize("mark", list("°±×£€–’“”µ²«®é"))
def test_a_mark_beside_a_number_is_read_as_the_western_mark_it_most_often_is(mark):
    source = f"id\tvalue\n1\t20 {mark}C\n".encode("cp1252")
    assert source.decode(sniff_encoding(source, whole=True).name) == source.decode("cp1252")


@given(st.binary(max_size=400), st.booleans())
@example(b"\xff\xfe\x00", True)
@example(b"\x00\x00\xfe", False)
@example(b"\x00", True)
def test_any_bytes_have_an_encoding_that_decodes_them(source, whole):
    found = sniff_encoding(source, whole=whole)
    assert found.name in NAMES
    assert 0 <= found.confidence <= 1
    source[found.bom_bytes :].decode(found.name, "replace")


# Names


def test_every_choice_is_a_codec_with_a_name():
    assert all(canonical(name) == name for name in NAMES)
    assert len({label(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("UTF8", "utf-8"),
        ("latin1", "cp1252"),
        ("windows-1251", "cp1251"),
        ("ISO-8859-15", "iso8859-15"),
        ("Shift_JIS", "cp932"),
        ("gb2312", "gb18030"),
        (" utf-8 ", "utf-8"),
        ("ascii", "utf-8"),
        ("klingon", None),
        ("rot13", None),
        ("base64", None),
        ("", None),
        ("utf-8\0", None),
        ("é", None),
    ],
)
def test_an_encoding_can_be_spelled_in_many_ways(spelled, name):
    assert canonical(spelled) == name


# Cutting


@pytest.mark.parametrize("encoding", [name for name in NAMES if name not in WIDE])
def test_bytes_are_cut_only_where_no_character_is_hurt(encoding):
    """Every character there is, against every ASCII mark that could be part of it."""
    inside = set[int]()
    is_single = len(bytes(range(256)).decode(encoding, "replace")) == 256
    for code in range(0x80, 0x100 if is_single else 0x30000):
        if not 0xD800 <= code < 0xE000:
            inside.update(chr(code).encode(encoding, "ignore"))
    inside &= set(range(0x80))
    for mark in map(chr, [9, *range(0x20, 0x7F)]):
        assert byte_safe(encoding, mark, "", "") == (ord(mark) not in inside), mark
    assert not inside & set(b'\n\r\t",; ')


def test_what_byte_safety_depends_on():
    assert byte_safe("utf-8", "¦", '"', "\\")
    assert byte_safe("cp1252", "\t", '"', "\\")
    assert not byte_safe("cp1252", "¦", '"', "")
    assert byte_safe("shift_jis", ",", '"', "")
    assert not byte_safe("shift_jis", ",", '"', "\\")
    assert not byte_safe("gbk", "|", "", "")
    assert byte_safe("euc_jp", "|", '"', "\\")
    assert not any(byte_safe(encoding, "\t", '"', "") for encoding in [*WIDE, "utf-7", "nonsense"])


# Damage


@pytest.mark.parametrize("encoding", [name for name in NAMES if name not in WIDE])
@given(source=st.binary(max_size=60))
@example(source=bytes(range(256)))
def test_damage_is_what_is_shown_as_replaced(encoding, source):
    shown = source.decode(encoding, "replace").count("\ufffd")
    own = source.count("\ufffd".encode()) if encoding == "utf-8" else 0
    assert count_damage(source, encoding) == shown - own
    # However large it is: of much it decodes a part at a time.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "_DECODED", 7)
        assert count_damage(source, encoding) == shown - own


# Transcoding


@given(st.binary(max_size=80), st.lists(st.integers(0, 80)), st.sampled_from([*WIDE, "gb18030"]))
@example(b"\x00\xd8", [1], "utf-16-le")
@example(b"\x00\xd8a\x00", [2], "utf-16-le")
@example(b"\x3d\xd8\x00\xde", [1, 2, 3], "utf-16-le")
@example(b"a\x00b", [], "utf-16-le")
def test_any_split_becomes_the_same_utf_8(source, splits, encoding):
    whole = source.decode(encoding, "replace").removeprefix("\ufeff")
    ends = sorted({min(split, len(source)) for split in splits} | {0, len(source)})
    transcoder = Transcoder(encoding)
    chunks = [source[a:b] for a, b in pairwise(ends)]
    result = b"".join([*map(transcoder.feed, chunks), transcoder.finish()])
    assert result == whole.encode()
    assert transcoder.replaced == whole.count("\ufffd")


def test_what_is_no_character_is_replaced_and_counted():
    transcoder = Transcoder("utf-16-le")
    source = codecs.BOM_UTF16_LE + "a".encode("utf-16-le") + b"\x00\xd8" + "b\n".encode("utf-16-le")
    assert transcoder.feed(source + b"\x41") == "a\ufffdb\n".encode()
    assert transcoder.finish() == "\ufffd".encode()
    assert transcoder.replaced == 2


def test_a_mark_is_left_out_at_the_beginning_only():
    transcoder = Transcoder("utf-16-be")
    assert transcoder.feed(b"\xfe") == b""
    assert transcoder.feed(b"\xff\x00a\xfe\xff") == "a\ufeff".encode()


@pytest.mark.parametrize(
    "sample",
    [
        b"a,b\n1\0,2\0\n",
        b"id,v\n" + b"".join(b"%d\0,%d\0\n" % (n % 10, n % 10) for n in range(50)),
        b"a\0b\0c\0,d\n" * 3,
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_zero_bytes_in_ascii_do_not_make_it_utf_16(sample, whole):
    assert sniff_encoding(sample, whole=whole).name == "utf-8"


@pytest.mark.parametrize("text", ["a\n", "id,v\r\n1,2\r\n", "id\tcity – name\n1\tParis\n"])
@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_short_utf_16_is_known_all_the_same(text, name):
    assert sniff_encoding(text.encode(name), whole=True).name == name
