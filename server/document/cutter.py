"""Arriving bytes are cut into blocks: whole consecutive records, compressed.

Which line ends end a record is decided as the csv module would: a quote opens a quoted cell only
where a cell begins, `""` inside is a quote, a line end inside is text, anything after the closing
quote belongs to the cell; every other quote is text. Only \\n, \\r\\n and \\r end a line. A line
without any character is no record. (scan.py does it.)
"""

from __future__ import annotations

import re
from typing import NamedTuple

import zstandard
from msgspec.structs import replace

from server.document.blocks import (
    BLOCK_SIZE,
    COLUMN_LIMIT,
    COMPRESSION,
    DOCUMENT_LIMIT,
    RECORD_LIMIT,
    Block,
)
from server.document.dialect import (
    BOM,
    TSV,
    Dialect,
    without_quotes,
)
from server.document.encodings import Encoding
from server.document.report import ParseReport, ReportBuilder
from server.document.scan import LINE_ENDS, Head, Scanner, split_lines
from server.errors import EmptyDocument, TooLarge

_STEP = 256 * 1024  # bytes scanned at a time, so that a huge chunk is no huge buffer
_LINE = re.compile(rb"[^\n\r]*+(?:\r\n|[\n\r])")


class CutSoFar(NamedTuple):
    """A document up to the end of a block, and all that has to be known to cut what follows.

    `stored`: source bytes. `dialect`, `report` and `columns` as `BlockCutter` had them then.
    """

    stored: int
    records: int
    blocks: int
    columns: int
    dialect: Dialect
    report: ParseReport


def begin_report(dialect: Dialect, encoding: Encoding | None = None) -> ParseReport:
    """What can be said before the first block is cut. `encoding`: the source's, if not the same."""
    encoding = encoding or Encoding(name=dialect.encoding)
    return ParseReport(
        encoding=encoding.name,
        encoding_why=encoding.why,
        delimiter=dialect.delimiter,
        quote=dialect.quote,
        escape=dialect.escape,
        skip_space=dialect.skip_space,
        comment=dialect.comment,
        header=dialect.header,
        skipped=dialect.skip_lines,
    )


