"""`tablecast push --watch`: the room shows what the file is now, however it changes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.accept.client import ROOM, Node, SocketClient
from tests.command.conftest import StartProgram, StartServer
from tests.command.program import PATIENCE, Program, tablecast
from tests.room_client import table

pytestmark = pytest.mark.processes


async def shows(viewer: SocketClient, rows: int) -> None:
    """Wait until the whole of a table with so many rows is there."""

    def there(v: Any) -> bool:
        document = v.registers.get("document") or {}
        return bool(document.get("complete")) and document["rows"] == rows

    await viewer.settles(there)


async def watching(
    node: Node, start: StartProgram, folder: Path, *more: str
) -> tuple[Path, Program, SocketClient]:
    """A file of ten rows that is watched, and a viewer who sees them."""
    path = folder / "a.tsv"
    path.write_bytes(table(10))
    viewer = await node.join()
    program = await start("push", "--watch", str(path), "--to", f"{node.url}/t/{ROOM}", *more)
    assert await program.line() == f"{node.url}/t/{ROOM}"
    await shows(viewer, 10)
    return path, program, viewer


async def interrupted(program: Program) -> None:
    program.interrupt()
    async with asyncio.timeout(PATIENCE):
        assert await program.process.wait() == 130
    assert program.process.stderr is not None
    assert b"Traceback" not in await program.process.stderr.read()


async def test_a_file_is_sent_again_whenever_it_changes(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    path, program, viewer = await watching(node, start, tmp_path)
    assert await program.note() == "tablecast: Watching a.tsv; Ctrl+C ends it."
    path.write_bytes(table(20))
    await shows(viewer, 20)
    with path.open("ab") as file:
        file.write(b"21\tmore\n")
    await shows(viewer, 21)
    assert await program.note() == "tablecast: a.tsv was sent again."
    await interrupted(program)
    # The link is printed once: it stays the same.
    assert await program.line() == ""


async def test_a_file_of_the_same_size_is_another_one_too(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    path, program, viewer = await watching(node, start, tmp_path)
    path.write_bytes(b"id\n1\n2\n")
    await shows(viewer, 2)
    path.write_bytes(b"id\n345\n")
    await shows(viewer, 1)
    await interrupted(program)


async def test_a_file_that_is_replaced_is_followed_by_its_name(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    path, program, viewer = await watching(node, start, tmp_path)
    (tmp_path / "a.tsv.new").write_bytes(table(30))
    os.replace(tmp_path / "a.tsv.new", path)
    await shows(viewer, 30)
    await interrupted(program)


async def test_a_file_that_is_gone_for_a_while_is_waited_for(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    path, program, viewer = await watching(node, start, tmp_path)
    await program.note()
    path.unlink()
    assert await program.note() == "tablecast: a.tsv is gone or empty; waiting for it."
    path.touch()
    path.write_bytes(table(40))
    await shows(viewer, 40)
    await interrupted(program)


async def test_a_file_that_is_being_written_is_sent_when_it_has_come_to_rest(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    path, program, viewer = await watching(node, start, tmp_path)
    seen: set[int] = set()
    with path.open("wb") as file:
        for line in table(12).splitlines(keepends=True):
            file.write(line)
            file.flush()
            await asyncio.sleep(0.2)  # more often than the file is looked at
            seen.add(viewer.registers["document"]["rows"])
    await shows(viewer, 12)
    assert seen == {10}
    await interrupted(program)


async def test_a_change_that_is_refused_keeps_the_table_and_the_watch(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    path, program, viewer = await watching(node, start, tmp_path, "--quiet")
    path.write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 4)
    assert "PDF" in await program.note()
    assert viewer.registers["document"]["rows"] == 10
    path.write_bytes(table(50))
    await shows(viewer, 50)
    await interrupted(program)


async def test_a_server_that_fails_for_a_while_gets_the_change_when_it_is_back(
    serve: StartServer, start: StartProgram, tmp_path: Path
) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(table(10))
    bodies: asyncio.Queue[bytes] = asyncio.Queue()
    fails = False

    async def handler(request: web.Request) -> web.Response:
        body = await request.read()
        if fails:
            return web.Response(status=500, text="<html>", content_type="text/html")
        bodies.put_nowait(body)
        return web.json_response({"rows": 1})

    program = await start("push", "--watch", str(path), to=f"{await serve(handler)}/t/{ROOM}")
    async with asyncio.timeout(PATIENCE):
        assert await bodies.get() == table(10)
        assert "Watching" in await program.note()
        fails = True
        path.write_bytes(table(20))
        assert "fails (500)" in await program.note()
        fails = False
        path.write_bytes(table(30))
        assert await bodies.get() == table(30)
    await interrupted(program)


@pytest.mark.parametrize(
    ("file", "code", "says"),
    [
        ("-", 2, "--watch needs a file"),
        ("none.tsv", 1, "There is no file"),
        ("empty.tsv", 1, "cannot be watched"),
    ],
)
async def test_what_cannot_be_watched_is_told_at_once(
    node: Node, tmp_path: Path, file: str, code: int, says: str
) -> None:
    (tmp_path / "empty.tsv").touch()
    path = file if file == "-" else str(tmp_path / file)
    end = await tablecast("push", "--watch", path, to=node.url)
    assert (end.code, end.out) == (code, "")
    assert says in end.errors


async def test_a_first_push_that_fails_ends_the_watch(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 4)
    end = await tablecast("push", "--watch", str(path), to=node.url)
    assert (end.code, end.out) == (1, "")
    assert "PDF" in end.errors
