"""However a file arrives, its blocks are whole records that together are the file."""

from __future__ import annotations

import csv
import io
import re
import threading
import tracemalloc
from typing import Any

import pytest
import zstandard
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from server.document.blocks import (
    BLOCK_SIZE,
    COLUMN_LIMIT,
    RECORD_LIMIT,
    Block,
    decompress,
    index_entry,
)
from server.document.cutter import BlockCutter
from server.document.dialect import TSV, Dialect
from server.document.intake import SAMPLE_SIZE
from server.document.pages import Index, parse_block
from server.errors import EmptyDocument, Missing, TooLarge
from tests.document.reference import is_open, read_whole
from tests.properties import examples

# What the cells of real and of odd files are made of; the csv module is asked what they mean.
PIECES = [
    *("a", "5", "é", "日本", "😀", " ", "x y"),
    *("\t", "\t\t", "\n", "\r", "\r\n", "\n\n", "\r\r\n", "\n\r"),
    *('"', '""', '"""', '\t"', '"\t', '\n"', '"\n', '"a"', '"a\tb"', '"a\nb"', '"a ""b"" c"'),
    *("\u2028", "\x85", "\x1c", "\x1d", "\x0b", "\x0c", "\ufeff", "'", "\\", ",", "<b>"),
]
CHARACTERS = st.characters(exclude_categories=("Cc", "Cs"))  # control characters are in PIECES
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(CHARACTERS, max_size=3), max_size=40).map(
    "".join
)
BLOCK_SIZES = st.integers(1, 60)


def the_whole_reading(text: str, dialect: Dialect = TSV) -> list[list[str]]:
    return read_whole(text, dialect)


def cut(
    source: bytes, *, chunk: int | None = None, **options: Any
) -> tuple[BlockCutter, list[Block]]:
    cutter = BlockCutter(**options)
    blocks = []
    for start in range(0, len(source), chunk or max(1, len(source))):
        blocks += cutter.feed(source[start : start + (chunk or len(source))])
    return cutter, blocks + cutter.finish()


def records(block: Block, dialect: Dialect = TSV) -> list[list[str]]:
    first = block.number == 0
    return parse_block(
        decompress(block.data),
        dialect,
        0,
        block.records + 1,
        is_first_block=first,
        literal=block.literal,
    )


def encoded(text: str) -> bytes:
    """`text` in UTF-8, if it has any record."""
    assume(the_whole_reading(text))
    return text.encode()


# The same reading


@given(TEXTS, BLOCK_SIZES)
@example('a\t"b\n\n"\n\nc', 1)
@example('\ufeff"a\tb"\n"never closed\n', 2)
@example('"a"x\t"b\n"c\r', 3)
@example('""""""\t"\n', 4)
def test_blocks_read_as_the_csv_module_reads_the_whole_file(text: str, block_size: int) -> None:
    source = encoded(text)
    cutter, blocks = cut(source, block_size=block_size)
    expected = the_whole_reading(text)
    assert b"".join(decompress(block.data) for block in blocks) == source
    assert [record for block in blocks for record in records(block, cutter.dialect)] == expected
    assert [block.records for block in blocks] == [
        len(records(block, cutter.dialect)) for block in blocks
    ]
    assert (cutter.records, cutter.columns) == (len(expected), len(expected[0]))
    assert cutter.received == cutter.stored == len(source)
    assert cutter.blocks == len(blocks)


@given(TEXTS)
def test_a_file_without_special_quotes_reads_the_same_too(text: str) -> None:
    text = text.replace('"', "'")
    cutter, blocks = cut(encoded(text), block_size=10)
    assert [
        record for block in blocks for record in records(block, cutter.dialect)
    ] == the_whole_reading(text)


@given(TEXTS, BLOCK_SIZES)
def test_every_block_but_the_last_ends_with_the_first_record_end_past_its_size(
    text: str, block_size: int
) -> None:
    assume(not is_open(text, TSV))
    _, blocks = cut(encoded(text), block_size=block_size)
    for block in blocks[:-1]:
        assert block.size >= block_size
        _, lines = cut(b"a\n" + decompress(block.data), block_size=1)
        assert sum(line.size for line in lines[1:-1]) < block_size


@given(TEXTS, BLOCK_SIZES, st.integers(1, 20))
def test_the_same_blocks_result_however_the_bytes_are_split(
    text: str, block_size: int, chunk: int
) -> None:
    source = encoded("id\t" + text)
    _, whole = cut(source, block_size=block_size)
    assert cut(source, chunk=chunk, block_size=block_size)[1] == whole


