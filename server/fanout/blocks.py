"""The bytes of documents, as Redis stores them: blocks in a hash, their entries in one string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from server.counts import Counts
from server.errors import StorageFull
from server.fanout.backend import ENTRY_BYTES, StoredBlock
from server.fanout.calls import Calls
from server.fanout.keys import Keys
from server.fanout.level import held
from server.fanout.quota import Quota
from server.fanout.refusals import missing


class Blocks:
    """Blocks live `incomplete_life` seconds after the last write, unless they were kept.

    `storage_limit`: bytes that Redis may hold before more are refused, 0 for as many as it takes.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        calls: Calls,
        counts: Counts,
        *,
        incomplete_life: float,
        storage_limit: int,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._calls = calls
        self._counts = counts
        self._incomplete_life = int(incomplete_life * 1000)
        self._quota = Quota(storage_limit, self._held)

    async def admit(self, operation: str, blocks: Sequence[StoredBlock]) -> None:
        """Raise `StorageFull` if these bytes are too many; without any, if none may come."""
        try:
            await self._quota.admit(sum(len(block.data) + ENTRY_BYTES for block in blocks))
        except StorageFull:
            self._counts.failures[operation, "full"] += 1
            raise

    async def put(self, room: str, document: str, blocks: Sequence[StoredBlock]) -> None:
        if not blocks:
            return
        await self.admit("put_blocks", blocks)
        data, index = self._keys.blocks(room, document), self._keys.index(room, document)
        async with (
            self._calls.asking("put_blocks"),
            self._redis.pipeline(transaction=False) as pipe,
        ):
            pipe.hset(data, mapping={str(block.number): block.data for block in blocks})
            for first, entries in _runs(blocks):
                pipe.setrange(index, first * ENTRY_BYTES, entries)
            for key in (data, index):
                # A kept document must not lose its life to a late write of one that was cut off.
                pipe.pexpire(key, self._incomplete_life, nx=True)
                pipe.pexpire(key, self._incomplete_life, gt=True)
            await pipe.execute()

    async def get(self, room: str, document: str, numbers: Sequence[int]) -> list[bytes]:
        if not numbers:
            return []
        async with self._calls.asking("get_blocks"):
            found: list[Any] = await self._redis.hmget(
                self._keys.blocks(room, document), [str(number) for number in numbers]
            )
        if any(block is None for block in found):
            raise missing()
        return found

    async def index(self, room: str, document: str, first_block: int) -> bytes:
        async with self._calls.asking("index"):
            found: Any = await self._redis.getrange(
                self._keys.index(room, document), first_block * ENTRY_BYTES, -1
            )
        return bytes(found)

    async def extent(self, room: str, document: str) -> tuple[int, int]:
        async with (
            self._calls.asking("extent"),
            self._redis.pipeline(transaction=True) as pipe,
        ):
            pipe.hlen(self._keys.blocks(room, document))
            pipe.strlen(self._keys.index(room, document))
            blocks, index = await pipe.execute()
        return int(blocks), int(index) // ENTRY_BYTES

    async def drop(self, room: str, document: str, after: float) -> None:
        keys = self._keys.stored(room, [document])
        async with self._calls.asking("drop"):
            if after <= 0:
                await self._redis.unlink(*keys)
                return
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.pexpire(key, int(after * 1000))
                await pipe.execute()

    async def _held(self) -> int:
        """Bytes that Redis holds, as its own limit counts them."""
        async with self._calls.asking("memory"):
            return held(await self._redis.info("memory"))


def _runs(blocks: Sequence[StoredBlock]) -> list[tuple[int, bytes]]:
    """(first block, entries) for each run of consecutive blocks: one command each."""
    runs: list[tuple[int, list[bytes]]] = []
    for block in sorted(blocks, key=lambda block: block.number):
        if runs and block.number == runs[-1][0] + len(runs[-1][1]):
            runs[-1][1].append(block.entry)
        else:
            runs.append((block.number, [block.entry]))
    return [(first, b"".join(entries)) for first, entries in runs]
