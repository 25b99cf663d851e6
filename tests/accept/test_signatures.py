"""Everything that changes what a room shows says who did it, and where an undo leads."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.accept.client import ROOM, Node, SocketClient
from tests.room_client import table

PROGRAM = {"id": "", "name": "A program", "color": 0}


async def named(node: Node, name: str, color: int) -> SocketClient:
    """A viewer who has said who it is."""
    viewer = await node.join()
    await viewer.say("me", name=name, color=color)
    return viewer


def signed(viewer: SocketClient, name: str, color: int) -> dict[str, Any]:
    return {"id": viewer.hello["viewer"], "name": name, "color": color}


async def test_an_upload_says_who_sends_it_while_it_arrives_and_for_ever(any_node: Node) -> None:
    otter, other = await named(any_node, "Otter", 3), await any_node.join()
    data = table(4000)
    await otter.begin_upload("trips.tsv", len(data))
    await other.settles(lambda v: (v.registers.get("upload") or {}).get("by") is not None)
    assert other.registers["upload"]["by"] == signed(otter, "Otter", 3)
    await otter.send_chunks(data)
    await otter.say("upload_end")
    await other.settles(lambda v: (v.registers.get("document") or {}).get("complete", False))
    assert other.registers["document"]["by"] == signed(otter, "Otter", 3)
    assert other.registers.get("upload") is None
    await any_node.put(table(3), name="second.tsv")
    await other.say("version", version=1)
    await other.settles(lambda v: v.registers["document"]["version"] == 1)
    assert other.registers["document"]["by"] == signed(otter, "Otter", 3)


async def test_a_new_name_is_for_what_is_done_from_then_on(node: Node) -> None:
    viewer = await named(node, "Otter", 3)
    await viewer.upload("first.tsv", table(3))
    await viewer.say("me", name="Heron")
    ack = await viewer.upload("second.tsv", table(3))
    await viewer.sees(ack["upload"])
    signed_by = {each["name"]: each["by"] for each in viewer.registers["versions"]}
    assert signed_by["first.tsv"] == signed(viewer, "Otter", 3)
    assert viewer.registers["document"]["by"] == signed(viewer, "Heron", 3)


async def test_a_file_by_a_program_says_so_unless_it_has_a_name(any_node: Node) -> None:
    assert (await any_node.put(table(3)))["by"] == PROGRAM
    path = f"/api/rooms/{ROOM}/document?name=t.tsv&by=%20Nightly%E2%80%AE%20job%20"
    async with any_node.http.put(path, data=table(3)) as response:
        assert (await response.json())["by"] == {**PROGRAM, "name": "Nightly job"}


async def test_nobody_signs_for_another(node: Node) -> None:
    otter, liar = await named(node, "Otter", 3), await named(node, "Liar", 4)
    lie = {"by": signed(otter, "Otter", 3), "id": otter.hello["viewer"], "viewer": "x"}
    await liar.say("upload", name="t.tsv", size=None, **lie)
    await liar.expect("ack")
    await liar.settles(lambda v: v.registers.get("upload") is not None)
    assert liar.registers["upload"]["by"] == signed(liar, "Liar", 4)
    await liar.send_chunks(table(1000))
    await liar.say("upload_end")
    await liar.settles(lambda v: (v.registers.get("document") or {}).get("complete", False))
    await liar.say("page", page_no=2, **lie)
    await liar.shows(2)
    assert liar.registers["page"]["by"] == signed(liar, "Liar", 4)
    turn = {"page_no": 3, "by": lie["by"], "id": otter.hello["viewer"]}
    async with node.http.put(f"/api/rooms/{ROOM}/page", json=turn) as response:
        assert response.status == 200
    await liar.shows(3)
    assert liar.registers["page"]["by"] == PROGRAM


async def test_a_turned_page_says_who_turned_it_and_leads_back(any_node: Node) -> None:
    document = await any_node.put(table(1000))
    otter, heron = await named(any_node, "Otter", 3), await named(any_node, "Heron", 4)
    assert heron.registers["page"].get("by") is None
    await otter.turn(7)
    await heron.shows(7)
    page = heron.registers["page"]
    assert page["by"] == signed(otter, "Otter", 3)
    assert page["at"] > 10**12
    assert page["back"] == {"document": document["id"], "offset": 0}
    # A run of one person's turns leads back to where it began, another's begins a new one.
    await otter.turn(8)
    await heron.shows(8)
    assert heron.registers["page"]["back"]["offset"] == 0
    await heron.turn(9)
    await otter.shows(9)
    assert otter.registers["page"]["by"] == signed(heron, "Heron", 4)
    assert otter.registers["page"]["back"]["offset"] == 700
    turn = {"page_no": 2, "name": "Clock", "color": 9}
    async with any_node.http.put(f"/api/rooms/{ROOM}/page", json=turn) as response:
        assert response.status == 200
    await otter.shows(2)
    assert otter.registers["page"]["by"] == {"id": "", "name": "Clock", "color": 9}
    assert otter.registers["page"]["back"]["offset"] == 800


async def test_two_who_turn_at_once_leave_a_way_back_that_is_true(node: Node) -> None:
    document = await node.put(table(1000))
    viewers = [await named(node, name, 0) for name in ("Otter", "Heron")]
    await asyncio.gather(*(viewer.turn(4 + n) for n, viewer in enumerate(viewers)))
    watcher = await node.join()
    await watcher.settles(lambda v: (v.registers["page"].get("back") or {}).get("offset", 0) > 0)
    page = watcher.registers["page"]
    assert {page["offset"], page["back"]["offset"]} == {300, 400}
    assert page["back"]["document"] == document["id"]


async def test_another_table_has_no_way_back_into_the_one_before(node: Node) -> None:
    await node.put(table(1000))
    viewer = await named(node, "Otter", 3)
    await viewer.turn(7)
    await viewer.shows(7)
    document = await node.put(table(1000), name="second.tsv")
    await viewer.sees(document["id"])
    assert viewer.registers["page"].get("back") is None
    assert viewer.registers["page"].get("by") is None
    await viewer.turn(2)
    await viewer.shows(2)
    assert viewer.registers["page"]["back"] == {"document": document["id"], "offset": 0}
