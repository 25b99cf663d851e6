"""Rows that are added to a complete document: a stream becomes whole records, and those blocks.

The blocks of a document never change, but for its last one, which may get longer: whatever was
known of it stays its beginning. Rows that do not fit begin a new block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import zstandard
from msgspec import structs

from server.document.blocks import BLOCK_SIZE, COLUMN_LIMIT, COMPRESSION, RECORD_LIMIT, Block
from server.document.dialect import BOM, Dialect, without_quotes
from server.document.records import read_records
from server.document.report import ParseReport, ReportBuilder
from server.document.scan import LINE_ENDS, Head, Scanner, split_lines
from server.errors import TooLarge

_CR = 0x0D


class Piece(NamedTuple):
    """Whole records: about a block's size, or fewer. `literal` as in `Block`."""

    source: bytes
    records: int
    literal: bool


class Tail(NamedTuple):
    """The last block of a document, with its source bytes."""

    number: int
    first_record: int
    first_byte: int
    records: int
    source: bytes
    literal: bool


class Grown(NamedTuple):
    """The blocks that are to be stored (the first may be the old last one), and the last one."""

    blocks: list[Block]
    tail: Tail


class RowStream:
    """Takes bytes as they come, gives whole records. One call at a time, from any thread.

    What comes is read by `dialect`, which can be told at bytes (`encodings.byte_safe`), from its
    first byte on: whatever the document is like, a record begins there. A quote that opens a cell
    and is not closed within `record_limit` bytes, or not at all, is text, and so is every one
    after it; until that is known, its record waits. A byte order mark at the beginning is left out.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        block_size: int = BLOCK_SIZE,
        record_limit: int = RECORD_LIMIT,
        column_limit: int = COLUMN_LIMIT,
    ) -> None:
        self._dialect = dialect
        # A record over the limit must cross its block's edge to be seen.
        self._edge = max(1, min(block_size, record_limit) - 1)
        self._record_limit = record_limit
        self._column_limit = column_limit
        self._scanner = Scanner(dialect)
        self._literal = False
        self._rest = bytearray()
        self._head: Head | None = None  # of the first `_edge` bytes of the rest
        self._begun = False
        self._records = 0
        self._error: TooLarge | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; `take` looks at them."""
        self._rest += chunk

    def take(self, *, ended: bool = False) -> list[Piece]:
        """The whole records that came since the last call; `ended`: nothing follows.

        Raises `TooLarge` (a record, or the cells of one) once all records before it were taken.
        """
        if self._error is not None:
            raise self._error
        pieces: list[Piece] = []
        try:
            if self._begins(ended=ended):
                self._take(pieces, ended=ended)
        except TooLarge as error:
            self._error = error
            if not pieces:
                raise
        return pieces

    def read_by(self, dialect: Dialect, pieces: Sequence[Piece]) -> None:
        """Take back `pieces`, the last that were given, and read them and the rest otherwise."""
        self._rest[:0] = b"".join(piece.source for piece in pieces)
        self._records -= sum(piece.records for piece in pieces)
        self._dialect = dialect
        self._scanner = Scanner(dialect)
        self._literal = False
        self._head = None
        self._error = None

    # Internal

    def _begins(self, *, ended: bool) -> bool:
        """Leave out a byte order mark; False while it may still come."""
        if not self._begun:
            if not ended and len(self._rest) < len(BOM) and BOM.startswith(self._rest):
                return False
            if self._rest.startswith(BOM):
                del self._rest[: len(BOM)]
            self._begun = True
        return True

    def _take(self, pieces: list[Piece], *, ended: bool) -> None:
        rest = self._rest
        while rest:
            if len(rest) <= self._edge and not ended:
                self._take_lines(pieces, Head(size=len(rest)))
                return
            if self._head is None:
                self._head = self._scanner.read_head(bytes(rest[: self._edge]))
            head = self._head
            end = self._scanner.line_end(rest, head, whole=ended)
            if end == len(rest) and rest[-1] == _CR and not ended:
                end = None  # a \n may follow
            if end is None and ended:
                end = len(rest)
                if head.quoted:
                    self._read_quotes_as_text(pieces, head)
                    continue
            if self._is_too_long(pieces, head, end):
                self._read_quotes_as_text(pieces, head)
                continue
            if end is None:
                if self._take_lines(pieces, head):
                    continue
                return
            self._cut(pieces, end)

    def _take_lines(self, pieces: list[Piece], head: Head) -> bool:
        """Take the records that end in the bytes that `head` knows; False if none does."""
        if head is self._head:
            end = self._last_line(head)
        else:
            size = head.size - (self._rest[-1] == _CR)
            if self._scanner.has_marks(bytes(self._rest)):
                end = self._scanner.last_line(self._rest, Head(size=size))
            else:
                end = 1 + max(self._rest.rfind(mark, 0, size) for mark in LINE_ENDS)
        if end:
            self._cut(pieces, end)
        return end > 0

    def _last_line(self, head: Head) -> int:
        if head.last_line is None:
            head.last_line = self._scanner.last_line(self._rest, head)
        return head.last_line

    def _is_too_long(self, pieces: list[Piece], head: Head, end: int | None) -> bool:
        """Whether quotes make a record of too many lines; raise if one line alone is too long."""
        limit = self._record_limit
        size = len(self._rest) if end is None else end
        if size <= limit:
            return False
        line = self._last_line(head)
        if size - line <= limit:
            return False
        if self._scanner.reads_quotes and not head.is_comment:
            within = self._rest[line : line + limit]
            if any(mark in within for mark in LINE_ENDS):
                return True
        if line:
            self._cut(pieces, line)
        raise TooLarge(
            f"Row {self._records + 1:,} of those that were sent is larger than "
            f"{limit:,} bytes, the limit.",
            what="record",
            limit=limit,
        )

    def _read_quotes_as_text(self, pieces: list[Piece], head: Head) -> None:
        """From the record on that begins in the line that `head` ends in."""
        if line := self._last_line(head):
            self._cut(pieces, line)
        self._head = None
        self._scanner = Scanner(without_quotes(self._dialect))
        self._literal = True

    def _cut(self, pieces: list[Piece], end: int) -> None:
        """Cut `end` bytes off the rest. Raises `TooLarge` at a record with too many cells."""
        source = bytes(self._rest[:end])
        outside = self._scanner.outside(source)
        records = len(split_lines(outside))
        if self._scanner.may_be_wide(outside, self._column_limit):
            self._check_columns(pieces, self._scanner.count_cells(outside))
        del self._rest[:end]
        self._head = None
        self._records += records
        pieces.append(Piece(source, records, self._literal))

    def _check_columns(self, pieces: list[Piece], cells: list[int]) -> None:
        wide = next((at for at, count in enumerate(cells) if count > self._column_limit), None)
        if wide is None:
            return
        if wide:
            self._cut(pieces, self._begin_of(wide))
        raise TooLarge(
            f"Row {self._records + 1:,} of those that were sent has {cells[wide]:,} columns, and "
            f"the limit is {self._column_limit:,}.",
            what="columns",
            limit=self._column_limit,
        )

    def _begin_of(self, record: int) -> int:
        """Where a record of the rest begins, or the lines before it that are none."""
        at = 0
        while record and (end := self._scanner.line_end(self._rest, Head(size=at), whole=True)):
            record -= len(split_lines(self._scanner.outside(bytes(self._rest[at:end]))))
            at = end
        return at


