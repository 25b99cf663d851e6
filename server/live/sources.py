"""The source bytes of a document's rows, from its blocks, through byte-bounded caches.

Blocks never change, so whatever is cached under a document's id stays true. Only the last block may
get longer, and even then what was known of it stays its beginning: so it is good from the cache
while it has the size that the register tells, and whoever still has an older register reads the
beginning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from server.document.blocks import decompress
from server.document.dialect import Dialect
from server.document.messages import Document
from server.document.pages import Index, parse_block
from server.errors import Missing
from server.fanout.backend import Backend
from server.live.cache import ByteCache


class Sources:
    """Blocks of documents for everyone on this node. Capacities are in bytes."""

    def __init__(
        self, backend: Backend, *, block_cache: int, index_cache: int, record_limit: int
    ) -> None:
        self._backend = backend
        self._record_limit = record_limit
        self.blocks: ByteCache[tuple[str, int], bytes] = ByteCache(block_cache)
        self.indexes: ByteCache[str, Index] = ByteCache(index_cache)

    # API

    def forget(self, document_id: str) -> None:
        """What is cached of a document may be wrong: its last rows are others by now."""
        self.blocks.discard_where(lambda key: key[0] == document_id)
        self.indexes.discard(document_id)

    async def page_bytes(self, room: str, document: Document, first: int, count: int) -> int:
        """Bytes of the blocks that `count` records from `first` on are in."""
        index = await self._index(room, document)
        numbers = index.blocks_for(first, count, document.records)
        if not numbers:
            return 0
        end = self._first_byte(index, document, numbers[-1] + 1)
        return end - index.first_byte(numbers[0])

    async def of(
        self,
        room: str,
        document: Document,
        first: int,
        count: int,
        *,
        at_once: int,
        keep: bool = True,
    ) -> AsyncIterator[tuple[Callable[[int, int], list[list[str]]], int]]:
        """Some blocks at a time of those with `count` records from `first` on: what reads those
        records of them that are in [first, end), and how many bytes they have."""
        if count <= 0:
            return
        index = await self._index(room, document)
        numbers = index.blocks_for(first, count, document.records)
        while numbers:
            batch, numbers = self._split(index, document, numbers, at_once)
            sources = await self._sources(room, document, index, batch, keep=keep)
            yield partial(_parse, document.dialect, index, batch, sources), sum(map(len, sources))

    # Internal

    def _split(
        self, index: Index, document: Document, numbers: range, at_once: int
    ) -> tuple[range, range]:
        """As many of the blocks as have `at_once` bytes, at least one, and the others."""
        limit = index.first_byte(numbers[0]) + at_once
        at = 1
        while at < len(numbers) and self._first_byte(index, document, numbers[at] + 1) <= limit:
            at += 1
        return numbers[:at], numbers[at:]

    @staticmethod
    def _first_byte(index: Index, document: Document, number: int) -> int:
        return index.first_byte(number) if number < len(index) else document.stored

    async def _index(self, room: str, document: Document) -> Index:
        index = self.indexes.get(document.id) or Index()
        known = len(index)
        if known < document.blocks:
            more = await self._backend.index(room, document.id, known)
            # Another reader may have fetched the same entries during the wait.
            index.append(more[(len(index) - known) * 16 :])
            if len(index) < document.blocks:
                raise Missing("A part of this table is gone.")
            self.indexes.put(document.id, index, index.nbytes)
        return index

    async def _sources(
        self,
        room: str,
        document: Document,
        index: Index,
        numbers: Sequence[int],
        *,
        keep: bool = True,
    ) -> list[bytes]:
        sizes = {
            number: self._first_byte(index, document, number + 1) - index.first_byte(number)
            for number in numbers
        }
        found = {number: self.blocks.get((document.id, number)) for number in numbers}
        wanted = [number for number, source in found.items() if len(source or b"") != sizes[number]]
        if wanted:
            stored = await self._backend.get_blocks(room, document.id, wanted)
            for number, data in zip(wanted, stored, strict=True):
                source = decompress(data, record_limit=self._record_limit)
                if len(source) < sizes[number]:
                    raise Missing("A part of this table is gone; the room shows what there is.")
                found[number] = source[: sizes[number]]
                if keep:
                    self.blocks.put((document.id, number), source, len(source))
        return [source for source in found.values() if source is not None]


def _parse(
    dialect: Dialect,
    index: Index,
    numbers: range,
    sources: Sequence[bytes],
    first: int,
    end: int,
) -> list[list[str]]:
    """Records `first` to `end` as far as these blocks hold them."""
    records: list[list[str]] = []
    for number, source in zip(numbers, sources, strict=True):
        skip = max(0, first - index.first_record(number))
        count = end - first - len(records)
        records += parse_block(
            source,
            dialect,
            skip,
            count,
            is_first_block=number == 0,
            literal=index.is_literal(number),
        )
    return records
