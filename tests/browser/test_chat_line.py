"""Messages on their way: without a connection, after a refusal, over a reload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.browser.rooms import Message, Wire, open_window, put_table
from tests.browser.talk import chat, entry, hears, say, texts, title_is
from tests.browser.window import Window, until
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes, pytest.mark.slow]


@pytest_asyncio.fixture(loop_scope="session")
async def room(node: Node) -> str:
    """The address of a room with a table."""
    return await put_table(node, table(300))


async def nothing_is_on_its_way(window: Window) -> None:
    await window.page.wait_for_function("() => !document.querySelector('#outbox').children.length")


def refusal(id: str) -> Message:
    error = {"type": "error", "code": "unavailable", "retry": True, "about": "chat"}
    return error | {"id": id, "message": "The storage is away."}


async def test_what_is_said_without_a_connection_is_sent_once_when_it_is_back(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    there = await open_window(new_window, room)
    wire.held = {"chat"}
    await say(here, "said before the line went")
    await here.page.wait_for_selector("#outbox [data-state=pending]")
    await here.page.context.set_offline(True)
    await here.page.wait_for_selector("#status[data-state=reconnecting]", state="attached")
    await say(here, "said without a line")
    await here.page.wait_for_selector("#outbox .said:nth-child(2)[data-state=pending]")
    when = await here.page.eval_on_selector_all("#outbox .when", "all => all.map(e => e.innerText)")
    assert when == ["waiting for the connection"] * 2
    wire.held = set()
    await here.page.context.set_offline(False)
    await hears(there, "said without a line")
    assert await texts(there) == ["said before the line went", "said without a line"]
    await nothing_is_on_its_way(here)
    ids = [message["id"] for message in wire.sent_of("chat")]
    assert len(ids) == 3
    assert ids[0] == ids[1]


async def test_a_message_that_was_refused_can_be_sent_again_or_discarded(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    wire.held = {"chat"}
    for text in ["first", "second"]:
        await say(here, text)
    await until(lambda: len(wire.sent_of("chat")) == 2)
    for message in wire.sent_of("chat"):
        wire.tell(refusal(message["id"]))
    await here.page.wait_for_selector("#outbox .said:nth-child(2)[data-state=failed]")
    assert "The storage is away." in await here.page.inner_text("#outbox .said:first-child")
    # It is told once, where the message is.
    assert await here.page.is_hidden("#notice")
    wire.held = set()
    await here.page.click("#outbox .said:first-child [data-action=retry-message]")
    await hears(here, "first")
    await here.page.click("[data-action=discard-message]")
    await nothing_is_on_its_way(here)
    assert await texts(here) == ["first"]
    # The buttons are gone; the keys are where one goes on.
    assert await here.page.evaluate("document.activeElement.id") == "say-body"


async def test_haste_is_forgiven(new_window: Callable[..., Any], room: str) -> None:
    here = await open_window(new_window, room)
    for number in range(14):
        await say(here, f"quick {number}.")
    await hears(here, "quick", count=14)
    assert sorted(await texts(here)) == sorted(f"quick {number}." for number in range(14))
    assert await here.page.is_hidden("#notice")


async def test_a_reload_loses_no_message_that_was_not_confirmed(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    there = await open_window(new_window, room)
    wire.held = {"chat"}
    await say(here, "one that failed")
    await until(lambda: len(wire.sent_of("chat")) == 1)
    wire.tell(refusal(wire.sent_of("chat")[0]["id"]))
    await here.page.wait_for_selector("#outbox [data-state=failed]")
    await say(here, "one on its way")
    await until(lambda: len(wire.sent_of("chat")) == 2)
    wire.held = set()
    await here.page.reload()
    await here.live()
    await hears(there, "one on its way")
    await hears(here, "one on its way")
    # Under the id that it had, so that it is said once however often it was sent.
    _, before, after = wire.sent_of("chat")
    assert before["id"] == after["id"]
    # Its own words are no news to whoever said them.
    await title_is(here, "t.tsv · Tablecast")
    # The one that failed waits to be asked.
    failed = await here.page.inner_text("#outbox .said[data-state=failed]")
    assert "one that failed" in failed
    assert "The storage is away." in failed
    await here.do("retry-message")
    await hears(there, "one that failed")
    await nothing_is_on_its_way(here)
    await here.page.reload()
    await here.live()
    await hears(here, "one that failed")
    assert await texts(here) == await texts(there) == ["one on its way", "one that failed"]
    await nothing_is_on_its_way(here)
    # Another room of the same tab has nothing to do with it.
    assert len(wire.sent_of("chat")) == 4


async def test_a_message_that_was_said_while_its_page_was_loaded_anew_is_shown_once(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    there = await open_window(new_window, room)
    wire.muted = {"chat"}
    await say(here, "heard by all but one")
    await hears(there, "heard by all but one")
    await here.page.wait_for_selector("#outbox [data-state=pending]")
    await here.page.reload()
    await here.live()
    await nothing_is_on_its_way(here)
    assert await texts(here) == ["heard by all but one"]
    assert len(wire.sent_of("chat")) == 1


async def test_what_was_left_unsaid_long_ago_is_not_said_without_being_asked(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    wire.held = {"chat"}
    await say(here, "hours ago")
    await here.page.wait_for_selector("#outbox [data-state=pending]")
    await here.page.evaluate(
        """() => {
            const key = Object.keys(sessionStorage).find((key) => key.includes("unsaid"));
            const [message] = JSON.parse(sessionStorage.getItem(key));
            sessionStorage.setItem(key, JSON.stringify([{ ...message, at: message.at - 3600e3 }]));
        }"""
    )
    wire.held = set()
    await here.page.reload()
    await here.live()
    await here.page.wait_for_selector("#outbox [data-state=failed]")
    assert len(wire.sent_of("chat")) == 1
    await here.do("retry-message")
    await hears(here, "hours ago")


async def test_nothing_unsaid_is_kept_of_a_room_that_was_deleted(
    new_window: Callable[..., Any], node: Node
) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{node.url}/api/rooms") as answer:
            made = await answer.json()
        wire = Wire()
        here = await wire.open(new_window, made["url"])
        wire.held = {"chat"}
        await say(here, "too late")
        await here.page.wait_for_selector("#outbox [data-state=pending]")
        key = {"Authorization": f"Bearer {made['key']}"}
        async with session.delete(f"{node.url}/api/rooms/{made['uuid']}", headers=key) as answer:
            assert answer.status == 204
    await here.page.wait_for_selector("#status[data-state=deleted]", state="attached")
    await nothing_is_on_its_way(here)
    assert await here.page.evaluate("Object.keys(sessionStorage).length") == 0


async def test_a_window_that_is_behind_says_up_to_where_it_knows_the_chat(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    behind = {"type": "heartbeat", "epoch": "of another time", "rev": 1}
    wire.tell(behind)
    await until(lambda: len(wire.sent_of("sync")) == 1)
    assert wire.sent_of("sync")[0]["chat_id"] == ""
    await say(here, "something")
    await hears(here, "something")
    wire.tell(behind)
    await until(lambda: len(wire.sent_of("sync")) == 2)
    assert wire.sent_of("sync")[1]["chat_id"] == wire.sent_of("chat")[0]["id"]
    # An older message that comes late is not the last one.
    newest = entry("newest", 1_000_001)
    wire.tell(chat(newest))
    wire.tell(chat(entry("late", 1_000_000)))
    await hears(here, "late")
    wire.tell(behind)
    await until(lambda: len(wire.sent_of("sync")) == 3)
    assert wire.sent_of("sync")[2]["chat_id"] == newest["id"]
    # The node knows no such message, and tells the chat anew.
    await hears(here, "newest", count=0)
    assert await texts(here) == ["something"]


async def test_a_window_that_was_not_told_the_chat_yet_claims_nothing_about_it(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    wire.muted = {"chat"}
    await wire.open(new_window, room)
    wire.tell({"type": "heartbeat", "epoch": "of another time", "rev": 1})
    await until(lambda: len(wire.sent_of("sync")) == 1)
    assert "chat_id" not in wire.sent_of("sync")[0]
