"""What backends say when they refuse, in the same words whichever it is, and why they do."""

from __future__ import annotations

import re

from server.errors import Conflict, Missing, Unavailable

_OF_PIPELINE = re.compile(
    r"Command # \d+ \(.*\) of pipeline caused error: \(([\"'])(.*)\1,?\)", re.DOTALL
)
_ARGUMENTS = ", with args beginning with"


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


def why(error: BaseException) -> str:
    """What Redis, or the way there, said: for the log, so without what was asked of it."""
    if isinstance(error, Unavailable) and error.__cause__ is not None:
        error = error.__cause__
    said, _, _ = _OF_PIPELINE.sub(r"\2", str(error)).partition(_ARGUMENTS)
    return said or type(error).__name__
