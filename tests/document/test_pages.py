"""A page shows the rows of the file, whatever blocks they are in, and never becomes too large."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.document import messages
from server.document.blocks import decompress, index_entry
from server.document.cutter import BlockCutter
from server.document.dialect import TSV, Dialect
from server.document.messages import Cut, PageMessage
from server.document.pages import CELL_LIMIT, MESSAGE_LIMIT, Index, build_page, parse_block

KIB = 1024


def index_of(*starts: tuple[int, int]) -> Index:
    index = Index()
    index.append(b"".join(index_entry(*start) for start in starts))
    return index


def parse(source: str | bytes, *, is_first_block: bool = False) -> list[list[str]]:
    if isinstance(source, str):
        source = source.encode()
    return parse_block(source, TSV, 0, 1000, is_first_block=is_first_block)


def page(header: list[str], rows: list[list[str]], **options: int) -> PageMessage:
    arguments = {"offset": 0, "page_size": 100, "total_rows": len(rows), **options}
    return build_page(uuid="u", document_id="d", header=header, rows=rows, **arguments)


# Index


def test_an_index_grows_and_tells_where_blocks_begin() -> None:
    index = Index()
    assert (len(index), index.nbytes) == (0, 0)
    index.append(index_entry(0, 0) + index_entry(10, 2**33))
    index.append(b"")
    index.append(index_entry(2**35, 2**34))
    assert (len(index), index.nbytes) == (3, 48)
    assert [index.first_record(n) for n in range(3)] == [0, 10, 2**35]
    assert [index.first_byte(n) for n in range(3)] == [0, 2**33, 2**34]
    with pytest.raises(ValueError, match="whole entries"):
        index.append(b"half an entry")


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [
        (0, 1, [0]),
        (0, 10, [0]),
        (0, 11, [0, 1]),
        (9, 2, [0, 1]),
        (10, 1, [1]),
        (19, 2, [1, 2, 3]),
        (20, 1, [3]),
        (20, 1000, [3]),
        (24, 5, [3]),
        (25, 1, []),
        (5, 0, []),
    ],
)
def test_a_page_needs_the_blocks_that_hold_its_records(
    first: int, count: int, expected: list[int]
) -> None:
    # Block 2 holds blank lines only.
    index = index_of((0, 0), (10, 100), (20, 200), (20, 300))
    assert list(index.blocks_for(first, count, 25)) == expected


# Reading


def test_empty_cells_and_ragged_rows_are_kept_and_blank_lines_are_not() -> None:
    source = "\ta\t\n\n\r\nb\n\t\nc\td\te\tf"
    expected = [["", "a", ""], ["b"], ["", ""], ["c", "d", "e", "f"]]
    assert parse(source) == expected
    assert parse(source + '\n"g"') == [*expected, ["g"]]


def test_only_newlines_and_carriage_returns_end_a_record() -> None:
    cell = "a\u2028b\u2029c\x85d\x1ce\x1df\x1eg\x0bh\x0ci"
    for end in ("\n", "\r\n", "\r"):
        assert parse(f"{cell}\t1{end}x") == [[cell, "1"], ["x"]]
        assert parse(f'{cell}\t"1"{end}x') == [[cell, "1"], ["x"]]


def test_quotes_mean_what_they_mean_to_the_csv_module() -> None:
    assert parse('"a\tb"\t"c\r\nd"\t"e ""f"""\n') == [["a\tb", "c\r\nd", 'e "f"']]
    assert parse('5" pipe\t"x"y" z\n') == [['5" pipe', 'xy" z']]
    assert parse('a\t"never closed\nb\n') == [["a", "never closed\nb\n"]]


def test_the_byte_order_mark_is_no_part_of_the_first_cell() -> None:
    assert parse("\ufeffa\tb\n", is_first_block=True) == [["a", "b"]]
    assert parse('\ufeff"a"\tb\n', is_first_block=True) == [["a", "b"]]
    assert parse("\ufeffa\tb\n") == [["\ufeffa", "b"]]


@pytest.mark.parametrize("quoted", ["", '"x"\n'])
def test_bad_bytes_become_replacement_characters(quoted: str) -> None:
    source = b"a\xff\tb\xe2\x82\n\xe9\n" + quoted.encode()
    assert parse(source)[:2] == [["a\ufffd", "b\ufffd"], ["\ufffd"]]


def test_encoding_and_delimiter_are_applied_when_a_page_is_read() -> None:
    dialect = Dialect(encoding="latin-1", delimiter=";", quote="'")
    source = b"Jos\xe9;'a;b';\"\n"
    assert parse_block(source, dialect, 0, 1, is_first_block=True) == [["José", "a;b", '"']]


def test_a_dialect_without_quotes_takes_them_as_text() -> None:
    dialect = Dialect(quote="")
    assert parse_block(b'"a\t"\n"b', dialect, 0, 9, is_first_block=True) == [['"a', '"'], ['"b']]


