"""Documents on their way in: by PUT, and in chunks over a viewer's socket."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterable
from typing import Any

import msgspec

from bench.wire import BINARY, TEXT, Viewer

PATIENCE = 120.0  # seconds for one upload


def put(port: int, room: str, pieces: Iterable[bytes], size: int) -> float:
    """PUT `pieces` of `size` bytes in all as the room's document; seconds until the answer."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        head = (
            f"PUT /api/rooms/{room}/document?name=bench.tsv HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Length: {size}\r\nConnection: close\r\n\r\n"
        )
        sock.sendall(head.encode())
        for piece in pieces:
            sock.sendall(piece)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the upload was refused: {answer[:500]!r}")
    return time.perf_counter() - started


def push(port: int, room: str, document: bytes) -> float:
    """Upload over a WebSocket as the browser does, within the node's window; seconds it took."""
    with Viewer(port, f"/ws/{room}", deflate=False) as viewer:
        limits = msgspec.convert(viewer.wait_for("hello")["limits"], dict[str, int])
        chunk, window = limits["chunk_bytes"], limits["window_bytes"]
        started = time.perf_counter()
        start = {"type": "upload", "name": "bench.tsv", "size": len(document)}
        viewer.send(TEXT, msgspec.json.encode(start))
        viewer.wait_for("ack")
        sent = received = 0
        while received < len(document):
            while sent < len(document) and sent - received + chunk <= window:
                viewer.send(BINARY, document[sent : sent + chunk])
                sent = min(len(document), sent + chunk)
            received = msgspec.convert(viewer.wait_for("ack")["received"], int)
        viewer.send(TEXT, b'{"type":"upload_end"}')
        while not viewer.wait_for("ack")["done"]:
            pass
        return time.perf_counter() - started


def registers(port: int, room: str) -> dict[str, Any]:
    """What the room's registers are now, by their names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/rooms/{room}", timeout=10) as answer:
        state: dict[str, Any] = msgspec.json.decode(answer.read())
    values: dict[str, Any] = state["set"]
    return values
