"""Rooms that were opened and left cost a node nothing, and Redis only what they were given."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis import Redis

from bench.wire import connect
from server.fanout.kept import CHAT_BYTES, CHAT_KEPT
from server.fanout.redis import RedisBackend
from tests.bounds.clients import Upload, close_all, heavy, stalled
from tests.bounds.conftest import StartNode
from tests.bounds.limits import LEFT_ROOM, ROOM_IN_REDIS, USUAL_ROOM_IN_REDIS
from tests.bounds.measured import Measured, tell
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture
def raw(own_redis: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(own_redis.url, protocol=2) as raw:
        yield raw


def channels(raw: Redis) -> list[bytes]:
    """Those that any node hears."""
    found: list[bytes] = raw.execute_command("PUBSUB", "SHARDCHANNELS")
    return found


def test_rooms_that_were_opened_and_left_are_forgotten(
    one_node: Measured, raw: Redis, ending: ExitStack
) -> None:
    at_once, first, then = 500, 6, 6
    tasks = one_node.gauge("tasks")
    heard, keys = len(channels(raw)), raw.dbsize()

    def open_and_leave() -> None:
        sockets = [stalled(one_node.port, str(uuid.uuid4())) for _ in range(at_once)]
        ending.callback(close_all, sockets)
        one_node.until(lambda told: told["tablecast_rooms"] == at_once)
        close_all(sockets)
        one_node.until(lambda told: told["tablecast_subscriptions"] == 0)

    # What so many at once need stays with the process, for the next ones.
    for _ in range(first):
        open_and_leave()
    before = one_node.rested()
    for _ in range(then):
        open_and_leave()
    one_node.until_empty(tasks)
    assert len(channels(raw)) <= heard
    # What nodes say of their viewers ends some seconds after them.
    one_node.until(lambda _: raw.dbsize() <= keys)
    left = (one_node.settle() - before) / (then * at_once)
    tell(f"a room that was left: {left:,.0f} bytes of memory")
    assert left <= LEFT_ROOM


def test_addresses_that_are_only_tried_leave_nothing(one_node: Measured, raw: Redis) -> None:
    one_node.until(lambda _: not channels(raw))
    keys, count, before = raw.dbsize(), 4_000, 0
    for number in range(count):
        if number == count // 4:
            before = one_node.rested()
        room = uuid.uuid4()
        match number % 4:
            case 0:
                one_node.ask("GET", f"/t/{room}")
            case 1:
                one_node.ask("GET", f"/api/rooms/{room}")
            case 2:
                one_node.ask("GET", f"/api/rooms/{room}/chat")
            case _:
                sock, _ = connect(one_node.port, f"/ws/{room}", deflate=True)
                sock.close()
    one_node.until(lambda _: raw.dbsize() <= keys)
    one_node.until(lambda _: not channels(raw))
    left = (one_node.settle() - before) / (count * 3 // 4)
    tell(f"an address that was tried: {left:,.0f} bytes of memory")
    assert left <= LEFT_ROOM


def test_caches_keep_to_their_settings_with_a_table_that_is_larger(
    start_node: StartNode,
) -> None:
    settings = {"block_cache": 2_000_000, "page_cache": 1_000_000, "index_cache": 50_000}
    node = start_node(**settings)
    room = node.put(heavy(10_000))
    pages = node.state(room)["set"]["document"]["rows"] // 100
    for page_no in range(1, pages + 1):
        node.ask("GET", f"/api/rooms/{room}/pages/{page_no}")
    before = node.rested()
    for page_no in range(1, pages + 1):
        node.ask("GET", f"/api/rooms/{room}/pages/{page_no}")
    used = node.caches()
    assert used["blocks"] <= settings["block_cache"]
    assert used["pages"] <= settings["page_cache"]
    assert used["indexes"] <= settings["index_cache"]
    assert used["headers"] <= settings["index_cache"]
    assert used["pages"] > settings["page_cache"] / 2, "it was not filled"
    assert node.settle() - before <= 2_000_000


# In Redis


def bytes_of(raw: Redis, room: str) -> dict[str, int]:
    """What each kind of key of a room takes, but for its documents."""
    sizes: dict[str, int] = {}
    for key in raw.scan_iter(match=f"*{{{room}}}*"):
        kind = key.decode().partition("}")[2][:3]
        if not kind.startswith(":d:"):
            taken = raw.memory_usage(key, samples=0)
            sizes[kind] = sizes.get(kind, 0) + int(taken or 0)
    return sizes


@pytest.mark.parametrize(
    ("letter", "limit"),
    [("usual words, ", USUAL_ROOM_IN_REDIS), ("x", ROOM_IN_REDIS), ("\U0001f9a6", ROOM_IN_REDIS)],
    ids=["usual", "long", "long and wide"],
)
async def test_a_room_takes_so_much_of_redis_whatever_is_said_and_shown_in_it(
    own_redis: RedisServer, one_node: Measured, raw: Redis, letter: str, limit: int
) -> None:
    room = str(uuid.uuid4())
    columns = "\t".join(f"column {number} " + "n" * 50 for number in range(1_000))
    for number in range(4):
        data = f"{columns}\n{number}\n".encode()
        await asyncio.to_thread(one_node.put, data, room)
    backend = RedisBackend(own_redis.url, "stranger")
    body = letter * (4_000 // len(letter) if limit == ROOM_IN_REDIS else 10)
    for number in range(260):
        said = {"id": f"{number}", "name": "n" * 40, "color": 1, "time": 0, "body": body}
        await backend.append(room, chat=said, request=f"chat-{number}")
    kept = await backend.snapshot(room)
    await backend.close()
    sizes = bytes_of(raw, room)
    tell(f"a room in Redis: {sum(sizes.values()):,} bytes, {sizes}; {len(kept.chat)} messages")
    if 200 * len(body.encode()) <= CHAT_BYTES:
        assert len(kept.chat) == CHAT_KEPT
    else:
        assert CHAT_BYTES * 0.9 < sum(len(said["body"].encode()) for said in kept.chat) < CHAT_BYTES
    assert len(kept.registers["versions"]) <= 3
    assert sum(sizes.values()) <= limit


def test_what_a_dead_node_said_of_its_viewers_is_forgotten(
    own_redis: RedisServer, one_node: Measured, raw: Redis
) -> None:
    room = str(uuid.uuid4())
    key = f"tablecast:room:{{{room}}}:nodes"
    sock = stalled(one_node.port, room)
    one_node.until(lambda _: bool(raw.hlen(key)))
    for number in range(100):
        # They never say anything again.
        raw.hset(key, f"n:dead-{number}", f'1 1 "dead-{number}":null')
    one_node.until(lambda _: int(raw.hlen(key)) == 1)
    sock.close()
    one_node.until(lambda _: not raw.exists(key))


def test_the_bytes_of_an_upload_that_was_given_up_do_not_stay(
    one_node: Measured, raw: Redis
) -> None:
    room = str(uuid.uuid4())
    upload = Upload(one_node.port, room)
    upload.send(heavy(2_000))
    one_node.until(lambda _: any(raw.scan_iter(match=f"*{{{room}}}:d:*")))
    upload.close()
    one_node.until(lambda told: told["tablecast_uploads_running"] == 0)

    def ends_soon() -> bool:
        return all(0 < raw.pttl(key) <= 60_000 for key in raw.scan_iter(match=f"*{{{room}}}:d:*"))

    one_node.until(lambda _: ends_soon())
    assert one_node.state(room)["set"].get("document") is None
