"""Fixtures: nodes on each kind of backend, and a Redis to be harmed."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fanout.nodes import Nodes, fake_redis_nodes, memory_nodes, redis_nodes
from tests.redis_server import RedisServer, find_redis_server


def need_redis_server() -> None:
    """Skip without redis-server, except where everything must be tested."""
    if find_redis_server() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, to be harmed."""
    need_redis_server()
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", "fakeredis", "redis"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    """Nodes on each kind of backend in turn."""
    started: Nodes
    if request.param == "memory":
        started = memory_nodes()
    elif request.param == "fakeredis":
        started = fake_redis_nodes()
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        started = redis_nodes(server.url, f"{secrets.token_hex(4)}:")
    yield started
    await started.close()
