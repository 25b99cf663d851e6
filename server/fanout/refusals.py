"""What backends say when they refuse, in the same words whichever it is."""

from __future__ import annotations

from server.errors import Conflict, Missing, Unavailable


def unavailable() -> Unavailable:
    """Of a Redis that does not answer."""
    return Unavailable(
        "The server cannot reach its storage just now. Nothing was lost; try again in a moment."
    )


def closing() -> Unavailable:
    return Unavailable("This node is closing; connect again.")


def conflict() -> Conflict:
    """To a change whose guards do not hold."""
    return Conflict("The room changed in between; nothing was changed. Look again.")


def missing() -> Missing:
    """Where bytes are gone that a room still speaks of."""
    return Missing("A part of this table is gone; the room shows what there is.")
