"""The doors for programs."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from server.app import BACKEND
from server.errors import Missing, Unavailable
from server.live.reader import STREAM_BATCH
from tests.accept.client import ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.room_client import PATIENCE, table

UNKNOWN = "00000000-0000-4000-8000-000000000000"
API = f"/api/rooms/{ROOM}"


async def answer(node: Node, path: str, status: int = 200, **options: Any) -> Any:
    async with node.http.get(path, **options) as response:
        assert response.status == status, await response.text()
        assert response.headers["Tablecast-Node"] == node.settings.node
        assert response.headers["Cache-Control"] == "no-store"
        return json.loads(await response.read())


async def test_a_new_room_has_an_address_that_leads_to_it(node: Node) -> None:
    async with node.http.post("/api/rooms") as response:
        assert response.status == 201
        room = await response.json()
        assert response.headers["Location"] == room["url"]
    assert str(UUID(room["uuid"])) == room["uuid"]
    assert room["url"] == f"{node.url}/t/{room['uuid']}"
    async with node.http.get(f"/t/{room['uuid']}") as response:
        assert response.status == 200


async def test_every_new_room_is_another_one(node: Node) -> None:
    rooms = set()
    for _ in range(5):
        async with node.http.post("/api/rooms") as response:
            rooms.add((await response.json())["uuid"])
    assert len(rooms) == 5


async def test_a_room_tells_its_registers(any_node: Node) -> None:
    document = await any_node.put(table(1000))
    room = await answer(any_node, API)
    assert set(room) == {"uuid", "epoch", "rev", "set"}
    assert room["uuid"] == ROOM
    assert room["set"]["document"] == document
    assert room["set"]["page"] == {"document": document["id"], "offset": 0, "size": 100}
    viewer = await any_node.join()
    assert (viewer.epoch, viewer.rev, viewer.registers) == (room["epoch"], room["rev"], room["set"])


async def test_an_unknown_room_is_an_empty_one(any_node: Node) -> None:
    room = await answer(any_node, f"/api/rooms/{UNKNOWN}")
    assert room == {"uuid": UNKNOWN, "epoch": "", "rev": 0, "set": {}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/rooms/{}"),
        ("GET", "/api/rooms/{}/document"),
        ("PUT", "/api/rooms/{}/document"),
        ("GET", "/api/rooms/{}/pages/1"),
        ("PUT", "/api/rooms/{}/page"),
        ("GET", "/api/rooms/{}/rows/1/cells/0"),
        ("GET", "/ws/{}"),
    ],
)
async def test_a_malformed_uuid_is_not_found(node: Node, method: str, path: str) -> None:
    for uuid in ("x", ROOM[:-1], ROOM + "0", ROOM.replace("3", "g"), "١" * 32, "%3Cb%3E"):
        await node.refusal(method, path.format(uuid), 404, "not_found")


@pytest.mark.parametrize("page_no", [1, 7, 10])
async def test_a_page_is_the_same_object_as_on_the_socket(any_node: Node, page_no: int) -> None:
    await any_node.put(table(1000))
    viewer = await any_node.join()
    await viewer.turn(page_no)
    shown = await viewer.shows(page_no)
    page = await answer(any_node, f"{API}/pages/{page_no}")
    page.pop("rev")
    assert page == {key: value for key, value in shown.items() if key != "rev"}


async def test_reading_a_page_turns_nothing(node: Node) -> None:
    await node.put(table(1000))
    viewer = await node.join()
    await answer(node, f"{API}/pages/5")
    await viewer.until_quiet()
    assert (await node.registers())["page"]["offset"] == 0


@pytest.mark.parametrize(
    "page", ["0", "11", "999999999999", "9" * 30, "-1", "1.5", "x", "²", "1e3"]
)
async def test_a_page_that_does_not_exist_is_refused_by_name(node: Node, page: str) -> None:
    await node.put(table(1000))
    problem = await node.refusal("GET", f"{API}/pages/{page}", 404, "page_out_of_range")
    assert page in problem["detail"]


async def test_pages_of_an_empty_room_are_refused(node: Node) -> None:
    await node.refusal("GET", f"/api/rooms/{UNKNOWN}/pages/1", 404, "no_document")
    await node.refusal("GET", f"/api/rooms/{UNKNOWN}/document", 404, "no_document")
    await node.refusal("GET", f"/api/rooms/{UNKNOWN}/rows/1/cells/0", 404, "no_document")
    turn = {"page_no": 1}
    await node.refusal("PUT", f"/api/rooms/{UNKNOWN}/page", 404, "no_document", json=turn)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_message"),
        (b"{", 400, "bad_message"),
        (b"[]", 400, "bad_message"),
        (b"{}", 400, "bad_message"),
        (b'{"page_no": "2"}', 400, "bad_message"),
        (b'{"page_no": 2.5}', 400, "bad_message"),
        (b'{"page_no": null}', 400, "bad_message"),
        (b"\xff", 400, "bad_message"),
        (b'{"page_no": 0}', 404, "page_out_of_range"),
        (b'{"page_no": 11}', 404, "page_out_of_range"),
        (b'{"page_no": 1}' + b" " * 70_000, 413, "too_large"),
    ],
)
async def test_a_wrong_turn_is_refused_and_turns_nothing(
    node: Node, body: bytes, status: int, code: str
) -> None:
    await node.put(table(1000))
    viewer = await node.join()
    await viewer.turn(3)
    await viewer.shows(3)
    await node.refusal("PUT", f"{API}/page", status, code, data=body)
    assert (await node.registers())["page"]["offset"] == 200


async def test_a_turn_that_comes_in_pieces_is_read_to_its_end(node: Node) -> None:
    await node.put(table(1000))
    viewer = await node.join()
    reader, writer = await asyncio.open_connection(*node.host.split(":"))
    writer.write(
        f"PUT {API}/page HTTP/1.1\r\nHost: {node.host}\r\nContent-Length: 13\r\n\r\n".encode()
    )
    for byte in b'{"page_no":4}':
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.002)  # so that each is a segment of its own
    await viewer.shows(4)
    async with asyncio.timeout(PATIENCE):
        assert b" 200 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


# The document's bytes


@pytest.mark.parametrize(
    "source",
    [
        table(20_000),
        b'\xef\xbb\xbfid\tname\r\n1\t"a\nb"\r\n\r\n2\t\t\r\n',
        b"id\rone\rtwo",
        "id\tж\n".encode() + "строка\t漢字\n".encode() * 20_000,
    ],
    ids=["long", "quoted with a mark", "old line ends", "not ASCII"],
)
async def test_a_document_comes_back_byte_for_byte(any_node: Node, source: bytes) -> None:
    document = await any_node.put(source, name="Umsätze.tsv")
    async with any_node.http.get(f"{API}/document") as response:
        assert await response.read() == source
        headers = response.headers
    assert headers["Content-Length"] == str(len(source))
    assert headers["Content-Type"] == "text/tab-separated-values; charset=utf-8"
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''Ums%C3%A4tze.tsv"
    assert headers["ETag"] == f'"{document["id"]}-{len(source)}"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Tablecast-Node"] == any_node.settings.node


async def test_a_document_that_is_known_is_not_sent_again(node: Node) -> None:
    await node.put(table(1000))
    async with node.http.get(f"{API}/document") as response:
        tag = response.headers["ETag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        headers = {"If-None-Match": known}
        async with node.http.get(f"{API}/document", headers=headers) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["ETag"] == tag
    async with node.http.post(f"{API}/document/rows", data=b"x\n") as response:
        assert response.status == 200
    async with node.http.get(f"{API}/document", headers={"If-None-Match": tag}) as response:
        assert response.status == 200
        assert (await response.read()).endswith(b"\nx\n")


async def test_the_head_of_a_document_tells_its_length(node: Node) -> None:
    await node.put(table(1000))
    async with node.http.head(f"{API}/document") as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == str(len(table(1000)))
    # The connection is still good for the next request.
    await answer(node, API)


async def test_a_name_cannot_break_out_of_its_header(node: Node) -> None:
    await node.put(table(10), name='a"b;c\r\nSet-Cookie: x=1.tsv')
    async with node.http.get(f"{API}/document") as response:
        await response.read()
        assert "Set-Cookie" not in response.headers
        assert response.headers["Content-Disposition"] == (
            "attachment; filename*=UTF-8''a%22b%3Bc%20Set-Cookie%3A%20x%3D1.tsv"
        )


async def test_a_document_whose_bytes_are_gone_is_an_error(start_node: StartNode) -> None:
    inner = memory()
    node = await start_node(inner)
    document = await node.put(table(1000))
    await inner.drop(ROOM, document["id"])
    await node.refusal("GET", f"{API}/document", 410, "missing")


async def test_a_download_that_cannot_go_on_breaks_off_and_adds_nothing_of_its_own(
    start_node: StartNode,
) -> None:
    inner = memory()

    async def get_blocks(room: str, document: str, numbers: Any) -> list[bytes]:
        if max(numbers) >= STREAM_BATCH:
            raise Missing("A part of this table is gone.")
        return await inner.get_blocks(room, document, numbers)

    node = await start_node(Wrapped(inner, get_blocks=get_blocks))
    source = table(60_000)
    await node.put(io.BytesIO(source))
    async with asyncio.timeout(PATIENCE):
        async with node.http.get(f"{API}/document") as response:
            got = bytearray()

            async def download() -> None:
                async for data in response.content.iter_any():
                    got.extend(data)

            with pytest.raises(aiohttp.ClientError):
                await download()
    assert source.startswith(got)
    assert len(got) < len(source)


# Whole cells


async def test_a_shortened_cell_can_be_had_whole(any_node: Node) -> None:
    long = "ä" * 50_000  # 100,000 bytes
    document = await any_node.put(f"id\ttext\n1\t{long}\n2\tshort\n".encode())
    page = await answer(any_node, f"{API}/pages/1")
    assert page["cut"] == [{"row": 1, "column": 1, "size": 50_000}]
    assert len(page["data"][0][1].encode()) <= 65_536
    path = f"{API}/rows/1/cells/1"
    async with any_node.http.get(path, params={"document": document["id"]}) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        assert response.charset == "utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert await response.text() == long


async def test_cells_are_counted_as_the_page_counts_them(node: Node) -> None:
    await node.put(b'id\tname\n1\t"two\nlines"\n2\t\n3\n')
    cells = {(0, 1): "name", (1, 0): "1", (1, 1): "two\nlines", (2, 1): "", (3, 0): "3"}
    for (row, column), text in cells.items():
        async with node.http.get(f"{API}/rows/{row}/cells/{column}") as response:
            assert (response.status, await response.text()) == (200, text)


@pytest.mark.parametrize("cell", ["4/cells/0", "3/cells/1", "1/cells/2", "x/cells/0", "1/cells/-1"])
async def test_a_cell_that_does_not_exist_is_refused(node: Node, cell: str) -> None:
    await node.put(b"id\tname\n1\tone\n2\ttwo\n3\n")
    await node.refusal("GET", f"{API}/rows/{cell}", 404, "page_out_of_range")


async def test_a_cell_of_a_table_that_was_replaced_is_refused(node: Node) -> None:
    old = (await node.put(table(10)))["id"]
    await node.put(table(20))
    path = f"{API}/rows/1/cells/1?document={old}"
    problem = await node.refusal("GET", path, 404, "no_document")
    assert "replaced" in problem["detail"]


# Health


async def test_a_node_that_can_serve_is_alive_and_ready(any_node: Node) -> None:
    assert await answer(any_node, "/healthz") == {"status": "ok"}
    ready = await answer(any_node, "/readyz")
    assert ready["status"] == "ok"
    assert ready["backend"] in ("memory", "redis")


async def test_a_node_without_its_backend_is_alive_but_not_ready(start_node: StartNode) -> None:
    async def gone(*args: Any, **options: Any) -> Any:
        raise Unavailable("The storage cannot be reached.")

    node = await start_node(Wrapped(memory(), check=gone, snapshot=gone, append=gone))
    await answer(node, "/healthz")
    for method, path in (
        ("GET", "/readyz"),
        ("GET", API),
        ("GET", f"{API}/document"),
        ("GET", f"{API}/pages/1"),
        ("PUT", f"{API}/document"),
        ("POST", "/sample"),
    ):
        problem = await node.refusal(method, path, 503, "unavailable")
        assert problem["retry"] is True
    async with node.http.get("/readyz") as response:
        assert response.headers["Retry-After"] == "1"


# Errors


async def test_an_address_that_does_not_exist_is_a_problem(node: Node) -> None:
    for path in ("/nothing", "/api/nothing", "/t/", "/static/js/", "/static/../server/app.py"):
        async with node.http.get(path) as response:
            assert response.status in (403, 404)
            assert response.content_type == "application/problem+json"
            assert response.headers["Tablecast-Node"] == node.settings.node


async def test_a_method_that_is_not_taken_is_a_problem_that_says_which_are(node: Node) -> None:
    async with node.http.patch(API) as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
        assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_a_fault_inside_the_server_is_a_problem_without_its_details(
    start_node: StartNode, caplog: pytest.LogCaptureFixture
) -> None:
    async def snapshot(room: str) -> Any:
        raise RuntimeError("secret detail")

    node = await start_node(Wrapped(memory(), snapshot=snapshot))
    problem = await node.refusal("GET", API, 500, "internal")
    assert "secret" not in json.dumps(problem)
    assert "secret detail" in caplog.text


async def test_an_upload_that_begins_while_the_backend_is_away_is_told_so(
    start_node: StartNode,
) -> None:
    node = await start_node(Wrapped(memory()))
    document = await node.put(table(100))
    viewer = await node.join()

    async def gone(*args: Any, **options: Any) -> Any:
        raise Unavailable("The storage cannot be reached.")

    node.app[BACKEND].snapshot = gone  # type: ignore[method-assign]
    await viewer.say("upload", name="new.tsv")
    error = await viewer.expect_error("unavailable")
    assert (error["about"], error["retry"]) == ("upload", True)
    del node.app[BACKEND].snapshot
    await viewer.sees(document["id"])