def grow(
    tail: Tail, pieces: Sequence[Piece], dialect: Dialect, *, block_size: int = BLOCK_SIZE
) -> Grown:
    """Add `pieces` to the document that ends with `tail`.

    A block gets longer up to `block_size` source bytes. Whatever is followed by a piece (the last
    record of the document, and the pieces, which may be of several senders) and has no line end
    gets one, in the document's own style, which counts as one of the bytes that were added.
    """
    compressor = zstandard.ZstdCompressor(level=COMPRESSION)
    blocks: list[Block] = []

    def put(block: Tail) -> None:
        source = block.source
        # Copied, because what the compressor returns keeps the memory of the worst case.
        data = bytes(memoryview(compressor.compress(source)))
        blocks.append(
            Block(
                number=block.number,
                first_record=block.first_record,
                first_byte=block.first_byte,
                records=block.records,
                size=len(source),
                data=data,
                literal=block.literal,
            )
        )

    if not pieces:
        return Grown([], tail)
    number, first_record, first_byte, records, before, literal = tail
    style = _line_end(before)
    sources = [before]
    size = len(before)
    changed = False
    for source, count, is_literal in pieces:
        if ending := missing_line_end(before, dialect, literal=literal, style=style):
            sources.append(ending)
            size += len(ending)
            changed = True
        before = source
        if is_literal == literal and size + len(source) <= block_size:
            sources.append(source)
        else:
            if changed:
                block = b"".join(sources)
                put(Tail(number, first_record, first_byte, records, block, literal))
            number += 1
            first_record += records
            first_byte += size
            sources, size, records, literal = [source], 0, 0, is_literal
        size += len(source)
        records += count
        changed = True
    last = Tail(number, first_record, first_byte, records, b"".join(sources), literal)
    put(last)
    return Grown(blocks, last)


