"""What is said in a room: by the socket, by programs, by a form; in order, once, and bounded."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import secrets
import uuid
from typing import Any

import pytest

from server.fanout import memory as in_memory
from server.fanout.memory import MemoryStore
from tests.accept.client import OTHER, ROOM, Node, SocketClient, memory
from tests.accept.conftest import StartNode
from tests.accept.owned import owned_room
from tests.room_client import PATIENCE, Message, table

CHAT = f"/api/rooms/{ROOM}/chat"
FORM = "application/x-www-form-urlencoded"
ID = "0190a3b2-0000-4000-8000-000000000001"
NEVER = 1e-6  # messages a second
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too fast."""
    _set_rates(monkeypatch, 1e6, 1e6)


@pytest.fixture
def no_refill(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a burst of ten there is no more, however slow the machine is."""
    _set_rates(monkeypatch, NEVER, 10)


def _set_rates(monkeypatch: pytest.MonkeyPatch, rate: float, burst: float) -> None:
    for module in ("chat", "meeting"):
        monkeypatch.setattr(f"server.accept.{module}.RATE", rate)
        monkeypatch.setattr(f"server.accept.{module}.BURST", burst)


async def say(viewer: SocketClient, body: Any, id: Any = None) -> str:
    """Send a message; its id."""
    id = str(uuid.uuid4()) if id is None else id
    await viewer.say("chat", id=id, body=body)
    return str(id)


def talk(viewer: SocketClient) -> list[Message]:
    """The messages that a client has which does as docs/PROTOCOL.md says."""
    known: dict[str, Message] = {}
    for told in viewer.seen:
        if told["type"] == "chat":
            known = {} if told["whole"] else known
            known |= {message["id"]: message for message in told["messages"]}
    return list(known.values())


async def hears(viewer: SocketClient, id: str) -> Message:
    """Wait until a viewer has the message with this id."""
    await viewer.settles(lambda v: any(message["id"] == id for message in talk(v)))
    return next(message for message in talk(viewer) if message["id"] == id)


async def post(node: Node, body: str, **fields: Any) -> tuple[int, Message]:
    async with node.http.post(CHAT, json={"body": body, **fields}) as response:
        return response.status, await response.json()


async def kept(node: Node) -> list[Message]:
    async with node.http.get(CHAT) as response:
        return list((await response.json())["messages"])


# Everyone hears the same


async def test_everyone_hears_what_is_said_and_by_whom(any_node: Node) -> None:
    otter, other = await any_node.join(), await any_node.join()
    await otter.say("me", name="Otter", color=3)
    id = await say(otter, "Look at r1203\n<b>now</b>")
    messages = [await hears(viewer, id) for viewer in (otter, other)]
    assert messages[0] == messages[1]
    said = messages[0]
    assert set(said) == {"id", "rev", "name", "color", "time", "body", "html"}
    assert (said["name"], said["color"]) == ("Otter", 3)
    assert said["body"] == "Look at r1203\n<b>now</b>"
    assert said["html"] == (
        f'<div class="message" id="m{id}">Look at <a class="ref" href="#r1203">r1203</a>'
        "<br>&lt;b&gt;now&lt;/b&gt;</div>"
    )
    late = await any_node.join()
    assert await hears(late, id) == said
    assert await kept(any_node) == [said]


async def test_all_nodes_have_one_order(start_node: StartNode) -> None:
    store = MemoryStore()
    nodes = [await start_node(memory(store)) for _ in range(2)]
    viewers = [await node.join() for node in nodes for _ in range(3)]
    ids = await asyncio.gather(
        *(say(viewer, f"{who}.{n}") for who, viewer in enumerate(viewers) for n in range(8))
    )
    for viewer in viewers:
        await viewer.settles(lambda v: len(talk(v)) == len(ids))
    said = talk(viewers[0])
    assert {message["id"] for message in said} == set(ids)
    assert [message["rev"] for message in said] == sorted(message["rev"] for message in said)
    late = [await node.join() for node in nodes]
    for viewer in late:
        await hears(viewer, said[-1]["id"])
    assert all(talk(viewer) == said for viewer in (*viewers, *late))
    assert [await kept(node) for node in nodes] == [said, said]
    # What one person says stays in the order in which it was said.
    for who in range(len(viewers)):
        own = [each["body"] for each in said if each["body"].startswith(f"{who}.")]
        assert own == [f"{who}.{n}" for n in range(8)]


@pytest.mark.usefixtures("unhurried")
async def test_a_newcomer_gets_the_last_200_messages(any_node: Node) -> None:
    for number in range(210):
        status, _ = await post(any_node, f"message {number}")
        assert status == 201
    viewer = await any_node.join()
    whole = await viewer.expect("chat", whole=True)
    assert [each["body"] for each in whole["messages"]] == [f"message {n}" for n in range(10, 210)]
    assert whole["rev"] == whole["messages"][-1]["rev"] == viewer.rev
    assert await kept(any_node) == whole["messages"]


async def test_a_message_by_any_door_is_heard_at_all_doors(any_node: Node) -> None:
    viewer = await any_node.join()
    status, told = await post(any_node, "by a program", name="Clock", color=7, id=ID)
    assert (status, told["id"], told["name"], told["color"]) == (201, ID, "Clock", 7)
    assert await hears(viewer, ID) == told
    form = {"body": "by a form\r\nof two lines", "name": "Heron"}
    async with any_node.http.post(CHAT, data=form, allow_redirects=False) as response:
        assert response.status == 303
        place = response.headers["Location"]
    await viewer.settles(lambda v: len(talk(v)) == 2)
    said = talk(viewer)[1]
    assert place == f"/t/{ROOM}#m{said['id']}"
    assert (said["name"], said["body"]) == ("Heron", "by a form\nof two lines")
    async with any_node.http.get(f"/t/{ROOM}") as response:
        page = await response.text()
    assert said["html"] in page


async def test_rooms_do_not_hear_each_other(node: Node) -> None:
    viewer, elsewhere = await node.join(), await node.join(OTHER)
    await hears(viewer, await say(viewer, "hello"))
    await elsewhere.until_quiet()
    assert talk(elsewhere) == []


# Once


async def test_a_message_that_is_sent_again_is_said_once(any_node: Node) -> None:
    viewer, other = await any_node.join(), await any_node.join()
    said = await hears(viewer, await say(viewer, "hello", ID))
    await hears(other, ID)
    before = len(viewer.seen)
    await say(viewer, "hello", ID)
    again = await viewer.expect("chat")
    assert (again["whole"], again["messages"]) == (False, [said])
    assert len(viewer.seen) > before
    await other.until_quiet()
    assert len([told for told in other.seen if told["type"] == "chat" and told["messages"]]) == 1
    assert await kept(any_node) == [said]
    assert await post(any_node, "hello", id=ID) == (200, said)


async def test_nobody_changes_what_another_has_said(any_node: Node) -> None:
    viewer, liar = await any_node.join(), await any_node.join()
    said = await hears(viewer, await say(viewer, "the truth", ID))
    await hears(liar, ID)
    await liar.say("me", name="Somebody else")
    await say(liar, "a lie", ID)
    assert (await liar.expect("chat"))["messages"] == [said]
    assert await post(any_node, "a lie", id=ID, name="Somebody else") == (200, said)
    assert await kept(any_node) == [said]


@pytest.mark.usefixtures("unhurried")
async def test_a_message_that_is_kept_no_longer_is_not_said_again_either(node: Node) -> None:
    viewer = await node.join()
    await hears(viewer, await say(viewer, "long ago", ID))
    for number in range(200):
        await post(node, f"message {number}")
    await say(viewer, "long ago", ID)
    again = await viewer.until(
        lambda m: m["type"] == "chat" and [each["id"] for each in m["messages"]] == [ID]
    )
    assert again["messages"][0]["body"] == "long ago"
    assert ID not in {message["id"] for message in await kept(node)}


# What is refused


LONG = "x" * 4_000


async def test_a_message_may_have_4000_characters(any_node: Node) -> None:
    viewer = await any_node.join()
    assert viewer.hello["limits"]["chat_characters"] == 4000
    for body in (LONG, "🦦" * 4000):
        assert (await hears(viewer, await say(viewer, body)))["body"] == body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "blank_message"),
        (" \t\r\n ", "blank_message"),
        ("\u200b\u202e\u2066\ufeff", "blank_message"),
        ("\x00\x07", "blank_message"),
        (LONG + "x", "too_large"),
        ("🦦" * 4001, "too_large"),
        (None, "bad_message"),
        (5, "bad_message"),
        (["hello"], "bad_message"),
        ({"body": "hello"}, "bad_message"),
    ],
    ids=repr,
)
async def test_what_cannot_be_said_is_refused_by_its_id(node: Node, body: Any, code: str) -> None:
    viewer, other = await node.join(), await node.join()
    await say(viewer, body, ID)
    error = await viewer.expect("error")
    assert (error["code"], error["about"], error["id"]) == (code, "chat", ID)
    assert error["retry"] is False
    assert error["message"].endswith(".")
    if isinstance(body, str):
        problem = await node.refusal("POST", CHAT, *_status(code), json={"body": body})
        assert problem["detail"] == error["message"]
    await other.until_quiet()
    assert talk(other) == await kept(node) == []
    await hears(viewer, await say(viewer, "and this is said", ID))


async def test_what_finds_no_room_is_refused_by_its_id(start_node: StartNode) -> None:
    node = await start_node(memory(storage_limit=100))
    viewer = await node.join()
    await say(viewer, "x" * 200, ID)
    error = await viewer.expect("error")
    assert (error["code"], error["about"], error["id"]) == ("storage_full", "chat", ID)
    assert error["retry"] is True
    await node.refusal("POST", CHAT, 507, "storage_full", json={"body": "x" * 200})
    assert talk(viewer) == await kept(node) == []


async def test_what_was_said_is_not_said_by_another_when_its_request_is_forgotten(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_memory, "REQUEST_LIFE", 0)
    node = await start_node(memory())
    viewer = await node.join()
    await hears(viewer, await say(viewer, "hers", ID))
    assert await post(node, "his", id=ID, name="Eve") == (200, (await kept(node))[0])
    assert [message["body"] for message in await kept(node)] == ["hers"]


def _status(code: str) -> tuple[int, str]:
    return {"blank_message": 422, "too_large": 413}[code], code


@pytest.mark.parametrize(
    "id",
    ["", "1", ID[:-1], ID + "0", ID.replace("-", ""), "{" + ID + "}", ID.upper(), "x" * 5000],
)
async def test_an_id_that_is_no_uuid_is_refused(node: Node, id: str) -> None:
    viewer = await node.join()
    id = id if id != ID.upper() else "0190A3B2-0000-4000-8000-00000000000A"
    await say(viewer, "hello", id)
    error = await viewer.expect("error")
    assert (error["code"], error["about"], error["id"]) == ("bad_message", "chat", id)
    await node.refusal("POST", CHAT, 400, "bad_message", json={"body": "hello", "id": id})
    assert await kept(node) == []


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "chat"}',
        '{"type": "chat", "body": "hello"}',
        '{"type": "chat", "id": 5, "body": "hello"}',
        '{"type": "chat", "id": {"a": [1]}, "body": "hello"}',
        '{"type": "chat", "id": null, "body": null}',
        f'{{"type": "chat", "id": "{LONG}", "body": 1{"0" * 4000}}}',
    ],
)
async def test_a_malformed_message_is_refused_as_one_of_the_chat(node: Node, text: str) -> None:
    viewer = await node.join()
    await viewer.say_raw(text)
    error = await viewer.expect_error("bad_message")
    assert error["about"] == "chat"
    assert "id" not in error


@pytest.mark.parametrize("text", ["[" * 30_000, '{"type":"chat","x":' + "[" * 30_000])
async def test_what_is_nested_without_end_is_nonsense_and_no_fault_of_the_server(
    node: Node, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    viewer = await node.join()
    closed = text + "]" * 30_000 + "}" * text.startswith("{")
    for each in (text, closed):
        await viewer.say_raw(each)
        await viewer.expect_error("bad_message")
        headers = {"Content-Type": "application/json"}
        await node.refusal("POST", CHAT, 400, "bad_message", data=each, headers=headers)
    assert caplog.text == ""


async def test_half_a_character_is_left_out_or_refused_but_never_told(node: Node) -> None:
    viewer, other = await node.join(), await node.join()
    await viewer.say_raw(f'{{"type": "chat", "id": "{ID}", "body": "a\\ud800b"}}')
    told = await viewer.until(
        lambda m: m["type"] == "error" or (m["type"] == "chat" and bool(m["messages"])), errors=True
    )
    assert told["type"] == "error" or told["messages"][0]["body"] == "ab"
    await hears(other, await say(viewer, "and this is said"))


async def test_no_field_of_a_message_is_believed_but_its_words(node: Node) -> None:
    viewer, other = await node.join(), await node.join()
    await viewer.say("me", name="Otter", color=3)
    lies = {"name": "Heron", "color": 9, "time": 5, "rev": 10**6, "html": "<b>x</b>", "viewer": "x"}
    await viewer.say("chat", id=ID, body="hello", **lies)
    said = await hears(other, ID)
    assert (said["name"], said["color"]) == ("Otter", 3)
    assert said["time"] > 10**12
    assert said["rev"] < 10
    assert "<b>" not in said["html"]


# Forms


async def test_a_form_that_is_refused_is_answered_with_a_page(node: Node) -> None:
    for body, status, words in (
        (" ", 422, "nothing to be seen"),
        ("x" * 4001, 413, "4,001 characters"),
        ("&" * 3, 422, "nothing to be seen"),
    ):
        headers = {"Accept": "text/html", "Content-Type": FORM}
        data = body if body.startswith("&") else f"body={body}".replace(" ", "+")
        async with node.http.post(CHAT, data=data, headers=headers) as response:
            assert (response.status, response.content_type) == (status, "text/html")
            assert words in await response.text()
    assert await kept(node) == []


async def test_json_that_calls_itself_a_form_as_curl_does_is_json(node: Node) -> None:
    viewer = await node.join()
    headers = {"Content-Type": FORM}
    text = '{"body": "1 = 1 & body=2", "name": "Bot"}'
    async with node.http.post(CHAT, data=text, headers=headers) as response:
        assert response.status == 201
        assert (await response.json())["body"] == "1 = 1 & body=2"
    await viewer.settles(lambda v: [each["name"] for each in talk(v)] == ["Bot"])
    async with node.http.post(CHAT, data=b"{hi}", headers=headers) as response:
        assert (response.status, (await response.json())["code"]) == (400, "bad_message")
    headers["Origin"] = "https://elsewhere.example"
    async with node.http.post(CHAT, data=text, headers=headers) as response:
        assert response.status == 403
    # In a form a brace is written otherwise.
    async with node.http.post(CHAT, data={"body": "{}"}, allow_redirects=False) as response:
        assert response.status == 303


async def test_a_form_for_a_deleted_room_is_answered_with_a_page(node: Node) -> None:
    room = await owned_room(node, "open")
    await room.ask("DELETE")
    headers = {"Accept": "text/html", "Content-Type": FORM}
    async with node.http.post(f"{room.api}/chat", data="body=hello", headers=headers) as response:
        assert (response.status, response.content_type) == (410, "text/html")
        assert "deleted this room" in await response.text()


async def test_a_form_of_very_many_fields_is_refused(node: Node) -> None:
    headers = {"Content-Type": FORM}
    await node.refusal("POST", CHAT, 400, "bad_message", data="a=1&" * 5000, headers=headers)
    await node.refusal("POST", CHAT, 413, "too_large", data="body=" + "x" * 70_000, headers=headers)


# Too fast


@pytest.mark.usefixtures("no_refill")
async def test_ten_messages_may_come_at_once_and_no_more(node: Node) -> None:
    viewer, other = await node.join(), await node.join()
    for number in range(10):
        await hears(other, await say(viewer, f"message {number}"))
    id = await say(viewer, "one too many")
    error = await viewer.expect_error("rate_limited")
    assert (error["about"], error["id"], error["retry"]) == ("chat", id, True)
    # What is refused was not said, so it can be sent again; and others are not held back.
    await hears(viewer, await say(other, "from another"))
    assert id not in {message["id"] for message in await kept(node)}


@pytest.mark.usefixtures("no_refill")
async def test_programs_at_one_address_share_a_limit(start_node: StartNode) -> None:
    node = await start_node(trusted_proxies=LOOPBACK)

    async def status(address: str, data: dict[str, str] | None = None) -> int:
        headers = {"X-Forwarded-For": address}
        body: dict[str, Any] = {"json": {"body": "hello"}} if data is None else {"data": data}
        options = {**body, "headers": headers, "allow_redirects": False}
        async with node.http.post(CHAT, **options) as response:
            if response.status == 429:
                assert (await response.json())["code"] == "rate_limited"
                assert response.headers["Retry-After"] == "1"
            return int(response.status)

    assert [await status("192.0.2.1") for _ in range(9)] == [201] * 9
    assert await status("192.0.2.1", {"body": "by a form"}) == 303
    assert await status("192.0.2.1") == 429
    assert await status("192.0.2.1", {"body": "by a form"}) == 429
    assert await status("198.51.100.7, 192.0.2.1") == 429
    assert await status("192.0.2.2") == 201
    assert len(await kept(node)) == 11


@pytest.mark.usefixtures("no_refill")
async def test_no_program_gets_around_the_limit_by_a_header(node: Node) -> None:
    for number in range(10):
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        async with node.http.post(CHAT, json={"body": "hello"}, headers=headers) as response:
            assert response.status == 201
    headers = {"X-Forwarded-For": "192.0.2.99"}
    await node.refusal("POST", CHAT, 429, "rate_limited", json={"body": "hi"}, headers=headers)


# Ten thousand messages in a burst


async def flood(viewer: SocketClient, count: int, between: str = "") -> None:
    """Send `count` messages as fast as they are taken, and read until the last one is answered.

    With another message after each of them; without, until the connection ends.
    """
    last = str(uuid.uuid4())
    patience = 4 * PATIENCE

    async def read() -> None:
        if between:
            await viewer.until(lambda m: m.get("id") == last, patience, errors=True)
        else:
            await viewer.ends(patience)

    reading = asyncio.create_task(read())
    with contextlib.suppress(ConnectionError):
        for number in range(1, count + 1):
            # Not to be compressed: dust is nothing that the socket takes at all.
            body = f"{number} {secrets.token_hex(250)}"
            await say(viewer, body, last if number == count else None)
            if between:
                await viewer.say(between)
            if number % 100 == 0:
                await asyncio.sleep(0)
    await reading
    await viewer.close()


@pytest.mark.usefixtures("no_refill")
async def test_whoever_only_floods_is_refused_and_then_sent_away(node: Node) -> None:
    await node.put(table(1000))
    flooder, other = await node.join(), await node.join()
    flooding = asyncio.create_task(flood(flooder, 10_000))
    for page_no in (3, 4, 5, 6):
        await other.turn(page_no)
        await other.shows(page_no)
    await flooding
    assert flooder.close_code == 1008
    assert [error["code"] for error in flooder.errors] == ["rate_limited"] * 100
    said = await kept(node)
    assert len(said) == 10
    await hears(other, said[-1]["id"])
    assert talk(other) == said


@pytest.mark.usefixtures("no_refill")
async def test_a_flood_that_pretends_to_be_sensible_leaves_nothing_behind(node: Node) -> None:
    """Other messages in between keep it connected; the others get their pages all the same."""
    await node.put(table(1000))
    other = await node.join()
    await flood(await node.join(), 200, "heartbeat")
    gc.collect()
    before = len(gc.get_objects())
    flooder = await node.join()
    flooding = asyncio.create_task(flood(flooder, 10_000, "heartbeat"))
    page_no = 0
    while not flooding.done():
        page_no = page_no % 9 + 1
        await other.turn(page_no + 1)
        await other.shows(page_no + 1)
    await flooding
    assert [error["code"] for error in flooder.errors] == ["rate_limited"] * 9_990
    flooder.seen.clear()
    other.seen.clear()
    gc.collect()
    # Whatever were kept of a message would be an object at least.
    assert len(gc.get_objects()) - before < 2_000
    assert len(await kept(node)) == 20
