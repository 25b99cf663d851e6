"""A real Sentinel makes a replica the primary, under real nodes with viewers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.cluster.sentinels import Watched, do
from tests.faults.limits import LIMITS
from tests.faults.watcher import Watcher, agree
from tests.faults.world import PATIENCE, World
from tests.nodes.harness import Node, require

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(180)]


class WorldOfSentinels(World):
    """Two nodes as they are run, which ask a Sentinel for the primary."""

    def __init__(self, watched: Watched, directory: Path) -> None:
        super().__init__(watched.primary)
        self.watched = watched
        self._directory = directory

    async def _start(self, ending: AsyncExitStack) -> None:
        nodes = [Node(f"node-{n}", self._directory, redis_url=self.watched.url) for n in (1, 2)]
        for node in nodes:
            ending.callback(node.kill)
            self.urls.append(node.url)
        await asyncio.gather(*(node.start() for node in nodes))

    def by(self, fault: str) -> float:
        return LIMITS[fault]

    async def lose_the_primary(self) -> None:
        """Kill it; the truth is from now on what its replica has."""
        self.redis.kill()
        await self.raw.aclose()
        [self.redis] = [server for server in self.watched.servers if server.running]
        self.raw = Redis.from_url(self.redis.url, protocol=2)
        self._ending.push_async_callback(self.raw.aclose)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorldOfSentinels]:
    require("redis-server")
    with Watched(tmp_path) as watched:
        async with WorldOfSentinels(watched, tmp_path) as world:
            yield world


@pytest.fixture
async def watchers(world: WorldOfSentinels) -> list[Watcher]:
    """Viewers on both nodes, who see page 2 and one message, which the replica has too."""
    await world.put()
    watchers = await world.watchers(each=2)
    await talk(watchers, "kept", 2)
    await asyncio.to_thread(world.watched.replicated, world.redis)
    return watchers


async def talk(watchers: list[Watcher], body: str, page_no: int) -> None:
    await watchers[0].chats(body)
    await watchers[-1].say("page", page_no=page_no)
    await agree(watchers, PATIENCE, lambda w: w.page_no == page_no and w.said[-1:] == [body])


async def test_after_the_primary_is_gone_all_have_what_they_had_and_go_on(
    world: WorldOfSentinels, watchers: list[Watcher]
) -> None:
    epoch, rev = watchers[0].epoch, watchers[0].rev
    await world.lose_the_primary()
    for watcher in watchers:
        await watcher.waits(lambda w: w.degraded, PATIENCE)
    await agree(watchers, world.by("primary gone"), lambda w: w.said == ["kept"] and w.page_no == 2)
    assert (watchers[0].epoch, watchers[0].rev) == (epoch, rev), "nothing was lost"
    await talk(watchers, "and on", 3)
    assert all(w.losses == 0 for w in watchers)


async def test_what_the_promoted_replica_never_got_is_gone_for_all_viewers_and_they_are_told(
    world: WorldOfSentinels, watchers: list[Watcher]
) -> None:
    epoch = watchers[0].epoch
    replica = world.watched.replica
    replica.pause()
    try:
        do(world.redis.port, "CLIENT", "KILL", "TYPE", "replica")
        await talk(watchers, "lost", 8)
        await talk(watchers, "lost too", 9)
        await world.lose_the_primary()
    finally:
        replica.resume()
    late = [await world.watch(0), await world.watch(1)]
    await agree(
        [*watchers, *late],
        world.by("primary gone"),
        lambda w: w.epoch != epoch and w.said == ["kept"] and w.page_no == 2,
    )
    assert all(w.degradations[-2:] == [True, False] for w in watchers)
    await talk([*watchers, *late], "and on", 3)
    assert watchers[0].said == ["kept", "and on"]
    assert all(w.losses == 0 for w in watchers)
