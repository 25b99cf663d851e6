"""Two watchmen look after what cannot be seen from a node's side of a connection.

A ping with a deadline finds a connection that is open but dead, and an audit compares revisions and
finds messages that never came. Both raise `Lost` when the connection is of no use any more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

from server.counts import Counts
from server.fanout.followed import Followed, Stage
from server.fanout.link import Link, Lost, Rooms
from server.fanout.reads import Reads
from server.fanout.subscriptions import Subscriptions

REVISION_BATCH = 500  # rooms in one pipelined read of the audit


class Ping:
    """Every `every` seconds; a connection that answers nothing for `patience` seconds is broken."""

    def __init__(self, counts: Counts, *, every: float, patience: float) -> None:
        self._counts = counts
        self._every = every
        self._patience = patience
        self._heard = asyncio.Event()
        self._sent = ("", 0.0)  # the last one on its way, and when it was sent

    async def run(self, link: Link) -> None:
        while True:
            await asyncio.sleep(self._every)
            self._heard.clear()
            self._sent = secrets.token_hex(4), asyncio.get_running_loop().time()
            await link.send_command("PING", self._sent[0])
            try:
                async with asyncio.timeout(self._patience):
                    await self._heard.wait()
            except TimeoutError:
                raise Lost(f"no answer in {self._patience:g} s") from None

    def heard(self) -> None:
        """Something came, whatever it was."""
        self._heard.set()

    def answered(self, token: bytes) -> None:
        """What was published before the ping was answered has arrived: so late is a change."""
        sent, at = self._sent
        if token == sent.encode():
            self._counts.bus_lag.observe(asyncio.get_running_loop().time() - at)


class Audit:
    """Every `every` seconds, of all `rooms`; a message may be `grace` seconds late."""

    def __init__(
        self,
        source: Rooms,
        reads: Reads,
        subscriptions: Subscriptions,
        rooms: Mapping[str, Followed],
        *,
        every: float,
        grace: float,
    ) -> None:
        self._source = source
        self._reads = reads
        self._subscriptions = subscriptions
        self._rooms = rooms
        self._every = every
        self._grace = grace

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self._reads.retry_unreadable()
            behind = await self._behind()
            if not behind:
                continue
            # A busy room's message may just be on its way.
            await asyncio.sleep(self._grace)
            lost = []
            for followed, epoch, rev in behind:
                if followed.stage is not Stage.LIVE or followed.contains(epoch, rev):
                    continue
                lost.append(followed)
                followed.losses += 1
                # What Redis knows by another epoch it has forgotten as it was.
                forgotten = followed.replica.epoch not in ("", epoch)
                followed.cause = "epoch" if forgotten else "audit"
                self._subscriptions.join_again(followed)
            if any(followed.losses > 1 for followed in lost):
                raise Lost("published changes do not arrive")

    async def _behind(self) -> list[tuple[Followed, str, int]]:
        """Rooms that are not (yet) at the revision that Redis has."""
        behind = []
        live = [f for f in self._rooms.values() if f.stage is Stage.LIVE]
        for start in range(0, len(live), REVISION_BATCH):
            batch = live[start : start + REVISION_BATCH]
            # Taken before the read: what arrives during it must not look as if it went back.
            revs = [followed.replica.rev for followed in batch]
            found = await self._source.revisions([followed.room for followed in batch])
            for followed, before, revision in zip(batch, revs, found, strict=True):
                if followed.stage is not Stage.LIVE or revision is None:
                    continue
                epoch, rev = revision
                if epoch == followed.replica.epoch and rev < before:
                    self._reads.doubt(followed, "epoch")
                elif followed.contains(epoch, rev):
                    followed.losses = 0
                else:
                    behind.append((followed, epoch, rev))
        return behind
