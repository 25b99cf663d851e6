"""Rows are added through real nodes and a real Redis, and one of the nodes dies in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from tests.nodes.harness import Node, Stack
from tests.room_client import PATIENCE, RoomClient, table

pytestmark = pytest.mark.timeout(120)

BEFORE = table(10)


@pytest.fixture
def room() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def put(session: aiohttp.ClientSession, node: Node, room: str) -> None:
    url = f"{node.url}/api/rooms/{room}/document"
    async with session.put(url, params={"name": "t.tsv"}, data=BEFORE) as answer:
        assert answer.status == 200, await answer.text()


async def send(session: aiohttp.ClientSession, node: Node, room: str, rows: Any) -> int:
    """Add rows; how many were added."""
    async with session.post(f"{node.url}/api/rooms/{room}/document/rows", data=rows) as answer:
        told = await answer.json()
        assert answer.status == 200, told
        return int(told["rows_added"])


async def source(session: aiohttp.ClientSession, node: Node, room: str) -> bytes:
    async with session.get(f"{node.url}/api/rooms/{room}/document") as answer:
        assert answer.status == 200
        return await answer.read()


async def numbered(name: str, sent: list[bytes]) -> AsyncIterator[bytes]:
    """Rows without end, cut anywhere; `sent` gets what was handed over."""
    number = 0
    rest = b""
    while True:
        rest += b"".join(
            b"%s %d\t%s\n" % (name.encode(), n, b"x" * (n % 700))
            for n in range(number, number + 20)
        )
        number += 20
        sent.append(rest[:-13])
        yield rest[:-13]
        rest = rest[-13:]
        await asyncio.sleep(0.01)


async def test_a_node_that_is_killed_leaves_all_that_was_seen_and_no_half_row(
    start_stack: Callable[..., Any], session: aiohttp.ClientSession, room: str
) -> None:
    stack: Stack = await start_stack(nodes=2)
    dying, other = stack.nodes
    await put(session, other, room)
    async with RoomClient(other.url, room) as viewer:
        await viewer.settles(lambda v: "document" in v.registers)
        sent: list[bytes] = []
        here = asyncio.create_task(send(session, dying, room, numbered("dying", sent)))
        there = [
            asyncio.create_task(
                send(session, other, room, b"".join(b"%d %d\n" % (k, n) for n in range(300)))
            )
            for k in range(3)
        ]
        await viewer.settles(lambda v: v.registers["document"]["rows"] > 1_500)
        dying.kill()
        with contextlib.suppress(aiohttp.ClientError):
            await asyncio.wait_for(here, PATIENCE)
        assert await asyncio.gather(*there) == [300] * 3
        # The other node goes on as if nothing had been.
        assert await send(session, other, room, b"last\n") == 1
        await viewer.settles(lambda v: v.registers["document"]["rows"] > 1_500)
    data = await source(session, other, room)
    assert data.startswith(BEFORE)
    assert data.endswith(b"\nlast\n")
    rows = data.removeprefix(BEFORE).splitlines(keepends=True)
    assert all(row.endswith(b"\n") for row in rows)
    whole = b"".join(sent).splitlines(keepends=True)
    of_dying = [row for row in rows if row.startswith(b"dying")]
    assert of_dying == whole[: len(of_dying)]
    assert len(of_dying) >= 1_500 - 10 - 900
    for k in range(3):
        start = b"%d " % k
        assert [row for row in rows if row.startswith(start)] == [
            b"%d %d\n" % (k, n) for n in range(300)
        ]
    async with session.get(f"{other.url}/api/rooms/{room}") as answer:
        document = (await answer.json())["set"]["document"]
    assert document["rows"] == 10 + len(rows)
    assert document["stored"] == document["size"] == len(data)
    # Every page reads well, the last one too.
    for page_no in (1, 1 + document["rows"] // 200, -(-document["rows"] // 100)):
        async with session.get(f"{other.url}/api/rooms/{room}/pages/{page_no}") as answer:
            assert answer.status == 200


async def test_a_node_that_is_told_to_end_says_how_far_it_came(
    start_stack: Callable[..., Any], session: aiohttp.ClientSession, room: str
) -> None:
    stack: Stack = await start_stack(nodes=2)
    ending, other = stack.nodes
    await put(session, other, room)
    sent: list[bytes] = []
    async with RoomClient(other.url, room) as viewer:
        url = f"{ending.url}/api/rooms/{room}/document/rows"

        async def add() -> dict[str, Any]:
            async with session.post(url, data=numbered("a", sent)) as answer:
                assert answer.status == 503
                problem: dict[str, Any] = await answer.json()
                return problem

        adding = asyncio.create_task(add())
        await viewer.settles(lambda v: v.registers.get("document", {}).get("rows", 0) > 100)
        stopping = asyncio.create_task(ending.stop())
        problem = await asyncio.wait_for(adding, PATIENCE)
        assert await stopping == 0
    assert problem["code"] == "draining"
    rows = (await source(session, other, room)).count(b"\n") - BEFORE.count(b"\n")
    assert f"{rows:,} rows were added before" in problem["detail"]
