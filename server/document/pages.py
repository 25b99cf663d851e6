"""Blocks are found and parsed, and rows become page messages."""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from server.document import messages
from server.document.dialect import BOM, Dialect, without_quotes
from server.document.records import read_records

CELL_LIMIT = 64 * 1024
"""Bytes of UTF-8 that a page shows of one cell: more than anybody reads in a table."""

MESSAGE_LIMIT = 4 * 1024 * 1024
"""Bytes of a page message: what a phone takes in within seconds, and a node for many viewers."""

_SMALLEST_CELL_LIMIT = 64  # bytes; below it fewer columns say more than shorter cells
_ENVELOPE = 256  # bytes kept free for what is added to the message later (rev, peek)
_ENTRY_SIZE = 16
_LITERAL = 1 << 63
_LINE = re.compile(rb"[^\n\r]*+(?:\r\n|[\n\r]|\Z)")


class Index:
    """Where the blocks of one document begin. Grows by whole entries (see `blocks.index_entry`)."""

    def __init__(self) -> None:
        self._records = array("Q")
        self._bytes = array("Q")

    def append(self, entries: bytes) -> None:
        """Add the entries of the blocks that follow."""
        if len(entries) % _ENTRY_SIZE:
            raise ValueError("an index has whole entries of 16 bytes")
        numbers = array("Q", entries)
        if sys.byteorder == "little":
            numbers.byteswap()
        self._records += numbers[0::2]
        self._bytes += numbers[1::2]

    def __len__(self) -> int:
        return len(self._records)

    @property
    def nbytes(self) -> int:
        """Bytes of memory, about."""
        return len(self) * _ENTRY_SIZE

    def first_record(self, number: int) -> int:
        return self._records[number]

    def first_byte(self, number: int) -> int:
        return self._bytes[number] & ~_LITERAL

    def is_literal(self, number: int) -> bool:
        """Whether quotes and escapes are text in this block."""
        return bool(self._bytes[number] & _LITERAL)

    def block_of(self, record: int) -> int:
        """The block that holds `record`, or the last one for a record beyond the index.

        Blocks of blank lines hold no record and are never the answer to a record that exists.
        """
        return bisect_right(self._records, record) - 1

    def blocks_for(self, first_record: int, count: int, records: int) -> range:
        """The blocks with those of the `records` records that are in [first, first + count)."""
        last = min(first_record + count, records) - 1
        if last < first_record:
            return range(0)
        return range(self.block_of(first_record), self.block_of(last) + 1)


def parse_block(
    source: bytes,
    dialect: Dialect,
    first: int,
    count: int,
    *,
    is_first_block: bool,
    literal: bool = False,
) -> list[list[str]]:
    """Records `first` to `first + count` of a block, counted from 0 in the block; fewer at its end.

    As `read_records` reads them. What comes before the records of a document (`is_first_block`), a
    byte order mark and skipped lines, belongs to none. `literal` is what `Index.is_literal` says.
    """
    if is_first_block:
        source = without_lead(source, dialect)
    if literal:
        dialect = without_quotes(dialect)
    return read_records(source, dialect, first, count)


def without_lead(source: bytes, dialect: Dialect) -> bytes:
    """A document's first block without its byte order mark and the lines that are skipped."""
    start = len(BOM) if source.startswith(BOM) else 0
    for _ in range(dialect.skip_lines):
        found = _LINE.match(source, start)
        assert found is not None  # it matches no bytes at all, too
        start = found.end()
    return source[start:]


def build_page(
    *,
    uuid: str,
    document_id: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    offset: int,
    page_size: int,
    total_rows: int,
    cell_limit: int = CELL_LIMIT,
    message_limit: int = MESSAGE_LIMIT,
    clipped: Mapping[tuple[int, int], int] | None = None,
) -> messages.PageMessage:
    """The message that shows `rows`, whose encoding has at most `message_limit` bytes.

    Cells over `cell_limit` bytes are shortened and listed in `cut` with all their characters
    counted. If the message is still too large, cells are shortened further, down to 64 bytes; then
    columns are left out from the right. `clipped` is what `clip` said of `rows`, if it was needed.
    """
    columns = max(len(header), max(map(len, rows), default=0))
    whole_sizes = {(row + 1, column): size for (row, column), size in (clipped or {}).items()}
    limit = cell_limit
    table = _shorten([header, *rows], limit, whole_sizes)

    def page(width: int) -> messages.PageMessage:
        head, *data = table if width == columns else [row[:width] for row in table]
        return messages.PageMessage(
            uuid=uuid,
            document=document_id,
            page_no=offset // page_size + 1,
            page_size=page_size,
            total_number=total_rows,
            first_row=offset + 1,
            header=head,
            data=data,
            cut=[
                messages.Cut(row=offset + line if line else 0, column=column, size=size)
                for (line, column), size in sorted(whole_sizes.items())
                if column < width
            ],
            columns_left_out=columns - width,
        )

    def fits(message: messages.PageMessage) -> bool:
        return len(messages.encode(message)) <= message_limit - _ENVELOPE

    while not fits(message := page(columns)):
        if limit <= _SMALLEST_CELL_LIMIT:
            # Some number of columns fits, and every smaller one.
            return page(bisect_left(range(columns), True, key=lambda n: not fits(page(n + 1))))
        limit = max(_SMALLEST_CELL_LIMIT, limit // 4)
        table = _shorten(table, limit, whole_sizes)
    return message


def clip(
    rows: Sequence[Sequence[str]],
    first: int,
    count: int,
    clipped: dict[tuple[int, int], int],
    *,
    message_limit: int = MESSAGE_LIMIT,
) -> list[list[str]]:
    """Rows `first`.. of a page of `count` rows that is far too large to be held whole.

    Shortens their cells to what such a page can show of them at most, and notes in `clipped` the
    characters of each by row in the page and column.
    """
    budget = 4 * message_limit // max(1, count)
    short: list[list[str]] = []
    for number, row in enumerate(rows, first):
        sizes: dict[tuple[int, int], int] = {}
        limit = max(_SMALLEST_CELL_LIMIT, budget // max(1, len(row)))
        short += _shorten([row], limit, sizes)
        clipped.update({(number, column): size for (_, column), size in sizes.items()})
    return short


def _shorten(
    rows: Sequence[Sequence[str]], limit: int, whole_sizes: dict[tuple[int, int], int]
) -> list[list[str]]:
    """`rows` with no cell over `limit` bytes of UTF-8.

    `whole_sizes` gets the characters of each cell that is shortened for the first time, by line in
    `rows` and column.
    """
    short: list[list[str]] = []
    fits = limit // 4  # characters that are within the limit whatever they are
    for line, row in enumerate(rows):
        cells = list(row)
        if max(map(len, cells), default=0) > fits:
            for column, cell in enumerate(cells):
                if len(cell) <= fits:
                    continue
                # A character has at least one byte, so no more of them can be needed.
                encoded = cell[: limit + 1].encode()
                if len(encoded) > limit:
                    cells[column] = encoded[:limit].decode("utf-8", "ignore")
                    whole_sizes.setdefault((line, column), len(cell))
        short.append(cells)
    return short
