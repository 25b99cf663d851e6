"""The backend on a Redis Cluster: each primary is a Redis of its own, and rooms go with slots.

All of a room is in one slot, so whatever is true of one Redis is true of each primary: a backend
and a bus with a connection of its own to each (`redis.py`, `bus.py`). Here is only what a cluster
adds: that a room follows its slot from one primary to another (`lookout.py` finds out who has it).
With it goes what this node knows of it, so that a replica that was promoted with less than that is
found out.

A call that meets a slot on its way, or a primary that is gone, is made again until it succeeds or
its time is up; what was asked for is applied once, because the request id stays the same.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar, Unpack

from redis.exceptions import MovedError

from server.counts import Counts
from server.errors import Unavailable
from server.fanout.backend import (
    JSON,
    Asked,
    Change,
    Event,
    Here,
    Present,
    Receiver,
    Snapshot,
    StoredBlock,
)
from server.fanout.bus import Timing
from server.fanout.keys import Keys
from server.fanout.lookout import Lookout
from server.fanout.redis import PATIENCE, PREFIX, Options, RedisBackend
from server.fanout.refusals import closing, unavailable
from server.fanout.slots import SLOTS, SlotMap, slot_of
from server.redis_url import Address, Servers

PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2)  # seconds between two attempts of a call; the last one repeats
PRESENT_WITHIN = 2.0  # seconds; one frozen primary must not end the leases on all others

_T = TypeVar("_T")


class _Shard:
    """One primary: its backend, and what that says of how it is."""

    def __init__(self, cluster: ClusterBackend, backend: RedisBackend) -> None:
        self.backend = backend
        self.down = False
        self._cluster = cluster

    def changed(self, room: str, event: Event) -> None:
        self._cluster.told(room, event)

    def degraded(self, degraded: bool) -> None:
        self.down = degraded
        self._cluster.weigh()


class ClusterBackend:
    """Keeps the promises of `backend.Backend` between all nodes that use the same cluster."""

    name = "redis"

    def __init__(self, cluster: Servers, node_id: str, **options: Unpack[Options]) -> None:
        """Made as each `RedisBackend` is; the limit of storage is each primary's."""
        self.node_id = node_id
        self.counts = Counts()
        self._patience = options.get("patience", PATIENCE)
        self._make: Callable[[Address], RedisBackend] = lambda address: RedisBackend(
            cluster.server(address),
            node_id,
            redirects=self,
            counts=self.counts,
            **options,
        )
        self._keys = Keys(options.get("prefix", PREFIX))
        self._receiver: Receiver | None = None
        self._degraded = False
        self._closed = False
        self._shards: dict[Address, _Shard] = {}
        self._ending: set[asyncio.Task[None]] = set()  # primaries that are left
        timing = options.get("timing") or Timing()
        self._lookout = Lookout(cluster, timing.audit, self._found)
        # Until the cluster has said more, the first server is asked for everything and redirects.
        self._owners: list[Address] = [cluster.hosts[0]] * SLOTS

    async def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        for shard in self._shards.values():
            shard.backend.begin(shard)
        self._lookout.start()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._receiver = None
        await self._lookout.stop()
        ending = [asyncio.create_task(s.backend.close()) for s in self._shards.values()]
        ending.append(asyncio.create_task(self._lookout.close()))
        # Each of these ends by itself, in bounded time.
        await asyncio.wait([*ending, *self._ending])

    async def check(self) -> None:
        """One primary that serves is enough: without the others, some rooms still work."""
        self._shard(self._owners[0])  # there is none before the first call
        async with self._patiently(min(self._patience, 2.0)):
            checks = [asyncio.create_task(shard.backend.check()) for shard in self._shards.values()]
            try:
                for check in asyncio.as_completed(checks):
                    with contextlib.suppress(Unavailable):
                        await check
                        return
            finally:
                for task in checks:
                    task.cancel()
                await asyncio.gather(*checks, return_exceptions=True)
        raise unavailable()

    def now_ms(self) -> int:
        # One clock for all: that of whoever has the first slot, which all nodes agree on.
        return self._shard(self._owners[0]).backend.now_ms()

    @property
    def following(self) -> int:
        return sum(shard.backend.following for shard in self._shards.values())

    # Room state

    async def append(self, room: str, **asked: Unpack[Asked]) -> Change:
        # The same for each attempt, so that one which did succeed is not repeated.
        asked["request"] = asked.get("request") or secrets.token_hex(8)
        return await self._at(room, lambda shard: shard.append(room, **asked))

    async def snapshot(self, room: str) -> Snapshot:
        return await self._at(room, lambda shard: shard.snapshot(room))

    def follow(self, room: str) -> None:
        self._of(room).follow(room)
        self.weigh()

    def unfollow(self, room: str) -> None:
        self._of(room).unfollow(room)

    async def present(self, rooms: Mapping[str, Present]) -> None:
        async with self._patiently(min(self._patience, PRESENT_WITHIN)):
            left = dict(rooms)
            for _ in PAUSES:
                shards: dict[RedisBackend, dict[str, Present]] = {}
                for room, said in left.items():
                    shards.setdefault(self._of(room), {})[room] = said
                answers = await asyncio.gather(
                    *(shard.present(said) for shard, said in shards.items()),
                    return_exceptions=True,
                )
                for said_there, answer in zip(shards.values(), answers, strict=True):
                    if answer is None:
                        for room in said_there:
                            del left[room]
                    elif not isinstance(answer, Unavailable):
                        raise answer
                    elif not _redirected(answer):
                        self._lookout.look()
                        raise answer
                if not left:
                    return
            raise unavailable()

    async def who(self, room: str) -> Here:
        return await self._at(room, lambda shard: shard.who(room))

    async def signal(self, room: str, value: JSON) -> None:
        await self._at(room, lambda shard: shard.signal(room, value))

    # Documents

    async def admit(self, room: str) -> None:
        await self._at(room, lambda shard: shard.admit(room))

    async def put_blocks(self, room: str, document: str, blocks: Sequence[StoredBlock]) -> None:
        await self._at(room, lambda shard: shard.put_blocks(room, document, blocks))

    async def get_blocks(self, room: str, document: str, numbers: Sequence[int]) -> list[bytes]:
        return await self._at(room, lambda shard: shard.get_blocks(room, document, numbers))

    async def index(self, room: str, document: str, first_block: int = 0) -> bytes:
        return await self._at(room, lambda shard: shard.index(room, document, first_block))

    async def extent(self, room: str, document: str) -> tuple[int, int]:
        return await self._at(room, lambda shard: shard.extent(room, document))

    async def keep(self, room: str, documents: Sequence[str]) -> None:
        await self._at(room, lambda shard: shard.keep(room, documents))

    async def drop(self, room: str, document: str, *, after: float = 0) -> None:
        await self._at(room, lambda shard: shard.drop(room, document, after=after))

    # What shards say

    def told(self, room: str, event: Event) -> None:
        if self._receiver is not None:
            self._receiver.changed(room, event)

    def weigh(self) -> None:
        """Degraded is a node whose rooms may be outdated, some of them or all."""
        degraded = any(shard.down and shard.backend.following for shard in self._shards.values())
        if any(shard.down for shard in self._shards.values()):
            self._lookout.look()
        if degraded != self._degraded and self._receiver is not None:
            self._degraded = degraded
            self._receiver.degraded(degraded)

    def moved(self, slot: int, owner: Address) -> None:
        if self._owners[slot] != owner and not self._closed:
            self._assign({slot: owner})
            self._lookout.look()  # where one slot went, others may have gone too

    # Slots

    def _found(self, slots: SlotMap | None) -> None:
        if slots is not None:
            self._assign(slots.owners())
        self.weigh()

    def _of(self, room: str) -> RedisBackend:
        slot = slot_of(self._keys.room(room).encode())
        return self._shard(self._owners[slot]).backend

    def _shard(self, address: Address) -> _Shard:
        shard = self._shards.get(address)
        if shard is None:
            shard = self._shards[address] = _Shard(self, self._make(address))
            if self._receiver is not None:
                shard.backend.begin(shard)
        return shard

    def _assign(self, owners: Mapping[int, Address]) -> None:
        """Let rooms follow their slots, and leave primaries that have none any more."""
        gone: dict[Address, set[int]] = {}
        for slot, owner in owners.items():
            before = self._owners[slot]
            if before != owner:
                gone.setdefault(before, set()).add(slot)
                self._owners[slot] = owner
        for address, slots in gone.items():
            shard = self._shards.get(address)
            if shard is None:
                continue
            homeless = shard.backend.release(slots)
            for followed in homeless:
                owner = self._owners[slot_of(followed.channel)]
                self._shard(owner).backend.adopt(followed, degraded=shard.down)
        if gone:
            used = set(self._owners)
            for address in self._shards.keys() - used:
                left = asyncio.create_task(self._shards.pop(address).backend.close())
                self._ending.add(left)
                left.add_done_callback(self._ending.discard)
            self.weigh()

    # Internal

    async def _at(self, room: str, call: Callable[[RedisBackend], Awaitable[_T]]) -> _T:
        """Make a call where the room is, again and again if need be."""
        attempt = 0
        async with self._patiently(self._patience):
            while True:
                try:
                    return await call(self._of(room))
                except Unavailable as error:
                    if self._closed:
                        raise
                    if not _redirected(error):
                        self._lookout.look()
                        attempt = max(attempt, 1)
                await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                attempt += 1

    @contextlib.asynccontextmanager
    async def _patiently(self, patience: float) -> AsyncIterator[None]:
        if self._closed:
            raise closing()
        try:
            async with asyncio.timeout(patience):
                yield
        except builtins.TimeoutError as error:
            raise unavailable() from error


def _redirected(error: Unavailable) -> bool:
    """Whether a call failed only because its slot is elsewhere, where it is now known to be."""
    return isinstance(error.__cause__, MovedError)
