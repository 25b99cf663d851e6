"""What a document becomes when rows are added to its end: its last blocks, and its register."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from server.document.dialect import Dialect
from server.document.growth import Grown, Piece, Tail, count, grow, missing_line_end
from server.document.messages import Document
from server.document.report import ParseReport
from server.errors import NoDocument
from server.fanout import changes
from server.fanout.backend import Snapshot

# More bytes than this are cut and compressed in a thread.
THREAD_FROM: Final = 64 * 1024


class State(NamedTuple):
    """A room at one revision, and the end of its document."""

    snapshot: Snapshot
    document: Document
    tail: Tail


def growing(snapshot: Snapshot) -> dict[str, Any]:
    """The document that the room shows, if rows can be added to it."""
    document = snapshot.registers.get("document")
    if document is None and snapshot.registers.get("upload") is None:
        raise NoDocument("This room has no table yet. Upload one first.")
    # Refuses during an upload.
    return dict(changes.revise(snapshot, document or {"id": ""})["set"]["document"])


def bytes_of(pieces: Sequence[Piece], dialect: Dialect) -> int:
    """What the pieces take at most in a document, with the line ends that they may need."""
    return sum(_bytes_of(piece, dialect) for piece in pieces)


def fitting_in(pieces: Sequence[Piece], left: int, dialect: Dialect) -> Sequence[Piece]:
    """The first of `pieces`, as many as have `left` bytes together (`bytes_of`)."""
    for number, piece in enumerate(pieces):
        left -= _bytes_of(piece, dialect)
        if left < 0:
            return pieces[:number]
    return pieces


async def grown_by(state: State, pieces: Sequence[Piece]) -> tuple[Grown, dict[str, Any]]:
    """What is to be stored, and the register that tells of it."""
    size = len(state.tail.source) + sum(len(piece.source) for piece in pieces)
    if size > THREAD_FROM:
        return await asyncio.to_thread(_grow, state, pieces)
    return _grow(state, pieces)


# Internal


def _bytes_of(piece: Piece, dialect: Dialect) -> int:
    """With the line end that it gets where others' rows follow, which may have a byte more."""
    missing = missing_line_end(piece.source, dialect, literal=piece.literal)
    return len(piece.source) + (len(missing) + 1 if missing else 0)


def _grow(state: State, pieces: Sequence[Piece]) -> tuple[Grown, dict[str, Any]]:
    """What is to be stored, and the register that tells of it."""
    before = state.document
    grown = grow(state.tail, pieces, before.dialect)
    tail = grown.tail
    records = tail.first_record + tail.records
    stored = tail.first_byte + len(tail.source)
    register = {
        **state.snapshot.registers["document"],
        "records": records,
        "rows": before.rows + records - before.records,
        "stored": stored,
        "size": stored if before.size is None else before.size + stored - before.stored,
        "blocks": tail.number + 1,
    }
    if register.get("report") is not None:
        report = msgspec.convert(register["report"], ParseReport)
        register["report"] = msgspec.to_builtins(count(report, pieces, before.dialect))
    return grown, register
