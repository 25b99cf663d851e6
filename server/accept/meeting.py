"""What one viewer does among the others: its name, what it says, where it looks and points."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from server.accept.chat import BURST, RATE, said_before, say
from server.accept.edge.access import Guard, speaking
from server.accept.edge.guard import TokenBucket
from server.accept.names import clean_color, clean_name
from server.document.messages import (
    ChatMessage,
    Me,
    Person,
    PointMessage,
    Say,
    ServerMessage,
)
from server.errors import NoDocument, PageOutOfRange, RateLimited
from server.fanout.backend import Backend
from server.live.room import LiveRoom
from server.live.talk import Render
from server.live.viewer import Viewer

# What presenters do, and everyone while the room is open.
POINTING: Final = "show rows"


class Meeting:
    """Whoever calls it answers its errors. `guard` says whether the viewer may point.

    `tell` sends a message; it raises ConnectionResetError when the viewer is gone. `leave` is asked
    for before a message begins a room; it raises why there is none.
    """

    def __init__(
        self,
        backend: Backend,
        viewer: Viewer,
        live: LiveRoom,
        *,
        render: Render,
        guard: Guard,
        tell: Callable[[ServerMessage], Awaitable[None]],
        leave: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._viewer = viewer
        self._live = live
        self._render = render
        self._guard = guard
        self._tell = tell
        self._leave = leave
        self._names = TokenBucket(RATE, BURST)
        self._chats = TokenBucket(RATE, BURST)
        self._points = TokenBucket(RATE, BURST)

    @property
    def person(self) -> Person:
        """The viewer, as what it does is signed."""
        viewer = self._viewer
        return Person(id=viewer.id, name=viewer.name, color=viewer.color)

    def introduce(self, message: Me) -> None:
        if not self._names.take():
            raise RateLimited("That was too fast: a name cannot change so often.")
        viewer, before = self._viewer, self.person
        viewer.color = clean_color(message.color, viewer.color)
        viewer.name = clean_name(message.name)
        if before != self.person:
            self._live.stir()

    def browse(self, offset: int | None) -> None:
        """The viewer looks at the page after these rows by itself; None: it follows the room."""
        if self._viewer.browsing != offset:
            self._viewer.browsing = offset
            self._live.stir()

    async def say(self, message: Say) -> None:
        """Everyone gets it, the viewer too; what was said before is told to it alone."""
        if not self._chats.take():
            raise RateLimited(f"That was too fast: at most {RATE:g} messages a second can be said.")
        live, backend = self._live, self._backend
        change = await say(
            backend,
            live.uuid,
            id=message.id,
            body=message.body,
            person=self.person,
            known=live.snapshot() if live.loaded else None,
            leave=self._leave,
        )
        if change.again:
            said = live.talk.find(message.id)
            if said is None:
                said = await said_before(backend, live.uuid, change, self._render)
            await self._tell(
                ChatMessage(epoch=change.epoch, rev=said.rev, whole=False, messages=[said])
            )

    async def point(self, row: int | None) -> None:
        """Show everyone a row of the table; it has no revision and is kept nowhere."""
        if not self._points.take():
            raise RateLimited(f"That was too fast: at most {RATE:g} rows a second can be shown.")
        live, viewer = self._live, self._viewer
        # Whoever has pointed may take it back, whatever the mode is by now.
        (speaking if row is None else self._guard)(live.snapshot())
        document = live.document
        if document is None:
            raise NoDocument("This room has no table yet. Upload one first.")
        if row is not None and not 0 <= row <= document.rows:
            raise PageOutOfRange(f"There is no row {row}: the table has {document.rows:,} rows.")
        message = PointMessage(
            viewer=viewer.id, name=viewer.name, color=viewer.color, row=row, document=document.id
        )
        await self._backend.signal(live.uuid, msgspec.to_builtins(message))
