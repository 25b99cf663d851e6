"""Which channels one connection is subscribed to, and which answers are still to come.

Only a confirmation that was waited for proves that nothing is missed from there on; one that nobody
waited for, or an end that nobody asked for, means that something may have been.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from redis.exceptions import MovedError

from server.fanout.batches import take
from server.fanout.followed import Followed, Stage
from server.fanout.link import Link, Rooms
from server.fanout.reads import Reads
from server.fanout.slots import slot_of

SUBSCRIBE_BATCH = 200  # channels in one command; a larger one would keep Redis from others


class Subscriptions:
    """`channels` are those of the rooms that are followed now, as whoever made this keeps them."""

    def __init__(self, source: Rooms, reads: Reads, channels: Mapping[bytes, Followed]) -> None:
        self._source = source
        self._reads = reads
        self._channels = channels
        self._asked: Counter[bytes] = Counter()  # confirmations on their way, by channel
        self._left: Counter[bytes] = Counter()
        self._to_leave: dict[bytes, None] = {}  # ordered sets
        self._to_join: dict[Followed, None] = {}
        self._work = asyncio.Event()

    def begin(self, rooms: Iterable[Followed]) -> None:
        """A new connection stands, which knows none of these rooms."""
        self._asked.clear()
        self._left.clear()
        self._to_leave.clear()
        self._to_join = dict.fromkeys(rooms)
        self._work.set()

    def join(self, followed: Followed) -> None:
        self._to_join[followed] = None
        self._work.set()

    def join_again(self, followed: Followed) -> None:
        followed.stage = Stage.NEW
        self._reads.cancel(followed)
        self.join(followed)

    def leave(self, followed: Followed, *, connected: bool) -> None:
        self._to_join.pop(followed, None)
        if connected:
            self._to_leave[followed.channel] = None
            self._work.set()

    async def run(self, link: Link) -> None:
        """Send what is to be sent, for ever; raises when `link` does."""
        while True:
            await self._work.wait()
            self._work.clear()
            # Leaving goes first: a room that was left and is followed again ends up subscribed.
            while leaving := take(self._to_leave, SUBSCRIBE_BATCH):
                self._left.update(leaving)
                for channels in self._source.together(leaving):
                    await link.send_command("SUNSUBSCRIBE", *channels)
            while joining := take(self._to_join, SUBSCRIBE_BATCH):
                for followed in joining:
                    followed.stage = Stage.ASKED
                    self._asked[followed.channel] += 1
                for channels in self._source.together([f.channel for f in joining]):
                    await link.send_command("SSUBSCRIBE", *channels)
                if self._to_leave:
                    self._work.set()
                    break

    def confirmed(self, channel: bytes) -> None:
        followed = self._channels.get(channel)
        if not self._asked[channel]:
            if followed is None:
                return
            if followed.stage is Stage.ASKED:
                # It was on the move: this answers one of several questions, and it is here now.
                self._reads.request(followed)
            else:
                # Somebody subscribed behind our back: what was published before is lost.
                self._reads.doubt(followed, "subscription")
            return
        _count_down(self._asked, channel)
        # Answers come in the order of the commands, so only the last one counts.
        if followed is not None and followed.stage is Stage.ASKED and not self._asked[channel]:
            self._reads.request(followed)

    def ended(self, channel: bytes) -> None:
        """The connection is subscribed to this channel no more."""
        followed = self._channels.get(channel)
        if self._left[channel]:
            _count_down(self._left, channel)
        elif followed is not None:
            followed.cause = "subscription"
            self.join_again(followed)

    def elsewhere(self, error: MovedError) -> None:
        """Another server has the slot of a channel: nothing that was asked of it is answered."""
        for counter in (self._asked, self._left):
            for channel in [channel for channel in counter if slot_of(channel) == error.slot_id]:
                del counter[channel]
        self._source.moved(error)
        # Where the slot came back meanwhile, its rooms are still here, and not subscribed.
        for followed in self._channels.values():
            if followed.stage is Stage.ASKED and slot_of(followed.channel) == error.slot_id:
                self.join_again(followed)


def _count_down(counter: Counter[bytes], channel: bytes) -> None:
    counter[channel] -= 1
    if not counter[channel]:
        del counter[channel]
