"""Original clients on one node and today's viewers on another, over a real Redis: one room."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from server.fanout.backend import LOBBY
from tests.nodes.harness import Stack
from tests.original_client import ChatClient, TableClient
from tests.room_client import RoomClient, table

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two nodes and an Nginx for all tests here."""
    stack = Stack(tmp_path_factory.mktemp("stack"), nodes=2)
    asyncio.run(stack.__aenter__())
    yield stack
    stack.close()


@pytest.fixture
def room() -> str:
    return str(uuid.uuid4())


def row(number: int, name: str = "name") -> list[str]:
    return [str(number), f"{name} {number}.1", f"{name} {number}.2"]


async def test_a_table_is_shown_on_both_whoever_sent_it(stack: Stack, room: str) -> None:
    here, there = stack.nodes
    async with TableClient(here.url, room) as original, RoomClient(there.url, room) as viewer:
        await original.send(table(250))
        told = await original.next()
        assert (told["uuid"], told["total_number"]) == (room, 251)
        page = await viewer.shows(1)
        assert page["header"] == told["data"][0] == ["id", "name 1", "name 2"]
        assert page["data"][:99] == told["data"][1:]
        await viewer.settles(lambda v: v.registers["document"]["complete"])
        assert viewer.registers["document"]["by"]["name"] == "An original client"

        await viewer.upload("new.tsv", table(120, name="new"))
        told = await original.next()
        assert (told["page_no"], told["total_number"]) == (1, 121)
        assert told["data"][1:] == [row(number, "new") for number in range(1, 100)]
        assert len(original.seen) == 2


async def test_a_page_is_turned_on_both_whoever_turns_it(stack: Stack, room: str) -> None:
    here, there = stack.nodes
    async with (
        TableClient(here.url, room) as original,
        TableClient(there.url, room) as friend,
        RoomClient(there.url, room) as viewer,
    ):
        await original.send(table(950))
        await viewer.shows(1)
        await friend.shows(1)
        await original.shows(1)
        await original.send("4")
        page = await viewer.shows(4)
        assert page["data"][0] == row(300)
        assert (await original.next())["data"] == [row(number) for number in range(300, 400)]
        assert (await friend.next())["page_no"] == 4
        await viewer.say("page", page_no=10)
        page = await viewer.shows(10)
        assert page["data"][0] == row(901)
        for client in (original, friend):
            assert (await client.next())["data"] == [row(number) for number in range(900, 951)]
        # Whoever comes later, to either node, sees the same.
        for node in stack.nodes:
            async with TableClient(node.url, room) as late:
                assert await late.next() == original.seen[-1]


async def test_each_is_seen_to_be_there(stack: Stack, room: str) -> None:
    here, there = stack.nodes
    async with RoomClient(there.url, room) as viewer:
        async with TableClient(here.url, room):
            told = await viewer.until(lambda m: m["type"] == "here" and m["count"] == 2)
            assert "An original client" in [person["name"] for person in told["people"]]
        await viewer.until(lambda m: m["type"] == "here" and m["count"] == 1)


async def test_what_is_said_in_the_lobby_is_heard_on_both(stack: Stack) -> None:
    here, there = stack.nodes
    async with ChatClient(here.url) as original, RoomClient(there.url, LOBBY) as viewer:
        await original.say("from www.example.com")
        chat = await viewer.until(lambda m: m["type"] == "chat" and m["messages"] != [])
        (said,) = chat["messages"]
        told = await original.next()
        assert {name: said[name] for name in told} == told
        await viewer.say("chat", id=str(uuid.uuid4()), body="from today")
        await original.hears("from today")
        async with ChatClient(there.url) as late:
            await late.hears("from today")
            assert late.seen == original.seen


async def test_nginx_lets_them_through(stack: Stack) -> None:
    url = stack.url
    async with TableClient(url) as original:
        await original.send(table(90_000, name="a longer name"))
        told = await original.next()
        assert told["total_number"] == 90_001
        async with TableClient(url, told["uuid"]) as friend, ChatClient(url) as chatter:
            assert await friend.next() == told
            await chatter.say("through Nginx")
            await chatter.hears("through Nginx")
