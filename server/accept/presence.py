"""Who is in a room, for programs that ask once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from server.accept.edge.guard import room_of
from server.accept.view import Rooms
from server.document.messages import encode
from server.fanout.backend import Backend
from server.live.people import People


class PresenceDoor:
    """`GET /api/rooms/{uuid}/presence`."""

    def __init__(self, backend: Backend, rooms: Rooms) -> None:
        self._backend = backend
        self._rooms = rooms

    async def get(self, request: web.Request) -> web.StreamResponse:
        """As in the message `here`, by what all nodes said of their viewers last."""
        room = room_of(request)
        view, here = await asyncio.gather(self._rooms.view(room), self._backend.who(room))
        people = People({}, "")
        people.take(here)
        told: dict[str, Any] = msgspec.to_builtins(people.message(view.document, view.page))
        del told["type"]
        return web.Response(
            body=encode(told),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )
