"""What is read of rooms from one Redis, for the bus above all, and the connection it listens on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AskError, ConnectionError, MovedError, ResponseError, TryAgainError

from server.errors import Unavailable
from server.fanout import presence
from server.fanout.backend import JSON, Snapshot
from server.fanout.calls import Calls
from server.fanout.connect import Primary
from server.fanout.keys import Keys
from server.fanout.link import Later, Link
from server.fanout.presence import Told
from server.fanout.slots import by_slot
from server.fanout.writer import Writer
from server.redis_url import Address


class Source:
    """`link.Rooms`, by commands of `redis`; `subscriber` makes the connections to listen on.

    `primary` is there when Sentinels know where the servers of both are, and `clustered` when this
    Redis is one of a cluster.
    """

    def __init__(
        self,
        redis: Redis,
        subscriber: Redis,
        keys: Keys,
        calls: Calls,
        writer: Writer,
        *,
        primary: Primary | None,
        clustered: bool,
    ) -> None:
        self._redis = redis
        self._subscriber = subscriber
        self._keys = keys
        self._calls = calls
        self._primary = primary
        self._clustered = clustered
        self._linked: Link | None = None  # the bus's connection
        self._served: Address | None = None  # the primary it was connected to last
        self._writer = writer

    async def snapshot(self, room: str) -> Snapshot:
        async with self._calls.asking("snapshot"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hgetall(self._keys.room(room))
                pipe.xrange(self._keys.chat(room))
                state, chat = await pipe.execute()
            return _snapshot(state, chat)

    def link(self) -> Link:
        """A connection for the bus, not yet connected."""
        pool: Any = self._subscriber.connection_pool
        link: Link = pool.make_connection()
        self._linked = link
        return link

    def channel(self, room: str) -> str:
        return self._keys.channel(room)

    def moved(self, error: MovedError) -> None:
        self._calls.moved(error)

    async def mint(self, room: str, epoch: str, rev: int, mark: str) -> None:
        await self._writer.mint(room, epoch, rev, mark)

    def together(self, channels: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        return by_slot(channels) if self._clustered else [channels]

    async def connected(self) -> None:
        if self._primary is not None and self._primary.address != self._served:
            # What is still connected to the former primary would only time out, or be refused.
            self._served = self._primary.address
            await self._drop_idle()
        async with self._calls.asking("time"):
            await self._calls.clock.measure(self._redis)

    async def load(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        if self._clustered:
            # A transaction may not reach over slots.
            return await asyncio.gather(*(self._load_one(room) for room in rooms))
        return await self._load_all(rooms)

    async def _load_one(self, room: str) -> tuple[Snapshot, Told] | Exception:
        try:
            return (await self._load_all([room]))[0]
        except Unavailable as error:
            if isinstance(error.__cause__, AskError | TryAgainError):
                return Later()
            raise

    async def _load_all(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        async with self._calls.asking("load"), self._redis.pipeline(transaction=True) as pipe:
            pipe.time()
            for room in rooms:
                pipe.hgetall(self._keys.room(room))
                pipe.xrange(self._keys.chat(room))
                pipe.hgetall(self._keys.nodes(room))
            (seconds, microseconds), *answers = await pipe.execute(raise_on_error=False)
        loaded: list[tuple[Snapshot, Told] | Exception] = []
        now = int(seconds) * 1000 + int(microseconds) // 1000
        for state, chat, nodes in zip(*(iter(answers),) * 3, strict=True):
            try:
                for answer in (state, chat, nodes):
                    if isinstance(answer, Exception):
                        raise answer
                loaded.append((_snapshot(state, chat), presence.stored(nodes, now)))
            except (ResponseError, ValueError) as error:
                loaded.append(error)
        return loaded

    async def revisions(self, rooms: Sequence[str]) -> Sequence[tuple[str, int] | None]:
        async with self._calls.asking("revisions"):
            await self._calls.clock.measure(self._redis)
            await self._check_primary()
            async with self._redis.pipeline(transaction=False) as pipe:
                for room in rooms:
                    pipe.hmget(self._keys.room(room), ["epoch", "rev"])
                answers = await pipe.execute(raise_on_error=False)
        found: list[tuple[str, int] | None] = []
        for answer in answers:
            if isinstance(answer, MovedError):
                self._calls.moved(answer)
            if isinstance(answer, AskError | TryAgainError):
                found.append(None)
            else:
                found.append(("?", 0) if isinstance(answer, Exception) else _revision(*answer))
        return found

    async def _check_primary(self) -> None:
        """Raise `ConnectionError` if the bus listens to a server that is the primary no more.

        One that was cut off from its Sentinels may serve on for a while, to nodes that reach it.
        """
        if self._primary is None:
            return
        try:
            primary = await self._primary.get_master_address()
        except (ConnectionError, OSError):
            return  # nobody says that it is another one
        link: Any = self._linked
        if (link.host, link.port) != primary:
            await self._drop_idle()
            raise ConnectionError("The primary is another server now")

    async def _drop_idle(self) -> None:
        pool: Any = self._redis.connection_pool
        await pool.disconnect(inuse_connections=False)


def _revision(epoch: bytes | None, rev: bytes | None) -> tuple[str, int]:
    return (epoch or b"").decode(), int(rev or 0)


def _snapshot(
    state: Mapping[bytes, bytes], chat: Sequence[tuple[bytes, Mapping[bytes, bytes]]]
) -> Snapshot:
    registers: dict[str, JSON] = {}
    fields: dict[str, str] = {}
    for key, value in state.items():
        if key.startswith(b"r:"):
            registers[key[2:].decode()] = msgspec.json.decode(value)
        elif key.startswith(b"f:"):
            fields[key[2:].decode()] = value.decode()
    epoch, rev = _revision(state.get(b"epoch"), state.get(b"rev"))
    # A chat without its room is what an expired room left behind; the next change removes it.
    messages = (
        {**msgspec.json.decode(entry[b"message"]), "rev": int(entry[b"rev"])}
        for _, entry in (chat if epoch else ())
    )
    trail = state.get(b"trail", b"").decode()
    return Snapshot(epoch, rev, registers, tuple(messages), fields, trail)
