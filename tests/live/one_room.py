"""A room with a fan-out that only the test speaks for, and viewers that only the test drains."""

from __future__ import annotations

import asyncio
from typing import Any

from server.fanout.backend import Change, Snapshot
from server.live.room import LiveRoom
from server.live.viewer import Viewer
from server.live.wording import OwnWording
from tests.live.peer import PATIENCE, Message, Pages, Peer, make_viewer, render


class Room:
    """A LiveRoom, and short names for what a test does with it."""

    def __init__(self) -> None:
        self.pages = Pages()
        self.lag: set[Viewer] = set()
        self.live = LiveRoom("room", OwnWording(self.pages), self.lag, render)  # type: ignore[arg-type]
        self.rev = 0

    def snapshot(self, rev: int = 1, epoch: str = "e", **registers: Any) -> None:
        self.rev = rev
        self.live.take(Snapshot(epoch=epoch, rev=rev, registers=registers))

    def change(self, epoch: str = "e", **registers: Any) -> None:
        self.rev += 1
        self.live.take(Change(epoch=epoch, rev=self.rev, set=registers))

    def say(self, body: str, epoch: str = "e") -> None:
        """Somebody says something; its id is the revision."""
        self.rev += 1
        self.live.take(Change(epoch=epoch, rev=self.rev, chat=said(self.rev, body)))

    def enter(self, name: str = "v") -> tuple[Peer, Viewer]:
        peer = Peer()
        viewer = make_viewer(peer, name)
        self.live.add(viewer)
        return peer, viewer

    def sweep(self) -> None:
        """What the hub's sweep does, once."""
        for viewer in list(self.lag):
            if viewer.drained(asyncio.get_running_loop().time()):
                self.lag.discard(viewer)
                self.live.catch_up(viewer)

    async def settled(self) -> None:
        """Wait until the room has nothing left to say."""
        async with asyncio.timeout(PATIENCE):
            await self.live.settled()


def said(rev: int, body: str = "hello") -> Message:
    """What the fan-out tells of a message."""
    return {"id": f"m{rev}", "rev": rev, "name": "Otter", "color": 3, "time": 5, "body": body}
