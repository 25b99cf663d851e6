"""Somebody turns pages while the storage is harmed, and all who follow end up on the same one."""

from __future__ import annotations

import asyncio

from server.errors import Unavailable
from tests.fanout.nodes import Node, Nodes, eventually

FAILOVER = 15.0  # seconds until all is well after a primary is gone


async def following(nodes: Nodes, name: str, *rooms: str) -> Node:
    node = await nodes.start(name)
    for room in rooms:
        node.backend.follow(room)
        await node.told.until(lambda room=room: node.told.snapshots(room) != [])
    node.told.forget()
    return node


class Turning:
    """Somebody turns pages of a room without pause; `last` is what was acknowledged last."""

    def __init__(self, node: Node, room: str) -> None:
        self.last = -1
        self._going = True
        self._node, self._room = node, room
        self._task = asyncio.create_task(self._turn())

    async def _turn(self) -> None:
        while self._going:
            page = self.last + 1
            change = await self._node.backend.append(self._room, set={"page": page})
            assert not change.again
            self.last = page

    async def goes_on(self, pages: int = 5) -> None:
        """Wait until some more pages were turned."""
        until = self.last + pages
        async with asyncio.timeout(FAILOVER):
            while self.last < until:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self._going = False
        await asyncio.wait_for(self._task, FAILOVER)


async def agreed(room: str, *told: Node, page: int | None = None) -> None:
    """All that these nodes told of a room is what the storage has; `page` or a later one."""

    async def same() -> bool:
        now = await told[0].backend.snapshot(room)
        return all(node.told.state(room) == now for node in told)

    await eventually(same, FAILOVER)
    if page is not None:
        assert told[0].told.state(room).registers["page"] >= page


async def turned(node: Node, room: str) -> bool:
    try:
        await node.backend.append(room, set={"page": 2}, request=f"{room} 2")
    except Unavailable:
        return False
    return True
