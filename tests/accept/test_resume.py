"""Uploads that outlive their connection, their page and their node, and who replaces whose."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import to_builtins

from server.accept.files import sending as accept_sending
from server.accept.files import store as accept_store
from server.app import BACKEND, HUB, UPLOADS
from server.document.messages import Person
from server.errors import Unavailable, UploadLost
from server.fanout.memory import MemoryStore
from tests.accept.client import ROOM, Node, SocketClient, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.accept.test_sheets import workbook
from tests.room_client import PATIENCE, Message, table

OLD = table(1000, name="old")
NEW = table(20_000, name="new")  # some 600 KB, ten blocks
RAGGED = b"".join(
    line + (b"\tmore" if number % 997 == 5 else b"") + b"\n"
    for number, line in enumerate(NEW.splitlines())
)
STEP = 50_000
# What the register of a table says of how it came here.
OF_ITS_SENDING = ("id", "created", "version", "by")


class Sending:
    """One file on its way, over as many connections as it takes."""

    def __init__(self, data: bytes, name: str = "new.tsv", **more: Any) -> None:
        self.data = data
        self.name = name
        self.more = more
        self.token = ""
        self.id = ""
        self.at = 0  # bytes that the server has taken

    async def begin(self, viewer: SocketClient, **more: Any) -> Message:
        """Start, or go on; the `ack`."""
        if self.token:
            more["resume"] = self.token
        await viewer.say("upload", name=self.name, size=len(self.data), **self.more, **more)
        ack = await viewer.expect("ack")
        if self.id:
            assert ack["upload"] == self.id
        self.id, self.token, self.at = ack["upload"], ack["token"], ack["received"]
        return ack

    async def send(self, viewer: SocketClient, until: int | None = None) -> None:
        """Send up to byte `until`, and wait until it was taken."""
        until = len(self.data) if until is None else until
        while self.at < until:
            end = min(until, self.at + STEP)
            await viewer.say_raw(self.data[self.at : end])
            self.at = end
            await viewer.expect("ack", received=end)

    async def end(self, viewer: SocketClient) -> Message:
        await viewer.say("upload_end")
        return await viewer.expect("ack", done=True)

    async def finish(self, viewer: SocketClient) -> None:
        await self.begin(viewer)
        await self.send(viewer)
        await self.end(viewer)


async def bytes_of(node: Node) -> bytes:
    async with node.http.get(f"/api/rooms/{ROOM}/document") as response:
        assert response.status == 200
        return await response.read()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def known(registers: dict[str, Any]) -> dict[str, Any]:
    """What a table's register says of the file."""
    document = registers["document"]
    return {name: document[name] for name in document if name not in OF_ITS_SENDING}


async def paused(viewer: SocketClient, id: str) -> dict[str, Any]:
    """Wait until this upload waits for its sender; the register."""

    def waits(client: SocketClient) -> bool:
        upload = client.registers.get("upload") or {}
        return upload.get("id") == id and upload.get("paused") is True

    await viewer.settles(waits)
    return dict(viewer.registers["upload"])


def steadily(viewer: SocketClient) -> None:
    """No register of an upload that this viewer was told ever went back."""
    furthest: dict[str, tuple[int, int]] = {}
    for told in viewer.seen:
        if told["type"] != "state":
            continue
        upload, document = told["set"].get("upload"), told["set"].get("document")
        if upload:
            now = upload["received"], (document or {}).get("rows", 0)
            before = furthest.get(upload["id"], (0, 0))
            assert now[0] >= before[0]
            if document and document["id"] == upload["id"]:
                assert now[1] >= before[1]
            furthest[upload["id"]] = max(now[0], before[0]), max(now[1], before[1])


# Going on


@pytest.mark.parametrize("at", [0, 100, 64 * 1024, 66_000, 131_073, 300_000, len(RAGGED)])
async def test_after_a_lost_connection_it_ends_in_the_same_bytes_and_the_same_report(
    node: Node, at: int
) -> None:
    await node.put(RAGGED, name="new.tsv")
    whole = known(await node.registers())
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(RAGGED)
    await sending.begin(uploader)
    await sending.send(uploader, at)
    uploader.vanish()
    await paused(watcher, sending.id)
    again = await node.join()
    ack = await sending.begin(again)
    assert ack["received"] == ack["stored"] <= at
    # Whatever was cut into blocks need not come again.
    assert at - ack["received"] <= 140_000
    await sending.send(again)
    await sending.end(again)
    await watcher.sees(sending.id)
    assert sha256(await bytes_of(node)) == sha256(RAGGED)
    assert known(watcher.registers) == whole
    assert whole["report"]["ragged"] > 10
    steadily(watcher)


