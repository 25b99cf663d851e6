"""Files on their way into rooms, by socket and by PUT, and everything that can happen to them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from server.accept import api as accept_api
from server.accept.files import place as accept_place
from server.accept.files import sending as accept_sending
from server.accept.files import store as accept_store
from server.accept.files.filename import clean_filename
from server.app import BACKEND, UPLOADS
from server.errors import Unavailable
from server.fanout.memory import MemoryStore
from server.fanout.redis import RedisBackend
from tests.accept.client import OTHER, ROOM, Node, Slowly, SocketClient, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.redis_server import RedisServer
from tests.room_client import PATIENCE, table

OLD = table(1000, name="old")
NEW = table(20_000, name="new")  # some 600 KB, ten blocks
CHUNK = 256 * 1024


async def shown_on_page(node: Node, page_no: int, viewers: int = 2) -> tuple[str, Any]:
    """A room with the old table turned to a page: the table's id, and viewers who see it."""
    document = await node.put(OLD, name="old.tsv")
    clients = [await node.join() for _ in range(viewers)]
    await clients[0].turn(page_no)
    for client in clients:
        await client.shows(page_no)
    return str(document["id"]), clients


async def announced(uploader: SocketClient, others: list[SocketClient], data: bytes = NEW) -> str:
    """Begin to send `data` until everyone sees its first page; the upload's id."""
    ack = await uploader.begin_upload("new.tsv", len(data))
    await uploader.say_raw(data[:CHUNK])
    for client in (uploader, *others):
        await client.expect("page", document=ack["upload"])
    return str(ack["upload"])


# The whole way


async def test_a_file_sent_by_a_viewer_is_shown_to_everyone(any_node: Node) -> None:
    uploader, other = await any_node.join(), await any_node.join()
    done = await uploader.upload("new.tsv", NEW)
    assert done["received"] == done["stored"] == len(NEW)
    for viewer in (uploader, other):
        await viewer.sees(done["upload"], first_row=1)
        document = viewer.registers["document"]
        assert (document["name"], document["rows"], document["columns"]) == ("new.tsv", 20_000, 3)
        assert (document["size"], document["stored"], document["version"]) == (
            len(NEW),
            len(NEW),
            1,
        )
        assert viewer.page["data"][99] == ["100", "new 100.1", "new 100.2"]
        assert viewer.page["total_number"] == 20_000
    async with any_node.http.get(f"/api/rooms/{ROOM}/document") as response:
        assert await response.read() == NEW


async def test_every_chunk_is_acknowledged_so_that_the_window_moves(node: Node) -> None:
    uploader = await node.join()
    await uploader.begin_upload("new.tsv", len(NEW))
    sent = 0
    for start in range(0, len(NEW), 100_000):
        chunk = NEW[start : start + 100_000]
        sent += len(chunk)
        await uploader.say_raw(chunk)
        ack = await uploader.expect("ack")
        assert ack["received"] == sent
        assert ack["stored"] <= sent
        assert ack["done"] is False
    await uploader.say("upload_end")
    ack = await uploader.expect("ack")
    assert (ack["done"], ack["stored"]) == (True, len(NEW))


async def test_the_first_page_shows_while_the_rest_still_arrives(any_node: Node) -> None:
    uploader, other = await any_node.join(), await any_node.join()
    id = await announced(uploader, [other])
    assert other.registers["document"]["complete"] is False
    assert 100 <= other.registers["document"]["rows"] < 20_000
    upload = other.registers["upload"]
    assert (upload["id"], upload["name"], upload["size"]) == (id, "new.tsv", len(NEW))
    assert 0 < upload["received"] < len(NEW)
    late = await any_node.join()
    await late.expect("page", document=id, first_row=1)
    for start in range(CHUNK, len(NEW), CHUNK):
        await uploader.say_raw(NEW[start : start + CHUNK])
    await uploader.say("upload_end")
    for viewer in (uploader, other, late):
        await viewer.sees(id)
        assert viewer.registers["document"]["rows"] == 20_000


