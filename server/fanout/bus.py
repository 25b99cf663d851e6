"""How a node hears of changes: one subscriber connection, and nobody is left stale.

A room is followed so: SSUBSCRIBE, wait for the *confirmation*, read a snapshot, then take only
changes with a higher revision. Whatever casts doubt on that chain (a gap, a new epoch, a revision
that went back, a confirmation nobody asked for) makes the room dirty, and a dirty room is read
again. When the connection breaks, all rooms are dirty. `followed.py` names a room's stages.

Two watchmen look after what cannot be seen from here: a ping with a deadline finds a connection
that is open but dead, and an audit compares revisions and finds messages that never came.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

import msgspec
from redis.exceptions import MovedError, RedisError

from server.counts import Counts
from server.errors import Unavailable
from server.fanout.backend import Change, Event, Receiver, Signal, Snapshot, numbered
from server.fanout.followed import Followed, Stage
from server.fanout.presence import Told
from server.fanout.replica import Verdict
from server.fanout.slots import slot_of
from server.fanout.tasks import end, first_to_fail
from server.logs import about

SUBSCRIBE_BATCH = 200  # channels in one command; a larger one would keep Redis from others
READ_BATCH = 100  # rooms in one pipelined read, so that a joiner waits for one batch at most
REVISION_BATCH = 500  # rooms in one pipelined read of the audit
LATER = 0.1  # seconds until a room is read again that was on the move
WAITING_CHANGES = 1_000  # changes that wait for one snapshot; past it a second snapshot is cheaper
READS_BETWEEN_YIELDS = 64  # a flood of messages must not hold up the rest of the loop
FIRST_BACKOFF = 0.05  # seconds; doubles with each failure

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient a bus is, all in seconds."""

    linger: float = 15.0  # a room stays subscribed this long after its last follower
    audit: float = 5.0  # between two comparisons of all revisions
    grace: float = 1.0  # a message may be this late before it counts as lost
    ping: float = 2.0  # between two pings on the subscriber connection
    answer: float = 2.0  # a connection that answers nothing for so long is broken
    backoff: float = 1.0  # the longest wait between two attempts to connect


class Link(Protocol):
    """The part of a redis-py connection that is used here; it never reconnects by itself."""

    async def connect(self) -> None: ...

    async def send_command(self, *args: Any, **kwargs: Any) -> None: ...

    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None
    ) -> Any: ...

    async def disconnect(self, nowait: bool = False) -> None: ...


