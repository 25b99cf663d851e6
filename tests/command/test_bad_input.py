"""Whatever is pushed by mistake: a sentence that says what to do, and the room keeps its table."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
from pathlib import Path

import pytest

from tests.accept.client import ROOM, Node, Slowly
from tests.bad_input import BAD, GOOD, Bad
from tests.command.conftest import StartProgram
from tests.command.program import PATIENCE, Program, sentence, tablecast
from tests.room_client import RoomClient

pytestmark = pytest.mark.processes

SMALL = 1024 * 1024
TERMINAL = {"TERM": "xterm"}


async def source(node: Node) -> bytes:
    async with node.http.get(f"/api/rooms/{ROOM}/document") as response:
        return await response.read()


async def kept(node: Node, before: dict[str, object]) -> None:
    """The room shows the good table, as it did `before`, and nothing arrives."""
    viewer = await node.join()
    await viewer.settles(lambda v: v.registers.get("upload") is None)
    assert viewer.registers["document"] == before["document"]
    assert viewer.registers["versions"] == before["versions"]
    assert await source(node) == GOOD


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what)
async def test_it_is_told_in_one_sentence_with_exit_code_1(
    node: Node, start: StartProgram, tmp_path: Path, bad: Bad
) -> None:
    await node.put(GOOD)
    before = await node.registers()
    link = f"{node.url}/t/{ROOM}"
    path = tmp_path / bad.name
    size = 0
    with path.open("wb") as file:
        for piece in bad.data():
            if (size := size + len(piece)) > SMALL:
                break
            file.write(piece)
    if size <= SMALL:
        end = await tablecast("push", str(path), "--to", link)
        assert end.code == 1
        if size:
            sentence(end, *bad.says)
        else:
            sentence(end, "There is nothing in a.tsv", "Give a file")
    else:
        program = await start("push", "-", "--to", link)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in bad.data():
                await program.write(piece)
        end = await program.ended()
        # From a pipe the link comes with the first bytes.
        assert (end.code, end.out) == (1, f"{link}\n")
        assert end.errors.count("\n") == 1
        for words in bad.says:
            assert words in end.errors
    await kept(node, before)


async def test_a_directory_is_told_in_one_sentence(node: Node, tmp_path: Path) -> None:
    end = await tablecast("push", str(tmp_path), to=node.url)
    assert end.code == 1
    sentence(end, "is a directory", "Give one of the files in it")


async def test_only_a_header_is_a_table_without_rows(node: Node, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"station\tmeasured")
    end = await tablecast("push", str(tmp_path / "a.tsv"), "--to", f"{node.url}/t/{ROOM}")
    assert (end.code, end.errors) == (0, "")
    document = (await node.registers())["document"]
    assert (document["rows"], document["columns"]) == (0, 2)


# Another upload in the room


async def arriving(node: Node) -> tuple[Slowly, asyncio.Task[int], RoomClient]:
    """An upload of first.tsv whose end is not there, its answer's status, and a viewer."""
    body = Slowly()

    async def put() -> int:
        url = f"/api/rooms/{ROOM}/document?name=first.tsv"
        async with node.http.put(url, data=body) as response:
            return response.status

    uploading = asyncio.create_task(put())
    body.send(b"id\n1\n")
    viewer = await node.join()
    await viewer.settles(lambda v: v.registers.get("upload") is not None)
    return body, uploading, viewer


async def test_replace_takes_the_place_of_another_upload(node: Node, tmp_path: Path) -> None:
    await node.put(b"id\n0\n")
    body, uploading, _ = await arriving(node)
    (tmp_path / "mine.tsv").write_bytes(GOOD)
    link = f"{node.url}/t/{ROOM}"
    end = await tablecast("push", str(tmp_path / "mine.tsv"), "--to", link, "--replace")
    assert (end.code, end.errors, end.out) == (0, "", f"{link}\n")
    body.send(b"2\n")  # whoever sends nothing is not told before its next bytes
    assert await asyncio.wait_for(uploading, PATIENCE) == 409
    body.end()
    assert await source(node) == GOOD


async def test_without_a_terminal_nobody_is_asked_and_the_way_is_told(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    await node.put(GOOD)
    body, uploading, _ = await arriving(node)
    (tmp_path / "mine.tsv").write_bytes(b"id\n2\n")
    program = await start("push", str(tmp_path / "mine.tsv"), "--to", f"{node.url}/t/{ROOM}")
    note = await program.note()
    assert "first.tsv" in note
    assert "--replace" in note
    assert "[y/N]" not in note
    body.end()
    assert await asyncio.wait_for(uploading, PATIENCE) == 200
    assert (await program.ended()).code == 0


class Terminal:
    """What a person sees and types."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.seen = ""

    async def shows(self, text: str) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while text not in self.seen:
                readable = loop.create_future()
                loop.add_reader(self.ours, lambda it=readable: it.done() or it.set_result(None))
                try:
                    await readable
                finally:
                    loop.remove_reader(self.ours)
                self.seen += os.read(self.ours, 65_536).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


async def push_at(terminal: Terminal, node: Node, start: StartProgram, folder: Path) -> Program:
    """A person pushes mine.tsv there."""
    path = folder / "mine.tsv"
    path.write_bytes(GOOD)
    return await start(
        *("push", str(path), "--to", f"{node.url}/t/{ROOM}"),
        stdin=terminal.theirs,
        stderr=terminal.theirs,
        environment=TERMINAL,
    )


@pytest.mark.parametrize("typed", ["y\n", "n\n", "\n"])
async def test_at_a_terminal_whoever_pushes_decides(
    node: Node, start: StartProgram, tmp_path: Path, typed: str
) -> None:
    await node.put(b"id\n0\n")
    body, uploading, viewer = await arriving(node)
    terminal = Terminal()
    try:
        program = await push_at(terminal, node, start, tmp_path)
        await terminal.shows("Replace it? [y/N] ")
        assert "first.tsv" in terminal.seen
        assert viewer.registers["upload"]["name"] == "first.tsv"
        terminal.type(typed)
        if typed == "y\n":
            await viewer.settles(lambda v: v.registers["document"]["name"] == "mine.tsv")
            body.send(b"2\n")
            assert await asyncio.wait_for(uploading, PATIENCE) == 409
        else:
            await terminal.shows("Trying again")
            body.end()
            assert await asyncio.wait_for(uploading, PATIENCE) == 200
        assert (await program.ended()).code == 0
        assert await source(node) == GOOD
    finally:
        body.end()
        terminal.close()


async def test_a_question_can_be_interrupted(
    node: Node, start: StartProgram, tmp_path: Path
) -> None:
    body, uploading, viewer = await arriving(node)
    terminal = Terminal()
    try:
        program = await push_at(terminal, node, start, tmp_path)
        await terminal.shows("[y/N] ")
        program.interrupt()
        assert (await program.ended()).code == 130
        assert viewer.registers["upload"]["name"] == "first.tsv"
        body.end()
        assert await asyncio.wait_for(uploading, PATIENCE) == 200
    finally:
        terminal.close()