async def test_a_connection_that_is_lost_every_few_bytes_still_brings_it_through(
    any_node: Node,
) -> None:
    sending = Sending(NEW)
    watcher = await any_node.join()
    cuts = 0
    async with asyncio.timeout(6 * PATIENCE):
        while sending.at < len(NEW):
            uploader = await any_node.join()
            await sending.begin(uploader)
            await sending.send(uploader, min(len(NEW), sending.at + 90_000))
            if sending.at < len(NEW):
                uploader.vanish()
                await paused(watcher, sending.id)
                cuts += 1
    assert cuts >= 5
    await sending.end(uploader)
    await watcher.sees(sending.id)
    assert sha256(await bytes_of(any_node)) == sha256(NEW)
    steadily(watcher)


async def test_whoever_comes_back_need_not_wait_until_the_old_connection_is_noticed_to_be_gone(
    node: Node,
) -> None:
    """A network that is gone says nothing, so the former connection looks alive."""
    first, second = await node.join(), await node.join()
    sending = Sending(NEW)
    await sending.begin(first)
    await sending.send(first, 200_000)
    await sending.begin(second)
    told = await first.expect_error("upload_lost")
    assert "another connection" in told["message"]
    await first.say_raw(NEW[200_000:210_000])  # from before it knew
    await sending.send(second)
    await sending.end(second)
    for viewer in (first, second):
        await viewer.sees(sending.id)
    assert sha256(await bytes_of(node)) == sha256(NEW)


async def test_the_token_is_told_once_and_no_part_of_it_to_the_others(node: Node) -> None:
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    assert len(sending.token) >= 20
    await sending.send(uploader)
    await sending.end(uploader)
    await watcher.sees(sending.id)
    acks = [told for told in uploader.seen if told["type"] == "ack"]
    assert [bool(ack.get("token")) for ack in acks] == [True] + [False] * (len(acks) - 1)
    assert sending.token not in str(watcher.seen)
    snapshot = await node.app[BACKEND].snapshot(ROOM)
    assert not [name for name in snapshot.fields if name.startswith("upload_")]


async def test_while_it_waits_the_register_says_until_when(start_node: StartNode) -> None:
    node = await start_node(upload_pause=77)
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 300_000)
    before = node.app[BACKEND].now_ms()
    uploader.vanish()
    upload = await paused(watcher, sending.id)
    assert before + 77_000 <= upload["lease"] <= node.app[BACKEND].now_ms() + 77_000
    await sending.begin(await node.join())
    await watcher.settles(lambda v: not v.registers["upload"]["paused"])


async def test_who_comes_second_to_go_on_is_told_that_the_other_has_ended_it(node: Node) -> None:
    uploads, data = node.app[UPLOADS], table(3000)
    first = uploads.open(ROOM, name="t.tsv", size=len(data), token="secret")
    await first.begin()
    await first.feed(data[:70_000])
    second = uploads.open(ROOM, name="t.tsv", size=len(data), token="secret", resume=True)
    await second.begin()
    await second.feed(data[second.received :])
    await second.finish()

    async def goes_on_all_the_same() -> None:
        await first.feed(data[70_000:])
        await first.finish()

    with pytest.raises(UploadLost, match=r"another connection"):
        await goes_on_all_the_same()
    await first.abort()
    assert await bytes_of(node) == data


async def test_who_sends_is_told_of_the_upload_and_of_its_table(node: Node) -> None:
    uploads, data = node.app[UPLOADS], table(3000)
    one, two = Person(id="a", name="Ada"), Person(id="b", name="Ada")
    first = uploads.open(ROOM, name="t.tsv", size=len(data), token="secret", by=one)
    await first.begin()
    await first.feed(data[:70_000])
    await first.pause()
    assert (await node.registers())["upload"]["by"]["id"] == "a"
    second = uploads.open(ROOM, name="t.tsv", size=len(data), token="secret", resume=True, by=two)
    await second.begin()
    assert (await node.registers())["upload"]["by"]["id"] == "b"
    await second.feed(data[second.received :])
    document = await second.finish()
    assert document.by == two
    assert (await node.registers())["document"]["by"] == to_builtins(two)


# Silence