@pytest.mark.parametrize("chunk", [1000, 65_536, 262_144, 1_000_000])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_file_of_many_blocks_reads_the_same(chunk: int, line_end: str, quoted: bool) -> None:
    cell = f'"zwei{line_end}{line_end}Zeilen ""{{n}}"""' if quoted else '5" pipe {n}'
    text = line_end.join(f"{n}\t{cell.format(n=n)}\t\té" for n in range(20_000))
    cutter, blocks = cut(text.encode(), chunk=chunk)
    assert len(blocks) > 5
    assert [
        record for block in blocks for record in records(block, cutter.dialect)
    ] == the_whole_reading(text)
    assert cutter.columns == 4
    assert all(BLOCK_SIZE <= block.size < BLOCK_SIZE + 100 for block in blocks[:-1])


@given(TEXTS, BLOCK_SIZES)
def test_the_index_finds_each_record(text: str, block_size: int) -> None:
    cutter, blocks = cut(encoded(text), block_size=block_size)
    index = Index()
    index.append(b"".join(index_entry(block.first_record, block.first_byte) for block in blocks))
    for number, record in enumerate(the_whole_reading(text)):
        block = blocks[index.block_of(number)]
        assert records(block, cutter.dialect)[number - block.first_record] == record
    assert len(index) == cutter.blocks
    assert [index.first_byte(n) for n in range(len(index))] == [b.first_byte for b in blocks]
    assert [index.first_record(n) for n in range(len(index))] == [b.first_record for b in blocks]


@pytest.mark.parametrize("quote", ['"', "'", ""])
@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|", "^", "]", "\\"])
def test_other_dialects_are_cut_as_they_are_read(delimiter: str, quote: str) -> None:
    cell = f"{quote}x\n{delimiter}y{quote}" if quote else '"x"'
    text = "".join(f"{n}{delimiter}{cell}\n" for n in range(100))
    dialect = Dialect(delimiter=delimiter, quote=quote)
    cutter = BlockCutter(dialect, block_size=64)
    blocks = cutter.feed(text.encode()) + cutter.finish()
    assert (cutter.records, cutter.columns, cutter.dialect) == (100, 2, dialect)
    last = parse_block(decompress(blocks[-1].data), dialect, 0, 1, is_first_block=False)
    assert last[0][1] == (f"x\n{delimiter}y" if quote else '"x"')


# What is handed out, and when


