"""Two real nodes on a real cluster, and viewers of rooms of all primaries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import redis

from tests.cluster.redis_cluster import RedisCluster
from tests.cluster.test_cluster import rooms_of_all, slot
from tests.cluster.turning import FAILOVER
from tests.fanout.conftest import need_redis_server
from tests.faults.limits import LIMITS
from tests.faults.watcher import Shown, Watcher, agree
from tests.faults.world import stored
from tests.nodes.harness import Node
from tests.room_client import table

PREFIX = "tablecast:"


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(240)
async def test_viewers_go_on_over_a_moved_slot_and_a_killed_primary(tmp_path: Path) -> None:
    need_redis_server()
    with RedisCluster() as cluster:
        nodes = [Node(f"node-{n}", tmp_path, redis_url=cluster.url) for n in (1, 2)]
        async with AsyncExitStack() as ending:
            for node in nodes:
                ending.callback(node.kill)
            await asyncio.gather(*(node.start() for node in nodes))
            rooms = rooms_of_all(cluster, PREFIX)
            crowds: list[list[Watcher]] = []
            for room in rooms:
                await put(nodes[0], room)
                truth = truth_of(cluster, room)
                watchers = [Watcher(node.url, room, truth) for node in nodes]
                crowds.append([await ending.enter_async_context(w) for w in watchers])
            for crowd in crowds:
                await agree(crowd, FAILOVER)
            await all_go_on(crowds, 2)

            here, there = slot(PREFIX, rooms[0]), slot(PREFIX, rooms[1])
            home, away = cluster.owner(here), cluster.owner(there)
            await asyncio.to_thread(cluster.move_slot, here, away)
            await all_go_on(crowds, 3)
            await asyncio.to_thread(cluster.move_slot, here, home)
            await all_go_on(crowds, 4)

            joined = await asyncio.to_thread(cluster.add_primary)
            await asyncio.to_thread(cluster.move_slot, here, joined)
            await all_go_on(crowds, 5)
            await asyncio.to_thread(cluster.move_slot, here, home)
            await all_go_on(crowds, 6)
            assert not any(True in w.degradations for crowd in crowds for w in crowd)

            home.server.kill()
            for watcher in crowds[0]:
                await watcher.waits(lambda w: w.degraded, FAILOVER)
            await agree(crowds[0], LIMITS["primary gone"])
            for crowd in crowds[1:]:
                await agree(crowd, LIMITS["primary gone"])
            # What its replica had not got yet is gone: of what was last, for all or for none.
            said = [f"{page_no}" for page_no in range(2, 7)]
            for crowd in crowds:
                assert crowd[0].said in (said, said[:-1])
            await all_go_on(crowds, 7)
            assert all(w.losses == 0 for crowd in crowds for w in crowd)


async def all_go_on(crowds: list[list[Watcher]], page_no: int) -> None:
    """A viewer turns the page of each room, another says so, and those on both nodes have both."""
    for number, crowd in enumerate(crowds):
        await crowd[number % 2].say("page", page_no=page_no)
        await crowd[1 - number % 2].chats(f"{page_no}")
    for crowd in crowds:
        await agree(
            crowd,
            2 * FAILOVER,
            lambda w: w.page_no == page_no and w.said[-1:] == [f"{page_no}"],
        )


async def put(node: Node, room: str) -> None:
    url = f"{node.url}/api/rooms/{room}/document?name=trips.tsv"
    async with aiohttp.ClientSession() as session, session.put(url, data=table(2_000)) as answer:
        assert answer.status == 200


def truth_of(cluster: RedisCluster, room: str) -> Callable[[], Awaitable[Shown | None]]:
    """What the primary that has the room says of it."""
    key = f"{PREFIX}room:{{{room}}}"

    def read() -> Shown | None:
        try:
            owner = cluster.owner(slot(PREFIX, room))
            chat = owner.do("XRANGE", f"{key}:chat", "-", "+")
            return stored(owner.do("HGETALL", key), [said for _, said in chat])
        except (redis.RedisError, StopIteration, KeyError):
            return None

    return lambda: asyncio.to_thread(read)
