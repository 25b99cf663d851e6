"""What can go wrong with a real Redis, and that nobody is left stale by it."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from server.errors import StorageFull, Unavailable
from server.fanout.backend import Growth, Present, Snapshot, StoredBlock
from server.fanout.keys import Keys
from server.fanout.redis import RedisBackend
from tests.fanout.nodes import FAST, PATIENCE, Node, Nodes, Recorder, eventually, redis_nodes
from tests.redis_server import RedisServer

pytestmark = pytest.mark.processes

PREFIX = "t:"
KEYS = Keys(PREFIX)


@pytest.fixture
def room() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def nodes(own_redis: RedisServer) -> AsyncIterator[Nodes]:
    started = redis_nodes(own_redis.url, PREFIX)
    yield started
    await started.close()


@pytest.fixture
async def raw(own_redis: RedisServer) -> AsyncIterator[Redis]:
    """A client of another program, which keeps no promises."""
    client = Redis.from_url(own_redis.url, protocol=2)
    yield client
    await client.aclose()


async def following(nodes: Nodes, name: str, *rooms: str, **options: Any) -> Node:
    """A node that follows rooms and has been told of each."""
    node = await nodes.start(name, **options)
    for room in rooms:
        node.backend.follow(room)
        await node.told.until(lambda room=room: node.told.snapshots(room) != [])
    node.told.forget()
    return node


async def recovered(node: Node) -> None:
    await node.told.until(lambda: node.told.degradations[-1:] == [False])


def block(number: int, data: bytes) -> StoredBlock:
    return StoredBlock(number, data, bytes(16))


async def change_silently(raw: Redis, room: str, rev: int, page: int) -> None:
    """What a change leaves behind whose message never comes."""
    trail = await raw.hget(KEYS.room(room), "trail")
    assert trail is not None
    mark = secrets.token_bytes(4).hex().encode()
    await raw.hset(
        KEYS.room(room), mapping={"r:page": str(page), "rev": str(rev), "trail": trail + mark}
    )


# The connection breaks


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_killed_connections_come_back_with_a_snapshot(
    nodes: Nodes, raw: Redis, room: str, kind: str
) -> None:
    a, b = await following(nodes, "a", room), await nodes.start("b")
    await b.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, 1)
    a.told.forget()
    await raw.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    if kind == "pubsub":
        await recovered(a)
        assert a.told.degradations == [True, False]
        assert [state.rev for state in a.told.snapshots(room)] == [1]
    await b.backend.append(room, set={"page": 2})
    await a.told.until_rev(room, 2)
    assert a.told.state(room).registers == {"page": 2}


async def test_what_happened_while_the_subscriber_was_away_is_not_missed(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    a, b = await following(nodes, "a", room), await nodes.start("b")
    for number in range(1, 40):
        if number % 10 == 5:
            await raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await b.backend.append(room, set={"page": number}, chat={"n": number})
    await a.told.until_rev(room, 39)
    assert [message["n"] for message in a.told.state(room).chat] == list(range(1, 40))


async def test_all_followed_rooms_are_up_to_date_before_the_node_says_so(
    nodes: Nodes, raw: Redis
) -> None:
    rooms = [str(uuid.uuid4()) for _ in range(250)]
    a = await following(nodes, "a", *rooms)
    await raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await recovered(a)
    assert {name for name, event in a.told.events if isinstance(event, Snapshot)} == set(rooms)


async def test_a_restart_that_keeps_the_data_keeps_the_rooms(
    nodes: Nodes, own_redis: RedisServer, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    before = await a.backend.append(room, set={"page": 1}, chat={"n": 1})
    await a.told.until_rev(room, 1)
    await asyncio.to_thread(own_redis.restart, keep_data=True)
    await recovered(a)
    await recovered(b)
    assert a.told.state(room).epoch == before.epoch
    change = await b.backend.append(room, set={"page": 2})
    assert (change.epoch, change.rev) == (before.epoch, 2)
    await a.told.until_rev(room, 2)
    assert len(a.told.state(room).chat) == 1


async def test_a_restart_without_the_data_empties_the_rooms_for_everyone(
    nodes: Nodes, own_redis: RedisServer, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    before = await a.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, 1)
    await asyncio.to_thread(own_redis.restart, keep_data=False)
    for node in (a, b):
        await recovered(node)
        assert node.told.state(room) == Snapshot()
    change = await b.backend.append(room, set={"page": 2})
    assert change.epoch != before.epoch
    for node in (a, b):
        await node.told.until(lambda told=node.told: told.state(room).epoch == change.epoch)
        assert node.told.state(room).registers == {"page": 2}


async def test_a_frozen_redis_is_noticed_and_calls_end_in_time(
    nodes: Nodes, own_redis: RedisServer, room: str
) -> None:
    a = await following(nodes, "a", room)
    own_redis.pause()
    try:
        await a.told.until(lambda: a.told.degradations == [True], patience=3)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await a.backend.append(room, set={"page": 1}, request="once")
        with pytest.raises(Unavailable):
            await a.backend.check()
        assert time.monotonic() - started < 9
    finally:
        own_redis.resume()
    await recovered(a)
    # Whether or not the frozen Redis had taken it in: the same request is never applied twice.
    await a.backend.append(room, set={"page": 1}, request="once")
    await a.told.until_rev(room, 1)
    assert (await a.backend.snapshot(room)).rev == 1


async def test_a_redis_that_appears_later_is_found(own_redis: RedisServer, room: str) -> None:
    own_redis.kill()
    nodes = redis_nodes(own_redis.url, PREFIX)
    a = await nodes.start("a")
    a.backend.follow(room)
    await a.told.until(lambda: a.told.degradations == [True])
    for asking in (
        a.backend.check(),
        a.backend.append(room, set={"page": 1}),
        a.backend.snapshot(room),
        a.backend.present({room: Present(1)}),
        a.backend.put_blocks(room, "d", [block(0, b"x")]),
        a.backend.get_blocks(room, "d", [0]),
        a.backend.index(room, "d"),
        a.backend.extent(room, "d"),
        a.backend.keep(room, ["d"]),
        a.backend.drop(room, "d"),
    ):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(asking, PATIENCE)
    await asyncio.to_thread(own_redis.start)
    await recovered(a)
    assert a.told.state(room) == Snapshot()
    await a.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, 1)
    await nodes.close()


async def test_closing_is_quick_while_redis_is_frozen(own_redis: RedisServer, room: str) -> None:
    nodes = redis_nodes(own_redis.url, PREFIX)
    a = await following(nodes, "a", room)
    asking = asyncio.create_task(a.backend.append(room, set={"page": 1}))
    own_redis.pause()
    try:
        started = time.monotonic()
        await nodes.close()
        assert time.monotonic() - started < 4
    finally:
        own_redis.resume()
        await asyncio.wait({asking}, timeout=PATIENCE)
    assert asking.done()
    asking.exception()


# Nothing breaks, but something is lost


async def test_a_message_that_never_came_is_found_by_the_audit(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    a, b = await following(nodes, "a", room), await nodes.start("b")
    await b.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, 1)
    a.told.forget()
    await change_silently(raw, room, 2, 2)
    await a.told.until_rev(room, 2)
    assert a.told.state(room).registers == {"page": 2}
    assert a.told.degradations == []  # one room's loss is no reason to alarm all others


async def test_a_room_that_keeps_losing_messages_gets_a_fresh_connection(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    a, b = await following(nodes, "a", room), await nodes.start("b")
    await b.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, 1)
    a.told.forget()
    rev = 1

    async def alarmed() -> bool:
        nonlocal rev
        rev += 1
        await change_silently(raw, room, rev, rev)
        return a.told.degradations != []

    await eventually(alarmed)
    await a.told.until_rev(room, rev)
    await recovered(a)
    assert a.told.state(room).registers == {"page": rev}


async def test_a_busy_room_is_not_read_again_without_need(nodes: Nodes, room: str) -> None:
    a, b = await following(nodes, "a", room), await nodes.start("b")
    until = time.monotonic() + 3 * (FAST.audit + FAST.grace)
    rev = 0
    while time.monotonic() < until:
        rev = (await b.backend.append(room, set={"page": rev})).rev
    await a.told.until_rev(room, rev)
    assert a.told.snapshots(room) == []


async def test_a_gap_is_closed_by_a_snapshot(nodes: Nodes, raw: Redis, room: str) -> None:
    slow = replace(FAST, audit=60)
    a, b = await following(nodes, "a", room, timing=slow), await nodes.start("b")
    await b.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, 1)
    await change_silently(raw, room, 2, 2)
    await b.backend.append(room, set={"size": 3})
    await a.told.until_rev(room, 3)
    assert a.told.state(room).registers == {"page": 2, "size": 3}
    await b.backend.append(room, set={"size": 4})
    await a.told.until_rev(room, 4)


async def test_nonsense_on_the_channel_does_no_harm(nodes: Nodes, raw: Redis, room: str) -> None:
    a, b = await following(nodes, "a", room), await nodes.start("b")
    for nonsense in ("", "{", "[]", '{"rev":"x"}', b"\xff\xfe"):
        await raw.execute_command("SPUBLISH", KEYS.channel(room), nonsense)
    change = await b.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, change.rev)
    assert a.told.degradations == []


async def test_a_room_that_cannot_be_read_does_not_hold_up_the_others(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    await raw.hset(KEYS.room(room), mapping={"epoch": "e", "rev": "1", "r:page": "no JSON"})
    a = await nodes.start("a")
    a.backend.follow(room)
    b = str(uuid.uuid4())
    a.backend.follow(b)
    await a.told.until(lambda: a.told.snapshots(b) != [])
    assert a.told.degradations == []
    await raw.hset(KEYS.room(room), "r:page", "1")
    await a.told.until_rev(room, 1)


async def test_a_revision_that_went_back_mints_one_new_epoch(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    a, b = await following(nodes, "a", room), await following(nodes, "b", room)
    for number in range(1, 6):
        change = await a.backend.append(room, set={"page": number}, chat={"n": number})
    for node in (a, b):
        await node.told.until_rev(room, 5)
    # As if Redis had come back from an old copy.
    await raw.hset(KEYS.room(room), mapping={"r:page": "2", "rev": "2"})
    for node in (a, b):
        await node.told.until(
            lambda told=node.told: told.state(room).epoch not in (change.epoch, "")
        )
        assert node.told.state(room).registers == {"page": 2}
    now = await a.backend.snapshot(room)
    assert a.told.state(room).epoch == b.told.state(room).epoch == now.epoch
    assert now.rev == 3
    assert len(now.chat) == 5


async def test_whoever_changes_a_room_that_went_back_mints_its_epoch_at_once(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    slow = replace(FAST, audit=60)
    a, b = (
        await following(nodes, "a", room, timing=slow),
        await following(nodes, "b", room, timing=slow),
    )
    for number in range(1, 6):
        before = await a.backend.append(room, set={"page": number})
    for node in (a, b):
        await node.told.until_rev(room, 5)
    await raw.hset(KEYS.room(room), mapping={"r:page": "2", "rev": "2"})
    after = await a.backend.append(room, set={"size": 1})
    assert after.epoch != before.epoch
    for node in (a, b):
        await node.told.until(lambda told=node.told: told.state(room).epoch == after.epoch)
        assert node.told.state(room).registers == {"page": 2, "size": 1}


async def test_a_room_that_lingers_is_left_in_the_end(nodes: Nodes, raw: Redis, room: str) -> None:
    a = await following(nodes, "a", room)
    channels = "PUBSUB", "SHARDCHANNELS"
    assert await raw.execute_command(*channels) == [KEYS.channel(room).encode()]
    a.backend.unfollow(room)
    assert await raw.execute_command(*channels) == [KEYS.channel(room).encode()]

    async def left() -> bool:
        return await raw.execute_command(*channels) == []

    await eventually(left)


# Redis is full, or forgets


async def test_when_redis_is_full_pages_still_turn_while_uploads_and_chat_are_refused(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    a = await following(nodes, "a", room)
    await a.backend.put_blocks(room, "d", [block(0, bytes(2_000_000))])
    await raw.config_set("maxmemory-policy", "noeviction")
    await raw.config_set("maxmemory", "1mb")
    with pytest.raises(StorageFull):
        await a.backend.put_blocks(room, "d", [block(1, b"more")])
    with pytest.raises(StorageFull):
        await a.backend.append(room, set={"page": 2}, growth=Growth("d", [block(1, b"more")]))
    with pytest.raises(StorageFull):
        await a.backend.append(room, chat={"body": "no room for this"})
    change = await a.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, change.rev)
    await a.backend.present({room: Present(3)})
    await a.told.until(lambda: a.told.here(room) == 3)
    assert len((await a.backend.get_blocks(room, "d", [0]))[0]) == 2_000_000
    await a.backend.drop(room, "d")


async def test_scripts_that_redis_forgot_are_sent_again(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    a = await following(nodes, "a", room)
    for number in range(1, 4):
        await raw.script_flush()
        await a.backend.append(room, set={"page": number})
        await raw.script_flush()
        await a.backend.present({room: Present(number)})
        await a.told.until(lambda number=number: a.told.here(room) == number)
    await a.told.until_rev(room, 3)


async def test_all_keys_of_a_room_expire_and_share_a_slot(
    nodes: Nodes, raw: Redis, room: str
) -> None:
    a = await nodes.start("a")
    await a.backend.append(room, set={"page": 1}, chat={"n": 1})
    await a.backend.put_blocks(room, "d", [block(0, b"x")])
    await a.backend.present({room: Present(1)})
    keys = [key async for key in raw.scan_iter(f"{PREFIX}*")]
    assert len(keys) == 7  # room, chat, said, request, blocks, index, nodes
    for key in keys:
        assert await raw.pttl(key) > 0, key
    assert len({key_slot(name) for name in (*keys, KEYS.channel(room).encode())}) == 1


async def test_a_wall_clock_that_is_wrong_does_not_matter(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time()
    monkeypatch.setattr("server.fanout.clock.time.time", lambda: 1_000_000.0)
    backend = RedisBackend(own_redis.url, "a", prefix=PREFIX, timing=FAST)
    monkeypatch.undo()
    await backend.start(Recorder())

    async def right() -> bool:
        return abs(backend.now_ms() - real * 1000) < 30_000

    await eventually(right)
    await asyncio.wait_for(backend.close(), PATIENCE)


@pytest.mark.parametrize("hours", [-5, 5])
async def test_whoever_has_asked_anything_knows_the_time_of_redis(
    own_redis: RedisServer, room: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """A lease that is written right after the start must not be wrong by hours."""
    real = time.time()
    monkeypatch.setattr("server.fanout.clock.time.time", lambda: real + hours * 3600)
    backend = RedisBackend(own_redis.url, "a", prefix=PREFIX, timing=FAST)
    monkeypatch.undo()
    await backend.snapshot(room)
    assert abs(backend.now_ms() - real * 1000) < 30_000
    await asyncio.wait_for(backend.close(), PATIENCE)


@pytest.mark.parametrize("scheme", ["redis://localhost:1", "rediss://localhost:1", "unix:///none"])
async def test_every_kind_of_address_can_be_asked(scheme: str, room: str) -> None:
    backend = RedisBackend(scheme, "a", patience=2)
    with pytest.raises(Unavailable):
        await backend.snapshot(room)
    await backend.close()