@pytest.fixture
def soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_store, "QUIET_LIMIT", 0.2)
    monkeypatch.setattr(accept_store, "LOOK_INTERVAL", 0.02)


async def goes_on(viewer: SocketClient, id: str) -> None:
    """Wait until this upload is paused no longer."""

    def moves(client: SocketClient) -> bool:
        upload = client.registers.get("upload") or {}
        return upload.get("id") == id and not upload.get("paused")

    await viewer.settles(moves)


@pytest.mark.usefixtures("soon_quiet")
@pytest.mark.parametrize("at", [0, 100, 400_000])
async def test_while_a_sender_is_silent_the_others_see_a_pause_which_its_next_byte_ends(
    any_node: Node, at: int
) -> None:
    watcher, uploader = await any_node.join(), await any_node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, at)
    upload = await paused(watcher, sending.id)
    assert upload["received"] == at
    await sending.send(uploader, at + 10)
    await goes_on(watcher, sending.id)
    await paused(watcher, sending.id)
    await sending.send(uploader)
    await sending.end(uploader)
    await watcher.sees(sending.id)
    assert sha256(await bytes_of(any_node)) == sha256(NEW)
    assert not uploader.errors
    steadily(watcher)


@pytest.mark.usefixtures("soon_quiet")
async def test_a_put_that_nothing_comes_of_is_paused_meanwhile(node: Node) -> None:
    watcher = await node.join()
    more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield NEW[:100_000]
        await more.wait()
        yield NEW[100_000:]

    url = f"/api/rooms/{ROOM}/document"
    putting = asyncio.create_task(node.http.put(url, params={"name": "new.tsv"}, data=body()))
    await watcher.settles(lambda client: bool(client.registers.get("upload")))
    upload = await paused(watcher, watcher.registers["upload"]["id"])
    more.set()
    async with asyncio.timeout(PATIENCE):
        assert (await putting).status == 200
    await watcher.sees(upload["id"])


@pytest.mark.usefixtures("soon_quiet")
async def test_the_beginning_of_a_chunk_ends_the_pause_and_silence_ends_no_other_persons(
    node: Node,
) -> None:
    heard_at = 0.0
    uploads = node.app[UPLOADS]
    ingest = uploads.open(
        ROOM, name="new.tsv", size=None, token="secret", heard_at=lambda: heard_at
    )
    await ingest.begin()
    watcher = await node.join()
    await paused(watcher, ingest.id)
    heard_at = time.monotonic() + 1000  # a part of a message is here
    await goes_on(watcher, ingest.id)
    heard_at = 0.0
    await paused(watcher, ingest.id)
    # Somebody else is refused, as while bytes come.
    other = await node.join()
    await other.say("upload", name="other.tsv", size=10)
    assert (await other.expect("error"))["code"] == "upload_in_progress"
    await ingest.feed(NEW)
    assert (await ingest.finish()).rows == 20_000


@pytest.mark.usefixtures("soon_quiet")
async def test_a_node_that_is_slow_itself_does_not_call_its_sender_silent(
    start_node: StartNode,
) -> None:
    free = asyncio.Event()
    inner = memory(MemoryStore())

    async def put_blocks(*args: Any, **options: Any) -> Any:
        await free.wait()
        return await inner.put_blocks(*args, **options)

    node = await start_node(Wrapped(inner, put_blocks=put_blocks), upload_lease=0.3)
    watcher = await node.join()
    ingest = node.app[UPLOADS].open(ROOM, name="new.tsv", size=None, token="secret")
    await ingest.begin()
    data = table(100_000, name="long")

    async def send() -> None:
        for start in range(0, len(data), 200_000):
            await ingest.feed(data[start : start + 200_000])
        await ingest.finish()

    sending = asyncio.create_task(send())
    await asyncio.sleep(1.5 * accept_store.QUIET_LIMIT)
    free.set()
    async with asyncio.timeout(PATIENCE):
        await sending
    await watcher.sees(ingest.id)
    told = [each["set"].get("upload") for each in watcher.seen if each["type"] == "state"]
    assert not any(upload and upload.get("paused") for upload in told)


# Another node


