"""One connection that looks at a room, as the fan-out sees it: a transport that must never wait."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from server.live.frames import Frame, close
from server.live.wording import Wording

# A viewer with more than this still unsent gets nothing new until it has drained: what it would
# get meanwhile is older than what it will get then.
HIGH_MARK: Final = 16 * 1024
# Left to itself the kernel grows a send buffer to megabytes, and a stalled viewer would look fine
# for that long.
SEND_BUFFER: Final = 128 * 1024
# A peer that vanished without a close is noticed by the kernel after this many seconds at least.
VANISHED_AFTER: Final = 30.0


class Viewer:
    """What the hub knows of one connection.

    `rev` of `epoch` is the last revision whose registers were written to it, `page` the serial
    number of the last rendering of the page that was, `chat` the revision up to which it was told
    what was said (-1: it needs all of that). `behind` means that it must be written a whole state,
    `ended` that it was asked to leave and nothing more may be written. All methods return at once,
    except `tell`, which only the viewer's own reader awaits.

    `name`, `color`, `role` and `browsing` (rows before the page that it looks at by itself, None:
    it follows the room's) are what the others see of it; call `LiveRoom.stir` after a change.
    `wording` is how it is told what happens (None: as docs/PROTOCOL.md says).
    """

    __slots__ = (
        "_drained",
        "_unsent",
        "behind",
        "browsing",
        "chat",
        "color",
        "deflate",
        "ended",
        "epoch",
        "id",
        "lagging",
        "name",
        "page",
        "progress_at",
        "rev",
        "role",
        "room",
        "seen_at",
        "transport",
        "wording",
    )

    def __init__(
        self,
        viewer_id: str,
        room: str,
        transport: asyncio.Transport,
        *,
        deflate: bool,
        now: float,
        wording: Wording | None = None,
    ) -> None:
        self.id = viewer_id
        self.room = room
        self.transport = transport
        self.deflate = deflate
        self.epoch = ""
        self.rev = -1
        self.page = -1
        self.chat = -1
        self.name = "Guest"
        self.color = 0
        self.role = "guest"
        self.browsing: int | None = None
        self.wording = wording
        self.behind = True
        self.lagging = False
        self.ended = False
        self.seen_at = now
        self.progress_at = now
        self._unsent = 0
        self._drained: asyncio.Future[None] | None = None

    def offer(self, frame: Frame, now: float) -> bool:
        """Write `frame` unless the viewer lags; False if it was not written."""
        transport = self.transport
        if self.lagging or self.ended or transport.is_closing():
            return False
        unsent = transport.get_write_buffer_size()
        if unsent >= HIGH_MARK:
            self.lagging = True
            self.progress_at = now
            self._unsent = unsent
            return False
        transport.write(frame.deflated if self.deflate else frame.plain)
        return True

    def offer_control(self, data: bytes) -> None:
        """Write a control frame, unless so much is unsent that it would only pile up."""
        transport = self.transport
        if not transport.is_closing() and transport.get_write_buffer_size() < HIGH_MARK:
            transport.write(data)

    async def tell(self, frame: Frame, lag: set[Viewer]) -> None:
        """Write an answer to this viewer alone, waiting while it lags (so it cannot pile up).

        `lag` is the hub's set of lagging viewers, whose sweep ends the wait or the connection.
        Raises ConnectionResetError when the connection is gone; says nothing once it was ended.
        """
        loop = asyncio.get_running_loop()
        while not self.offer(frame, loop.time()):
            if self.ended:
                return
            if self.transport.is_closing():
                raise ConnectionResetError("the viewer is gone")
            lag.add(self)
            if self._drained is None:
                self._drained = loop.create_future()
            await asyncio.shield(self._drained)

    def drained(self, now: float) -> bool:
        """For the sweep: whether everything was sent; notes when the last byte was."""
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent:
            self.progress_at = now
            self._unsent = unsent
        if unsent and not self.transport.is_closing():
            return False
        self.lagging = False
        self._wake()
        return True

    def end(self, farewell: Frame, code: int, now: float) -> None:
        """Say goodbye and ask to close, if the viewer takes bytes; else end as soon as it does."""
        if self.offer(farewell, now):
            self.transport.write(close(code))
        else:
            self.transport.close()
        self.ended = True
        self._wake()

    def abort(self) -> None:
        """End the connection now, dropping what is unsent."""
        self.transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None


def prepare_socket(transport: asyncio.Transport, stall_timeout: float) -> None:
    """Bound what the kernel holds for a viewer, and how long it believes in a silent one.

    To the kernel a viewer who takes nothing is as silent as one who is gone, so it waits for
    `stall_timeout` seconds too.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        patience = round(1000 * max(VANISHED_AFTER, stall_timeout))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
