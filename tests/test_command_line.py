"""The program as an operator starts and ends it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.redis_server import RedisServer, find_redis_server
from tests.room_client import RoomClient, table

ROOT = Path(__file__).parents[1]
ROOM = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
PATIENCE = 20.0  # seconds; a machine that does much else starts Python slowly

pytestmark = pytest.mark.processes


class Program:
    """`python -m server` with its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def address(self) -> str:
        """The address that it prints when it serves."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = (await self._process.stdout.readline()).decode()
        found = re.search(r"http://\S+:\d+", line)
        assert found, (line, await self.errors())
        return found[0]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def errors(self) -> str:
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._process.stderr.read()).decode()

    async def ended(self) -> tuple[int, str]:
        """Exit code, and what it wrote to stderr."""
        async with asyncio.timeout(PATIENCE):
            errors = await self.errors()
            return await self._process.wait(), errors

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start("--port", "0", SETTING="...")`: the program, ended after the test."""
    programs: list[Program] = []

    async def run(*arguments: str, **settings: str) -> Program:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TABLECAST_")}
        environment |= {f"TABLECAST_{name}": value for name, value in settings.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "server",
            *arguments,
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        programs.append(Program(process))
        return programs[-1]

    yield run
    for program in programs:
        await program.kill()


async def status(url: str) -> int:
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        await response.read()
        return response.status


async def until_status(url: str, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await status(url) != wanted:
            await asyncio.sleep(0.05)


# Used wrongly


@pytest.mark.parametrize(
    ("arguments", "settings", "names"),
    [
        (["--port", "many"], {}, "TABLECAST_PORT is 'many'"),
        (["serve", "--port", "70000"], {}, "TABLECAST_PORT"),
        ([], {"PAGE_SIZE": "5"}, "TABLECAST_PAGE_SIZE is '5'"),
        ([], {"PAEG_SIZE": "50"}, "did you mean TABLECAST_PAGE_SIZE?"),
        (["--redis", "http://x"], {}, "TABLECAST_REDIS_URL"),
    ],
)
async def test_a_wrong_setting_is_refused_in_one_sentence(
    start: Start, arguments: list[str], settings: dict[str, str], names: str
) -> None:
    code, errors = await (await start(*arguments, **settings)).ended()
    assert code == 2
    assert names in errors
    assert errors.startswith("tablecast: ")
    assert errors.count("\n") == 1
    assert "Traceback" not in errors


async def test_a_wrong_argument_is_refused_with_the_usage(start: Start) -> None:
    code, errors = await (await start("--colour=red")).ended()
    assert code == 2
    assert errors.startswith("usage: tablecast")
    assert "--colour" in errors


async def test_a_port_in_use_is_told_in_one_sentence(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, errors = await (await start("--port", port)).ended()
    assert code == 1
    assert f"127.0.0.1:{port}" in errors
    assert "in use" in errors
    assert "--port" in errors
    assert errors.count("\n") == 1
    assert "Traceback" not in errors


async def test_a_host_that_is_not_ours_is_told_in_one_sentence(start: Start) -> None:
    code, errors = await (await start("--host", "192.0.2.1", "--port", "0")).ended()
    assert code == 1
    assert "192.0.2.1" in errors
    assert "Traceback" not in errors


# Serving and ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sends_viewers_away_and_ends_with_0(
    start: Start, number: signal.Signals
) -> None:
    program = await start("serve", "--port", "0")
    address = await program.address()
    assert address.startswith("http://localhost:")
    assert await status(f"{address}/readyz") == 200
    async with RoomClient(address, ROOM) as viewer:
        await viewer.expect("state")
        program.send(number)
        assert (await viewer.expect("bye"))["again"] is True
        assert await viewer.ends() == 1001
    code, errors = await program.ended()
    assert code == 0
    assert "Traceback" not in errors
    assert "Unclosed" not in errors


async def test_an_upload_does_not_hold_up_the_end(start: Start) -> None:
    program = await start("--port", "0")
    async with RoomClient(await program.address(), ROOM) as viewer:
        await viewer.begin_upload("new.tsv", None)
        await viewer.say_raw(table(5000))
        await viewer.expect("page")
        program.send(signal.SIGTERM)
        await viewer.expect("bye")
        assert await viewer.ends() == 1001
    code, errors = await program.ended()
    assert code == 0
    assert "Traceback" not in errors


async def test_the_environment_sets_the_port_and_arguments_come_first(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        program = await start("--port", "0", PORT=str(taken.getsockname()[1]))
        assert await status(f"{await program.address()}/healthz") == 200


async def test_the_address_that_commands_send_to_is_no_setting_of_a_node(start: Start) -> None:
    program = await start("--port", "0", TO="http://tables.example/")
    assert await status(f"{await program.address()}/healthz") == 200


# Redis that is not there


async def test_a_node_starts_without_its_redis_says_so_and_serves_when_it_appears(
    start: Start,
) -> None:
    if find_redis_server() is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    server = RedisServer()
    program = await start("--port", "0", "--redis", server.url, DRAIN_TIME="0")
    address = await program.address()
    assert await status(f"{address}/healthz") == 200
    assert await status(f"{address}/readyz") == 503
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/t/{ROOM}") as response:
            assert response.status == 200
            assert "storage cannot be reached" in await response.text()
        async with session.put(f"{address}/api/rooms/{ROOM}/document", data=table(10)) as response:
            assert response.status == 503
            problem = await response.json(content_type="application/problem+json")
            assert (problem["code"], problem["retry"]) == ("unavailable", True)
    async with RoomClient(address, ROOM) as viewer:
        await viewer.expect("status", degraded=True)
        try:
            server.start()
            await until_status(f"{address}/readyz", 200)
            await viewer.expect("state", timeout=PATIENCE)
            await viewer.settles(lambda v: not v.degraded, timeout=PATIENCE)
            async with (
                aiohttp.ClientSession() as session,
                session.put(f"{address}/api/rooms/{ROOM}/document", data=table(10)) as response,
            ):
                assert response.status == 200
            await viewer.shows(1)
        finally:
            program.send(signal.SIGTERM)
            code, errors = await program.ended()
            server.stop()
    assert code == 0
    assert re.search(r"WARNING .*(Redis|reach)", errors), errors
    assert "Traceback" not in errors
