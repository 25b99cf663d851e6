"""A room as one request sees it, for the doors that are not sockets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from server.accept.files.versions import settled
from server.document.messages import Document, Page, Upload
from server.fanout.backend import Backend, Snapshot
from server.live.keeper import Keeper


@dataclass(frozen=True, slots=True)
class RoomView:
    """The registers of a room at one revision, decoded."""

    epoch: str
    rev: int
    registers: dict[str, Any]
    document: Document | None
    page: Page | None
    upload: Upload | None
    # What guards compare; it never leaves the server.
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    # What was said lately, as it is stored, the oldest first.
    chat: Sequence[Mapping[str, Any]] = ()

    @property
    def snapshot(self) -> Snapshot:
        """What a guarded change may be built on."""
        return Snapshot(
            epoch=self.epoch, rev=self.rev, registers=self.registers, fields=self.fields
        )

    @property
    def offset(self) -> int:
        page, document = self.page, self.document
        return page.offset if page and document and page.document == document.id else 0


class Rooms:
    """Looks rooms up for those who ask once. Whoever asks keeps the room alive by it."""

    def __init__(self, backend: Backend, keeper: Keeper) -> None:
        self._backend = backend
        self._keeper = keeper

    async def view(self, room: str) -> RoomView:
        """Read the room now, giving up an upload whose lease has ended. Raises `Unavailable`."""
        snapshot = await settled(self._backend, room)
        await self._keeper.use(room, snapshot.registers)
        return view_of(snapshot)


def view_of(snapshot: Snapshot) -> RoomView:
    registers = dict(snapshot.registers)

    def get(name: str, kind: Any) -> Any:
        value = registers.get(name)
        return None if value is None else msgspec.convert(value, kind)

    return RoomView(
        epoch=snapshot.epoch,
        rev=snapshot.rev,
        registers=registers,
        document=get("document", Document),
        page=get("page", Page),
        upload=get("upload", Upload),
        fields=snapshot.fields,
        chat=snapshot.chat,
    )