async def test_a_late_joiner_after_the_upload_is_told_the_final_number_of_rows(node: Node) -> None:
    watcher = await node.join()
    id = (await watcher.upload("new.tsv", NEW))["upload"]
    await watcher.sees(id)
    late = await node.join()
    assert (await late.expect("page"))["total_number"] == 20_000


async def test_progress_is_told_at_most_four_times_a_second(start_node: StartNode) -> None:
    inner = memory()
    times: list[float] = []

    async def append(room: str, **arguments: Any) -> Any:
        upload = arguments["set"].get("upload")
        if upload is not None and upload["received"]:
            times.append(asyncio.get_running_loop().time())
        return await inner.append(room, **arguments)

    node = await start_node(Wrapped(inner, append=append))
    uploader = await node.join()
    await uploader.begin_upload("long.tsv", None)
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.9
    row = b"x" * 100 + b"\n"
    while loop.time() < end:
        await uploader.say_raw(row * 700)
        await uploader.expect("ack")
    await uploader.say("upload_cancel")
    await uploader.sees(None)
    assert 3 <= len(times) <= 4
    assert min(b - a for a, b in pairwise(times)) >= 0.24


async def test_a_second_file_replaces_the_table_for_everyone(any_node: Node) -> None:
    old, viewers = await shown_on_page(any_node, 7)
    done = await viewers[1].upload("new.tsv", NEW)
    assert done["upload"] != old
    for viewer in viewers:
        await viewer.sees(done["upload"], first_row=1)
        assert viewer.registers["document"]["version"] == 2


async def test_a_small_file_is_shown_at_once_and_complete(node: Node) -> None:
    uploader, other = await node.join(), await node.join()
    done = await uploader.upload("small.tsv", b"id\tname\n1\tone\n")
    await other.sees(done["upload"])
    assert other.page["data"] == [["1", "one"]]
    assert all(
        told["set"]["document"]["complete"]
        for told in other.seen
        if "document" in told.get("set", {})
    )


async def test_a_table_with_only_a_header_is_a_table(node: Node) -> None:
    uploader = await node.join()
    done = await uploader.upload("header.tsv", b"id\tname")
    await uploader.sees(done["upload"])
    assert (uploader.page["header"], uploader.page["data"]) == (["id", "name"], [])
    assert uploader.page["total_number"] == 0


async def test_the_page_can_be_turned_while_the_table_arrives_and_stays_turned(
    node: Node,
) -> None:
    _, (uploader, other) = await shown_on_page(node, 7)
    id = await announced(uploader, [other])
    await other.turn(3)
    for viewer in (uploader, other):
        await viewer.expect("page", document=id, page_no=3)
    await uploader.send_chunks(NEW[CHUNK:])
    await uploader.say("upload_end")
    for viewer in (uploader, other):
        await viewer.sees(id, first_row=201)


async def test_curl_sends_a_file_and_gets_the_document(any_node: Node) -> None:
    viewer = await any_node.join()
    body = Slowly()
    sending = asyncio.create_task(any_node.put(aiter(body), name="trips.tsv"))
    body.send(NEW[:CHUNK])
    await viewer.expect("page", first_row=1)
    assert viewer.registers["document"]["complete"] is False
    assert viewer.registers["upload"]["name"] == "trips.tsv"
    body.send(NEW[CHUNK:])
    body.end()
    document = await asyncio.wait_for(sending, PATIENCE)
    assert (document["name"], document["rows"], document["complete"]) == ("trips.tsv", 20_000, True)
    await viewer.sees(document["id"])


async def test_a_file_without_a_name_gets_one(node: Node) -> None:
    async with node.http.put(f"/api/rooms/{ROOM}/document", data=OLD) as response:
        assert (await response.json())["name"] == "table.tsv"


# One upload at a time


