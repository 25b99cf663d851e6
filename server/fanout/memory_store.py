"""What all nodes of one process share in memory: rooms, bytes, and who hears of a room.

Nothing here waits for anything. Whoever follows a room is told of it in the order in which it
happened.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from server.fanout.backend import ENTRY_BYTES, Event, Here, Present, Snapshot, StoredBlock
from server.fanout.quota import storage_full
from server.fanout.replica import Replica

STORAGE_LIMIT = 2 * 1024**3  # bytes of all blocks and chats; a node's memory must end somewhere
CHAT_SHARE = 4  # beyond that limit chats may have this part of it more
SWEEP_ROOMS = 1_000  # rooms looked at in one sweep, so that a sweep never holds up the loop


class Follower(Protocol):
    """A node with viewers in a room."""

    def tell(self, room: str, event: Event) -> None: ...


@dataclass(slots=True)
class Document:
    blocks: dict[int, bytes] = field(default_factory=dict)
    index: bytearray = field(default_factory=bytearray)
    expires: float = 0.0

    def size(self) -> int:
        return sum(map(len, self.blocks.values())) + len(self.index)


@dataclass(slots=True)
class Room:
    state: Replica = field(default_factory=Replica)
    requests: dict[str, tuple[str, int, float]] = field(default_factory=dict)  # epoch, rev, expires
    nodes: dict[str, tuple[float, Present]] = field(default_factory=dict)  # lease's end
    here: Here = field(default_factory=lambda: Here(0))  # as last told
    documents: dict[str, Document] = field(default_factory=dict)
    followers: set[Follower] = field(default_factory=set)
    expires: float = 0.0

    def tell(self, name: str, event: Event) -> None:
        for follower in self.followers:
            follower.tell(name, event)

    def look(self, name: str) -> None:
        """Tell who is here if that has changed."""
        now = time.monotonic()
        for node in [node for node, (until, _) in self.nodes.items() if until <= now]:
            del self.nodes[node]
        said = {node: present for node, (_, present) in self.nodes.items()}
        here = Here(
            sum(present.count for present in said.values()),
            {node: present.detail for node, present in said.items()},
        )
        if here != self.here:
            self.here = here
            self.tell(name, here)


class MemoryStore:
    """The rooms and the bytes. `stored`: those of all documents and chats."""

    def __init__(self, storage_limit: int = STORAGE_LIMIT) -> None:
        self.storage_limit = storage_limit
        self.stored = 0
        self.rooms: dict[str, Room] = {}
        self._queue: deque[str] = deque()  # each room once, in the order they are swept

    def room(self, name: str) -> Room:
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room()
            self._queue.append(name)
        return room

    def document(self, room: str, document: str) -> Document:
        """An empty one, of no room yet, where there is none or its time is over."""
        here = self.rooms.get(room)
        known = here.documents.get(document) if here is not None else None
        if known is None or known.expires <= time.monotonic():
            return Document()
        return known

    def admit(self, grown: int, limit: int | None = None) -> None:
        """So many bytes more are about to be stored. Raises `StorageFull`."""
        if grown > 0 and self.stored + grown > (limit or self.storage_limit):
            raise storage_full(self.storage_limit)

    def admit_chat(self, grown: int) -> None:
        """People can talk on for a while where files are refused already."""
        self.admit(grown, self.storage_limit + self.storage_limit // CHAT_SHARE)

    def grow(self, document: Document, blocks: Sequence[StoredBlock]) -> None:
        """Put blocks into a document. Raises `StorageFull`, and then nothing is changed."""
        grown = 0
        index_end = len(document.index)
        new: dict[int, int] = {}
        for block in blocks:
            before = new.get(block.number, len(document.blocks.get(block.number, b"")))
            grown += len(block.data) - before
            new[block.number] = len(block.data)
            index_end = max(index_end, (block.number + 1) * ENTRY_BYTES)
        grown += index_end - len(document.index)
        self.admit(grown)
        document.index.extend(bytes(index_end - len(document.index)))
        for block in blocks:
            document.blocks[block.number] = bytes(block.data)
            start = block.number * ENTRY_BYTES
            document.index[start : start + ENTRY_BYTES] = block.entry
        self.stored += grown

    def forget_state(self, room: Room) -> None:
        """Registers, plain fields and chat."""
        self.stored -= room.state.chat.size
        room.state.replace(Snapshot())

    def forget_document(self, room: Room, document: str) -> None:
        gone = room.documents.pop(document, None)
        if gone is not None:
            self.stored -= gone.size()

    def sweep(self) -> None:
        """Forget what has expired in the next `SWEEP_ROOMS` rooms."""
        now = time.monotonic()
        for _ in range(min(SWEEP_ROOMS, len(self._queue))):
            name = self._queue.popleft()
            room = self.rooms[name]
            for document in [d for d, known in room.documents.items() if known.expires <= now]:
                self.forget_document(room, document)
            for request in [r for r, seen in room.requests.items() if seen[2] <= now]:
                del room.requests[request]
            room.look(name)
            if room.state.rev and room.expires <= now:
                self.forget_state(room)
                room.tell(name, room.state.snapshot())
            if room.state.rev or room.documents or room.nodes or room.followers or room.requests:
                self._queue.append(name)
            else:
                del self.rooms[name]
