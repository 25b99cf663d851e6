"""What this node knows of one room, as the fan-out last told it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from server.document.messages import Document, Page, Upload
from server.fanout.backend import Change, Snapshot
from server.live.talk import Render, Talk

T = TypeVar("T")


class Facts:
    """Registers, plain fields (which viewers never see) and chat at revision `rev` of `epoch`.

    Not `loaded`: nothing is known yet. `degraded`: what is known may be outdated.
    """

    def __init__(self, uuid: str, render: Render) -> None:
        self.uuid = uuid
        self.loaded = False
        self.degraded = False
        self.epoch = ""
        self.rev = 0
        self.registers: dict[str, Any] = {}
        self.fields: dict[str, str] = {}
        self.talk = Talk(render)

    @property
    def document(self) -> Document | None:
        return _decoded(self.registers.get("document"), Document)

    @property
    def page(self) -> Page | None:
        return _decoded(self.registers.get("page"), Page)

    @property
    def upload(self) -> Upload | None:
        return _decoded(self.registers.get("upload"), Upload)

    def snapshot(self) -> Snapshot:
        """Good for a guarded change, which is checked."""
        return Snapshot(
            epoch=self.epoch, rev=self.rev, registers=self.registers, fields=self.fields
        )

    def replace(self, snapshot: Snapshot) -> bool:
        """Become `snapshot`; False if nothing is new in it."""
        if self.loaded and (snapshot.epoch, snapshot.rev) == (self.epoch, self.rev):
            return False
        self.epoch, self.rev = snapshot.epoch, snapshot.rev
        self.registers = dict(snapshot.registers)
        self.fields = dict(snapshot.fields)
        self.talk.replace(snapshot.chat)
        self.loaded = True
        return True

    def merge(self, change: Change) -> bool:
        """Take in a change; False if it does not follow."""
        # The first change of a room brings its epoch.
        follows = change.epoch == self.epoch or self.rev == 0
        if not (self.loaded and follows and change.rev > self.rev):
            return False
        self.epoch, self.rev = change.epoch, change.rev
        for name, value in change.set.items():
            if value is None:
                self.registers.pop(name, None)
            else:
                self.registers[name] = value
        self.fields |= change.fields
        if change.chat is not None:
            self.talk.add(change.chat)
        return True


def _decoded(value: Any, kind: type[T]) -> T | None:
    return None if value is None else msgspec.convert(value, kind)
