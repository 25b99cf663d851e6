"""The time by which all nodes agree, which is that of Redis."""

from __future__ import annotations

import time

from redis.asyncio import Redis


class Clock:
    """Redis's time, kept on by the monotonic clock: a wall clock may jump.

    Until it is `known` it is this machine's, which may be wrong by hours.
    """

    def __init__(self) -> None:
        self.known = False
        self._offset = time.time() - time.monotonic()

    def now_ms(self) -> int:
        return int((time.monotonic() + self._offset) * 1000)

    async def measure(self, redis: Redis) -> None:
        asked = time.monotonic()
        seconds, microseconds = await redis.time()
        theirs = int(seconds) + int(microseconds) / 1e6
        self._offset = theirs - (asked + time.monotonic()) / 2
        self.known = True
