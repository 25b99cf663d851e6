"""The deployment, on real parts: three node processes, a Redis and an Nginx."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from tests.nodes.harness import Stack
from tests.room_client import Gone, RoomClient, table

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def stack(start_stack: Callable[..., Any]) -> Stack:
    settings = {
        "TABLECAST_UPLOAD_LEASE": "2s",
        "TABLECAST_UPLOAD_PAUSE": "1s",
        "TABLECAST_AUDIT_INTERVAL": "1s",
    }
    return await start_stack(nodes=3, settings=settings)


@pytest.fixture
def room() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def viewers(stack: Stack, room: str) -> AsyncIterator[list[RoomClient]]:
    """Three viewers of `room` through Nginx, each on another node."""
    found: dict[str, RoomClient] = {}
    async with AsyncExitStack() as ending:
        for _ in range(4 * len(stack.nodes)):
            client = await ending.enter_async_context(RoomClient(stack.url, room))
            if client.node in found:
                await client.close()
            else:
                found[client.node] = client
        assert len(found) == len(stack.nodes), f"Nginx used only {sorted(found)}"
        yield list(found.values())


async def put(url: str, room: str, data: bytes, name: str = "table.tsv") -> dict[str, Any]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        session.put(f"{url}/api/rooms/{room}/document", params={"name": name}, data=data) as answer,
    ):
        assert answer.status == 200, await answer.text()
        told: dict[str, Any] = await answer.json()
        return told


async def test_viewers_on_every_node_see_the_same_upload_and_the_same_page(
    stack: Stack, room: str, viewers: list[RoomClient]
) -> None:
    await viewers[0].upload("trips.tsv", table(5_000))
    for viewer in viewers:
        await viewer.settles(lambda v: v.registers.get("document", {}).get("complete") is True)
        page = await viewer.shows(1)
        assert page["data"][0][0] == "1"
        assert viewer.registers["document"]["rows"] == 5_000
    for turner, page_no in zip(viewers, (17, 50, 3), strict=True):
        await turner.say("page", page_no=page_no)
        for viewer in viewers:
            page = await viewer.shows(page_no)
            assert int(page["data"][0][0]) == page["first_row"] == (page_no - 1) * 100 + 1
    await put(stack.url, room, table(10, name="newer"), "newer.tsv")
    for viewer in viewers:
        await viewer.settles(lambda v: "newer 1" in v.header)
        await viewer.settles(lambda v: v.registers["document"]["complete"] and v.here == 3)
        assert viewer.registers["document"]["version"] == 2
    assert len({viewer.rev for viewer in viewers}) == 1


async def test_the_first_page_shows_on_other_nodes_long_before_the_upload_ends(
    stack: Stack, room: str, viewers: list[RoomClient]
) -> None:
    uploader, *others = viewers
    data = table(40_000)
    await uploader.begin_upload("big.tsv", len(data))
    await uploader.send_chunks(data[: len(data) // 4])
    for viewer in others:
        await viewer.shows(1)
        assert viewer.registers["document"]["complete"] is False
        assert viewer.registers["upload"]["name"] == "big.tsv"
    await uploader.send_chunks(data[len(data) // 4 :])
    await uploader.say("upload_end")
    for viewer in others:
        await viewer.settles(lambda v: v.registers["document"]["complete"])
        assert viewer.registers["document"]["rows"] == 40_000


async def test_an_upload_through_nginx_is_streamed_not_buffered(stack: Stack, room: str) -> None:
    first_page_shown = asyncio.Event()
    data = table(40_000)

    async def body() -> AsyncIterator[bytes]:
        yield data[: 512 * 1024]
        # The rest is held back until a viewer has seen the first page.
        async with asyncio.timeout(10):
            await first_page_shown.wait()
        yield data[512 * 1024 :]

    async with RoomClient(stack.url, room) as viewer, aiohttp.ClientSession() as session:

        async def send() -> int:
            url = f"{stack.url}/api/rooms/{room}/document"
            async with session.put(url, data=body()) as answer:
                return answer.status

        sending = asyncio.create_task(send())
        await viewer.shows(1)
        first_page_shown.set()
        assert await asyncio.wait_for(sending, 30) == 200
        await viewer.settles(lambda v: v.registers["document"]["complete"])


async def test_a_killed_uploaders_node_brings_back_the_previous_table_and_page(
    stack: Stack, room: str, viewers: list[RoomClient]
) -> None:
    await put(stack.url, room, table(1_000), "before.tsv")
    uploader, *others = viewers
    await others[0].say("page", page_no=4)
    await others[1].shows(4)
    data = table(40_000, name="never")
    await uploader.begin_upload("never.tsv", len(data))
    await uploader.send_chunks(data[: len(data) // 2])
    for viewer in others:
        await viewer.settles(lambda v: "never 1" in v.header)
    stack.node(uploader.node).kill()
    for viewer in others:
        await viewer.settles(lambda v: v.registers.get("upload") is None)
        await viewer.settles(lambda v: "name 1" in v.header)
        assert viewer.page["page_no"] == 4
        assert viewer.registers["document"]["name"] == "before.tsv"
    # And the room takes a new one.
    await put(others[0].url, room, table(10, name="after"))


async def test_a_viewer_of_a_killed_node_finds_the_same_page_on_another(
    stack: Stack, room: str, viewers: list[RoomClient]
) -> None:
    await put(stack.url, room, table(1_000))
    await viewers[0].say("page", page_no=7)
    for viewer in viewers:
        await viewer.shows(7)
    lost = viewers[1]
    stack.node(lost.node).kill()
    await lost.ends()
    async with RoomClient(stack.url, room) as back:
        assert back.node != lost.node
        await back.shows(7)
        assert back.rev == viewers[0].rev
        # The killed node's viewers are forgotten within its lease.
        await back.settles(lambda v: v.here == 3, timeout=15)


async def test_everyone_recovers_when_redis_restarts(
    stack: Stack, room: str, viewers: list[RoomClient]
) -> None:
    await put(stack.url, room, table(1_000))
    for viewer in viewers:
        await viewer.shows(1)
    await asyncio.to_thread(stack.redis.kill)
    for viewer in viewers:
        await viewer.settles(lambda v: v.degraded)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{stack.nodes[0].url}/readyz") as answer,
    ):
        assert answer.status == 503
    await viewers[0].say("page", page_no=2)
    await viewers[0].expect_error("unavailable")
    await asyncio.to_thread(stack.redis.start)
    for viewer in viewers:
        await viewer.settles(lambda v: not v.degraded)
    await viewers[2].say("page", page_no=9)
    for viewer in viewers:
        await viewer.shows(9)
    assert len({(viewer.epoch, viewer.rev) for viewer in viewers}) == 1


async def test_a_node_that_is_told_to_end_sends_its_viewers_away_and_exits_cleanly(
    stack: Stack, room: str, viewers: list[RoomClient]
) -> None:
    leaving = viewers[0]
    node = stack.node(leaving.node)
    ended = asyncio.create_task(node.stop())
    bye = await leaving.expect("bye")
    assert bye["again"] is True
    with pytest.raises(Gone):
        await leaving.next()
    assert leaving.close_code == aiohttp.WSCloseCode.GOING_AWAY
    assert await ended == 0
    assert "Traceback" not in node.output()


async def test_a_node_that_ends_refuses_the_rest_of_a_put_and_the_table_is_back_at_once(
    stack: Stack, room: str
) -> None:
    before = await put(stack.url, room, table(1_000), "before.tsv")
    node, other = stack.nodes[:2]
    going_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield table(9_000)
        while not going_on.is_set():
            yield b"1\t2\t3\n"
            await asyncio.sleep(0.02)

    async with RoomClient(other.url, room) as viewer, aiohttp.ClientSession() as session:

        async def send() -> tuple[int, str]:
            url = f"{node.url}/api/rooms/{room}/document"
            async with session.put(url, data=body()) as answer:
                return answer.status, (await answer.json())["code"]

        sending = asyncio.create_task(send())
        await viewer.settles(lambda v: v.registers.get("upload") is not None)
        await viewer.settles(lambda v: v.registers["document"]["id"] != before["id"])
        ended = asyncio.create_task(node.stop())
        assert await asyncio.wait_for(sending, 10) == (503, "draining")
        going_on.set()
        await viewer.settles(lambda v: v.registers["document"]["id"] == before["id"], timeout=3)
        assert await ended == 0