@pytest.mark.parametrize("noticed", [False, True], ids=["at once", "after its lease"])
async def test_when_its_node_dies_it_goes_on_on_another_one(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch, noticed: bool
) -> None:
    store = MemoryStore()
    cut_off = asyncio.Event()
    inner = memory(store)

    async def append(*args: Any, **options: Any) -> Any:
        if cut_off.is_set():
            raise Unavailable("This node is cut off.")
        return await inner.append(*args, **options)

    doomed = await start_node(Wrapped(inner, append=append), upload_lease=0.6)
    sound = await start_node(memory(store), upload_lease=0.6)
    old = (await sound.put(OLD))["id"]
    watcher, uploader = await sound.join(), await doomed.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 400_000)
    cut_off.set()
    if noticed:
        # The node cannot say so itself; another one does.
        upload = await paused(watcher, sending.id)
        assert upload["previous"]["id"] == old
    again = await sound.join()
    await sending.begin(again)
    await sending.send(again)
    cut_off.clear()  # it believes that the upload is its own
    await sending.end(again)
    await watcher.sees(sending.id)
    assert sha256(await bytes_of(sound)) == sha256(NEW)
    steadily(watcher)
    # The one that was cut off gives nothing up that is not its own.
    await uploader.close()
    await watcher.until_quiet()
    await watcher.sees(sending.id)


async def test_a_node_that_ends_pauses_its_uploads_and_another_one_goes_on(
    start_node: StartNode,
) -> None:
    store = MemoryStore()
    ending, staying = await start_node(memory(store)), await start_node(memory(store))
    watcher, uploader = await staying.join(), await ending.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 400_000)
    await ending.app[UPLOADS].drain()
    await paused(watcher, sending.id)
    # What is still on its way is no mistake, and no error says that the upload has failed.
    await uploader.say_raw(NEW[400_000:450_000])
    await ending.app[HUB].drain(0)
    await uploader.ends()
    assert not uploader.errors
    again = await staying.join()
    ack = await sending.begin(again)
    assert ack["received"] > 300_000
    await sending.send(again)
    await sending.end(again)
    await watcher.sees(sending.id)
    assert sha256(await bytes_of(staying)) == sha256(NEW)
    assert watcher.registers["document"]["rows"] == 20_000
    steadily(watcher)


async def test_an_ending_node_takes_nothing_up_and_says_to_ask_again(
    start_node: StartNode,
) -> None:
    store = MemoryStore()
    ending, staying = await start_node(memory(store)), await start_node(memory(store))
    uploader = await staying.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 300_000)
    await ending.app[UPLOADS].drain()
    asking = await ending.join()
    await asking.say("upload", name=sending.name, size=len(NEW), resume=sending.token)
    assert (await asking.expect_error("draining"))["retry"] is True
    await sending.send(uploader)
    await sending.end(uploader)


# From the beginning


AGAIN = {
    "packed": ("new.tsv.gz", gzip.compress(table(25_000, name="new"), compresslevel=0)),
    "UTF-16": ("new.tsv", table(15_000, name="neü").decode().encode("utf-16")),
    "workbook": ("new.xlsx", workbook(Only=[[f"{row}", f"name {row}"] for row in range(3000)])),
}


@pytest.mark.parametrize("kind", AGAIN)
async def test_what_is_not_stored_as_it_came_is_sent_again_while_all_see_what_they_saw(
    node: Node, kind: str
) -> None:
    name, data = AGAIN[kind]
    await node.put(data, name=name)
    whole, content = known(await node.registers()), await bytes_of(node)
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(data, name)
    await sending.begin(uploader)
    await sending.send(uploader, len(data) * 3 // 4)
    uploader.vanish()
    upload = await paused(watcher, sending.id)
    rows = watcher.registers["document"]["rows"]
    again = await node.join()
    ack = await sending.begin(again)
    assert (ack["received"], ack["stored"]) == (0, 0)
    await sending.send(again, len(data) // 2)
    await watcher.settles(lambda v: not v.registers["upload"]["paused"])
    assert watcher.registers["upload"]["received"] >= upload["received"]
    assert watcher.registers["document"]["rows"] >= rows
    await sending.send(again)
    await sending.end(again)
    await watcher.sees(sending.id)
    assert await bytes_of(node) == content
    assert known(watcher.registers) == whole
    steadily(watcher)


async def test_what_the_storage_has_lost_meanwhile_is_sent_again(start_node: StartNode) -> None:
    node = await start_node()
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 400_000)
    uploader.vanish()
    await paused(watcher, sending.id)
    await node.app[BACKEND].drop(ROOM, sending.id)
    again = await node.join()
    ack = await sending.begin(again)
    assert ack["received"] == 0
    await sending.send(again)
    await sending.end(again)
    await watcher.sees(sending.id)
    assert sha256(await bytes_of(node)) == sha256(NEW)
    steadily(watcher)


# Not going on


async def refused(node: Node, code: str, **message: Any) -> Message:
    viewer = await node.join()
    await viewer.say("upload", **message)
    told = await viewer.expect_error(code)
    # Whatever was on its way with it is no further mistake.
    await viewer.say_raw(b"1\t2\n")
    await viewer.say("upload_cancel")
    await viewer.until_quiet()
    assert [error["code"] for error in viewer.errors if error["about"] != "peek"] == [code]
    return told


async def test_a_wrong_token_takes_nothing_and_disturbs_nobody(node: Node) -> None:
    uploader = await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 300_000)
    for token in ("", "x", "x" * 22, "x" * 10_000, sending.token[:-1], sending.token.upper()):
        await refused(node, "upload_lost", name="new.tsv", size=len(NEW), resume=token)
    await sending.send(uploader)
    await sending.end(uploader)
    await uploader.sees(sending.id)


