"""The clients of the original table: what they send and are sent, in rooms that others use too."""

from __future__ import annotations

import uuid
from typing import Any

import aiohttp
import pytest

from server.accept import original
from server.app import HUB
from tests.accept.client import OTHER, ROOM, Node
from tests.accept.conftest import StartNode
from tests.accept.owned import make_room, owned_room
from tests.original_client import TableClient
from tests.room_client import table

MiB = 1024 * 1024
HEADER = ["id", "name 1", "name 2"]


def row(number: int) -> list[str]:
    return [str(number), f"name {number}.1", f"name {number}.2"]


def headless(rows: int) -> bytes:
    return b"".join(b"%d\t%d\n" % (n, n * n) for n in range(1, rows + 1))


# Files and pages


async def test_a_table_is_told_to_everyone_with_its_header_as_a_row(any_node: Node) -> None:
    async with TableClient(any_node.url, ROOM) as sender, TableClient(any_node.url, ROOM) as other:
        await sender.send(table(250))
        for client in (sender, other):
            assert await client.next() == {
                "uuid": ROOM,
                "page_no": 1,
                "total_number": 251,
                "data": [HEADER, *map(row, range(1, 100))],
            }
        assert len(sender.seen) == len(other.seen) == 1


async def test_a_page_is_turned_for_everyone(any_node: Node) -> None:
    async with TableClient(any_node.url, ROOM) as one, TableClient(any_node.url, ROOM) as other:
        await one.send(table(250))
        await one.shows(1)
        await other.shows(1)
        for turner, page_no, numbers in (
            (one, 2, range(100, 200)),
            (other, 3, range(200, 251)),
            (one, 2, range(100, 200)),
        ):
            await turner.send(str(page_no))
            for client in (one, other):
                told = await client.next()
                assert told["page_no"] == page_no
                assert told["total_number"] == 251
                assert told["data"] == list(map(row, numbers))
        await one.send("1")
        assert (await other.next())["data"][0] == HEADER


async def test_turning_there_and_back_ends_where_it_began(any_node: Node) -> None:
    """However quickly, and whoever tells what: what a client asks for last is what it gets."""
    async with TableClient(any_node.url, ROOM) as one:
        await one.send(table(450))
        await one.shows(1)
        for page_no in (3, 1, 2, 5, 5, 1):
            await one.send(str(page_no))
        await one.quiet()
        assert (await any_node.registers())["page"]["offset"] == 0
        # The page of the table before is not that of the table which has just come.
        await one.send("4")
        await one.shows(4)
        await one.send(table(450))
        await one.send("4")
        await one.quiet()
        assert (await any_node.registers())["page"]["offset"] == 299


async def test_the_cells_are_those_of_the_file(node: Node) -> None:
    data = "name\tnote\nÅsa\t1,5; “x”\n\N{PILE OF POO}\t\n\ta\tb\n".encode()
    async with TableClient(node.url, ROOM) as client:
        await client.send(data)
        told = await client.next()
    assert told["data"] == [
        ["name", "note"],
        ["Åsa", "1,5; “x”"],
        ["\N{PILE OF POO}", ""],
        ["", "a", "b"],
    ]
    assert told["total_number"] == 4


@pytest.mark.parametrize("records", [1, 99, 100, 101, 200, 201])
async def test_all_records_are_counted_and_on_some_page(node: Node, records: int) -> None:
    async with TableClient(node.url, ROOM) as client:
        await client.send(table(records - 1) if records > 1 else b"id\tname\n")
        pages = -(-records // 100)
        seen = (await client.shows(1))["data"]
        for page_no in range(2, pages + 1):
            await client.send(str(page_no))
            told = await client.shows(page_no)
            assert told["total_number"] == records
            seen += told["data"]
        assert len(seen) == records
        await client.send(str(pages + 1))
        assert (await client.next())["page_no"] == pages


async def test_a_table_without_a_header_is_told_as_it_is(node: Node) -> None:
    async with TableClient(node.url, ROOM) as client:
        await client.send(headless(250))
        told = await client.next()
        assert told["total_number"] == 250
        assert told["data"][0] == ["1", "1"]
        await client.send("3")
        assert (await client.shows(3))["data"][0] == ["201", "40401"]


async def test_the_first_client_learns_its_room_from_its_first_table(node: Node) -> None:
    async with TableClient(node.url) as one, TableClient(node.url) as stranger:
        assert await one.quiet() == []
        await one.send(table(3))
        room = (await one.next())["uuid"]
        assert uuid.UUID(room).version == 4
        async with TableClient(node.url, room) as friend:
            assert await friend.next() == one.seen[0]
        assert await stranger.quiet() == []


async def test_a_joiner_sees_at_once_what_the_others_see(any_node: Node) -> None:
    async with TableClient(any_node.url, ROOM) as one:
        await one.send(table(250))
        await one.shows(1)
        await one.send("3")
        shown = await one.shows(3)
        async with TableClient(any_node.url, ROOM, compress=15) as late:
            assert await late.next() == shown
            assert await late.quiet() == []
        assert await one.quiet() == []


async def test_nobody_is_told_anything_in_an_empty_room(node: Node) -> None:
    async with TableClient(node.url, ROOM) as client:
        assert await client.quiet() == []
        for refused in ("1", "nonsense", b"", b"\x89PNG\r\n\x1a\n" + bytes(range(256))):
            await client.send(refused)
            assert await client.quiet() == []


# What is refused


@pytest.mark.parametrize(
    "refused",
    [
        *("", " ", "nonsense", "0", "-1", "1.5", "4", "9" * 12, "9" * 30, "٣", '{"page_no": 3}'),
        b"",
        b"\n\n",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
        b"a\tb\n" * (10 * MiB // 4) + b"x",
    ],
    ids=lambda refused: f"{refused[:12]!r}",
)
async def test_whoever_is_refused_is_told_again_how_things_are(
    node: Node, refused: str | bytes
) -> None:
    async with TableClient(node.url, ROOM) as client, TableClient(node.url, ROOM) as other:
        await client.send(table(250))
        await client.shows(1)
        await client.send("2")
        shown = await client.shows(2)
        await other.shows(2)
        await client.send(refused)
        assert await client.next() == shown
        assert await client.quiet() == []
        assert await other.quiet() == []
        await other.send("3")
        await client.shows(3)


async def test_whoever_asks_for_the_page_that_is_shown_is_told_it_again(node: Node) -> None:
    await node.put(table(250))
    viewer = await node.join()
    await viewer.turn(2)
    await viewer.shows(2)
    async with TableClient(node.url, ROOM) as client, TableClient(node.url, ROOM) as other:
        shown = await client.shows(2)
        await other.shows(2)
        await client.send(" 2\n")
        assert await client.next() == shown
        assert await other.quiet() == []
    # Nor did the rows move that the others see.
    assert (await node.registers())["page"]["offset"] == 100


async def test_a_file_of_ten_mebibytes_is_taken(node: Node) -> None:
    line = b"a line\tof forty bytes\tthat is repeated\n"
    data = (line * (10 * MiB // len(line) + 1))[: 10 * MiB]
    async with TableClient(node.url, ROOM) as client:
        await client.send(data)
        told = await client.next()
    assert told["total_number"] == -(-10 * MiB // len(line))
    assert (await node.registers())["document"]["size"] == 10 * MiB


async def test_what_could_be_no_message_ends_the_connection(node: Node) -> None:
    async with TableClient(node.url, ROOM) as client:
        await client.send("1" * (64 * 1024 + 1))
        assert await client.ends() == 1009
    async with TableClient(node.url, ROOM) as client:
        await client.send(bytes(20 * MiB))
        # Without that code for a client whose bytes were still on their way.
        assert await client.ends() in (1009, 1006)


async def test_whoever_says_nothing_sensible_is_sent_away(node: Node) -> None:
    async with TableClient(node.url, ROOM) as client:
        for _ in range(99):
            await client.send("nonsense")
        assert await client.quiet() == []
        await client.send(table(3))
        await client.next()
        for number in range(100):
            await client.send(b"" if number % 50 == 0 else "nonsense")
        assert await client.ends() == 1008


async def test_whoever_turns_too_fast_is_told_how_things_are(start_node: StartNode) -> None:
    node = await start_node(page_turns_per_second=1)
    await node.put(table(900))
    async with TableClient(node.url, ROOM) as client:
        await client.shows(1)
        for page_no in (2, 3):
            await client.send(str(page_no))
            await client.shows(page_no)
        await client.send("4")
        assert (await client.next())["page_no"] == 3
    assert (await node.registers())["page"]["offset"] == 199


# What others do


async def test_only_complete_tables_are_told(any_node: Node) -> None:
    sender = await any_node.join()
    async with TableClient(any_node.url, ROOM) as client:
        await client.send(table(250))
        await client.shows(1)
        await client.send("2")
        shown = await client.shows(2)
        await sender.begin_upload("new.tsv", None)
        await sender.send_chunks(table(9_000, name="new"))
        await sender.settles(lambda v: not v.registers["document"]["complete"])
        assert await client.quiet() == []
        async with TableClient(any_node.url, ROOM) as late:
            assert await late.next() == shown
        for refused in ("1", "3", table(3)):
            await client.send(refused)
            assert await client.next() == shown
        await sender.say("upload_end")
        told = await client.next()
        assert told["total_number"] == 9_001
        assert told["data"][1] == ["1", "new 1.1", "new 1.2"]
        assert await client.quiet() == []


async def test_an_upload_that_is_given_up_is_no_news(node: Node) -> None:
    sender = await node.join()
    async with TableClient(node.url, ROOM) as client:
        await client.send(table(250))
        await client.shows(1)
        before = (await node.registers())["document"]["id"]
        await sender.begin_upload("new.tsv", None)
        await sender.send_chunks(table(9_000, name="new"))
        await sender.settles(lambda v: not v.registers["document"]["complete"])
        await sender.say("upload_cancel")
        await sender.sees(before)
        assert await client.quiet() == []
        await client.send("2")
        await client.shows(2, "100")


async def test_the_viewers_of_the_room_see_what_original_clients_do_and_who_they_are(
    any_node: Node,
) -> None:
    viewer = await any_node.join()
    async with TableClient(any_node.url, ROOM) as client:
        told = await viewer.until(lambda m: m["type"] == "here" and m["count"] == 2)
        (person,) = (p for p in told["people"] if p["id"] != viewer.hello["viewer"])
        assert person["name"] == "An original client"
        assert person["role"] == "guest"
        await client.send(table(250))
        await viewer.settles(lambda v: v.registers.get("document", {}).get("complete", False))
        by = {name: person[name] for name in ("id", "name", "color")}
        assert viewer.registers["document"]["by"] == by
        await client.send("3")
        page = await viewer.shows(3)
        assert page["first_row"] == 200
        assert page["data"][0] == row(200)
        assert viewer.registers["page"]["by"] == by
        assert viewer.registers["page"]["back"]["offset"] == 0
    await viewer.until(lambda m: m["type"] == "here" and m["count"] == 1)


@pytest.mark.parametrize(
    ("size", "page_no", "first"), [(100, 3, 200), (30, 5, 100), (30, 4, 0), (250, 2, 200)]
)
async def test_original_clients_see_the_page_with_the_rows_that_viewers_turn_to(
    start_node: StartNode, size: int, page_no: int, first: int
) -> None:
    node = await start_node(page_size=size)
    await node.put(table(990))
    viewer = await node.join()
    async with TableClient(node.url, ROOM) as client:
        await client.shows(1)
        await viewer.turn(page_no)
        page = await viewer.shows(page_no)
        if first:
            told = await client.shows(first // 100 + 1)
            assert told["data"][0] == row(first)
        else:
            told = await client.next()
        assert page["data"][0] in told["data"]


async def test_rows_that_are_added_are_told(node: Node) -> None:
    await node.put(table(98))
    async with TableClient(node.url, ROOM) as client:
        assert (await client.next())["total_number"] == 99
        for number, total in ((99, 100), (100, 101)):
            rows = "\t".join(row(number)) + "\n"
            async with node.http.post(f"/api/rooms/{ROOM}/document/rows", data=rows) as answer:
                assert answer.status == 200
            told = await client.next()
            assert told["total_number"] == total
            assert told["data"][-1] == row(99)
        await client.send("2")
        assert (await client.shows(2))["data"] == [row(100)]


async def test_a_table_that_is_read_in_another_way_is_told(node: Node) -> None:
    async with TableClient(node.url, ROOM) as client:
        await client.send(b"a,x\tb,y\n1,2\t3,4\n")
        assert (await client.next())["data"] == [["a,x", "b,y"], ["1,2", "3,4"]]
        async with node.http.put(f"/api/rooms/{ROOM}/dialect", json={"delimiter": ","}) as answer:
            assert answer.status == 200
        assert (await client.next())["data"] == [["a", "x\tb", "y"], ["1", "2\t3", "4"]]


async def test_a_version_that_comes_back_is_told(node: Node) -> None:
    async with TableClient(node.url, ROOM) as client:
        await client.send(table(3))
        first = await client.next()
        await client.send(table(4))
        assert (await client.next())["total_number"] == 5
        async with node.http.put(f"/api/rooms/{ROOM}/version", json={"version": 1}) as answer:
            assert answer.status == 200
        assert await client.next() == first


async def test_a_page_is_bounded_whatever_is_in_it(start_node: StartNode) -> None:
    node = await start_node(page_message_limit=256 * 1024)
    async with TableClient(node.url, ROOM) as client:
        await client.send(b"".join(b"%d\t%b\n" % (n, b"x" * 50_000) for n in range(50)))
        told = await client.next()
        assert [record[0] for record in told["data"]] == [str(n) for n in range(50)]
        assert sum(len(record[1]) for record in told["data"]) < 256 * 1024


# Rooms


async def test_in_a_presenting_room_original_clients_only_look(any_node: Node) -> None:
    room = await owned_room(any_node)
    async with TableClient(any_node.url, room.uuid) as client:
        shown = await client.next()
        for refused in ("2", table(3), "1"):
            await client.send(refused)
            assert await client.next() == shown
        assert (await room.registers())["document"]["name"] == "second.tsv"
        # The keys of others move it.
        assert (await room.ask("PUT", "/page", json={"page_no": 2})).code == ""
        await client.shows(2)
        await room.set_mode("open")
        await client.send("3")
        await client.shows(3)
        await client.send(table(3))
        assert (await client.next())["total_number"] == 4


async def test_keys_open_nothing_here(node: Node) -> None:
    room = await owned_room(node)
    headers = {"Authorization": f"Bearer {room.owner}"}
    async with TableClient(node.url, room.uuid, headers=headers) as client:
        shown = await client.next()
        await client.send("2")
        assert await client.next() == shown


async def test_in_a_deleted_room_there_is_nothing(any_node: Node) -> None:
    room = await make_room(any_node)
    async with TableClient(any_node.url, room.uuid) as client:
        await client.send(table(250))
        await client.shows(1)
        assert (await room.ask("DELETE")).code == ""
        viewer = await any_node.join(room.uuid)
        await viewer.settles(lambda v: "deleted" in v.registers)
        for refused in ("2", table(3)):
            await client.send(refused)
            assert await client.quiet() == []
        async with TableClient(any_node.url, room.uuid) as late:
            assert await late.quiet() == []
    assert set(await room.registers()) == {"deleted"}


async def test_a_room_of_original_clients_has_no_key_and_gets_none(node: Node) -> None:
    async with TableClient(node.url) as client:
        await client.send(table(3))
        room = (await client.next())["uuid"]
    assert "keyed" not in await node.registers(room)
    await node.refusal("PUT", f"/api/rooms/{room}/mode", 409, "no_key", json={"mode": "open"})


async def test_rooms_are_apart(node: Node) -> None:
    async with TableClient(node.url, ROOM) as here, TableClient(node.url, OTHER) as there:
        await here.send(table(3))
        await here.next()
        assert await there.quiet() == []


# Doors


async def test_the_addresses_of_before_lead_to_pages_of_today(node: Node) -> None:
    fresh = set()
    for _ in range(2):
        async with node.http.get("/parser/", allow_redirects=False) as response:
            assert response.status == 302
            assert response.headers["Cache-Control"] == "no-store"
            fresh.add(response.headers["Location"])
    assert len(fresh) == 2
    for location in fresh:
        async with node.http.get(location) as response:
            assert response.status == 200
    async with node.http.get(f"/parser/share/{ROOM}", allow_redirects=False) as response:
        assert response.status == 302
        assert response.headers["Location"] == f"/t/{ROOM}"
    await node.refusal("GET", "/parser/share/nonsense", 404, "not_found")


async def test_a_room_has_one_name_however_its_address_is_written(node: Node) -> None:
    await node.put(table(3))
    for written in (ROOM.upper(), ROOM.replace("-", "")):
        async with TableClient(node.url, written) as client:
            assert (await client.next())["uuid"] == ROOM


async def refused(node: Node, path: str, **options: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as told:
        await node.http.ws_connect(path, **options)
    return told.value.status


@pytest.mark.parametrize("path", ["/parser/ws", f"/parser/ws/{ROOM}", "/chatsocket"])
async def test_pages_of_other_sites_are_kept_out(node: Node, path: str) -> None:
    assert await refused(node, path, headers={"Origin": "https://elsewhere.example"}) == 403
    socket = await node.http.ws_connect(path, headers={"Origin": node.url})
    await socket.close()


async def test_what_names_no_room_is_not_found(node: Node) -> None:
    for nonsense in ("nonsense", ROOM[:-1], ROOM + "0", "0", "%00"):
        assert await refused(node, f"/parser/ws/{nonsense}") == 404


@pytest.mark.parametrize("path", ["/parser/ws", f"/parser/ws/{ROOM}", "/chatsocket"])
async def test_a_full_node_and_one_that_ends_take_nobody(start_node: StartNode, path: str) -> None:
    node = await start_node(viewers_per_node=1)
    await node.join()
    assert await refused(node, path) == 503
    other = await start_node()
    other.app[HUB].draining = True
    assert await refused(other, path) == 503


async def test_an_original_client_counts_as_a_viewer(start_node: StartNode) -> None:
    node = await start_node(viewers_per_node=1)
    async with TableClient(node.url):
        assert await refused(node, f"/ws/{ROOM}") == 503


async def test_original_clients_are_asked_for_signs_of_life_and_told_no_word_of_it(
    start_node: StartNode,
) -> None:
    node = await start_node(heartbeat=1.0)
    await node.put(table(3))
    async with TableClient(node.url, ROOM) as client:
        await client.next()
        for _ in range(2):
            await client.until_pinged()


async def test_a_node_that_ends_sends_original_clients_away_without_a_word(node: Node) -> None:
    await node.put(table(3))
    async with TableClient(node.url, ROOM) as client:
        await client.next()
        await node.app[HUB].drain(0.1)
        assert await client.ends() == 1001
        assert len(client.seen) == 1


async def test_what_is_counted_as_it_comes_cannot_be_inflated(node: Node) -> None:
    async with aiohttp.ClientSession() as session:
        for path, agreed in ((f"/parser/ws/{ROOM}", False), ("/chatsocket", True)):
            async with session.ws_connect(node.url + path, compress=15) as socket:
                assert bool(socket.compress) is agreed, path
    async with TableClient(node.url, ROOM, compress=15) as client:
        await client.send(table(250))
        await client.shows(1)


async def test_files_that_wait_at_a_node_are_bounded_in_all(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "FILES_AT_ONCE", 3 * MiB)
    node = await start_node()
    async with TableClient(node.url, ROOM) as client, TableClient(node.url, OTHER) as other:
        for _ in range(3):
            # One after another they are no more than one.
            await client.send(table(3) + b"x\n" * MiB)
            assert (await client.next())["total_number"] == MiB + 4
            assert await client.quiet() == []
        await other.send(b"x\n" * 2 * MiB)
        assert await other.ends() == 1013
        await client.send("2")
        await client.shows(2)
        await client.send(table(3))
        assert (await client.next())["total_number"] == 4
