"""The doors of a room's owner: mode, presenter key, idle life, deletion, and the cookie for a key.

A room gets its owner when it is made, or never. The key is told once, in the answer that makes it.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Literal, NamedTuple

import msgspec
from aiohttp import web

from server.accept.edge.access import (
    Keyring,
    Role,
    bearer,
    cookie_name,
    hash_of,
    keys_of,
    new_key,
    wrong_key,
)
from server.accept.edge.bodies import json_body
from server.accept.edge.guard import room_of, site_of
from server.document.messages import encode
from server.errors import BadMessage, Conflict
from server.fanout import changes, ownership, versions
from server.fanout.backend import Backend, Snapshot
from server.settings import Settings

# Looks at a room that others change at the same time: what guests do without rest, the owner ends,
# and they must not be able to prevent that.
LOOKS: Final = 60
# Seconds between two of them at most. They meet nobody who would wait in turn.
PAUSE: Final = 0.05
# Bytes of a request that says what shall be.
REQUEST_LIMIT: Final = 1024
# Seconds; a shorter life could end while people wait for someone's next file.
SHORTEST_LIFE: Final = 60
COOKIE_LIFE: Final = 30 * 24 * 3600
# Cookies of rooms that one browser keeps: it sends all of them each time, and a request's headers
# may have some 8 KiB.
COOKIES_KEPT: Final = 40
_COOKIES: Final = cookie_name("")


class Mode(msgspec.Struct):
    mode: Literal["open", "presenting"]


class Life(msgspec.Struct):
    seconds: int


class Made(NamedTuple):
    room: str
    key: str

    @property
    def keys(self) -> Keyring:
        """What its maker holds."""
        return Keyring(named=hash_of(self.key))


class Founder:
    """Makes rooms for all doors that do, so many for each address."""

    def __init__(self, backend: Backend, leave: Callable[[], None]) -> None:
        """`leave` is asked for before a room is made; it raises why there is none."""
        self._backend = backend
        self._leave = leave

    async def make(self) -> Made:
        """A fresh room, and the key that makes its holder the owner.

        Raises `RateLimited`, `Unavailable`.
        """
        self._leave()
        made = Made(str(uuid.uuid4()), new_key())
        found = ownership.found(hash_of(made.key))
        # One request id for all tries of the library underneath: its guards would refuse the
        # second.
        await self._backend.append(made.room, request=uuid.uuid4().hex, **found)
        return made


def set_cookie(
    request: web.Request, response: web.StreamResponse, made: Made, settings: Settings
) -> None:
    """Let the browser that asks bring this key along from now on."""
    ours = [name for name in request.cookies if name.startswith(_COOKIES)]
    others = [name for name in ours if name != cookie_name(made.room)]
    # Browsers send the oldest first.
    for name in others[: max(0, len(others) + 1 - COOKIES_KEPT)]:
        response.del_cookie(name)
    response.set_cookie(
        cookie_name(made.room),
        made.key,
        max_age=COOKIE_LIFE,
        path="/",
        secure=site_of(request, settings.trusted_proxies).scheme == "https",
        httponly=True,
        samesite="Strict",
    )


class KeysDoor:
    """`PUT mode`, `POST` and `DELETE keys`, `PUT life`, `DELETE`, `POST` and `DELETE cookie`."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._settings = settings

    async def put_mode(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        mode = (await json_body(request, Mode, '{"mode": "presenting"}', REQUEST_LIMIT)).mode
        rev = await self._change(request, room, lambda snapshot: ownership.set_mode(snapshot, mode))
        return _json({"mode": mode, "rev": rev})

    async def post_keys(self, request: web.Request) -> web.StreamResponse:
        """A new presenter key; the one before is dead from now on."""
        room = room_of(request)
        key = new_key()
        await self._change(request, room, lambda snapshot: ownership.invite(snapshot, hash_of(key)))
        return _json({"key": key, "role": Role.PRESENTER.value}, HTTPStatus.CREATED)

    async def delete_keys(self, request: web.Request) -> web.StreamResponse:
        await self._change(
            request, room_of(request), lambda snapshot: ownership.invite(snapshot, "")
        )
        return _nothing()

    async def put_life(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        seconds = (await json_body(request, Life, '{"seconds": 3600}', REQUEST_LIMIT)).seconds
        longest = int(self._settings.room_life)
        if not SHORTEST_LIFE <= seconds <= longest:
            raise BadMessage(
                f"A room can live from {SHORTEST_LIFE:,} to {longest:,} seconds after its last use."
            )
        own = None if seconds == longest else seconds
        rev = await self._change(request, room, lambda snapshot: ownership.set_life(snapshot, own))
        return _json({"seconds": seconds, "rev": rev})

    async def delete_room(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        now_ms = self._backend.now_ms()
        await self._change(request, room, lambda snapshot: ownership.delete_room(snapshot, now_ms))
        response = _nothing()
        _clear_cookie(response, room)
        return response

    async def post_cookie(self, request: web.Request) -> web.StreamResponse:
        """The key in `Authorization` comes along in a cookie from now on, if it is one."""
        room, key = room_of(request), bearer(request)
        made = Made(room, key)
        if made.keys.role(await self._backend.snapshot(room)) is Role.GUEST:
            raise wrong_key()
        response = _nothing()
        set_cookie(request, response, made, self._settings)
        return response

    async def delete_cookie(self, request: web.Request) -> web.StreamResponse:
        response = _nothing()
        _clear_cookie(response, room_of(request))
        return response

    # Internal

    async def _change(
        self,
        request: web.Request,
        room: str,
        decide: Callable[[Snapshot], changes.Arguments | None],
    ) -> int:
        """Do what the owner wants, if it is the owner who asks; the room's revision then."""
        keys = keys_of(request, room)
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(random.uniform(0, min(0.01 * look, PAUSE)))
            snapshot = await self._backend.snapshot(room)
            leave = keys.owning(snapshot)
            change = decide(snapshot)
            rev = snapshot.rev
            if change is not None:
                change["expect"] |= leave.expect
                try:
                    rev = (await self._backend.append(room, **change)).rev
                except Conflict:
                    continue
            # The documents' lives follow the room's, which may be another one from now on.
            await self._backend.keep(room, versions.kept_documents(snapshot.registers))
            return rev
        raise Conflict("The room changes too quickly just now; nothing was changed. Try again.")


def _clear_cookie(response: web.StreamResponse, room: str) -> None:
    response.del_cookie(cookie_name(room), path="/")


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        status=status,
        body=encode(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _nothing() -> web.Response:
    return web.Response(status=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "no-store"})
