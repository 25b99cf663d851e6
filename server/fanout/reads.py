"""Which rooms are read and when, and how what is heard of them is put after what was read.

A room is DIRTY until its read begins and READING until the snapshot is here. Changes that come in
between wait; then those that follow the snapshot without a gap are told. Any doubt begins this
anew.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from server.counts import Counts
from server.fanout import message
from server.fanout.backend import Change, Signal, Snapshot
from server.fanout.batches import take
from server.fanout.delivery import Delivery, Recovery
from server.fanout.followed import Followed, Stage
from server.fanout.link import Later, Rooms
from server.fanout.presence import Told
from server.fanout.replica import Verdict
from server.logs import about

READ_BATCH = 100  # rooms in one pipelined read, so that a joiner waits for one batch at most
LATER = 0.1  # seconds until a room is read again that was on the move
WAITING_CHANGES = 1_000  # changes that wait for one snapshot; past it a second snapshot is cheaper

_log = logging.getLogger(__name__)


class Reads:
    """Brings rooms up to date and keeps them so; what they are told goes through `delivery`."""

    def __init__(
        self, source: Rooms, delivery: Delivery, recovery: Recovery, counts: Counts
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._recovery = recovery
        self._counts = counts
        self._dirty: dict[Followed, None] = {}  # ordered sets
        self._unreadable: dict[Followed, None] = {}
        self._work = asyncio.Event()

    def begin(self) -> None:
        """A new connection stands: nothing is to be read until it is subscribed there."""
        self._dirty.clear()
        self._unreadable.clear()

    def request(self, followed: Followed) -> None:
        followed.stage = Stage.DIRTY
        self._dirty[followed] = None
        self._work.set()

    def doubt(self, followed: Followed, cause: str) -> None:
        """The room may have missed something: read it again. `cause` is what is counted."""
        followed.cause = cause
        if followed.stage is Stage.LIVE:
            self.request(followed)
        elif followed.stage is Stage.READING:
            followed.again = True

    def cancel(self, followed: Followed) -> None:
        """It is about to be subscribed anew, and read after that."""
        self._dirty.pop(followed, None)

    def forget(self, followed: Followed) -> None:
        self._dirty.pop(followed, None)
        self._unreadable.pop(followed, None)

    def retry_unreadable(self) -> None:
        """Some of the rooms that could not be read may be readable by now."""
        for followed in take(self._unreadable, READ_BATCH):
            followed.cause = "unreadable"
            self.request(followed)

    def hear(self, followed: Followed, data: bytes) -> None:
        """A message came on the room's channel."""
        try:
            heard = message.read(data)
        except msgspec.MsgspecError:
            _log.warning("A message was not understood", extra=about(followed.room))
            self.doubt(followed, "message")
            return
        if followed.stage is Stage.LIVE:
            match heard:
                case Told():
                    self._delivery.take_here(followed, heard)
                case Signal():
                    self._delivery.tell(followed, heard)
                case Change():
                    self._take_in(followed, heard)
        elif followed.stage is Stage.READING:
            match heard:
                case Told():
                    followed.here_next = heard
                case Change() if len(followed.waiting) < WAITING_CHANGES:
                    followed.waiting.append(heard)
                case Change():
                    followed.again = True
                    followed.cause = "flood"

    async def run(self) -> None:
        """Read whatever is dirty, for ever; raises what `Rooms` raises."""
        while True:
            await self._work.wait()
            self._work.clear()
            while batch := take(self._dirty, READ_BATCH):
                await self._read(batch)

    async def _read(self, batch: list[Followed]) -> None:
        for followed in batch:
            followed.stage = Stage.READING
            followed.again = False
            followed.waiting = []
            followed.here_next = None
            self._counts.resyncs[followed.cause] += 1
        loaded = await self._source.load([followed.room for followed in batch])
        for followed, result in zip(batch, loaded, strict=True):
            if followed.stage is not Stage.READING:
                continue
            if isinstance(result, Later):
                followed.stage = Stage.DIRTY
                asyncio.get_running_loop().call_later(LATER, self._request_later, followed)
            elif isinstance(result, Exception):
                # Only this room cannot be read; the others must not wait for it.
                _log.error("A room cannot be read", exc_info=result, extra=about(followed.room))
                followed.stage = Stage.DIRTY
                self._unreadable[followed] = None
                self._recovery.done(followed)
            elif followed.went_back(result[0]):
                await self._source.mint(followed.room, *followed.seen)
                followed.cause = "epoch"
                if followed.stage is Stage.READING:
                    self.request(followed)
            else:
                followed.stage = Stage.LIVE
                self._replace(followed, *result)

    def _request_later(self, followed: Followed) -> None:
        if followed.stage is Stage.DIRTY:
            self.request(followed)

    def _replace(self, followed: Followed, snapshot: Snapshot, told: Told) -> None:
        followed.replica.replace(snapshot)
        followed.known = True
        followed.here, followed.here_at = told.event(), told.at
        waiting, followed.waiting = followed.waiting, []
        if followed.count:
            self._delivery.greet(followed)
        if followed.here_next is not None:
            self._delivery.take_here(followed, followed.here_next)
        for change in waiting:
            if followed.stage is Stage.LIVE:
                self._take_in(followed, change)
        if followed.again:
            self.doubt(followed, followed.cause)
        self._recovery.done(followed)

    def _take_in(self, followed: Followed, change: Change) -> None:
        verdict = followed.replica.apply(change)
        if verdict is Verdict.APPLIED:
            self._counts.revisions += 1
            self._delivery.tell(followed, change)
        elif verdict is Verdict.GAP:
            same = change.epoch == followed.replica.epoch
            self.doubt(followed, "gap" if same else "epoch")
