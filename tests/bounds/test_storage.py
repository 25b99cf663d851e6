"""All rooms together have a limit; beyond it no documents come, and everything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis

from server.errors import StorageFull
from server.fanout.backend import Backend, Growth, StoredBlock
from server.fanout.memory import MemoryStore
from server.fanout.quota import LOOK_BYTES
from server.fanout.redis import RedisBackend
from tests.accept.client import ROOM, Node, memory
from tests.redis_server import RedisServer
from tests.room_client import table

pytestmark = pytest.mark.processes

MB = 1_000_000
DOCUMENT = f"/api/rooms/{ROOM}/document"
# What Redis needs to keep bytes: it grows its tables and its memory in steps.
BESIDE = 4 * MB


def incompressible(size: int) -> bytes:
    """A table that takes half of its size to store, and a little more."""
    return "\n".join(secrets.token_hex(40) for _ in range(size // 81)).encode()


@pytest.fixture
async def raw(own_redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_redis.url, protocol=2) as raw:
        await raw.flushall()
        yield raw


async def held(raw: Redis) -> int:
    return int((await raw.info("memory"))["used_memory"])


@asynccontextmanager
async def closing(backend: RedisBackend) -> AsyncIterator[RedisBackend]:
    try:
        yield backend
    finally:
        await backend.close()


class Full(NamedTuple):
    """A node whose storage has no room for documents; a table is shown in `ROOM`."""

    node: Node
    backend: Backend
    make_room: Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
async def full(request: pytest.FixtureRequest) -> AsyncIterator[Full]:
    filler = "ffffffff-ffff-4fff-bfff-ffffffffffff"
    block = StoredBlock(0, bytes(6 * MB), bytes(16))
    async with AsyncExitStack() as ending:
        backend: Any
        if request.param == "memory":
            store = MemoryStore()
            backend = memory(store)
        else:
            redis: RedisServer = request.getfixturevalue("own_redis")
            raw = await ending.enter_async_context(Redis.from_url(redis.url, protocol=2))
            await raw.flushall()
            limit = await held(raw) + 6 * MB
            backend = RedisBackend(redis.url, secrets.token_hex(4), storage_limit=limit)
        node = await ending.enter_async_context(Node(backend, {}))
        await node.put(table(2_000))
        if request.param == "memory":
            await backend.put_blocks(filler, "filler", [block])
            store.storage_limit = store.stored
        else:
            stranger = RedisBackend(redis.url, "stranger")
            ending.push_async_callback(stranger.close)
            await stranger.put_blocks(filler, "filler", [block])
        yield Full(node, backend, lambda: backend.drop(filler, "filler"))


async def test_beyond_the_limit_files_and_rows_are_refused_and_all_else_goes_on(
    full: Full,
) -> None:
    node = full.node
    first, other = await node.join(), await node.join()
    refusal = await node.refusal("PUT", DOCUMENT, 507, "storage_full", data=table(10))
    assert "no room for more" in refusal["detail"]
    assert refusal["retry"] is True
    await first.say("upload", name="new.tsv", size=100)
    await first.expect_error("storage_full")
    rows = f"{DOCUMENT}/rows"
    refusal = await node.refusal("POST", rows, 507, "storage_full", data=io.BytesIO(b"1\t2\t3\n"))
    assert refusal["rows_added"] == 0
    # What is small goes on, for those who are there and those who come.
    await first.say("page", page_no=4)
    await other.shows(4)
    await other.say("chat", id=str(uuid.uuid4()), body="no room")
    await first.until(lambda m: m["type"] == "chat" and bool(m["messages"]))
    late = await node.join()
    await late.shows(4)
    # Nobody saw an upload begin that was never going to be.
    uploads = [m["set"]["upload"] for m in other.seen if "upload" in m.get("set", {})]
    assert not any(uploads)
    assert late.registers["document"]["version"] == 1


async def test_once_there_is_room_again_files_and_rows_are_taken(full: Full) -> None:
    await full.node.refusal("PUT", DOCUMENT, 507, "storage_full", data=table(10))
    await full.make_room()
    async with asyncio.timeout(10):
        while True:
            try:
                await full.backend.admit(ROOM)
                break
            except StorageFull:
                await asyncio.sleep(0.05)
    document = await full.node.put(table(10))
    assert document["version"] == 2
    async with full.node.http.post(f"{DOCUMENT}/rows", data=b"11\ta\tb\n") as answer:
        assert (await answer.json())["rows_added"] == 1


async def test_uploads_on_several_nodes_pass_the_limit_by_no_more_than_is_said(
    own_redis: RedisServer, raw: Redis
) -> None:
    limit = await held(raw) + 4 * MB
    data = incompressible(40 * MB)
    async with AsyncExitStack() as ending:
        nodes = [
            await ending.enter_async_context(
                Node(RedisBackend(own_redis.url, f"node-{n}", storage_limit=limit), {})
            )
            for n in range(2)
        ]

        async def refused(node: Node, number: int) -> None:
            path = f"/api/rooms/00000000-0000-4000-8000-{number:012}/document"
            await node.refusal("PUT", path, 507, "storage_full", data=io.BytesIO(data))

        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, await held(raw))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        ending.callback(watching.cancel)
        await asyncio.gather(*(refused(node, n) for n, node in enumerate(nodes)))
    assert most <= limit + len(nodes) * LOOK_BYTES + BESIDE


async def test_a_node_trusts_a_look_for_its_own_bytes_and_counts_those(
    own_redis: RedisServer, raw: Redis
) -> None:
    """So that whoever stores quickly does not ask all the time, nor pass the limit between."""
    limit = await held(raw) + 3 * MB
    stored = 0
    async with closing(RedisBackend(own_redis.url, "node", storage_limit=limit)) as backend:
        with contextlib.suppress(StorageFull):
            for number in range(100):
                block = StoredBlock(number, secrets.token_bytes(64 * 1024), bytes(16))
                await backend.put_blocks(ROOM, "d", [block])
                stored += len(block.data)
        asked = sum(backend.counts.calls["memory"].counts)
        assert 2 * MB <= stored <= 3 * MB
        assert asked < stored / 65536 / 2, "it asks for each block"
        assert backend.counts.failures["put_blocks", "full"] == 1
        with pytest.raises(StorageFull):
            await backend.append(ROOM, growth=Growth("d", [StoredBlock(0, bytes(MB), bytes(16))]))


async def test_a_limit_is_a_setting_of_a_node_with_redis_and_of_one_without(
    own_redis: RedisServer,
) -> None:
    for url in ("", own_redis.url):
        async with Node(None, {"redis_url": url, "storage_limit": 1}) as node:
            await node.refusal("PUT", DOCUMENT, 507, "storage_full", data=table(10))
