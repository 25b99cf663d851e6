"""Rows that are added to a room's table, while everyone looks at it."""

from __future__ import annotations

import asyncio
import io
import json
import random
import secrets
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import fakeredis
import msgspec
import pytest
import zstandard

from server.accept.edge.access import NO_KEYS
from server.accept.files import append as accept_append
from server.accept.files import document_end
from server.app import BACKEND, HUB
from server.document.growth import Piece
from server.document.messages import Document, PageMessage
from server.errors import Conflict, NoDocument, Unavailable
from server.fanout.backend import Backend, Snapshot, StoredBlock
from server.fanout.memory import MemoryStore
from server.fanout.redis import RedisBackend
from server.live.reader import Reader
from tests.accept.client import ROOM, Node, Slowly, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.fanout.nodes import FAST
from tests.room_client import PATIENCE, Message, table

ROWS = f"/api/rooms/{ROOM}/document/rows"


async def add(node: Node, data: bytes) -> Message:
    """Add rows; the answer, which must be good."""
    body = io.BytesIO(data)
    async with asyncio.timeout(PATIENCE), node.http.post(ROWS, data=body) as response:
        assert response.status == 200, await response.text()
        told: Message = await response.json()
        return told


async def source(node: Node) -> bytes:
    async with node.http.get(f"/api/rooms/{ROOM}/document") as response:
        assert response.status == 200
        return await response.read()


