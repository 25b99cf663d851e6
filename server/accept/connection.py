"""One viewer's socket, whatever it speaks: reads its messages one by one; the hub does the rest.

What a viewer sends is handled in its own task and in order, so a viewer can only make itself wait.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from server.accept.edge.wire import Allowance, Socket, Wire
from server.live.frames import pong
from server.live.hub import Hub
from server.live.viewer import Viewer
from server.live.wording import Wording
from server.logs import about

log = logging.getLogger(__name__)

# Errors a viewer may cause in a row without anything sensible between them. A program that sends
# nothing else is not a viewer.
ERRORS_IN_A_ROW: Final = 100
# Messages handled before all others get their turn: many may wait, and few need any waiting.
AT_A_TIME: Final = 16
# Seconds for the peer to answer a close.
CLOSE_TIME: Final = 2.0


class Connection(ABC):
    """What one viewer does from its coming to its going. `errors` counts those in a row.

    Any of the methods may raise ConnectionResetError when the viewer is gone.
    """

    def __init__(self, hub: Hub, viewer: Viewer, ws: web.WebSocketResponse) -> None:
        self.errors = 0
        self._hub = hub
        self._viewer = viewer
        self._ws = ws
        self._wire: Wire | None = None  # while it is read

    # What a kind of viewer does

    @abstractmethod
    async def begin(self) -> None:
        """Greet the viewer and let it enter its room."""

    @abstractmethod
    async def text(self, text: str) -> None:
        """It sent this."""

    @abstractmethod
    async def binary(self, data: bytes) -> None:
        """It sent this."""

    async def heard(self) -> None:
        """It gave a sign of life, which may be a message that is handled next."""
        return

    @property
    def heard_at(self) -> float:
        """When the last byte of a message of it came (`time.monotonic`)."""
        return self._wire.heard_at if self._wire is not None else 0.0

    @property
    def is_unbearable(self) -> bool:
        """Whether it is to be sent away for what it sends."""
        return self.errors >= ERRORS_IN_A_ROW

    async def close(self) -> None:
        """End what the viewer leaves behind."""
        return

    # What all of them do

    async def run(self, wire: Wire) -> None:
        """Read until the viewer leaves."""
        self._wire = wire
        await self.begin()
        loop = asyncio.get_running_loop()
        for number in itertools.count(1):
            message = await self._ws.receive()
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
            self._viewer.seen_at = loop.time()
            if self._viewer.ended and message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue  # said before it heard that it shall leave
            await self.heard()
            if message.type is WSMsgType.PING:
                self._viewer.offer_control(pong(message.data))
            elif message.type is WSMsgType.PONG:
                continue
            elif message.type is WSMsgType.TEXT:
                await self.text(message.data)
                wire.handled()
            elif message.type is WSMsgType.BINARY:
                await self.binary(message.data)
                wire.handled()
            else:
                return
            if self.is_unbearable or wire.is_flooded:
                await self.end(WSCloseCode.POLICY_VIOLATION)
                return

    async def end(self, code: WSCloseCode) -> None:
        """Close the connection in bounded time; nothing is written after the close frame."""
        self._hub.leave(self._viewer)
        try:
            async with asyncio.timeout(CLOSE_TIME):
                await self._ws.close(code=code)
        except (TimeoutError, ConnectionError):
            self._viewer.abort()


async def serve(
    request: web.Request,
    hub: Hub,
    room: str,
    connect: Callable[[Viewer, web.WebSocketResponse], Connection],
    *,
    message_limit: int,
    wording: Wording | None = None,
    allowance: Allowance | None = None,
) -> web.StreamResponse:
    """Be the door of a socket: whoever asks is a viewer of `room` until it leaves.

    `message_limit`: bytes of a message beyond which the connection ends (1009). A message is
    buffered whole, so it stays near the largest sensible one. `allowance`: for what all sockets of
    this kind buffer together; who would need more is sent away until later (1013). Raises
    `Draining`, `Full`.
    """
    hub.admit()
    ws = Socket(message_limit, allowance)
    wire = await ws.open(request)
    transport = request.transport
    if wire is None or transport is None:
        return ws
    viewer = hub.join(room, ws, transport, wording)

    def leaves() -> None:
        viewer.ended = True
        hub.leave(viewer)

    ws.leaves = leaves
    connection = connect(viewer, ws)
    leaving: list[asyncio.Task[None]] = []

    def crowded() -> None:
        job = connection.end(WSCloseCode.TRY_AGAIN_LATER)
        leaving.append(asyncio.create_task(job, name="try again later"))

    wire.crowded = crowded
    try:
        await connection.run(wire)
    except ConnectionResetError:
        pass  # the viewer left in the middle of an answer
    except Exception:
        # Nothing but frames may follow on this connection, so no error page either.
        hub.counts.errors["internal", "socket"] += 1
        log.exception("a viewer's connection failed", extra=about(room, viewer=viewer.id))
        await connection.end(WSCloseCode.INTERNAL_ERROR)
    finally:
        hub.leave(viewer)
        await connection.close()
        wire.release()
        if leaving:
            await asyncio.wait(leaving)
    return ws


def size_of(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
