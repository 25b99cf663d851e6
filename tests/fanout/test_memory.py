"""What only the in-memory backend promises: a cap on bytes, and memory given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.errors import StorageFull
from server.fanout.backend import ENTRY_BYTES, Growth, StoredBlock
from server.fanout.kept import weight
from server.fanout.memory import MemoryBackend, MemoryStore
from tests.fanout.nodes import Recorder, eventually

LIMIT = 1000


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(LIMIT)


@pytest.fixture
async def backend(store: MemoryStore) -> AsyncIterator[MemoryBackend]:
    backend = MemoryBackend("a", store=store, room_life=0.2, incomplete_life=0.2, sweep_every=0.02)
    await backend.start(Recorder())
    yield backend
    await backend.close()


def block(number: int, size: int) -> StoredBlock:
    return StoredBlock(number, bytes(size - ENTRY_BYTES), bytes(ENTRY_BYTES))


async def test_bytes_over_the_limit_are_refused_and_what_was_there_stays(
    backend: MemoryBackend, store: MemoryStore
) -> None:
    await backend.put_blocks("room", "d", [block(0, 600)])
    with pytest.raises(StorageFull, match="1,000"):
        await backend.put_blocks("room", "d", [block(1, 300), block(2, 300)])
    assert await backend.extent("room", "d") == (1, 1)
    assert store.stored == 600
    await backend.append("room", set={"page": 1})


async def test_a_growth_over_the_limit_changes_neither_the_document_nor_the_room(
    backend: MemoryBackend, store: MemoryStore
) -> None:
    await backend.put_blocks("room", "d", [block(0, 600)])
    with pytest.raises(StorageFull, match="1,000"):
        await backend.append("room", set={"page": 1}, growth=Growth("d", [block(1, 500)]))
    assert await backend.extent("room", "d") == (1, 1)
    assert (await backend.snapshot("room")).rev == 0
    await backend.append("room", set={"page": 1}, growth=Growth("d", [block(0, 900)]))
    assert store.stored == 900


async def test_what_is_said_counts_until_it_is_forgotten(
    backend: MemoryBackend, store: MemoryStore
) -> None:
    await backend.put_blocks("other", "d", [block(0, 600)])
    message = {"id": "m", "body": "x" * 300}
    await backend.append("room", chat=message)
    assert store.stored == 600 + weight(message)
    with pytest.raises(StorageFull, match="1,000"):
        await backend.put_blocks("other", "d", [block(1, 100)])
    with pytest.raises(StorageFull, match="1,000"):
        await backend.append("room", chat={"id": "n", "body": "x" * 400})
    assert [each["id"] for each in (await backend.snapshot("room")).chat] == ["m"]
    await backend.append("room", set={"page": 1})
    await backend.append("room", forget=[])
    assert store.stored == 600
    await backend.append("room", chat=message)

    async def is_empty() -> bool:
        return store.stored == 0

    await eventually(is_empty)


async def test_a_block_stored_again_counts_once(backend: MemoryBackend, store: MemoryStore) -> None:
    for size in (600, 700, 500):
        await backend.put_blocks("room", "d", [block(0, size)])
        assert store.stored == size


async def test_bytes_that_were_dropped_make_room(
    backend: MemoryBackend, store: MemoryStore
) -> None:
    await backend.put_blocks("room", "d1", [block(0, 600)])
    await backend.drop("room", "d1")
    assert store.stored == 0
    await backend.put_blocks("room", "d2", [block(0, LIMIT)])


async def test_idle_rooms_and_incomplete_documents_give_their_memory_back(
    backend: MemoryBackend, store: MemoryStore
) -> None:
    await backend.put_blocks("room", "d", [block(0, 600)])
    await backend.append("room", set={"page": 1}, chat={"n": 1})

    async def idle() -> bool:
        return not store.stored and all(not room.state.rev for room in store.rooms.values())

    await eventually(idle)


async def test_a_follower_is_told_when_its_room_has_expired(backend: MemoryBackend) -> None:
    told = Recorder()
    other = MemoryBackend("b", store=backend._store, sweep_every=60)
    await other.start(told)
    other.follow("room")
    await backend.append("room", set={"page": 1})
    await told.until_rev("room", 1)
    await told.until(lambda: told.state("room").epoch == "")
    assert told.state("room").registers == {}
    await asyncio.wait_for(other.close(), 1)
