"""Nodes to be watched, in memory and on a Redis of the module's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from server.fanout.bus import Timing
from server.fanout.redis import RedisBackend
from tests.accept.client import Node
from tests.accept.conftest import StartNode as StartNode
from tests.accept.conftest import node as node
from tests.accept.conftest import start_node as start_node
from tests.nodes.harness import require
from tests.redis_server import RedisServer

# Quick to see that something is wrong.
WATCHFUL = Timing(ping=0.1, answer=0.5, audit=0.2, grace=0.1)


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
