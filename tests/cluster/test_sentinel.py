"""A real Sentinel makes a replica the primary: nobody is left stale, and what was lost is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.fanout.keys import Keys
from tests.cluster.sentinels import Watched, do
from tests.cluster.turning import FAILOVER, agreed, following, turned
from tests.fanout.conftest import need_redis_server
from tests.fanout.nodes import Node, Nodes, eventually, redis_nodes
from tests.redis_server import RedisServer

pytestmark = pytest.mark.processes

PREFIX = "t:"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    need_redis_server()
    with Watched(tmp_path) as watched:
        yield watched


@pytest.fixture
async def nodes(watched: Watched) -> AsyncIterator[Nodes]:
    started = redis_nodes(watched.url, PREFIX)
    yield started
    await started.close()


@pytest.fixture
def room() -> str:
    return "00000000-0000-4000-8000-000000000001"


async def replaced(watched: Watched, before: RedisServer) -> None:
    async def other() -> bool:
        return await asyncio.to_thread(lambda: watched.primary) is not before

    await eventually(other, FAILOVER)


async def followed(server: RedisServer, room: str, nodes: int) -> bool:
    """So many nodes hear of the room's changes from this server."""
    channel = Keys(PREFIX).channel(room)
    told = await asyncio.to_thread(do, server.port, "PUBSUB", "SHARDNUMSUB", channel)
    return list(told) == [channel, nodes]


async def lose(watched: Watched, a: Node, b: Node, room: str) -> str:
    """Let changes be acknowledged and seen by all that no replica hears of; the epoch they had."""
    for page in range(5):
        await a.backend.append(room, set={"page": page}, chat={"n": page})
    primary, replica = watched.primary, watched.replica
    await asyncio.to_thread(watched.replicated, primary)
    replica.pause()
    try:
        do(primary.port, "CLIENT", "KILL", "TYPE", "replica")
        for page in range(5, 10):
            change = await a.backend.append(room, set={"page": page}, chat={"n": page})
        for node in (a, b):
            await node.told.until_rev(room, 10)
        primary.kill()
    finally:
        replica.resume()
    return change.epoch


async def test_a_failover_that_was_ordered_is_followed_by_all_nodes(
    watched: Watched, nodes: Nodes, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    change = await a.backend.append(room, set={"page": 1}, chat={"n": 1})
    before, after = watched.primary, watched.replica
    await asyncio.to_thread(watched.replicated, before)
    await asyncio.to_thread(watched.fail_over)
    await replaced(watched, before)
    # The former one goes on for some seconds, and loses what it is told meanwhile.
    await eventually(lambda: followed(after, room, 2), FAILOVER)
    await eventually(lambda: turned(b, room), FAILOVER)
    await agreed(room, a, b)
    # Nothing was lost, so nothing begins anew.
    assert a.told.state(room).epoch == change.epoch
    assert a.told.state(room).registers == {"page": 2}
    assert [message["n"] for message in a.told.state(room).chat] == [1]


async def test_a_primary_that_serves_on_after_it_was_replaced_is_left(
    watched: Watched, nodes: Nodes, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    await a.backend.append(room, set={"page": 1})
    before, after = watched.servers
    await asyncio.to_thread(watched.replicated, before)
    do(after.port, "REPLICAOF", "NO", "ONE")
    await asyncio.to_thread(watched.watch, after)

    await eventually(lambda: followed(after, room, 2), FAILOVER)
    await eventually(lambda: followed(before, room, 0), FAILOVER)
    await eventually(lambda: turned(b, room), FAILOVER)
    await agreed(room, a, b)
    assert do(after.port, "HGET", f"{PREFIX}room:{{{room}}}", "r:page") == "2"


@pytest.mark.slow
async def test_what_a_promoted_replica_never_got_is_gone_for_all_and_all_are_told(
    watched: Watched, nodes: Nodes, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    epoch = await lose(watched, a, b, room)
    for node in (a, b):
        await node.told.until(
            lambda node=node: node.told.state(room).epoch not in ("", epoch),
            FAILOVER,
        )
    await agreed(room, a, b)
    assert a.told.state(room).registers == {"page": 4}
    assert [message["n"] for message in a.told.state(room).chat] == list(range(5))
    assert a.told.degradations[-1:] == b.told.degradations[-1:] == [False]


@pytest.mark.slow
async def test_changes_in_the_place_of_lost_ones_are_not_taken_for_them(
    watched: Watched, nodes: Nodes, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    epoch = await lose(watched, a, b, room)
    # Another node, which knows nothing of what was lost, brings the room to the same revision.
    stranger = await nodes.start("stranger")
    await eventually(lambda: turned(stranger, room), FAILOVER)
    while (await stranger.backend.snapshot(room)).rev < 10:
        await stranger.backend.append(room, set={"page": 77})
    await agreed(room, a, b)
    now = await stranger.backend.snapshot(room)
    for node in (a, b):
        await node.told.until(
            lambda node=node: node.told.state(room).epoch == now.epoch,
            FAILOVER,
        )
        assert node.told.state(room).epoch != epoch
        assert node.told.state(room).registers == now.registers


@pytest.mark.slow
async def test_a_frozen_primary_is_replaced_and_does_no_harm_when_it_wakes(
    watched: Watched, nodes: Nodes, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    await a.backend.append(room, set={"page": 1})
    before = watched.primary
    await asyncio.to_thread(watched.replicated, before)
    before.pause()
    try:
        await eventually(lambda: turned(b, room), FAILOVER)
        await agreed(room, a, b)
    finally:
        before.resume()

    async def demoted() -> bool:
        return bool(do(before.port, "ROLE")[0] == "slave")

    await eventually(demoted, 2 * FAILOVER)  # the Sentinel looks every ten seconds
    await a.backend.append(room, set={"page": 3})
    await agreed(room, a, b)
    assert a.told.state(room).registers == {"page": 3}
