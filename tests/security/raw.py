"""A connection on which a test says any bytes it likes, and hears what comes back."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import zlib
from typing import Self

PATIENCE = 10.0  # seconds; a loaded machine is slow, a fault is for ever

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    first: int | None = None,
    masked: bool = True,
    length: int | None = None,
    mask: bytes | None = None,
) -> bytes:
    """One frame. `first`: its first byte; `length`: what it says of itself, true or not."""
    length = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    head = bytes([FIN | opcode if first is None else first])
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", bit | 126, length)
    else:
        head += struct.pack("!BQ", bit | 127, length)
    if not masked:
        return head + payload
    mask = os.urandom(4) if mask is None else mask
    return head + mask + xor(payload, mask)


def xor(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    mask = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(size)


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def deflated(data: bytes) -> bytes:
    """As a message of permessage-deflate."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return body.removesuffix(b"\x00\x00\xff\xff")


class Raw:
    """One TCP connection to a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.answer = b""  # the head of the answer to the handshake
        self.heard: list[tuple[int, bytes]] = []  # frames, in order
        self._said_all = False

    @classmethod
    async def open(cls, port: int, address: str = "127.0.0.1") -> Self:
        async with asyncio.timeout(PATIENCE):
            return cls(*await asyncio.open_connection(address, port, limit=1 << 24))

    @property
    def port(self) -> int:
        """Of the other side."""
        port: int = self.writer.get_extra_info("peername")[1]
        return port

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reset()

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    def finish(self) -> None:
        """Say that nothing follows, and go on hearing."""
        self._said_all = True
        self.writer.write_eof()

    async def drained(self) -> None:
        """Wait until all was taken, or the other side is gone."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.drain()
        except ConnectionError:
            pass

    def ask_for_socket(
        self,
        room: str,
        early: bytes = b"",
        *,
        deflate: bool = False,
        path: str = "/ws/",
        head: str = "",
    ) -> None:
        """Send the handshake's request with further lines of `head`, and `early` right behind."""
        extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
        self.send(
            f"GET {path}{room} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}{head}\r\n".encode(),
            early,
        )

    async def shake_hands(
        self, room: str, *, deflate: bool = False, early: bytes = b"", path: str = "/ws/"
    ) -> None:
        """Become a socket; `early` is sent in the same write as the request."""
        self.ask_for_socket(room, early, deflate=deflate, path=path)
        async with asyncio.timeout(PATIENCE):
            self.answer = await self.reader.readuntil(b"\r\n\r\n")
        assert self.answer.startswith(b"HTTP/1.1 101 "), self.answer
        assert (b"permessage-deflate" in self.answer) == deflate

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and its payload as it came. Raises EOFError at the end."""
        async with asyncio.timeout(PATIENCE):
            first, length = await self.reader.readexactly(2)
            assert not length & 0x80, "servers never mask"
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            told = first & 0xF, await self.reader.readexactly(length)
        self.heard.append(told)
        return told

    async def hears(self, opcode: int, wanted: bytes = b"") -> bytes:
        """The payload of the next frame of this kind that holds `wanted`."""
        while True:
            kind, payload = await self.frame()
            if kind == opcode and wanted in payload:
                return payload

    async def code(self) -> int | None:
        """Read to the end; the code that the server closed with, None for none."""
        code = None
        try:
            while True:
                kind, payload = await self.frame()
                assert code is None, "nothing may follow a close"
                if kind == CLOSE:
                    (code,) = struct.unpack("!H", payload[:2])
                    # What a client has to do; the server need not wait any longer.
                    if not self._said_all:
                        self.send(frame(CLOSE, payload))
        except (EOFError, ConnectionError):
            return code

    async def all(self) -> bytes:
        """Everything until the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def reset(self) -> None:
        """Cut it with a RST, as a crashed program's system does."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
