"""Rows out again: ranges and pages in four formats, streamed, never a part as if it were all."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import socket
from typing import Any

import aiohttp
import pytest

from server.accept.edge import answers
from server.errors import Missing
from tests.accept.client import ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.room_client import PATIENCE, table

API = f"/api/rooms/{ROOM}"
EMPTY = "/api/rooms/00000000-0000-4000-8000-000000000000"
MEDIA_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "tsv": "text/tab-separated-values",
    "csv": "text/csv",
}
HEADER = ["id", "name", "id"]
ROWS = [
    ["1", "tab\there", "x"],
    ["2", 'quote " and\nline', ""],
    ["3", "", "=1+2"],
    ["4", "Юникод, 漢字", "-5", "beyond"],
    ["5"],
]


def source(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def read(format: str, data: bytes) -> list[list[str]]:
    """The rows of an answer; cells of an object in their order."""
    text = data.decode()
    if format == "json":
        return list(json.loads(text)["data"])
    if format == "ndjson":
        return [list(json.loads(line).values()) for line in text.split("\n")[:-1]]
    delimiter = "\t" if format == "tsv" else ","
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:]


async def get(node: Node, path: str, **options: Any) -> tuple[bytes, Any]:
    async with asyncio.timeout(PATIENCE), node.http.get(path, **options) as response:
        assert response.status == 200, await response.text()
        return await response.read(), response.headers


# Formats


@pytest.mark.parametrize("format", MEDIA_TYPES)
async def test_rows_come_in_the_format_of_the_extension(any_node: Node, format: str) -> None:
    document = await any_node.put(source([HEADER, *ROWS]), name="Umsätze 2026.tsv")
    data, headers = await get(any_node, f"{API}/rows.{format}")
    assert read(format, data) == ROWS
    assert headers["Content-Type"] == f"{MEDIA_TYPES[format]}; charset=utf-8"
    name = f"attachment; filename*=UTF-8''Ums%C3%A4tze%202026.{format}"
    assert headers["Content-Disposition"] == name
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Tablecast-Document"] == document["id"]
    assert headers["Tablecast-Node"] == any_node.settings.node


async def test_json_tells_where_the_rows_are(node: Node) -> None:
    await node.put(source([HEADER, *ROWS]))
    data, _ = await get(node, f"{API}/rows?start=2&count=2")
    assert json.loads(data) == {
        "first_row": 2,
        "total_number": 5,
        "header": HEADER,
        "data": ROWS[1:3],
    }


async def test_ndjson_names_every_cell(node: Node) -> None:
    await node.put(source([HEADER, *ROWS]))
    data, _ = await get(node, f"{API}/rows.ndjson?start=4")
    assert [json.loads(line) for line in data.splitlines()] == [
        {"id": "4", "name": "Юникод, 漢字", "id_2": "-5", "column_4": "beyond"},
        {"id": "5"},
    ]


async def test_thousands_of_columns_of_one_name_are_told_apart_quickly(node: Node) -> None:
    width = 10_000
    await node.put(source([["x"] * width, ["1"] * width, ["2"]]))
    data, _ = await get(node, f"{API}/rows.ndjson")
    first, second = (json.loads(line) for line in data.splitlines())
    assert len(first) == width
    assert second == {"x": "2"}


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("text/csv", "csv"),
        ("text/tab-separated-values", "tsv"),
        ("application/x-ndjson", "ndjson"),
        ("application/jsonl", "ndjson"),
        ("application/json", "json"),
        ("*/*", "json"),
        ("", "json"),
        ("text/html, */*;q=0.8", "json"),
        ("text/csv;q=0.5, application/x-ndjson;q=0.9", "ndjson"),
        ("TEXT/CSV; q=0.1", "csv"),
        ("text/csv;q=0", "json"),
        ("text/csv;q=much, ,;", "json"),
    ],
)
async def test_rows_come_in_the_format_that_accept_likes_best(
    node: Node, accept: str, format: str
) -> None:
    await node.put(source([HEADER, *ROWS]))
    data, headers = await get(node, f"{API}/rows", headers={"Accept": accept})
    assert headers["Content-Type"].partition(";")[0] == MEDIA_TYPES[format]
    assert headers["Vary"] == "Accept"
    assert read(format, data) == ROWS


async def test_the_extension_counts_more_than_accept(node: Node) -> None:
    await node.put(source([HEADER, *ROWS]))
    data, _ = await get(node, f"{API}/rows.tsv", headers={"Accept": "text/csv"})
    assert read("tsv", data) == ROWS


@pytest.mark.parametrize("format", ["tsv", "csv"])
async def test_a_spreadsheet_runs_no_formula_where_they_are_defused(
    node: Node, format: str
) -> None:
    rows = [["=1+2", "+cmd|x", "-5", "-x", "@a", "\t=1", "a=b", "+3.5"]]
    await node.put(source([["=header", *"bcdefgh"], *rows]))
    kept, _ = await get(node, f"{API}/rows.{format}")
    assert read(format, kept) == rows
    assert (await get(node, f"{API}/rows.{format}?formulas=keep"))[0] == kept
    defused, _ = await get(node, f"{API}/rows.{format}?formulas=defuse")
    assert defused.startswith(b"'=header")
    assert read(format, defused) == [
        ["'=1+2", "'+cmd|x", "-5", "'-x", "'@a", "'\t=1", "a=b", "+3.5"]
    ]


# Ranges and pages


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("", 1, 1000),
        ("?start=1", 1, 1000),
        ("?start=990", 990, 1000),
        ("?count=3", 1, 3),
        ("?start=500&count=1", 500, 500),
        ("?start=995&count=100", 995, 1000),
        ("?count=0", 1, 0),
        ("?start=1001", 1, 0),
        ("?start=999999999999&count=999999999999", 1, 0),
    ],
)
async def test_a_range_has_the_rows_that_there_are(
    node: Node, query: str, first: int, last: int
) -> None:
    whole = table(1000)
    await node.put(whole)
    data, _ = await get(node, f"{API}/rows.tsv{query}")
    lines = whole.splitlines(keepends=True)
    assert data == b"".join([lines[0], *lines[first : last + 1]])


@pytest.mark.parametrize("format", ["ndjson", "tsv", "csv"])
async def test_a_page_comes_in_every_format(any_node: Node, format: str) -> None:
    await any_node.put(table(250))
    rows = [line.split("\t") for line in table(250).decode().splitlines()][1:]
    for page_no, expected in ((1, rows[:100]), (3, rows[200:])):
        data, _ = await get(any_node, f"{API}/pages/{page_no}.{format}")
        assert read(format, data) == expected
        by_type, _ = await get(
            any_node, f"{API}/pages/{page_no}", headers={"Accept": MEDIA_TYPES[format]}
        )
        assert by_type == data


async def test_a_page_as_json_is_the_message_that_viewers_get(node: Node) -> None:
    await node.put(table(250))
    plain, _ = await get(node, f"{API}/pages/2")
    assert json.loads(plain)["type"] == "page"
    assert (await get(node, f"{API}/pages/2.json"))[0] == plain


# What is refused


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("rows?start=x", 400, "bad_message", "`start`"),
        ("rows?start=-1", 400, "bad_message", "`start`"),
        ("rows?start=", 400, "bad_message", "`start`"),
        ("rows?count=1.5", 400, "bad_message", "`count`"),
        ("rows?count=²", 400, "bad_message", "`count`"),
        ("rows?count=9999999999999", 400, "bad_message", "`count`"),
        ("rows?start=0", 404, "page_out_of_range", "from 1"),
        ("rows?formulas=run", 400, "bad_message", "`defuse`"),
        ("pages/1.csv?formulas=run", 400, "bad_message", "`defuse`"),
        ("rows.xlsx", 404, "not_found", ".ndjson"),
        ("rows.CSV", 404, "not_found", ".csv"),
        ("pages/1.xml", 404, "not_found", ".tsv"),
        ("pages/11.csv", 404, "page_out_of_range", "1 to 10"),
        ("pages/0.csv", 404, "page_out_of_range", "1 to 10"),
        ("pages/x.csv", 404, "page_out_of_range", "“x”"),
        ("pages/9999999999999.csv", 404, "page_out_of_range", "not a page"),
        ("rows.csv?document=older", 404, "no_document", "replaced"),
        ("pages/1.csv?document=older", 404, "no_document", "replaced"),
    ],
)
async def test_a_wrong_question_is_refused(
    node: Node, path: str, status: int, code: str, says: str
) -> None:
    await node.put(table(1000))
    problem = await node.refusal("GET", f"{API}/{path}", status, code)
    assert says in problem["detail"]


@pytest.mark.parametrize("path", ["rows", "rows.csv", "pages/1.csv", "pages/1.json"])
async def test_rows_of_an_empty_room_are_refused(node: Node, path: str) -> None:
    await node.refusal("GET", f"{EMPTY}/{path}", 404, "no_document")
    await node.refusal("GET", f"/api/rooms/x/{path}", 404, "not_found")


async def test_a_head_tells_the_format_and_has_no_body(node: Node) -> None:
    await node.put(table(1000))
    for path in ("rows", "rows.csv", "pages/2.tsv", "pages/2"):
        async with node.http.head(f"{API}/{path}") as response:
            assert response.status == 200
            assert await response.read() == b""
    # The connection is still good for the next request.
    assert (await get(node, f"{API}/rows.csv?count=1"))[0].count(b"\r\n") == 2


async def test_rows_that_are_gone_are_an_error(start_node: StartNode) -> None:
    inner = memory()
    node = await start_node(inner)
    document = await node.put(table(1000))
    await inner.drop(ROOM, document["id"])
    for path in ("rows.csv", "rows", "pages/1.tsv"):
        await node.refusal("GET", f"{API}/{path}", 410, "missing")


# Large tables


@pytest.mark.parametrize("format", MEDIA_TYPES)
async def test_rows_that_cannot_go_on_break_off_and_never_end_as_if_they_were_all(
    start_node: StartNode, format: str
) -> None:
    inner = memory()

    async def get_blocks(room: str, document: str, numbers: Any) -> list[bytes]:
        if max(numbers) >= 20:
            raise Missing("A part of this table is gone.")
        return await inner.get_blocks(room, document, numbers)

    node = await start_node(Wrapped(inner, get_blocks=get_blocks))
    await node.put(io.BytesIO(table(80_000)))
    got = bytearray()
    async with asyncio.timeout(PATIENCE), node.http.get(f"{API}/rows.{format}") as response:
        assert response.status == 200

        async def download() -> None:
            async for data in response.content.iter_any():
                got.extend(data)

        with pytest.raises(aiohttp.ClientError):
            await download()
    assert b"problem" not in got
    assert not got.endswith(b"]}\n")


@pytest.mark.parametrize("path", ["rows.csv", "document"])
async def test_a_download_that_nobody_takes_ends(
    node: Node, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await node.put(io.BytesIO(table(400_000)))
    monkeypatch.setattr(answers, "PATIENCE", 0.3)
    async with asyncio.timeout(PATIENCE), node.http.get(f"{API}/{path}") as response:
        while "nobody takes a download" not in caplog.messages:
            await asyncio.sleep(0.01)
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_a_table_that_is_replaced_while_it_is_read_ends_as_it_began(
    start_node: StartNode,
) -> None:
    """Its blocks stay for a while, so a reader in the middle gets the rest of the same table."""
    node = await start_node()
    whole = table(60_000)
    await node.put(io.BytesIO(whole))
    async with asyncio.timeout(PATIENCE), node.http.get(f"{API}/rows.tsv") as response:
        got = bytearray(await response.content.readany())
        await node.put(table(10), name="newer.tsv")
        got += await response.content.read()
    assert bytes(got) == whole


async def test_a_whole_table_comes_out_as_it_came_in(any_node: Node) -> None:
    whole = table(120_000)
    await any_node.put(io.BytesIO(whole))
    for path in ("document", "rows.tsv"):
        digest = hashlib.sha256()
        async with asyncio.timeout(PATIENCE), any_node.http.get(f"{API}/{path}") as response:
            async for data in response.content.iter_any():
                digest.update(data)
        assert digest.digest() == hashlib.sha256(whole).digest()


async def test_no_more_is_read_than_the_one_who_asked_takes(start_node: StartNode) -> None:
    """So a table of any size can be had in the memory of a few blocks."""
    inner = memory()
    asked: list[int] = []
    most: list[int] = []

    async def get_blocks(room: str, document: str, numbers: Any) -> list[bytes]:
        asked.extend(numbers)
        most.append(len(numbers))
        return await inner.get_blocks(room, document, numbers)

    node = await start_node(Wrapped(inner, get_blocks=get_blocks))
    document = await node.put(io.BytesIO(b"id\ttext\n" + b"1\tsome words of a row\n" * 1_500_000))
    asked.clear()
    most.clear()
    host, port = node.host.split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(slow, (host, int(port)))
        await loop.sock_sendall(slow, f"GET {API}/rows.tsv HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            before = -1
            while before != len(asked) or not asked:
                before = len(asked)
                await asyncio.sleep(0.3)  # long enough for many blocks, were they asked for
        assert len(asked) < document["blocks"] / 2
        assert max(most) <= 17
    finally:
        slow.close()
