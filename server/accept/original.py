"""The doors of the two programs that Tablecast grew out of, for clients that speak as those did.

`/parser/ws` shows a table, `/chatsocket` is a chat. They lead into the same rooms as all others,
under the same limits and modes; only the words differ (`live/original.py`). Neither protocol has a
word for an error: whoever asks for what cannot be done is shown how things are.
"""

from __future__ import annotations

import math
import re
import uuid
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, web

from server.accept.chat import BURST, RATE, say
from server.accept.connection import Connection, serve, size_of
from server.accept.edge.access import NO_KEYS
from server.accept.edge.guard import TokenBucket, room_of
from server.accept.edge.wire import Allowance
from server.accept.files.upload import SENDING
from server.accept.files.uploads import Uploads
from server.accept.turn import TURNING, turn
from server.document.messages import Document, Person
from server.errors import (
    BadMessage,
    NoDocument,
    PageOutOfRange,
    PresentersOnly,
    RateLimited,
    Refused,
    RoomDeleted,
    TablecastError,
    TooLarge,
    UploadInProgress,
)
from server.fanout import changes, turns
from server.fanout.backend import LOBBY, Backend, Snapshot
from server.live.hub import Hub
from server.live.original import PAGE_SIZE, ChatWording, TableWording, offset_of
from server.live.paging import page_count
from server.live.reader import Reader
from server.live.room import LiveRoom
from server.live.viewer import Viewer
from server.settings import Settings

# Bytes of a file that comes as one message, and is buffered whole; as much again and the
# connection ends.
FILE_LIMIT: Final = 10 * 1024 * 1024
# Bytes of files that wait at one node at once, in all: what is buffered must not fill its memory.
FILES_AT_ONCE: Final = 256 * 1024 * 1024
# Bytes of it that are cut at a time, so that others get their turns in between.
STEP: Final = 256 * 1024
# Files have no names here. The ending says what they are meant to be.
FILE_NAME: Final = "table.tsv"
NAME: Final = "An original client"
# What nobody can know who speaks these protocols, however often it is tried.
UNLUCKY: Final = NoDocument | PageOutOfRange | PresentersOnly | RoomDeleted

_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_TURNING: Final = NO_KEYS.changing(TURNING)


class OriginalDoors:
    """`GET /parser/`, `/parser/share/{uuid}`, `/parser/ws`, `/parser/ws/{uuid}`, `/chatsocket`."""

    def __init__(
        self, hub: Hub, backend: Backend, reader: Reader, uploads: Uploads, settings: Settings
    ) -> None:
        self.hub = hub
        self.backend = backend
        self.uploads = uploads
        self.settings = settings
        # One of each, so that what is told is encoded once for all who are told.
        self.tables = TableWording(reader)
        self._chats = ChatWording()
        self._allowance = Allowance(FILES_AT_ONCE)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """To the page of a fresh room."""
        raise _found(str(uuid.uuid4()))

    async def share(self, request: web.Request) -> web.StreamResponse:
        """To the room's page."""
        raise _found(room_of(request))

    async def fresh_table(self, request: web.Request) -> web.StreamResponse:
        """A fresh room, whose UUID comes with its first table."""
        return await self._table(request, str(uuid.uuid4()))

    async def table(self, request: web.Request) -> web.StreamResponse:
        return await self._table(request, room_of(request))

    async def chat(self, request: web.Request) -> web.StreamResponse:
        def connect(viewer: Viewer, ws: web.WebSocketResponse) -> Chatter:
            return Chatter(self, viewer, ws)

        limit = self.settings.message_limit + 1
        return await serve(
            request, self.hub, LOBBY, connect, message_limit=limit, wording=self._chats
        )

    async def _table(self, request: web.Request, room: str) -> web.StreamResponse:
        def connect(viewer: Viewer, ws: web.WebSocketResponse) -> Onlooker:
            return Onlooker(self, viewer, ws)

        return await serve(
            request,
            self.hub,
            room,
            connect,
            message_limit=2 * FILE_LIMIT,
            wording=self.tables,
            allowance=self._allowance,
        )


