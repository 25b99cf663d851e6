"""Large answers, sent in slices: whoever does not read one holds little of the node's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

# Bytes that are given to a connection at once; it takes the next ones when these are on their way.
SLICE: Final = 64 * 1024

Bytes = bytes | memoryview


class Parts(web.StreamResponse):
    """An answer made of `parts`, which others may be sent at the same time: they are not copied.

    `content_type` as for `web.Response`. The limits' middleware sends it.
    """

    def __init__(self, parts: Sequence[Bytes], *, content_type: str) -> None:
        super().__init__(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
        self.parts = parts
        self.content_length = sum(map(len, parts))


async def write(
    response: web.StreamResponse, data: Bytes, gets_on: Callable[[], None] = lambda: None
) -> None:
    """Slice by slice. Raises ConnectionResetError when whoever asked is gone."""
    view = memoryview(data)
    for at in range(0, len(view), SLICE):
        await response.write(view[at : at + SLICE])
        gets_on()


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
            await write(response, part, gets_on)
    # Of `web.Response`, this would be the whole body once more.
    await web.StreamResponse.write_eof(response)
