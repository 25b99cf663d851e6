"""Keys that once were good, or are good elsewhere; and that none shows where it could be read."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import pytest

from server.accept.described.operations import OPERATIONS
from server.accept.edge.access import cookie_name
from server.fanout.memory import MemoryStore
from tests.accept.client import Node, memory
from tests.accept.conftest import StartNode
from tests.accept.owned import OwnedRoom, bearer, owned_room
from tests.room_client import PATIENCE, table


def cookie(room: OwnedRoom, key: str) -> dict[str, str]:
    return {"Cookie": f"{cookie_name(room.uuid)}={key}"}


async def opens_nothing(room: OwnedRoom, key: str) -> None:
    """However this key comes to the socket, its holder is a guest."""
    for headers in (bearer(key), cookie(room, key)):
        assert (await room.node.join(room.uuid, headers)).hello["role"] == "guest"
    viewer = await room.node.join(room.uuid)
    await viewer.say("key", key=key)
    assert (await viewer.expect("error"))["code"] == "wrong_key"
    await viewer.until_quiet()
    assert [told for told in viewer.seen if told["type"] == "role"] == []


async def test_a_revoked_key_opens_nothing_however_it_comes(any_node: Node) -> None:
    room = await owned_room(any_node)
    revoked, new = room.presenter, await room.invite()
    await opens_nothing(room, revoked)
    for path, body in (("/mode", {"mode": "open"}), ("/life", {"seconds": 60})):
        assert (await room.ask("PUT", path, revoked, json=body)).code == "wrong_key"
    # Invited again, somebody has a key that never was.
    assert (await room.ask("DELETE", "/keys")).code == ""
    for key in (revoked, new):
        await opens_nothing(room, key)


async def test_a_revoked_key_does_not_come_back_with_a_new_one(node: Node) -> None:
    room = await owned_room(node)
    keys = [room.presenter, *[await room.invite() for _ in range(3)]]
    assert len(set(keys)) == 4
    for key in keys[:-1]:
        await opens_nothing(room, key)
    assert (await node.join(room.uuid, bearer(keys[-1]))).hello["role"] == "presenter"


async def test_the_keys_of_one_room_open_nothing_in_another(any_node: Node) -> None:
    room, other = await owned_room(any_node), await owned_room(any_node)
    for key in (other.owner, other.presenter):
        await opens_nothing(room, key)
    # Not even as another room's cookie.
    headers = cookie(other, other.owner)
    assert (await any_node.join(room.uuid, headers)).hello["role"] == "guest"


@pytest.mark.parametrize(
    "other",
    [
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key + "=",
        lambda key: key.swapcase(),
        lambda key: "",
        lambda key: "\u0000" + key,
        lambda key: hashlib.sha256(key.encode()).hexdigest(),
        lambda key: "x" * 60_000,
        lambda key: key + "\ud800",
    ],
    ids=range(9),
)
async def test_what_is_nearly_a_key_is_none(node: Node, other: Callable[[str], str]) -> None:
    room = await owned_room(node)
    viewer = await node.join(room.uuid)
    await viewer.say("key", key=other(room.owner))
    assert (await viewer.expect("error"))["code"] in ("wrong_key", "bad_message")
    await viewer.turn(2)
    assert (await viewer.expect("error"))["code"] in ("presenters_only", "wrong_key")


@pytest.mark.parametrize("key", [None, 5, ["x"], {"key": "x"}, True])
async def test_what_is_no_text_is_no_key(node: Node, key: object) -> None:
    room = await owned_room(node)
    viewer = await node.join(room.uuid)
    await viewer.say("key", key=key)
    error = await viewer.expect_error("bad_message")
    assert error["about"] == "key"


async def test_the_keys_of_a_deleted_room_open_nothing_then_or_when_it_is_used_again(
    start_node: StartNode,
) -> None:
    node = await start_node(memory(room_life=1.0, sweep_every=0.05))
    room = await owned_room(node)
    keys = (room.owner, room.presenter)
    assert (await room.ask("DELETE")).code == ""
    for key in keys:
        assert (await room.ask("PUT", "/mode", key, json={"mode": "open"})).code == "room_deleted"
        assert (await room.ask("POST", "/cookie", key)).code == "wrong_key"
    async with asyncio.timeout(PATIENCE):
        while await room.registers():  # asking for it does not keep it
            await asyncio.sleep(0.05)
    assert (await room.put(table(250), key="")).code == ""
    for key in keys:
        assert (await room.ask("PUT", "/mode", key, json={"mode": "presenting"})).code == "no_key"
        assert (await room.ask("DELETE", "", key)).code == "no_key"
        await opens_nothing(room, key)
    assert (await room.ask("PUT", "/page", "", json={"page_no": 2})).code == ""


async def test_everyone_in_a_room_is_told_that_it_was_deleted_on_every_node(
    start_node: StartNode,
) -> None:
    store = MemoryStore()
    first, second = await start_node(memory(store)), await start_node(memory(store))
    room = await owned_room(first)
    people = [
        await first.join(room.uuid, bearer(room.owner)),
        await first.join(room.uuid),
        await second.join(room.uuid, bearer(room.presenter)),
        await second.join(room.uuid),
    ]
    for person in people:
        await person.shows(1)
    assert (await room.ask("DELETE")).code == ""
    for person in people:
        await person.settles(lambda v: set(v.registers) == {"deleted"})
        assert person.registers["deleted"]["time"] > 10**12
    # They stay, and whoever held a key hears that it is dead.
    for person in (people[0], people[2]):
        await person.say("heartbeat")
        await person.settles(lambda v: any(m.get("role") == "guest" for m in v.seen))


# Where no key shows


async def test_no_answer_to_a_reader_has_a_key_in_it(start_node: StartNode) -> None:
    node = await start_node(metrics=True)
    room = await owned_room(node)
    keys = (room.owner, room.presenter)
    secrets = [*keys, *(hashlib.sha256(key.encode()).hexdigest() for key in keys)]
    parts = {"uuid": room.uuid, "page_no": 1, "row": 1, "column": 0, "extension": "csv"}
    asked = 0
    for operation in OPERATIONS:
        is_socket = any(answer.status == 101 for answer in operation.answers)
        if operation.method != "get" or is_socket:
            continue
        for key in keys:
            headers = bearer(key) | cookie(room, key)
            url = operation.path.format(**parts)
            async with node.http.get(url, headers=headers) as response:
                assert response.status < 400, url
                told = f"{response.raw_headers!r} {await response.text()}"
            assert not any(secret in told for secret in secrets), url
            asked += 1
    assert asked > 20


async def test_no_message_to_anyone_has_a_key_in_it(node: Node) -> None:
    room = await owned_room(node)
    viewer = await node.join(room.uuid, bearer(room.presenter))
    guest = await node.join(room.uuid)
    await viewer.say("key", key=room.owner)
    await viewer.until(lambda m: m.get("role") == "owner")
    await viewer.say("me", name="Otter")
    await viewer.say("chat", id="0190a3b2-0000-4000-8000-000000000001", body="hello")
    await guest.until(lambda m: m["type"] == "chat" and bool(m["messages"]))
    await viewer.turn(2)
    await guest.shows(2)
    revoked = room.presenter
    await room.invite()
    await viewer.say("sync", epoch="another")
    await viewer.expect("state", whole=True)
    told = f"{viewer.seen} {guest.seen} {viewer.hello} {await room.registers()}"
    for key in (room.owner, room.presenter, revoked):
        assert key not in told
        assert hashlib.sha256(key.encode()).hexdigest() not in told
