"""Two real nodes on a real cluster, and viewers of rooms of all primaries."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.redis_cluster import RedisCluster
from tests.cluster.test_cluster import rooms_of_all, slot
from tests.cluster.turning import FAILOVER
from tests.fanout.conftest import need_redis_server
from tests.nodes.harness import Node
from tests.room_client import RoomClient, table

PREFIX = "tablecast:"
RECOVERY = 2 * FAILOVER  # seconds


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(150)
async def test_viewers_go_on_over_a_moved_slot_and_a_killed_primary(tmp_path: Path) -> None:
    need_redis_server()
    with RedisCluster() as cluster:
        nodes = [Node(f"node-{n}", tmp_path, redis_url=cluster.url) for n in (1, 2)]
        async with AsyncExitStack() as ending:
            for node in nodes:
                ending.callback(node.kill)
            await asyncio.gather(*(node.start() for node in nodes))
            rooms = rooms_of_all(cluster, PREFIX)
            crowds = [
                [await ending.enter_async_context(RoomClient(node.url, room)) for node in nodes]
                for room in rooms
            ]
            for one, other in crowds:
                await one.upload("trips.tsv", table(2_000))
                for viewer in (one, other):
                    await viewer.settles(lambda v: v.registers.get("document", {}).get("complete"))
            await all_turn(crowds, 2)

            home, away = (
                cluster.owner(slot(PREFIX, rooms[0])),
                cluster.owner(slot(PREFIX, rooms[1])),
            )
            await asyncio.to_thread(cluster.move_slot, slot(PREFIX, rooms[0]), away)
            await all_turn(crowds, 3)
            await asyncio.to_thread(cluster.move_slot, slot(PREFIX, rooms[0]), home)
            await all_turn(crowds, 4)

            home.server.kill()
            for viewer in crowds[0]:
                await viewer.settles(lambda v: v.degraded, RECOVERY)
                await viewer.settles(lambda v: not v.degraded, RECOVERY)
            await all_turn(crowds, 5)
            for one, other in crowds:
                assert (one.epoch, one.rev) == (other.epoch, other.rev)


async def all_turn(crowds: list[list[RoomClient]], page_no: int) -> None:
    """A viewer on one node turns the page of each room, and those on both show it."""
    for number, crowd in enumerate(crowds):
        await crowd[number % 2].say("page", page_no=page_no)
        for viewer in crowd:
            await viewer.shows(page_no, RECOVERY)
