"""WebSocket frames that are built once and written to many.

A frame holds its bytes twice: plain, and with a payload deflated without any context. A message
that refers to nothing before itself is valid for every peer that agreed to permessage-deflate with
a 15-bit window, whether it keeps its own context or not (RFC 7692, 7.2.3.2), so one compression
serves all of them.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

# Below this deflate saves less than its own header and the client's call to inflate cost.
DEFLATE_FROM: Final = 256
# 6 is zlib's own default; a page is compressed once for everyone, so the better ratio is worth it.
DEFLATE_LEVEL: Final = 6
# Megabytes are compressed for speed: at level 6 the last viewer would wait for the compressor.
FAST_FROM: Final = 512 * 1024

FULL_WINDOW: Final = 15

_FIN_TEXT: Final = 0x81
_RSV1: Final = 0x40
_SYNC_TAIL: Final = b"\x00\x00\xff\xff"

PING: Final = b"\x89\x00"


@dataclass(frozen=True, slots=True)
class Frame:
    """Whole WebSocket messages, ready for a transport: `plain`, or `deflated` where agreed."""

    plain: bytes
    deflated: bytes


EMPTY: Final = Frame(b"", b"")


def encode_frame(payload: bytes) -> Frame:
    """One text message from server to client. `payload` is UTF-8."""
    plain = _header(_FIN_TEXT, len(payload)) + payload
    if len(payload) < DEFLATE_FROM:
        return Frame(plain, plain)
    level = DEFLATE_LEVEL if len(payload) < FAST_FROM else zlib.Z_BEST_SPEED
    deflater = zlib.compressobj(level, zlib.DEFLATED, -FULL_WINDOW)
    body = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    body = body.removesuffix(_SYNC_TAIL)
    return Frame(plain, _header(_FIN_TEXT | _RSV1, len(body)) + body)


def join(*frames: Frame) -> Frame:
    """Several messages as one write."""
    some = [frame for frame in frames if frame.plain]
    if len(some) == 1:
        return some[0]
    return Frame(
        b"".join(frame.plain for frame in some), b"".join(frame.deflated for frame in some)
    )


def pong(data: bytes) -> bytes:
    """The answer to a ping (at most 125 bytes, as the protocol allows)."""
    return _header(0x8A, len(data)) + data


def close(code: int) -> bytes:
    """Asks the peer to end the connection; after it nothing may be written."""
    return _header(0x88, 2) + struct.pack("!H", code)


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)
