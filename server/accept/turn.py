"""Turning the page for everyone."""

from __future__ import annotations

from server.errors import Conflict, PageOutOfRange
from server.fanout import changes
from server.fanout.backend import Backend, Snapshot


async def turn_page(
    backend: Backend, room: str, page_no: int, known: Snapshot | None = None
) -> int:
    """Show page `page_no` to everyone in `room`; returns the room's new revision.

    `known` is what this node has of the room, which saves asking the backend; where it proves too
    old the backend is asked. Raises `NoDocument`, `PageOutOfRange`, `Conflict`, `Unavailable`.
    """
    if known is not None:
        try:
            change = await backend.append(room, **changes.turn_page(known, page_no))
            return change.rev
        except (Conflict, PageOutOfRange):
            pass  # the document was replaced or has grown since
    snapshot = await backend.snapshot(room)
    change = await backend.append(room, **changes.turn_page(snapshot, page_no))
    return change.rev
