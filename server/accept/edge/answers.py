"""Large answers, sent in slices: whoever does not read one holds little of the node's memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final

from aiohttp import web

from server.errors import TablecastError
from server.logs import about

log = logging.getLogger(__name__)

# Bytes that are given to a connection at once; it takes the next ones when these are on their way.
SLICE: Final = 64 * 1024
# Seconds that a reader of a download may take for a slice.
PATIENCE: Final = 60.0

Bytes = bytes | memoryview


class Parts(web.StreamResponse):
    """An answer made of `parts`, which others may be sent at the same time: they are not copied.

    `content_type` as for `web.Response`. The limits' middleware sends it.
    """

    def __init__(self, parts: Sequence[Bytes], *, content_type: str) -> None:
        super().__init__(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
        self.parts = parts
        self.content_length = sum(map(len, parts))


def _slices(data: Bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    return (view[at : at + SLICE] for at in range(0, len(view), SLICE))


async def download(
    request: web.Request,
    response: web.StreamResponse,
    parts: AsyncIterator[Bytes],
    *,
    room: str,
    document: str,
) -> web.StreamResponse:
    """Send `parts` as they come, to their end.

    Where they break off, or nobody takes them, the connection ends at once: an error page would be
    taken for a part of the file. The log names `room` and `document`. Raises ConnectionResetError.
    """
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        async for part in parts:
            for piece in _slices(part):
                async with asyncio.timeout(PATIENCE):
                    await response.write(piece)
    except TablecastError as error:
        log.warning("a download broke off", extra=about(room, document=document, code=error.code))
        _abort(request)
        raise ConnectionResetError("the rest cannot be read") from error
    except TimeoutError as error:
        log.info("nobody takes a download", extra=about(room, document=document))
        _abort(request)
        raise ConnectionResetError("nobody takes this") from error
    await response.write_eof()
    return response


async def chain(first: Bytes, others: AsyncIterator[Bytes]) -> AsyncIterator[Bytes]:
    yield first
    async for part in others:
        yield part


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def send(
    request: web.Request, response: web.StreamResponse, gets_on: Callable[[], None]
) -> None:
    """Send an answer now, if it is large and not sent yet; the library would copy it at once.

    `gets_on` is called whenever a slice was taken.
    """
    if isinstance(response, Parts):
        parts = response.parts
    elif isinstance(response, web.Response) and isinstance(response.body, bytes):
        parts = (response.body,)
        if len(response.body) <= SLICE:
            return
    else:
        return
    if response.prepared:
        return
    await response.prepare(request)
    if request.method != "HEAD":
        for part in parts:
            for piece in _slices(part):
                await response.write(piece)
                gets_on()
    # Of `web.Response`, this would be the whole body once more.
    await web.StreamResponse.write_eof(response)
