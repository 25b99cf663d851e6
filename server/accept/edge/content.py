"""The body of a request as its sender meant it: without its `Content-Encoding`, checked to its end.

The library would undo some encodings by itself, but takes a body that was cut off, or does not pass
its own check, for a whole one. So the server is started with `HANDLER_ARGS`, and reads bodies here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiohttp import web

from server.accept.edge.guard import readable
from server.document.streams import (
    Decompressor,
    Source,
    deflate_stream,
    gzip_stream,
    streams,
    zlib_stream,
    zstd_stream,
)
from server.errors import BadMessage, TablecastError, Unsupported

# For the library's `web.RequestHandler`.
HANDLER_ARGS: Final[dict[str, Any]] = {"auto_decompress": False}

_ENCODINGS: Final[dict[str, Callable[[], Decompressor]]] = {
    "gzip": gzip_stream,
    "x-gzip": gzip_stream,
    "zstd": zstd_stream,
    "deflate": zlib_stream,
}


class Content:
    """Reads the body of `request`. Raises `Unsupported` for an encoding that nobody here knows."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._encoding = _encoding_of(request)
        self._source = Source()
        self._pieces: Iterator[bytes] | None = None
        self._error: TablecastError | None = None

    async def readany(self) -> bytes:
        """The next bytes, b"" at the end; nothing is lost if the call is cancelled.

        Raises `BadMessage` where the connection gave none, `Damaged`, `TooLarge` (the memory that
        decoding takes).
        """
        if not self._encoding:
            return await self._read()
        if self._error is not None:
            raise self._error
        while True:
            # A few bytes may be many pieces, and nobody else would have a turn meanwhile.
            await asyncio.sleep(0)
            try:
                piece = next(self._begun(), None)
            except TablecastError as error:
                self._error = error
                raise
            if piece is None:
                return b""
            if piece:
                return piece
            if data := await self._read():
                self._source.put(data)
            else:
                self._source.ended = True

    # Internal

    async def _read(self) -> bytes:
        try:
            return await self._request.content.readany()
        except web.RequestPayloadError as error:
            raise BadMessage(f"The body of this request cannot be read: {error}.") from None

    def _begun(self) -> Iterator[bytes]:
        if self._pieces is None:
            self._pieces = self._decoded()
        return self._pieces

    def _decoded(self) -> Iterator[bytes]:
        yield from self._source.need(1)
        begin = _ENCODINGS[self._encoding]
        # Many send what is in .zip, without the two bytes before it that say so.
        first = self._source.peek(1)
        if self._encoding == "deflate" and first and first[0] & 0xF != 8:
            begin = deflate_stream
        yield from streams(self._source, begin, self._encoding)


def _encoding_of(request: web.Request) -> str:
    """Raises `Unsupported`."""
    told = ",".join(request.headers.getall("Content-Encoding", ()))
    names = [name.strip().lower() for name in told.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return ""
    if len(names) == 1 and names[0] in _ENCODINGS:
        return names[0]
    raise Unsupported(
        f"A body with Content-Encoding “{readable(', '.join(names)[:60])}” cannot be read here. "
        "Send it with one of gzip, zstd and deflate, or as it is."
    )