class Rooms(Protocol):
    """What a bus reads from Redis by ordinary commands; each raises `Unavailable`."""

    def channel(self, room: str) -> str: ...

    async def connected(self) -> None:
        """A new connection stands: measure what has to be measured anew."""

    async def load(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        """Snapshot of each room and who is there; an error where only that room cannot be read."""

    async def revisions(self, rooms: Sequence[str]) -> Sequence[tuple[str, int] | None]:
        """(epoch, rev) of each room; ("", 0) where there is none, None where it is on the move."""

    async def mint(self, room: str, epoch: str, rev: int, mark: str) -> None:
        """Give the room a new epoch if it is at `epoch`, but has lost the change `rev` (`mark`)."""

    def together(self, channels: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        """The channels in groups that one command may name."""

    def moved(self, error: MovedError) -> None:
        """Another server has a slot; who looks after all of them takes its rooms from this bus."""


class Lost(Exception):
    """The subscriber connection is of no use any more."""


class Later(Exception):
    """A room cannot be read just now, and can be in a moment."""


class _Message(msgspec.Struct):
    epoch: str = ""
    rev: int = 0
    mark: str = ""
    after: str = ""
    set: dict[str, Any] = {}
    fields: dict[str, str] = {}
    chat: dict[str, Any] | None = None
    here: int | None = None
    at: int = 0
    nodes: dict[str, Any] = {}
    signal: Any = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Message)


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
        self._source = rooms
        self._connect = connect
        self._timing = timing
        self._counts = counts or Counts()
        self._receiver: Receiver | None = None
        self._rooms: dict[str, Followed] = {}
        self._channels: dict[bytes, Followed] = {}
        self._task: asyncio.Task[None] | None = None
        self._degraded = False
        self._failures = 0
        # Of the present connection
        self._connected = False
        self._since: float | None = None  # when it was established
        self._asked: Counter[bytes] = Counter()  # confirmations on their way, by channel
        self._left: Counter[bytes] = Counter()
        self._to_leave: dict[bytes, None] = {}  # ordered sets
        self._to_subscribe: dict[Followed, None] = {}
        self._dirty: dict[Followed, None] = {}
        self._unreadable: dict[Followed, None] = {}
        self._recovering: set[Followed] = set()
        self._work = asyncio.Event()
        self._reads = asyncio.Event()
        self._heard = asyncio.Event()
        self._pinged = ("", 0.0)  # the last ping on its way, and when it was sent

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._task = asyncio.create_task(self._run(), name="bus")

    async def close(self) -> None:
        """Idempotent; waits at most two seconds."""
        for followed in self._rooms.values():
            if followed.linger is not None:
                followed.linger.cancel()
        task, self._task = self._task, None
        self._receiver = None
        if task is not None:
            await end([task])

    def follow(self, room: str) -> None:
        followed = self._rooms.get(room)
        if followed is None:
            followed = Followed(room, self._source.channel(room).encode())
            self._rooms[room] = self._channels[followed.channel] = followed
            self._to_subscribe[followed] = None
            self._work.set()
        if followed.linger is not None:
            followed.linger.cancel()
            followed.linger = None
        followed.count += 1
        if followed.stage is Stage.LIVE and not followed.greeting:
            followed.greeting = True
            asyncio.get_running_loop().call_soon(self._greet, followed)

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
        self._rooms[followed.room] = self._channels[followed.channel] = followed
        self._to_subscribe[followed] = None
        self._recovering.add(followed)
        self._work.set()
        if degraded:
            self._set_degraded(True)

    @property
    def following(self) -> int:
        """Rooms that are subscribed, those that linger among them."""
        return len(self._rooms)

    def known(self, room: str) -> tuple[str, int, str]:
        """Epoch, revision and mark of the last change this node has seen of a room it follows.

        ("", 0, "") where it has seen nothing.
        """
        followed = self._rooms.get(room)
        if followed is None or not followed.known:
            return "", 0, ""
        return followed.replica.epoch, followed.replica.rev, followed.replica.mark

    def present(self, room: str, told: Told) -> None:
        """Who is in the room, learnt by other means than a message."""
        followed = self._rooms.get(room)
        if followed is not None and followed.stage is Stage.LIVE:
            self._take_here(followed, told)

    # Telling the receiver

    def _tell(self, followed: Followed, event: Event) -> None:
        if self._receiver is None or not followed.greeted:
            return
        try:
            self._receiver.changed(followed.room, event)
        except Exception:
            _log.exception("The receiver failed on an event", extra=about(followed.room))

    def _greet(self, followed: Followed) -> None:
        """Tell the present state to one more follower, unless a read is about to do so anyway."""
        followed.greeting = False
        if followed.count and followed.stage is Stage.LIVE:
            followed.greeted = True
            self._tell(followed, followed.replica.snapshot())
            self._tell(followed, followed.here)

    def _take_here(self, followed: Followed, told: Told) -> None:
        if not told.follows(followed.here_at):
            return
        followed.here_at = told.at
        here = told.event()
        if here != followed.here:
            followed.here = here
            self._tell(followed, here)

    def _set_degraded(self, degraded: bool) -> None:
        if degraded == self._degraded:
            return
        self._degraded = degraded
        if self._receiver is not None:
            try:
                self._receiver.degraded(degraded)
            except Exception:
                _log.exception("The receiver failed on being told of the backend's state")

    # One connection after the other

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except Exception as error:
                if not isinstance(error, RedisError | Lost | Unavailable | OSError):
                    _log.exception("The bus failed; it connects again")
                elif not self._degraded:
                    _log.warning("Lost Redis: %s", str(error) or type(error).__name__)
            self._set_degraded(True)
            now = asyncio.get_running_loop().time()
            if self._since is not None and now - self._since > self._timing.backoff:
                self._failures = 0  # it worked for a while, so the first attempt is made at once
            if self._failures:
                longest = min(self._timing.backoff, FIRST_BACKOFF * 2 ** min(self._failures, 16))
                await asyncio.sleep(longest * random.uniform(0.5, 1))
            self._failures += 1

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
                self._pinging(link),
                self._subscribing(link),
                self._syncing(),
                self._auditing(),
            )
        finally:
            self._connected = False
            for followed in self._rooms.values():
                followed.stage = Stage.NEW
            await link.disconnect(nowait=True)

    def _begin(self) -> None:
        self._connected = True
        self._since = asyncio.get_running_loop().time()
        self._asked.clear()
        self._left.clear()
        self._to_leave.clear()
        self._dirty.clear()
        self._unreadable.clear()
        self._to_subscribe = dict.fromkeys(self._rooms.values())
        for followed in self._rooms.values():
            if followed.known:
                followed.cause = "connection"
        self._recovering = set(self._rooms.values())
        self._work.set()
        self._recovered(None)

    def _recovered(self, followed: Followed | None) -> None:
        """`followed` is up to date or gone; when no room is left behind, all is well again."""
        if followed is not None:
            self._recovering.discard(followed)
        if self._connected and not self._recovering:
            if self._degraded:
                _log.info("Connected to Redis; all rooms are up to date")
            self._set_degraded(False)

    # Subscriptions

    def _leave(self, followed: Followed) -> None:
        followed.linger = None
        del self._rooms[followed.room], self._channels[followed.channel]
        self._to_subscribe.pop(followed, None)
        self._dirty.pop(followed, None)
        self._unreadable.pop(followed, None)
        if self._connected:
            self._to_leave[followed.channel] = None
            self._work.set()
        followed.stage = Stage.NEW
        self._recovered(followed)

    def _resubscribe(self, followed: Followed) -> None:
        followed.stage = Stage.NEW
        self._dirty.pop(followed, None)
        self._to_subscribe[followed] = None
        self._work.set()

    async def _subscribing(self, link: Link) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            # Leaving goes first: a room that was left and is followed again ends up subscribed.
            while leaving := _take(self._to_leave, SUBSCRIBE_BATCH):
                self._left.update(leaving)
                for channels in self._source.together(leaving):
                    await link.send_command("SUNSUBSCRIBE", *channels)
            while joining := _take(self._to_subscribe, SUBSCRIBE_BATCH):
                for followed in joining:
                    followed.stage = Stage.ASKED
                    self._asked[followed.channel] += 1
                for channels in self._source.together([f.channel for f in joining]):
                    await link.send_command("SSUBSCRIBE", *channels)
                if self._to_leave:
                    self._work.set()
                    break

    def _confirmed(self, channel: bytes) -> None:
        followed = self._channels.get(channel)
        if not self._asked[channel]:
            if followed is None:
                return
            if followed.stage is Stage.ASKED:
                # It was on the move: this answers one of several questions, and it is here now.
                self._read_again(followed)
            else:
                # Somebody subscribed behind our back: what was published before is lost.
                self._doubt(followed, "subscription")
            return
        _count_down(self._asked, channel)
        # Answers come in the order of the commands, so only the last one counts.
        if followed is not None and followed.stage is Stage.ASKED and not self._asked[channel]:
            self._read_again(followed)

    def _unsubscribed(self, channel: bytes) -> None:
        followed = self._channels.get(channel)
        if self._left[channel]:
            _count_down(self._left, channel)
        elif followed is not None:
            followed.cause = "subscription"
            self._resubscribe(followed)

    def _elsewhere(self, error: MovedError) -> None:
        """Another server has the slot of a channel: nothing that was asked of it is answered."""
        for counter in (self._asked, self._left):
            for channel in [channel for channel in counter if slot_of(channel) == error.slot_id]:
                del counter[channel]
        self._source.moved(error)
        # Where the slot came back meanwhile, its rooms are still here, and not subscribed.
        for followed in self._rooms.values():
            if followed.stage is Stage.ASKED and slot_of(followed.channel) == error.slot_id:
                self._resubscribe(followed)

    # Messages

    async def _reading(self, link: Link) -> None:
        for number in _forever():
            try:
                answer = await link.read_response(disable_decoding=True, timeout=math.inf)
            except MovedError as error:
                answer = error
            self._heard.set()
            match answer:
                case [b"smessage", channel, data]:
                    self._message(channel, data)
                case [b"ssubscribe", channel, _]:
                    self._confirmed(channel)
                case [b"sunsubscribe", channel, _]:
                    self._unsubscribed(channel)
                case [b"pong", token] | (bytes() as token):
                    self._answered(token)
                case MovedError():
                    self._elsewhere(answer)
                case Exception():
                    raise Lost(f"Redis refused a command: {answer}")
            if number % READS_BETWEEN_YIELDS == 0:
                await asyncio.sleep(0)

    def _answered(self, token: bytes) -> None:
        """What was published before the ping was answered has arrived: so late is a change."""
        sent, at = self._pinged
        if token == sent.encode():
            self._counts.bus_lag.observe(asyncio.get_running_loop().time() - at)

    def _message(self, channel: bytes, data: bytes) -> None:
        followed = self._channels.get(channel)
        if followed is None:
            return
        try:
            message = _decoder.decode(data)
        except msgspec.MsgspecError:
            _log.warning("A message was not understood", extra=about(followed.room))
            self._doubt(followed, "message")
            return
        if message.here is not None:
            told = Told(here=message.here, at=message.at, nodes=message.nodes)
            if followed.stage is Stage.LIVE:
                self._take_here(followed, told)
            elif followed.stage is Stage.READING:
                followed.here_next = told
            return
        if message.signal is not msgspec.UNSET:
            if followed.stage is Stage.LIVE:
                self._tell(followed, Signal(message.signal))
            return
        chat = numbered(message.chat, message.rev)
        change = Change(
            message.epoch,
            message.rev,
            message.set,
            chat,
            message.fields,
            mark=message.mark,
            after=message.after,
        )
        if followed.stage is Stage.LIVE:
            self._take_in(followed, change)
        elif followed.stage is Stage.READING:
            if len(followed.waiting) < WAITING_CHANGES:
                followed.waiting.append(change)
            else:
                followed.again = True
                followed.cause = "flood"

    def _take_in(self, followed: Followed, change: Change) -> None:
        verdict = followed.replica.apply(change)
        if verdict is Verdict.APPLIED:
            self._counts.revisions += 1
            self._tell(followed, change)
        elif verdict is Verdict.GAP:
            same = change.epoch == followed.replica.epoch
            self._doubt(followed, "gap" if same else "epoch")

    # Snapshots

    def _doubt(self, followed: Followed, cause: str) -> None:
        """The room may have missed something: read it again. `cause` is what is counted."""
        followed.cause = cause
        if followed.stage is Stage.LIVE:
            self._read_again(followed)
        elif followed.stage is Stage.READING:
            followed.again = True

    def _read_again(self, followed: Followed) -> None:
        followed.stage = Stage.DIRTY
        self._dirty[followed] = None
        self._reads.set()

    def _read_later(self, followed: Followed) -> None:
        if followed.stage is Stage.DIRTY:
            self._read_again(followed)

    async def _syncing(self) -> None:
        while True:
            await self._reads.wait()
            self._reads.clear()
            while batch := _take(self._dirty, READ_BATCH):
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
                        asyncio.get_running_loop().call_later(LATER, self._read_later, followed)
                    elif isinstance(result, Exception):
                        # Only this room cannot be read; the others must not wait for it.
                        _log.error(
                            "A room cannot be read", exc_info=result, extra=about(followed.room)
                        )
                        followed.stage = Stage.DIRTY
                        self._unreadable[followed] = None
                        self._recovered(followed)
                    elif followed.went_back(result[0]):
                        await self._source.mint(followed.room, *self.known(followed.room))
                        followed.cause = "epoch"
                        if followed.stage is Stage.READING:
                            self._read_again(followed)
                    else:
                        followed.stage = Stage.LIVE
                        self._replace(followed, *result)

    def _replace(self, followed: Followed, snapshot: Snapshot, told: Told) -> None:
        followed.replica.replace(snapshot)
        followed.known = True
        followed.here, followed.here_at = told.event(), told.at
        waiting, followed.waiting = followed.waiting, []
        if followed.count:
            followed.greeted = True
            self._tell(followed, followed.replica.snapshot())
            self._tell(followed, followed.here)
        if followed.here_next is not None:
            self._take_here(followed, followed.here_next)
        for change in waiting:
            if followed.stage is Stage.LIVE:
                self._take_in(followed, change)
        if followed.again:
            self._doubt(followed, followed.cause)
        self._recovered(followed)

    # Watchmen

    async def _pinging(self, link: Link) -> None:
        while True:
            await asyncio.sleep(self._timing.ping)
            self._heard.clear()
            self._pinged = secrets.token_hex(4), asyncio.get_running_loop().time()
            await link.send_command("PING", self._pinged[0])
            try:
                async with asyncio.timeout(self._timing.answer):
                    await self._heard.wait()
            except TimeoutError:
                raise Lost(f"no answer in {self._timing.answer:g} s") from None

    async def _auditing(self) -> None:
        while True:
            await asyncio.sleep(self._timing.audit)
            for followed in _take(self._unreadable, READ_BATCH):
                followed.cause = "unreadable"
                self._read_again(followed)
            behind = await self._behind()
            if not behind:
                continue
            # A busy room's message may just be on its way.
            await asyncio.sleep(self._timing.grace)
            lost = [
                followed
                for followed, epoch, rev in behind
                if followed.stage is Stage.LIVE and not followed.contains(epoch, rev)
            ]
            for followed in lost:
                followed.losses += 1
                followed.cause = "audit"
                self._resubscribe(followed)
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
                    self._doubt(followed, "epoch")
                elif followed.contains(epoch, rev):
                    followed.losses = 0
                else:
                    behind.append((followed, epoch, rev))
        return behind


def _take(queue: dict[_T, None], count: int) -> list[_T]:
    """Remove and return the first `count` of an ordered set."""
    taken = list(islice(queue, count))
    for item in taken:
        del queue[item]
    return taken


def _count_down(counter: Counter[bytes], channel: bytes) -> None:
    counter[channel] -= 1
    if not counter[channel]:
        del counter[channel]


def _forever() -> Iterable[int]:
    number = 0
    while True:
        number += 1
        yield number
