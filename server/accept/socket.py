"""The room's own socket: what each message of docs/PROTOCOL.md does, and what is answered.

An answer waits while the viewer lags; nothing is queued for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import WSCloseCode, web
from msgspec import UNSET, UnsetType

from server.accept.chat import CHARACTERS
from server.accept.connection import Connection, serve, size_of
from server.accept.edge.access import Keyring, Role, keys_of, speaking
from server.accept.edge.guard import TokenBucket, room_of
from server.accept.edge.holder import Holder
from server.accept.files.correct import CORRECTING, Corrector
from server.accept.files.sending import Sender
from server.accept.files.uploads import Uploads
from server.accept.files.versions import SHOWING, show_version
from server.accept.meeting import POINTING, Meeting
from server.accept.names import NAME_CHARACTERS
from server.accept.turn import TURNING, turn_page
from server.document.messages import (
    CancelUpload,
    ClientMessage,
    Correct,
    EndUpload,
    Follow,
    Heartbeat,
    Hello,
    Key,
    Me,
    Peek,
    Point,
    RoleMessage,
    Say,
    ServerMessage,
    ShowVersion,
    StartUpload,
    Sync,
    TurnPage,
    decode,
    encode,
    error_message,
)
from server.errors import (
    BadMessage,
    NoUpload,
    RateLimited,
    TablecastError,
    TooLarge,
    Unavailable,
    UploadInProgress,
)
from server.fanout.backend import Backend, Snapshot
from server.fanout.tasks import end
from server.live.frames import encode_frame
from server.live.hub import Hub
from server.live.paging import page_offset
from server.live.reader import Reader
from server.live.room import LiveRoom
from server.live.talk import Render
from server.live.viewer import Viewer
from server.logs import about
from server.settings import Settings

log = logging.getLogger(__name__)

# Seconds that an answer waits for the state that explains it.
CATCH_UP_PATIENCE: Final = 2.0


class SocketDoor:
    """`GET /ws/{uuid}`."""

    def __init__(
        self,
        hub: Hub,
        backend: Backend,
        reader: Reader,
        uploads: Uploads,
        corrector: Corrector,
        settings: Settings,
        node: str,
        render: Render,
        leave: Callable[[], None],
    ) -> None:
        """`leave` is asked for before a message begins a room; it raises why there is none."""
        self._hub = hub
        self._backend = backend
        self._reader = reader
        self._uploads = uploads
        self._corrector = corrector
        self._settings = settings
        self._node = node
        self.render = render
        self.leave = leave

    async def handle(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        keys, settings = keys_of(request, room), self._settings
        # Up to this the sender gets an error that names the limit.
        hard_limit = 2 * max(settings.chunk_limit, settings.message_limit)

        def connect(viewer: Viewer, ws: web.WebSocketResponse) -> Session:
            return Session(self, viewer, ws, keys)

        return await serve(request, self._hub, room, connect, message_limit=hard_limit)

    # What a session uses

    @property
    def hub(self) -> Hub:
        return self._hub

    @property
    def backend(self) -> Backend:
        return self._backend

    @property
    def reader(self) -> Reader:
        return self._reader

    @property
    def uploads(self) -> Uploads:
        return self._uploads

    @property
    def corrector(self) -> Corrector:
        return self._corrector

    @property
    def settings(self) -> Settings:
        return self._settings

    def hello(self, viewer: Viewer, role: Role) -> Hello:
        settings = self._settings
        return Hello(
            viewer=viewer.id,
            node=self._node,
            uuid=viewer.room,
            role=role,
            limits={
                "document_bytes": settings.document_limit,
                "chunk_bytes": settings.chunk_limit,
                "window_bytes": settings.upload_window,
                "message_bytes": settings.message_limit,
                "cell_bytes": settings.cell_limit,
                "page_size": settings.page_size,
                "heartbeat_seconds": int(settings.heartbeat),
                "chat_characters": CHARACTERS,
                "name_characters": NAME_CHARACTERS,
            },
        )


class Session(Connection):
    """What one viewer does between hello and goodbye."""

    def __init__(
        self, door: SocketDoor, viewer: Viewer, ws: web.WebSocketResponse, keys: Keyring
    ) -> None:
        super().__init__(door.hub, viewer, ws)
        self._door = door
        self._live: LiveRoom | None = None
        self._meeting: Meeting | None = None
        self._holder = Holder(keys)
        self._sender = Sender(
            door.uploads,
            viewer.room,
            chunk_limit=door.settings.chunk_limit,
            tell=self._tell,
            refuse=lambda error: self._refuse(error, "upload"),
            catch_up=self._catch_up,
            heard_at=lambda: self.heard_at,
            guard=self._holder.changing("send files"),
        )
        self._correction: asyncio.Task[None] | None = None
        rate = door.settings.page_turns_per_second
        self._turns = TokenBucket(rate, 2 * rate)
        self._syncs = TokenBucket(1, 5)

    async def begin(self) -> None:
        role = await self._first_role()
        self._viewer.role = role.value
        await self._tell(self._door.hello(self._viewer, role))
        self._live = self._door.hub.enter(self._viewer)
        self._meeting = Meeting(
            self._door.backend,
            self._viewer,
            self._live,
            render=self._door.render,
            guard=self._holder.changing(POINTING),
            tell=self._tell,
            leave=self._door.leave,
        )

    async def heard(self) -> None:
        await self._tell_role()

    @property
    def is_unbearable(self) -> bool:
        return super().is_unbearable or self._holder.is_guessing

    async def close(self) -> None:
        if self._correction is not None:
            await end([self._correction])
        await self._sender.close()

    async def binary(self, data: bytes) -> None:
        await self._answer_errors(self._sender.chunk(data), "upload")

    async def text(self, text: str) -> None:
        limit = self._door.settings.message_limit
        size = size_of(text)
        if size > 2 * limit:
            await self.end(WSCloseCode.MESSAGE_TOO_BIG)
            return
        try:
            if size > limit:
                raise TooLarge(
                    f"This message has {size:,} bytes; at most {limit:,} are allowed.",
                    what="message",
                    limit=limit,
                )
            message = decode(text)
        except TablecastError as error:
            id = getattr(error, "id", None)
            await self._refuse(error, getattr(error, "about", None), UNSET if id is None else id)
            return
        about = str(message.__struct_config__.tag)
        id = message.id if isinstance(message, Say) else UNSET
        await self._answer_errors(self._handle(message), about, id)

    # Internal

    async def _answer_errors(
        self, job: Coroutine[Any, Any, None], about: str, id: str | UnsetType = UNSET
    ) -> None:
        try:
            await job
        except ConnectionResetError:
            raise
        except TablecastError as error:
            await self._refuse(error, about, id)
        else:
            self.errors = 0

    async def _handle(self, message: ClientMessage) -> None:
        match message:
            case TurnPage():
                await self._turn(message.page_no)
            case Peek():
                await self._peek(message.page_no)
            case Follow():
                self._among.browse(None)
            case Point():
                await self._among.point(message.row)
            case StartUpload():
                self._sender.by = self._among.person
                await self._sender.start(message)
            case EndUpload():
                await self._sender.end()
            case CancelUpload():
                await self._sender.cancel()
            case ShowVersion():
                self._limit_rate()
                guard = self._holder.changing(SHOWING)
                backend, room = self._door.backend, self._viewer.room
                await show_version(backend, room, message.version, guard, self._among.person)
            case Correct():
                self._correct(message)
            case Key():
                await self._take_key(message.key)
            case Me():
                self._among.introduce(message)
            case Say():
                await self._among.say(message)
            case Sync():
                self._sync(message)
            case Heartbeat():
                pass

    @property
    def _among(self) -> Meeting:
        """The viewer among the others; there is no message before it has entered the room."""
        assert self._meeting is not None
        return self._meeting

    async def _turn(self, page_no: int) -> None:
        self._limit_rate()
        guard = self._holder.changing(TURNING)
        backend, room = self._door.backend, self._viewer.room
        await turn_page(backend, room, page_no, self._known, guard, self._among.person)

    async def _peek(self, page_no: int) -> None:
        self._limit_rate()
        live = self._live
        assert live is not None
        speaking(live.snapshot())
        document, page = live.document, live.page
        size = page.size if page is not None else self._door.settings.page_size
        offset = page_offset(document, page_no, size)
        assert document is not None
        payload = await self._door.reader.page(self._viewer.room, document, offset, size, peek=True)
        await self._door.hub.tell(self._viewer, encode_frame(payload))
        self._among.browse(offset)

    def _limit_rate(self) -> None:
        if not self._turns.take():
            rate = self._door.settings.page_turns_per_second
            raise RateLimited(f"That was too fast: at most {rate:g} pages a second can be turned.")

    def _sync(self, message: Sync) -> None:
        live = self._live
        assert live is not None
        if not self._syncs.take():
            raise RateLimited("That was too fast: ask again in a second.")
        outdated = not live.loaded or (message.epoch, message.rev) != (live.epoch, live.rev)
        if outdated or message.chat_id not in (None, live.last_said):
            live.resend(self._viewer)

    def _correct(self, message: Correct) -> None:
        """Read the table in another way; a new cut takes its time, so pages turn meanwhile."""
        if self._correction is not None and not self._correction.done():
            raise UploadInProgress("Your last correction is still being made. Wait a moment.")
        self._correction = asyncio.create_task(self._make_correction(message), name="correction")

    async def _make_correction(self, message: Correct) -> None:
        with contextlib.suppress(ConnectionResetError):
            try:
                guard = self._holder.changing(CORRECTING)
                room, by = self._viewer.room, self._among.person
                await self._door.corrector.correct(room, message, guard, by)
            except TablecastError as error:
                await self._refuse(error, "dialect")
            except Exception:
                viewer = self._viewer
                log.exception("a correction failed", extra=about(viewer.room, viewer=viewer.id))

    async def _catch_up(self) -> None:
        """Wait until this viewer was told the room as it is now; not for long."""
        viewer = self._viewer
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(CATCH_UP_PATIENCE):
                now = await self._door.backend.snapshot(viewer.room)
                while True:
                    if viewer.rev >= now.rev and viewer.epoch in ("", now.epoch):
                        return
                    await asyncio.sleep(0.02)

    # Keys

    @property
    def _known(self) -> Snapshot | None:
        """The room as this node knows it."""
        live = self._live
        return live.snapshot() if live is not None and live.loaded else None

    async def _first_role(self) -> Role:
        """By the keys of the request, as far as that can be said now."""
        if not self._holder.has_keys:
            return Role.GUEST
        try:
            return self._holder.role(await self._door.backend.snapshot(self._viewer.room))
        except TablecastError:
            return Role.GUEST  # it is told later, with the room

    async def _take_key(self, key: str) -> None:
        room = await self._door.backend.snapshot(self._viewer.room)
        await self._give_role(self._holder.take(key, room))

    async def _tell_role(self) -> None:
        """Keys are revoked at any time; whoever has one hears of it by the next sign of life."""
        known = self._known if self._holder.has_keys else None
        role = None if known is None else self._holder.news(known)
        if role is not None:
            await self._give_role(role)

    async def _give_role(self, role: Role) -> None:
        self._viewer.role = role.value
        if self._live is not None:
            self._live.stir()
        await self._tell(RoleMessage(role=role))

    # Answers

    async def _tell(self, message: ServerMessage) -> None:
        await self._door.hub.tell(self._viewer, encode_frame(encode(message)))

    async def _refuse(
        self, error: TablecastError, about: str | None, id: str | UnsetType = UNSET
    ) -> None:
        is_careless = isinstance(error, BadMessage | TooLarge | NoUpload | RateLimited)
        self.errors = self.errors + 1 if is_careless else 0
        self._door.hub.counts.errors[error.code, "socket"] += 1
        await self._tell(error_message(error, about, id))