def test_the_first_block_comes_as_soon_as_its_bytes_are_there() -> None:
    cutter = BlockCutter()
    assert cutter.feed(b"a\tb\n" * (BLOCK_SIZE // 4 - 1)) == []
    (block,) = cutter.feed(b"a\tb\n")
    assert (block.number, block.first_record, block.first_byte) == (0, 0, 0)
    assert (block.records, block.size) == (BLOCK_SIZE // 4, BLOCK_SIZE)
    assert (cutter.stored, cutter.records, cutter.columns) == (BLOCK_SIZE, block.records, 2)


def test_stored_is_a_records_end_and_received_what_was_fed() -> None:
    cutter = BlockCutter()
    source = b'1\t"two\nlines"\n' * 10_000
    for start in range(0, len(source), 10_000):
        cutter.feed(source[start : start + 10_000])
        assert cutter.received == min(start + 10_000, len(source))
        assert cutter.stored % 14 == 0


def test_a_carriage_return_waits_for_the_newline_that_may_follow() -> None:
    line = b"x" * (BLOCK_SIZE - 1) + b"\r"
    cutter = BlockCutter()
    assert cutter.feed(line) == []
    (block,) = cutter.feed(b"\nnext")
    assert decompress(block.data) == line + b"\n"
    (last,) = cutter.finish()
    assert decompress(last.data) == b"next"


def test_a_quote_at_the_edge_waits_for_the_quote_that_may_follow() -> None:
    begin = b'"' + b"x" * (BLOCK_SIZE - 2) + b'"'
    for then, size in ((b'"\n"\n', BLOCK_SIZE + 4), (b"\n2\n", BLOCK_SIZE + 1)):
        cutter = BlockCutter()
        assert cutter.feed(begin) == []
        (block,) = cutter.feed(then)
        assert block.size == size


def test_a_file_smaller_than_a_block_is_one_block_at_its_end() -> None:
    cutter, (block,) = cut(b"\xef\xbb\xbfname\tage\nAda\t36")
    assert records(block) == [["name", "age"], ["Ada", "36"]]
    assert (block.size, cutter.columns) == (18, 2)


def test_a_header_alone_is_a_document_without_rows() -> None:
    cutter, (block,) = cut(b"name\tage\n")
    assert (cutter.records, cutter.columns, block.records) == (1, 2, 1)


def test_the_first_blocks_handed_out_contain_the_header() -> None:
    cutter = BlockCutter()
    assert cutter.feed(b"\n" * (3 * BLOCK_SIZE)) == []
    assert cutter.stored == cutter.blocks == 0
    blocks = cutter.feed(b"a\tb\n" * BLOCK_SIZE)
    assert [block.number for block in blocks] == list(range(len(blocks)))
    assert [block.records for block in blocks[:4]] == [0, 0, 0, BLOCK_SIZE // 4]
    assert cutter.columns == 2
    index = Index()
    index.append(b"".join(index_entry(b.first_record, b.first_byte) for b in blocks))
    assert index.block_of(0) == 3


@pytest.mark.parametrize("source", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_file_without_any_record_is_refused_as_empty(source: bytes) -> None:
    with pytest.raises(EmptyDocument, match="no row"):
        cut(source)
    with pytest.raises(EmptyDocument):
        cut(source + b"\n" * 200_000)


def test_calls_may_come_from_different_threads() -> None:
    cutter, blocks = BlockCutter(), []
    for _ in range(8):
        thread = threading.Thread(target=lambda: blocks.extend(cutter.feed(b"a\tb\n" * 20_000)))
        thread.start()
        thread.join(10)
    blocks += cutter.finish()
    assert sum(block.records for block in blocks) == 160_000


def test_memory_stays_small_however_large_the_file_and_its_chunks() -> None:
    chunk = b'1\t"two\nlines"\tthree\n' * 400_000
    cutter = BlockCutter()
    tracemalloc.start()
    try:
        assert len(cutter.feed(chunk)) > 100
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * 1024 * 1024 < len(chunk) / 3


# Limits


def test_a_document_over_the_limit_is_refused_naming_it() -> None:
    assert cut(b"x" * 100, document_limit=100)[0].stored == 100
    with pytest.raises(TooLarge, match="100 bytes") as error:
        cut(b"x" * 101, document_limit=100)
    assert (error.value.what, error.value.limit) == ("document", 100)


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
@pytest.mark.parametrize("block_size", [16, 100])
def test_a_record_over_the_limit_is_refused_wherever_it_stands(chunk: int, block_size: int) -> None:
    for before in (0, 1, 5, 49, 99):
        start = b"\n" * (before % 2) + b"b\tc\n" * before
        for record in (b"x" * 99 + b"\n", b'"' + b"x" * 97 + b'"\n', b"x" * 98 + b"\r\n"):
            for end in (b"", b"a\n"):
                options = {"chunk": chunk, "block_size": block_size, "record_limit": 100}
                cut(start + record + end, **options)
                with pytest.raises(TooLarge, match="100 bytes") as error:
                    cut(start + record[:1] + b"x" + record[1:] + end, **options)
                assert (error.value.what, error.value.limit) == ("record", 100)
                assert f"Row {before}" in error.value.message or before == 0


def test_a_record_just_within_the_limit_is_kept_whole() -> None:
    cell = 'x\n""' * (RECORD_LIMIT // 4 - 2)
    source = f'a\n"{cell}"\nb\n'.encode()
    cutter, blocks = cut(source, chunk=262_144)
    assert [record for block in blocks for record in records(block, cutter.dialect)] == [
        ["a"],
        [cell.replace('""', '"')],
        ["b"],
    ]


@pytest.mark.parametrize("rows_before", [0, 1, 50_000])
@pytest.mark.parametrize("cell", ["", "1", '""', '"a\nb"'])
def test_too_many_columns_are_refused_in_any_row(rows_before: int, cell: str) -> None:
    before = "a\tb\n" * rows_before
    cut((before + "\t".join([cell] * COLUMN_LIMIT) + "\nx\n").encode())
    with pytest.raises(TooLarge, match=r"16,385 columns, and the limit is 16,384") as error:
        cut((before + "\t".join([cell] * (COLUMN_LIMIT + 1)) + "\nx\n").encode())
    assert (error.value.what, error.value.limit) == ("columns", COLUMN_LIMIT)
    assert error.value.message.startswith(f"Row {rows_before:,}" if rows_before else "The header")


@pytest.mark.parametrize("limit", [1, 2, 300])
def test_the_limit_of_columns_can_be_another(limit: int) -> None:
    cut(b"\t" * (limit - 1) + b"x\n", column_limit=limit)
    with pytest.raises(TooLarge):
        cut(b"a\n" * 100_000 + b"\t" * limit + b"x\n", column_limit=limit)


def test_blocks_and_records_have_a_size() -> None:
    with pytest.raises(ValueError, match="one byte"):
        BlockCutter(block_size=0)


# Compression


def test_what_is_no_block_is_a_missing_part_of_the_document() -> None:
    bomb = zstandard.compress(b"\x00" * (RECORD_LIMIT + BLOCK_SIZE + 1))
    small = zstandard.compress(b"a\tb\n" * 1000)
    streamed = zstandard.ZstdCompressor(write_content_size=False).compress(b"a\tb\n")
    for data in (b"", b"nonsense", small[:-5], bomb, streamed):
        with pytest.raises(Missing):
            decompress(data)


def test_the_bound_follows_the_limit_of_a_record() -> None:
    data = zstandard.compress(b"x" * (RECORD_LIMIT + 2 * BLOCK_SIZE))
    assert len(decompress(data, record_limit=2 * RECORD_LIMIT)) == RECORD_LIMIT + 2 * BLOCK_SIZE


def test_an_index_entry_is_two_big_endian_numbers() -> None:
    assert index_entry(1, 2**40) == bytes([*[0] * 7, 1, 0, 0, 1, 0, 0, 0, 0, 0])


def test_a_file_is_understood_by_no_more_than_a_block() -> None:
    assert SAMPLE_SIZE <= BLOCK_SIZE


def test_only_what_can_be_told_at_bytes_is_cut() -> None:
    BlockCutter(Dialect(delimiter="¦"))
    for dialect in (
        Dialect(encoding="cp1252", delimiter="¦"),
        Dialect(encoding="cp932", delimiter="|"),
        Dialect(encoding="utf-16-le"),
        Dialect(quote="“"),
    ):
        with pytest.raises(ValueError, match=r"transcoded|ASCII"):
            BlockCutter(dialect)


# Quotes that are never closed


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest() -> None:
    before = "name\tsize\n1\t5\n"
    after = '2\t"5 inches\n' + "3\t7\n" * 100_000
    cutter, blocks = cut((before + after).encode(), chunk=100_000)
    rows = [record for block in blocks for record in records(block, cutter.dialect)]
    assert rows == [line.split("\t") for line in (before + after).splitlines()]
    assert (cutter.dialect.quote, cutter.report.quote) == ("", "")
    assert "runaway_quote" in cutter.report.notes
    assert not any(block.literal for block in blocks)


def test_what_was_quoted_before_it_stays_as_it_was_read() -> None:
    before = '1\t"two\nlines"\n' * 10_000
    after = '2\t"5 inches\n' + "3\t7\n" * 300 + '4\t"7 inches"\n' * 10_000 + '4\t"'
    cutter, blocks = cut((before + after).encode(), record_limit=1000)
    rows = [record for block in blocks for record in records(block, cutter.dialect)]
    assert rows == [["1", "two\nlines"]] * 10_000 + [
        line.split("\t") for line in after.splitlines()
    ]
    assert cutter.dialect == TSV
    assert cutter.report.notes == ("marks", "runaway_quote")
    index = Index()
    index.append(b"".join(block.entry for block in blocks))
    assert [index.is_literal(n) for n in range(len(index))] == [b.literal for b in blocks]
    assert [index.first_byte(n) for n in range(len(index))] == [b.first_byte for b in blocks]
    assert {block.literal for block in blocks} == {False, True}


def test_it_is_given_up_before_it_fills_the_memory() -> None:
    cutter = BlockCutter()
    cutter.feed(b'name\tage\n1\t"' + b"Ada\t36\n" * 40_000)
    tracemalloc.start()
    try:
        while not cutter.records:
            cutter.feed(b"Ada\t36\n" * 40_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cutter.received < RECORD_LIMIT + 700_000
    assert most < 3 * RECORD_LIMIT


@given(TEXTS, BLOCK_SIZES, st.integers(3, 50), st.integers(1, 20))
@example('a\n"b\nc"\n"d', 1, 4, 1)
def test_rows_are_lines_after_a_quote_that_is_not_closed_within_the_limit(
    text: str, block_size: int, record_limit: int, chunk: int
) -> None:
    source = encoded(text)
    options = {"block_size": block_size, "record_limit": record_limit}
    try:
        cutter, blocks = cut(source, **options)
    except TooLarge as error:
        assert error.what == "record"
        with pytest.raises(TooLarge, match=re.escape(error.message)):
            cut(source, chunk=chunk, **options)
        return
    assert cut(source, chunk=chunk, **options)[1] == blocks
    assert b"".join(decompress(block.data) for block in blocks) == source
    assert [len(records(b, cutter.dialect)) for b in blocks] == [b.records for b in blocks]
    if "runaway_quote" not in cutter.report.notes:
        rows = [record for block in blocks for record in records(block, cutter.dialect)]
        assert rows == the_whole_reading(text)


# All dialects


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    delimiter = draw(st.sampled_from(["\t", ",", ";", "|", " ", "\x01", "§", "日", "", "^", "]"]))
    return Dialect(
        delimiter=delimiter,
        quote=draw(st.sampled_from(['"', '"', "'", ""])),
        escape=draw(st.sampled_from(["", "", "\\"])),
        doublequote=draw(st.booleans()),
        skip_space=draw(st.booleans()),
        comment=draw(st.sampled_from(["", "", "#", "##", "//"])),
        skip_lines=draw(st.sampled_from([0, 0, 0, 1, 2])),
    )


@st.composite
def texts_of(draw: st.DrawFn, dialect: Dialect) -> str:
    d, q, e, c = dialect.delimiter, dialect.quote, dialect.escape, dialect.comment
    marks = [
        d,
        q,
        e,
        c,
        "\n",
        "\r",
        " ",
        "a",
        d + q,
        q + d,
        e + q,
        e + e,
        e + d,
        e + "\n",
        "\n" + c,
    ]
    marks += [
        q + "a" + d + "\nb" + q,
        e + "N",
        e + "t",
        c + "x" + q,
        q + q,
        "\r\n",
        "\0",
        "é",
        "🙂",
    ]
    marks += [" " + q, "  ", "\xa7", "\n" + q, q + "\n", c[:1], e + "\r\n", '"', "\\", "#"]
    pieces = st.sampled_from([mark for mark in marks if mark])
    return "".join(draw(st.lists(pieces, max_size=30)))


def is_beyond_csv(text: str, dialect: Dialect) -> bool:
    """An escaped escape right after a closing quote: nobody writes it, and it loses one of them."""
    return dialect.doublequote and bool(dialect.escape) and dialect.quote + 2 * "\\" in text


DIALECTS_WITH_TEXTS = dialects().flatmap(lambda d: st.tuples(st.just(d), texts_of(d)))


@settings(max_examples=examples(1000))
@given(DIALECTS_WITH_TEXTS, BLOCK_SIZES, st.integers(1, 9))
def test_every_dialect_is_cut_as_it_reads_as_a_whole(
    dialect_and_text: tuple[Dialect, str], block_size: int, chunk: int
) -> None:
    dialect, text = dialect_and_text
    expected = the_whole_reading(text, dialect)
    assume(expected)
    assume(not is_beyond_csv(text, dialect))
    cutter, blocks = cut(text.encode(), dialect=dialect, block_size=block_size)
    assert [r for block in blocks for r in records(block, cutter.dialect)] == expected
    assert [block.records for block in blocks] == [
        len(records(block, cutter.dialect)) for block in blocks
    ]
    assert cutter.report.records == len(expected)
    assert b"".join(decompress(block.data) for block in blocks) == text.encode()
    again, in_pieces = cut(text.encode(), chunk=chunk, dialect=dialect, block_size=block_size)
    assert in_pieces == blocks
    assert again.report == cutter.report


@settings(max_examples=examples(500))
@given(DIALECTS_WITH_TEXTS)
def test_the_csv_module_reads_what_it_knows_of_just_so(
    dialect_and_text: tuple[Dialect, str],
) -> None:
    dialect, text = dialect_and_text
    dialect = replace(dialect, comment="", skip_lines=0)
    assume(dialect.delimiter and dialect.quote and not is_open(text, dialect))
    assume(not (dialect.escape and text.endswith(dialect.escape)))
    assume(not is_beyond_csv(text, dialect))
    assume(not (dialect.skip_space and dialect.delimiter == " "))
    escapes = re.findall(r"\\(.?)", text, re.DOTALL) if dialect.escape else []
    marks = dialect.quote + dialect.delimiter + "\\\r\n"
    assume(all(char and char in marks for char in escapes))
    reader = csv.reader(
        io.StringIO(text.replace("\0", "\ufffd"), newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape or None,
        doublequote=dialect.doublequote,
        skipinitialspace=dialect.skip_space,
    )
    assert the_whole_reading(text, dialect) == [record for record in reader if record]
