"""Ordered sets (the keys of a dict) as queues in which each thing waits once."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def take(queue: dict[_T, None], count: int) -> list[_T]:
    """Remove and return the first `count`."""
    taken = list(islice(queue, count))
    for item in taken:
        del queue[item]
    return taken
