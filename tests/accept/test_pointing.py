"""Pointing at a row: seen by everyone while it lasts, signed truly, and kept nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from server.fanout.memory import MemoryStore
from tests.accept.client import OTHER, Node, SocketClient, memory
from tests.accept.conftest import StartNode
from tests.accept.owned import bearer, owned_room
from tests.room_client import Message, table


def points(viewer: SocketClient) -> list[Message]:
    return [told for told in viewer.seen if told["type"] == "point"]


async def test_everyone_sees_who_points_at_which_row(start_node: StartNode) -> None:
    store = MemoryStore()
    first, second = await start_node(memory(store)), await start_node(memory(store))
    document = await first.put(table(250))
    otter, same, other = await first.join(), await first.join(), await second.join()
    elsewhere = await first.join(OTHER)
    await otter.say("me", name="Otter", color=3)
    await otter.say("point", row=203)
    for viewer in (otter, same, other):
        assert await viewer.expect("point") == {
            "type": "point",
            "viewer": otter.hello["viewer"],
            "name": "Otter",
            "color": 3,
            "row": 203,
            "document": document["id"],
        }
    await otter.say("point", row=None)
    for viewer in (otter, same, other):
        assert (await viewer.expect("point"))["row"] is None
    await elsewhere.until_quiet()
    assert points(elsewhere) == []


async def test_the_header_and_the_last_row_can_be_pointed_at(node: Node) -> None:
    await node.put(table(250))
    viewer = await node.join()
    for row in (0, 1, 250):
        await viewer.say("point", row=row)
        assert (await viewer.expect("point"))["row"] == row


async def test_pointing_is_kept_nowhere(any_node: Node) -> None:
    await any_node.put(table(250))
    viewer = await any_node.join()
    before = await any_node.registers()
    rev = viewer.rev
    await viewer.say("point", row=7)
    await viewer.expect("point")
    assert await any_node.registers() == before
    late = await any_node.join()
    await late.until_quiet()
    assert points(late) == []
    assert late.rev == rev


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (-1, "page_out_of_range"),
        (251, "page_out_of_range"),
        (10**30, "page_out_of_range"),
        (-(10**30), "page_out_of_range"),
        (1.5, "bad_message"),
        ("7", "bad_message"),
        (True, "bad_message"),
        ([7], "bad_message"),
        ({"row": {"row": 7}}, "bad_message"),
    ],
    ids=repr,
)
async def test_no_row_that_there_is_not_is_pointed_at(node: Node, row: Any, code: str) -> None:
    await node.put(table(250))
    viewer, other = await node.join(), await node.join()
    await viewer.say("point", row=row)
    error = await viewer.expect_error(code)
    assert (error["about"], error["retry"]) == ("point", False)
    await viewer.say("point", row=7)
    await other.expect("point")
    assert [told["row"] for told in points(other)] == [7]


async def test_nobody_points_in_another_ones_name(node: Node) -> None:
    document = await node.put(table(250))
    otter, liar = await node.join(), await node.join()
    await otter.say("me", name="Otter", color=3)
    await liar.say("me", name="Liar", color=4)
    lie = {"viewer": otter.hello["viewer"], "name": "Otter", "color": 3, "document": "another"}
    await liar.say("point", row=7, **lie)
    told = await otter.expect("point")
    assert (told["viewer"], told["name"]) == (liar.hello["viewer"], "Liar")
    assert (told["color"], told["document"]) == (4, document["id"])


async def test_where_there_is_no_table_nothing_is_pointed_at(node: Node) -> None:
    viewer = await node.join()
    for row in (0, None):
        await viewer.say("point", row=row)
        assert (await viewer.expect_error("no_document"))["about"] == "point"


async def test_ten_points_may_come_at_once_and_no_more(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.accept.meeting.RATE", 1e-6)
    await node.put(table(250))
    viewer, other = await node.join(), await node.join()
    for row in range(1, 12):
        await viewer.say("point", row=row)
    error = await viewer.expect_error("rate_limited")
    assert (error["about"], error["retry"]) == ("point", True)
    # Of what one person does at once the last is told, and who else points is not held back.
    await other.until(lambda m: m["type"] == "point" and m["row"] == 10)
    await other.say("point", row=99)
    told = await viewer.until(lambda m: m["type"] == "point" and m["row"] == 99)
    assert told["viewer"] == other.hello["viewer"]
    assert 11 not in {each["row"] for each in points(other)}


async def test_only_presenters_point_while_they_present(node: Node) -> None:
    room = await owned_room(node)
    guest = await node.join(room.uuid)
    presenter = await node.join(room.uuid, bearer(room.presenter))
    for row in (7, 10**9):
        await guest.say("point", row=row)
        error = await guest.expect_error("presenters_only")
        assert "Only presenters show rows in this room now." in error["message"]
    await presenter.say("point", row=8)
    assert (await guest.expect("point"))["row"] == 8
    assert [told["row"] for told in points(guest)] == [8]


async def test_who_pointed_before_may_take_it_back_when_others_present(node: Node) -> None:
    room = await owned_room(node, "open")
    guest, other = await node.join(room.uuid), await node.join(room.uuid)
    await guest.say("point", row=7)
    await other.expect("point")
    await room.set_mode("presenting")
    await guest.settles(lambda v: v.registers.get("mode") == "presenting")
    await guest.say("point", row=None)
    assert (await other.expect("point"))["row"] is None


async def test_a_refusal_tells_nothing_of_a_table_that_was_deleted(node: Node) -> None:
    room = await owned_room(node)
    guest = await node.join(room.uuid)
    await room.ask("DELETE")
    await guest.settles(lambda v: set(v.registers) == {"deleted"})
    for kind, fields in (
        ("point", {"row": 7}),
        ("point", {"row": None}),
        ("point", {"row": 10**9}),
        ("peek", {"page_no": 2}),
        ("page", {"page_no": 2}),
        ("version", {"version": 1}),
        ("upload", {"name": "t.tsv", "size": 3}),
        ("dialect", {"delimiter": ","}),
        ("chat", {"id": "0190a3b2-0000-4000-8000-000000000001", "body": "hello"}),
    ):
        await guest.say(kind, **fields)
        error = await guest.expect("error", about=kind)
        assert (error["code"], error["retry"]) == ("room_deleted", False), kind
