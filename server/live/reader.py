"""Reads pages, rows, cells and bytes of documents, for viewers and programs.

A page is cached for good when it is full, and with the row count in its key until then; the bytes
that it is made from are cached by `sources.py`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from server.document.blocks import decompress
from server.document.dialect import Dialect
from server.document.messages import Cut, Document
from server.document.pages import build_page, clip
from server.errors import Missing, PageOutOfRange
from server.fanout.backend import Backend
from server.live.cache import ByteCache
from server.live.paging import page_number
from server.live.sources import Sources
from server.live.work import Work, in_thread

# More source bytes than this are parsed in a thread: the loop would be held for milliseconds.
THREAD_FROM: Final = 512 * 1024
# Source bytes of rows that are written at once in the loop: a few milliseconds' worth.
SMALL: Final = 16 * 1024
# Blocks read ahead at once when a whole document is streamed: a few, so that memory stays flat.
STREAM_BATCH: Final = 16
# Source bytes that are parsed at once when rows are streamed, some blocks' worth: cells in memory
# take some ten times the bytes that they have in the file.
STREAM_AT_ONCE: Final = 128 * 1024
# Source bytes that are fetched and parsed in one go: memory stays flat however large records are.
READ_AT_ONCE: Final = 4 * 1024 * 1024
# A page with more source bytes than this cannot be shown whole anyway, so its cells are shortened
# as they are read.
HUGE_PAGE: Final = 32 * 1024 * 1024


class Rendered(NamedTuple):
    """A page's JSON without its envelope: `rows` in it, and the fields from `header` on."""

    rows: int
    fields: bytes


class Envelope(msgspec.Struct, kw_only=True, tag="page", tag_field="type"):
    """The fields of a page message that can change while its rows stay the same."""

    uuid: str
    document: str
    page_no: int
    page_size: int
    total_number: int
    first_row: int
    rev: int | msgspec.UnsetType = msgspec.UNSET
    peek: bool | msgspec.UnsetType = msgspec.UNSET


class Body(msgspec.Struct, kw_only=True):
    header: list[str]
    data: list[list[str]]
    cut: list[Cut]
    columns_left_out: int


class Data(msgspec.Struct):
    """The rows alone of what `Body` became."""

    data: msgspec.Raw


