"""Much that is asked for at once is made piece by piece, and everybody else goes on meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest
import pytest_asyncio

from bench.processes import forget_peak, peak, resident
from tests.nodes.harness import Node
from tests.room_client import PATIENCE, RoomClient
from tests.security.conftest import Others
from tests.security.raw import Raw

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

COLUMNS = 16_000
READERS = 40
# What one reader at a time needs at most, and what the system keeps of it for the next one; without
# taking turns forty of them needed more than a gigabyte.
MEMORY = 450 * 1024 * 1024
# Of an answer that nobody reads: two slices, and the connection itself.
UNREAD = 300 * 1024
ROOMS = 12
MESSAGES = 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(node: Node) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(node.url, connector=connector) as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wide(http: aiohttp.ClientSession) -> str:
    """A room with as wide a table as can be."""
    room = str(uuid.uuid4())
    line = "\t".join(map(str, range(COLUMNS))) + "\n"
    async with http.put(f"/api/rooms/{room}/document", data=BytesIO(line.encode() * 200)) as answer:
        assert answer.status == 200
    return room


@pytest.mark.parametrize(
    "door",
    ["/t/{}", "/t/{}?page=2", "/api/rooms/{}/rows.csv", "/api/rooms/{}/rows.ndjson"],
)
async def test_whoever_reads_as_much_as_can_be_holds_up_nobody_and_costs_bounded_memory(
    http: aiohttp.ClientSession, node: Node, others: Others, wide: str, door: str
) -> None:
    forget_peak(node.pid)
    before = resident(node.pid)
    path = door.format(wide)

    async def read() -> None:
        async with http.get(path) as answer:
            assert answer.status == 200
            async for _ in answer.content.iter_chunked(1 << 20):
                pass

    async with asyncio.timeout(200):
        reading = [asyncio.create_task(read()) for _ in range(READERS)]
        try:
            turns = 0
            while turns < 20 or sum(task.done() for task in reading) < 4:
                await others.go_on()
                turns += 1
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
    assert peak(node.pid) - before < MEMORY


async def test_who_reads_nothing_of_a_large_page_costs_little(
    http: aiohttp.ClientSession, node: Node, others: Others, wide: str
) -> None:
    path = f"/api/rooms/{wide}/pages/1"
    async with http.get(path) as answer:
        assert len(await answer.read()) > 4_000_000
    before = resident(node.pid)
    forget_peak(node.pid)
    lazy = [await Raw.open(node.port) for _ in range(100)]
    try:
        for raw in lazy:
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            raw.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        await others.go_on(20)
        assert peak(node.pid) - before < 100 * UNREAD
    finally:
        for raw in lazy:
            raw.reset()


async def fill(url: str, room: str) -> None:
    """As many messages as are kept, and as long as so many can be."""
    talkers = [RoomClient(url, room) for _ in range(MESSAGES // 10)]
    try:
        for talker in talkers:
            await talker.connect()
        for number in range(MESSAGES):
            body = "".join(chr(0x20000 + (number * 211 + i * 17) % 40_000) for i in range(1_100))
            await talkers[number % len(talkers)].say("chat", id=str(uuid.uuid4()), body=body)
        async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
            while True:
                async with session.get(f"{url}/api/rooms/{room}/chat") as answer:
                    if len((await answer.json())["messages"]) == MESSAGES:
                        return
                await asyncio.sleep(0.1)
    finally:
        for talker in talkers:
            await talker.close()


async def test_a_crowd_that_opens_full_chats_holds_up_nobody(node: Node, others: Others) -> None:
    rooms = [str(uuid.uuid4()) for _ in range(ROOMS)]
    for room in rooms:
        await fill(node.url, room)
    crowd = [await Raw.open(node.port) for _ in range(5 * ROOMS)]
    try:
        for number, raw in enumerate(crowd):
            raw.ask_for_socket(rooms[number % ROOMS], deflate=True)
        for _ in range(20):
            await others.go_on()
        for raw in crowd:
            await raw.reader.readuntil(b"\r\n\r\n")
    finally:
        for raw in crowd:
            raw.reset()
