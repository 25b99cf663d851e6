"""The clients of the original chat: all are in the lobby, where others can be too."""

from __future__ import annotations

import json
import uuid

import pytest

from server.accept.chat import say
from server.app import BACKEND, HUB
from server.document.messages import Person
from server.fanout.backend import LOBBY
from tests.accept.client import Node
from tests.accept.conftest import StartNode
from tests.original_client import ChatClient, TableClient
from tests.room_client import table


def message(id: str, html: str) -> str:
    return f'<div class="message" id="m{id}">{html}</div>'


async def test_what_is_said_is_told_to_everyone_as_text_and_as_one_element(
    any_node: Node,
) -> None:
    async with ChatClient(any_node.url) as sender, ChatClient(any_node.url) as other:
        await sender.say("Hello there")
        told = await sender.next()
        assert told["body"] == "Hello there"
        assert str(uuid.UUID(told["id"])) == told["id"]
        assert told["html"] == message(told["id"], "Hello there")
        assert await other.next() == told
        assert await sender.quiet() == await other.quiet() == []


async def test_markup_is_text_and_addresses_are_links(node: Node) -> None:
    link = '<a href="%s" rel="noopener noreferrer nofollow" target="_blank">%s</a>'
    safe = {
        "<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
        '</div><div id="x">': "&lt;/div&gt;&lt;div id=&#34;x&#34;&gt;",
        "a & b\nc": "a &amp; b<br>c",
        "javascript:alert(1)": "javascript:alert(1)",
        "see www.example.com/a?b=1&c=2": "see "
        + link % ("https://www.example.com/a?b=1&amp;c=2", "www.example.com/a?b=1&amp;c=2"),
        "http://example.com": link % ("http://example.com", "http://example.com"),
    }
    async with ChatClient(node.url) as client:
        for body, html in safe.items():
            await client.say(body)
            told = await client.next()
            assert told["body"] == body
            assert told["html"] == message(told["id"], html)


async def test_a_newcomer_is_told_the_last_two_hundred_messages_each_by_itself(
    any_node: Node,
) -> None:
    person = Person(id="", name="Somebody")
    for number in range(205):
        id = str(uuid.uuid4())
        await say(any_node.app[BACKEND], LOBBY, id=id, body=f"n {number}", person=person)
    async with ChatClient(any_node.url) as first, ChatClient(any_node.url, compress=15) as late:
        for client in (first, late):
            told = [await client.next() for _ in range(200)]
            assert [each["body"] for each in told] == [f"n {n}" for n in range(5, 205)]
        assert await late.quiet() == []
        await late.say("the newest")
        await first.hears("the newest")
        assert len({each["id"] for each in first.seen}) == 201


@pytest.mark.parametrize(
    "refused",
    [
        *('{"body": ""}', '{"body": " \\n\\t\\u200b"}', '{"body": 5}', '{"text": "a"}', "{}", "[]"),
        *("nonsense", '"body"', "null", "[" * 50_000, '{"body": "\\ud800"', ""),
        json.dumps({"body": "x" * 4_001}),
        b'{"body": "bytes"}',
    ],
    ids=lambda refused: f"{refused[:20]!r}",
)
async def test_what_cannot_be_said_is_passed_over(node: Node, refused: str | bytes) -> None:
    async with ChatClient(node.url) as client:
        await client.send(refused)
        assert await client.quiet() == []
        await client.send('{"body": "Hello", "_xsrf": "a field of another program"}')
        assert (await client.next())["body"] == "Hello"


async def test_four_thousand_characters_can_be_said(node: Node) -> None:
    async with ChatClient(node.url) as client:
        await client.say("ä" * 4_000)
        assert (await client.next())["body"] == "ä" * 4_000


async def test_whoever_talks_too_fast_is_passed_over(node: Node) -> None:
    async with ChatClient(node.url) as client:
        for number in range(60):
            await client.say(f"n {number}")
        told = await client.quiet()
        assert len(told) < 30
        async with ChatClient(node.url) as other:
            await other.say("I was patient")
            await client.hears("I was patient")


async def test_who_says_nothing_sensible_or_too_much_is_sent_away(node: Node) -> None:
    async with ChatClient(node.url) as client:
        for _ in range(100):
            await client.send("nonsense")
        assert await client.ends() == 1008
    async with ChatClient(node.url) as client:
        await client.send(" " * (64 * 1024))
        assert await client.quiet() == []
        await client.send(" " * (64 * 1024 + 1))
        assert await client.ends() == 1009


async def test_the_lobby_is_a_room_like_others(any_node: Node) -> None:
    viewer = await any_node.join(LOBBY)
    async with ChatClient(any_node.url) as client:
        here = await viewer.until(lambda m: m["type"] == "here" and m["count"] == 2)
        assert "An original client" in [person["name"] for person in here["people"]]
        await client.say("from before")
        chat = await viewer.until(lambda m: m["type"] == "chat" and m["messages"] != [])
        (said,) = chat["messages"]
        told = await client.next()
        assert {name: said[name] for name in told} == told
        assert said["name"] == "An original client"
        id = str(uuid.uuid4())
        await viewer.say("chat", id=id, body="from today")
        assert (await client.hears("from today"))["id"] == id
        options = {"json": {"body": "by program", "name": "Program"}}
        async with any_node.http.post(f"/api/rooms/{LOBBY}/chat", **options) as answer:
            assert answer.status == 201
        await client.hears("by program")


async def test_who_chats_is_told_of_no_table_and_who_looks_at_one_of_no_chat(node: Node) -> None:
    async with ChatClient(node.url) as chatter, TableClient(node.url, LOBBY) as onlooker:
        await onlooker.send(table(250))
        await onlooker.next()
        await onlooker.send("2")
        await onlooker.shows(2)
        assert await chatter.quiet() == []
        await chatter.say("nice")
        await chatter.next()
        assert await onlooker.quiet() == []


async def test_nobody_can_own_or_end_the_lobby(node: Node) -> None:
    await node.refusal("DELETE", f"/api/rooms/{LOBBY}", 409, "no_key")
    await node.refusal("PUT", f"/api/rooms/{LOBBY}/life", 409, "no_key", json={"seconds": 60})


async def test_chatters_are_sent_away_without_a_word_and_asked_for_signs_of_life(
    start_node: StartNode,
) -> None:
    node = await start_node(heartbeat=1.0)
    async with ChatClient(node.url) as client:
        await client.until_pinged()
        await node.app[HUB].drain(0.1)
        assert await client.ends() == 1001
        assert client.seen == []