class Reader:
    """Pages of documents for everyone on this node. Capacities are in bytes.

    `work` is what takes long and is done piece by piece, in turn.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        block_cache: int,
        page_cache: int,
        index_cache: int,
        cell_limit: int,
        record_limit: int,
        message_limit: int,
    ) -> None:
        self.work = Work()
        self._large = Work()  # pages that take far more memory while they are made than afterwards
        self._backend = backend
        self._cell_limit = cell_limit
        self._record_limit = record_limit
        self._message_limit = message_limit
        self.sources = Sources(
            backend, block_cache=block_cache, index_cache=index_cache, record_limit=record_limit
        )
        self.pages: ByteCache[tuple[str, Dialect, int, int, int], Rendered] = ByteCache(page_cache)
        self.headers: ByteCache[tuple[str, Dialect], list[str]] = ByteCache(index_cache)

    # API

    @property
    def caches(self) -> dict[str, ByteCache[Any, Any]]:
        return {
            "blocks": self.sources.blocks,
            "pages": self.pages,
            "indexes": self.sources.indexes,
            "headers": self.headers,
        }

    def forget(self, document_id: str) -> None:
        """What is cached of a document may be wrong: its last rows are others by now."""
        self.sources.forget(document_id)
        for cache in (self.pages, self.headers):
            cache.discard_where(lambda key: key[0] == document_id)

    async def page(
        self,
        room: str,
        document: Document,
        offset: int,
        size: int,
        *,
        rev: int | None = None,
        peek: bool = False,
    ) -> bytes:
        """The JSON of a page message: rows `offset + 1` to `offset + size`.

        Raises `Missing` when blocks are gone (the document was replaced), `Unavailable`.
        """
        return b"".join(await self.page_parts(room, document, offset, size, rev=rev, peek=peek))

    async def page_parts(
        self,
        room: str,
        document: Document,
        offset: int,
        size: int,
        *,
        rev: int | None = None,
        peek: bool = False,
    ) -> tuple[bytes, memoryview]:
        """The same in two parts; the second, the rows, is shared with the cache."""
        rendered = await self._rendered(room, document, offset, size)
        envelope = Envelope(
            uuid=room,
            document=document.id,
            page_no=page_number(document.rows, offset, size),
            page_size=size,
            total_number=document.rows,
            first_row=offset + 1,
        )
        if rev is not None:
            envelope.rev = rev
        if peek:
            envelope.peek = True
        # The encoded rows are spliced in: encoding them anew would cost more than all the rest.
        return msgspec.json.encode(envelope)[:-1] + b",", memoryview(rendered.fields)[1:]

    async def data(self, room: str, document: Document, offset: int, size: int) -> msgspec.Raw:
        """The rows of the same page alone: the JSON of a list of lists of texts."""
        rendered = await self._rendered(room, document, offset, size)
        return msgspec.json.decode(rendered.fields, type=Data).data

    async def cell(self, room: str, document: Document, row: int, column: int) -> str:
        """A whole cell. `row` counts from 1 (0: the header), `column` from 0."""
        if not 0 <= row <= document.rows:
            raise PageOutOfRange(f"There is no row {row}: the table has {document.rows:,} rows.")
        if row == 0:
            record = await self.header(room, document)
        else:
            record = await self._record(room, document, self._first_record(document, row - 1))
        if not 0 <= column < len(record):
            raise PageOutOfRange(f"Row {row} has no column {column}: it has {len(record)} cells.")
        return record[column]

    async def header(self, room: str, document: Document) -> list[str]:
        """The cells of record 0, or [] for a document without a header."""
        if not document.dialect.header or document.records == 0:
            return []
        key = (document.id, document.dialect)
        header = self.headers.get(key)
        if header is None:
            header = await self._record(room, document, 0)
            self.headers.put(key, header, sum(8 + sys.getsizeof(cell) for cell in header))
        return header

    async def rows(
        self,
        room: str,
        document: Document,
        start: int,
        count: int,
        write: Callable[[list[list[str]]], bytes],
    ) -> AsyncIterator[bytes]:
        """What `write` makes of rows `start` (from 1) to `start + count - 1`, in some pieces.

        `write` is called in a thread. However many read, the cells of one piece alone are in memory
        at a time; and they leave the cache of blocks to the pages that people look at.
        """
        first = self._first_record(document, start - 1)
        end = min(first + count, document.records)
        sources = self.sources.of(
            room, document, first, end - first, at_once=STREAM_AT_ONCE, keep=False
        )
        async for read, size in sources:

            def make(
                read: Callable[[int, int], list[list[str]]] = read, first: int = first
            ) -> tuple[int, bytes]:
                records = read(first, end)
                return len(records), write(records)

            async with self.work.piece():
                made = await in_thread(make) if size > SMALL else make()
            first += made[0]
            yield made[1]
        if first < end:
            raise Missing("A part of this table could not be read.")

    async def source(self, room: str, document: Document) -> AsyncIterator[bytes]:
        """The document's bytes so far, a few blocks at a time."""
        left = document.stored
        for first in range(0, document.blocks, STREAM_BATCH):
            numbers = range(first, min(first + STREAM_BATCH, document.blocks))
            for data in await self._backend.get_blocks(room, document.id, numbers):
                # The last one may have grown since.
                source = decompress(data, record_limit=self._record_limit)[:left]
                left -= len(source)
                yield source

    # Internal

    @staticmethod
    def _first_record(document: Document, row_offset: int) -> int:
        return row_offset + (1 if document.dialect.header else 0)

    async def _rendered(self, room: str, document: Document, offset: int, size: int) -> Rendered:
        count = max(0, min(size, document.rows - offset))
        known_rows = -1 if count == size else document.rows
        key = (document.id, document.dialect, offset, size, known_rows)
        rendered = self.pages.get(key)
        if rendered is not None:
            return rendered
        first = self._first_record(document, offset)
        if await self.sources.page_bytes(room, document, first, count) <= THREAD_FROM:
            rendered = await self._build(room, document, offset, size, count, large=False)
        else:
            # Held while blocks are read, for it is what was read that takes the memory. Every call
            # of the backend has an end.
            async with self._large.piece():
                # Those who waited wanted the same page, more often than not.
                rendered = self.pages.get(key)
                if rendered is not None:
                    return rendered
                rendered = await self._build(room, document, offset, size, count, large=True)
        self.pages.put(key, rendered, len(rendered.fields))
        return rendered

    async def _build(
        self, room: str, document: Document, offset: int, size: int, count: int, *, large: bool
    ) -> Rendered:
        header = await self.header(room, document)
        first = self._first_record(document, offset)
        rows, clipped = await self._page_rows(room, document, first, count)

        def build() -> Rendered:
            message = build_page(
                uuid=room,
                document_id=document.id,
                header=header,
                rows=rows,
                offset=offset,
                page_size=size,
                total_rows=document.rows,
                cell_limit=self._cell_limit,
                message_limit=self._message_limit,
                clipped=clipped,
            )
            body = Body(
                header=message.header,
                data=message.data,
                cut=message.cut,
                columns_left_out=message.columns_left_out,
            )
            return Rendered(len(rows), msgspec.json.encode(body))

        if not large:
            return build()
        async with self.work.piece():
            return await in_thread(build)

    async def _page_rows(
        self, room: str, document: Document, first: int, count: int
    ) -> tuple[list[list[str]], dict[tuple[int, int], int]]:
        """Records of one page and, where they are too large to be held whole, what was clipped."""
        rows: list[list[str]] = []
        clipped: dict[tuple[int, int], int] = {}
        huge = await self.sources.page_bytes(room, document, first, count) > HUGE_PAGE
        async for records in self._batches(room, document, first, count):
            if huge:
                limit = self._message_limit
                records = await in_thread(
                    partial(clip, records, len(rows), count, clipped, message_limit=limit)
                )
            rows += records
        return rows, clipped

    async def _record(self, room: str, document: Document, number: int) -> list[str]:
        async for records in self._batches(room, document, number, 1):
            return records[0]
        raise Missing("A part of this table could not be read.")

    async def _batches(
        self,
        room: str,
        document: Document,
        first: int,
        count: int,
        *,
        at_once: int = READ_AT_ONCE,
        keep: bool = True,
    ) -> AsyncIterator[list[list[str]]]:
        """Records `first` to `first + count` that there are, some blocks' worth at a time."""
        end = min(first + count, document.records)
        sources = self.sources.of(room, document, first, end - first, at_once=at_once, keep=keep)
        async for read, size in sources:
            if size > THREAD_FROM:
                async with self.work.piece():
                    records = await in_thread(partial(read, first, end))
            else:
                records = read(first, end)
            first += len(records)
            yield records
        if first < end:
            raise Missing("A part of this table could not be read.")
