"""The names of a room's keys. The braces make a hash tag: all of a room is in one cluster slot."""

from __future__ import annotations

from collections.abc import Sequence


class Keys:
    """Key and channel names below one prefix, so that several programs can share a Redis."""

    __slots__ = ("prefix",)

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def room(self, room: str) -> str:
        """HASH: epoch, rev, `r:<register>` -> JSON, `f:<field>` -> text. Names the channel too."""
        return f"{self.prefix}room:{{{room}}}"

    channel = room

    def chat(self, room: str) -> str:
        """STREAM of the last messages."""
        return f"{self.room(room)}:chat"

    def said(self, room: str) -> str:
        """HASH of what the stream holds: `m:<id of a message>` -> revision, `bytes` of them all."""
        return f"{self.room(room)}:said"

    def nodes(self, room: str) -> str:
        """HASH: `n:<node>` -> "<lease's end in ms> <viewers> <node and details as JSON>"."""
        return f"{self.room(room)}:nodes"

    def request(self, room: str, request: str) -> str:
        """STRING "<epoch> <rev>": what came of this request."""
        return f"{self.room(room)}:q:{request}"

    def blocks(self, room: str, document: str) -> str:
        """HASH: block number -> compressed bytes."""
        return f"{self.room(room)}:d:{document}"

    def index(self, room: str, document: str) -> str:
        """STRING: 16 bytes a block, at block x 16."""
        return f"{self.room(room)}:d:{document}:index"

    def stored(self, room: str, documents: Sequence[str]) -> list[str]:
        """The keys of all that is stored of these documents: blocks, index, blocks, and so on."""
        names = (self.blocks, self.index)
        return [name(room, document) for document in documents for name in names]
