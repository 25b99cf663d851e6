"""The backend for several nodes: rooms, documents and fan-out through one Redis (or Valkey) >= 7.

Here it is put together: `calls.py` bounds what is asked, `writer.py` and `source.py` write and
read rooms, `blocks.py` stores the bytes of documents, `leases.py` knows who is there, and `bus.py`
hears of changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TypedDict, Unpack
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError, NoPermissionError, TimeoutError

from server.counts import Counts
from server.fanout.backend import (
    INCOMPLETE_LIFE,
    JSON,
    LEASE,
    ROOM_LIFE,
    Asked,
    Change,
    Here,
    Present,
    Receiver,
    Snapshot,
    StoredBlock,
)
from server.fanout.blocks import Blocks
from server.fanout.bus import Bus, Timing
from server.fanout.calls import Calls
from server.fanout.connect import behind_sentinels, client, data_url
from server.fanout.followed import Followed
from server.fanout.keys import Keys
from server.fanout.leases import Leases
from server.fanout.level import Level
from server.fanout.slots import Redirects, slot_of
from server.fanout.source import Source
from server.fanout.writer import Writer

PREFIX = "tablecast:"
PATIENCE = 5.0  # seconds one call may take in all, retries included


class Options(TypedDict, total=False):
    """How `RedisBackend` is made wherever its servers are, for those who pass it on."""

    prefix: str
    room_life: float
    incomplete_life: float
    lease: float
    patience: float
    timing: Timing | None
    storage_limit: int


class RedisBackend:
    """Keeps the promises of `backend.Backend` between all nodes that use the same Redis."""

    name = "redis"

    def __init__(
        self,
        url: str,
        node_id: str,
        *,
        prefix: str = PREFIX,
        room_life: float = ROOM_LIFE,
        incomplete_life: float = INCOMPLETE_LIFE,
        lease: float = LEASE,
        patience: float = PATIENCE,
        timing: Timing | None = None,
        connect: Callable[[Retry], Redis] | None = None,
        shebang: bool = True,
        redirects: Redirects | None = None,
        counts: Counts | None = None,
        storage_limit: int = 0,
    ) -> None:
        """All times in seconds. `connect` makes a client (RESP2, bytes) in place of one for `url`;
        `shebang` False strips the scripts' first line for servers that do not know it. `redirects`
        is there when this Redis is one of a cluster. `storage_limit`: bytes that this Redis may
        hold before documents are refused, 0 for as many as it takes.
        """
        self.node_id = node_id
        self.counts = counts or Counts()
        self._patience = patience
        self._primary = behind_sentinels(url) if connect is None else None
        make = connect or (lambda retry: client(data_url(url), retry, self._primary))
        retry = Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2)
        # append.lua applies a request once and all else can be repeated, so retries are safe.
        self._redis = redis = make(retry)
        # The bus must see every break itself, so its connections never retry.
        self._subscriber = make(Retry(NoBackoff(), 0))
        self._keys = keys = Keys(prefix)
        self._calls = calls = Calls(
            redis,
            self.counts,
            patience,
            redirects=redirects,
            host=urlsplit(url).hostname or "",
        )
        self._writer = Writer(redis, keys, calls, room_life=room_life, shebang=shebang)
        self._source = Source(
            redis,
            self._subscriber,
            keys,
            calls,
            self._writer,
            primary=self._primary,
            clustered=redirects is not None,
        )
        self._bus = Bus(self._source, self._source.link, timing or Timing(), self.counts)
        self._leases = Leases(
            redis, keys, calls, self._bus.present, node_id=node_id, lease=lease, shebang=shebang
        )
        self._blocks = Blocks(
            redis,
            keys,
            calls,
            self.counts,
            incomplete_life=incomplete_life,
            storage_limit=storage_limit,
        )
        self._level = Level(redis, self.counts, storage_limit)

    async def start(self, receiver: Receiver) -> None:
        self.begin(receiver)

    def begin(self, receiver: Receiver) -> None:
        """The same as `start`, for callers that cannot wait."""
        self._bus.start(receiver)
        self._level.start()

    async def close(self) -> None:
        if self._calls.closed:
            return
        self._calls.closed = True
        await self._level.close()
        await self._bus.close()
        await self._leases.close()
        await self._calls.end()
        for part in (self._redis, self._subscriber, self._primary):
            try:
                async with asyncio.timeout(1):
                    if part is not None:
                        await part.aclose()
            except (OSError, ConnectionError, TimeoutError):
                continue  # it is closed either way

    async def check(self) -> None:
        async with self._calls.asking("check", min(self._patience, 2.0)):
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.ping()
                pipe.exists(self._keys.room("check"))
                pong, exists = await pipe.execute(raise_on_error=False)
            if isinstance(pong, Exception):
                raise pong
            # All else is answered well: it may be another server of a cluster that has the key.
            if isinstance(exists, NoPermissionError):
                raise exists

    def now_ms(self) -> int:
        return self._calls.clock.now_ms()

    @property
    def following(self) -> int:
        return self._bus.following

    # Room state

    async def append(self, room: str, **asked: Unpack[Asked]) -> Change:
        growth = asked.get("growth")
        if growth is not None and growth.blocks:
            await self._blocks.admit("append", growth.blocks)
        return await self._writer.append(room, known=self._bus.known(room), **asked)

    async def snapshot(self, room: str) -> Snapshot:
        return await self._source.snapshot(room)

    def follow(self, room: str) -> None:
        self._bus.follow(room)

    def unfollow(self, room: str) -> None:
        self._bus.unfollow(room)

    async def present(self, rooms: Mapping[str, Present]) -> None:
        await self._leases.present(rooms)

    async def who(self, room: str) -> Here:
        return await self._leases.who(room)

    async def signal(self, room: str, value: JSON) -> None:
        message = msgspec.json.encode({"signal": value})
        async with self._calls.asking("signal"):
            await self._redis.spublish(self._keys.channel(room), message)

    # Documents

    async def admit(self, room: str) -> None:
        await self._blocks.admit("admit", ())

    async def put_blocks(self, room: str, document: str, blocks: Sequence[StoredBlock]) -> None:
        await self._blocks.put(room, document, blocks)

    async def get_blocks(self, room: str, document: str, numbers: Sequence[int]) -> list[bytes]:
        return await self._blocks.get(room, document, numbers)

    async def index(self, room: str, document: str, first_block: int = 0) -> bytes:
        return await self._blocks.index(room, document, first_block)

    async def extent(self, room: str, document: str) -> tuple[int, int]:
        return await self._blocks.extent(room, document)

    async def keep(self, room: str, documents: Sequence[str]) -> None:
        await self._writer.keep(room, documents)

    async def drop(self, room: str, document: str, *, after: float = 0) -> None:
        await self._blocks.drop(room, document, after)

    # One of several (cluster.py)

    def release(self, slots: Container[int]) -> list[Followed]:
        """Follow the rooms of these slots no more; those that somebody follows are returned."""
        return self._bus.release(lambda channel: slot_of(channel) in slots)

    def adopt(self, released: Followed, *, degraded: bool) -> None:
        """Follow a room that another one released; `degraded`: its followers were told so."""
        self._bus.adopt(released, degraded=degraded)