async def test_a_second_upload_is_refused_and_told_which_file_is_arriving(any_node: Node) -> None:
    _, (uploader, other) = await shown_on_page(any_node, 7)
    id = await announced(uploader, [other])
    await other.say("upload", name="late.tsv", size=5)
    error = await other.expect_error("upload_in_progress")
    assert "new.tsv" in error["message"]
    assert (error["retry"], error["about"]) == (True, "upload")
    problem = await any_node.refusal(
        "PUT", f"/api/rooms/{ROOM}/document", 409, "upload_in_progress", data=b"a\n"
    )
    assert "new.tsv" in problem["detail"]
    await uploader.say("upload", name="again.tsv", size=5)
    await uploader.expect_error("upload_in_progress")
    await uploader.send_chunks(NEW[CHUNK:])
    await uploader.say("upload_end")
    for viewer in (uploader, other):
        await viewer.sees(id)


async def test_of_two_uploads_that_begin_in_the_same_moment_one_is_taken(any_node: Node) -> None:
    uploaders = [await any_node.join() for _ in range(4)]
    for uploader in uploaders:
        await uploader.say("upload", name="x.tsv", size=5)
    told = await asyncio.gather(
        *(u.until(lambda m: m["type"] in ("ack", "error"), errors=True) for u in uploaders)
    )
    assert sorted(m["type"] for m in told) == ["ack", "error", "error", "error"]
    codes = {m["code"] for m in told if m["type"] == "error"}
    assert codes == {"upload_in_progress"}


async def test_a_silent_put_that_is_replaced_is_answered_at_once(any_node: Node) -> None:
    path = f"/api/rooms/{ROOM}/document"
    viewer = await any_node.join()
    body = Slowly()
    body.send(NEW[:CHUNK])
    sending = asyncio.create_task(
        any_node.refusal("PUT", path, 409, "upload_replaced", data=aiter(body))
    )
    await viewer.expect("page", first_row=1)
    # Nothing more of the first file comes, and its connection stays open.
    async with any_node.http.put(f"{path}?replace=true", data=OLD) as answer:
        assert answer.status == 200
        document = await answer.json()
    assert "replaced" in (await sending)["detail"]
    await viewer.sees(document["id"])


async def test_uploads_into_different_rooms_do_not_meet(node: Node) -> None:
    one, two = await node.join(ROOM), await node.join(OTHER)
    await one.begin_upload("one.tsv", None)
    done = await two.upload("two.tsv", OLD)
    await two.sees(done["upload"])


async def test_what_follows_a_refused_upload_is_no_further_mistake(node: Node) -> None:
    one, two = await node.join(), await node.join()
    await one.begin_upload("one.tsv", None)
    await two.say("upload", name="two.tsv", size=5)
    await two.say_raw(b"a\tb\n")
    await two.say("upload_end")
    await two.expect_error("upload_in_progress")
    await two.until_quiet()
    assert [error["about"] for error in two.errors] == ["upload", "peek"]
    await two.say("upload_end")
    await two.expect_error("no_upload")


# Whatever goes wrong, the previous table and its page come back


async def test_a_cancelled_upload_brings_back_the_table_and_its_page(any_node: Node) -> None:
    old, (uploader, other) = await shown_on_page(any_node, 7)
    await announced(uploader, [other])
    await other.turn(2)
    await other.shows(2)
    await uploader.say("upload_cancel")
    for viewer in (uploader, other):
        await viewer.sees(old, first_row=601)
    assert not any(m["type"] == "ack" and m["done"] for m in uploader.seen)
    done = await other.upload("next.tsv", NEW)
    await uploader.sees(done["upload"])


async def test_a_cancelled_first_upload_leaves_an_empty_room(node: Node) -> None:
    uploader, other = await node.join(), await node.join()
    await announced(uploader, [other])
    await uploader.say("upload_cancel")
    for viewer in (uploader, other):
        await viewer.sees(None)
    late = await node.join()
    assert late.registers == {}


async def test_an_upload_cancelled_before_its_first_page_disturbs_nobody(node: Node) -> None:
    old, (uploader, other) = await shown_on_page(node, 7)
    count = len(other.seen)
    await uploader.begin_upload("new.tsv", None)
    await uploader.say_raw(b"id\tname\n")
    await uploader.say("upload_cancel")
    await other.expect("state")
    await other.sees(old, first_row=601)
    assert not [m for m in other.seen[count:] if m["type"] == "page"]


