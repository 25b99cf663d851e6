"""What was said in a room lately: its HTML is made once on this node, its frames once for many.

The tail is bounded by messages and by bytes, so that what a newcomer is sent is bounded too,
however much is said. Whoever has missed more than the tail holds is told to begin anew with it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from server.document.messages import Said, encode
from server.live.frames import EMPTY, Frame
from server.live.work import in_thread

KEPT: Final = 200
# Bytes of JSON, about what a page may have: a tail of the longest messages would be six times that.
KEPT_BYTES: Final = 1024 * 1024
# Bytes of a tail whose frame takes long to build: a few milliseconds and more.
LONG: Final = 64 * 1024
# Frames for those who have missed some; most have missed the same.
FRAMES: Final = 8
# Messages that are rendered in one go: a few milliseconds, whatever they are.
SLICE: Final = 8

# The HTML of a chat message as it is stored: `id`, `name`, `color`, `time`, `body`.
Render = Callable[[Mapping[str, Any]], str]
# The frame of messages in an epoch, and whether they are all there is.
Encode = Callable[[str, Sequence[Said], bool], Frame]


class Talk:
    """The last messages of one room, the oldest first."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._tail: deque[tuple[Said, int]] = deque()
        self._bytes = 0
        self._forgotten = 0  # the revision up to which messages may be missing
        self._raw: list[Mapping[str, Any]] | None = None  # all there is, not rendered yet

    # API

    @property
    def last(self) -> Said | None:
        self._settle()
        return self._tail[-1][0] if self._tail else None

    @property
    def is_rendered(self) -> bool:
        return self._raw is None

    @property
    def is_long(self) -> bool:
        """Whether it takes long to tell all of it."""
        return self._bytes > LONG if self._raw is None else len(self._raw) > SLICE

    async def warm_up(self) -> None:
        """Render what is not yet; in between others have their turn."""
        for number, message in enumerate(reversed(self._raw or ())):
            if number and not number % SLICE:
                await asyncio.sleep(0)
            self._render(message)

    def find(self, id: str) -> Said | None:
        self._settle()
        return next((said for said, _ in reversed(self._tail) if said.id == id), None)

    def add(self, message: Mapping[str, Any]) -> None:
        """Something was said; `message` is as the fan-out tells it."""
        self._settle()
        self._append(said_of(message, self._render))

    def replace(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """This is all there is. It is rendered when it is asked for: see `warm_up`."""
        self._raw = list(messages)

    def since(self, after: int, upto: int) -> tuple[Sequence[Said], bool]:
        """What was said after revision `after`, up to `upto`; and whether that is all there is.

        All of it, if the tail does not reach back so far: then it replaces what the reader has.
        """
        self._settle()
        whole = after < self._forgotten
        said = [each for each, _ in self._tail if each.rev <= upto and (whole or each.rev > after)]
        return said, whole

    # Internal

    def _settle(self) -> None:
        """Render what is not yet; what was rendered before is not rendered again."""
        messages, self._raw = self._raw, None
        if messages is None:
            return
        known: dict[tuple[Any, ...], Said] = {
            (said.id, said.rev, said.body): said for said, _ in self._tail
        }
        self._tail.clear()
        self._bytes = self._forgotten = 0
        if len(messages) >= KEPT:
            # There may have been others before these.
            self._forgotten = int(messages[0].get("rev", 0)) - 1
        # From the newest on, so that what is forgotten anyway is not rendered.
        for message in reversed(messages):
            before = known.get((message.get("id"), message.get("rev"), message.get("body")))
            said = said_of(message, self._render) if before is None else before
            size = len(encode(said))
            if self._tail and (len(self._tail) == KEPT or self._bytes + size > KEPT_BYTES):
                self._forgotten = said.rev
                break
            self._tail.appendleft((said, size))
            self._bytes += size

    def _append(self, said: Said) -> None:
        size = len(encode(said))
        self._tail.append((said, size))
        self._bytes += size
        while len(self._tail) > KEPT or (self._bytes > KEPT_BYTES and len(self._tail) > 1):
            oldest, dropped = self._tail.popleft()
            self._bytes -= dropped
            self._forgotten = oldest.rev


class Tellings:
    """Frames of what was said, each built once for all who have missed the same."""

    def __init__(self, talk: Talk, encode: Encode) -> None:
        self._talk = talk
        self._encode = encode
        self._frames: OrderedDict[tuple[object, ...], Frame] = OrderedDict()

    def frame(self, epoch: str, after: int, upto: int) -> Frame:
        """`Talk.since` in the words of `encode`; EMPTY if there is nothing to tell."""
        messages, whole = self._talk.since(after, upto)
        if not messages and not whole:
            return EMPTY
        key = _key(epoch, messages, whole)
        frame = self._frames.get(key)
        return self._keep(key, self._encode(epoch, messages, whole)) if frame is None else frame

    def is_ready(self, epoch: str, after: int, upto: int) -> bool:
        """Whether `frame` returns at once."""
        if not self._talk.is_long:
            return True
        if not self._talk.is_rendered:
            return False
        messages, whole = self._talk.since(after, upto)
        return len(messages) <= SLICE or _key(epoch, messages, whole) in self._frames

    async def make_ready(self, epoch: str, upto: int) -> None:
        """Build what newcomers are told, in a thread; in between others have their turn."""
        await self._talk.warm_up()
        if not self.is_ready(epoch, -1, upto):
            messages, whole = self._talk.since(-1, upto)
            frame = await in_thread(partial(self._encode, epoch, messages, whole))
            self._keep(_key(epoch, messages, whole), frame)

    # Internal

    def _keep(self, key: tuple[object, ...], frame: Frame) -> Frame:
        self._frames[key] = frame
        if len(self._frames) > FRAMES:
            self._frames.popitem(last=False)
        return frame


def _key(epoch: str, messages: Sequence[Said], whole: bool) -> tuple[object, ...]:
    ends = (messages[0], messages[-1]) if messages else ()
    return (epoch, whole, *((said.id, said.rev) for said in ends))


async def told(messages: Iterable[Mapping[str, Any]], render: Render) -> list[Said]:
    """Messages as viewers are told them; in between others have their turn."""
    said: list[Said] = []
    for message in messages:
        if said and not len(said) % SLICE:
            await asyncio.sleep(0)
        said.append(said_of(message, render))
    return said


def said_of(message: Mapping[str, Any], render: Render) -> Said:
    """A message as viewers are told it; one whose fields are not all there is told all the same."""
    return Said(
        id=str(message.get("id", "")),
        rev=int(message.get("rev", 0)),
        name=str(message.get("name", "")),
        color=int(message.get("color", 0)),
        time=int(message.get("time", 0)),
        body=str(message.get("body", "")),
        html=render(message),
    )
