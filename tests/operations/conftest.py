"""Nodes to be watched, in memory and on a Redis of the module's own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from server.fanout.bus import Timing
from server.fanout.redis import RedisBackend
from tests.accept.client import Node, memory
from tests.nodes.harness import require
from tests.redis_server import RedisServer

StartNode = Callable[..., Any]

# Quick to see that something is wrong.
WATCHFUL = Timing(ping=0.1, answer=0.5, audit=0.2, grace=0.1)


@pytest.fixture
async def start_node() -> AsyncIterator[StartNode]:
    """`await start_node(backend, setting=...)`: a node that is ended after the test."""
    async with AsyncExitStack() as ending:

        async def start(backend: Any = None, **settings: Any) -> Node:
            return await ending.enter_async_context(Node(backend or memory(), settings))

        yield start


@pytest.fixture
async def node(start_node: StartNode) -> Node:
    started: Node = await start_node()
    return started


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """A Redis that the tests of a module may freeze, one after the other."""
    require("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture
async def redis_node(own_redis: RedisServer, start_node: StartNode) -> Node:
    started: Node = await start_node(
        RedisBackend(own_redis.url, secrets.token_hex(4), timing=WATCHFUL, patience=1)
    )
    return started