@pytest.mark.parametrize("how", ["closes", "vanishes"])
async def test_when_the_uploader_never_returns_the_table_and_its_page_come_back(
    any_node: Node, how: str
) -> None:
    old, (uploader, other) = await shown_on_page(any_node, 7)
    await announced(uploader, [other])
    if how == "closes":
        await uploader.close()
    else:
        uploader.vanish()
    await other.sees(old, first_row=601)


async def test_a_put_that_is_broken_off_brings_back_the_table_and_its_page(
    any_node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    old, (viewer, _) = await shown_on_page(any_node, 7)
    body = Slowly()
    sending = asyncio.create_task(any_node.put(aiter(body), name="new.tsv"))
    body.send(NEW[:CHUNK])
    await viewer.expect("page", first_row=1)
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    await viewer.sees(old, first_row=601)
    assert "Traceback" not in caplog.text


async def test_a_put_shorter_than_it_said_is_no_document(node: Node) -> None:
    old, (viewer, _) = await shown_on_page(node, 7)
    _, writer = await asyncio.open_connection(*node.host.split(":"))
    writer.write(
        f"PUT /api/rooms/{ROOM}/document HTTP/1.1\r\nHost: {node.host}\r\n"
        f"Content-Length: {len(NEW)}\r\n\r\n".encode()
        + NEW[:CHUNK]
    )
    await viewer.expect("page", first_row=1)
    writer.write_eof()
    await viewer.sees(old, first_row=601)
    writer.close()
    await writer.wait_closed()


def cut_off(node: Node) -> None:
    """It can change nothing any more."""

    async def append(*args: Any, **options: Any) -> Any:
        raise Unavailable("This node is cut off.")

    node.app[BACKEND].append = append  # type: ignore[method-assign]


async def test_when_the_uploaders_node_dies_another_one_brings_the_table_back(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_place, "STORE_PATIENCE", 0.2)
    store = MemoryStore()
    doomed = await start_node(Wrapped(memory(store)), upload_lease=0.6, upload_pause=0.8)
    sound = await start_node(memory(store))
    old, (watcher, _) = await shown_on_page(sound, 7)
    uploader = await doomed.join()
    await announced(uploader, [watcher])
    cut_off(doomed)
    await watcher.sees(old, first_row=601)
    error = await uploader.expect("error")
    assert error["retry"] is True
    await uploader.sees(old, first_row=601)


async def test_an_upload_whose_lease_ended_is_over_for_whoever_asks_next(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_place, "STORE_PATIENCE", 0.2)
    store = MemoryStore()
    doomed = await start_node(Wrapped(memory(store)), upload_lease=0.3, upload_pause=0.5)
    sound = await start_node(memory(store))
    old = (await sound.put(OLD))["id"]
    uploader = await doomed.join()
    await announced(uploader, [])
    cut_off(doomed)
    async with asyncio.timeout(PATIENCE):
        while (await sound.registers())["document"]["id"] != old:
            await asyncio.sleep(0.05)
    assert (await sound.registers()).get("upload") is None
    assert (await sound.put(NEW))["version"] == 2


async def test_an_upload_that_was_given_up_cannot_go_on(start_node: StartNode) -> None:
    node = await start_node()
    old, (uploader, other) = await shown_on_page(node, 7)
    id = await announced(uploader, [other])
    # Another node restored the room, as if this one had been silent too long.
    backend = node.app[BACKEND]
    upload = other.registers["upload"]
    await backend.append(
        ROOM,
        set={"upload": None, "document": upload["previous"], "page": upload["previous_page"]},
        fields={"upload_id": "", "upload_lease": "", "document_id": old},
        expect={"upload_id": id},
    )
    await other.sees(old, first_row=601)
    await uploader.send_chunks(NEW[CHUNK:])
    await uploader.say("upload_end")
    await uploader.expect_error("upload_lost")
    late = await node.join()
    await late.sees(old, first_row=601)


async def test_an_upload_without_bytes_is_given_up_and_its_sender_told(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_store, "IDLE_LIMIT", 2.5)
    monkeypatch.setattr(accept_sending, "FAILURE_GRACE", 0.01)
    node = await start_node(upload_lease=0.3)
    old, (uploader, other) = await shown_on_page(node, 7)
    await announced(uploader, [other])
    error = await uploader.expect_error("upload_lost")
    assert error["about"] == "upload"
    assert "new.tsv" in error["message"]
    for viewer in (uploader, other):
        await viewer.sees(old, first_row=601)


async def test_a_put_without_bytes_is_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_api, "IDLE_LIMIT", 0.1)
    old, (viewer, _) = await shown_on_page(node, 7)
    body = Slowly()
    body.send(NEW[:CHUNK])
    await node.refusal("PUT", f"/api/rooms/{ROOM}/document", 409, "upload_lost", data=aiter(body))
    await viewer.sees(old, first_row=601)