@pytest.mark.parametrize("wrong", [{"name": "other.tsv"}, {"size": 12}, {"size": None}])
async def test_the_token_of_another_file_is_refused_and_its_upload_waits_on(
    node: Node, wrong: dict[str, Any]
) -> None:
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 300_000)
    uploader.vanish()
    await paused(watcher, sending.id)
    file = {"name": "new.tsv", "size": len(NEW), "resume": sending.token} | wrong
    told = await refused(node, "bad_message", **file)
    assert "“new.tsv”" in told["message"]
    assert (await paused(watcher, sending.id))["id"] == sending.id
    await sending.finish(await node.join())
    assert sha256(await bytes_of(node)) == sha256(NEW)


async def test_a_cancel_right_behind_the_resume_brings_the_table_back(any_node: Node) -> None:
    old = (await any_node.put(OLD))["id"]
    watcher, uploader = await any_node.join(), await any_node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 300_000)
    uploader.vanish()
    again = await any_node.join()
    await again.say("upload", name="new.tsv", size=len(NEW), resume=sending.token)
    await again.say("upload_cancel")
    await again.until_quiet()
    for viewer in (watcher, again):
        await viewer.sees(old, first_row=1)
    assert [error["about"] for error in again.errors] == ["peek"]
    await refused(any_node, "upload_lost", name="new.tsv", size=len(NEW), resume=sending.token)


async def test_nobody_waits_for_ever_for_who_never_comes_back(start_node: StartNode) -> None:
    node = await start_node(upload_pause=0.4)
    old = (await node.put(OLD))["id"]
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 300_000)
    await watcher.expect("page", document=sending.id)
    uploader.vanish()
    await watcher.sees(old, first_row=1)
    await refused(node, "upload_lost", name="new.tsv", size=len(NEW), resume=sending.token)
    done = await (await node.join()).upload("new.tsv", NEW)
    await watcher.sees(done["upload"])


async def test_where_nobody_is_to_be_waited_for_the_table_comes_back_at_once(
    start_node: StartNode,
) -> None:
    node = await start_node(upload_pause=0)
    old = (await node.put(OLD))["id"]
    watcher, uploader = await node.join(), await node.join()
    ack = await uploader.begin_upload("new.tsv", len(NEW))
    assert "token" not in ack
    await uploader.send_chunks(NEW[:300_000])
    uploader.vanish()
    await watcher.sees(old, first_row=1)
    assert not [
        told for told in watcher.seen if (told.get("set", {}).get("upload") or {}).get("paused")
    ]


async def test_who_missed_that_it_was_complete_is_told_so_before_the_token_is_refused(
    node: Node,
) -> None:
    uploader = await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader)
    await sending.end(uploader)
    # As if the last `ack` had been lost. The new connection says so before it has heard anything.
    again = SocketClient(node.url, ROOM)
    await again.connect()
    await again.say("upload", name="new.tsv", size=len(NEW), resume=sending.token)
    await again.expect_error("upload_lost")
    assert again.registers["document"]["id"] == sending.id
    assert again.registers["document"]["complete"]
    await again.close()


# One instead of the other


