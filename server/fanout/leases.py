"""Who is in which room: what nodes say through `present.lua`, and who has fallen silent.

A node is believed for the time of a lease after it last said something. Whoever sees that the
lease of another one is about to end looks again once it should have, so that all are told who is
gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from server.errors import StorageFull, Unavailable
from server.fanout import presence
from server.fanout.backend import Here, Present
from server.fanout.calls import Calls
from server.fanout.keys import Keys
from server.fanout.presence import Told
from server.fanout.scripts import Script
from server.fanout.tasks import end

HERE_BATCH = 500  # rooms in one pipeline
LOOK_AFTER = 0.02  # seconds after a lease has ended, for clocks that are not quite alike


class Leases:
    """Leases of `lease` seconds; `tell` is told who is in a room, as Redis answered just now."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        calls: Calls,
        tell: Callable[[str, Told], None],
        *,
        node_id: str,
        lease: float,
        shebang: bool,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._calls = calls
        self._tell = tell
        self._node_id = node_id
        self._lease = int(lease * 1000)
        self._script = Script("present.lua", shebang)
        self._looks: dict[str, asyncio.Task[None]] = {}  # for leases that are about to end

    async def close(self) -> None:
        await end(list(self._looks.values()))

    async def present(self, rooms: Mapping[str, Present]) -> None:
        names = list(rooms)
        for start in range(0, len(names), HERE_BATCH):
            batch = names[start : start + HERE_BATCH]
            async with self._calls.asking("present"):
                await self._say({room: rooms[room] for room in batch})

    async def who(self, room: str) -> Here:
        async with self._calls.asking("who"):
            nodes: Any = await self._redis.hgetall(self._keys.nodes(room))
        return presence.stored(nodes, self._calls.clock.now_ms()).event()

    async def _say(self, rooms: Mapping[str, Present]) -> None:
        for room, (told, soonest) in (await self._run(rooms)).items():
            self._tell(room, presence.told(told))
            # A node that is well says so in time, so a lease gets this short only once it is not.
            if 0 <= soonest < self._lease / 3 and room not in self._looks:
                look = asyncio.create_task(self._look(room, soonest / 1000), name="look")
                self._looks[room] = look

    async def _run(self, rooms: Mapping[str, Present | None]) -> dict[str, tuple[bytes, int]]:
        """Run present.lua: (what all say, ms until the first lease ends or less than 0), by room.

        None says nothing and looks who fell silent.
        """
        for _ in range(2):
            async with self._redis.pipeline(transaction=False) as pipe:
                for room, said in rooms.items():
                    pipe.evalsha(
                        self._script.sha,
                        1,
                        self._keys.nodes(room),
                        self._keys.channel(room),
                        self._node_id,
                        "" if said is None else str(said.count),
                        presence.piece(self._node_id, said.detail) if said is not None else b"",
                        str(self._lease),
                    )
                try:
                    answers = await pipe.execute()
                except NoScriptError:
                    await self._redis.script_load(self._script.text)
                    continue
                return {
                    room: (bytes(told), int(soonest))
                    for room, (told, soonest) in zip(rooms, answers, strict=True)
                }
        raise Unavailable("Redis forgets its scripts; try again in a moment.")

    async def _look(self, room: str, delay: float) -> None:
        """Tell who is gone when the lease of a node ends that has fallen silent."""
        try:
            await asyncio.sleep(delay + LOOK_AFTER)
            async with self._calls.asking("present"):
                told, _ = (await self._run({room: None}))[room]
            self._tell(room, presence.told(told))
        except (Unavailable, StorageFull):
            pass  # whoever says something next sees it too
        finally:
            self._looks.pop(room, None)
