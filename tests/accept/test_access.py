"""Who may change what a room shows: at every door, in every mode, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from server.fanout.backend import Change
from server.fanout.memory import MemoryStore
from tests.accept.client import Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.accept.owned import (
    CHANGES,
    DOORS,
    Answer,
    Door,
    OwnedRoom,
    bearer,
    make_room,
    owned_room,
)
from tests.fanout.nodes import Recorder
from tests.room_client import PATIENCE, table

every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
every_change = pytest.mark.parametrize("door", CHANGES.values(), ids=CHANGES)


@every_door
async def test_a_guest_is_refused_while_presenters_present(any_node: Node, door: Door) -> None:
    room = await owned_room(any_node)
    before = await room.registers()
    answer = await door(room, "")
    assert answer.code == "presenters_only"
    assert "You can browse on your own." in str(answer.told)
    assert await room.registers() == before


@every_door
async def test_a_presenter_is_let_through(node: Node, door: Door) -> None:
    room = await owned_room(node)
    assert (await door(room, room.presenter)).code == ""


@every_door
async def test_the_owner_is_let_through(any_node: Node, door: Door) -> None:
    room = await owned_room(any_node)
    assert (await door(room, room.owner)).code == ""


@every_door
async def test_everyone_is_let_through_in_an_open_room(node: Node, door: Door) -> None:
    room = await owned_room(node, "open")
    assert (await door(room, "")).code == ""


@every_door
async def test_a_key_that_does_not_fit_harms_nobody_in_an_open_room(node: Node, door: Door) -> None:
    room = await owned_room(node, "open")
    assert (await door(room, "of-another-door")).code == ""


@every_door
async def test_a_room_that_is_open_again_is_open_to_all(node: Node, door: Door) -> None:
    room = await owned_room(node)
    await room.set_mode("open")
    assert (await door(room, "")).code == ""


@every_door
async def test_a_wrong_key_is_called_wrong(node: Node, door: Door) -> None:
    room = await owned_room(node)
    assert (await door(room, room.owner[:-1] + "!")).code == "wrong_key"


@every_door
async def test_the_key_of_another_room_is_wrong(node: Node, door: Door) -> None:
    room, other = await owned_room(node), await make_room(node)
    assert (await door(room, other.owner)).code == "wrong_key"


@every_door
async def test_a_revoked_key_is_dead(node: Node, door: Door) -> None:
    room = await owned_room(node)
    revoked, new = room.presenter, await room.invite()
    assert (await door(room, revoked)).code == "wrong_key"
    assert (await door(room, new)).code == ""
    assert (await room.ask("DELETE", "/keys")).code == ""
    assert (await door(room, new)).code == "wrong_key"


@every_door
async def test_nothing_changes_a_deleted_room(any_node: Node, door: Door) -> None:
    room = await owned_room(any_node)
    assert (await room.ask("DELETE")).code == ""
    for key in ("", room.presenter, room.owner):
        assert (await door(room, key)).code == "room_deleted"
    assert set(await room.registers()) == {"deleted"}


# What happens between the look at a room and its change


def _changes_the_room(change: dict[str, Any]) -> bool:
    return bool({"page", "document", "upload"} & set(change.get("set") or {}))


@dataclass
class Meddled:
    """A room seen from a node on which, once `armed`, something is done right before a change."""

    room: OwnedRoom
    clean: OwnedRoom  # from another node
    armed: bool = False


async def _meddled(
    start_node: StartNode, meddle: Callable[[OwnedRoom], Awaitable[object]]
) -> Meddled:
    store = MemoryStore()
    inner = memory(store)

    async def append(name: str, **change: Any) -> Change:
        if meddled.armed and _changes_the_room(change):
            meddled.armed = False
            await meddle(meddled.clean)
        return await inner.append(name, **change)

    clean = await owned_room(await start_node(memory(store)), "open")
    node = await start_node(Wrapped(inner, append=append))
    meddled = Meddled(OwnedRoom(node, clean.uuid, clean.owner, clean.presenter), clean)
    return meddled


@every_change
async def test_no_change_slips_in_after_the_mode_has_changed(
    start_node: StartNode, door: Door
) -> None:
    meddled = await _meddled(start_node, lambda room: room.set_mode("presenting"))
    shown = {name: (await meddled.clean.registers())[name] for name in ("document", "page")}
    meddled.armed = True
    assert (await door(meddled.room, "")).code == "presenters_only"
    after = await meddled.clean.registers()
    assert {name: after[name] for name in shown} == shown
    assert after.get("upload") is None


@every_change
async def test_no_change_slips_in_after_a_key_was_revoked(
    start_node: StartNode, door: Door
) -> None:
    meddled = await _meddled(start_node, lambda room: room.ask("DELETE", "/keys"))
    await meddled.clean.set_mode("presenting")
    shown = (await meddled.clean.registers())["page"]
    meddled.armed = True
    assert (await door(meddled.room, meddled.room.presenter)).code == "wrong_key"
    assert (await meddled.clean.registers())["page"] == shown


@every_change
async def test_no_change_slips_in_after_the_room_was_deleted(
    start_node: StartNode, door: Door
) -> None:
    meddled = await _meddled(start_node, lambda room: room.ask("DELETE"))
    meddled.armed = True
    assert (await door(meddled.room, "")).code == "room_deleted"
    assert set(await meddled.clean.registers()) == {"deleted"}


async def test_pages_turned_by_guests_while_the_mode_flips_all_fall_into_open_times(
    start_node: StartNode,
) -> None:
    store = MemoryStore()
    first, second = await start_node(memory(store)), await start_node(memory(store))
    room = await owned_room(first, "open")
    watching, told = memory(store), Recorder()
    await watching.start(told)
    watching.follow(room.uuid)
    guests = [await node.join(room.uuid) for node in (first, second) for _ in range(2)]
    over = asyncio.Event()

    async def turn(guest: Any) -> None:
        page_no = 0
        while not over.is_set():
            page_no = page_no % 3 + 1
            await guest.turn(page_no)
            await guest.until_quiet()

    async def flip() -> None:
        for number in range(60):
            await room.set_mode("open" if number % 2 else "presenting")
        over.set()

    async with asyncio.timeout(4 * PATIENCE):
        await asyncio.gather(flip(), *map(turn, guests))
    mode, turned = None, 0
    for change in told.changes(room.uuid):
        if "mode" in change.set:
            mode = change.set["mode"]
        elif "page" in change.set:
            turned += 1
            assert mode is None
    codes = {error["code"] for guest in guests for error in guest.errors}
    assert turned
    assert codes <= {"presenters_only", "page_out_of_range", "rate_limited", "conflict"}
    assert "presenters_only" in codes
    await watching.close()


# Uploads and rows that run while the mode changes


async def test_an_upload_of_a_guest_ends_when_presenters_take_over(any_node: Node) -> None:
    room = await owned_room(any_node, "open")
    shown = (await room.registers())["document"]["id"]
    guest = await any_node.join(room.uuid)
    await guest.begin_upload("theirs.tsv", None)
    await guest.send_chunks(table(4000))
    await guest.settles(lambda v: v.registers["document"]["name"] == "theirs.tsv")
    await room.set_mode("presenting")
    after = await room.registers()
    assert after["document"]["id"] == shown
    assert after.get("upload") is None
    await guest.say_raw(b"1\tmore\tmore\n")
    await guest.say("upload_end")
    error = await guest.expect("error")
    assert error["code"] == "presenters_only"
    await guest.sees(shown)


@pytest.mark.parametrize("who", ["presenter", "owner"])
async def test_an_upload_of_a_presenter_goes_on_when_presenters_take_over(
    node: Node, who: str
) -> None:
    room = await owned_room(node, "open")
    sender = await node.join(room.uuid, bearer(getattr(room, who)))
    data = table(300)
    await sender.begin_upload("mine.tsv", len(data))
    await room.set_mode("presenting")
    await sender.send_chunks(data)
    await sender.say("upload_end")
    await sender.until(lambda m: m["type"] == "ack" and m["done"])
    assert (await room.registers())["document"]["name"] == "mine.tsv"


@pytest.mark.parametrize("mode", ["open", "presenting"])
async def test_an_upload_by_a_key_that_is_revoked_ends_with_presenting(
    node: Node, mode: str
) -> None:
    room = await owned_room(node, mode)
    sender = await node.join(room.uuid, bearer(room.presenter))
    await sender.begin_upload("mine.tsv", None)
    await room.invite()
    # In an open room anyone may send; only the next change of the mode ends it.
    assert ((await room.registers()).get("upload") is not None) is (mode == "open")
    await room.set_mode("presenting")
    assert (await room.registers()).get("upload") is None
    await sender.say_raw(table(300))
    await sender.say("upload_end")
    assert (await sender.expect("error"))["code"] == "wrong_key"


async def test_no_guest_goes_on_with_an_upload_that_was_given_up(node: Node) -> None:
    room = await owned_room(node, "open")
    sender = await node.join(room.uuid)
    ack = await sender.begin_upload("theirs.tsv", None)
    sender.vanish()
    await room.set_mode("presenting")
    again = await node.join(room.uuid)
    await again.say("upload", name="theirs.tsv", resume=ack["token"])
    await again.expect_error("presenters_only")


async def test_no_guest_takes_the_place_of_a_presenters_upload(node: Node) -> None:
    room = await owned_room(node)
    sender, guest = await node.join(room.uuid, bearer(room.presenter)), await node.join(room.uuid)
    ack = await sender.begin_upload("mine.tsv", None)
    await guest.say("upload", name="theirs.tsv", replace=True)
    await guest.expect_error("presenters_only")
    answer = await room.ask("PUT", "/document?name=theirs.tsv&replace=true", "", data=table(3))
    assert answer.code == "presenters_only"
    assert (await room.registers())["upload"]["id"] == ack["upload"]


async def test_rows_stop_coming_in_when_presenters_take_over(node: Node) -> None:
    room = await owned_room(node, "open")
    rows = (await room.registers())["document"]["rows"]
    taken = asyncio.Event()

    async def body() -> Any:
        yield b"9\tnine\tnine\n"
        await taken.wait()
        yield b"10\tten\tten\n"

    adding = asyncio.create_task(room.ask("POST", "/document/rows", "", data=body()))
    viewer = await node.join(room.uuid)
    await viewer.settles(lambda v: v.registers["document"]["rows"] == rows + 1)
    await room.set_mode("presenting")
    taken.set()
    answer: Answer = await asyncio.wait_for(adding, PATIENCE)
    assert answer.code == "presenters_only"
    assert "1 row was added before." in str(answer.told)
    assert (await room.registers())["document"]["rows"] == rows + 1


async def test_an_upload_into_a_room_that_is_deleted_ends_with_that(any_node: Node) -> None:
    room = await owned_room(any_node)
    sender = await any_node.join(room.uuid, bearer(room.presenter))
    await sender.begin_upload("mine.tsv", None)
    await room.ask("DELETE")
    await sender.say_raw(table(300))
    await sender.say("upload_end")
    assert (await sender.expect("error"))["code"] == "room_deleted"


async def test_everyone_chats_and_browses_while_presenters_present(node: Node) -> None:
    room = await owned_room(node)
    guest = await node.join(room.uuid)
    await guest.say("peek", page_no=3)
    await guest.expect("page", peek=True, page_no=3)
    await guest.say("chat", id="0190a3b2-0000-4000-8000-000000000001", body="hello")
    told = await guest.until(lambda m: m["type"] == "chat" and bool(m["messages"]))
    assert told["messages"][-1]["body"] == "hello"


async def test_nobody_chats_in_a_deleted_room(node: Node) -> None:
    room = await owned_room(node)
    guest = await node.join(room.uuid)
    await room.ask("DELETE")
    await guest.say("chat", id="0190a3b2-0000-4000-8000-000000000001", body="hello")
    await guest.expect_error("room_deleted")
    assert (await room.ask("POST", "/chat", "", json={"body": "hello"})).code == "room_deleted"
