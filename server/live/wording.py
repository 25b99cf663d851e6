"""How viewers are told what happens in their room: one wording for each kind of client.

A room has an audience for each wording that somebody in it understands. What a wording has no
words for is `EMPTY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from server.document.dialect import Dialect
from server.document.messages import (
    Bye,
    ChatMessage,
    Document,
    ErrorMessage,
    HeartbeatMessage,
    HereMessage,
    Page,
    PointMessage,
    Said,
    ServerMessage,
    State,
    StatusMessage,
    encode,
)
from server.live.frames import Frame, encode_frame
from server.live.reader import Reader


@dataclass(frozen=True, slots=True)
class View:
    """`rows` rows of a document after its first `offset`, on a page of `size`.

    `besides`: whatever else makes it another one to look at.
    """

    document: Document
    offset: int
    size: int
    rows: int
    besides: tuple[object, ...] = ()

    @property
    def wanted(self) -> tuple[str, Dialect, int, int]:
        """Two views with the same one are the same page, perhaps with more rows by now."""
        return self.document.id, self.document.dialect, self.offset, self.size

    @property
    def key(self) -> tuple[object, ...]:
        """Two views with the same one show the same."""
        return *self.wanted, self.rows, self.document.complete, *self.besides


class Wording(Protocol):
    """Says what happens in the room `uuid`. All but `page` return at once."""

    def view(self, registers: Mapping[str, Any]) -> View | None:
        """What is to be shown of a room with these registers."""

    async def page(self, uuid: str, view: View, rev: int) -> bytes:
        """The message that shows it. Raises `TablecastError`."""

    def state(self, uuid: str, epoch: str, rev: int, set: dict[str, Any], whole: bool) -> Frame:
        """These registers have changed, or are all there are if `whole`."""

    def chat(self, epoch: str, messages: Sequence[Said], whole: bool) -> Frame:
        """This was said, or is all that was said lately if `whole`."""

    def here(self, message: HereMessage) -> Frame:
        """Who is in the room."""

    def point(self, message: PointMessage) -> Frame:
        """Somebody points at a row."""

    def status(self, degraded: bool) -> Frame:
        """Whether what is shown may be outdated."""

    def error(self, message: ErrorMessage) -> Frame:
        """Something cannot be shown."""

    def heartbeat(self, epoch: str, rev: int) -> Frame:
        """This was told last."""

    def bye(self, reason: str, again: bool) -> Frame:
        """The connection ends now; `again`: they shall come back."""


class OwnWording:
    """The one of docs/PROTOCOL.md."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def view(self, registers: Mapping[str, Any]) -> View | None:
        if registers.get("document") is None or registers.get("page") is None:
            return None
        document = msgspec.convert(registers["document"], Document)
        page = msgspec.convert(registers["page"], Page)
        if page.document != document.id:
            return None
        rows = max(0, min(page.size, document.rows - page.offset))
        return View(document, page.offset, page.size, rows)

    async def page(self, uuid: str, view: View, rev: int) -> bytes:
        return await self._reader.page(uuid, view.document, view.offset, view.size, rev=rev)

    def state(self, uuid: str, epoch: str, rev: int, set: dict[str, Any], whole: bool) -> Frame:
        return frame_of(State(uuid=uuid, epoch=epoch, rev=rev, set=set, whole=whole))

    def chat(self, epoch: str, messages: Sequence[Said], whole: bool) -> Frame:
        rev = messages[-1].rev if messages else 0
        return frame_of(ChatMessage(epoch=epoch, rev=rev, whole=whole, messages=list(messages)))

    def here(self, message: HereMessage) -> Frame:
        return frame_of(message)

    def point(self, message: PointMessage) -> Frame:
        return frame_of(message)

    def status(self, degraded: bool) -> Frame:
        return frame_of(StatusMessage(degraded=degraded))

    def error(self, message: ErrorMessage) -> Frame:
        return frame_of(message)

    def heartbeat(self, epoch: str, rev: int) -> Frame:
        return frame_of(HeartbeatMessage(epoch=epoch, rev=rev))

    def bye(self, reason: str, again: bool) -> Frame:
        return frame_of(Bye(reason=reason, again=again))


def frame_of(message: ServerMessage) -> Frame:
    return encode_frame(encode(message))
