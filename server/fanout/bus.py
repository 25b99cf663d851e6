"""How a node hears of changes: one subscriber connection, and nobody is left stale.

A room is followed so: SSUBSCRIBE, wait for the *confirmation*, read a snapshot, then take only
changes with a higher revision. Whatever casts doubt on that chain (a gap, a new epoch, a revision
that went back, a confirmation nobody asked for) makes the room dirty, and a dirty room is read
again. When the connection breaks, all rooms are dirty. `followed.py` names a room's stages.

Here is one connection after the other, and who is followed. What is done over a connection are jobs
of their own: `subscriptions.py`, `reads.py`, `watchmen.py`; the receiver hears from `delivery.py`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from redis.exceptions import MovedError, RedisError

from server.counts import Counts
from server.errors import Unavailable
from server.fanout.backend import Receiver
from server.fanout.delivery import Delivery, Recovery
from server.fanout.followed import Followed, Stage
from server.fanout.link import Link, Lost, Rooms
from server.fanout.presence import Told
from server.fanout.reads import Reads
from server.fanout.refusals import why
from server.fanout.subscriptions import Subscriptions
from server.fanout.tasks import end, first_to_fail
from server.fanout.watchmen import Audit, Ping

READS_BETWEEN_YIELDS = 64  # a flood of messages must not hold up the rest of the loop
FIRST_BACKOFF = 0.05  # seconds; doubles with each failure
REASONS = 8  # that are written down while Redis is lost, each once

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient a bus is, all in seconds."""

    linger: float = 15.0  # a room stays subscribed this long after its last follower
    audit: float = 5.0  # between two comparisons of all revisions
    grace: float = 1.0  # a message may be this late before it counts as lost
    ping: float = 2.0  # between two pings on the subscriber connection
    answer: float = 2.0  # a connection that answers nothing for so long is broken
    backoff: float = 1.0  # the longest wait between two attempts to connect