class _Original(Connection):
    """What clients of both kinds have in common."""

    def __init__(self, doors: OriginalDoors, viewer: Viewer, ws: web.WebSocketResponse) -> None:
        super().__init__(doors.hub, viewer, ws)
        viewer.name = NAME
        self._doors = doors
        self._entered: LiveRoom | None = None

    async def begin(self) -> None:
        self._entered = self._doors.hub.enter(self._viewer)

    async def text(self, text: str) -> None:
        if size_of(text) > self._doors.settings.message_limit:
            await self.end(WSCloseCode.MESSAGE_TOO_BIG)
        else:
            await self._attempt(self.read(text))

    @abstractmethod
    async def read(self, text: str) -> None:
        """Do what it says. Raises `TablecastError`."""

    def refuse(self) -> None:
        """Something that the viewer sent came to nothing."""

    @property
    def _live(self) -> LiveRoom:
        """There is no message before the viewer has entered the room."""
        assert self._entered is not None
        return self._entered

    @property
    def _known(self) -> Snapshot | None:
        """The room as this node knows it."""
        return self._live.snapshot() if self._live.loaded else None

    @property
    def _person(self) -> Person:
        viewer = self._viewer
        return Person(id=viewer.id, name=viewer.name, color=viewer.color)

    async def _attempt(self, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except TablecastError as error:
            counts = isinstance(error, Refused | RateLimited)
            self.errors += counts and not isinstance(error, UNLUCKY)
            self._hub.counts.errors[error.code, "original"] += 1
            self.refuse()
        else:
            self.errors = 0


class Onlooker(_Original):
    """Somebody at a table: sends a page number to turn it, or a whole file to show another one."""

    def __init__(self, doors: OriginalDoors, viewer: Viewer, ws: web.WebSocketResponse) -> None:
        super().__init__(doors, viewer, ws)
        rate = doors.settings.page_turns_per_second
        self._turns = TokenBucket(rate, 2 * rate)
        # The room's revision after what this client changed last, as far as it matters here.
        self._made: float = 0

    async def binary(self, data: bytes) -> None:
        # What it sends meanwhile waits, unread.
        await self._attempt(self._upload(data))

    def refuse(self) -> None:
        self._live.resend(self._viewer)

    async def read(self, text: str) -> None:
        text = text.strip()
        if not _NUMBER.fullmatch(text):
            raise BadMessage(f"“{text[:40]}” is not a page number.")
        if not self._turns.take():
            raise RateLimited("That was too fast.")
        page_no = int(text)
        backend, room = self._doors.backend, self._viewer.room
        known = self._known
        if known is None or known.rev < self._made:
            # What this node knows is older than what this client was the cause of.
            known = await backend.snapshot(room)
        view = self._doors.tables.view(known.registers)
        if view is not None and view.offset == (page_no - 1) * PAGE_SIZE:
            # Nothing is to be turned, and nobody else to be told; but an answer is waited for.
            self._made = known.rev
            self._live.resend(self._viewer)
            return

        def change(snapshot: Snapshot) -> changes.Arguments:
            offset = _offset(snapshot, page_no)
            person = msgspec.to_builtins(self._person)
            return turns.turn_to(snapshot, offset, by=person, now_ms=backend.now_ms())

        self._made = await turn(backend, room, change, known, _TURNING)

    async def _upload(self, data: bytes) -> None:
        if len(data) > FILE_LIMIT:
            raise TooLarge(
                f"This file has {len(data):,} bytes; at most {FILE_LIMIT:,} are allowed here.",
                what="document",
                limit=FILE_LIMIT,
            )
        ingest = self._doors.uploads.open(
            self._viewer.room, name=FILE_NAME, size=len(data), by=self._person, guard=SENDING
        )
        # Of what comes of it the revision is not told.
        self._made = math.inf
        try:
            await ingest.begin()
            for start in range(0, len(data), STEP):
                await ingest.feed(data[start : start + STEP])
            await ingest.finish()
        finally:
            await ingest.abort()


class Chatter(_Original):
    """Somebody in the lobby's chat. What is not said is passed over in silence."""

    def __init__(self, doors: OriginalDoors, viewer: Viewer, ws: web.WebSocketResponse) -> None:
        super().__init__(doors, viewer, ws)
        self._chats = TokenBucket(RATE, BURST)

    async def binary(self, data: bytes) -> None:
        await self._attempt(self._misread())

    async def read(self, text: str) -> None:
        try:
            body = msgspec.json.decode(text, type=_Words).body
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadMessage(f'Send {{"body": "Hello"}}: {error}.') from None
        if not self._chats.take():
            raise RateLimited("That was too fast.")
        await say(
            self._doors.backend,
            LOBBY,
            id=str(uuid.uuid4()),
            body=body,
            person=self._person,
            known=self._known,
        )

    @staticmethod
    async def _misread() -> None:
        raise BadMessage("The chat takes text.")


class _Words(msgspec.Struct):
    body: str


def _offset(snapshot: Snapshot, page_no: int) -> int:
    """The rows before page `page_no`. Raises `NoDocument`, `UploadInProgress`, `PageOutOfRange`."""
    value = snapshot.registers.get("document")
    if value is None:
        raise NoDocument("This room has no table yet.")
    document = msgspec.convert(value, Document)
    if not document.complete:
        raise UploadInProgress("Another table is just arriving in this room.")
    if not 1 <= page_no <= page_count(document.records, PAGE_SIZE):
        raise PageOutOfRange(f"There is no page {page_no}.")
    return offset_of(document, page_no)


def _found(room: str) -> web.HTTPFound:
    # A fresh room is fresh only once.
    return web.HTTPFound(f"/t/{room}", headers={"Cache-Control": "no-store"})