class BlockCutter:
    """Bytes of one document in, blocks out; the same blocks however the bytes are split.

    A block ends with the first line end at or after `block_size` source bytes (`record_limit` if
    that is smaller). Holds no more than a block, a record and 256 KiB. One call at a time, from
    any thread. After an error the cutter is of no further use.

    `received`: bytes fed. `stored`, `records`, `blocks`: source bytes, records and blocks handed
    out; `stored` is always a record's end. `columns`: cells in record 0, known with the first
    block handed out (which contains record 0). `dialect`: what the bytes are read by, if their
    blocks do not say otherwise (`Block.literal`). `report`: what was found in the blocks so far.
    """

    # A quote that opens a cell and is not closed within the record limit, or not at all, is an
    # accident (5" pipe) and would swallow the rest of the file. From the record on that it is in,
    # quotes are text. Records before it were read with quotes, perhaps long ago and by many, and
    # their quoted cells are real: they stay as they are. So the blocks after them say that their
    # quotes are text, in their entry of the index; unless there was no quote before them at all,
    # when the whole document can as well be read without. What follows is not read with quotes
    # again, because the next one, which opened a cell, would be taken to close this one, or not:
    # from there on nobody can tell what is inside and what is outside.

    def __init__(
        self,
        dialect: Dialect = TSV,
        *,
        block_size: int = BLOCK_SIZE,
        record_limit: int = RECORD_LIMIT,
        document_limit: int = DOCUMENT_LIMIT,
        column_limit: int = COLUMN_LIMIT,
        counts: ReportBuilder | None = None,
        so_far: CutSoFar | None = None,
    ) -> None:
        """`counts`: what the report begins with.

        With `so_far` the bytes are those behind it, and `dialect` and `counts` do not count.
        """
        if min(block_size, record_limit) < 1:
            raise ValueError("blocks and records are at least one byte long")
        self.received = 0
        self.stored = 0
        self.records = 0
        self.columns = 0
        self.blocks = 0
        self.dialect = dialect
        # A record over the limit must cross its block's edge to be seen.
        self._block_size = min(block_size, record_limit)
        self._record_limit = record_limit
        self._document_limit = document_limit
        self._column_limit = column_limit
        self._scanner = Scanner(dialect)
        self._counts = counts or ReportBuilder(begin_report(dialect))
        self._compressor = zstandard.ZstdCompressor(level=COMPRESSION)
        self._to_skip = dialect.skip_lines  # -1: the beginning has been read
        self._lead = b""  # what belongs to block 0 but to no record: mark and skipped lines
        self._rest = bytearray()  # from the end of the last block on, without _lead
        self._head: Head | None = None  # what is known of the block that begins _rest
        self._has_marks = False
        self._literal = False  # quotes are text by now
        self._held: list[Block] = []  # blocks of blank lines and comments before record 0
        self._held_size = 0
        self._cut_blocks = 0
        self._cut_records = 0
        self._cut_bytes = 0
        if so_far is not None:
            self._go_on(so_far)

    @property
    def report(self) -> ParseReport:
        quote, escape = self.dialect.quote, self.dialect.escape
        return self._counts.report(quote=quote, escape=escape)

    def count_replaced(self, count: int) -> None:
        """Count characters that became U+FFFD before they came here."""
        self._counts.replace(count)

    def feed(self, chunk: bytes) -> list[Block]:
        """The blocks that `chunk` completes.

        Raises `TooLarge` (the document, a record, or the cells of one).
        """
        self.received += len(chunk)
        if self.received > self._document_limit:
            raise document_too_large(self._document_limit)
        blocks: list[Block] = []
        for start in range(0, len(chunk), _STEP):
            self._rest += chunk[start : start + _STEP]
            self._cut(blocks, whole=False)
        return self._hand_out(blocks)

    def finish(self) -> list[Block]:
        """The blocks of what is left, now that nothing follows. Raises `EmptyDocument` too."""
        blocks: list[Block] = []
        self._cut(blocks, whole=True)
        if not self._cut_records:
            raise EmptyDocument(
                "This file is empty: it has no row at all. Send one with a line of text at least. "
                "Everyone keeps what they had."
            )
        return self._hand_out(blocks)

    def _go_on(self, so_far: CutSoFar) -> None:
        """Be as the cutter was when it had handed out the blocks so far, and nothing more had come.

        A block's end is a record's end, so nothing of the scanner's state reaches over it.
        """
        self.dialect, self.columns, notes = so_far.dialect, so_far.columns, so_far.report.notes
        self.received = self.stored = self._cut_bytes = so_far.stored
        self.records = self._cut_records = so_far.records
        self.blocks = self._cut_blocks = so_far.blocks
        self._to_skip = -1
        self._has_marks = "marks" in notes
        # Without marks the dialect itself lost its quotes.
        self._literal = self._has_marks and "runaway_quote" in notes
        dialect = without_quotes(self.dialect) if self._literal else self.dialect
        self._scanner = Scanner(dialect)
        report = replace(so_far.report, quote=dialect.quote, escape=dialect.escape)
        self._counts = ReportBuilder(report, encoding=dialect.encoding)

    def _read_lead(self, *, whole: bool) -> bool:
        """Set aside what comes before the records; False if more of it may follow."""
        rest = self._rest
        if not self._lead and not whole and len(rest) < len(BOM) and BOM.startswith(rest):
            return False
        if not self._lead and rest.startswith(BOM):
            self._lead = BOM
            del rest[: len(BOM)]
        while self._to_skip:
            found = _LINE.match(rest)
            end = len(rest) if found is None else found.end()
            if not whole and (found is None or (end == len(rest) and rest[-1] == 0x0D)):
                break
            self._lead += rest[:end]
            del rest[:end]
            self._to_skip -= 1
        if len(self._lead) + (len(rest) if self._to_skip else 0) > self._record_limit:
            raise self._too_much_before()
        if self._to_skip and not whole:
            return False
        self._to_skip = -1
        return True

    def _cut(self, blocks: list[Block], *, whole: bool) -> None:
        if self._to_skip >= 0 and not self._read_lead(whole=whole):
            return
        if len(self._lead) >= self._block_size and len(self._lead) > len(BOM):
            blocks.append(self._take(Head(), 0))
        while self._rest:
            # A line end whose last byte is here or later ends the block.
            edge = max(0, self._block_size - len(self._lead) - 1)
            if len(self._rest) <= edge and not whole:
                return
            if self._head is None:
                self._head = self._scanner.read_head(bytes(self._rest[:edge]))
            head = self._head
            end = self._scanner.line_end(self._rest, head, whole=whole)
            if end == len(self._rest) and self._rest[-1] == 0x0D and not whole:
                end = None  # a \n may follow
            if end is None and whole:
                end = len(self._rest)
                if head.quoted:
                    self._read_quotes_as_text(blocks, head)
                    continue
            if self._is_record_too_long(head, end):
                self._read_quotes_as_text(blocks, head)
                continue
            if end is None:
                return
            blocks.append(self._take(head, end))

    def _is_record_too_long(self, head: Head, end: int | None) -> bool:
        """Whether quotes make a record of too many lines; raise if one line alone is too long.

        Only the record that crosses the block's edge can be.
        """
        size = len(self._rest) if end is None else end
        if size <= self._record_limit:
            return False
        line = self._last_line(head)
        if size - line <= self._record_limit:
            return False
        if self._scanner.reads_quotes and not head.is_comment:
            # Within the limit: what comes after it has not always arrived.
            limit = line + self._record_limit
            if any(self._rest.find(mark, line, limit) >= 0 for mark in LINE_ENDS):
                return True
        before = self._scanner.outside(bytes(self._rest[:line]))
        row = self._cut_records + len(split_lines(before))
        raise TooLarge(
            f"{_row(row)} is larger than {_megabytes(self._record_limit)}, the limit. See that the "
            "table has a line for each row, and shorten what is longer. Everyone keeps what they "
            "had.",
            what="record",
            limit=self._record_limit,
        )

    def _last_line(self, head: Head) -> int:
        if head.last_line is None:
            head.last_line = self._scanner.last_line(self._rest, head)
        return head.last_line

    def _read_quotes_as_text(self, blocks: list[Block], head: Head) -> None:
        """From the record on that begins in the line that `head` ends in."""
        if line := self._last_line(head):
            blocks.append(self._take(Head(), line))
        self._head = None
        literal = without_quotes(self.dialect)
        self._scanner = Scanner(literal)
        self._counts.note("runaway_quote")
        # Counted by the new dialect from here on.
        self._counts = ReportBuilder(
            self._counts.report(quote="", escape=""), encoding=literal.encoding
        )
        if self._has_marks:
            self._literal = True
        else:
            self.dialect = literal

    def _take(self, head: Head, end: int) -> Block:
        """Cut `end` bytes off the rest."""
        # No byte is copied that need not be: a record may have as many as one may hold at all.
        with memoryview(self._rest) as rest:
            source = bytes(rest[:end])
        del self._rest[:end]
        self._head = None
        outside = self._scanner.outside(source, head)
        records = self._counts.add(outside, None if outside is source else source)
        if not self._has_marks and self._scanner.has_marks(source):
            self._has_marks = True
            self._counts.note("marks")
        self._check_columns(outside, records)
        source = self._lead + source
        self._lead = b""
        size = len(source)
        packed = self._compressor.compress(source)
        del outside, source
        block = Block(
            number=self._cut_blocks,
            first_record=self._cut_records,
            first_byte=self._cut_bytes,
            records=records,
            size=size,
            # Copied, because what the compressor returns keeps the memory of the worst case, about
            # the size of the source, for as long as it lives.
            data=bytes(memoryview(packed)),
            literal=self._literal,
        )
        self._cut_blocks += 1
        self._cut_records += records
        self._cut_bytes += size
        if not self._cut_records:
            self._held_size += len(block.data)
            if self._held_size > max(self._record_limit, BLOCK_SIZE):
                raise self._too_much_before()
        return block

    def _check_columns(self, outside: bytes, records: int) -> None:
        """Refuse a record with too many cells; learn how many record 0 has."""
        if records and not self.columns:
            self.columns = self._counts.report().columns
        if not self._scanner.may_be_wide(outside, self._column_limit):
            return
        cells = self._scanner.count_cells(outside)
        widest = max(cells, default=0)
        if widest > self._column_limit:
            raise TooLarge(
                f"{_row(self._cut_records + cells.index(widest))} has {widest:,} columns, and the "
                f"limit is {self._column_limit:,}. Leave some of them out, or make rows of them. "
                "Everyone keeps what they had.",
                what="columns",
                limit=self._column_limit,
            )

    def _hand_out(self, blocks: list[Block]) -> list[Block]:
        if not self._cut_records:
            self._held += blocks
            return []
        blocks = self._held + blocks
        self._held = []
        self.blocks = self._cut_blocks
        self.records = self._cut_records
        self.stored = self._cut_bytes
        return blocks

    def _too_much_before(self) -> TooLarge:
        return TooLarge(
            f"More than {_megabytes(self._record_limit)}, the limit, of comments and skipped lines "
            "come before the first row of this file. Leave them out. Everyone keeps what they had.",
            what="record",
            limit=self._record_limit,
        )


def document_too_large(limit: int, *, packed: bool = False) -> TooLarge:
    what = "The table in this file" if packed else "This file"
    return TooLarge(
        f"{what} is larger than {_megabytes(limit)}, the limit. Split it and send a part, or leave "
        "columns out. Everyone keeps what they had.",
        what="document",
        limit=limit,
    )


def _row(record: int) -> str:
    return f"Row {record:,}" if record else "The header (the first row)"


def _megabytes(size: int) -> str:
    mebi = 1024 * 1024
    return f"{size / mebi:,.6g} MiB" if size >= mebi else f"{size:,} bytes"
