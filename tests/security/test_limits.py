"""One address, however hard it tries, leaves room for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server.accept.edge import gate as gates
from server.accept.edge.answers import SLICE, Parts, send
from server.accept.edge.gate import Gate, fit_reads
from server.app import GATE, make_app
from server.settings import Settings
from tests.accept.client import ROOM, Node
from tests.accept.conftest import StartNode
from tests.accept.conftest import start_node as start_node
from tests.room_client import PATIENCE, RoomClient, table
from tests.security.raw import Raw

HERE, THERE = "203.0.113.7", "203.0.113.8"


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def behind_a_proxy(start_node: StartNode, **settings: Any) -> Node:
    trusted = Settings.from_env({"TABLECAST_TRUSTED_PROXIES": "127.0.0.1"}).trusted_proxies
    node: Node = await start_node(trusted_proxies=trusted, **settings)
    return node


async def is_refused(node: Node, address: str) -> bool:
    """Whether a viewer from `address` gets no place (and otherwise takes none)."""
    async with node.http.get("/healthz", headers=of(address)) as response:
        if response.status == 429:
            assert (await response.json(content_type=None))["code"] == "rate_limited"
            assert int(response.headers["Retry-After"]) >= 1
        return response.status == 429


@asynccontextmanager
async def viewers(node: Node, *addresses: str) -> AsyncIterator[list[RoomClient]]:
    clients = [RoomClient(node.url, ROOM, headers=of(address)) for address in addresses]
    try:
        for client in clients:
            await client.connect()
        yield clients
    finally:
        for client in clients:
            await client.close()


async def test_an_address_has_so_many_connections_and_others_have_theirs(
    start_node: StartNode,
) -> None:
    node = await behind_a_proxy(start_node, connections_per_address=3)
    async with viewers(node, HERE, HERE, HERE, THERE) as clients:
        assert await is_refused(node, HERE)
        assert not await is_refused(node, THERE)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with viewers(node, HERE):
                pass
        assert refused.value.status == 429
        # Who leaves leaves a place.
        await clients[0].close()
        async with asyncio.timeout(PATIENCE):
            while await is_refused(node, HERE):
                await asyncio.sleep(0.01)
        assert await clients[3].expect("state")


async def test_without_a_setting_one_address_gets_half_of_a_node(start_node: StartNode) -> None:
    node = await behind_a_proxy(start_node, viewers_per_node=4)
    async with viewers(node, HERE, HERE, THERE):
        assert await is_refused(node, HERE)
        assert not await is_refused(node, THERE)


async def test_the_addresses_of_one_ipv6_network_count_as_one(start_node: StartNode) -> None:
    node = await behind_a_proxy(start_node, connections_per_address=2)
    async with viewers(node, "2001:db8:1:2::1", "2001:db8:1:2:3::ffff"):
        assert await is_refused(node, "2001:db8:1:2:abcd::")
        assert not await is_refused(node, "2001:db8:1:3::1")
    async with viewers(node, HERE, f"::ffff:{HERE}"):
        assert await is_refused(node, HERE)


async def test_who_asks_from_the_machine_itself_has_no_limit(start_node: StartNode) -> None:
    node = await behind_a_proxy(start_node, connections_per_address=1, uploads_per_second=0.001)
    async with viewers(node, *["127.0.0.1"] * 5):
        for _ in range(5):
            await node.put(table(3))


async def test_what_a_stranger_says_of_its_address_is_not_believed(start_node: StartNode) -> None:
    node: Node = await start_node(connections_per_address=1)
    async with viewers(node, HERE, HERE):
        assert not await is_refused(node, HERE), "it comes from the machine itself"
    node = await behind_a_proxy(start_node, connections_per_address=1)
    async with viewers(node, HERE):
        # A proxy adds what it saw at the end; what stands before it is the stranger's own word.
        assert await is_refused(node, f"{THERE}, {HERE}")
        assert not await is_refused(node, f"{HERE}, {THERE}")


async def test_an_address_begins_so_many_uploads_by_whatever_door(start_node: StartNode) -> None:
    node = await behind_a_proxy(start_node, uploads_per_second=0.05)
    await node.put(table(3), headers=of(HERE))
    async with viewers(node, HERE, THERE) as (here, there):
        await here.upload("a.tsv", table(4))
        await node.put(table(5), headers=of(HERE))
        problem = await node.refusal(
            "PUT",
            f"/api/rooms/{ROOM}/document",
            429,
            "rate_limited",
            data=table(6),
            headers=of(HERE),
        )
        assert "from your address" in problem["detail"]
        await here.say("upload", name="b.tsv", size=9)
        assert (await here.expect_error("rate_limited"))["about"] == "upload"
        await there.upload("c.tsv", table(7))
        await here.settles(lambda client: client.page.get("total_number") == 7)


@asynccontextmanager
async def gated(most: int) -> AsyncIterator[tuple[int, Gate]]:
    """A node with so many places; its port."""
    app = make_app(Settings())
    app[GATE]._most = most
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        await app[GATE].listen(runner, "127.0.0.1", 0, backlog=128)
        yield runner.addresses[0][1], app[GATE]
    finally:
        await runner.cleanup()


async def test_when_all_places_are_taken_the_silent_give_up_theirs() -> None:
    async with gated(20) as (port, gate):
        silent = [await Raw.open(port) for _ in range(20)]
        async with asyncio.timeout(PATIENCE):
            while gate.silent < 20:
                await asyncio.sleep(0.01)
        async with RoomClient(f"http://127.0.0.1:{port}", ROOM) as viewer:
            await viewer.expect("state")
            assert await silent[0].all() == b""
        for raw in silent:
            raw.reset()


async def test_when_all_places_are_taken_by_viewers_newcomers_are_told_to_try_elsewhere() -> None:
    async with gated(3) as (port, _):
        url = f"http://127.0.0.1:{port}"
        clients = [RoomClient(url, ROOM) for _ in range(3)]
        for client in clients:
            await client.connect()
        async with await Raw.open(port) as raw:
            told = await raw.all()
            assert told.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1" in told
        await clients[0].close()
        async with asyncio.timeout(PATIENCE):
            while True:
                async with await Raw.open(port) as raw:
                    raw.send(b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                    if b" 200 " in await raw.all():
                        break
        for client in clients:
            await client.close()


class Slow:
    """A transport that is still sending."""

    def __init__(self, unsent: list[int]) -> None:
        self.unsent = unsent
        self.gone = False

    def get_write_buffer_size(self) -> int:
        return self.unsent.pop(0) if len(self.unsent) > 1 else self.unsent[0]

    def is_closing(self) -> bool:
        return self.gone

    def abort(self) -> None:
        self.gone = True


async def test_an_answer_that_is_still_being_taken_is_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.accept.edge.gate.WATCH_INTERVAL", 0.01)
    gate = Gate(0.001, 10)
    taking: Any = Slow([*range(100, -1, -1)])
    stuck: Any = Slow([50])
    for transport in (taking, stuck):
        gate.ends(transport)
    watch = asyncio.create_task(gate.watch())
    try:
        async with asyncio.timeout(PATIENCE):
            while not stuck.gone:
                await asyncio.sleep(0)
            assert not taking.gone
            while not taking.gone:
                await asyncio.sleep(0.01)
        assert taking.unsent == [0]
    finally:
        watch.cancel()


async def test_neither_is_one_in_slices_of_which_as_much_is_unsent_as_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.accept.edge.gate.WATCH_INTERVAL", 0.01)
    gate = Gate(0.2, 10)
    steady: Any = Slow([SLICE])
    answer = Parts([bytes(20 * SLICE)], content_type="text/plain")
    written: list[int] = []

    async def prepare(request: web.Request) -> None:
        pass

    async def write(data: memoryview) -> None:
        await asyncio.sleep(0.05)  # until there is room for it again
        written.append(len(data))

    async def write_eof(response: web.StreamResponse) -> None:
        pass

    monkeypatch.setattr(answer, "prepare", prepare)
    monkeypatch.setattr(answer, "write", write)
    monkeypatch.setattr(web.StreamResponse, "write_eof", write_eof)
    request: Any = type("Request", (), {"method": "GET"})
    gate.ends(steady)
    watch = asyncio.create_task(gate.watch())
    try:
        async with asyncio.timeout(PATIENCE):
            await send(request, answer, partial(gate.ends, steady))
            assert (written, steady.gone) == ([SLICE] * 20, False)
            while not steady.gone:
                await asyncio.sleep(0.01)
    finally:
        watch.cancel()


def test_reads_grow_while_they_are_little_work_and_whatever_one_of_them_was() -> None:
    transport: Any = type("Reading", (), {"max_size": gates.FIRST_READ})()
    fit_reads(transport, 500, 2 * gates.READ_TIME)
    assert transport.max_size == gates.LEAST_READ
    for _ in range(10):
        fit_reads(transport, transport.max_size, 0.0)
    assert transport.max_size == gates.MOST_READ
    fit_reads(transport, gates.FIRST_READ + 1, 0.0)  # no more had come
    assert transport.max_size == gates.MOST_READ
    fit_reads(transport, gates.MOST_READ, 2 * gates.READ_TIME)
    assert transport.max_size == gates.MOST_READ // 8
    fit_reads(transport, transport.max_size, gates.READ_TIME / 2)
    assert transport.max_size == gates.MOST_READ // 8
