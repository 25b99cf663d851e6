"""A least-recently-used cache bounded by bytes, not entries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# What an entry costs beside its value, for a page about so much: a key with the document's id and
# dialect, tuples, places in the dictionary and in its order.
ENTRY_OVERHEAD: Final = 768


class ByteCache(Generic[K, V]):
    """Keeps values until their costs in bytes exceed `capacity`; the oldest used goes first.

    A value that alone exceeds the capacity is not kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, cost: int) -> None:
        cost += ENTRY_OVERHEAD
        self.discard(key)
        if cost > self.capacity:
            return
        self._entries[key] = (value, cost)
        self.used += cost
        while self.used > self.capacity:
            _, (_, dropped) = self._entries.popitem(last=False)
            self.used -= dropped

    def discard_where(self, unwanted: Callable[[K], bool]) -> None:
        """Forget every entry whose key is `unwanted`; looks at all of them."""
        for key in [key for key in self._entries if unwanted(key)]:
            self.discard(key)

    def discard(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used -= entry[1]
