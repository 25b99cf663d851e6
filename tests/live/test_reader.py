"""Pages are read from blocks in bounded pieces, whatever the records are like."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from server.accept.files.upload import Ingest, UploadLimits
from server.document.messages import Document, PageMessage
from server.errors import PageOutOfRange
from server.fanout.backend import Event
from server.fanout.memory import MemoryBackend
from server.live import reader as reading
from server.live.reader import Reader

ROOM = "0b8f6c1e-5f7d-4a44-9a67-6a0f6a4d2f10"
MiB = 1024 * 1024


class Deaf:
    def changed(self, room: str, event: Event) -> None: ...

    def degraded(self, degraded: bool) -> None: ...


@pytest.fixture
async def backend():
    backend = MemoryBackend("node")
    await backend.start(Deaf())
    yield backend
    await backend.close()


def reader_of(backend: MemoryBackend, *, block_cache: int = 0) -> Reader:
    return Reader(
        backend,
        block_cache=block_cache,
        page_cache=0,
        index_cache=MiB,
        cell_limit=64 * 1024,
        record_limit=16 * MiB,
        message_limit=4 * MiB,
    )


async def stored(backend: MemoryBackend, data: bytes) -> Document:
    limits = UploadLimits(
        document=1 << 30, record=16 * MiB, columns=16_384, page_size=100, lease=30, pause=30
    )
    ingest = Ingest(backend, ROOM, name="t.tsv", size=len(data), limits=limits)
    await ingest.begin()
    for start in range(0, len(data), MiB):
        await ingest.feed(data[start : start + MiB])
    return await ingest.finish()


async def test_a_page_across_blocks_holds_each_of_its_rows_once(backend: MemoryBackend) -> None:
    rows = [f"{number}\t{'x' * 900}" for number in range(1, 1001)]
    document = await stored(backend, ("id\tx\n" + "\n".join(rows)).encode())
    assert document.blocks > 5
    reader = reader_of(backend)
    for offset in (0, 60, 500, 950):
        page = msgspec.json.decode(await reader.page(ROOM, document, offset, 100), type=PageMessage)
        assert [row[0] for row in page.data] == [
            str(n) for n in range(offset + 1, min(offset + 100, 1000) + 1)
        ]


async def test_a_page_of_monstrous_records_is_shown_without_holding_them(
    backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "HUGE_PAGE", 4 * MiB)
    monkeypatch.setattr(reading, "READ_AT_ONCE", MiB)
    cell = 2 * MiB
    rows = [f"{number}\t{'x' * cell}" for number in range(20)]
    document = await stored(backend, ("id\tx\n" + "\n".join(rows)).encode())
    reader = reader_of(backend)
    tracemalloc.start()
    try:
        payload = await reader.page(ROOM, document, 0, 100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    page = msgspec.json.decode(payload, type=PageMessage)
    assert [row[0] for row in page.data] == [str(number) for number in range(20)]
    assert [(cut.row, cut.column, cut.size) for cut in page.cut] == [
        (row, 1, cell) for row in range(1, 21)
    ]
    assert len(payload) <= 4 * MiB
    assert peak < 20 * cell, "the whole of all records was held at once"
    assert len(await reader.cell(ROOM, document, 20, 1)) == cell


async def test_cells_and_rows_that_are_not_there_are_named(backend: MemoryBackend) -> None:
    document = await stored(backend, b"a\tb\n1\t2\n")
    reader = reader_of(backend)
    assert await reader.cell(ROOM, document, 0, 1) == "b"
    with pytest.raises(PageOutOfRange, match="no row 2"):
        await reader.cell(ROOM, document, 2, 0)
    with pytest.raises(PageOutOfRange, match="no column 2"):
        await reader.cell(ROOM, document, 1, 2)