def test_a_cell_larger_than_the_csv_modules_own_limit_is_read() -> None:
    assert parse('"' + "x" * 1_000_000 + '"\n') == [["x" * 1_000_000]]


@given(
    st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=4), min_size=1, max_size=60),
    st.integers(1, 100),
    st.integers(0, 60),
    st.integers(1, 20),
)
def test_pages_are_slices_of_the_whole_reading(
    table: list[list[str]], block_size: int, first: int, count: int
) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter="\t", quoting=csv.QUOTE_MINIMAL).writerows(table)
    text = "id\n" + file.getvalue().replace("\x00", "")
    source = text.encode("utf-8", "replace")
    whole = [
        record
        for record in csv.reader(io.StringIO(source.decode(), newline=""), delimiter="\t")
        if record
    ]
    cutter = BlockCutter(block_size=block_size)
    blocks = cutter.feed(source) + cutter.finish()
    index = index_of(*((block.first_record, block.first_byte) for block in blocks))
    read: list[list[str]] = []
    for number in index.blocks_for(first, count, cutter.records):
        read += parse_block(
            decompress(blocks[number].data),
            TSV,
            max(0, first - index.first_record(number)),
            count - len(read),
            is_first_block=number == 0,
        )
    assert read == whole[first : first + count]


# Messages


def test_a_page_says_where_it_is() -> None:
    message = page(["a"], [["1"], ["2"]], offset=20, page_size=10, total_rows=22)
    assert (message.page_no, message.first_row, message.page_size) == (3, 21, 10)
    assert message.total_number == 22
    assert (message.header, message.data) == (["a"], [["1"], ["2"]])
    assert (message.cut, message.columns_left_out) == ([], 0)
    assert (message.uuid, message.document) == ("u", "d")


def test_a_cell_at_the_limit_is_whole_and_one_over_it_is_shortened_and_listed() -> None:
    at, over = "x" * CELL_LIMIT, "y" * (CELL_LIMIT + 1)
    message = page(["a", over], [["1"], [at, over]], offset=100)
    assert message.data == [["1"], [at, "y" * CELL_LIMIT]]
    assert message.cut == [
        Cut(row=0, column=1, size=CELL_LIMIT + 1),
        Cut(row=102, column=1, size=CELL_LIMIT + 1),
    ]


@pytest.mark.parametrize("letter", ["é", "日", "😀"])
def test_a_cell_is_measured_in_bytes_and_shortened_between_characters(letter: str) -> None:
    cell = "x" + letter * 30
    message = page(["a"], [[cell]], cell_limit=60)
    (shown,) = message.data[0]
    assert cell.startswith(shown)
    assert 60 - len(letter.encode()) < len(shown.encode()) <= 60
    assert message.cut == [Cut(row=1, column=0, size=31)]


def test_rows_that_came_in_are_left_as_they_are() -> None:
    rows = [["x" * 100]]
    page(["h"], rows, cell_limit=10)
    assert rows == [["x" * 100]]


def test_large_cells_are_shortened_further_until_the_page_fits() -> None:
    rows = [["x" * 60_000, "small"] for _ in range(100)]
    message = page(["a", "b"], rows)
    assert len(messages.encode(message)) <= MESSAGE_LIMIT
    assert message.columns_left_out == 0
    assert len(message.data) == len(message.cut) == 100
    assert {len(row[0]) for row in message.data} == {16 * KIB}
    assert {row[1] for row in message.data} == {"small"}
    assert {cut.size for cut in message.cut} == {60_000}


def test_columns_are_left_out_when_short_cells_are_still_too_much() -> None:
    rows = [[f"{column:0100}" for column in range(2000)] for _ in range(100)]
    message = page([f"c{n}" for n in range(1990)], rows)
    encoded = messages.encode(message)
    shown = 2000 - message.columns_left_out
    assert MESSAGE_LIMIT * 0.99 < len(encoded) <= MESSAGE_LIMIT
    assert message.header == [f"c{n}" for n in range(shown)]
    assert {len(row) for row in message.data} == {shown}
    assert {len(cell) for row in message.data for cell in row} == {64}
    assert len(message.cut) == shown * 100
    assert max(cut.column for cut in message.cut) == shown - 1


def test_text_that_json_writes_longer_fits_too() -> None:
    rows = [["\x01" * 1000 for _ in range(8)] for _ in range(1000)]
    message = page(["a"], rows, page_size=1000)
    assert len(messages.encode(message)) <= MESSAGE_LIMIT
    assert message.columns_left_out == 0


def test_a_page_leaves_room_for_what_is_added_to_it_later() -> None:
    rows = [["x" * 60_000] for _ in range(100)]
    message = msgspec.structs.replace(page(["a"], rows), rev=2**53, peek=True)
    assert len(messages.encode(message)) <= MESSAGE_LIMIT


def test_a_table_without_rows_has_an_empty_first_page() -> None:
    message = page(["a", "b"], [])
    assert (message.page_no, message.first_row, message.data) == (1, 1, [])
