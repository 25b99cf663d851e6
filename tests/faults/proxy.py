"""A TCP proxy that does harm on demand: between a node and Redis, or a viewer and a node.

    async with FaultProxy(redis.port, resp=True) as proxy:
        proxy.stall()     # all stays open, nothing passes
        proxy.lose()      # the next published change never arrives
        proxy.heal()

Each verb holds for the connections that stand and for those that come, until `heal`; `cut` and
`reset` end what stands, once. All verbs return at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Self

from tests.faults.resp import Splitter, pushed

PIECE = 64 * 1024  # bytes passed on at a time
# What a kernel may hold back here. Left alone it would take megabytes, which would pass for sent.
BUFFER = 64 * 1024
# A slow link passes this share of a second's bytes at a time, so that it is slow and not jerky.
BEAT = 0.05
# What a published message must contain to be a change, and not who is here or where they point.
CHANGES = b'"rev":'


class Kind(Enum):
    """What a client of Redis uses a connection for; viewers' connections are all NORMAL."""

    NORMAL = "normal"
    PUBSUB = "pubsub"


class Fate(Enum):
    """What becomes of one published message."""

    LOST = "lost"
    TWICE = "twice"
    HELD = "held"


class FaultProxy:
    """Listens on a free port of loopback and passes all on to `port`.

    With `resp` what the server says is taken for Redis's protocol, so that single messages can be
    harmed. `to_client` is the way from the server to whoever connected, `to_server` the other.
    """

    def __init__(self, port: int, *, resp: bool = False) -> None:
        self.target = port
        self.port = 0
        self.resp = resp
        self.accepted = 0
        self.to_client = _Way()
        self.to_server = _Way()
        self._refusing = False
        self._fates: deque[Fate] = deque()
        self._holding = False
        self._held: list[tuple[_Pipe, bytes]] = []
        self._pipes: set[_Pipe] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=PIECE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        self.reset()
        while self._pipes:
            await asyncio.wait([pipe.task for pipe in self._pipes], timeout=1)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def open(self) -> int:
        """How many connections stand."""
        return len(self._pipes)

    # Verbs for connections

    def cut(self, *kinds: Kind) -> None:
        """End connections (of these kinds) in order, as a process does that exits."""
        for pipe in self._of(kinds):
            pipe.close()

    def reset(self, *kinds: Kind) -> None:
        """End connections (of these kinds) with a TCP reset."""
        for pipe in self._of(kinds):
            pipe.reset()

    def refuse(self) -> None:
        """Whoever connects from now on is cut at once."""
        self._refusing = True

    def stall(self, *, to_client: bool = True, to_server: bool = True) -> None:
        """All stays open and nothing passes: a cable that was pulled."""
        for way, stalled in ((self.to_client, to_client), (self.to_server, to_server)):
            if stalled:
                way.flowing.clear()

    def slow(self, *, rate: float = 0, latency: float = 0) -> None:
        """At most `rate` bytes a second each way (0: any), each piece `latency` seconds late."""
        for way in (self.to_client, self.to_server):
            way.rate, way.latency = rate, latency

    def heal(self) -> None:
        """No fault is in force any more; what stood and was not ended goes on. Held messages go."""
        self._refusing = False
        for way in (self.to_client, self.to_server):
            way.rate = way.latency = 0.0
            way.flowing.set()
        self._fates.clear()
        self.release()

    # Verbs for single published changes

    def lose(self, count: int = 1) -> None:
        """The next `count` changes never arrive."""
        self._fates.extend([Fate.LOST] * count)

    def duplicate(self, count: int = 1) -> None:
        """The next `count` changes arrive twice."""
        self._fates.extend([Fate.TWICE] * count)

    def hold(self) -> None:
        """Changes wait for `release`; all else passes them."""
        self._holding = True

    @property
    def held(self) -> int:
        return len(self._held)

    def release(self, *, backwards: bool = False) -> None:
        """What was held arrives now, the newest first if `backwards`."""
        self._holding = False
        held, self._held = self._held, []
        for pipe, value in reversed(held) if backwards else held:
            pipe.say(value)

    # Internal

    def _of(self, kinds: Iterable[Kind]) -> list[_Pipe]:
        wanted = set(kinds) or set(Kind)
        return [pipe for pipe in self._pipes if pipe.kind in wanted]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        pipe = _Pipe(self, task, writer)
        self._pipes.add(pipe)
        try:
            if self._refusing:
                return
            with contextlib.suppress(OSError):
                await pipe.run(reader)
        finally:
            self._pipes.discard(pipe)
            pipe.reset()

    def _told(self, pipe: _Pipe, value: bytes) -> bytes:
        """What of a value from Redis passes now."""
        data = pushed(value)
        if data is None or CHANGES not in data:
            return value
        fate = self._fates.popleft() if self._fates else Fate.HELD if self._holding else None
        match fate:
            case Fate.LOST:
                return b""
            case Fate.TWICE:
                return value * 2
            case Fate.HELD:
                self._held.append((pipe, value))
                return b""
        return value


class _Way:
    """One direction of all connections."""

    def __init__(self) -> None:
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.rate = 0.0
        self.latency = 0.0

    @property
    def piece(self) -> int:
        return max(1, int(self.rate * BEAT)) if self.rate else PIECE

    async def pass_(self, size: int) -> None:
        """Wait as long as so many bytes take."""
        delay = self.latency + (size / self.rate if self.rate else 0)
        if delay:
            await asyncio.sleep(delay)
        await self.flowing.wait()


class _Pipe:
    """One connection through the proxy."""

    def __init__(
        self, proxy: FaultProxy, task: asyncio.Task[None], client: asyncio.StreamWriter
    ) -> None:
        self.task = task
        self.kind = Kind.NORMAL
        self._proxy = proxy
        self._client = client
        self._server: asyncio.StreamWriter | None = None

    async def run(self, reader: asyncio.StreamReader) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setblocking(False)
        try:
            target = ("127.0.0.1", self._proxy.target)
            await asyncio.get_running_loop().sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        answers, self._server = await asyncio.open_connection(sock=sock, limit=PIECE)
        both = [
            asyncio.create_task(self._to_server(reader, self._server)),
            asyncio.create_task(self._to_client(answers)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
            for task in both:
                if not task.cancelled():
                    task.exception()
        self.close()

    def say(self, value: bytes) -> None:
        """Write to the client; nothing happens if it is gone."""
        if not self._client.transport.is_closing():
            self._client.write(value)

    def close(self) -> None:
        for writer in (self._client, self._server):
            if writer is not None:
                writer.close()

    def reset(self) -> None:
        for writer in (self._client, self._server):
            if writer is not None and not writer.transport.is_closing():
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def _to_server(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        way = self._proxy.to_server
        while data := await self._read(reader, way):
            if self._proxy.resp and b"SUBSCRIBE" in data:
                self.kind = Kind.PUBSUB
            server.write(data)
            await server.drain()

    async def _to_client(self, answers: asyncio.StreamReader) -> None:
        way = self._proxy.to_client
        splitter = Splitter()
        while data := await self._read(answers, way):
            if self._proxy.resp:
                data = b"".join(self._proxy._told(self, value) for value in splitter.feed(data))
            self._client.write(data)
            await self._client.drain()

    @staticmethod
    async def _read(reader: asyncio.StreamReader, way: _Way) -> bytes:
        """The next piece, once it may pass; nothing is read while nothing may."""
        await way.flowing.wait()
        data = await reader.read(way.piece)
        await way.pass_(len(data))
        return data