async def test_a_lost_answer_to_the_beginning_does_not_lock_the_room(
    start_node: StartNode,
) -> None:
    inner = memory()
    lost = [Unavailable("The answer was lost.")]

    async def append(room: str, **arguments: Any) -> Any:
        change = await inner.append(room, **arguments)
        if lost and arguments["set"].get("upload"):
            raise lost.pop()
        return change

    node = await start_node(Wrapped(inner, append=append))
    uploader, other = await node.join(), await node.join()
    await uploader.say("upload", name="new.tsv")
    await uploader.expect_error("unavailable")
    done = await other.upload("other.tsv", OLD)
    await uploader.sees(done["upload"])


@pytest.mark.parametrize("door", ["socket", "put"])
async def test_an_uploader_who_vanishes_at_the_very_beginning_does_not_lock_the_room(
    start_node: StartNode, door: str
) -> None:
    inner = memory()
    begun = asyncio.Event()

    async def append(room: str, **arguments: Any) -> Any:
        change = await inner.append(room, **arguments)
        if not begun.is_set() and arguments["set"].get("upload"):
            begun.set()
            await asyncio.Event().wait()
        return change

    node = await start_node(Wrapped(inner, append=append))
    other = await node.join()
    async with asyncio.timeout(PATIENCE):
        if door == "socket":
            uploader = await node.join()
            await uploader.say("upload", name="new.tsv")
            await begun.wait()
            uploader.vanish()
        else:
            sending = asyncio.create_task(node.put(OLD))
            await begun.wait()
            sending.cancel()
    await other.settles(lambda v: v.rev >= 2 and v.registers.get("upload") is None)
    done = await other.upload("other.tsv", OLD)
    await other.sees(done["upload"])


async def test_a_storage_that_lost_blocks_is_noticed_at_the_end(start_node: StartNode) -> None:
    inner = memory()
    node = await start_node(Wrapped(inner))
    old, (uploader, other) = await shown_on_page(node, 7)
    id = await announced(uploader, [other])
    await inner.drop(ROOM, id)
    await uploader.send_chunks(NEW[CHUNK:])
    await uploader.say("upload_end")
    error = await uploader.expect_error("upload_lost")
    assert error["retry"] is True
    for viewer in (uploader, other):
        await viewer.sees(old, first_row=601)


async def test_a_short_outage_of_the_storage_does_not_end_an_upload(
    start_node: StartNode,
) -> None:
    inner = memory()
    failures = 3

    async def put_blocks(*args: Any) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable("Not now.")
        await inner.put_blocks(*args)

    node = await start_node(Wrapped(inner, put_blocks=put_blocks))
    assert (await node.put(NEW))["rows"] == 20_000
    assert failures == 0


# What is no table, and what is too much

BAD_FILES = {
    "empty": (b"", 422, "empty_document", "empty"),
    "blank lines": (b"\n\r\n\n", 422, "empty_document", "empty"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, 415, "not_text", "PNG"),
    "damaged archive": (b"\x1f\x8b\x08" + bytes(400), 422, "damaged", ".gz"),
    "over the limit": (table(6000), 413, "too_large", "150,000 bytes"),
    "a record over the limit": (b"id\n" + b"x" * 90_000, 413, "too_large", "80,000"),
}