async def column(node: Node) -> list[str]:
    """The first cells of all rows, read as people read them: page by page."""
    found: list[str] = []
    document = (await node.registers())["document"]
    for page_no in range(1, max(1, -(-document["rows"] // 100)) + 1):
        async with node.http.get(f"/api/rooms/{ROOM}/pages/{page_no}") as response:
            found += [row[0] for row in json.loads(await response.read())["data"]]
    assert len(found) == document["rows"]
    return found


class Adding:
    """A sender of rows who is not done yet."""

    def __init__(self, node: Node) -> None:
        self.body = Slowly()
        self._task = asyncio.create_task(self._post(node))

    async def _post(self, node: Node) -> tuple[int, Message]:
        async with node.http.post(ROWS, data=self.body) as response:
            return response.status, json.loads(await response.read())

    def send(self, data: bytes) -> None:
        self.body.send(data)

    async def end(self) -> Message:
        """End the body; the answer."""
        self.body.end()
        status, told = await asyncio.wait_for(self._task, PATIENCE)
        assert status == 200, told
        return told

    async def refused(self, status: int, code: str) -> Message:
        """Wait until it is refused; the problem."""
        answer, problem = await asyncio.wait_for(self._task, PATIENCE)
        self.body.end()
        assert (answer, problem["code"]) == (status, code)
        return problem


# The whole way


async def test_rows_are_added_to_the_table_and_everyone_sees_them(any_node: Node) -> None:
    document = await any_node.put(table(150))
    viewer, other = await any_node.join(), await any_node.join()
    await viewer.turn(2)
    for each in (viewer, other):
        await each.shows(2)
    told = await add(any_node, b"x\tadded\nsecond\n")
    assert told["rows_added"] == 2
    assert told["document"]["rows"] == 152
    assert told["document"]["id"] == document["id"]
    for each in (viewer, other):
        await each.settles(lambda v: v.registers["document"]["rows"] == 152)
        await each.settles(lambda v: v.page["total_number"] == 152)
        assert each.page["data"][-2:] == [["x", "added"], ["second"]]
        assert each.registers["document"] == told["document"]
    data = table(150) + b"x\tadded\nsecond\n"
    assert await source(any_node) == data
    assert told["document"]["stored"] == told["document"]["size"] == len(data)
    assert told["document"]["records"] == 153


async def test_rows_arrive_on_the_last_page_while_their_sender_goes_on(any_node: Node) -> None:
    await any_node.put(table(3))
    viewer = await any_node.join()
    await viewer.shows(1)
    adding = Adding(any_node)
    for number in range(4, 9):
        adding.send(b"%d\tnew\n" % number)
        await viewer.settles(lambda v, number=number: len(v.page["data"]) == number)
        assert viewer.page["data"][-1] == [str(number), "new"]
    assert (await adding.end())["rows_added"] == 5


async def test_a_partial_row_waits_for_its_end(node: Node) -> None:
    await node.put(table(3))
    viewer = await node.join()
    await viewer.shows(1)
    adding = Adding(node)
    adding.send(b"4\tfo")
    adding.send(b"ur\n5\tfi")
    await viewer.settles(lambda v: len(v.page["data"]) == 4)
    assert viewer.page["data"][-1] == ["4", "four"]
    assert (await source(node)).endswith(b"\n4\tfour\n")
    adding.send(b"ve")
    told = await adding.end()
    assert told["rows_added"] == 2
    assert (await source(node)).endswith(b"\n4\tfour\n5\tfive")
    await viewer.settles(lambda v: v.page["data"][-1] == ["5", "five"])


async def test_a_row_with_a_quoted_line_end_is_one_row(node: Node) -> None:
    await node.put(b'a,b\n1,"one, two"\n2,"x"\n', name="t.csv")
    told = await add(node, b'3,"two\nlines"\n')
    assert told["rows_added"] == 1
    async with node.http.get(f"/api/rooms/{ROOM}/pages/1") as response:
        assert (await response.json())["data"][-1] == ["3", "two\nlines"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"id\n1", b"id\n1\n2\n3"),
        (b"id\r\n1\r\n2", b"id\r\n1\r\n2\r\n2\n3"),
        (b"id", b"id\n2\n3"),
        (b"id\n", b"id\n2\n3"),
    ],
)
async def test_a_last_row_without_a_line_end_is_ended_first(
    node: Node, before: bytes, after: bytes
) -> None:
    rows = (await node.put(before))["rows"]
    told = await add(node, b"2\n3")
    assert told["rows_added"] == 2
    assert told["document"]["rows"] == rows + 2
    assert await source(node) == after


async def test_an_empty_body_adds_nothing(node: Node) -> None:
    document = await node.put(table(3))
    rev = (await node.join()).rev
    told = await add(node, b"")
    assert (told["rows_added"], told["ragged"], told["document"]) == (0, 0, document)
    assert (await node.join()).rev == rev


async def test_many_rows_begin_new_blocks(any_node: Node) -> None:
    document = await any_node.put(table(10))
    rows = b"".join(b"%d\t%s\n" % (n, b"x" * (n % 300)) for n in range(20_000))
    told = await add(any_node, rows)
    assert told["rows_added"] == 20_000
    assert told["document"]["blocks"] >= document["blocks"] + len(rows) // 65_536
    assert await source(any_node) == table(10) + rows
    assert (await column(any_node))[10:] == [str(n) for n in range(20_000)]
    again = await add(any_node, b"last\n")
    assert again["document"]["rows"] == 20_011
    assert (await column(any_node))[-1] == "last"


async def test_the_row_count_climbs_at_most_four_times_a_second(start_node: StartNode) -> None:
    inner = memory()
    times: list[float] = []

    async def append(room: str, **arguments: Any) -> Any:
        if arguments.get("growth") is not None:
            times.append(asyncio.get_running_loop().time())
        return await inner.append(room, **arguments)

    node = await start_node(Wrapped(inner, append=append))
    await node.put(table(3))
    adding = Adding(node)
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.9
    while loop.time() < end:
        adding.send(b"row\n")
        await asyncio.sleep(0.005)
    await adding.end()
    *climbing, _ = times
    assert 3 <= len(climbing) <= 4
    assert all(b - a >= 0.24 for a, b in pairwise(climbing))


# Several at once


@pytest.mark.parametrize("count", [1, 2], ids=["one node", "two nodes"])
async def test_many_senders_at_once_change_the_room_no_more_often_than_one(
    start_node: StartNode, count: int
) -> None:
    store = MemoryStore()
    grown: list[float] = []

    def counted() -> Any:
        inner = memory(store)

        async def append(room: str, **arguments: Any) -> Any:
            change = await inner.append(room, **arguments)
            if arguments.get("growth") is not None:
                grown.append(asyncio.get_running_loop().time())
            return change

        return Wrapped(inner, append=append)

    nodes = [await start_node(counted()) for _ in range(count)]
    await nodes[0].put(b"id\n0\n")
    senders = [Adding(nodes[number % count]) for number in range(20)]
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.2
    sent = 0
    while loop.time() < end:
        for sender in senders:
            sender.send(b"row\n")
            sent += 1
        await asyncio.sleep(0.02)
    answers = await asyncio.gather(*(sender.end() for sender in senders))
    assert sum(told["rows_added"] for told in answers) == sent
    assert (await nodes[0].registers())["document"]["rows"] == sent + 1
    # Clocks count in milliseconds.
    assert all(b - a >= 0.24 for a, b in pairwise(grown))


async def test_what_is_wrong_with_one_sender_is_not_the_others_fault(
    start_node: StartNode,
) -> None:
    node = await start_node(memory(), document_limit=1000)
    await node.put(b"id\n0\n")
    small, large = Adding(node), Adding(node)
    small.send(b"1\n")
    large.send(b"x" * 2000 + b"\n")
    problem = await large.refused(413, "too_large")
    assert problem["rows_added"] == 0
    assert (await small.end())["rows_added"] == 1
    assert await source(node) == b"id\n0\n1\n"


async def test_whoever_was_told_no_is_not_found_in_the_table_after_all(
    start_node: StartNode,
) -> None:
    inner = memory()
    quicker = 0

    async def append(room: str, **arguments: Any) -> Any:
        nonlocal quicker
        if arguments.get("growth") is not None and not quicker:
            quicker += 1
            raise Conflict("Somebody was quicker.")
        return await inner.append(room, **arguments)

    backend: Any = Wrapped(inner, append=append)
    node = await start_node(backend)
    document = await node.put(b"id\n0\n")
    end = document_end.DocumentEnd(
        backend, ROOM, document_end.AppendLimits(document=10_000, record=1000, columns=10)
    )
    asked = 0

    def once_not(snapshot: Snapshot) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise NoDocument("Not now.")
        return NO_KEYS.changing("add rows")(snapshot)

    dialect = msgspec.convert(document, Document).dialect
    told = await asyncio.wait_for(
        asyncio.gather(
            end.add([Piece(b"1\n", 1, False)], dialect, document, once_not),
            end.add([Piece(b"2\n", 1, False)], dialect, document, NO_KEYS.changing("add rows")),
            return_exceptions=True,
        ),
        PATIENCE,
    )
    assert isinstance(told[0], NoDocument)
    assert quicker == 1
    assert await source(node) == b"id\n0\n2\n"


async def test_a_sender_knows_newer_rows_of_another_node_than_its_own(
    start_node: StartNode,
) -> None:
    store = MemoryStore()
    one, other = await start_node(memory(store)), await start_node(memory(store))
    await one.put(b"id\n0\n")
    stays = Adding(one)  # so that this node remembers where it left the table
    stays.send(b"1\n")
    viewer = await one.join()
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 2)
    await add(other, b"2\n")
    assert (await add(one, b"3\n"))["rows_added"] == 1
    stays.send(b"4\n")
    assert (await stays.end())["rows_added"] == 2
    assert await source(one) == b"id\n0\n1\n2\n3\n4\n"


