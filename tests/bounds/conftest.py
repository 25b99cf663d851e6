"""Nodes to be measured, each in a process of its own, and the Redis they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bench.processes import allow_many_files, node
from tests.bounds.measured import Measured
from tests.nodes.harness import require
from tests.redis_server import RedisServer

StartNode = Callable[..., Measured]


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """Nobody else's bytes are in it."""
    require("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def start_node(own_redis: RedisServer) -> Iterator[StartNode]:
    """`start_node(linger=1)`: a node with these settings, until the module's last test."""
    allow_many_files()
    with ExitStack() as ending:

        def start(**settings: Any) -> Measured:
            server = ending.enter_context(node(own_redis.url, **settings))
            return Measured(server.pid, server.port)

        yield start


@pytest.fixture(scope="module")
def one_node(start_node: StartNode) -> Measured:
    """A node that soon forgets rooms; it has served before, so that its code is loaded."""
    started = start_node(linger=0.5)
    started.warm_up()
    return started


@pytest.fixture
def fresh_node(own_redis: RedisServer) -> Iterator[Measured]:
    """As `one_node`, for one test: no memory that others needed hides what this one needs."""
    allow_many_files()
    with node(own_redis.url, linger=0.5) as server:
        started = Measured(server.pid, server.port)
        started.warm_up()
        yield started


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    """What is done after the test, however it ends."""
    with ExitStack() as ending:
        yield ending
