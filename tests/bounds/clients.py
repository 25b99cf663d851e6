"""Viewers and programs that do what no good one does, in the fewest of our own cycles."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench.wire import BINARY, PING, TEXT, dial, frame_head, handshake

PATIENCE: Final = 30.0
# Bytes that the kernel may keep for whoever does not read.
LITTLE: Final = 4096


def stalled(port: int, room: str, *, deflate: bool = True) -> socket.socket:
    """A viewer who was let in and is not going to read."""
    sock = dial(port, receive_buffer=LITTLE)
    sock.settimeout(PATIENCE)
    sock.sendall(handshake(port, f"/ws/{room}", deflate=deflate))
    if not sock.recv(1024).startswith(b"HTTP/1.1 101"):
        raise ConnectionError("a viewer was refused")
    sock.setblocking(False)
    return sock


def said(kind: str, **fields: Any) -> bytes:
    """A message as its frame."""
    payload = json.dumps({"type": kind, **fields}).encode()
    return frame_head(TEXT, len(payload)) + payload


def frame(opcode: int, payload: bytes) -> bytes:
    return frame_head(opcode, len(payload)) + payload


FLOODS: Final[dict[str, Callable[[], bytes]]] = {
    "chat": lambda: said("chat", id=str(uuid.uuid4()), body="x" * 4_000),
    "points": lambda: said("point", row=1),
    "page turns": lambda: said("page", page_no=3),
    "looks at pages": lambda: said("peek", page_no=5),
    "names": lambda: said("me", name="n" * 40, color=3),
    "syncs": lambda: said("sync", epoch="", rev=0),
    "heartbeats": lambda: said("heartbeat"),
    "corrections": lambda: said("dialect", delimiter=","),
    "uploads": lambda: said("upload", name="t.tsv", size=None),
    "keys": lambda: said("key", key="k" * 43),
    "pings": lambda: frame(PING, b"p" * 100),
    "long words": lambda: frame(TEXT, b'{"type": "' + b"j" * 60_000 + b'"}'),
    "empty words": lambda: frame(TEXT, b""),
    "bytes": lambda: frame(BINARY, bytes(200_000)),
}


class Flood:
    """`count` viewers of a room who say the same again and again; every other one reads.

    Whoever is sent away comes back.
    """

    def __init__(self, port: int, room: str, count: int, words: bytes) -> None:
        self._port = port
        self._room = room
        self._words = words
        self._members = [(self._come(), bytearray()) for _ in range(count)]
        self.sent = 0
        self.sent_away = 0

    def go_on(self, seconds: float) -> None:
        """Say as much as is taken."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            busy = 0
            for number, (sock, rest) in enumerate(self._members):
                try:
                    busy += self._say(sock, rest, reads=number % 2 == 0)
                except OSError:
                    sock.close()
                    self.sent_away += 1
                    self._members[number] = self._come(), bytearray()
            if not busy:
                time.sleep(0.002)

    def leave(self) -> None:
        for sock, _ in self._members:
            sock.close()

    def _come(self) -> socket.socket:
        return stalled(self._port, self._room)

    def _say(self, sock: socket.socket, rest: bytearray, *, reads: bool) -> int:
        if reads:
            with contextlib.suppress(BlockingIOError):
                if not sock.recv(1 << 16):
                    raise ConnectionResetError
        if not rest:
            rest += self._words * max(1, 16_000 // len(self._words))
        try:
            count = sock.send(rest)
        except BlockingIOError:
            return 0
        del rest[:count]
        self.sent += count
        return count


class Upload:
    """A `PUT` of a file without end, sent in pieces."""

    def __init__(self, port: int, room: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.sendall(
            f"PUT /api/rooms/{room}/document?name=slow.tsv HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )

    def send(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> bytes:
        """There is no more of it: the head of the answer."""
        self.socket.sendall(b"0\r\n\r\n")
        return self.socket.recv(1024).partition(b"\r\n\r\n")[0]

    def is_over(self) -> bool:
        """Whether an answer came."""
        self.socket.setblocking(False)
        try:
            return len(self.socket.recv(1, socket.MSG_PEEK)) >= 0
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def close(self) -> None:
        self.socket.close()


def heavy(rows: int, *, columns: int = 12) -> bytes:
    """A table whose pages cannot be deflated to much less than half."""
    import random

    dice = random.Random(1)
    lines = ["\t".join(f"column {number}" for number in range(columns))]
    lines += ("\t".join(f"{dice.getrandbits(256):x}" for _ in range(columns)) for _ in range(rows))
    return "\n".join([*lines, ""]).encode()


def close_all(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
