"""What is no UTF-8 text is refused with a sentence that says what it is and what to do."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from typing import Any

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from server.document.blocks import BlockCutter, decompress
from server.document.dialect import (
    SKIP_LIMIT,
    SNIFF_SIZE,
    TSV,
    Dialect,
    check_dialect,
    needs_cut,
)
from server.document.encodings import CHOICES
from server.document.intake import Intake
from server.document.pages import parse_block
from server.document.records import read_records
from server.errors import BadMessage, NotText, NotUtf8, TablecastError
from tests.document.reference import read_whole


def refusal(source: bytes) -> TablecastError | None:
    """What a cutter says to `source`, the same in one piece and in many."""
    said: list[TablecastError | None] = []
    for chunk in (len(source), 1000):
        cutter = BlockCutter()
        try:
            for start in range(0, len(source), chunk):
                cutter.feed(source[start : start + chunk])
            cutter.finish()
            said.append(None)
        except TablecastError as error:
            said.append(error)
    one, many = said
    assert (type(one), str(one)) == (type(many), str(many))
    return one


def zipped(*names: str, first: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, first)
    return file.getvalue()


NOISE = random.Random(1).randbytes(5000)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (zipped("table.tsv"), "ZIP archive"),
        (zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"), "Excel workbook"),
        (zipped("[Content_Types].xml", "word/document.xml"), "Office document"),
        (
            zipped("mimetype", first=b"application/vnd.oasis.opendocument.spreadsheet"),
            "OpenDocument spreadsheet",
        ),
        (gzip.compress(b"a\tb\n"), "gzip archive"),
        (zstandard.compress(b"a\tb\n"), "zstd archive"),
        (b"%PDF-1.7\nabc", "PDF document"),
        (b"\x89PNG\r\n\x1a\n" + NOISE, "PNG image"),
        (b"\xff\xd8\xff\xe0" + NOISE, "JPEG image"),
        (b"SQLite format 3\x00" + NOISE, "SQLite database"),
        (b"PAR1\x15\x04" + NOISE, "Parquet file"),
        (b"\x7fELF\x02\x01\x01" + NOISE, "program"),
        (b"MZ\x90\x00\x03" + NOISE, "Windows program"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + NOISE, r"old Office document \(.xls"),
    ],
)
def test_a_binary_file_is_called_by_its_name(source: bytes, name: str) -> None:
    for whole in (source, source + NOISE * 20):
        error = refusal(whole)
        assert isinstance(error, NotText)
        with pytest.raises(NotText, match=f"looks like an? {name}.*Everyone keeps"):
            raise error


@pytest.mark.parametrize("source", [NOISE, b"a\tb\n\x00", b"\x01\x02\x03 some text"])
def test_other_bytes_that_are_no_text_are_refused(source: bytes) -> None:
    assert isinstance(refusal(source), NotText)


@pytest.mark.parametrize("source", [b"PAR1\tPAR2\n1\t2\n", b"MZ\tID3\n", b"RIFFs\tBZh\n"])
def test_a_header_may_begin_like_a_magic_number_of_letters(source: bytes) -> None:
    assert refusal(source) is None


def test_the_odd_control_character_is_text() -> None:
    assert refusal(b"a\x1b[1mb\tc\x0c\n\x1c\x1d\x1e\x1f\n" + b"bell \x07 and more\n") is None


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_other_unicode_encodings_are_asked_for_as_utf_8(encoding: str) -> None:
    source = "name\tage\nAda\t36\nZoé\t7\n".encode(encoding)
    for whole in (source, source * 5000):
        error = refusal(whole)
        if encoding.startswith("utf-32-"):
            assert isinstance(error, NotText | NotUtf8)
        else:
            assert isinstance(error, NotUtf8)
            assert "UTF-16" in error.message or "UTF-32" in error.message
            assert "Save it as UTF-8" in error.message


@pytest.mark.parametrize("text", ["Zoë", "Müller\nJosé", "x" * 60_000 + "é"])
def test_latin_1_is_asked_for_as_utf_8_naming_the_line(text: str) -> None:
    error = refusal(f"name\nAda\r\nBob\r{text}\n".encode("latin-1"))
    assert isinstance(error, NotUtf8)
    assert "see line 4" in error.message


def test_one_damaged_letter_among_good_ones_is_shown_as_a_replacement() -> None:
    source = "Zoé\tMüller\n".encode() + b"Jos\xe9\n"
    assert refusal(source) is None
    assert read_records(source, TSV, 1, 1) == [["Jos\ufffd"]]


def test_genuine_replacement_characters_are_no_damage() -> None:
    assert refusal("a\tb\ufffd\n".encode()) is None


@pytest.mark.parametrize("letter", ["é", "日", "😀"])
def test_a_letter_cut_by_the_edge_of_the_first_64_kib_is_no_damage(letter: str) -> None:
    for before in range(1, len(letter.encode()) + 1):
        source = b"x" * (SNIFF_SIZE - before) + letter.encode() + b"\n"
        assert refusal(source) is None


def test_only_the_first_64_kib_decide() -> None:
    good = "Ada\t36\n" * 10_000
    assert refusal(good.encode() + b"Jos\xe9\x00\n" + NOISE.replace(b'"', b"")) is None
    assert isinstance(refusal(b"Jos\xe9\n" + good.encode()), NotUtf8)


# Corrections by a person


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "klingon"},
        {"encoding": "rot13"},
        {"delimiter": "\n"},
        {"delimiter": "ab"},
        {"delimiter": "\ud800"},
        {"delimiter": "\0"},
        {"quote": "“"},
        {"quote": "x"},
        {"quote": "\t"},
        {"quote": '"', "escape": '"'},
        {"delimiter": ",", "escape": ","},
        {"escape": "\\\\"},
        {"comment": "a\n"},
        {"comment": '"'},
        {"comment": "§"},
        {"comment": "#" * 9},
        {"skip_lines": -1},
        {"skip_lines": SKIP_LIMIT + 1},
    ],
)
def test_what_nothing_can_be_read_by_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        check_dialect(Dialect(**wrong))


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"encoding": "latin-1"},
        {"delimiter": "日", "quote": "'", "escape": "\\", "comment": "//"},
        {"delimiter": "", "quote": ""},
        {"delimiter": " ", "skip_space": True, "skip_lines": SKIP_LIMIT},
        {"encoding": "UTF-16LE", "delimiter": "\x01"},
    ],
)
def test_what_can_be_read_by_cuts(right: dict[str, Any]) -> None:
    dialect = check_dialect(Dialect(**right))
    assert dialect.encoding in dict(CHOICES)
    assert dialect == Dialect(**right | {"encoding": dialect.encoding})
    text = "".join(["x\n"] * (dialect.skip_lines + 1))
    intake = Intake(dialect=dialect)
    assert list(intake.feed(text.encode(dialect.encoding))) == []
    assert sum(len(blocks) for blocks in intake.finish()) == 1


@pytest.mark.parametrize(
    ("change", "without_marks", "with_marks"),
    [
        ({"header": False}, False, False),
        ({"encoding": "cp1252"}, False, False),
        ({"delimiter": ","}, False, True),
        ({"quote": ""}, False, True),
        ({"doublequote": False}, False, True),
        ({"quote": "'"}, True, True),
        ({"escape": "\\"}, True, True),
        ({"comment": "#"}, True, True),
        ({"skip_lines": 1}, True, True),
        ({"encoding": "utf-16-le"}, True, True),
        ({"encoding": "cp1252", "delimiter": "§"}, True, True),
    ],
)
def test_only_what_moves_the_ends_of_records_cuts_again(
    change: dict[str, Any], without_marks: bool, with_marks: bool
) -> None:
    new = replace(TSV, **change)
    assert needs_cut(TSV, new, marks=False) == without_marks
    assert needs_cut(TSV, new, marks=True) == with_marks


@given(
    st.lists(st.sampled_from(["a", "b", ",", "\t", "\n", '"', '""', "\r", ";"]), max_size=60),
    st.sampled_from([",", "\t", ";", ""]),
    st.sampled_from(['"', "'", ""]),
)
def test_what_is_not_cut_again_reads_as_if_it_were(
    pieces: list[str], delimiter: str, quote: str
) -> None:
    source = "".join(["a", *pieces]).encode()
    new = Dialect(delimiter=delimiter, quote=quote)
    cutter = BlockCutter(checked=True, block_size=4)
    blocks = cutter.feed(source) + cutter.finish()
    assume(not needs_cut(cutter.dialect, new, marks="marks" in cutter.report.notes))
    rows = []
    for block in blocks:
        first = block.number == 0
        source_of_block = decompress(block.data)
        rows += parse_block(
            source_of_block, new, 0, 99, is_first_block=first, literal=block.literal
        )
    assert rows == read_whole(source.decode(), new)
