"""An upload that is cut at any stage ends in the same bytes, or leaves the table that was there."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.faults.conftest import StartWorld
from tests.faults.proxy import FaultProxy
from tests.faults.watcher import Watcher, agree
from tests.faults.world import PATIENCE, World, WorldOfProcesses
from tests.room_client import Gone, RoomClient, table

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

DATA = table(12_000, name="new", columns=4)  # some 500 KB
STEP = 64 * 1024
STAGES = ["before the first ack", "in the middle", "before the end", "after the end", "after done"]


class Uploader:
    """Sends one file over as many connections as it takes, as the page in the browser does."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.token: str | None = None
        self.id = ""
        self._client: RoomClient | None = None

    async def connect(self, url: str) -> RoomClient:
        await self.close()
        self._client = RoomClient(url, self.room)
        await self._client.connect()
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def begin(self, client: RoomClient, *, replace: bool = False) -> int:
        """Begin or go on; from which byte on to send."""
        await client.say(
            "upload", name="new.tsv", size=len(DATA), resume=self.token, replace=replace
        )
        ack = await client.until(lambda m: m["type"] == "ack")
        self.token, self.id = ack["token"], ack["upload"]
        return int(ack["received"])

    async def send(self, client: RoomClient, start: int, end: int = len(DATA)) -> None:
        for at in range(start, end, STEP):
            upto = min(end, at + STEP)
            await client.say_raw(DATA[at:upto])
            await client.expect("ack", received=upto)

    async def end(self, client: RoomClient) -> None:
        await client.say("upload_end")
        await client.until(lambda m: m["type"] == "ack" and m["done"])

    async def until(self, stage: str, client: RoomClient, proxy: FaultProxy) -> None:
        """Go on until just before what is to be cut at this stage; its answer never comes."""
        if stage == "before the first ack":
            proxy.stall(to_server=False)
            await client.say("upload", name="new.tsv", size=len(DATA))
            return
        start = await self.begin(client)
        if stage == "in the middle":
            await self.send(client, start, len(DATA) // 2)
            return
        await self.send(client, start)
        if stage != "before the end":
            proxy.stall(to_server=False)
            await client.say("upload_end")

    async def whole(self, url: str) -> None:
        """Send what is missing, as often as it takes. Returns once the file was taken."""
        async with asyncio.timeout(4 * PATIENCE):
            while True:
                try:
                    client = await self.connect(url)
                    start = await self.begin(client, replace=self.token is None)
                    await self.send(client, start)
                    await self.end(client)
                    return
                except (Gone, ConnectionError, aiohttp.ClientError):
                    await asyncio.sleep(0.1)
                except AssertionError as refused:
                    # The answer was lost and not the file: then everyone sees it.
                    if "upload_lost" in str(refused):
                        return
                    raise


def began(watcher: Watcher) -> bool:
    return watcher.registers.get("upload") is not None


def complete(watcher: Watcher) -> bool:
    document = watcher.registers.get("document") or {}
    return document.get("name") == "new.tsv" and document["complete"] and not began(watcher)


def as_before(watcher: Watcher) -> bool:
    document = watcher.registers.get("document") or {}
    return document.get("name") == "table.tsv" and watcher.page_no == 4 and not began(watcher)


async def stored(world: World, node: int = 0) -> bytes:
    url = f"{world.urls[node]}/api/rooms/{world.room}/document"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.read()


async def a_table_before(world: World) -> list[Watcher]:
    """Viewers on page 4 of a table that is about to be replaced."""
    await world.put()
    watchers = await world.watchers()
    await watchers[0].say("page", page_no=4)
    await agree(watchers, PATIENCE, lambda w: w.page_no == 4)
    return watchers


async def reached(stage: str, watchers: list[Watcher]) -> None:
    """The room shows that this stage was reached."""
    met = complete if stage == "after done" else began
    if stage != "after the end":
        for watcher in watchers:
            await watcher.waits(met, PATIENCE)


@pytest.fixture
async def uploader() -> AsyncIterator[Uploader]:
    uploader = Uploader("")
    yield uploader
    await uploader.close()


@pytest.mark.parametrize("stage", STAGES)
async def test_an_upload_whose_connection_is_cut_goes_on_and_ends_in_the_same_bytes(
    world: World, uploader: Uploader, stage: str
) -> None:
    watchers = await a_table_before(world)
    uploader.room = world.room
    async with FaultProxy(port_of(world.urls[0])) as proxy:
        client = await uploader.connect(f"http://127.0.0.1:{proxy.port}")
        await uploader.until(stage, client, proxy)
        await reached(stage, watchers)
        proxy.reset()
    await uploader.whole(world.urls[1])
    await agree(watchers, world.by("upload cut"), complete)
    assert await stored(world) == await stored(world, node=1) == DATA


@pytest.mark.parametrize("stage", STAGES)
async def test_an_upload_that_nobody_goes_on_with_leaves_a_whole_table(
    start_here: StartWorld, uploader: Uploader, stage: str
) -> None:
    """The new one if its end was heard, else the one before, on the page that was shown."""
    world = await start_here(upload_pause=0.3)
    watchers = await a_table_before(world)
    uploader.room = world.room
    async with FaultProxy(port_of(world.urls[0])) as proxy:
        client = await uploader.connect(f"http://127.0.0.1:{proxy.port}")
        await uploader.until(stage, client, proxy)
        await reached(stage, watchers)
        proxy.reset()
    await agree(watchers, PATIENCE, lambda w: as_before(w) or complete(w))
    if stage == "after done":
        assert complete(watchers[0])
    elif stage != "after the end":
        assert as_before(watchers[0])


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
async def test_an_upload_whose_node_is_killed_goes_on_on_another(
    start_processes: StartWorld, uploader: Uploader, stage: str
) -> None:
    world: WorldOfProcesses = await start_processes()
    await world.put()
    watcher = await world.watch(1)
    await agree([watcher], PATIENCE)
    uploader.room = world.room
    async with FaultProxy(port_of(world.urls[0])) as proxy:
        client = await uploader.connect(f"http://127.0.0.1:{proxy.port}")
        await uploader.until(stage, client, proxy)
        await reached(stage, [watcher])
        world.nodes[0].kill()
    await uploader.whole(world.urls[1])
    await agree([watcher], world.by("upload cut"), complete)
    assert await stored(world, node=1) == DATA


@pytest.mark.parametrize("how", ["reset", "half-open"])
async def test_an_upload_survives_what_happens_between_its_node_and_redis(
    world: World, uploader: Uploader, how: str
) -> None:
    watchers = await a_table_before(world)
    uploader.room = world.room
    client = await uploader.connect(world.urls[0])
    start = await uploader.begin(client)
    await uploader.send(client, start, len(DATA) // 2)
    if how == "reset":
        world.proxies[0].reset()
    else:
        world.proxies[0].stall()
        await watchers[0].waits(lambda w: w.degraded, PATIENCE)
        world.proxies[0].heal()
    await uploader.whole(world.urls[0])
    await agree(watchers, world.by("upload cut"), complete)
    assert await stored(world) == DATA


async def test_a_put_that_is_cut_leaves_the_table_that_was_there(world: World) -> None:
    """curl cannot go on, so what it replaced comes back at once."""
    watchers = await a_table_before(world)

    async def body() -> AsyncIterator[bytes]:
        yield DATA[: len(DATA) // 2]
        await asyncio.sleep(3600)

    async with FaultProxy(port_of(world.urls[0])) as proxy:
        putting = asyncio.create_task(
            put(f"http://127.0.0.1:{proxy.port}/api/rooms/{world.room}/document", body())
        )
        for watcher in watchers:
            await watcher.waits(began, PATIENCE)
        proxy.reset()
        with pytest.raises((aiohttp.ClientError, OSError)):
            await asyncio.wait_for(putting, PATIENCE)
    await agree(watchers, world.by("upload cut"), as_before)
    await world.ask("PUT", "/document?name=new.tsv", data=io.BytesIO(DATA))
    await agree(watchers, PATIENCE, complete)


async def put(url: str, body: Any) -> None:
    async with aiohttp.ClientSession() as session, session.put(url, data=body) as answer:
        await answer.read()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
