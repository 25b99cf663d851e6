"""The least of a WebSocket client (RFC 6455) that can measure: blocking, cheap, never inflating."""

from __future__ import annotations

import base64
import os
import socket
import struct
import time
from types import TracebackType
from typing import Self

import msgspec

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
# Neither Tablecast nor aiohttp asks for its ping's words in the answer.
PONG = b"\x8a\x80\0\0\0\0"
# A page is the only message of more bytes than this, deflated or not; states are far shorter.
PAGE_FROM = 2048
_PATIENCE = 30.0  # seconds
_READ = 256 * 1024


class Viewer:
    """One viewer. `deflate` asks for permessage-deflate in Chromium's words; none is inflated."""

    def __init__(self, port: int, path: str, *, deflate: bool = True) -> None:
        self.socket, self._buffer = connect(port, path, deflate=deflate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def turn(self, page_no: int) -> None:
        self.socket.sendall(turn_frame(page_no))

    def send(self, opcode: int, payload: bytes) -> None:
        self.socket.sendall(frame_head(opcode, len(payload)))
        self.socket.sendall(payload)

    def wait_for_page(self) -> float:
        """Read up to the next page message; returns when its last byte was here."""
        while True:
            opcode, payload = self.receive()
            if opcode == TEXT and len(payload) >= PAGE_FROM:
                return time.perf_counter()

    def wait_for(self, kind: str) -> dict[str, object]:
        """The next message of type `kind`; only without `deflate`. Raises on an `error`."""
        while True:
            opcode, payload = self.receive()
            if opcode != TEXT:
                continue
            message: dict[str, object] = msgspec.json.decode(payload)
            if message["type"] == kind:
                return message
            if message["type"] == "error":
                raise RuntimeError(f"the node refused: {message['message']}")

    def receive(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame. Raises when the peer closes or 30 s pass."""
        head = self._take(2)
        opcode, length = head[0] & 0x0F, head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        payload = self._take(length)
        if opcode == CLOSE:
            raise ConnectionError(f"the server closes: {payload!r}")
        if opcode == PING:
            self.socket.sendall(PONG)
        return opcode, payload

    def drain(self, quiet: float = 0.3) -> None:
        """Take in whatever comes until nothing has come for `quiet` seconds."""
        self.socket.settimeout(quiet)
        try:
            while data := self.socket.recv(_READ):
                self._buffer += data
        except TimeoutError:
            # Whatever had begun to arrive is here in whole, so the buffer ends with a frame.
            self._buffer.clear()
        finally:
            self.socket.settimeout(_PATIENCE)

    def _take(self, count: int) -> bytes:
        buffer = self._buffer
        while len(buffer) < count:
            data = self.socket.recv(_READ)
            if not data:
                raise ConnectionError("the server is gone")
            buffer += data
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken


def connect(port: int, path: str, *, deflate: bool) -> tuple[socket.socket, bytearray]:
    """An open WebSocket, and what came behind the handshake."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(handshake(port, path, deflate=deflate))
    answer = bytearray()
    while b"\r\n\r\n" not in answer:
        data = sock.recv(_READ)
        if not data:
            raise ConnectionError("the server is gone")
        answer += data
    return sock, welcomed(answer, deflate=deflate)


def dial(port: int, receive_buffer: int | None = None) -> socket.socket:
    """A connection that is about to be made, and does not block."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect_ex(("127.0.0.1", port))
    return sock


def handshake(port: int, path: str, *, deflate: bool) -> bytes:
    """What a client says first."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    ]
    if deflate:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    return "\r\n".join([*lines, "", ""]).encode()


def welcomed(answer: bytearray, *, deflate: bool) -> bytearray:
    """What came behind the server's answer. Raises ConnectionError if that is a refusal."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head.decode(errors="replace"))
    if deflate and b"permessage-deflate" not in head.lower():
        raise ConnectionError("the server does not deflate")
    return rest


def frame_head(opcode: int, length: int) -> bytes:
    """A client's header, masked with zeros: the server has all of its work, the client none."""
    if length < 126:
        return struct.pack("!BB4x", 0x80 | opcode, 0x80 | length)
    if length < 65536:
        return struct.pack("!BBH4x", 0x80 | opcode, 0x80 | 126, length)
    return struct.pack("!BBQ4x", 0x80 | opcode, 0x80 | 127, length)


def turn_frame(page_no: int) -> bytes:
    payload = b'{"type":"page","page_no":%d}' % page_no
    return frame_head(TEXT, len(payload)) + payload
