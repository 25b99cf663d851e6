"""Redis's replies cut into whole values, whatever pieces the network makes of them (RESP2 and 3).

See https://redis.io/docs/latest/develop/reference/protocol-spec/ for the format.
"""

from __future__ import annotations

from collections.abc import Iterator

_LINES = b"+-:_#,("
_BULKS = b"$!="
_LISTS = b"*~>"
_PAIRS = b"%|"


class Splitter:
    """`feed` it with bytes as they come; it gives back those values that are whole by now."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        at = 0
        while (end := _end(self._buffer, at)) is not None:
            yield bytes(self._buffer[at:end])
            at = end
        del self._buffer[:at]


def pushed(value: bytes) -> bytes | None:
    """What a published message carries, if this value is one (`message`, `smessage`)."""
    if value[:1] not in (b"*", b">"):
        return None
    parts = value.split(b"\r\n", 6)
    if len(parts) < 7 or parts[0][1:] != b"3" or parts[2] not in (b"message", b"smessage"):
        return None
    return parts[6][:-2]


def _end(data: bytearray, at: int) -> int | None:
    """Where the value that begins at `at` ends; None if that has not come yet."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, after = data[at], line + 2
    if kind in _LINES:
        return after
    count = int(data[at + 1 : line])
    if kind in _BULKS:
        end = after + count + 2 if count >= 0 else after
        return end if end <= len(data) else None
    if kind not in _LISTS and kind not in _PAIRS:
        raise ValueError(f"no RESP: {bytes(data[at : at + 40])!r}")
    if kind in _PAIRS:
        count = 2 * count + (kind == ord("|"))  # attributes come before the value they are about
    end_of_part: int | None = after
    for _ in range(count):
        if end_of_part is None:
            return None
        end_of_part = _end(data, end_of_part)
    return end_of_part
