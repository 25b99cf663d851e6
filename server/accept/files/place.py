"""The place of an upload in its room: what everyone is told of it, under guard.

A room has one such place. Whoever holds it is named by the plain field `upload_owner`, which every
change of it expects: a node that was cut off meanwhile, or the connection that the sender left for
another, can change nothing any more, and learns why.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from server.accept.edge.access import Guard, hash_of
from server.document.messages import Document, Person, Upload
from server.errors import (
    BadMessage,
    Conflict,
    StorageFull,
    TablecastError,
    Unavailable,
    UploadLost,
)
from server.fanout import changes, versions
from server.fanout.backend import Backend, Snapshot

T = TypeVar("T")

# Seconds that a store is tried again for while the backend cannot be reached: less than the lease.
STORE_PATIENCE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be shown; `size` in bytes, None if that is not known before its end.

    With a `token` the upload outlives its connection; `resume`: it goes on with one that runs.
    `replace`: another one that runs is given up.
    """

    name: str
    size: int | None
    kind: str = "upload"
    by: Person | None = None
    token: str = ""
    resume: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds: the `lease` that has to be renewed; how long a `pause` may last."""

    lease: int
    pause: int


class Place:
    """`take` it, tell of what arrives, and leave it by `complete`, `pause` or `give_up`.

    `upload` is the register as last told. `shown`: of an upload that goes on, the document that the
    room shows of it already; `is_plain` as the one who told it knew. All changes raise `UploadLost`
    or another error that says why the place is held no longer, and `Unavailable` after a while.
    """

    def __init__(
        self,
        backend: Backend,
        room: str,
        wanted: Wanted,
        times: Times,
        *,
        page_size: int,
        guard: Guard,
    ) -> None:
        self.held = False
        self.announced = False
        self.is_plain = False
        self.shown: Document | None = None
        self.version = 1
        self.upload = Upload(
            id=secrets.token_hex(12),
            name=wanted.name,
            size=wanted.size,
            received=0,
            kind=wanted.kind,
            lease=0,
            by=wanted.by,
        )
        self._backend = backend
        self._room = room
        self._wanted = wanted
        self._token = hash_of(wanted.token)
        self._times = times
        self._page_size = page_size
        self._guard = guard
        self._owner = secrets.token_hex(8)
        self._versions: list[changes.Register] = []
        self._others: list[str] = []  # ids of all else that the room can come to show

    # API

    @property
    def owner(self) -> str:
        """What the plain field `upload_owner` is while this place is held."""
        return self._owner

    async def take(self) -> None:
        """Raises `UploadInProgress`, `StorageFull`, `Unavailable`, and what the guard says;
        resuming `UploadLost`, `UploadReplaced`, and `BadMessage` for another file.

        If it fails with `held` nobody knows whether the place was taken.
        """
        resumes = self._wanted.resume
        for last in (False, False, True):
            snapshot = await self._backend.snapshot(self._room)
            leave = self._guard(snapshot)
            change = self._resuming(snapshot) if resumes else self._beginning(snapshot)
            await self._backend.admit(self._room)
            change["fields"]["upload_role"] = leave.upload_role
            change["expect"] |= leave.expect
            self.upload = msgspec.convert(change["set"]["upload"], Upload)
            self.version = versions.next_version(snapshot)
            self._versions = versions.versions_of(snapshot)
            self._others = versions.kept_documents(snapshot.registers)
            # Its sender tries again to resume; that must not find it given up.
            self.held = not resumes
            try:
                await self._backend.append(self._room, **change)
                self.held = True
                return
            except Conflict:
                self.held = False
                # Someone changed the room since the snapshot; if it was another upload, the second
                # look says so by its name.
                if last:
                    raise

    @property
    def is_quiet(self) -> bool:
        """Whether the room was told that nothing comes just now."""
        return self.upload.paused

    async def tell(
        self,
        document: Document | None,
        received: int,
        *,
        is_plain: bool,
        is_quiet: bool = False,
    ) -> None:
        """How far the upload is, which renews the lease. `document` once some of it is stored.

        `is_quiet`: its sender is silent, which everyone sees as a pause, though it is held on.
        """
        times = {
            "now_ms": self._backend.now_ms(),
            "lease_ms": self._times.lease,
            "pause_ms": self._pause_ms,
        }
        upload, register = self._registers(document)
        received = max(received, self.upload.received)
        if register is not None and not self.announced:
            self.announced = True
            change = changes.announce(
                upload, register, page_size=self._page_size, received=received, **times
            )
        else:
            change = changes.progress(upload, register, received=received, **times)
        change["set"]["upload"]["paused"] = is_quiet
        if is_plain:
            change["fields"]["upload_plain"] = "1"
        await self._append(change)
        self.upload = msgspec.convert(change["set"]["upload"], Upload)

    async def pause(self, document: Document | None, received: int) -> None:
        """Hold the place no longer; the upload waits for its sender."""
        upload, register = self._registers(document)
        change = changes.pause(
            upload,
            # Without its page it would be shown half.
            register if self.announced else None,
            received=max(received, self.upload.received),
            until_ms=self._backend.now_ms() + self._times.pause,
        )
        await self._append(change)
        self.upload = msgspec.convert(change["set"]["upload"], Upload)
        self._owner = ""

    async def complete(self, document: Document) -> list[str]:
        """The document is all there. Returns the ids of those that the room keeps no longer."""
        upload, register = self._registers(document)
        assert register is not None
        change = changes.complete(
            upload,
            register,
            page_size=self._page_size,
            announced=self.announced,
            versions=self._versions,
        )
        await self._append(change)
        return versions.fallen(self._versions, change)

    async def keep(self, *own: str) -> None:
        """Let all that the room can show live on, and the bytes with the ids `own`.

        Perhaps nobody looks at the room, and uploads are the only use of it.
        """
        ids = [*own, *self._others]
        await persistently(lambda: self._backend.keep(self._room, ids))

    async def give_up(self) -> bool:
        """Bring back what the upload replaced; False if the place was not held any more."""
        upload, _ = self._registers(None)
        change = changes.abort(upload, announced=self.announced)
        change["expect"]["upload_owner"] = self._owner
        try:
            await self._backend.append(self._room, **change)
        except Conflict:
            return False
        return True

    async def look(self) -> TablecastError | None:
        """Why the place is held no longer; None while it is."""
        snapshot = await self._backend.snapshot(self._room)
        return None if self._is_ours(snapshot) else self._why_lost(snapshot)

    async def is_forgotten(self) -> bool:
        """Whether the room neither shows or keeps what the upload made, nor has it arrive."""
        registers = (await self._backend.snapshot(self._room)).registers
        arriving = (registers.get("upload") or {}).get("id")
        return self.upload.id not in (arriving, *versions.kept_documents(registers))

    # Internal

    @property
    def _pause_ms(self) -> int:
        return self._times.pause if self._token else 0

    def _beginning(self, snapshot: Snapshot) -> changes.Arguments:
        change = changes.begin_upload(
            snapshot,
            id=self.upload.id,
            name=self.upload.name,
            size=self.upload.size,
            now_ms=self._backend.now_ms(),
            lease_ms=self._times.lease,
            pause_ms=self._pause_ms,
            owner=self._owner,
            token=self._token if self._pause_ms else "",
            replace=self._wanted.replace,
        )
        change["set"]["upload"]["kind"] = self._wanted.kind
        change["set"]["upload"]["by"] = msgspec.to_builtins(self._wanted.by)
        return change

    def _resuming(self, snapshot: Snapshot) -> changes.Arguments:
        change = changes.resume_upload(
            snapshot,
            token=self._token,
            owner=self._owner,
            now_ms=self._backend.now_ms(),
            lease_ms=self._times.lease,
            pause_ms=self._pause_ms,
        )
        upload = change["set"]["upload"]
        if (upload["name"], upload["size"]) != (self._wanted.name, self._wanted.size):
            raise BadMessage(
                f"The upload that this token goes on with is “{upload['name']}” with "
                f"{_bytes(upload['size'])}, and this is “{self._wanted.name}” with "
                f"{_bytes(self._wanted.size)}. Send that file, or this one without the token."
            )
        if self._wanted.by is not None:
            # The same person, but another viewer.
            upload["by"] = msgspec.to_builtins(self._wanted.by)
        document = snapshot.registers.get("document")
        self.announced = document is not None and document["id"] == upload["id"]
        self.shown = msgspec.convert(document, Document) if self.announced else None
        self.is_plain = snapshot.fields.get("upload_plain") == "1"
        return change

    def _registers(
        self, document: Document | None
    ) -> tuple[changes.Register, changes.Register | None]:
        register = None if document is None else msgspec.to_builtins(document)
        return msgspec.to_builtins(self.upload), register

    def _is_ours(self, snapshot: Snapshot) -> bool:
        now = snapshot.fields.get("upload_id"), snapshot.fields.get("upload_owner")
        return now == (self.upload.id, self._owner)

    def _why_lost(self, snapshot: Snapshot) -> TablecastError:
        if changes.was_replaced(snapshot, self.upload.id):
            return changes.replaced()
        if snapshot.fields.get("upload_id") == self.upload.id:
            return UploadLost("This upload goes on over another connection of its sender.")
        if any(document["id"] == self.upload.id for document in versions.versions_of(snapshot)):
            return UploadLost("This upload is complete: another connection of its sender ended it.")
        try:
            # Whoever may send no more is told that.
            self._guard(snapshot)
        except TablecastError as error:
            return error
        return UploadLost(
            "This upload was given up in between. The table before it is back; start it again."
        )

    async def _append(self, change: changes.Arguments) -> None:
        change["expect"]["upload_owner"] = self._owner
        # One request id for all tries: a lost reply must not apply a change twice.
        request = secrets.token_hex(8)
        try:
            await persistently(lambda: self._backend.append(self._room, request=request, **change))
        except Conflict:
            raise self._why_lost(await self._backend.snapshot(self._room)) from None


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Do `call` until the backend can be reached, for `STORE_PATIENCE` seconds."""
    end = time.monotonic() + STORE_PATIENCE
    pause = 0.1
    while True:
        try:
            return await call()
        except StorageFull:
            raise
        except Unavailable:
            if time.monotonic() + pause > end:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, 1.0)


def _bytes(size: int | None) -> str:
    return "an unknown number of bytes" if size is None else f"{size:,} bytes"