def count(report: ParseReport, pieces: Sequence[Piece], dialect: Dialect) -> ParseReport:
    """The report of a document that is read by `dialect`, with these records added to it."""
    literal_dialect = without_quotes(dialect)
    scanners = {False: Scanner(dialect), True: Scanner(literal_dialect)}
    reads_quotes = scanners[False].reads_quotes
    now = report
    for piece in pieces:
        by = literal_dialect if piece.literal else dialect
        builder = ReportBuilder(
            structs.replace(now, quote=by.quote, escape=by.escape), encoding=by.encoding
        )
        outside = scanners[piece.literal].outside(piece.source)
        builder.add(outside, None if outside is piece.source else piece.source)
        if reads_quotes and scanners[False].has_marks(piece.source):
            builder.note("marks")
        if piece.literal:
            builder.note("runaway_quote")
        now = builder.report()
    return structs.replace(now, quote=report.quote, escape=report.escape)


def ragged(pieces: Sequence[Piece], dialect: Dialect, columns: int) -> tuple[int, int]:
    """How many of these records do not have `columns` cells; and what the first of them has."""
    found = width = 0
    for piece in pieces:
        by = without_quotes(dialect) if piece.literal else dialect
        report = ParseReport(
            encoding=by.encoding,
            delimiter=by.delimiter,
            quote=by.quote,
            escape=by.escape,
            skip_space=by.skip_space,
            columns=columns,
        )
        builder = ReportBuilder(report)
        builder.add(Scanner(by).outside(piece.source))
        odd = builder.report()
        if odd.ragged and not found:
            rows = read_records(piece.source, by, odd.ragged_records[0], 1)
            width = max(map(len, rows), default=0)
        found += odd.ragged
    return found, width


def missing_line_end(
    source: bytes, dialect: Dialect, *, literal: bool, style: bytes | None = None
) -> bytes:
    """What has to follow records so that the last one ends; mostly b"", at most 3 bytes.

    `style`: the line end to use; that of `source` itself if None.
    """
    if not source:
        return b""
    line_end = _line_end(source) if style is None else style
    escape = b"" if literal else dialect.escape.encode()
    last = 2 if source.endswith(b"\r\n") else source[-1] in LINE_ENDS
    before = source[: len(source) - last]
    escaped = escape and (len(before) - len(before.rstrip(escape))) % 2
    if last:
        # An escaped line end is text; a \n after an escaped \r would be a part of it. Where
        # it is not text after all, a line without any character follows, which is no record.
        return (b"\r" if source[-1] == _CR else line_end) if escaped else b""
    # An escape that ends the document is text; followed by a line end it would not be.
    return escape + line_end if escaped else line_end


def _line_end(source: bytes) -> bytes:
    """How lines end in it; \\n where none does."""
    if b"\r" in source:
        return b"\r\n" if b"\r\n" in source else b"\n" if b"\n" in source else b"\r"
    return b"\n"