class Bus:
    """Follows rooms for one node and tells its receiver, as `backend.Backend` promises."""

    def __init__(
        self,
        rooms: Rooms,
        connect: Callable[[], Link],
        timing: Timing,
        counts: Counts | None = None,
    ) -> None:
        """`connect` makes a connection (not yet connected) that speaks RESP2 and never retries."""
        counts = counts or Counts()
        self._source = rooms
        self._connect = connect
        self._timing = timing
        self._rooms: dict[str, Followed] = {}
        self._channels: dict[bytes, Followed] = {}
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._since: float | None = None  # when the present connection was established
        self._was_there = False  # a connection stood before
        self._reasons: set[str] = set()  # why there is none, as far as it was written down
        self._delivery = Delivery()
        self._recovery = Recovery(self._delivery)
        self._reads = Reads(rooms, self._delivery, self._recovery, counts)
        self._subscriptions = Subscriptions(rooms, self._reads, self._channels)
        self._ping = Ping(counts, every=timing.ping, patience=timing.answer)
        self._audit = Audit(
            rooms,
            self._reads,
            self._subscriptions,
            self._rooms,
            every=timing.audit,
            grace=timing.grace,
        )

    def start(self, receiver: Receiver) -> None:
        self._delivery.receiver = receiver
        self._task = asyncio.create_task(self._run(), name="bus")

    async def close(self) -> None:
        """Idempotent; waits at most two seconds."""
        for followed in self._rooms.values():
            if followed.linger is not None:
                followed.linger.cancel()
        task, self._task = self._task, None
        self._delivery.receiver = None
        if task is not None:
            await end([task])

    def follow(self, room: str) -> None:
        followed = self._rooms.get(room)
        if followed is None:
            followed = Followed(room, self._source.channel(room).encode())
            self._add(followed)
        if followed.linger is not None:
            followed.linger.cancel()
            followed.linger = None
        followed.count += 1
        self._delivery.greet_soon(followed)

    def unfollow(self, room: str) -> None:
        followed = self._rooms.get(room)
        if followed is None or followed.count == 0:
            return
        followed.count -= 1
        if followed.count == 0:
            followed.greeted = False
            followed.linger = asyncio.get_running_loop().call_later(
                self._timing.linger, self._leave, followed
            )

    def release(self, leaving: Callable[[bytes], bool]) -> list[Followed]:
        """Follow rooms with such channels no more; those that somebody follows are returned."""
        released = [f for f in self._rooms.values() if leaving(f.channel)]
        for followed in released:
            if followed.linger is not None:
                followed.linger.cancel()
            self._leave(followed)
        return [followed for followed in released if followed.count]

    def adopt(self, released: Followed, *, degraded: bool) -> None:
        """Follow a room that another bus released, with all that is known of it.

        `degraded`: its followers have been told that it may be outdated.
        """
        followed = replace(
            released, stage=Stage.NEW, waiting=[], linger=None, greeting=False, again=False
        )
        followed.cause = "slot"
        self._add(followed)
        self._recovery.add(followed)
        if degraded:
            self._delivery.set_degraded(True)

    @property
    def following(self) -> int:
        """Rooms that are subscribed, those that linger among them."""
        return len(self._rooms)

    def known(self, room: str) -> tuple[str, int, str]:
        """Epoch, revision and mark of the last change this node has seen of a room it follows.

        ("", 0, "") where it has seen nothing.
        """
        followed = self._rooms.get(room)
        return ("", 0, "") if followed is None else followed.seen

    def present(self, room: str, told: Told) -> None:
        """Who is in the room, learnt by other means than a message."""
        followed = self._rooms.get(room)
        if followed is not None and followed.stage is Stage.LIVE:
            self._delivery.take_here(followed, told)

    def _add(self, followed: Followed) -> None:
        self._rooms[followed.room] = self._channels[followed.channel] = followed
        self._subscriptions.join(followed)

    def _leave(self, followed: Followed) -> None:
        followed.linger = None
        del self._rooms[followed.room], self._channels[followed.channel]
        self._reads.forget(followed)
        self._subscriptions.leave(followed, connected=self._recovery.connected)
        followed.stage = Stage.NEW
        self._recovery.done(followed)

    # One connection after the other

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except Exception as error:
                if not isinstance(error, RedisError | Lost | Unavailable | OSError):
                    _log.exception("The bus failed; it connects again")
                else:
                    self._complain(why(error))
            self._delivery.set_degraded(True)
            now = asyncio.get_running_loop().time()
            if self._since is not None and now - self._since > self._timing.backoff:
                self._failures = 0  # it worked for a while, so the first attempt is made at once
            if self._failures:
                longest = min(self._timing.backoff, FIRST_BACKOFF * 2 ** min(self._failures, 16))
                await asyncio.sleep(longest * random.uniform(0.5, 1))
            self._failures += 1

    def _complain(self, reason: str) -> None:
        if not self._delivery.degraded:
            self._reasons.clear()
        if reason in self._reasons or len(self._reasons) >= REASONS:
            return
        self._reasons.add(reason)
        lost = "Lost Redis" if self._was_there else "Redis cannot be used"
        _log.warning("%s: %s", lost, reason)

    async def _serve(self) -> None:
        """Keep all rooms up to date over one connection; raises when that is lost."""
        self._since = None
        link = self._connect()
        try:
            async with asyncio.timeout(self._timing.answer):
                await link.connect()
            await self._source.connected()
            self._begin()
            await first_to_fail(
                self._reading(link),
                self._ping.run(link),
                self._subscriptions.run(link),
                self._reads.run(),
                self._audit.run(),
            )
        finally:
            self._recovery.connected = False
            for followed in self._rooms.values():
                followed.stage = Stage.NEW
            await link.disconnect(nowait=True)

    def _begin(self) -> None:
        self._was_there = True
        self._since = asyncio.get_running_loop().time()
        for followed in self._rooms.values():
            if followed.known:
                followed.cause = "connection"
        self._reads.begin()
        self._subscriptions.begin(self._rooms.values())
        self._recovery.begin(self._rooms.values())

    async def _reading(self, link: Link) -> None:
        for number in _forever():
            try:
                answer = await link.read_response(disable_decoding=True, timeout=math.inf)
            except MovedError as error:
                answer = error
            self._ping.heard()
            match answer:
                case [b"smessage", channel, data]:
                    if (followed := self._channels.get(channel)) is not None:
                        self._reads.hear(followed, data)
                case [b"ssubscribe", channel, _]:
                    self._subscriptions.confirmed(channel)
                case [b"sunsubscribe", channel, _]:
                    self._subscriptions.ended(channel)
                case [b"pong", token] | (bytes() as token):
                    self._ping.answered(token)
                case MovedError():
                    self._subscriptions.elsewhere(answer)
                case Exception():
                    raise Lost(f"Redis refused a command: {answer}")
            if number % READS_BETWEEN_YIELDS == 0:
                await asyncio.sleep(0)


def _forever() -> Iterable[int]:
    number = 0
    while True:
        number += 1
        yield number