@pytest.fixture
async def strict(start_node: StartNode) -> Node:
    started: Node = await start_node(
        document_limit=150_000, record_limit=80_000, chunk_limit=70_000, upload_window=140_000
    )
    return started


@pytest.mark.parametrize("kind", BAD_FILES)
async def test_a_bad_file_sent_by_a_viewer_is_refused_by_name_and_everyone_keeps_the_old(
    strict: Node, kind: str
) -> None:
    data, _, code, names = BAD_FILES[kind]
    old, (uploader, other) = await shown_on_page(strict, 7)
    await uploader.begin_upload("bad.bin", None)
    for start in range(0, len(data), 70_000):
        await uploader.say_raw(data[start : start + 70_000])
    await uploader.say("upload_end")
    error = await uploader.expect_error(code)
    assert names in error["message"]
    assert error["about"] in ("upload", "upload_end")
    assert error["retry"] is False
    for viewer in (uploader, other):
        await viewer.sees(old, first_row=601)
    assert other.errors == []
    done = await uploader.upload("good.tsv", OLD)
    await other.sees(done["upload"])


@pytest.mark.parametrize("kind", BAD_FILES)
async def test_a_bad_file_sent_by_put_is_refused_by_name_and_everyone_keeps_the_old(
    strict: Node, kind: str
) -> None:
    data, status, code, names = BAD_FILES[kind]
    old, (viewer, _) = await shown_on_page(strict, 7)

    async def in_pieces() -> Any:
        yield data

    path = f"/api/rooms/{ROOM}/document"
    problem = await strict.refusal("PUT", path, status, code, data=in_pieces())
    assert names in problem["detail"]
    await viewer.sees(old, first_row=601)
    assert (await strict.put(OLD))["version"] == 2


async def test_a_file_that_says_it_is_too_large_is_refused_before_it_is_sent(
    strict: Node,
) -> None:
    old, (uploader, other) = await shown_on_page(strict, 7)
    for size in (150_001, 10**30):
        await uploader.say("upload", name="big.tsv", size=size)
        error = await uploader.expect_error("too_large")
        assert "150,000" in error["message"]
    path = f"/api/rooms/{ROOM}/document"
    await strict.refusal("PUT", path, 413, "too_large", data=b"x" * 150_001)
    await other.sees(old, first_row=601)
    assert not any("upload" in told.get("set", {}) for told in other.seen if not told.get("whole"))


async def test_only_where_there_was_a_table_it_is_said_that_everyone_keeps_it(
    start_node: StartNode,
) -> None:
    node = await start_node(document_limit=512 * 1024)
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    viewer = await node.join()
    kept = "Everyone keeps what they had."

    async def told() -> list[str]:
        url = f"/api/rooms/{ROOM}/document"
        problem = await node.refusal("PUT", url, 415, "not_text", data=picture)
        await viewer.say("upload", name="a.png", size=len(picture))
        await viewer.expect("ack")
        await viewer.say_raw(picture)
        await viewer.say("upload_end")
        return [problem["detail"], (await viewer.expect("error"))["message"]]

    for words in await told():
        assert kept not in words
        assert words.endswith(".")
    large = bytes(512 * 1024 + 1)
    problem = await node.refusal("PUT", f"/api/rooms/{ROOM}/document", 413, "too_large", data=large)
    assert kept not in problem["detail"]
    await node.put(table(10))
    await viewer.settles(lambda v: v.registers.get("document") is not None)
    for words in await told():
        assert words.endswith(kept)


async def test_a_file_as_large_as_the_limit_is_taken(start_node: StartNode) -> None:
    node = await start_node(document_limit=len(OLD))
    viewer = await node.join()
    assert (await viewer.upload("old.tsv", OLD))["stored"] == len(OLD)
    assert (await node.put(OLD))["size"] == len(OLD)


