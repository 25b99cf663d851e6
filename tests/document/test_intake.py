"""A file opens right the first time, whatever it is in and around, and however it arrives."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from server.document.blocks import Block, decompress
from server.document.dialect import Dialect
from server.document.encodings import CHOICES, Encoding
from server.document.intake import SAMPLE_SIZE, Intake, SheetFile
from server.document.pages import parse_block
from server.errors import (
    Damaged,
    EmptyDocument,
    NotOneTable,
    NotText,
    TooLarge,
    Unsupported,
)
from tests.data.polluted import Case, cases
from tests.data.truth import TRUTHS, Truth
from tests.document.reference import read_whole
from tests.properties import examples

FILES = Path(__file__).parents[1] / "data" / "files"
MIB = 1024 * 1024
Table = list[list[str]]


def take(
    source: bytes, *, name: str = "", chunk: int | None = None, **options: object
) -> tuple[Intake, list[Block]]:
    intake = Intake(name=name, **options)  # type: ignore[arg-type]
    blocks: list[Block] = []
    for start in range(0, len(source), chunk or max(1, len(source))):
        for more in intake.feed(source[start : start + (chunk or len(source))]):
            blocks += more
    for more in intake.finish():
        blocks += more
    assert intake.received == len(source)
    assert (intake.blocks, intake.records) == (len(blocks), sum(b.records for b in blocks))
    assert intake.stored == sum(block.size for block in blocks)
    return intake, blocks


def rows(intake: Intake, blocks: list[Block]) -> Table:
    found = [
        parse_block(
            decompress(block.data),
            intake.dialect,
            0,
            block.records + 1,
            is_first_block=block.number == 0,
            literal=block.literal,
        )
        for block in blocks
    ]
    assert [len(records) for records in found] == [block.records for block in blocks]
    return [record for records in found for record in records]


def stored(blocks: list[Block]) -> bytes:
    return b"".join(decompress(block.data) for block in blocks)


def zipped(data: bytes, name: str = "inner.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
    "zip": zipped,
}


# Real files


@pytest.mark.parametrize("truth", TRUTHS, ids=[truth.file for truth in TRUTHS])
def test_a_file_reads_as_whoever_wrote_it_meant_it(truth: Truth) -> None:
    source = (FILES / truth.file).read_bytes()
    intake, blocks = take(source, name=truth.file)
    table = rows(intake, blocks)
    report = intake.report
    assert report.encoding == truth.encoding
    assert report.delimiter == intake.dialect.delimiter == truth.delimiter
    assert report.skipped == truth.skip_lines
    assert report.records == len(table)
    if truth.columns is not None:
        assert intake.columns == truth.columns == len(table[0])
    if truth.first is not None:
        assert table[0][: len(truth.first)] == truth.first
    if not truth.encoding.startswith("utf-16") and truth.encoding != "utf-32-le":
        assert stored(blocks) == source
    assert take(source, name=truth.file, chunk=37)[1] == blocks


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_a_polluted_table_reads_as_it_was_before(case: Case) -> None:
    intake, blocks = take(case.text.encode(), name="table.csv")
    if intake.dialect.delimiter != case.delimiter:
        pytest.skip("the detection's own tests say how often it is mistaken")
    assert rows(intake, blocks) == read_whole(case.text, intake.dialect)


# Every dialect in every encoding


WORDS = {
    "utf-8": "Zürich Kraków 日本 😀 né",
    "cp1252": "Zürich Tromsø Münster née",
    "cp1251": "Москва Киев улица дом",
    "cp932": "東京 大阪 表示 ソース 名前",
    "gb18030": "北京 上海 订单 名字 城市",
    "big5hkscs": "台北 高雄 訂單 名字 功能",
}
ENCODINGS = [
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"),
    *("cp1252", "cp1251", "cp932", "gb18030", "big5hkscs"),
]


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    quote = draw(st.sampled_from(['"', '"', "'", ""]))
    return Dialect(
        delimiter=draw(st.sampled_from(["\t", ",", ";", "|", " ", "\x01", "§"])),
        quote=quote,
        escape=draw(st.sampled_from(["", "\\"])),
        doublequote=draw(st.booleans()) if quote else True,
    )


@st.composite
def tables(draw: st.DrawFn, encoding: str, dialect: Dialect) -> Table:
    words = WORDS.get(encoding, WORDS["utf-8"]).split()
    marks = ["", "x", "5", dialect.delimiter, "\n", "\r\n", '"', "'", "\\", " "]
    if dialect.quote and not dialect.escape and not dialect.doublequote:
        marks = [mark for mark in marks if mark != dialect.quote]
    if not dialect.quote and not dialect.escape:
        marks = ["", "x", "5", '"', "\\"]
    cell = st.lists(st.sampled_from(words + marks), max_size=4).map("".join)
    table = draw(st.lists(st.lists(cell, min_size=2, max_size=4), min_size=1, max_size=30))
    # A lone empty cell is a blank line without quotes.
    return [record if any(record) else ["x", *record] for record in table]


def written(table: Table, dialect: Dialect, end: str) -> str:
    d, q, e = dialect.delimiter, dialect.quote, dialect.escape
    lines = []
    for record in table:
        cells = []
        for cell in record:
            if q:
                if e:
                    cell = cell.replace(e, e + e)
                if q in cell:
                    cell = cell.replace(q, (q if dialect.doublequote else e) + q)
                cell = q + cell + q
            elif e:
                for mark, letter in ((e, e), ("\n", "n"), ("\r", "r"), (d, d)):
                    cell = cell.replace(mark, e + letter)
            cells.append(cell)
        lines.append(d.join(cells) + end)
    return "".join(lines)


def encode(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        assume(False)
        raise


@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data(), st.sampled_from(ENCODINGS), dialects(), st.integers(1, 50))
def test_every_dialect_reads_in_every_encoding_however_it_is_split_and_packed(
    data: st.DataObject, encoding: str, dialect: Dialect, chunk: int
) -> None:
    codec = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
    table = data.draw(tables(encoding, dialect))
    text = written(table, dialect, data.draw(st.sampled_from(["\n", "\r\n", "\r"])))
    source = encode(text, encoding)
    given_dialect = Dialect(
        encoding=codec.get(encoding, encoding),
        delimiter=dialect.delimiter,
        quote=dialect.quote,
        escape=dialect.escape,
        doublequote=dialect.doublequote,
    )
    size = data.draw(st.integers(1, 100))
    intake, blocks = take(source, dialect=given_dialect, block_size=size)
    assert rows(intake, blocks) == table
    assert intake.report.ragged == sum(len(record) != len(table[0]) for record in table)
    again, pieces = take(source, chunk=chunk, dialect=given_dialect, block_size=size)
    assert (pieces, again.dialect, again.report) == (blocks, intake.dialect, intake.report)
    guessed, blocks = take(source, name="table.csv", block_size=size)
    assert rows(guessed, blocks) == read_whole(
        source.decode(guessed.report.encoding, "replace"), guessed.dialect
    )
    if guessed.dialect.encoding == guessed.report.encoding:
        assert stored(blocks) == source
    pack = PACKINGS[data.draw(st.sampled_from(list(PACKINGS)))]
    unpacked, again_blocks = take(pack(source), name="table.csv", chunk=chunk, block_size=size)
    if pack is not zipped:  # whose table has a name of its own, which is a hint
        assert (again_blocks, unpacked.report) == (blocks, guessed.report)
    assert unpacked.unpacked == len(source)


@pytest.mark.parametrize("encoding", [name for name, _ in CHOICES])
def test_no_encoding_loses_a_record_to_damaged_bytes(encoding: str) -> None:
    draw = random.Random(encoding)
    for _ in range(20):
        source = bytes(draw.choices(b'\t\n\r"\\a ' + draw.randbytes(60), k=2000)) + b"\n"
        for quote in ('"', ""):
            dialect = Dialect(encoding=encoding, quote=quote)
            try:
                intake, blocks = take(source, dialect=dialect, block_size=100)
            except EmptyDocument:
                continue
            rows(intake, blocks)  # as many in each block as were counted
            assert intake.report.records == intake.records


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252", "gb18030"])
def test_a_large_file_reads_as_the_csv_module_reads_it(encoding: str) -> None:
    file = io.StringIO(newline="")
    words = WORDS.get(encoding, WORDS["cp1252"]).split()
    draw = random.Random(encoding)
    writer = csv.writer(file)
    writer.writerow(["number", "town", "note", "ratio"])
    for number in range(20_000):
        note = draw.choice(["", "said\nso", 'in "quotes"', "one, two"])
        writer.writerow([number, draw.choice(words), note, draw.random()])
    source = file.getvalue().encode(encoding)
    intake, blocks = take(source, name="large.csv", chunk=100_000)
    assert len(blocks) > 5
    assert rows(intake, blocks) == list(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert intake.report.records == 20_001
    assert intake.report.ragged == intake.report.replaced == 0


# What it is read by


def test_utf_16_is_stored_as_utf_8_and_reported_as_what_it_was() -> None:
    text = "név\tváros\nAnna\tPécs\n"
    intake, blocks = take(text.encode("utf-16"), name="table.txt")
    assert stored(blocks) == text.encode()
    assert (intake.dialect.encoding, intake.report.encoding) == ("utf-8", "utf-16-le")
    assert intake.report.encoding_why == "mark"


def test_other_encodings_keep_their_bytes_unless_a_mark_could_be_part_of_a_letter() -> None:
    source = "名前,表示\n東京,ソース\n".encode("cp932")
    for delimiter, encoding in ((",", "cp932"), ("|", "utf-8")):
        dialect = Dialect(encoding="cp932", delimiter=delimiter)
        data = source.replace(b",", delimiter.encode())
        intake, blocks = take(data, dialect=dialect)
        assert rows(intake, blocks) == [["名前", "表示"], ["東京", "ソース"]]
        assert intake.dialect.encoding == encoding
        assert intake.report.encoding == "cp932"
        assert (stored(blocks) == data) == (encoding == "cp932")


def test_zero_bytes_and_bad_bytes_are_shown_as_replaced_and_counted() -> None:
    source = "name\tage\nZoé\t7\n".encode() * 50 + b"Jos\xe9\t\x008\n"
    intake, blocks = take(source)
    assert rows(intake, blocks)[-1] == ["Jos\ufffd", "\ufffd8"]
    assert intake.report.replaced == 2
    assert set(intake.report.notes) == {"nul_bytes", "bad_bytes"}
    assert stored(blocks) == source
    broken = "a\tb\n\ud800\t\0\n".encode("utf-16-le", "surrogatepass") * 20
    intake, blocks = take(broken, dialect=Dialect(encoding="utf-16-le"))
    assert rows(intake, blocks)[1] == ["\ufffd", "\ufffd"]
    assert intake.report.replaced == 40


def test_a_given_dialect_is_not_doubted() -> None:
    source = b"%PDF-\tx\n\x00\t\x01\n"
    intake, blocks = take(
        source, dialect=Dialect(header=False), encoding=Encoding(name="utf-16-le", why="mark")
    )
    assert stored(blocks) == source
    assert (intake.report.encoding, intake.report.header) == ("utf-16-le", False)
    packed = gzip.compress(b"a\tb\n")
    assert stored(take(packed, dialect=Dialect(encoding="cp1252"))[1]) == packed


def test_stored_bytes_can_be_cut_again_by_another_quoting() -> None:
    source = b'id\tsays\n1\t"a\nb"\n' * 1000
    intake, blocks = take(source)
    assert intake.records == 2000
    again, others = take(stored(blocks), dialect=Dialect(quote=""))
    assert again.records == 3000
    assert stored(others) == source


def test_until_something_is_known_it_says_so() -> None:
    intake = Intake(name="table.csv.gz")
    assert list(intake.feed(gzip.compress(b"a;b\n1;2\n"))) == []
    assert (intake.dialect, intake.name, intake.records) == (Dialect(), "table.csv.gz", 0)
    assert sum(len(blocks) for blocks in intake.finish()) == 1
    assert (intake.dialect.delimiter, intake.name, intake.columns) == (";", "table.csv", 2)


def test_the_first_block_comes_as_soon_as_its_bytes_are_there() -> None:
    intake = Intake()
    assert list(intake.feed(b"a\tb\n" * (SAMPLE_SIZE // 4 - 1))) == []
    ((block,),) = intake.feed(b"a\tb\n")
    assert block.size == SAMPLE_SIZE


# What is around the table


def test_lines_before_the_table_and_comments_are_no_records() -> None:
    dialect = Dialect(delimiter=",", skip_lines=2, comment="#")
    text = '\ufeffabout: "x\r\n\nid,name\r\n# a, "b\r\n1,"two\r\n#lines"\r\n#end'
    for chunk in (1, 2, 3, 100):
        intake, blocks = take(text.encode(), dialect=dialect, chunk=chunk, block_size=8)
        assert rows(intake, blocks) == [["id", "name"], ["1", "two\r\n#lines"]]
        assert stored(blocks) == text.encode()
        assert intake.report.skipped == 2


def test_more_lines_can_be_skipped_than_there_are() -> None:
    with pytest.raises(EmptyDocument):
        take(b"a\nb\n", dialect=Dialect(skip_lines=3))


@pytest.mark.parametrize("size", [100, 100_000, 1_000_000])
def test_what_is_skipped_may_be_larger_than_a_block(size: int) -> None:
    source = b"x" * size + b"\r" + b"y" * size + b"\na\tb\n1\t2\n"
    intake, blocks = take(source, dialect=Dialect(skip_lines=2), chunk=50_000)
    assert rows(intake, blocks) == [["a", "b"], ["1", "2"]]
    assert stored(blocks) == source


def test_what_comes_before_the_first_row_is_bounded() -> None:
    draw = random.Random(1)
    comments = b"".join(b"#" + draw.randbytes(60).hex().encode() + b"\n" for _ in range(5000))
    for dialect in (Dialect(comment="#"), Dialect(skip_lines=6000)):
        with pytest.raises(TooLarge, match="before the first row"):
            take(comments + b"a\n", dialect=dialect, record_limit=100_000, chunk=10_000)


# Packed


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_file_is_the_file_inside(packing: str) -> None:
    source = "id;größe\n".encode("cp1252") + b"1;2\n" * 100_000
    name = {"zip": "inner.csv"}.get(packing, "sizes.csv")
    whole, expected = take(source, name="sizes.csv")
    intake, blocks = take(PACKINGS[packing](source), name=f"sizes.csv.{packing}", chunk=1000)
    assert blocks == expected
    assert (intake.name, intake.report) == (name, whole.report)
    assert intake.unpacked == intake.stored == len(source)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_bomb_stops_at_the_limit_in_bounded_memory(packing: str) -> None:
    # bzip2 packs what repeats slowly, and each of its blocks by itself.
    streams = 16 if packing == "bz2" else 1
    bomb = PACKINGS[packing](b"0\t1\n" * (8 * MIB // streams)) * streams
    intake = Intake(name="bomb", document_limit=12 * MIB)
    lists, most = 0, 0

    def feed() -> None:
        nonlocal lists
        for start in range(0, len(bomb), 65_536):
            for _ in intake.feed(bomb[start : start + 65_536]):
                lists += 1

    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=r"table in this file is larger than 12 MiB") as error:
            feed()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.value.what == "document"
    assert 12 * MIB < intake.unpacked <= 12 * MIB + MIB
    assert lists > 10
    assert most < 12 * MIB


def test_whoever_stops_taking_stops_the_unpacking() -> None:
    intake = Intake()
    bomb = gzip.compress(b"0\t1\n" * (10 * MIB))
    blocks = intake.feed(bomb)
    assert next(blocks)
    assert intake.unpacked < MIB


def test_one_step_is_bounded_even_if_it_gives_nothing() -> None:
    intake = Intake()
    done = []
    for blocks in intake.feed(gzip.compress(b"\n" * (40 * MIB))):
        assert blocks == []
        done.append(intake.unpacked)
    assert max(b - a for a, b in zip([0, *done], done, strict=False)) <= 9 * MIB


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_file_that_was_cut_off_is_refused(packing: str) -> None:
    source = PACKINGS[packing](random.Random(1).randbytes(1000).hex().encode())
    with pytest.raises(Damaged, match="cut off"):
        take(source[: len(source) // 2])


# Spreadsheets


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (zipped(b"<x/>", "xl/workbook.xml"), "xlsx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000), "xls"),
        (b"PAR1\x15\x04" + bytes(1000), "parquet"),
    ],
)
def test_a_spreadsheet_is_handed_back_with_its_bytes(source: bytes, kind: str) -> None:
    for chunk in (100, len(source)):
        intake = Intake(name="table.csv")
        sheet = handed_back(intake, source, chunk)
        assert (sheet.kind, intake.sheet) == (kind, kind)
        assert sheet.head == source[: intake.received]
        assert intake.received <= 512 + chunk


def handed_back(intake: Intake, source: bytes, chunk: int) -> SheetFile:
    try:
        for start in range(0, len(source), chunk):
            assert list(intake.feed(source[start : start + chunk])) == []
        list(intake.finish())
    except SheetFile as sheet:
        return sheet
    raise AssertionError("it was read as text")


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_a_spreadsheet_inside_of_an_archive_is_asked_for_itself(packing: str) -> None:
    sheet = zipped(b"<x/>", "xl/workbook.xml") + bytes(1000)
    with pytest.raises(Unsupported, match="spreadsheet itself"):
        take(PACKINGS[packing](sheet))


# No table at all


NOISE = random.Random(1).randbytes(5000)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (b"7z\xbc\xaf\x27\x1c" + NOISE, "7z archive"),
        (b"%PDF-1.7\nabc", "PDF document"),
        (b"\x89PNG\r\n\x1a\n" + NOISE, "PNG image"),
        (b"\xff\xd8\xff\xe0" + NOISE, "JPEG image"),
        (b"SQLite format 3\x00" + NOISE, "SQLite database"),
        (b"\x7fELF\x02\x01\x01" + NOISE, "program"),
        (b"MZ\x90\x00\x03" + NOISE, "Windows program"),
        (b"GIF89a" + NOISE, "GIF image"),
    ],
)
def test_a_binary_file_is_called_by_its_name(source: bytes, name: str) -> None:
    for whole in (source, source + NOISE * 20):
        for data in (whole, gzip.compress(whole)):
            with pytest.raises(NotText, match=f"looks like an? {name}.*Everyone keeps"):
                take(data, name="table.tsv")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("text", [0, 30_000])
def test_a_script_with_an_archive_inside_is_no_table_of_its_lines(text: int, method: int) -> None:
    """What is only stored in it is text, as the script is."""
    program = io.BytesIO(b"#!/bin/sh\n" + b"# unpacks itself\n" * (text // 17))
    program.seek(0, io.SEEK_END)
    with zipfile.ZipFile(program, "a", method) as archive:
        archive.writestr("trips.csv", b"a,b\n" + b"1,some text\n" * 500)
    with pytest.raises(NotText, match=r"looks like a script with a ZIP archive inside.*Unpack"):
        take(program.getvalue())


@pytest.mark.parametrize("source", [NOISE, NOISE * 20, bytes(100), bytes(range(1, 9)) * 10])
def test_other_bytes_that_are_no_text_are_refused(source: bytes) -> None:
    with pytest.raises(NotText, match=r"not a text file: it contains"):
        take(source)


@pytest.mark.parametrize(
    "source",
    [
        b"PAR1\tPAR2\n1\t2\n",
        b"MZ\tID3\n",
        b"RIFFs\tBZh\n",
        b"a\tb\n\x00",
        b"a\x1b[1mb\tc\x0c\n\x1c\x1d\x1e\x1f\n" + b"bell \x07 and more\n",
        b"1\x01a\x02b\x03c\x01\n" * 100,
        b"a\0\tb\0\n" * 3 + b"some more text\n",
        b"#!name\tfirst bytes\n" + b"PK\tPK\x03\x04\nPK\x03\x04\tzip\n" * 100,
        b"file\n" + zipped(b"a\tb\n") + b"\nsome more text\n" * 100,
    ],
)
def test_text_may_begin_like_a_magic_number_and_have_odd_bytes(source: bytes) -> None:
    intake, blocks = take(source)
    assert stored(blocks) == source
    assert rows(intake, blocks)


def test_a_tar_archive_is_asked_for_what_is_inside() -> None:
    header = bytearray(512)
    header[:5] = b"a.tsv"
    header[148:156] = b"%06o\0 " % (sum(header) + 8 * ord(" "))
    with pytest.raises(NotOneTable, match="tar archive"):
        take(bytes(header) + b"a\tb\n")


@pytest.mark.parametrize(
    "source", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n", b"\xff\xfe\n\0", b"\n" * 9]
)
def test_a_file_without_any_record_is_refused_as_empty(source: bytes) -> None:
    end = b"\n\0" if source.startswith(b"\xff\xfe") else b"\n"
    for data in (source, source + end * 100_000, gzip.compress(source), zipped(source)):
        with pytest.raises(EmptyDocument):
            take(data)


def test_a_document_over_the_limit_is_refused_naming_it() -> None:
    assert take(b"x" * 100, document_limit=100)[0].stored == 100
    with pytest.raises(TooLarge, match="This file is larger than 100 bytes"):
        take(b"x" * 101, document_limit=100)
