"""How full a Redis is, looked at now and then: nobody should learn of it by a refusal."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from server.counts import Counts
from server.fanout.tasks import end

# Seconds.
LOOK_EVERY: Final = 10.0
PATIENCE: Final = 2.0


class Level:
    """Keeps `counts.storage` told of one Redis, from `start` to `close`.

    `limit`: bytes that nodes let it hold, 0 for as many as it takes itself.
    """

    def __init__(self, redis: Redis, counts: Counts, limit: int) -> None:
        self._redis = redis
        self._counts = counts
        self._limit = limit
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._looking = asyncio.create_task(self._look_on(), name="the look at what Redis holds")

    async def close(self) -> None:
        if self._looking is not None:
            await end([self._looking])
        self._counts.storage.pop(self, None)

    async def _look_on(self) -> None:
        while True:
            try:
                # No call of `Calls`: a user of Redis that may not ask this serves all the same.
                async with asyncio.timeout(PATIENCE):
                    told = await self._redis.info("memory")
            except (RedisError, OSError):
                # What it held before is nothing to go by. (OSError: TimeoutError is one.)
                self._counts.storage.pop(self, None)
            else:
                self._counts.storage[self] = held(told), self._least(int(told["maxmemory"]))
            await asyncio.sleep(LOOK_EVERY)

    def _least(self, maximum: int) -> int:
        return min((each for each in (self._limit, maximum) if each), default=0)


def held(told: dict[str, Any]) -> int:
    """Bytes that Redis holds, as its own limit counts them; `told` is its `INFO memory`."""
    return int(told["used_memory"]) - int(told.get("mem_not_counted_for_evict", 0))
