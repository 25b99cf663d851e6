"""What a client may put on a socket's wire, where the library lets more pass (RFC 6455, RFC 7692).

`Wire` stands between a connection and aiohttp's reader and looks at the heads of frames only. What
must end the connection it replaces by a frame that the library refuses; the rest goes on untouched,
so a payload is never copied. `Socket` sees to it that whoever is sent away gets to know why.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from aiohttp import WSCloseCode, web

from server.live.frames import close

# Control frames a second, and how many may come at once; who pings more often gets fewer answers.
CONTROLS: Final = 10.0
CONTROLS_AT_ONCE: Final = 50.0
# Frames in one read from the network, some 256 KiB of them. More are dust: not a message among
# them, but each costs everybody time.
FRAMES_AT_ONCE: Final = 4_096
# Seconds from a message's first byte to its last. Who sends it in parts can be alive all that time
# and have a whole message's memory for it.
MESSAGE_TIME: Final = 120.0
# Seconds that somebody who is sent away has to stop sending.
LEAVE_TIME: Final = 1.5

_CONTINUATION: Final = 0x0
_CLOSE: Final = 0x8
_FIN: Final = 0x80
_RSV1: Final = 0x40
_MASKED: Final = 0x80
# All reserved bits at once: the library ends the connection with 1002 for it.
_REFUSED: Final = b"\xf0\x80"
# Whoever reads the socket wakes up and looks whether it `is_flooded`.
_WAKE: Final = b"\x89\x80\x00\x00\x00\x00"
# Codes that an endpoint may send; those from 3000 to 4999 belong to applications.
_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


# Bytes of a message that count against no allowance: everybody may say something short.
_SHORT: Final = 64 * 1024


class Allowance:
    """Bytes that many connections may together hold of what was sent to them."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> bool:
        """False if there are not so many left."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give(self, size: int) -> None:
        self.left += size


class Wire(asyncio.Protocol):
    """Receives in front of `inner`. `is_flooded`: nothing is taken in any more, send it away.
    `heard_at`: when the last byte of a message came (`time.monotonic`), not of a sign of life.
    `crowded` is called where that is so only because the `allowance` of all is used up just now.

    Whoever reads says with `handled` that it needs a message no longer, and with `release` that it
    needs nothing more.
    """

    __slots__ = (
        "_allowance",
        "_broken",
        "_budget",
        "_budget_at",
        "_gone",
        "_held",
        "_inner",
        "_open",
        "_rest",
        "_since",
        "_size",
        "_taken",
        "crowded",
        "heard_at",
        "is_flooded",
    )

    def __init__(self, inner: asyncio.Protocol, allowance: Allowance | None = None) -> None:
        self.is_flooded = False
        self.heard_at = time.monotonic()
        self.crowded: Callable[[], None] = lambda: None
        self._allowance = allowance
        self._size = 0  # bytes of the present message so far
        self._taken: deque[int] = deque([0])  # of the allowance, for each message; the present last
        self._inner = inner
        self._held = b""  # the head of a frame of which the rest has not come
        self._rest = 0  # bytes of the present frame's payload that are to come
        self._open = False  # a message has begun in a frame that is not its last
        self._since: float | None = None  # when the message that has not ended yet began
        self._budget = CONTROLS_AT_ONCE
        self._budget_at = 0.0
        self._broken = False
        self._gone: asyncio.Future[None] | None = None

    async def linger(self, transport: asyncio.Transport, farewell: bytes) -> None:
        """Say `farewell` and hear nothing more; returns when the peer has gone, or has to.

        Were the connection just closed while bytes of it arrive, the kernel would take back what
        was said.
        """
        self._broken = True
        self._gone = asyncio.get_running_loop().create_future()
        transport.write(farewell)
        transport.write_eof()
        transport.resume_reading()
        try:
            async with asyncio.timeout(LEAVE_TIME):
                await self._gone
        except TimeoutError:
            transport.abort()

    def handled(self) -> None:
        """A message was done with, the oldest of those that came."""
        if self._allowance is not None and len(self._taken) > 1:
            self._allowance.give(self._taken.popleft())

    def release(self) -> None:
        """Nothing will be done with what else came."""
        if self._allowance is not None:
            self._broken = True
            self._allowance.give(sum(self._taken))
            self._taken = deque([0])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        if self._held:
            data, self._held = self._held + data, b""
        size = len(data)
        at = min(self._rest, size)
        if at and not self._hold(at):
            return
        self._rest -= at
        if at and not self._rest and not self._open:
            self._is_whole()
        passed: list[bytes] = []  # what goes on, where something between it does not
        start = 0  # of what goes on next
        frames = 0
        while at < size:
            head = self._head(data, at)
            if head is None:
                self._held = data[at:]
                size = at
                break
            first, length, begin = head
            frames += 1
            if begin < 0 or not self._is_in_order(first, length):
                self._give_up(data[start:at], passed, _REFUSED)
                return
            if frames > FRAMES_AT_ONCE or self._takes_too_long():
                self.is_flooded = True
                self._give_up(data[start:at], passed, _WAKE)
                return
            end = begin + length
            if not first & 0x8 and not self._hold(min(end, size) - begin):
                return
            if first & 0x8:
                # Short and told from its content; nothing of it goes on before it is here.
                if end > size:
                    self._held = data[at:]
                    size = at
                    break
                if first & 0xF == _CLOSE and not _is_close(data[begin - 4 : end]):
                    self._give_up(data[start:at], passed, _REFUSED)
                    return
                if first & 0xF != _CLOSE and not self._afford():
                    passed.append(data[start:at])
                    start = end
            elif end > size:
                self._rest = end - size
                if self._since is None:
                    self._since = time.monotonic()
            at = min(end, size)
            if not first & 0x8:
                self._note(first)
        if passed:
            passed.append(data[start:size])
            data = b"".join(passed)
        elif start or size < len(data):
            data = data[start:size]
        if data:
            self._inner.data_received(data)

    # Internal

    @staticmethod
    def _head(data: bytes, at: int) -> tuple[int, int, int] | None:
        """First byte, length, and where the payload begins (-1: not masked); None: not all here."""
        here = len(data) - at
        if here < 2:
            return None
        second = data[at + 1]
        if not second & _MASKED:
            return data[at], 0, -1
        length = second & 0x7F
        more = 2 if length == 126 else 8 if length == 127 else 0
        begin = at + 2 + more
        if here < 6 + more:
            return None
        if more:
            length = int.from_bytes(data[at + 2 : begin])
        return data[at], length, begin + 4

    def _is_in_order(self, first: int, length: int) -> bool:
        """Whether a frame may come now; what the library refuses by itself may be let pass."""
        if first & 0x8:
            return not first & _RSV1 and length <= 125
        return not self._open or first & 0xF == _CONTINUATION

    def _note(self, first: int) -> None:
        """A frame of a message has begun."""
        self._open = not first & _FIN
        if self._open:
            if self._since is None:
                self._since = time.monotonic()
        elif not self._rest:
            self._is_whole()

    def _hold(self, size: int) -> bool:
        """So many bytes more of a message are here; False if they may not be kept."""
        self.heard_at = time.monotonic()
        if self._allowance is None:
            return True
        self._size += size
        more = max(0, self._size - _SHORT) - self._taken[-1]
        if self._allowance.take(more):
            self._taken[-1] += more
            return True
        # In the middle of a message there is no waking up of who reads.
        self._broken = True
        self.crowded()
        return False

    def _is_whole(self) -> None:
        """The last byte of a message is here."""
        self._since = None
        self._size = 0
        if self._allowance is not None:
            self._taken.append(0)

    def _takes_too_long(self) -> bool:
        return self._since is not None and time.monotonic() - self._since > MESSAGE_TIME

    def _afford(self) -> bool:
        now = time.monotonic()
        left = self._budget + (now - self._budget_at) * CONTROLS
        self._budget = min(CONTROLS_AT_ONCE, left)
        self._budget_at = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def _give_up(self, data: bytes, passed: list[bytes], last: bytes) -> None:
        self._broken = True
        self._inner.data_received(b"".join([*passed, data, last]))


def _is_close(frame: bytes) -> bool:
    """Whether the payload of a close (behind its four bytes of mask) has a code that may be."""
    if len(frame) < 6:
        return len(frame) == 4
    code = (frame[4] ^ frame[0]) << 8 | (frame[5] ^ frame[1])
    return code in _CODES or 3000 <= code <= 4999


class Socket(web.WebSocketResponse):
    """aiohttp's, which tells its peer the right code when it ends for what the peer has sent."""

    def __init__(self, message_limit: int, allowance: Allowance | None = None) -> None:
        """`message_limit`: bytes of a message, inflated, beyond which it ends (1009).

        With an `allowance` permessage-deflate is declined: what is counted is what comes, and a
        few kilobytes of that could be inflated to a whole message's memory.
        """
        super().__init__(autoping=False, max_msg_size=message_limit, compress=allowance is None)
        self._allowance = allowance
        # Called before the last frame; nobody may write to the transport from then on.
        self.leaves: Callable[[], None] = lambda: None
        self._wire: Wire | None = None

    async def open(self, request: web.Request) -> Wire | None:
        """Answer the handshake, with a `Wire` in front; None when the connection is gone.

        Raises aiohttp's HTTPBadRequest for a handshake that is none.
        """
        transport = request.transport
        if transport is None or not self.can_prepare(request):
            await self.prepare(request)  # says what is wrong with it
            return None
        # The library's own protocol is one for reading, whatever its base class says.
        wire = Wire(cast(asyncio.Protocol, request.protocol), self._allowance)
        # What came right behind the handshake waits there for the reader.
        early, request.protocol._message_tail = request.protocol._message_tail, b""
        transport.set_protocol(wire)
        if early:
            wire.data_received(early)
        await self.prepare(request)
        if request.transport is None:
            return None
        self._wire = wire
        return wire

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        # What cannot be inflated has no code of its own in the library.
        if code == WSCloseCode.OK and isinstance(self.exception(), zlib.error):
            code = WSCloseCode.INVALID_TEXT
        wire, request = self._wire, self._req
        transport = request.transport if request is not None else None
        is_fault = code not in (WSCloseCode.OK, WSCloseCode.GOING_AWAY)
        if is_fault and wire and transport and not self.closed and not transport.is_closing():
            self.leaves()
            await wire.linger(transport, close(code))
        return await super().close(code=code, message=message, drain=drain)
