"""How much a Redis may hold, by what it says of itself.

Keys end by themselves and blocks are written over, so whoever counted what is written would be
wrong before long, and differently on each node. Redis knows, and asking costs little; between two
looks a node adds what it writes itself. So with N nodes the limit is passed by at most N times
`LOOK_BYTES`, and by what Redis needs beside the bytes themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from server.errors import StorageFull

# A look is good for so many seconds and so many bytes.
LOOK_SECONDS: Final = 2.0
LOOK_BYTES: Final = 8 * 1024 * 1024


class Quota:
    """`limit` in bytes, 0 for none; `held` asks how many there are now."""

    def __init__(self, limit: int, held: Callable[[], Awaitable[int]]) -> None:
        self._limit = limit
        self._ask = held
        self._held = 0
        self._looked_at = float("-inf")
        self._written = 0  # since then, by this node

    async def admit(self, size: int) -> None:
        """`size` bytes are about to be written; with 0, an upload begins.

        Raises `StorageFull`, and whatever asking raises.
        """
        if not self._limit:
            return
        age = asyncio.get_running_loop().time() - self._looked_at
        if not size or age > LOOK_SECONDS or self._written + size > LOOK_BYTES:
            self._held = await self._ask()
            self._looked_at = asyncio.get_running_loop().time()
            self._written = 0
        if self._held + self._written + size > self._limit:
            raise storage_full(self._limit)
        self._written += size


def storage_full(limit: int) -> StorageFull:
    """What is said where all rooms together may have no more than `limit` bytes."""
    return StorageFull(
        f"The server has no room for more: {limit:,} bytes are its limit for all rooms together. "
        "What this room had is kept. Try again when other rooms have ended, or tell whoever runs "
        "this server."
    )
