"""An upload through Nginx whose node dies goes on on another one, and ends in the same bytes."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.nodes.harness import Stack
from tests.room_client import PATIENCE, Gone, Message, RoomClient, table

pytestmark = pytest.mark.timeout(120)

DATA = table(400_000, columns=4)  # some 18 MB
STEP = 200_000


class Sender:
    """Sends one file over as many connections as it takes, each to whatever node Nginx picks."""

    def __init__(self, url: str, room: str, data: bytes) -> None:
        self.data = data
        self.nodes: list[str] = []
        self.began_at: list[int] = []
        self._url = url
        self._room = room
        self._token: str | None = None
        self._id = ""

    async def connection(self) -> RoomClient:
        client = RoomClient(self._url, self._room)
        await client.connect()
        self.nodes.append(client.node)
        return client

    async def send(self, client: RoomClient, until: int) -> bool:
        """Begin or go on, and send up to byte `until`; False if the connection was lost before."""
        try:
            await client.say("upload", name="big.tsv", size=len(self.data), resume=self._token)
            ack = await client.until(lambda m: m["type"] == "ack")
            assert self._id in ("", ack["upload"])
            self._id, self._token, at = ack["upload"], ack["token"], ack["received"]
            self.began_at.append(at)
            while at < until:
                end = min(until, at + STEP)
                await client.say_raw(self.data[at:end])
                await client.until(lambda m, end=end: m["type"] == "ack" and m["received"] == end)
                at = end
            if until == len(self.data):
                await client.say("upload_end")
                await client.until(lambda m: m["type"] == "ack" and m["done"])
        except (Gone, ConnectionError):
            return False
        return True


def stored(watcher: RoomClient) -> int:
    """Bytes of the table that the room was told of."""
    return int((watcher.registers.get("document") or {}).get("stored", 0))


def steady(seen: list[Message]) -> list[int]:
    """How far the room was told the upload to be, each time; it never fell."""
    told = [m["set"]["upload"] for m in seen if m["type"] == "state" and m["set"].get("upload")]
    received = [upload["received"] for upload in told]
    assert received == sorted(received)
    assert len({upload["id"] for upload in told}) == 1
    return received


@pytest.mark.parametrize("how", ["killed", "stopped", "frozen"])
async def test_whatever_happens_to_its_nodes_the_file_ends_in_the_same_bytes(
    start_stack: Callable[..., Any], how: str
) -> None:
    stack: Stack = await start_stack(nodes=3, settings={"TABLECAST_UPLOAD_LEASE": "2s"})
    room = str(uuid.uuid4())
    sender = Sender(stack.url, room, DATA)
    frozen = None
    client = await sender.connection()
    # Whoever watches does so on a node that stays.
    staying = next(node for node in stack.nodes if node.name != sender.nodes[0])
    async with RoomClient(staying.url, room) as watcher:
        await sender.send(client, len(DATA) // 2)
        await watcher.settles(lambda v: stored(v) > len(DATA) // 4)
        doomed = stack.node(sender.nodes[-1])
        if how == "killed":
            doomed.kill()
        elif how == "stopped":
            await doomed.stop()
        else:
            doomed.pause()
            frozen = doomed
        for _ in range(20):
            await client.close()
            client = (
                await sender.connection() if frozen is None else await _not(sender, frozen.name)
            )
            if await sender.send(client, len(DATA)):
                break
        await client.close()
        if frozen is not None:
            # It wakes up, believes that the upload is its own, and changes nothing.
            frozen.resume()
            await frozen.wait_for(f"{frozen.url}/readyz")
        assert sender.nodes[-1] != doomed.name
        assert len(DATA) // 4 < sender.began_at[-1] <= len(DATA) // 2
        await watcher.settles(
            lambda v: v.registers.get("document", {}).get("complete") is True, 3 * PATIENCE
        )
        steady(watcher.seen)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{stack.url}/api/rooms/{room}/document") as answer:
                assert answer.status == 200
                digest = hashlib.sha256(await answer.read()).hexdigest()
            async with session.get(f"{stack.url}/api/rooms/{room}") as answer:
                registers = (await answer.json())["set"]
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert registers["document"]["rows"] == 400_000
    assert registers["document"]["report"]["ragged"] == 0
    assert registers.get("upload") is None


async def _not(sender: Sender, name: str) -> RoomClient:
    """A connection to another node; one that is frozen answers no handshake."""
    while True:
        client = RoomClient(sender._url, sender._room)
        try:
            await client.connect()
        except TimeoutError:
            await client.close()
            continue
        assert client.node != name
        sender.nodes.append(client.node)
        return client


async def test_the_table_comes_back_when_nobody_goes_on_with_the_upload_of_a_killed_node(
    start_stack: Callable[..., Any],
) -> None:
    stack: Stack = await start_stack(
        nodes=2,
        settings={"TABLECAST_UPLOAD_LEASE": "2s", "TABLECAST_UPLOAD_PAUSE": "3s"},
    )
    room = str(uuid.uuid4())
    doomed, staying = stack.nodes
    async with aiohttp.ClientSession() as session:
        url = f"{staying.url}/api/rooms/{room}/document"
        async with session.put(url, params={"name": "old.tsv"}, data=table(300)) as answer:
            old = (await answer.json())["id"]
    sender = Sender(doomed.url, room, DATA)
    async with RoomClient(staying.url, room) as watcher:
        client = await sender.connection()
        await sender.send(client, len(DATA) // 4)
        await watcher.settles(lambda v: stored(v) > len(DATA) // 8)
        doomed.kill()
        await client.close()
        await watcher.settles(lambda v: (v.registers.get("upload") or {}).get("paused") is True)
        await watcher.settles(lambda v: v.registers["upload"] is None)
        assert watcher.registers["document"]["id"] == old
        await watcher.settles(lambda v: v.page["document"] == old)