async def test_a_second_file_replaces_the_first_only_if_it_says_so_and_both_are_told(
    any_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_sending, "FAILURE_GRACE", 0.01)
    old = (await any_node.put(OLD))["id"]
    first, second = await any_node.join(), await any_node.join()
    sending, other = Sending(NEW), Sending(table(3000, name="other"), "other.tsv")
    await sending.begin(first)
    await sending.send(first, 300_000)
    told = await refused(any_node, "upload_in_progress", name="other.tsv", size=10)
    assert "“new.tsv”" in told["message"]
    assert "replace it" in told["message"]
    await other.begin(second, replace=True)
    # Without having sent anything since.
    told = await first.expect_error("upload_replaced")
    assert (told["retry"], told["about"]) == (False, "upload")
    assert first.registers["upload"]["id"] == other.id
    assert first.registers["document"]["id"] == old
    await first.say_raw(NEW[300_000:310_000])
    await other.send(second)
    await other.end(second)
    for viewer in (first, second):
        await viewer.sees(other.id)
    assert first.registers["document"]["version"] == 2
    # Nor does it come back by its token.
    await refused(any_node, "upload_replaced", name="new.tsv", size=len(NEW), resume=sending.token)


async def test_on_another_node_too_the_one_who_is_replaced_is_told(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_sending, "FAILURE_GRACE", 0.01)
    store = MemoryStore()
    one, two = await start_node(memory(store)), await start_node(memory(store))
    first, second = await one.join(), await two.join()
    sending, other = Sending(NEW), Sending(OLD, "other.tsv")
    await sending.begin(first)
    await sending.send(first, 300_000)
    await other.begin(second, replace=True)
    await first.expect_error("upload_replaced")
    await other.send(second)
    await other.end(second)
    await first.sees(other.id)


async def test_an_upload_that_waits_for_its_sender_can_be_replaced(node: Node) -> None:
    watcher, first, second = [await node.join() for _ in range(3)]
    sending, other = Sending(NEW), Sending(OLD, "other.tsv")
    await sending.begin(first)
    await sending.send(first, 300_000)
    first.vanish()
    await paused(watcher, sending.id)
    told = await refused(node, "upload_in_progress", name="other.tsv", size=10)
    assert "waits for its sender" in told["message"]
    await other.begin(second, replace=True)
    await other.send(second)
    await other.end(second)
    await watcher.sees(other.id)
    await refused(node, "upload_replaced", name="new.tsv", size=len(NEW), resume=sending.token)


async def test_a_put_can_replace_and_be_replaced(node: Node) -> None:
    watcher, uploader = await node.join(), await node.join()
    sending = Sending(NEW)
    await sending.begin(uploader)
    await sending.send(uploader, 300_000)
    path = f"/api/rooms/{ROOM}/document"
    await node.refusal("PUT", path, 409, "upload_in_progress", data=OLD)
    async with node.http.put(path, params={"replace": "true"}, data=OLD) as response:
        assert response.status == 200
        id = (await response.json())["id"]
    await watcher.sees(id)
    await uploader.expect_error("upload_replaced")

    async def slowly() -> Any:
        yield NEW[:200_000]
        while True:
            await asyncio.sleep(0.02)
            yield b"1\t2\t3\n"

    putting = asyncio.create_task(node.refusal("PUT", path, 409, "upload_replaced", data=slowly()))
    await watcher.settles(lambda v: not v.registers["document"]["complete"])
    again = await node.join()
    other = Sending(OLD, "other.tsv")
    await other.begin(again, replace=True)
    await putting
    await other.send(again)
    await other.end(again)
    await watcher.sees(other.id)


async def test_a_file_that_is_complete_in_that_moment_is_not_replaced_but_followed(
    start_node: StartNode,
) -> None:
    inner = memory()
    done = asyncio.Event()
    first_of: list[SocketClient] = []

    async def append(room: str, **arguments: Any) -> Any:
        upload = arguments["set"].get("upload")
        if upload and upload["name"] == "other.tsv" and not done.is_set():
            # The first one is complete between the second one's look and its change.
            done.set()
            await first_of[0].say("upload_end")
            await first_of[0].expect("ack", done=True)
        return await inner.append(room, **arguments)

    node = await start_node(Wrapped(inner, append=append))
    first, second = await node.join(), await node.join()
    first_of.append(first)
    sending, other = Sending(NEW), Sending(OLD, "other.tsv")
    await sending.begin(first)
    await sending.send(first)
    await other.begin(second, replace=True)
    assert done.is_set()
    assert second.registers.get("document", {}).get("id") in (None, sending.id)
    await other.send(second)
    await other.end(second)
    await first.sees(other.id)
    assert [each["id"] for each in first.registers["versions"]] == [other.id, sending.id]
    assert not first.errors
