"""What viewers see of each other's page turns, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from server.app import BACKEND, HUB
from server.errors import Unavailable
from server.fanout.memory import MemoryStore
from tests.accept.client import OTHER, ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.room_client import PATIENCE, table


async def test_hello_comes_first_and_names_the_node_and_the_limits(node: Node) -> None:
    viewer = await node.join()
    assert [told["type"] for told in viewer.seen[:2]] == ["hello", "state"]
    assert viewer.hello["node"] == node.settings.node
    assert viewer.hello["uuid"] == ROOM
    assert viewer.hello["limits"] == {
        "document_bytes": 1 << 30,
        "chunk_bytes": 256 << 10,
        "window_bytes": 1 << 20,
        "message_bytes": 64 << 10,
        "cell_bytes": 64 << 10,
        "page_size": 100,
        "heartbeat_seconds": 15,
        "chat_characters": 4000,
        "name_characters": 40,
    }


async def test_the_handshake_names_the_node(node: Node) -> None:
    async with node.http.session.ws_connect(f"{node.url}/ws/{ROOM}") as socket:
        assert (await socket.receive_json())["node"] == node.settings.node


async def test_an_unknown_room_is_an_empty_one(node: Node) -> None:
    viewer = await node.join()
    assert viewer.registers == {}
    assert viewer.rev == 0
    await viewer.expect("here", count=1)


async def test_a_page_turn_by_anyone_moves_everyone(any_node: Node) -> None:
    await any_node.put(table(1000))
    viewers = [await any_node.join() for _ in range(3)]
    for page_no, turner in ((7, viewers[1]), (2, viewers[2]), (10, viewers[0])):
        await turner.turn(page_no)
        for viewer in viewers:
            shown = await viewer.shows(page_no)
            assert shown["first_row"] == 100 * (page_no - 1) + 1
            assert shown["data"][0][0] == str(shown["first_row"])
            assert shown["header"] == ["id", "name 1", "name 2"]


async def test_a_late_joiner_sees_the_page_the_others_see(any_node: Node) -> None:
    await any_node.put(table(1000))
    first = await any_node.join()
    await first.turn(4)
    seen = await first.shows(4)
    late = await any_node.join()
    assert await late.expect("page") == seen
    kinds = [told["type"] for told in late.seen]
    assert kinds.index("state") < kinds.index("page")


async def test_viewers_with_and_without_compression_read_the_same(node: Node) -> None:
    await node.put(table(1000))
    pages = []
    for compress in (0, 10, 15):
        async with node.http.session.ws_connect(
            f"{node.url}/ws/{ROOM}", compress=compress
        ) as socket:
            async with asyncio.timeout(PATIENCE):
                told = await socket.receive_json()
                while told["type"] != "page":
                    told = await socket.receive_json()
            pages.append(told)
    assert pages[0] == pages[1] == pages[2]


async def test_a_turn_over_http_moves_everyone_too(any_node: Node) -> None:
    await any_node.put(table(1000))
    viewer = await any_node.join()
    async with any_node.http.put(f"/api/rooms/{ROOM}/page", json={"page_no": 3}) as response:
        assert response.status == 200
        assert (await response.json())["page_no"] == 3
    await viewer.shows(3)


async def test_two_nodes_show_the_same(start_node: StartNode) -> None:
    store = MemoryStore()
    one, two = await start_node(memory(store)), await start_node(memory(store))
    await one.put(table(1000))
    here, there = await one.join(), await two.join()
    assert here.node != there.node
    await here.turn(5)
    await there.shows(5)
    await there.turn(6)
    await here.shows(6)


async def test_a_peek_shows_a_page_to_one_viewer_alone(node: Node) -> None:
    await node.put(table(1000))
    curious, other = await node.join(), await node.join()
    await curious.expect("page")
    await curious.say("peek", page_no=9)
    shown = await curious.expect("page", peek=True)
    assert (shown["page_no"], shown["first_row"]) == (9, 801)
    assert "rev" not in shown
    await other.until_quiet()
    assert not any(told.get("peek") for told in other.seen)
    assert (await node.registers())["page"]["offset"] == 0


async def test_whoever_is_behind_asks_and_gets_everything_again(node: Node) -> None:
    await node.put(table(1000))
    viewer = await node.join()
    await viewer.expect("page")
    await viewer.say("sync", epoch=viewer.epoch, rev=viewer.rev - 1)
    state = await viewer.expect("state")
    assert state["whole"]
    await viewer.expect("page")
    count = len(viewer.seen)
    await viewer.say("sync", epoch=viewer.epoch, rev=viewer.rev)
    await viewer.until_quiet()
    assert [m["type"] for m in viewer.seen[count:] if m["type"] in ("state", "page")] == []


async def test_a_heartbeat_says_the_revision_and_is_answered(start_node: StartNode) -> None:
    node = await start_node(heartbeat=0.2)
    viewer = await node.join()
    beat = await viewer.expect("heartbeat")
    assert (beat["epoch"], beat["rev"]) == (viewer.epoch, viewer.rev)
    await viewer.say("heartbeat")
    await viewer.until_quiet()
    assert [error["about"] for error in viewer.errors] == ["peek"]


async def test_a_viewer_is_counted_while_it_is_here(node: Node) -> None:
    first = await node.join()
    second = await node.join()
    await first.expect("here", count=2)
    await second.close()
    await first.expect("here", count=1)
    third = await node.join()
    await first.expect("here", count=2)
    third.vanish()
    await first.expect("here", count=1)


async def test_pings_are_answered(node: Node) -> None:
    async with node.http.session.ws_connect(f"{node.url}/ws/{ROOM}", autoping=False) as socket:
        await socket.ping(b"are you there")
        async with asyncio.timeout(PATIENCE):
            while (message := await socket.receive()).type is not aiohttp.WSMsgType.PONG:
                pass
        assert message.data == b"are you there"


async def test_a_full_node_says_so_and_takes_viewers_again(start_node: StartNode) -> None:
    node = await start_node(viewers_per_node=1)
    first = await node.join()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await node.join()
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "1"
    await first.close()
    async with asyncio.timeout(PATIENCE):
        while node.app[HUB].viewers:
            await asyncio.sleep(0.01)
    await node.join()


async def test_a_node_that_drains_says_goodbye_and_is_not_ready(node: Node) -> None:
    viewers = [await node.join(), await node.join(OTHER)]
    draining = asyncio.create_task(node.app[HUB].drain(0.1))
    for viewer in viewers:
        assert (await viewer.expect("bye"))["again"] is True
        assert await viewer.ends() == 1001
    await asyncio.wait_for(draining, PATIENCE)
    problem = await node.refusal("GET", "/readyz", 503, "draining")
    assert problem["retry"] is True
    await node.refusal("GET", f"/ws/{ROOM}", 503, "draining")


async def test_a_node_that_drains_says_goodbye_to_an_uploader_in_the_middle_of_it(
    node: Node,
) -> None:
    old = (await node.put(table(1000)))["id"]
    viewer = await node.join()
    await viewer.begin_upload("new.tsv", None)
    for _ in range(20):
        await viewer.say_raw(b"x" * 99_999 + b"\n")
    draining = asyncio.create_task(node.app[HUB].drain(0))
    await viewer.expect("bye")
    assert await viewer.ends() == 1001
    await asyncio.wait_for(draining, PATIENCE)
    # It waits for its uploader, who goes on with it on another node.
    upload = (await node.registers())["upload"]
    assert upload["paused"]
    assert upload["previous"]["id"] == old


# Bad input: the sender alone gets a clear error, and everyone keeps what they had


@pytest.mark.parametrize(
    ("text", "code", "names"),
    [
        ("{", "bad_message", "JSON"),
        ("", "bad_message", "JSON"),
        ("nonsense", "bad_message", "JSON"),
        ("[1]", "bad_message", "type"),
        ("17", "bad_message", "type"),
        ("null", "bad_message", "type"),
        ('{"page_no": 1}', "bad_message", "type"),
        ('{"type": 5}', "bad_message", "type 5"),
        ('{"type": "paeg", "page_no": 1}', "bad_message", "paeg"),
        ('{"type": "page"}', "bad_message", "page_no"),
        ('{"type": "page", "page_no": "two"}', "bad_message", "page_no"),
        ('{"type": "page", "page_no": 1.5}', "bad_message", "page_no"),
        ('{"type": "page", "page_no": null}', "bad_message", "page_no"),
        ('{"type": "page", "page_no": true}', "bad_message", "page_no"),
        ('{"type": "page", "page_no": 0}', "page_out_of_range", "pages 1 to 10"),
        ('{"type": "page", "page_no": -1}', "page_out_of_range", "pages 1 to 10"),
        ('{"type": "page", "page_no": 11}', "page_out_of_range", "pages 1 to 10"),
        ('{"type": "page", "page_no": 1%s}' % ("0" * 40), "page_out_of_range", "pages 1 to 10"),
        ('{"type": "peek", "page_no": 11}', "page_out_of_range", "pages 1 to 10"),
        ('{"type": "upload", "name": 5}', "bad_message", "name"),
        ('{"type": "upload", "name": "x", "size": "much"}', "bad_message", "size"),
        ('{"type": "upload", "name": "x", "size": -1}', "bad_message", "-1"),
        ('{"type": "upload_end"}', "no_upload", "upload"),
        ('{"type": "upload_cancel"}', "no_upload", "upload"),
    ],
)
async def test_a_wrong_message_is_answered_with_what_is_wrong_and_changes_nothing(
    node: Node, text: str, code: str, names: str
) -> None:
    document = await node.put(table(1000))
    sender, other = await node.join(), await node.join()
    await sender.turn(3)
    await sender.shows(3)
    await other.shows(3)
    count = len(other.seen)
    await sender.say_raw(text)
    error = await sender.expect_error(code)
    assert names in error["message"]
    assert error["retry"] is False
    await other.until_quiet()
    assert [m["type"] for m in other.seen[count:] if m["type"] in ("state", "page")] == []
    assert (await node.registers())["document"] == document
    await sender.turn(4)
    await sender.shows(4)
    await other.shows(4)


async def test_turning_a_page_where_there_is_no_table_is_an_error(node: Node) -> None:
    viewer = await node.join()
    await viewer.turn(1)
    await viewer.expect_error("no_document")
    await viewer.say("peek", page_no=1)
    await viewer.expect_error("no_document")


async def test_a_chunk_without_an_upload_is_an_error_once(node: Node) -> None:
    viewer = await node.join()
    for _ in range(3):
        await viewer.say_raw(b"id\tname\n")
    error = await viewer.expect_error("no_upload")
    assert error["about"] == "upload"
    await viewer.until_quiet()
    assert [error["code"] for error in viewer.errors].count("no_upload") == 1


async def test_a_text_message_over_the_limit_is_an_error_and_over_twice_the_end(
    start_node: StartNode,
) -> None:
    node = await start_node(message_limit=1000)
    document = await node.put(table(100))
    sender, other = await node.join(), await node.join()
    await sender.say("sync", epoch="x" * 900)
    await sender.expect("state")
    await sender.say("sync", epoch="x" * 1000)
    error = await sender.expect_error("too_large")
    assert "1,000" in error["message"]
    await sender.say_raw('{"type": "sync", "epoch": "%s"}' % ("é" * 600))
    await sender.expect_error("too_large")
    await sender.say("sync", epoch="x" * 2000)
    assert await sender.ends() == 1009
    await other.sees(document["id"])


async def test_a_message_over_every_limit_ends_the_connection(start_node: StartNode) -> None:
    node = await start_node(message_limit=1000, chunk_limit=2000)
    for message in ("x" * 5000, b"x" * 5000):
        viewer = await node.join()
        await viewer.say_raw(message)
        assert await viewer.ends() == 1009


async def test_text_that_is_no_utf8_ends_the_connection(node: Node) -> None:
    async with node.http.session.ws_connect(f"{node.url}/ws/{ROOM}") as socket:
        await socket._writer.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
        async with asyncio.timeout(PATIENCE):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert socket.close_code == 1007


async def test_a_program_that_sends_nothing_but_nonsense_is_shown_out(node: Node) -> None:
    viewer = await node.join()
    for _ in range(100):
        await viewer.say_raw("nonsense")
    assert await viewer.ends() == 1008


async def test_page_turns_beyond_the_limit_are_refused_and_may_be_tried_again(
    start_node: StartNode,
) -> None:
    node = await start_node(page_turns_per_second=0.5)
    await node.put(table(1000))
    viewer, other = await node.join(), await node.join()
    await viewer.turn(2)
    await viewer.shows(2)
    await viewer.turn(3)
    error = await viewer.expect_error("rate_limited")
    assert error["retry"] is True
    assert "0.5 pages" in error["message"]
    await other.turn(5)
    await viewer.shows(5)


async def test_a_malformed_room_is_no_room(node: Node) -> None:
    await node.refusal("GET", "/ws/not-a-uuid", 404, "not_found")
    await node.refusal("GET", f"/ws/{ROOM}0", 404, "not_found")


async def test_a_room_is_the_same_however_its_uuid_is_written(node: Node) -> None:
    await node.put(table(10))
    viewer = await node.join(ROOM.upper())
    assert viewer.hello["uuid"] == ROOM
    await viewer.expect("page")


async def test_a_plain_request_to_a_socket_is_refused(node: Node) -> None:
    await node.refusal("GET", f"/ws/{ROOM}", 400, "bad_request")


async def test_a_backend_that_is_gone_is_an_error_that_may_pass(start_node: StartNode) -> None:
    async def append(*args: Any, **options: Any) -> Any:
        raise Unavailable("The storage cannot be reached.")

    inner = memory()
    node = await start_node(Wrapped(inner))
    await node.put(table(1000))
    viewer = await node.join()
    node.app[BACKEND].append = append  # type: ignore[method-assign]
    await viewer.turn(2)
    error = await viewer.expect_error("unavailable")
    assert (error["retry"], error["about"]) == (True, "page")
    del node.app[BACKEND].append
    await viewer.turn(2)
    await viewer.shows(2)


async def test_a_fault_inside_the_server_ends_the_connection_cleanly(
    start_node: StartNode, caplog: pytest.LogCaptureFixture
) -> None:
    async def append(*args: Any, **options: Any) -> Any:
        raise RuntimeError("a fault")

    node = await start_node(Wrapped(memory()))
    await node.put(table(1000))
    viewer, other = await node.join(), await node.join()
    node.app[BACKEND].append = append  # type: ignore[method-assign]
    await viewer.turn(2)
    assert await viewer.ends() == 1011
    assert "a fault" in caplog.text
    del node.app[BACKEND].append
    await other.turn(2)
    await other.shows(2)


async def test_nothing_is_kept_of_viewers_that_left(node: Node) -> None:
    for _ in range(3):
        viewers = [await node.join() for _ in range(5)]
        for viewer in viewers[:3]:
            await viewer.close()
        for viewer in viewers[3:]:
            viewer.vanish()
    async with asyncio.timeout(PATIENCE):
        while node.app[HUB].viewers or node.app[HUB].rooms:
            await asyncio.sleep(0.01)
    assert not node.app[HUB]._leaving
    assert not node.app[HUB]._lag
    assert not any(node.app[HUB]._turns)
