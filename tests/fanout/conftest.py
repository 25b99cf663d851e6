"""Fixtures: nodes on each kind of backend, and a Redis to be harmed."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.redis_cluster import RedisCluster
from tests.fanout.nodes import Nodes, cluster_nodes, fake_redis_nodes, memory_nodes, redis_nodes
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


@pytest.fixture(scope="session")
def primaries() -> Iterator[RedisCluster]:
    """Three primaries of a cluster, for what harms none of them."""
    need_redis_server()
    with RedisCluster(replicas=0) as cluster:
        yield cluster


@pytest.fixture(
    params=["memory", "fakeredis", "redis", pytest.param("cluster", marks=pytest.mark.slow)]
)
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    """Nodes on each kind of backend in turn."""
    started: Nodes
    if request.param == "memory":
        started = memory_nodes()
    elif request.param == "fakeredis":
        started = fake_redis_nodes()
    elif request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("primaries")
        started = cluster_nodes(cluster.url, f"{secrets.token_hex(4)}:")
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        started = redis_nodes(server.url, f"{secrets.token_hex(4)}:")
    yield started
    await started.close()
