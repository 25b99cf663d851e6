"""Saying something in a room: on a socket, by JSON, and by the form of a page without scripts."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

import msgspec
from aiohttp import web

from server.accept.edge.access import speaking
from server.accept.edge.bodies import parse_json, small_body
from server.accept.edge.guard import Buckets, canonical_uuid, room_of, site_of
from server.accept.edge.limits import asker_of
from server.accept.names import clean_body, clean_color, clean_name
from server.document.messages import Person, Said, encode
from server.errors import BadMessage, BlankMessage, Conflict, RateLimited, Refused, TooLarge
from server.fanout.backend import LOBBY, Backend, Change, Snapshot
from server.live.keeper import Keeper
from server.live.talk import Render, said_of, told
from server.live.work import Work
from server.settings import Settings

CHARACTERS: Final = 4_000
# Messages a second, and how many may come at once: nobody types faster.
RATE: Final = 5.0
BURST: Final = 10.0
# Bytes of a request: a message of four bytes a character, each of them escaped, and a name.
BODY_LIMIT: Final = 64 * 1024

# The name that was last given in a form of this site, for the next one; no key begins so.
NAME_COOKIE: Final = "tablecast_name"
NAME_LIFE: Final = 365 * 24 * 3600  # seconds


def given_name(request: web.Request) -> str:
    """The name that whoever asks gave in a form before; empty if they gave none."""
    kept = request.cookies.get(NAME_COOKIE, "")
    return clean_name(unquote(kept)) if kept else ""


async def say(
    backend: Backend,
    room: str,
    *,
    id: str,
    body: str,
    person: Person,
    known: Snapshot | None = None,
    leave: Callable[[], None] = lambda: None,
) -> Change:
    """Say `body` to everyone in `room`; `again` in the change if `id` was said before.

    `known` is what this node has of the room, which saves asking the backend. `leave` is asked for
    where this begins a room; it raises why there is none. Raises `BadMessage`, `BlankMessage`,
    `TooLarge`, `RoomDeleted`, `Conflict`, `Unavailable`.
    """
    if canonical_uuid(id) != id:
        raise BadMessage("The id of a message must be a UUID in lower case, with dashes.")
    if len(body) > CHARACTERS:
        raise TooLarge(
            f"This message has {len(body):,} characters; at most {CHARACTERS:,} are allowed.",
            what="message",
            limit=CHARACTERS,
        )
    body = clean_body(body)
    if not body:
        raise BlankMessage("There is nothing to be seen in this message. Write something.")
    message = {
        "id": id,
        "name": person.name,
        "color": person.color,
        "time": backend.now_ms(),
        "body": body,
    }
    if known is not None and known.epoch:
        with contextlib.suppress(Conflict, Refused):
            return await _append(backend, room, message, known)
    known = await backend.snapshot(room)
    if not known.epoch and room != LOBBY:
        leave()
    return await _append(backend, room, message, known)


async def _append(
    backend: Backend, room: str, message: Mapping[str, Any], snapshot: Snapshot
) -> Change:
    leave = speaking(snapshot)
    change = await backend.append(
        room, chat=message, expect=leave.expect, request=f"chat-{message['id']}"
    )
    backend.counts.chat_messages += not change.again
    return change


async def said_before(backend: Backend, room: str, change: Change, render: Render) -> Said:
    """The message as the others know it, of which `change` says that it was said before."""
    wanted = (change.chat or {}).get("id")
    kept = (await backend.snapshot(room)).chat
    known = next((each for each in kept if each.get("id") == wanted), change.chat or {})
    return said_of(known, render)


class Words(msgspec.Struct):
    body: str
    name: str = ""
    color: int | None = None
    id: str | None = None


class ChatDoor:
    """`GET` and `POST /api/rooms/{uuid}/chat`."""

    def __init__(
        self,
        backend: Backend,
        keeper: Keeper,
        render: Render,
        settings: Settings,
        work: Work,
        leave: Callable[[], None],
    ) -> None:
        """`leave` is asked for before a message begins a room; it raises why there is none."""
        self._backend = backend
        self._keeper = keeper
        self._render = render
        self._settings = settings
        self._work = work
        self._leave = leave
        self._buckets = Buckets(RATE, BURST)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The last messages, the oldest first, as in the message `chat`."""
        room = room_of(request)
        snapshot = await self._backend.snapshot(room)
        await self._keeper.use(room, snapshot.registers)
        async with self._work.piece():
            messages = await told(snapshot.chat, self._render)
            return _json({"epoch": snapshot.epoch, "rev": snapshot.rev, "messages": messages})

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Say something; a form is answered with the way back to the page."""
        room = room_of(request)
        # Whoever asks from the machine itself can flood a room as well.
        if not self._buckets.take(asker_of(request, self._settings) or "here"):
            raise RateLimited(
                f"That was too fast: at most {RATE:g} messages a second can be said from here."
            )
        words, is_form = await self._words(request)
        person = Person(id="", name=clean_name(words.name), color=clean_color(words.color, 0))
        id = words.id if words.id is not None else str(uuid.uuid4())
        known = await self._backend.snapshot(room)
        change = await say(
            self._backend,
            room,
            id=id,
            body=words.body,
            person=person,
            known=known,
            leave=self._leave,
        )
        await self._keeper.use(room, known.registers)
        if is_form:
            raise self._back_to(request, f"/t/{room}#m{id}", words.name)
        if change.again:
            said = await said_before(self._backend, room, change, self._render)
            return _json(said)
        return _json(said_of(change.chat or {}, self._render), status=201)

    # Internal

    def _back_to(self, request: web.Request, place: str, name: str) -> web.HTTPSeeOther:
        """To the message that was said; the form there knows the name that was given here."""
        answer = web.HTTPSeeOther(place)
        if name.strip():
            answer.set_cookie(
                NAME_COOKIE,
                quote(clean_name(name)),
                max_age=NAME_LIFE,
                path="/",
                secure=site_of(request, self._settings.trusted_proxies).scheme == "https",
                httponly=True,
                samesite="Lax",
            )
        return answer

    @staticmethod
    async def _words(request: web.Request) -> tuple[Words, bool]:
        """What is to be said, and whether a form says it."""
        body = await small_body(request, BODY_LIMIT)
        is_form = request.content_type == "application/x-www-form-urlencoded"
        # curl calls whatever it posts a form; in one that really is, a brace is written as %7B.
        if not is_form or body.lstrip().startswith(b"{"):
            return parse_json(body, Words, '{"body": "Hello"}'), False
        if body.count(b"&") > 20:
            raise BadMessage("This form has more fields than it should.")
        fields = dict(parse_qsl(body.decode("utf-8", "replace")))
        return Words(body=fields.get("body", ""), name=fields.get("name", "")), True


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=encode(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
