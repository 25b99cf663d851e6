"""Viewers who read what they are sent, and turn pages."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from bench.viewers import Crowd
from tests.bounds.measured import Measured

# Others who go on reading meanwhile; they turn the pages and must get them.
OTHERS: Final = 2


def watched(node: Measured, room: str, ending: ExitStack) -> Crowd:
    """Some who read, and have seen pages turned."""
    crowd = Crowd((node.port, f"/ws/{room}"))
    ending.callback(crowd.close)
    crowd.grow(OTHERS)
    leaf(crowd, 20)
    return crowd


def gather(crowd: Crowd, count: int) -> None:
    """Let so many be there; those who are read what they are told meanwhile."""
    for part in range(500, count + 500, 500):
        crowd.grow(min(part, count))


def leaf(crowd: Crowd, pages: int) -> None:
    """Turn pages, each of which everyone who reads gets."""
    for number in range(pages):
        crowd.turn(3 + number % 20)
        crowd.rest(0.06)
    crowd.turn(2)