def shared_memory() -> Callable[[], Backend]:
    store = MemoryStore()
    return lambda: memory(store)


def shared_redis() -> Callable[[], Backend]:
    server = fakeredis.FakeServer()
    return lambda: RedisBackend(
        "",
        secrets.token_hex(4),
        connect=lambda retry: fakeredis.FakeAsyncRedis(server=server, protocol=2, retry=retry),
        timing=FAST,
        shebang=False,
    )


async def send_in_pieces(adding: Adding, rows: bytes, chance: random.Random) -> Message:
    at = 0
    while at < len(rows):
        size = chance.choice((1, 7, 500, 20_000))
        adding.send(rows[at : at + size])
        at += size
        if chance.random() < 0.3:
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.01)))
    return await adding.end()


@pytest.mark.parametrize("shared", [shared_memory, shared_redis], ids=["memory", "fakeredis"])
@pytest.mark.parametrize("seed", range(6))
async def test_senders_at_once_lose_no_row_and_split_none(
    start_node: StartNode,
    monkeypatch: pytest.MonkeyPatch,
    shared: Callable[[], Callable[[], Backend]],
    seed: int,
) -> None:
    monkeypatch.setattr(accept_append, "APPEND_INTERVAL", 0.003)
    monkeypatch.setattr(document_end, "CHANGE_INTERVAL", 0.003)
    make = shared()
    chance = random.Random(seed)
    nodes = [await start_node(make()) for _ in range(2)]
    before = chance.choice((b"id,text\n", b"id,text", b'id,text\n0,"a\nb"'))
    await nodes[0].put(before, name="t.csv")
    sent = [
        [
            b'%s%d,"%s\n%s"\n' % (name, number, name * chance.randrange(2_000), name)
            for number in range(chance.randrange(20, 120))
        ]
        for name in (b"a", b"b", b"c")
    ]
    answers = await asyncio.gather(
        *(
            send_in_pieces(Adding(nodes[number % 2]), b"".join(rows), random.Random(seed + number))
            for number, rows in enumerate(sent)
        )
    )
    assert [told["rows_added"] for told in answers] == [len(rows) for rows in sent]
    for node in nodes:
        data = await source(node)
        start = before if before.endswith(b"\n") else before + b"\n"
        assert data.startswith(start)
        # What comes after is some order of whole rows, in which each sender's own order holds.
        rest = data[len(start) :]
        queues = [list(reversed(rows)) for rows in sent]
        while rest:
            queue = queues[b"abc".index(rest[:1])]
            row = queue.pop()
            assert rest.startswith(row)
            rest = rest[len(row) :]
        assert queues == [[], [], []]
        document = (await node.registers())["document"]
        assert document["rows"] == sum(map(len, sent)) + before.count(b"\n0")
        assert document["stored"] == document["size"] == len(data)
        assert len(await column(node)) == document["rows"]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
