"""A node for commands to talk to, runs of the command line, and servers that are none of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.accept.client import Node
from tests.command.program import Program

StartProgram = Callable[..., Any]
StartServer = Callable[..., Any]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node(None, {}) as started:
        yield started


@pytest.fixture
async def start() -> AsyncIterator[StartProgram]:
    """`await start("push", "-", to=url)`: the command line, ended after the test."""
    async with AsyncExitStack() as ending:

        async def run(*arguments: str, **options: Any) -> Program:
            program = await Program.start(*arguments, **options)
            ending.push_async_callback(program.kill)
            return program

        yield run


@pytest.fixture
async def serve() -> AsyncIterator[StartServer]:
    """`await serve(handler)`: the address of a server that answers everything with `handler`."""
    async with AsyncExitStack() as ending:

        async def run(handler: Callable[[web.Request], Any]) -> str:
            app = web.Application(client_max_size=1 << 30)
            app.router.add_route("*", "/{path:.*}", handler)
            server = TestServer(app)
            await server.start_server()
            ending.push_async_callback(server.close)
            return str(server.make_url("/")).rstrip("/")

        yield run
