"""Going back to an earlier table, for everyone, without losing the later ones."""

from __future__ import annotations

from typing import Any

import pytest

from server.accept.files import versions as accept_versions
from server.app import BACKEND
from server.errors import Conflict
from tests.accept.client import ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.room_client import Message, table

VERSION = f"/api/rooms/{ROOM}/version"
ROWS = f"/api/rooms/{ROOM}/document/rows"


async def put_two(node: Node) -> list[Message]:
    return [
        await node.put(table(500, name="first"), name="first.tsv"),
        await node.put(table(300, name="second"), name="second.tsv"),
    ]


async def show(node: Node, version: int, **query: str) -> Message:
    async with node.http.put(VERSION, params=query, json={"version": version}) as response:
        assert response.status == 200, await response.text()
        told: Message = await response.json()
        return told


async def test_everyone_goes_back_to_an_earlier_table_and_forth_again(any_node: Node) -> None:
    first, second = await put_two(any_node)
    viewer, other = await any_node.join(), await any_node.join()
    await viewer.turn(2)
    await other.shows(2)
    told = await show(any_node, 1)
    assert told["version"] == 1
    for each in (viewer, other):
        await each.sees(first["id"], first_row=1)
        assert each.registers["document"] == first
        assert each.rev == told["rev"]
        versions = each.registers["versions"]
        assert [(v["version"], v["name"]) for v in versions] == [
            (2, "second.tsv"),
            (1, "first.tsv"),
        ]
    await other.say("version", version=2)
    for each in (viewer, other):
        await each.sees(second["id"], first_row=1)
        assert each.registers["document"] == second


async def test_the_others_are_told_who_went_back(node: Node) -> None:
    await put_two(node)
    viewer, other = await node.join(), await node.join()
    await viewer.say("me", name="Grebe", color=4)
    await viewer.say("version", version=1)
    await other.settles(lambda v: v.registers["document"]["version"] == 1)
    assert other.registers["page"]["by"]["name"] == "Grebe"
    assert other.registers["page"].get("back") is None
    # A program that goes forth again need not say who it is, and may.
    await show(node, 2)
    await other.settles(lambda v: v.registers["document"]["version"] == 2)
    assert other.registers["page"].get("by") is None
    await show(node, 1, by="Nightly\njob")
    await other.settles(lambda v: v.registers["document"]["version"] == 1)
    by = {"id": "", "name": "Nightly job", "color": 0}
    assert other.registers["page"]["by"] == by


async def test_showing_what_is_shown_changes_nothing(node: Node) -> None:
    await put_two(node)
    viewer = await node.join()
    await viewer.turn(2)
    await viewer.shows(2)
    assert (await show(node, 2))["rev"] == viewer.rev
    await viewer.until_quiet()
    assert viewer.page["page_no"] == 2


async def test_an_earlier_table_has_the_rows_that_were_added_to_it(node: Node) -> None:
    await node.put(table(5), name="first.tsv")
    async with node.http.post(ROWS, data=b"6\n7\n") as response:
        assert response.status == 200
    await node.put(table(3), name="second.tsv")
    await show(node, 1)
    viewer = await node.join()
    await viewer.expect("page")
    assert [row[0] for row in viewer.page["data"]] == list("1234567")
    async with node.http.post(ROWS, data=b"8\n") as response:
        assert (await response.json())["document"]["rows"] == 8
    await show(node, 2)
    await show(node, 1)
    assert (await node.registers())["document"]["rows"] == 8


async def test_going_back_waits_for_no_one_who_adds_rows(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = memory()
    quicker = 3

    async def append(room: str, **arguments: Any) -> Any:
        nonlocal quicker
        goes_back = arguments["set"].keys() == {"document", "page", "versions"}
        if goes_back and quicker:
            quicker -= 1
            raise Conflict("The room changed in between.")
        return await inner.append(room, **arguments)

    node = await start_node(Wrapped(inner, append=append))
    before = accept_versions.LOOKS
    monkeypatch.setattr(accept_versions, "LOOKS", 2)
    first, _ = await put_two(node)
    quicker = 3
    await node.refusal("PUT", VERSION, 409, "conflict", json={"version": 1})
    monkeypatch.setattr(accept_versions, "LOOKS", before)
    await show(node, 1)
    assert (await node.registers())["document"]["id"] == first["id"]


async def test_while_a_file_arrives_nobody_goes_back(node: Node) -> None:
    _, second = await put_two(node)
    uploader, other = await node.join(), await node.join()
    await uploader.begin_upload("third.tsv", None)
    problem = await node.refusal("PUT", VERSION, 409, "upload_in_progress", json={"version": 1})
    assert "third.tsv" in problem["detail"]
    await other.say("version", version=1)
    error = await other.expect_error("upload_in_progress")
    assert error["about"] == "version"
    await uploader.say("upload_cancel")
    await uploader.settles(lambda v: v.registers.get("upload") is None)
    await other.sees(second["id"])


async def test_a_version_that_is_not_kept_is_refused_by_naming_those_that_are(node: Node) -> None:
    await node.refusal("PUT", VERSION, 404, "no_document", json={"version": 1})
    await put_two(node)
    problem = await node.refusal("PUT", VERSION, 404, "no_document", json={"version": 3})
    assert "versions 1 and 2" in problem["detail"]
    viewer = await node.join()
    await viewer.say("version", version=0)
    await viewer.expect_error("no_document")


async def test_a_version_whose_bytes_are_gone_is_not_shown(node: Node) -> None:
    first, second = await put_two(node)
    await node.app[BACKEND].drop(ROOM, first["id"])
    problem = await node.refusal("PUT", VERSION, 404, "no_document", json={"version": 1})
    assert "first.tsv" in problem["detail"]
    assert (await node.registers())["document"]["id"] == second["id"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"version": "2"}', b"\xff"])
async def test_a_request_that_names_no_version_is_refused(node: Node, body: bytes) -> None:
    await node.refusal("PUT", VERSION, 400, "bad_message", data=body)


async def test_a_request_that_is_far_too_long_for_a_version_is_refused(node: Node) -> None:
    await node.refusal("PUT", VERSION, 413, "too_large", data=b"1" * 5000)