async def test_a_chunk_over_the_limit_ends_the_upload_and_names_the_limit(strict: Node) -> None:
    old, (uploader, other) = await shown_on_page(strict, 7)
    await uploader.begin_upload("new.tsv", None)
    await uploader.say_raw(b"x" * 70_001)
    error = await uploader.expect_error("too_large")
    assert "70,000" in error["message"]
    await uploader.say_raw(b"more\n")
    await uploader.until_quiet()
    assert len(uploader.errors) == 2, "the chunks that follow are no further mistake"
    await other.sees(old, first_row=601)


async def test_a_file_of_short_records_is_taken_whatever_the_record_limit(
    start_node: StartNode,
) -> None:
    node = await start_node(record_limit=64)
    assert (await node.put(OLD))["rows"] == 1000
    await node.refusal(
        "PUT", f"/api/rooms/{ROOM}/document", 413, "too_large", data=b"x" * 65 + b"\n"
    )


async def test_a_table_wider_than_the_limit_is_refused_and_one_as_wide_taken(
    start_node: StartNode,
) -> None:
    node = await start_node(column_limit=3)
    old, (viewer, _) = await shown_on_page(node, 7)
    path = f"/api/rooms/{ROOM}/document"
    problem = await node.refusal("PUT", path, 413, "too_large", data=b"a\tb\tc\td\n1\t2\t3\t4\n")
    assert "3" in problem["detail"]
    await viewer.sees(old, first_row=601)
    assert (await node.put(b"a\tb\tc\n1\t2\t3\n"))["columns"] == 3


async def test_a_full_storage_refuses_the_upload_and_keeps_what_is_shown(
    start_node: StartNode,
) -> None:
    node = await start_node(memory(storage_limit=200_000))
    old, (uploader, other) = await shown_on_page(node, 7)
    await uploader.begin_upload("huge.tsv", None)
    incompressible = "\n".join(secrets.token_hex(40) for _ in range(10_000)).encode()
    for start in range(0, len(incompressible), CHUNK):
        await uploader.say_raw(incompressible[start : start + CHUNK])
    await uploader.say("upload_end")
    error = await uploader.expect_error("storage_full")
    assert "200,000" in error["message"]
    assert error["retry"] is True
    await other.sees(old, first_row=601)


@pytest.mark.processes
@pytest.mark.parametrize("door", ["socket", "put"])
async def test_a_redis_that_is_full_in_the_middle_refuses_the_upload_and_pages_still_turn(
    start_node: StartNode, redis_server: RedisServer, door: str
) -> None:
    backend = RedisBackend(
        redis_server.url, secrets.token_hex(4), prefix=f"{secrets.token_hex(4)}:"
    )
    node = await start_node(backend)
    old, (uploader, other) = await shown_on_page(node, 7)
    data = "\n".join(secrets.token_hex(40) for _ in range(12_000)).encode()
    async with Redis.from_url(redis_server.url) as raw:
        before = await raw.config_get("maxmemory*")
        await raw.config_set("maxmemory-policy", "noeviction")
        await raw.config_set("maxmemory", (await raw.info("memory"))["used_memory"] + 250_000)
        try:
            if door == "put":
                path = f"/api/rooms/{ROOM}/document"
                error = await node.refusal("PUT", path, 507, "storage_full", data=data)
                sentence = error["detail"]
            else:
                await uploader.begin_upload("huge.tsv", len(data))
                for start in range(0, len(data), CHUNK):
                    await uploader.say_raw(data[start : start + CHUNK])
                await uploader.say("upload_end")
                error = await uploader.expect_error("storage_full")
                sentence = error["message"]
            assert "no room for more" in sentence
            assert error["retry"] is True
            await other.sees(old, first_row=601)
            await other.turn(3)
            await uploader.shows(3)
            late = await node.join()
            await late.shows(3)
        finally:
            for name, value in before.items():
                await raw.config_set(name, value)
    # Once there is room, the next one is taken.
    document = await node.put(NEW)
    await other.sees(document["id"])


