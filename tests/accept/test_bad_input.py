"""Whatever a real curl sends to a real server, it says what to do, and the room keeps its table."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.accept.client import ROOM
from tests.bad_input import BAD, GOOD, Bad
from tests.command.program import ROOT

pytestmark = pytest.mark.processes

PATIENCE = 50.0  # seconds; a gigabyte may come through a pipe


class Answer(NamedTuple):
    status: int
    kind: str
    fields: dict[str, Any]


class Server:
    """`tablecast serve` with everything in memory, and curl to talk to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.api = f"{url}/api/rooms/{ROOM}"

    async def curl(self, *arguments: str, data: Iterable[bytes] = ()) -> bytes:
        """What curl writes; it is sent `data` until it wants no more."""
        curl = await self.start(*arguments)
        assert curl.stdin is not None
        assert curl.stdout is not None
        reading = asyncio.create_task(curl.stdout.read())
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in data:
                    curl.stdin.write(piece)
                    await curl.stdin.drain()
            curl.stdin.close()
            told = await reading
            await curl.wait()
        return told

    @staticmethod
    async def start(*arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *("curl", "-q", "-sS", "--noproxy", "*", *arguments),
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def put(self, name: str, data: Iterable[bytes], query: str = "") -> Answer:
        return answer(await self.curl(*self.putting(name, query), data=data))

    def putting(self, name: str, query: str = "") -> tuple[str, ...]:
        shown = "\n%{http_code} %{content_type}"
        return "-T", "-", "-w", shown, f"{self.api}/document?name={name}{query}"

    async def state(self) -> dict[str, Any]:
        """The registers and their fields, but for those that are nothing or 0."""
        registers: dict[str, Any] = json.loads(await self.curl(self.api))["set"]
        return {name: _said(value) for name, value in registers.items() if value}

    async def until(self, is_so: Any) -> dict[str, Any]:
        """The registers, once they are as wanted."""
        async with asyncio.timeout(PATIENCE):
            while not is_so(registers := await self.state()):
                await asyncio.sleep(0.02)
        return registers

    async def document(self) -> bytes:
        return await self.curl(f"{self.api}/document")


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _said(each) for name, each in value.items() if each}
    return value


def answer(told: bytes) -> Answer:
    body, _, last = told.rpartition(b"\n")
    status, _, kind = last.decode().partition(" ")
    return Answer(int(status), kind, json.loads(body))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "serve", "--port", "0"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("TABLECAST_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split(" on ")[1].split(" ")[0]
        yield Server(url.replace("localhost", "127.0.0.1"))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, "Traceback" in errors) == (0, False), errors
    finally:
        process.kill()
        process.communicate()


def told(problem: Answer, status: int, code: str, *says: str) -> None:
    assert (problem.status, problem.kind) == (status, "application/problem+json"), problem
    assert (problem.fields["status"], problem.fields["code"]) == (status, code), problem
    sentence = problem.fields["detail"]
    assert sentence.endswith("."), sentence
    assert "Traceback" not in sentence
    for words in says:
        assert words in sentence, sentence


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what)
async def test_it_is_refused_with_what_to_do_and_the_room_keeps_what_it_had(
    server: Server, bad: Bad
) -> None:
    assert (await server.put("good.tsv", [GOOD])).status == 200
    before = await server.state()
    problem = await server.put(bad.name, bad.data())
    told(problem, bad.status, bad.code, *bad.says)
    assert problem.fields["retry"] is False
    assert await server.until(lambda now: "upload" not in now) == before
    assert await server.document() == GOOD


async def test_only_a_header_is_a_table_without_rows(server: Server) -> None:
    document = (await server.put("a.tsv", [b"station\tmeasured"])).fields
    assert (document["rows"], document["columns"], document["complete"]) == (0, 2, True)
    page = json.loads(await server.curl(f"{server.api}/pages/1"))
    assert (page["header"], page["data"]) == (["station", "measured"], [])


async def test_a_file_that_gets_shorter_while_it_is_read_is_not_shown(server: Server) -> None:
    await server.put("good.tsv", [GOOD])
    before = await server.state()
    host, port = server.url.removeprefix("http://").split(":")
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"PUT /api/rooms/{ROOM}/document?name=a.tsv HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Content-Length: {len(GOOD) + 1000}\r\n\r\n".encode()
            + GOOD
        )
        await writer.drain()
        # As curl does, which finds its file shorter than it said.
        writer.close()
        await writer.wait_closed()
        await reader.read()
    assert await server.until(lambda now: "upload" not in now) == before
    assert await server.document() == GOOD


async def test_of_two_uploads_at_once_the_later_one_waits_or_says_that_it_shall_win(
    server: Server,
) -> None:
    await server.put("good.tsv", [GOOD])
    first = await server.start(*server.putting("first.tsv"))
    try:
        assert first.stdin is not None
        first.stdin.write(b"id\ttext\n" + b"1\tfirst\n" * 200_000)
        await first.stdin.drain()
        await server.until(lambda now: now["document"]["name"] == "first.tsv")
        problem = await server.put("second.tsv", [b"id\n2\n"])
        told(problem, 409, "upload_in_progress", "first.tsv", "Wait", "replace")
        assert problem.fields["retry"] is True
        second = await server.put("second.tsv", [b"id\n2\n"], "&replace=true")
        assert (second.status, second.fields["name"]) == (200, "second.tsv")
        async with asyncio.timeout(PATIENCE):
            # Standard input keeps curl waiting, so it hears of it when that goes on or ends.
            out, _ = await first.communicate(b"")
        told(answer(out), 409, "upload_replaced", "Somebody else", "Send it again")
        assert await server.document() == b"id\n2\n"
    finally:
        if first.returncode is None:
            first.kill()
            await first.wait()
