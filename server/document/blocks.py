"""Arriving bytes are cut into blocks: whole consecutive records, compressed, never changed again.

A block holds the source's bytes as they came, so that the blocks in order are the file. Which line
ends end a record is decided as the csv module would: a quote opens a quoted cell only where a cell
begins, `""` inside is a quote, a line end inside is text, anything after the closing quote belongs
to the cell; every other quote is text. Only \\n, \\r\\n and \\r end a line. A line without any
character is no record.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import zstandard

from server.document.dialect import (
    BOM,
    SNIFF_SIZE,
    TSV,
    Dialect,
    check_text,
    count_cells,
    read_records,
)
from server.errors import EmptyDocument, Missing, TooLarge

BLOCK_SIZE = 64 * 1024
"""Source bytes after which a block ends with the next record: a page needs one or two blocks, and
a 1 GiB document has an index of 256 KiB."""

RECORD_LIMIT = 16 * 1024 * 1024
"""Bytes of one record, with its line end. A node holds a whole record while it arrives; a quote
that is never closed would otherwise make one record of the rest of the file."""

DOCUMENT_LIMIT = 1024 * 1024 * 1024
"""Bytes of a document: what a group looks at together, and what a Redis has room for."""

COLUMN_LIMIT = 16_384
"""Cells in one record: as many as the largest spreadsheet has, and few enough for a page."""

_STEP = 256 * 1024  # bytes scanned at a time, so that a huge chunk is no huge buffer
_ENTRY = struct.Struct(">QQ")
_COMPRESSION = 1  # zstd's level: even so it is half of what plain text costs here
_LINE_ENDS = b"\n\r"


class Block(NamedTuple):
    """Consecutive whole records. `size` counts source bytes, `data` is the source in zstd."""

    number: int
    first_record: int
    first_byte: int
    records: int
    size: int
    data: bytes


def index_entry(first_record: int, first_byte: int) -> bytes:
    """A block's 16 bytes in its document's index: two big-endian 64-bit numbers."""
    return _ENTRY.pack(first_record, first_byte)


def decompress(data: bytes, *, record_limit: int = RECORD_LIMIT) -> bytes:
    """The source bytes of a block that was cut under this `record_limit`.

    Raises `Missing` if `data` is no such block: damaged, or larger than one can be.
    """
    most = record_limit + BLOCK_SIZE
    try:
        if not 0 <= zstandard.frame_content_size(data) <= most:
            raise Missing("A part of this document is damaged.")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError:
        raise Missing("A part of this document is damaged.") from None


class BlockCutter:
    """Bytes of one document in, blocks out; the same blocks however the bytes are split.

    A block ends with the first line end at or after `block_size` source bytes (`record_limit` if
    that is smaller). Holds no more than a block, a record and 256 KiB. One call at a time, from
    any thread. After an error the cutter is of no further use.

    `received`: bytes fed. `stored`, `records`, `blocks`: source bytes, records and blocks handed
    out; `stored` is always a record's end. `columns`: cells in record 0, known with the first
    block handed out (which contains record 0). `dialect`: what the bytes are read by.
    """

    def __init__(
        self,
        dialect: Dialect = TSV,
        *,
        block_size: int = BLOCK_SIZE,
        record_limit: int = RECORD_LIMIT,
        document_limit: int = DOCUMENT_LIMIT,
        column_limit: int = COLUMN_LIMIT,
    ) -> None:
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
        self._quotes = _Quotes(dialect)
        self._compressor = zstandard.ZstdCompressor(level=_COMPRESSION)
        self._checked = False
        self._lead = b""  # the byte order mark, which belongs to block 0 but to no record
        self._rest = bytearray()  # from the end of the last block on, without _lead
        self._head: _Head | None = None  # what is known of the block that begins _rest
        self._held: list[Block] = []  # blocks of blank lines before record 0
        self._cut_blocks = 0
        self._cut_records = 0
        self._cut_bytes = 0

    def feed(self, chunk: bytes) -> list[Block]:
        """The blocks that `chunk` completes.

        Raises `NotText`, `NotUtf8` (the first 64 KiB decide) and `TooLarge` (the document, a
        record, or the cells of one).
        """
        self.received += len(chunk)
        if self.received > self._document_limit:
            raise _document_too_large(self._document_limit)
        blocks: list[Block] = []
        for start in range(0, len(chunk), _STEP):
            self._rest += chunk[start : start + _STEP]
            if not self._checked:
                if len(self._rest) < SNIFF_SIZE:
                    continue
                self._check(whole=False)
            self._cut(blocks, whole=False)
        return self._hand_out(blocks)

    def finish(self) -> list[Block]:
        """The blocks of what is left, now that nothing follows. Raises `EmptyDocument` too."""
        if not self._checked:
            self._check(whole=True)
        blocks: list[Block] = []
        self._cut(blocks, whole=True)
        if not self._cut_records:
            raise EmptyDocument(
                "This file is empty: it has no row at all. Everyone keeps what they had."
            )
        return self._hand_out(blocks)

    def _check(self, *, whole: bool) -> None:
        check_text(bytes(self._rest[:SNIFF_SIZE]), whole=whole and len(self._rest) <= SNIFF_SIZE)
        if self._rest.startswith(BOM):
            self._lead = BOM
            del self._rest[: len(BOM)]
        self._checked = True

    def _cut(self, blocks: list[Block], *, whole: bool) -> None:
        while self._rest:
            # A line end whose last byte is here or later ends the block.
            edge = max(0, self._block_size - len(self._lead) - 1)
            if len(self._rest) <= edge and not whole:
                return
            if self._head is None:
                self._head = self._quotes.read_head(bytes(self._rest[:edge]))
            head = self._head
            end = self._quotes.line_end(self._rest, head)
            if end == len(self._rest) and self._rest[-1] == 0x0D and not whole:
                end = None  # a \n may follow
            if end is None and whole:
                end = len(self._rest)
            self._check_record(head, end)
            if end is None:
                return
            blocks.append(self._take(head, end))

    def _check_record(self, head: _Head, end: int | None) -> None:
        """Refuse the record that crosses the block's edge if it is too long; no other can be."""
        size = len(self._rest) if end is None else end
        if size <= self._record_limit:
            return
        if head.last_line is None:
            head.last_line = self._quotes.last_line(self._rest, head)
        if size - head.last_line > self._record_limit:
            row = self._cut_records + head.records - (not head.is_line_start)
            raise TooLarge(
                f"{_row(row)} is larger than {_megabytes(self._record_limit)}, the limit. A quote "
                "that opens a cell and is never closed can be the cause. Everyone keeps what they "
                "had.",
                what="record",
                limit=self._record_limit,
            )

    def _take(self, head: _Head, end: int) -> Block:
        """Cut `end` bytes off the rest."""
        source = bytes(self._rest[:end])
        del self._rest[:end]
        self._head = None
        records = head.records
        if head.is_line_start and source[head.size :].strip(_LINE_ENDS):
            records += 1
        self._check_columns(source, records)
        source = self._lead + source
        self._lead = b""
        block = Block(
            number=self._cut_blocks,
            first_record=self._cut_records,
            first_byte=self._cut_bytes,
            records=records,
            size=len(source),
            # Copied, because what the compressor returns keeps the memory of the worst case, about
            # the size of the source, for as long as it lives.
            data=bytes(memoryview(self._compressor.compress(source))),
        )
        self._cut_blocks += 1
        self._cut_records += records
        self._cut_bytes += len(source)
        return block

    def _check_columns(self, source: bytes, records: int) -> None:
        """Refuse a record with too many cells; learn how many record 0 has."""
        if records and not self.columns:
            self.columns = len(read_records(source, self.dialect, 0, 1)[0])
        if not self._quotes.may_be_wide(source, self._column_limit):
            return
        cells = count_cells(source, self.dialect)
        widest = max(cells, default=0)
        if widest > self._column_limit:
            raise TooLarge(
                f"{_row(self._cut_records + cells.index(widest))} has {widest:,} columns, and the "
                f"limit is {self._column_limit:,}. Everyone keeps what they had.",
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


class _Head:
    """What is known of a block up to its edge, and how far its last line has been searched.

    `size`: bytes read. `records`: lines with text that end or begin there. `is_line_start`:
    whether the next byte begins a line. `position`, `quoted`: where the search for the line end
    goes on, and whether that is inside a quoted cell. `last_line`: where the line begins that is
    not ended, once somebody needed to know.
    """

    __slots__ = ("is_line_start", "last_line", "position", "quoted", "records", "size")

    def __init__(self, *, size: int, records: int, is_line_start: bool, quoted: bool) -> None:
        self.size = size
        self.records = records
        self.is_line_start = is_line_start
        self.position = size
        self.quoted = quoted
        self.last_line: int | None = None


class _Quotes:
    """Finds line ends outside quoted cells, mostly at the speed of C."""

    def __init__(self, dialect: Dialect) -> None:
        self._quote = dialect.quote.encode()
        self._delimiter = dialect.delimiter.encode()
        if len(self._quote) > 1 or len(self._delimiter) != 1:
            raise ValueError("bytes are cut by an ASCII quote and delimiter only")
        q = re.escape(self._quote or b'"')
        # The quote comes first in each pattern, and the look back after it, because the re module
        # searches quickly for what a pattern begins with.
        begins = rb"(?<![^%b\n\r]%b)" % (re.escape(self._delimiter), q)
        inside = rb"[^%b]*+(?:%b%b[^%b]*+)*+" % (q, q, q, q)
        self._opening = re.compile(q + begins)
        self._cell = re.compile(q + begins + inside + q)
        self._inside = re.compile(inside)
        self._mark = re.compile(rb"[%b\n\r]" % q + begins if self._quote else rb"[\n\r]")

    def read_head(self, source: bytes) -> _Head:
        """`source` is a block's beginning.

        Trailing quotes are left for `line_end` to read: what they mean depends on what follows.
        """
        if self._quote:
            source = source.rstrip(self._quote)
        if not source:
            return _Head(size=0, records=0, is_line_start=True, quoted=False)
        text, quoted = self._outside(source)
        records, is_line_start = _count_lines(text)
        return _Head(size=len(source), records=records, is_line_start=is_line_start, quoted=quoted)

    def _outside(self, source: bytes) -> tuple[bytes, bool]:
        """`source` with each quoted cell replaced by a letter, and whether its end is in one."""
        if not self._has_quotes(source):
            return source, False
        text = self._cell.sub(b"x", source)
        if (opened := self._opening.search(text)) is None:
            return text, False
        return text[: opened.start()] + b"x", True

    def _has_quotes(self, source: bytes) -> bool:
        return bool(self._quote) and self._quote in source

    def may_be_wide(self, source: bytes, columns: int) -> bool:
        """False only if no record of `source` has more than `columns` cells; quick."""
        window = columns // 2
        if window and not self._has_quotes(source):
            # Such a record has so many delimiters that one of these windows lies within it.
            for start in range(0, len(source) - window, window):
                if source.find(b"\n", start, start + window) < 0:
                    break
            else:
                return False
        return source.count(self._delimiter) >= columns

    def line_end(self, rest: bytearray, head: _Head) -> int | None:
        """Where the line that `head` ends in ends: the position after its line end.

        None if that has not arrived; the next call goes on where this one stopped.
        """
        while head.position < len(rest):
            if head.quoted:
                found = self._inside.match(rest, head.position)
                assert found is not None  # it matches no bytes at all, too
                head.position = found.end()
                if head.position + 1 >= len(rest):
                    return None  # the end, or a quote there that another may follow
                head.quoted = False
                head.position += 1
            if (found := self._mark.search(rest, head.position)) is None:
                # The last byte may be looked at again: a delimiter there makes the next quote open.
                head.position = len(rest)
                return None
            head.position = found.end()
            if rest[found.start()] not in _LINE_ENDS:
                head.quoted = True
                continue
            head.position = found.start()
            end = found.end()
            return end + 1 if rest[found.start() : end + 1] == b"\r\n" else end
        return None

    def last_line(self, rest: bytearray, head: _Head) -> int:
        """Where the line begins that `head` ends in."""
        line, walk = 0, _Head(size=0, records=0, is_line_start=True, quoted=False)
        while (end := self.line_end(rest, walk)) is not None and end <= head.size:
            line = walk.position = end
        return line


def _count_lines(text: bytes) -> tuple[int, bool]:
    """Lines with any character, the unended last one too; and whether a line begins at the end."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n\n" in text or text.startswith(b"\n"):
        lines = text.split(b"\n")
        return len(lines) - lines.count(b""), not lines[-1]
    is_line_start = text.endswith(b"\n")
    return text.count(b"\n") + (not is_line_start), is_line_start


def _document_too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"This file is larger than {_megabytes(limit)}, the limit. Everyone keeps what they had.",
        what="document",
        limit=limit,
    )


def _row(record: int) -> str:
    return f"Row {record:,}" if record else "The header (the first row)"


def _megabytes(size: int) -> str:
    mebi = 1024 * 1024
    return f"{size / mebi:,.6g} MiB" if size >= mebi else f"{size:,} bytes"
