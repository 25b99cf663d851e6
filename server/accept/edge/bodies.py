"""Reading the whole body of a small request, however the network cuts it."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from server.accept.edge.content import Content
from server.errors import BadMessage, Damaged, TooLarge, Unsupported

T = TypeVar("T")

# Seconds without a byte before whoever sends something is given up.
IDLE_LIMIT: Final = 60.0


async def small_body(request: web.Request, limit: int) -> bytes:
    """All of it, at most `limit` bytes. Raises `TooLarge`, and `BadMessage` if it does not end."""
    body = bytearray()
    try:
        content = Content(request)
        async with asyncio.timeout(IDLE_LIMIT):
            while data := await content.readany():
                body += data
                if len(body) > limit:
                    raise TooLarge(
                        f"This request has more than {limit:,} bytes, the most allowed here.",
                        what="message",
                        limit=limit,
                    )
    except TimeoutError:
        raise BadMessage("The end of this request did not come.") from None
    except (Damaged, Unsupported) as error:
        raise BadMessage(error.message) from None
    return bytes(body)


async def json_body(request: web.Request, kind: type[T], example: str, limit: int) -> T:
    """The body as JSON of this `kind`; an `example` of it is told to whoever sends another one."""
    return parse_json(await small_body(request, limit), kind, example)


def parse_json(body: bytes, kind: type[T], example: str) -> T:
    """`body` as JSON of this `kind`, as in `json_body`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadMessage(f"Send {example} as JSON: {error}.") from None
    except RecursionError:
        raise BadMessage(f"Send {example} as JSON; this is nested too deeply.") from None
