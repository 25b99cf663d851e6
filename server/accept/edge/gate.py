"""How many connections a node holds, and for how long those that ask nothing.

A connection that sends no request, or half of one, costs nobody anything but a place. Places are as
many as open files allow; when all are taken, whoever has been silent longest gives up theirs.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from server.accept.edge.content import HANDLER_ARGS
from server.accept.edge.headers import OF_ALL, OF_DATA
from server.document.messages import encode

log = logging.getLogger(__name__)

# Files that a node has open beside connections: Redis, listening sockets, spools, logs.
OTHER_FILES: Final = 200
MOST: Final = 1_000_000
# Seconds between two looks at those that are silent.
WATCH_INTERVAL: Final = 0.5
# Silent ones that give up their places at once: a flood comes in bursts.
PLACES: Final = 64
_NO_PLACE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
# Seconds of work that what came in one read may be, and bytes in one read of whoever sends what is
# more work than that: chunks of a byte each, say. Everybody begins with few bytes, and who sends
# what is little work soon has many read at once.
READ_TIME: Final = 0.002
LEAST_READ: Final = 1024
FIRST_READ: Final = 16 * 1024
MOST_READ: Final = 256 * 1024


class Gate:
    """Lets connections in. `patience`: seconds without a whole request until one is ended.

    `begins` and `ends` tell it of requests; a connection between two of them is silent too.
    """

    def __init__(self, patience: float, most: int = 0) -> None:
        """`most`: connections at the same time; 0: as many as open files allow."""
        self._patience = patience
        self._most = most or most_connections()
        # Since when they are silent, and what was unsent then; the longest silent come first.
        self._silent: dict[asyncio.BaseTransport, tuple[float, int]] = {}
        self._about = 0  # connections when they were counted last, and those that came since
        self.ended = 0  # connections that were ended for their silence
        self.refused = 0

    @property
    def silent(self) -> int:
        return len(self._silent)

    def begins(self, transport: asyncio.BaseTransport | None) -> None:
        if transport is not None:
            self._silent.pop(transport, None)

    def ends(self, transport: asyncio.BaseTransport | None) -> None:
        """Also of an answer on its way that gets on."""
        if transport is not None and not transport.is_closing():
            self._silent.pop(transport, None)
            self._silent[transport] = (asyncio.get_running_loop().time(), 0)

    async def listen(
        self, runner: web.AppRunner, host: str, port: int, *, backlog: int
    ) -> web.BaseSite:
        """Let connections in, and watch over them until the runner is cleaned up."""
        site = _Site(runner, self, host, port, backlog)
        await site.start()
        return site

    def admit(self, transport: asyncio.Transport, server: web.Server) -> bool:
        """Whether a newcomer has a place, if need be one that a silent connection leaves."""
        self._about += 1
        if self._about > self._most:
            self._about = len(server.connections) + 1
            if self._about > self._most and not self._make_places():
                self.refused += 1
                return False
        self._silent[transport] = (asyncio.get_running_loop().time(), 0)
        return True

    async def watch(self) -> None:
        """End what stays silent; for ever."""
        loop = asyncio.get_running_loop()
        told = 0
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            if self.refused > told:
                told = self.refused
                log.warning("all %d connections are taken; %d were refused", self._most, told)
            now = loop.time()
            for transport, (since, unsent) in list(self._silent.items()):
                if transport.is_closing():
                    self._silent.pop(transport, None)
                    continue
                if now - since <= self._patience:
                    continue
                # An answer on its way is no silence, as long as it gets on. Of one in slices `ends`
                # is told after each: with the next one as much may be unsent as was before.
                left = cast(asyncio.Transport, transport).get_write_buffer_size()
                if left and left != unsent:
                    self._silent.pop(transport)
                    self._silent[transport] = (now, left)
                else:
                    self._end(transport)

    # Internal

    def _make_places(self) -> bool:
        leaving = list(self._silent)[:PLACES]
        for transport in leaving:
            self._end(transport)
        return bool(leaving)

    def _end(self, transport: asyncio.BaseTransport) -> None:
        self._silent.pop(transport, None)
        self.ended += not transport.is_closing()
        cast(asyncio.Transport, transport).abort()


class _Site(web.BaseSite):
    """Where the runner's server listens, with the gate in front of it."""

    def __init__(
        self, runner: web.AppRunner, gate: Gate, host: str, port: int, backlog: int
    ) -> None:
        super().__init__(runner, backlog=backlog)
        self._gate = gate
        self._host = host
        self._port = port
        self._watch: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Newcomer(self._gate, server), self._host, self._port, backlog=self._backlog
        )
        self._watch = asyncio.create_task(self._gate.watch(), name="gate")

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super().stop()


class _Newcomer(asyncio.Protocol):
    """Decides on a connection once it is there, and then leaves it to the server's own protocol."""

    def __init__(self, gate: Gate, server: web.Server) -> None:
        self._gate = gate
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast(asyncio.Transport, transport)
        if self._gate.admit(connection, self._server):
            loop = asyncio.get_running_loop()
            protocol = _Handler(
                self._server, loop=loop, access_log=cast(logging.Logger, None), **HANDLER_ARGS
            )
            connection.set_protocol(protocol)
            read_at_once(connection, FIRST_READ)
            protocol.connection_made(connection)
        else:
            connection.write(_NO_PLACE)
            connection.close()


class _Handler(web.RequestHandler):
    """The library's, which would say back, and write down, what it did not understand."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, UnicodeError) and "Expect" in request.headers:
            return _unexpected()
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.debug("a request that cannot be understood: %s", type(exc).__name__)
        response = _refusal(HTTPStatus.BAD_REQUEST, "This is no request that HTTP allows.")
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPExpectationFailed):
            resp = _unexpected()
        return await super().finish_response(request, resp, start_time)

    def data_received(self, data: bytes) -> None:
        began = time.thread_time()
        super().data_received(data)
        fit_reads(self.transport, len(data), time.thread_time() - began)


def read_at_once(transport: asyncio.BaseTransport, size: int) -> None:
    """Read this many bytes at most before others have their turn."""
    if hasattr(transport, "max_size"):
        transport.max_size = size


def fit_reads(transport: asyncio.BaseTransport | None, size: int, took: float) -> None:
    """Read less at once where a read of this size was much work; more where one that was as large
    as may be was little. A single slow one, whyever it was, is made up for by those after it."""
    most = getattr(transport, "max_size", None)
    if transport is None or most is None:
        return
    if took > READ_TIME:
        read_at_once(transport, max(LEAST_READ, size // 8))
    elif took < READ_TIME / 4 and most <= size:
        read_at_once(transport, min(MOST_READ, 2 * most))


def _unexpected() -> web.Response:
    return _refusal(HTTPStatus.EXPECTATION_FAILED, "Expect 100-continue here, or nothing.")


def _refusal(status: HTTPStatus, detail: str) -> web.Response:
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": "bad_message",
        "retry": False,
    }
    return web.Response(
        status=status,
        body=encode(body),
        content_type="application/problem+json",
        headers=OF_ALL | {"Content-Security-Policy": OF_DATA, "Cache-Control": "no-store"},
    )


def most_connections() -> int:
    """As many as open files allow, less what a node has open itself."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(soft - min(OTHER_FILES, soft // 4), 1)