async def test_rows_of_senders_at_one_node_stay_apart_without_a_last_line_end(
    any_node: Node, end: str
) -> None:
    await any_node.put(b"id\tname\n1\tone" + end.encode())
    told = await asyncio.gather(*(add(any_node, b"%d\tname" % n) for n in range(2, 8)))
    assert [each["rows_added"] for each in told] == [1] * 6
    document = (await any_node.registers())["document"]
    assert (document["rows"], document["report"]["ragged"]) == (7, 0)
    assert document["stored"] == len(await source(any_node))
    async with any_node.http.get(f"/api/rooms/{ROOM}/pages/1") as response:
        rows = json.loads(await response.read())["data"]
    assert sorted(rows) == [["1", "one"], *([str(n), "name"] for n in range(2, 8))]


async def test_a_table_that_several_fill_at_once_never_passes_the_limit(
    start_node: StartNode,
) -> None:
    node = await start_node(document_limit=100)
    await node.put(b"id\n")
    await asyncio.gather(*(node.http.post(ROWS, data=b"%d\tx" % n) for n in range(60)))
    document = (await node.registers())["document"]
    assert 60 < document["stored"] <= 100
    assert (await source(node)).count(b"x") == document["rows"]


async def test_a_lost_answer_of_the_storage_adds_no_row_twice(start_node: StartNode) -> None:
    inner = memory()
    lost = 0

    async def append(room: str, **arguments: Any) -> Any:
        nonlocal lost
        change = await inner.append(room, **arguments)
        if arguments.get("growth") is not None and lost < 2:
            lost += 1
            raise Unavailable("The answer was lost.")
        return change

    node = await start_node(Wrapped(inner, append=append))
    await node.put(table(3))
    assert (await add(node, b"4\n5\n"))["document"]["rows"] == 5
    assert lost == 2
    assert (await column(node))[3:] == ["4", "5"]


async def test_a_node_that_looks_with_an_old_register_reads_the_rows_of_then(
    start_node: StartNode,
) -> None:
    node = await start_node()
    large = 1 << 24
    reader = Reader(
        node.app[BACKEND],
        block_cache=large,
        page_cache=large,
        index_cache=large,
        cell_limit=large,
        record_limit=large,
        message_limit=large,
    )
    document = msgspec.convert(await node.put(table(30)), Document)
    await add(node, b"31\n")
    now = msgspec.convert((await node.registers())["document"], Document)
    for _ in range(2):
        for known, rows in ((document, 30), (now, 31)):
            page = msgspec.json.decode(await reader.page(ROOM, known, 0, 100), type=PageMessage)
            assert len(page.data) == page.total_number == rows
            data = b"".join([part async for part in reader.source(ROOM, known)])
            assert len(data) == known.stored


