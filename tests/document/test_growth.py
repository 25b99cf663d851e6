"""Rows that are added to a document: whole records only, however their bytes come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.document.blocks import Block, decompress
from server.document.cutter import BlockCutter
from server.document.dialect import TSV, Dialect, without_quotes
from server.document.growth import Grown, Piece, RowStream, Tail, grow, missing_line_end
from server.document.records import read_records
from server.errors import TooLarge
from tests.document.reference import read_whole
from tests.properties import examples

CSV = Dialect(delimiter=",")
DUMP = Dialect(quote="", escape="\\")
DIALECTS = [
    TSV,
    CSV,
    DUMP,
    Dialect(quote=""),
    Dialect(delimiter=";", quote="'", escape="\\", doublequote=False),
    Dialect(delimiter=",", comment="#", header=False),
    Dialect(delimiter=" ", skip_space=True),
]


def texts(dialect: Dialect) -> st.SearchStrategy[str]:
    marks = dialect.delimiter + dialect.quote + dialect.escape + dialect.comment
    letters = "ab" + marks * 2 + "\n\n\r\té "
    return st.text(alphabet=letters, max_size=60)


@st.composite
def streams(draw: Any) -> tuple[Dialect, str, list[bytes]]:
    """A dialect, rows, and their bytes in chunks."""
    dialect = draw(st.sampled_from(DIALECTS))
    text = draw(texts(dialect))
    data = text.encode()
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=6)))
    edges = zip([0, *cuts], [*cuts, len(data)], strict=True)
    return dialect, text, [data[start:end] for start, end in edges]


def taken(dialect: Dialect, chunks: list[bytes], **limits: int) -> list[Piece]:
    rows = RowStream(dialect, **limits)
    pieces: list[Piece] = []
    for chunk in chunks:
        rows.feed(chunk)
        pieces += rows.take()
    return pieces + rows.take(ended=True)


def read(source: bytes, dialect: Dialect, *, literal: bool) -> list[list[str]]:
    return read_records(source, without_quotes(dialect) if literal else dialect, 0, 1 << 30)


def document(
    text: bytes, dialect: Dialect, block_size: int = 64 * 1024
) -> tuple[list[Block], Dialect]:
    """The blocks of a document, and the dialect that it proved to be read by."""
    cutter = BlockCutter(dialect, block_size=block_size)
    blocks = cutter.feed(text) + cutter.finish()
    return blocks, cutter.dialect


def tail_of(blocks: list[Block]) -> Tail:
    last = blocks[-1]
    source = decompress(last.data)
    return Tail(last.number, last.first_record, last.first_byte, last.records, source, last.literal)


# The stream


@settings(max_examples=examples(400), deadline=None)
@given(streams(), st.sampled_from([3, 20, 1000]))
def test_rows_are_the_same_however_they_come_in(
    stream: tuple[Dialect, str, list[bytes]], block_size: int
) -> None:
    dialect, text, chunks = stream
    pieces = taken(dialect, chunks, block_size=block_size)
    assert b"".join(piece.source for piece in pieces) == text.encode()
    records = [read(piece.source, dialect, literal=piece.literal) for piece in pieces]
    assert [len(found) for found in records] == [piece.records for piece in pieces]
    assert [record for found in records for record in found] == read_whole(text, dialect)


@settings(max_examples=examples(200), deadline=None)
@given(streams())
def test_a_record_is_given_as_soon_as_its_line_end_is_certain(
    stream: tuple[Dialect, str, list[bytes]],
) -> None:
    dialect, _, chunks = stream
    if dialect.quote or dialect.escape:
        return  # quotes may never be closed
    rows = RowStream(dialect)
    came = b""
    given_out = 0
    for chunk in chunks:
        rows.feed(chunk)
        came += chunk
        given_out += sum(len(piece.source) for piece in rows.take())
        certain = came.removesuffix(b"\r")
        assert given_out == 1 + max(certain.rfind(b"\n"), certain.rfind(b"\r"))


def test_a_record_with_a_quoted_line_end_waits_for_its_closing_quote() -> None:
    rows = RowStream(CSV)
    rows.feed(b'1,one\n2,"two\nlines')
    assert [piece.source for piece in rows.take()] == [b"1,one\n"]
    rows.feed(b' and more"')
    assert rows.take() == []
    rows.feed(b"\n3")
    assert [piece.source for piece in rows.take()] == [b'2,"two\nlines and more"\n']
    assert [piece.source for piece in rows.take(ended=True)] == [b"3"]


def test_a_quote_that_is_never_closed_hides_no_row() -> None:
    pieces = taken(CSV, [b'1,one\n2,"two\n3,three\n'])
    assert [(piece.source, piece.literal) for piece in pieces] == [
        (b"1,one\n", False),
        (b'2,"two\n3,three\n', True),
    ]


def test_a_quote_that_stays_open_over_the_limit_is_text_from_its_record_on() -> None:
    rows = RowStream(CSV, block_size=64, record_limit=200)
    rows.feed(b'1,one\n2,"two\n' + b"3,three\n" * 40)
    pieces = rows.take()
    assert [piece.literal for piece in pieces][:2] == [False, True]
    assert sum(piece.records for piece in pieces) == 42


def test_a_byte_order_mark_before_the_rows_is_left_out() -> None:
    for chunks in ([b"\xef\xbb\xbf1\n"], [b"\xef", b"\xbb", b"\xbf1\n"]):
        assert [piece.source for piece in taken(TSV, chunks)] == [b"1\n"]
    assert [piece.source for piece in taken(TSV, [b"\xef\xbb"])] == [b"\xef\xbb"]


@pytest.mark.parametrize("block_size", [50, 10_000])
def test_a_row_over_the_limit_is_refused_after_the_rows_before_it(block_size: int) -> None:
    rows = RowStream(TSV, block_size=block_size, record_limit=100)
    rows.feed(b"1\tone\n2\ttwo\n" + b"x" * 150)
    assert sum(piece.records for piece in rows.take()) == 2
    with pytest.raises(TooLarge, match=r"Row 3 .* 100 bytes"):
        rows.take()


def test_a_row_with_too_many_cells_is_refused_after_the_rows_before_it() -> None:
    rows = RowStream(CSV, column_limit=4)
    rows.feed(b'1,2,3,4\n\n"1,2,3",4,"5\n6"\n1,2,3,4,5\n1\n')
    pieces = rows.take()
    assert b"".join(piece.source for piece in pieces) == b'1,2,3,4\n\n"1,2,3",4,"5\n6"\n'
    with pytest.raises(TooLarge, match=r"Row 3 .* 5 columns"):
        rows.take()


def test_a_long_record_that_comes_slowly_is_one_record() -> None:
    rows = RowStream(CSV)
    cell = b'"' + b"some words,\n" * 20_000 + b'"'
    for start in range(0, len(cell), 5_000):
        rows.feed(cell[start : start + 5_000])
        assert rows.take() == []
    rows.feed(b",end\nnext\n")
    pieces = rows.take()
    assert [piece.records for piece in pieces] == [1, 1]
    assert pieces[0].source == cell + b",end\n"


@settings(max_examples=examples(200), deadline=None)
@given(streams(), st.sampled_from(DIALECTS), st.integers(0, 6))
def test_rows_that_were_not_added_yet_can_be_read_otherwise(
    stream: tuple[Dialect, str, list[bytes]], other: Dialect, at: int
) -> None:
    first, text, chunks = stream
    rows = RowStream(first, block_size=20)
    pieces: list[Piece] = []
    for number, chunk in enumerate(chunks):
        rows.feed(chunk)
        if number == at:
            rows.read_by(other, pieces + rows.take())
            pieces.clear()
        pieces += rows.take()
    pieces += rows.take(ended=True)
    dialect = other if at < len(chunks) else first
    found = [read(piece.source, dialect, literal=piece.literal) for piece in pieces]
    assert [record for records in found for record in records] == read_whole(text, dialect)


# The document


@settings(max_examples=examples(400), deadline=None)
@given(streams(), st.data(), st.sampled_from([4, 30, 1000]))
def test_a_document_with_rows_added_reads_as_both_one_after_the_other(
    stream: tuple[Dialect, str, list[bytes]], data: Any, block_size: int
) -> None:
    dialect, text, chunks = stream
    before = data.draw(texts(dialect))
    records = read_whole(before, dialect)
    if not records:
        return
    blocks, dialect = document(before.encode(), dialect, block_size)
    pieces = taken(dialect, chunks, block_size=block_size)
    tail = tail_of(blocks)
    grown: Grown = Grown([], tail)
    added: dict[int, Block] = {}
    for piece in pieces:
        grown = grow(grown.tail, [piece], dialect, block_size=block_size)
        added |= {block.number: block for block in grown.blocks}
    together = grow(tail, pieces, dialect, block_size=block_size)
    assert {b.number: (b.entry, b.data) for b in together.blocks} == {
        b.number: (b.entry, b.data) for b in added.values()
    }
    assert grown.tail == together.tail
    for number, block in added.items():
        if number < len(blocks):
            # What was known of it stays its beginning.
            assert block.entry == blocks[number].entry
            assert decompress(block.data).startswith(decompress(blocks[number].data))
    everything = list(({block.number: block for block in blocks} | added).values())
    found: list[list[str]] = []
    position = 0
    for number, block in enumerate(everything):
        assert (block.number, block.first_record, block.first_byte) == (
            number,
            len(found),
            position,
        )
        source = decompress(block.data)
        position += len(source)
        found += read(source, dialect, literal=block.literal)
    assert found[: len(records)] == records
    assert found[len(records) :] == read_whole(text, dialect)


@settings(max_examples=examples(400), deadline=None)
@given(st.sampled_from(DIALECTS), st.data(), st.sampled_from([4, 30, 1000]))
def test_what_several_senders_add_at_once_is_read_as_one_after_the_other(
    dialect: Dialect, data: Any, block_size: int
) -> None:
    before = data.draw(texts(dialect))
    expected = read_whole(before, dialect)
    if not expected:
        return
    blocks, dialect = document(before.encode(), dialect, block_size)
    pieces: list[Piece] = []
    for text in data.draw(st.lists(texts(dialect), max_size=5)):
        pieces += taken(dialect, [text.encode()], block_size=block_size)
        expected += read_whole(text, dialect)
    tail = tail_of(blocks)
    grown = grow(tail, pieces, dialect, block_size=block_size)
    assert grown.tail.first_record + grown.tail.records == len(expected)
    everything = {block.number: block for block in [*blocks, *grown.blocks]}.values()
    sources = [(decompress(block.data), block) for block in everything]
    found = [row for source, b in sources for row in read(source, dialect, literal=b.literal)]
    assert found == expected
    together = b"".join(source for source, _ in sources)
    assert grown.tail.first_byte + len(grown.tail.source) == len(together)
    if not any(block.literal for block in everything):
        assert read_whole(together.decode(), dialect) == expected


@pytest.mark.parametrize(
    ("first", "dialect", "rows"),
    [
        (b"2\tb", TSV, [["2", "b"], ["3", "c"]]),
        (b'2\t"b', TSV, [["2", '"b'], ["3", "c"]]),
        (b"x\\", DUMP, [["x\\"], ["3", "c"]]),
        (b"2\tb\r", TSV, [["2", "b"], ["3", "c"]]),
    ],
)
def test_rows_of_two_senders_do_not_merge(
    first: bytes, dialect: Dialect, rows: list[list[str]]
) -> None:
    pieces = [*taken(dialect, [first]), *taken(dialect, [b"3\tc"])]
    blocks, _ = document(b"h\tx\n", dialect)
    grown = grow(tail_of(blocks), pieces, dialect)
    found = [
        row
        for block in {block.number: block for block in [*blocks, *grown.blocks]}.values()
        for row in read(decompress(block.data), dialect, literal=block.literal)
    ]
    assert found == [["h", "x"], *rows]
    assert grown.tail.first_record + grown.tail.records == 3


def test_small_additions_fill_the_last_block_and_then_begin_another() -> None:
    tail = tail_of(document(b"id\tname\n", TSV)[0])
    numbers: list[int] = []
    for number in range(1, 200):
        row = b"%d\t%s\n" % (number, b"x" * 1000)
        grown = grow(tail, [Piece(row, 1, False)], TSV)
        tail = grown.tail
        numbers += [block.number for block in grown.blocks]
        assert len(tail.source) <= 64 * 1024
    assert sorted(set(numbers)) == [0, 1, 2, 3]
    assert tail.first_record + tail.records == 200


def test_nothing_added_changes_nothing() -> None:
    tail = tail_of(document(b"id\tname", TSV)[0])
    assert grow(tail, [], TSV) == Grown([], tail)


@pytest.mark.parametrize(
    ("source", "dialect", "missing"),
    [
        (b"", TSV, b""),
        (b"a\n", TSV, b""),
        (b"a\r\n", TSV, b""),
        (b"a\r", TSV, b""),
        (b"a", TSV, b"\n"),
        (b"a\nb", TSV, b"\n"),
        (b"a\r\nb", TSV, b"\r\n"),
        (b"a\rb", TSV, b"\r"),
        (b"a\\", TSV, b"\n"),
        (b"a\\", DUMP, b"\\\n"),
        (b"a\\\\", DUMP, b"\n"),
        (b"a\\\n", DUMP, b"\n"),
        (b"a\\\r\n", DUMP, b"\r\n"),
        (b"a\n\\\r", DUMP, b"\r"),
        (b"a\\\\\n", DUMP, b""),
    ],
)
def test_the_last_record_is_ended_before_another_begins(
    source: bytes, dialect: Dialect, missing: bytes
) -> None:
    assert missing_line_end(source, dialect, literal=False) == missing
