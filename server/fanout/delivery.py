"""What the receiver of a node is told: of each room in order, and whether all may be outdated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from server.fanout.backend import Event, Receiver
from server.fanout.followed import Followed, Stage
from server.fanout.presence import Told
from server.logs import about

_log = logging.getLogger(__name__)


class Delivery:
    """Tells `receiver`, whatever that does; nobody while it is None."""

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self.degraded = False  # as it was told last

    def tell(self, followed: Followed, event: Event) -> None:
        if self.receiver is None or not followed.greeted:
            return
        try:
            self.receiver.changed(followed.room, event)
        except Exception:
            _log.exception("The receiver failed on an event", extra=about(followed.room))

    def greet(self, followed: Followed) -> None:
        """Tell the present state of a room that somebody follows."""
        followed.greeted = True
        self.tell(followed, followed.replica.snapshot())
        self.tell(followed, followed.here)

    def greet_soon(self, followed: Followed) -> None:
        """Tell the present state to one more follower, unless a read is about to do so anyway."""
        if followed.stage is Stage.LIVE and not followed.greeting:
            followed.greeting = True
            asyncio.get_running_loop().call_soon(self._greet, followed)

    def _greet(self, followed: Followed) -> None:
        followed.greeting = False
        if followed.count and followed.stage is Stage.LIVE:
            self.greet(followed)

    def take_here(self, followed: Followed, told: Told) -> None:
        """Who is in a room that is up to date; only news of it is told."""
        if not told.follows(followed.here_at):
            return
        followed.here_at = told.at
        here = told.event()
        if here != followed.here:
            followed.here = here
            self.tell(followed, here)

    def set_degraded(self, degraded: bool) -> None:
        if degraded == self.degraded:
            return
        self.degraded = degraded
        if self.receiver is not None:
            try:
                self.receiver.degraded(degraded)
            except Exception:
                _log.exception("The receiver failed on being told of the backend's state")


class Recovery:
    """Which rooms are behind since Redis was lost: the receiver is told once none is any more."""

    def __init__(self, delivery: Delivery) -> None:
        self.connected = False
        self._delivery = delivery
        self._behind: set[Followed] = set()

    def begin(self, rooms: Iterable[Followed]) -> None:
        """A new connection stands, and all of these rooms have to be read."""
        self.connected = True
        self._behind = set(rooms)
        self._all_well()

    def add(self, followed: Followed) -> None:
        self._behind.add(followed)

    def done(self, followed: Followed) -> None:
        """`followed` is up to date, or gone."""
        self._behind.discard(followed)
        self._all_well()

    def _all_well(self) -> None:
        if self.connected and not self._behind:
            if self._delivery.degraded:
                _log.info("Connected to Redis; all rooms are up to date")
            self._delivery.set_degraded(False)