async def test_a_correction_of_how_the_table_is_read_holds_for_the_rows_that_follow(
    node: Node,
) -> None:
    await node.put(b"a;b,c\n1;2,3\n4;5,6\n", name="t.csv")
    viewer = await node.join()
    await viewer.say("dialect", delimiter=";", quote="'")
    await viewer.settles(lambda v: v.registers["document"]["dialect"]["quote"] == "'")
    adding = Adding(node)
    adding.send(b"7;'8\n8',9\n")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 3)
    # The row that follows has not been added when the next correction comes.
    adding.send(b"'x\n")
    await viewer.say("dialect", header=False)
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 4)
    adding.send(b"y';z\n")
    told = await adding.end()
    assert told["rows_added"] == 2
    assert told["document"]["rows"] == 5
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 5)
    await viewer.settles(lambda v: len(v.page["data"]) == 5)
    assert viewer.page["data"][-2:] == [["7", "8\n8,9"], ["x\ny", "z"]]


async def test_rows_that_were_lost_with_the_storages_last_moments_are_not_passed_over(
    node: Node,
) -> None:
    await node.put(table(3))
    viewer = await node.join()
    backend = node.app[BACKEND]
    before = await backend.snapshot(ROOM)
    id = before.registers["document"]["id"]
    (data,) = await backend.get_blocks(ROOM, id, [0])
    block = StoredBlock(0, data, await backend.index(ROOM, id))
    adding = Adding(node)
    adding.send(b"4\n5\n")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 5)
    # As after a restart from what had reached the disk.
    await backend.put_blocks(ROOM, id, [block])
    await backend.append(
        ROOM,
        set={"document": before.registers["document"]},
        fields={"document_stamp": before.fields.get("document_stamp", "")},
    )
    adding.send(b"6\n")
    problem = await adding.refused(409, "conflict")
    assert "lost" in problem["detail"]


async def test_rows_added_in_the_place_of_lost_ones_are_seen_by_who_saw_the_lost_ones(
    node: Node,
) -> None:
    await node.put(table(3))
    document = (await add(node, b"4\n"))["document"]
    viewer = await node.join()
    await viewer.expect("page")
    assert viewer.page["data"][-1] == ["4"]
    # As after a restart, and with a row of the same size.
    backend = node.app[BACKEND]
    data = zstandard.ZstdCompressor().compress(table(3) + b"5\n")
    index = await backend.index(ROOM, document["id"])
    await backend.put_blocks(ROOM, document["id"], [StoredBlock(0, data, index)])
    node.app[HUB].changed(ROOM, Snapshot("anew", 1, (await backend.snapshot(ROOM)).registers))
    await viewer.settles(lambda v: v.epoch == "anew")
    assert (await column(node))[-1] == "5"


# Refusals


async def test_without_a_table_there_is_nothing_to_add_rows_to(node: Node) -> None:
    await node.refusal("POST", ROWS, 404, "no_document", data=b"1\n")
    assert (await node.registers()) == {}


async def test_while_a_file_arrives_no_row_is_added(node: Node) -> None:
    await node.put(table(3))
    uploader = await node.join()
    adding = Adding(node)
    adding.send(b"4\n")
    await uploader.settles(lambda v: v.registers["document"]["rows"] == 4)
    await uploader.begin_upload("new.tsv", None)
    await uploader.settles(lambda v: v.registers.get("upload") is not None)
    problem = await node.refusal("POST", ROWS, 409, "upload_in_progress", data=b"5\n")
    assert "new.tsv" in problem["detail"]
    adding.send(b"5\n")
    problem = await adding.refused(409, "upload_in_progress")
    assert problem["detail"].endswith("1 row was added before.")
    assert problem["rows_added"] == 1
    await uploader.say("upload_cancel")
    await uploader.settles(lambda v: v.registers.get("upload") is None)
    assert uploader.registers["document"]["rows"] == 4
    assert (await add(node, b"5\n"))["document"]["rows"] == 5


async def test_rows_for_a_table_that_was_replaced_are_refused_by_telling_what_was_added(
    node: Node,
) -> None:
    await node.put(table(3))
    viewer = await node.join()
    adding = Adding(node)
    adding.send(b"4\n5\n")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 5)
    await node.put(table(7))
    adding.send(b"6\n")
    problem = await adding.refused(409, "conflict")
    assert problem["detail"].endswith("2 rows were added before.")
    assert (await node.registers())["document"]["rows"] == 7


