"""Turning the page for everyone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec

from server.accept.edge.access import NO_KEYS, Guard
from server.document.messages import Person
from server.errors import Conflict, Refused
from server.fanout import changes, turns
from server.fanout.backend import Backend, Snapshot

# What presenters do, and whoever brings no key while the room is open.
TURNING: Final = "turn pages"
_KEYLESS: Final = NO_KEYS.changing(TURNING)
# Looks at a room that changes at the same time.
LOOKS: Final = 3


async def turn_page(
    backend: Backend,
    room: str,
    page_no: int,
    known: Snapshot | None = None,
    guard: Guard = _KEYLESS,
    by: Person | None = None,
) -> int:
    """Show page `page_no` to everyone in `room`; returns the room's new revision.

    `by`: who turned it, for the others. The rest as in `turn`, and `PageOutOfRange`.
    """
    person = msgspec.to_builtins(by)

    def change(snapshot: Snapshot) -> changes.Arguments:
        return turns.turn_page(snapshot, page_no, by=person, now_ms=backend.now_ms())

    return await turn(backend, room, change, known, guard)


async def turn(
    backend: Backend,
    room: str,
    change: Callable[[Snapshot], changes.Arguments],
    known: Snapshot | None,
    guard: Guard,
) -> int:
    """Make the `change` that turns the room to another page; returns the room's new revision.

    `known` is what this node has of the room, which saves asking the backend; where it proves too
    old the backend is asked. Raises what `change` and `guard` do, `Conflict`, `Unavailable`.
    """
    if known is not None:
        # The document may have been replaced or have grown since, or the mode have changed.
        with contextlib.suppress(Conflict, Refused):
            return await _turn(backend, room, change, known, guard)
    for _ in range(LOOKS - 1):
        with contextlib.suppress(Conflict):
            return await _turn(backend, room, change, await backend.snapshot(room), guard)
    return await _turn(backend, room, change, await backend.snapshot(room), guard)


async def _turn(
    backend: Backend,
    room: str,
    change: Callable[[Snapshot], changes.Arguments],
    snapshot: Snapshot,
    guard: Guard,
) -> int:
    leave = guard(snapshot)
    arguments = change(snapshot)
    arguments["expect"] |= leave.expect
    rev = (await backend.append(room, **arguments)).rev
    backend.counts.page_turns += 1
    return rev
