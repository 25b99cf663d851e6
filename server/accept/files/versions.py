"""Going back to an earlier document of a room, for everyone, and forth again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Final

import msgspec

from server.accept.edge.access import NO_KEYS, Guard
from server.document.messages import Document, Person
from server.errors import Conflict, NoDocument
from server.fanout import versions
from server.fanout.backend import Backend, Snapshot
from server.live.hub import restore_if_ended

# Rows that are appended meanwhile make a look outdated, a few times a second at most.
LOOKS: Final = 10
# What presenters do, and whoever brings no key while the room is open.
SHOWING: Final = "show other versions"
_KEYLESS: Final = NO_KEYS.changing(SHOWING)


async def settled(backend: Backend, room: str) -> Snapshot:
    """The room now, without an upload whose lease has ended. Raises `Unavailable`."""
    snapshot = await backend.snapshot(room)
    upload = snapshot.registers.get("upload")
    if upload is not None and upload["lease"] < backend.now_ms():
        # On a conflict another node did it, or the upload came back.
        with contextlib.suppress(Conflict):
            await restore_if_ended(backend, room)
        snapshot = await backend.snapshot(room)
    return snapshot


async def show_version(
    backend: Backend,
    room: str,
    version: int,
    guard: Guard = _KEYLESS,
    by: Person | None = None,
) -> int:
    """Show this version to everyone in `room`, from its first page; the room's revision then.

    `by`: who does it, for the others. Nothing changes if it is shown already. Raises `NoDocument`
    (it fell out, or its bytes did), `UploadInProgress`, `Conflict`, `Unavailable`, and what
    `guard` says.
    """
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(random.uniform(0, 0.02 * look))
        snapshot = await settled(backend, room)
        leave = guard(snapshot)
        change = versions.show_version(snapshot, version)
        if change is None:
            return snapshot.rev
        change["expect"] |= leave.expect
        if by is not None:
            turned = {"by": msgspec.to_builtins(by), "at": backend.now_ms()}
            change["set"]["page"] |= turned
        document = msgspec.convert(change["set"]["document"], Document)
        # First, so that it cannot expire in between.
        await backend.keep(room, versions.kept_documents(change["set"]))
        if min(await backend.extent(room, document.id)) < document.blocks:
            raise NoDocument(
                f"The bytes of version {version} are gone. Upload “{document.name}” again."
            )
        with contextlib.suppress(Conflict):
            return (await backend.append(room, **change)).rev
    raise Conflict("The room changes too quickly just now; nothing was changed. Try again.")