async def test_a_table_grows_up_to_the_limit_and_no_further(start_node: StartNode) -> None:
    node = await start_node(document_limit=1_000_000, record_limit=100_000)
    await node.put(table(3))
    rows = b"".join(b"%d\t%s\n" % (n, b"x" * 1000) for n in range(1_200))
    problem = await node.refusal("POST", ROWS, 413, "too_large", data=io.BytesIO(rows))
    assert "1,000,000" in problem["detail"]
    document = (await node.registers())["document"]
    assert 900_000 < document["stored"] <= 1_000_000
    assert f"{document['rows'] - 3:,} rows were added before" in problem["detail"]
    assert await source(node) == table(3) + rows[: document["stored"] - len(table(3))]


async def test_a_row_over_the_limit_is_refused_after_the_rows_before_it(
    start_node: StartNode,
) -> None:
    node = await start_node(record_limit=100_000, column_limit=10)
    await node.put(table(3))
    problem = await node.refusal(
        "POST", ROWS, 413, "too_large", data=b"4\n5\n" + b"x" * 150_000 + b"\n6\n"
    )
    assert "Row 3" in problem["detail"]
    assert problem["detail"].endswith("2 rows were added before.")
    assert problem["rows_added"] == 2
    problem = await node.refusal("POST", ROWS, 413, "too_large", data=b"6\n" + b"\t" * 10 + b"\n")
    assert "11 columns" in problem["detail"]
    assert (await column(node))[3:] == ["4", "5", "6"]


async def test_where_the_storage_is_full_the_table_stays_as_it_was(start_node: StartNode) -> None:
    node = await start_node(memory(storage_limit=20_000))
    await node.put(table(3))
    rows = b"".join(secrets.token_hex(40).encode() + b"\n" for _ in range(1_000))
    problem = await node.refusal("POST", ROWS, 507, "storage_full", data=io.BytesIO(rows))
    assert problem["detail"].endswith("No row was added.")
    assert await source(node) == table(3)
    assert (await add(node, b"4\n"))["document"]["rows"] == 4


async def test_a_node_that_ends_says_how_many_rows_were_added(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_append, "TICK", 0.02)
    await node.put(table(3))
    adding = Adding(node)
    adding.send(b"4\n5\n6 is not whole")
    viewer = await node.join()
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 5)
    node.app[HUB].draining = True
    problem = await adding.refused(503, "draining")
    assert problem["detail"].endswith("2 rows were added before.")
    assert problem["retry"] is True


async def test_a_sender_that_vanishes_leaves_whole_rows_only(node: Node) -> None:
    await node.put(table(3))
    viewer = await node.join()
    _, writer = await asyncio.open_connection("127.0.0.1", node.http.port)
    writer.write(
        f"POST {ROWS} HTTP/1.1\r\nHost: {node.host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    writer.write(b"2\r\n4\n\r\n")
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 4)
    writer.write(b"6\r\n5\n6\tha\r\n")
    await writer.drain()
    writer.transport.abort()
    await viewer.settles(lambda v: v.registers["document"]["rows"] == 5)
    assert (await add(node, b"7\n"))["document"]["rows"] == 6
    assert (await column(node))[3:] == ["4", "5", "7"]


async def test_rows_in_the_encoding_of_the_table_are_read_as_such(node: Node) -> None:
    text = "id;städte\n" + "".join(f"{n};Köln, Düsseldorf und Fürth\n" for n in range(50))
    document = await node.put(text.encode("cp1252"), name="t.csv")
    assert document["dialect"]["encoding"] != "utf-8"
    await add(node, "50;Bär\n".encode("cp1252"))
    async with node.http.get(f"/api/rooms/{ROOM}/pages/1") as response:
        assert (await response.json())["data"][-1] == ["50", "Bär"]


async def test_the_report_counts_the_rows_that_were_added(node: Node) -> None:
    document = await node.put(b"a\tb\n1\t2\n")
    assert document["report"]["records"] == 2
    told = await add(node, b'3\n"4\n"\t5\n\xff\t6\n')
    report = told["document"]["report"]
    assert (report["records"], report["ragged"], report["ragged_records"]) == (5, 1, [2])
    assert report["replaced"] == 1
    assert "marks" in report["notes"]
    assert (report["delimiter"], report["quote"]) == ("\t", '"')


async def test_a_browser_of_another_site_adds_no_row(node: Node) -> None:
    await node.put(table(3))
    await node.refusal(
        "POST", ROWS, 403, "forbidden", data=b"4\n", headers={"Origin": "https://evil.example"}
    )
    assert (await node.registers())["document"]["rows"] == 3
