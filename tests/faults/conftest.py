"""Fixtures: the two worlds in which faults are made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import NEVER_COMPARING, QUICK, World, WorldHere, WorldOfProcesses
from tests.nodes.harness import require
from tests.redis_server import RedisServer

StartWorld = Callable[..., Awaitable[Any]]
HERE = Path(__file__).parent
REDIS_OPTIONS = ("--appendfsync", "everysec")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make faults` finds them by this mark, quick and slow."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="module")
def harmed_redis() -> Iterator[RedisServer]:
    """One Redis for the tests of a file, each of which leaves it running and answering."""
    require("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture
async def start_here(harmed_redis: RedisServer) -> AsyncIterator[StartWorld]:
    """`await start_here(nodes=2, heartbeat=1.0)`: nodes inside the test."""
    async with AsyncExitStack() as ending:

        async def start(**options: Any) -> WorldHere:
            return await ending.enter_async_context(WorldHere(harmed_redis, **options))

        yield start


@pytest.fixture
async def start_processes(tmp_path: Path) -> AsyncIterator[StartWorld]:
    """`await start_processes(nodes=2, settings={...}, with_nginx=True)`: as it is run."""
    require("redis-server")
    async with AsyncExitStack() as ending:

        async def start(**options: Any) -> WorldOfProcesses:
            redis = RedisServer(*REDIS_OPTIONS)
            ending.callback(redis.stop)
            redis.start()
            return await ending.enter_async_context(WorldOfProcesses(redis, tmp_path, **options))

        yield start


@pytest.fixture
def comparing() -> None:
    """Nodes of `world` compare their rooms with Redis, and so find what nothing else would.

    The others have to find it sooner, so where this is not asked for, nodes inside the test do not.
    """


@pytest.fixture(params=["here", pytest.param("processes", marks=pytest.mark.slow)])
async def world(
    request: pytest.FixtureRequest, start_here: StartWorld, start_processes: StartWorld
) -> World:
    """Two nodes, in each kind of world in turn."""
    started: World
    if request.param == "here":
        timing = QUICK if "comparing" in request.fixturenames else NEVER_COMPARING
        started = await start_here(timing=timing)
    else:
        started = await start_processes()
    return started
