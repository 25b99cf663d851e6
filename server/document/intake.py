"""Files as people have them become blocks: unpacked, understood by their beginning, cut.

    bytes as they come -> packed?  -> Unpacker       the first 512 bytes tell
                       -> a sample -> its encoding and dialect, once 64 KiB are there
                       -> Transcoder, where the encoding's bytes cannot be cut
                       -> BlockCutter

A spreadsheet cannot be read before its end is there; it is handed back (`SheetFile`).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from server.document.binary import refuse_binary
from server.document.blocks import BLOCK_SIZE, COLUMN_LIMIT, DOCUMENT_LIMIT, RECORD_LIMIT, Block
from server.document.cutter import BlockCutter, CutSoFar, begin_report, document_too_large
from server.document.detect import detect_dialect
from server.document.detect.encoding import sniff_encoding
from server.document.dialect import TSV, Dialect
from server.document.encodings import Encoding, Transcoder, byte_safe
from server.document.report import ParseReport, ReportBuilder
from server.document.streams import PIECE_SIZE
from server.document.unpack import HEAD_SIZE, PACKED, SHEETS, Kind, Unpacker, is_tar, recognise
from server.errors import NotOneTable, Unsupported

SAMPLE_SIZE: Final = 64 * 1024
"""Bytes by which a file is understood. As much as a block, so that the first page waits for no more
than it needs anyway."""

_BREATH: Final = 8 * 1024 * 1024  # unpacked bytes after which whoever waits is asked


class SheetFile(Exception):
    """A spreadsheet or Parquet file, which is read from a disk. `head`: its bytes so far."""

    def __init__(self, kind: Kind, head: bytes) -> None:
        super().__init__(kind)
        self.kind = kind
        self.head = head


class Intake:
    """Bytes of one file in, blocks of the table out; the same however the bytes are split.

    `feed` and `finish` give an iterator over lists of blocks, lazily: a few compressed bytes can be
    gigabytes, and only what is asked for is unpacked. Take all of it before the next call (a list
    may be empty); whoever stops stops the work. Each step does at most 8 MiB of it, in any thread,
    one at a time. After an error the intake is of no further use.

    `received`: bytes fed, as they came. `unpacked`: bytes of the table so far. `stored`, `records`,
    `blocks`, `columns`: as `BlockCutter` has them. `dialect`, `report`, `name`: what is known,
    which is all once the first block is handed out (until then they are TSV's); `name` is the
    table's, not the archive's. `dialect` reads the stored bytes: where they were transcoded its
    encoding is UTF-8, and the report names the source's. All may change as long as blocks come,
    the dialect only in that its quote and escape go (see `BlockCutter`). `sheet`: what kind of
    spreadsheet it is, if `SheetFile` was raised.
    """

    def __init__(
        self,
        *,
        name: str = "",
        dialect: Dialect | None = None,
        encoding: Encoding | None = None,
        notes: tuple[str, ...] = (),
        document_limit: int = DOCUMENT_LIMIT,
        record_limit: int = RECORD_LIMIT,
        column_limit: int = COLUMN_LIMIT,
        block_size: int = BLOCK_SIZE,
        so_far: CutSoFar | None = None,
    ) -> None:
        """With a `dialect` nothing is unpacked, guessed or refused as no text: the bytes are those
        of blocks cut by another dialect. `encoding` and `notes` are what the report is to say then.

        With `so_far` they are the rest of a file that was `is_plain`, from its byte
        `so_far.stored` on; `received` counts those before, too.
        """
        self.name = name
        self.received = 0
        self.unpacked = 0
        self.sheet: Kind | None = None
        self._document_limit = document_limit
        self._record_limit = record_limit
        self._column_limit = column_limit
        self._block_size = block_size
        self._notes = notes
        self._head: bytes | None = b""  # None: the file's kind is known
        self._unpacker: Unpacker | None = None
        self._sample = b""
        self._transcoder: Transcoder | None = None
        self._replaced = 0
        self._cutter: BlockCutter | None = None
        if dialect is not None:
            self._head = None
            self._begin(dialect, encoding or Encoding(name=dialect.encoding, why="chosen"))
        elif so_far is not None:
            self._head = None
            self.received = self.unpacked = so_far.stored
            self._cutter = self._new_cutter(so_far.dialect, so_far=so_far)

    # API

    @property
    def stored(self) -> int:
        return self._cutter.stored if self._cutter else 0

    @property
    def records(self) -> int:
        return self._cutter.records if self._cutter else 0

    @property
    def blocks(self) -> int:
        return self._cutter.blocks if self._cutter else 0

    @property
    def columns(self) -> int:
        return self._cutter.columns if self._cutter else 0

    @property
    def dialect(self) -> Dialect:
        return self._cutter.dialect if self._cutter else TSV

    @property
    def report(self) -> ParseReport:
        return self._cutter.report if self._cutter else begin_report(TSV)

    @property
    def is_plain(self) -> bool:
        """Whether the table's bytes are the file's own: neither packed nor transcoded.

        False until that is known, which it is with the first block.
        """
        return self._cutter is not None and self._unpacker is None and self._transcoder is None

    @property
    def so_far(self) -> CutSoFar:
        """What was handed out. Of a plain file, another intake can go on from there."""
        return CutSoFar(
            self.stored, self.records, self.blocks, self.columns, self.dialect, self.report
        )

    def feed(self, chunk: bytes) -> Iterator[list[Block]]:
        """The blocks that `chunk` completes.

        The iterator raises `SheetFile`, `NotText` (the first bytes decide), `TooLarge` (the
        document unpacked, a record, the cells of one), and what `Unpacker` does.
        """
        self.received += len(chunk)
        return self._cut(self._unpack(chunk, whole=False), whole=False)

    def finish(self) -> Iterator[list[Block]]:
        """The blocks of what is left, now that nothing follows. Raises `EmptyDocument` too."""
        return self._cut(self._unpack(b"", whole=True), whole=True)

    # Internal

    def _unpack(self, chunk: bytes, *, whole: bool) -> Iterator[bytes]:
        """The bytes of the table that `chunk` makes known, in pieces."""
        if self._head is not None:
            self._head += chunk
            if len(self._head) < HEAD_SIZE and not whole:
                return
            chunk, self._head = self._head, None
            self._recognise(chunk)
        if self._unpacker is not None:
            yield from self._unpacker.feed(chunk)
            if whole:
                yield from self._unpacker.finish()
            return
        for start in range(0, len(chunk), PIECE_SIZE):
            yield chunk[start : start + PIECE_SIZE]

    def _recognise(self, head: bytes) -> None:
        kind = recognise(head)
        if kind in SHEETS:
            self.sheet = kind
            raise SheetFile(kind, head)
        if kind in PACKED:
            self._unpacker = Unpacker(kind, self.name)
        elif is_tar(head):
            raise NotOneTable(
                "This is a tar archive. Unpack it and send the table inside. Everyone keeps what "
                "they had."
            )

    def _cut(self, pieces: Iterator[bytes], *, whole: bool) -> Iterator[list[Block]]:
        done = self.unpacked
        for piece in pieces:
            self.unpacked += len(piece)
            if self.unpacked > self._document_limit:
                raise document_too_large(self._document_limit, packed=self._unpacker is not None)
            if self._cutter is None:
                self._sample += piece
                if len(self._sample) < SAMPLE_SIZE:
                    continue
                blocks = self._understand(whole=False)
            else:
                blocks = self._blocks(self._cutter, piece)
            if blocks or self.unpacked - done > _BREATH:
                done = self.unpacked
                yield blocks
        if not whole:
            return
        if self._cutter is None:
            yield self._understand(whole=True)
        assert self._cutter is not None
        if self._transcoder is not None:
            yield self._transcoded(self._cutter, self._transcoder.finish())
        yield self._cutter.finish()

    def _blocks(self, cutter: BlockCutter, piece: bytes) -> list[Block]:
        if self._transcoder is not None:
            return self._transcoded(cutter, self._transcoder.feed(piece))
        return cutter.feed(piece)

    def _transcoded(self, cutter: BlockCutter, piece: bytes) -> list[Block]:
        assert self._transcoder is not None
        cutter.count_replaced(self._transcoder.replaced - self._replaced)
        self._replaced = self._transcoder.replaced
        return cutter.feed(piece)

    def _understand(self, *, whole: bool) -> list[Block]:
        """Find encoding and dialect by the sample, and cut it."""
        sample, self._sample = self._sample, b""
        head = sample[:SAMPLE_SIZE]
        whole = whole and len(head) == len(sample)
        if self._unpacker is not None:
            self.name = self._unpacker.name(self.name)
            if recognise(head) in SHEETS:
                raise Unsupported(
                    "There is a spreadsheet inside of this archive. Unpack it and send the "
                    "spreadsheet itself. Everyone keeps what they had."
                )
        encoding = sniff_encoding(head, whole=whole)
        refuse_binary(head, encoding)
        # Unless it is final, the decoder waits for the rest of a character that the end cuts.
        decoder = codecs.getincrementaldecoder(encoding.name)("replace")
        text = decoder.decode(head[encoding.bom_bytes :], final=whole)
        found = detect_dialect(text, whole=whole, name=self.name)
        dialect = Dialect(
            encoding=encoding.name,
            delimiter=found.delimiter,
            quote=found.quote,
            escape=found.escape,
            doublequote=found.doublequote,
            skip_space=found.skip_space,
            comment=found.comment,
            skip_lines=found.skip_lines,
            header=found.header,
        )
        return self._blocks(self._begin(dialect, encoding), sample)

    def _begin(self, dialect: Dialect, encoding: Encoding) -> BlockCutter:
        """Make ready to cut by `dialect` what is in `encoding`."""
        if not byte_safe(dialect.encoding, dialect.delimiter, dialect.quote, dialect.escape):
            self._transcoder = Transcoder(dialect.encoding)
            dialect = replace(dialect, encoding="utf-8")
        counts = ReportBuilder(begin_report(dialect, encoding), encoding=dialect.encoding)
        for note in self._notes:
            counts.note(note)
        self._cutter = self._new_cutter(dialect, counts)
        return self._cutter

    def _new_cutter(
        self,
        dialect: Dialect,
        counts: ReportBuilder | None = None,
        so_far: CutSoFar | None = None,
    ) -> BlockCutter:
        return BlockCutter(
            dialect,
            block_size=self._block_size,
            record_limit=self._record_limit,
            document_limit=self._document_limit,
            column_limit=self._column_limit,
            counts=counts,
            so_far=so_far,
        )