async def test_the_failure_of_one_upload_does_not_end_the_next(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_sending, "FAILURE_GRACE", 0.2)
    node = await start_node(memory(storage_limit=200_000))
    uploader = await node.join()
    await uploader.begin_upload("huge.tsv", None)
    incompressible = "\n".join(secrets.token_hex(40) for _ in range(10_000)).encode()
    for start in range(0, len(incompressible), CHUNK):
        await uploader.say_raw(incompressible[start : start + CHUNK])
    await uploader.say("upload_end")
    await uploader.expect_error("storage_full")
    await uploader.until_quiet()
    ack = await uploader.begin_upload("small.tsv", None)
    await asyncio.sleep(0.3)  # longer than the grace of the one that failed
    await uploader.say_raw(b"id\n1\n")
    await uploader.say("upload_end")
    await uploader.sees(ack["upload"])


# Names


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("trips.tsv", "trips.tsv"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\trips.tsv", "trips.tsv"),
        ("../../x.tsv", "x.tsv"),
        ("a\x00b\r\nc\td\x7f\x85.tsv", "ab c d .tsv"),
        ("line\u2028and\u2029paragraph", "line and paragraph"),
        ("harmless\u202evst.exe", "harmlessvst.exe"),
        ("\u2066isolated\u2069", "isolated"),
        ("Umsätze – Jänner.tsv", "Umsätze – Jänner.tsv"),
        ("مبيعات.tsv", "مبيعات.tsv"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("   ", "table.tsv"),
        ("", "table.tsv"),
        ("folder/", "table.tsv"),
        (".", "table.tsv"),
        ("folder\\..", "table.tsv"),
        ("\u200b..\u200e", "table.tsv"),
        ("x\u200b\u200c\u200d\u200e\u200f\ufeff\u3164.tsv", "x.tsv"),
        ("\ud800x", "x"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_name_is_one_line_without_folders_or_tricks(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


async def test_names_are_cleaned_on_both_doors(node: Node) -> None:
    viewer = await node.join()
    assert (await node.put(OLD, name="../a\nb/c\u202ed.tsv"))["name"] == "cd.tsv"
    await viewer.say("upload", name="x\\y\x07.tsv", size=3)
    await viewer.settles(lambda v: (v.registers.get("upload") or {}).get("name") == "y.tsv")


async def test_a_file_that_was_cut_off_while_it_was_read_is_no_document(node: Node) -> None:
    old, (uploader, other) = await shown_on_page(node, 7)
    await uploader.begin_upload("cut.tsv", 1_000)
    await uploader.send_chunks(b"a\tb\n1\t2\n")
    await uploader.say("upload_end")
    told = await uploader.expect_error("upload_lost")
    assert "8 bytes of cut.tsv came instead of 1,000" in told["message"]
    for viewer in (uploader, other):
        await viewer.sees(old, first_row=601)


async def test_a_slow_put_shows_its_first_page_and_is_not_taken_for_silent(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_store, "IDLE_LIMIT", 0.3)
    monkeypatch.setattr(accept_api, "GATHER_SECONDS", 1e9)
    viewer = await node.join()
    rest = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield table(3_000)[: 70 * 1024]
        await asyncio.wait_for(rest.wait(), 10)
        yield b"\n"

    sending = asyncio.create_task(node.put(body()))
    await viewer.shows(1)  # long before 256 KiB have come
    rest.set()
    await sending


async def test_a_node_that_ends_tells_those_who_send_and_the_table_comes_back(
    node: Node,
) -> None:
    old, (viewer,) = await shown_on_page(node, 7, viewers=1)
    half, rest = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield table(9_000)[: 300 * 1024]
        half.set()
        while not rest.is_set():
            yield b"1\t2\t3\n"
            await asyncio.sleep(0.02)

    async def send() -> tuple[int, dict[str, Any]]:
        url = f"/api/rooms/{ROOM}/document"
        async with node.http.put(url, data=body()) as answer:
            return answer.status, await answer.json()

    sending = asyncio.create_task(send())
    await viewer.settles(lambda v: not v.registers["document"]["complete"])
    await node.app[UPLOADS].drain()
    status, told = await asyncio.wait_for(sending, 10)
    rest.set()
    assert (status, told["code"]) == (503, "draining")
    await viewer.sees(old, first_row=601)
    await node.refusal("PUT", f"/api/rooms/{ROOM}/document", 503, "draining", data=table(3))
