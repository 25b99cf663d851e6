"""A real cluster of three primaries: rooms follow their slots, and nobody is left stale."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from server.fanout.backend import Present, Signal, StoredBlock
from server.fanout.keys import Keys
from server.fanout.slots import slot_of
from tests.cluster.redis_cluster import Member, RedisCluster
from tests.cluster.turning import FAILOVER, Turning, agreed, following, turned
from tests.fanout.conftest import need_redis_server
from tests.fanout.nodes import Nodes, cluster_nodes, eventually

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    need_redis_server()
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    return f"{secrets.token_hex(4)}:"


@pytest.fixture
async def nodes(cluster: RedisCluster, prefix: str) -> AsyncIterator[Nodes]:
    started = cluster_nodes(cluster.url, prefix)
    yield started
    await started.close()


def slot(prefix: str, room: str) -> int:
    return slot_of(Keys(prefix).room(room).encode())


def room_of(cluster: RedisCluster, primary: Member, prefix: str) -> str:
    """A new room that this primary has."""
    owners = cluster.members[0].slots()
    while True:
        room = str(uuid.uuid4())
        if owners[slot(prefix, room)] == primary.address:
            return room


def rooms_of_all(cluster: RedisCluster, prefix: str) -> list[str]:
    owners = set(cluster.members[0].slots().values())
    primaries = [member for member in cluster.members if member.address in owners]
    return [room_of(cluster, primary, prefix) for primary in primaries]


async def test_rooms_of_all_primaries_work_on_two_nodes(
    cluster: RedisCluster, nodes: Nodes, prefix: str
) -> None:
    rooms = rooms_of_all(cluster, prefix)
    a, b = await following(nodes, "a", *rooms), await following(nodes, "b", *rooms)
    assert len(rooms) == 3
    await a.backend.present(dict.fromkeys(rooms, Present(2)))
    await b.backend.present(dict.fromkeys(rooms, Present(1)))
    for room in rooms:
        change = await a.backend.append(room, set={"page": 1}, chat={"body": "hi"})
        await b.backend.put_blocks(room, "d", [StoredBlock(0, b"block", bytes(16))])
        assert await a.backend.get_blocks(room, "d", [0]) == [b"block"]
        await a.backend.signal(room, "here")
        for node in (a, b):
            await node.told.until_rev(room, 1)
            assert node.told.changes(room) == [change]
            await node.told.until(lambda node=node, room=room: node.told.here(room) == 3)
            await node.told.until(lambda node=node, room=room: Signal("here") in node.told.of(room))
    assert a.told.degradations == b.told.degradations == []


async def test_a_slot_moves_there_and_back_while_pages_turn(
    cluster: RedisCluster, nodes: Nodes, prefix: str
) -> None:
    home, other, _ = cluster.primaries
    room, neighbour = (room_of(cluster, primary, prefix) for primary in (home, other))
    a, b = await following(nodes, "a", room), await following(nodes, "b", room, neighbour)
    await a.backend.append(room, chat={"body": "before"})
    turning = Turning(a, room)
    for to in (other, home, other, home):
        await turning.goes_on()
        await asyncio.to_thread(cluster.move_slot, slot(prefix, room), to)
        await turning.goes_on()
    await turning.end()
    # What was acknowledged is there, on both nodes, and nobody had to be alarmed.
    await agreed(room, a, b, page=turning.last)
    assert a.told.state(room).chat[0]["body"] == "before"
    assert len({event.epoch for event in a.told.changes(room)}) == 1
    assert b.told.degradations == []
    await a.backend.append(neighbour, set={"page": 1})
    await b.told.until_rev(neighbour, 1)


async def test_a_room_waits_while_its_slot_is_on_the_way_and_so_does_a_joiner(
    cluster: RedisCluster, nodes: Nodes, prefix: str
) -> None:
    home, other, _ = cluster.primaries
    room = room_of(cluster, home, prefix)
    a, b = await following(nodes, "a", room), await nodes.start("b")
    await a.backend.append(room, set={"page": 1}, request="once")
    with cluster.moving(slot(prefix, room), other):
        turned = asyncio.create_task(a.backend.append(room, set={"page": 2}))
        b.backend.follow(room)
        await asyncio.wait({turned}, timeout=0.5)
    change = await turned
    assert change.rev == 2
    for node in (a, b):
        await node.told.until_rev(room, 2)
        assert node.told.state(room).registers == {"page": 2}
    # Neither moving nor waiting makes one request two changes.
    assert (await b.backend.append(room, set={"page": 1}, request="once")).again
    await asyncio.to_thread(cluster.move_slot, slot(prefix, room), home)
    await agreed(room, a, b)


@pytest.mark.slow
async def test_a_killed_primary_is_replaced_by_its_replica_and_its_rooms_go_on(
    nodes: Nodes, cluster: RedisCluster, prefix: str
) -> None:
    rooms = rooms_of_all(cluster, prefix)
    a, b = await following(nodes, "a", *rooms), await following(nodes, "b", *rooms)
    for room in rooms:
        await a.backend.append(room, set={"page": 1}, chat={"body": "before"})
        await b.told.until_rev(room, 1)
    killed = cluster.owner(slot(prefix, rooms[0]))
    turning = Turning(b, rooms[1])
    killed.server.kill()
    await a.told.until(lambda: a.told.degradations[-1:] == [True])
    # The other two thirds of the rooms know nothing of it.
    await turning.goes_on()
    for node in (a, b):
        await node.told.until(lambda node=node: node.told.degradations[-1:] == [False], FAILOVER)
    assert (await a.backend.append(rooms[0], set={"page": 2})).rev >= 2
    await turning.end()
    for room in rooms:
        await agreed(room, a, b)
    # It comes back as a replica, and again nobody notices.
    await asyncio.to_thread(killed.server.start)
    await asyncio.to_thread(cluster.settled)
    for room in rooms:
        await b.backend.append(room, set={"page": 3})
        await agreed(room, a, b)


@pytest.mark.slow
async def test_what_a_promoted_replica_never_got_is_gone_for_all_and_all_are_told(
    nodes: Nodes, cluster: RedisCluster, prefix: str
) -> None:
    room = rooms_of_all(cluster, prefix)[0]
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    for page in range(5):
        before = await a.backend.append(room, set={"page": page})
    primary = cluster.owner(slot(prefix, room))
    replicas = [
        member
        for member in cluster.members
        if not member.is_primary and member.do("ROLE")[2] == primary.server.port
    ]
    assert int(primary.do("WAIT", 1, 5_000)) >= 1
    for replica in replicas:
        replica.server.pause()
    try:
        # Whatever comes now is acknowledged and seen by all, but no replica ever hears of it.
        primary.do("CLIENT", "KILL", "TYPE", "replica")
        for page in range(5, 10):
            await a.backend.append(room, set={"page": page})
        for node in (a, b):
            await node.told.until_rev(room, 10)
        primary.server.kill()
    finally:
        for replica in replicas:
            replica.server.resume()
    for node in (a, b):
        await node.told.until(
            lambda node=node: node.told.state(room).epoch not in ("", before.epoch),
            FAILOVER,
        )
    await agreed(room, a, b)
    assert a.told.state(room).registers == {"page": 4}
    await asyncio.to_thread(primary.server.start)
    await asyncio.to_thread(cluster.settled)


@pytest.mark.slow
async def test_a_primary_that_joins_and_gets_slots_gets_their_rooms(
    nodes: Nodes, cluster: RedisCluster, prefix: str
) -> None:
    rooms = rooms_of_all(cluster, prefix)
    a, b = await following(nodes, "a", *rooms), await following(nodes, "b", *rooms)
    turnings = [Turning(a, room) for room in rooms]
    joined = await asyncio.to_thread(cluster.add_primary)
    homes = {room: cluster.owner(slot(prefix, room)) for room in rooms}
    for room in rooms:
        await asyncio.to_thread(cluster.move_slot, slot(prefix, room), joined)
    for turning in turnings:
        await turning.goes_on()
    for room, turning in zip(rooms, turnings, strict=True):
        await turning.end()
        await agreed(room, a, b, page=turning.last)
    assert joined.do("PUBSUB", "SHARDNUMSUB", *map(Keys(prefix).channel, rooms))[1::2] == [2, 2, 2]
    # When it has no slots any more, the nodes leave it.
    for room, home in homes.items():
        await asyncio.to_thread(cluster.move_slot, slot(prefix, room), home)
    for room in rooms:
        await agreed(room, a, b)

    async def left() -> bool:
        return "name=" not in joined.do("CLIENT", "LIST", "TYPE", "pubsub")

    await eventually(left)
    assert a.told.degradations == b.told.degradations == []


@pytest.mark.slow
async def test_a_primary_that_is_frozen_is_replaced_and_its_rooms_go_on(
    nodes: Nodes, cluster: RedisCluster, prefix: str
) -> None:
    rooms = rooms_of_all(cluster, prefix)
    a, b = await following(nodes, "a", *rooms), await following(nodes, "b", *rooms)
    for room in rooms:
        await a.backend.append(room, set={"page": 1})
    frozen = cluster.owner(slot(prefix, rooms[0]))
    frozen.server.pause()
    try:
        await eventually(lambda: turned(b, rooms[0]), FAILOVER)
        for room in rooms:
            await agreed(room, a, b)
    finally:
        frozen.server.resume()
    await asyncio.to_thread(cluster.settled)
    for room in rooms:
        await b.backend.append(room, set={"page": 3})
        await agreed(room, a, b)
