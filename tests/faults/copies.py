"""A room as Redis has it, to be brought back later: Redis goes back in time."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis


class Copy:
    """All keys below `key`."""

    def __init__(self, raw: Redis, key: str, values: dict[bytes, bytes]) -> None:
        self._raw = raw
        self._key = key
        self._values = values

    @classmethod
    async def of(cls, raw: Redis, key: str) -> Copy:
        commands: Any = raw
        keys = [name async for name in raw.scan_iter(f"{key}*")]
        return cls(raw, key, {name: await commands.execute_command("DUMP", name) for name in keys})

    async def restore(self) -> None:
        """In one step, as a Redis comes back from an old file or a replica that was behind."""
        keys = [name async for name in self._raw.scan_iter(f"{self._key}*")]
        async with self._raw.pipeline(transaction=True) as pipe:
            for name in keys:
                pipe.delete(name)
            for name, value in self._values.items():
                pipe.restore(name, 0, value, replace=True)
            await pipe.execute()
