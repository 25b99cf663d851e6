"""The way of rows that are added to a room's document, for as long as their sender likes.

    body -> whole records (a thread) -> the document's tail -> one guarded change of the room

Four times a second at most, whatever is whole is stored: the longer last block, the blocks after
it, and the register that counts them, in one step and only if nobody else has added rows since the
tail was read. Whoever comes second reads the tail again and adds its rows after the other's. So
there is nothing to clean up, however an appender ends: what is in the register is in the blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from server.accept.access import Guard, Pass, keys_of
from server.accept.guard import room_of
from server.accept.versions import settled
from server.document.blocks import decompress
from server.document.dialect import TSV, Dialect
from server.document.growth import Grown, Piece, RowStream, Tail, count, grow
from server.document.messages import Document, encode
from server.document.pages import Index
from server.document.report import ParseReport
from server.errors import (
    BadMessage,
    Conflict,
    Draining,
    Missing,
    NoDocument,
    Refused,
    TablecastError,
    TooLarge,
    Unavailable,
)
from server.fanout import changes
from server.fanout.backend import Backend, Change, Growth, Snapshot, StoredBlock
from server.live.keeper import Keeper
from server.settings import Settings

log = logging.getLogger(__name__)

# Seconds between two changes of a room by one appender: as often as an upload tells its progress.
APPEND_INTERVAL: Final = 0.25
# Bytes that may wait for the next change; past it the sender waits. So rows are added at up to
# 16 MB/s, and an appender needs some 12 MB at most, but for a record that is larger itself.
WAITING_LIMIT: Final = 4 * 1024 * 1024
# More bytes than this are cut and compressed in a thread.
THREAD_FROM: Final = 64 * 1024
# Seconds that a change is tried again for while the storage cannot be reached, or while others
# are always quicker.
PATIENCE: Final = 20.0
# Seconds in which an idle stream notices that its node ends; and those it has when it is cut off.
TICK: Final = 0.5
LAST_PATIENCE: Final = 5.0
# Seconds in which a document that others add rows to holds still for a look.
LOOK_PATIENCE: Final = 2.0


@dataclass(frozen=True, slots=True)
class AppendLimits:
    """`document` and `record` in bytes."""

    document: int
    record: int
    columns: int


class AppendDoor:
    """`POST /api/rooms/{uuid}/document/rows`: the body is rows, as they come."""

    def __init__(
        self,
        backend: Backend,
        keeper: Keeper,
        settings: Settings,
        draining: Callable[[], bool],
    ) -> None:
        """`draining` tells whether this node is about to end."""
        self._backend = backend
        self._keeper = keeper
        self._draining = draining
        self._limits = AppendLimits(
            document=settings.document_limit,
            record=settings.record_limit,
            columns=settings.column_limit,
        )
        self._ends: weakref.WeakValueDictionary[str, DocumentEnd] = weakref.WeakValueDictionary()

    async def append(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        end = self._ends.get(room)
        if end is None:
            end = self._ends[room] = DocumentEnd(self._backend, room, self._limits)
        guard = keys_of(request, room).changing("add rows")
        appending = Appending(end, self._keeper, self._limits, guard)
        document = await appending.run(request, self._draining)
        return web.Response(
            body=encode({"rows_added": appending.rows_added, "document": document}),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )


class Appending:
    """One stream of rows into the document that the room shows when the stream begins."""

    def __init__(
        self, end: DocumentEnd, keeper: Keeper, limits: AppendLimits, guard: Guard
    ) -> None:
        self.rows_added = 0
        self._end = end
        self._keeper = keeper
        self._limits = limits
        self._guard = guard
        self._document: dict[str, Any] = {}
        self._dialect = TSV  # of the document, as its rows are read
        self._storing: asyncio.Task[None] | None = None

    async def run(self, request: web.Request, draining: Callable[[], bool]) -> dict[str, Any]:
        """Read to the end; the document then. Errors say how many rows were added before."""
        self._document = await self._end.document(self._guard)
        self._dialect = msgspec.convert(self._document, Document).dialect
        rows = RowStream(
            self._dialect, record_limit=self._limits.record, column_limit=self._limits.columns
        )
        try:
            await self._read(request, rows, draining)
        except asyncio.CancelledError:
            # The sender is gone, or this node ends. Whole rows that came are kept.
            with contextlib.suppress(TablecastError, TimeoutError):
                async with asyncio.timeout(LAST_PATIENCE):
                    if self._storing is not None:
                        await asyncio.shield(self._storing)
                    await self._store(rows)
            raise
        except TablecastError as error:
            error.message = f"{error.message} {self._told(error)}"
            raise
        return self._document

    # Internal

    async def _read(
        self, request: web.Request, rows: RowStream, draining: Callable[[], bool]
    ) -> None:
        loop = asyncio.get_running_loop()
        waiting = 0  # bytes that came since the last look at them
        due = loop.time()
        while True:
            now = loop.time()
            if waiting and (now >= due or draining()):
                await self._store(rows)
                waiting = 0
                due = loop.time() + APPEND_INTERVAL
            if draining():
                raise Draining("This node restarts. Send the rows that follow again.")
            if waiting >= WAITING_LIMIT:
                await asyncio.sleep(due - now)
                continue
            try:
                async with asyncio.timeout(min(TICK, due - now) if waiting else TICK):
                    data = await request.content.readany()
            except TimeoutError:
                continue
            except web.RequestPayloadError as error:
                await self._store(rows)
                raise BadMessage(f"The body of this request cannot be read: {error}.") from None
            if not data:
                await self._store(rows, ended=True)
                return
            rows.feed(data)
            waiting += len(data)

    async def _store(self, rows: RowStream, *, ended: bool = False) -> None:
        """Add the rows that are whole. Not to be cancelled in the middle: it ends in its task."""
        if self._storing is not None and not self._storing.done():
            await asyncio.shield(self._storing)
        self._storing = asyncio.create_task(self._store_all(rows, ended=ended), name="append")
        await asyncio.shield(self._storing)

    async def _store_all(self, rows: RowStream, *, ended: bool) -> None:
        while pieces := await asyncio.to_thread(rows.take, ended=ended):
            while pieces:
                try:
                    stored = await self._end.add(pieces, self._dialect, self._document, self._guard)
                except ReadOtherwise as now:
                    self._dialect = now.dialect
                    rows.read_by(now.dialect, pieces)
                    break
                self._document = stored.document
                self.rows_added += sum(piece.records for piece in pieces[: stored.pieces])
                pieces = pieces[stored.pieces :]
                await self._keeper.use(self._end.room, stored.registers)

    def _told(self, error: TablecastError) -> str:
        added = f"{self.rows_added:,} {'row was' if self.rows_added == 1 else 'rows were'}"
        if isinstance(error, Unavailable) and self._storing is not None:
            return f"{added} added before; whether those sent last were is not known."
        return f"{added} added before." if self.rows_added else "No row was added."


class ReadOtherwise(Exception):
    """Somebody has corrected how the document is read, so its rows are others too."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect


class Stored(NamedTuple):
    """So many of the pieces were added; the document and all registers after that."""

    pieces: int
    document: dict[str, Any]
    registers: dict[str, Any]


class State(NamedTuple):
    """A room at one revision, and the end of its document."""

    snapshot: Snapshot
    document: Document
    tail: Tail


class DocumentEnd:
    """Where the document of a room ends: shared by all who add rows to it on this node.

    They take turns. What others do meanwhile on other nodes shows when the guards do not hold.
    """

    def __init__(self, backend: Backend, room: str, limits: AppendLimits) -> None:
        self.room = room
        self._backend = backend
        self._limits = limits
        self._turn = asyncio.Lock()
        self._state: State | None = None  # as this node left it

    async def document(self, guard: Guard) -> dict[str, Any]:
        """The register of the document that rows can be added to now.

        Raises `NoDocument`, `UploadInProgress`, `Unavailable`, and what `guard` says.
        """
        snapshot = await settled(self._backend, self.room)
        guard(snapshot)
        return _growing(snapshot)

    async def add(
        self, pieces: Sequence[Piece], dialect: Dialect, known: Mapping[str, Any], guard: Guard
    ) -> Stored:
        """Add the first pieces, as many as the document may hold, at least one.

        They were read by `dialect`, which must be the document's (`ReadOtherwise`); its register
        was `known` when rows were last added. Raises `Conflict` where another document is shown by
        now or the storage has lost what was known, `UploadInProgress`, `TooLarge`, `StorageFull`,
        `Unavailable` (then nobody knows whether they were added), `Missing`, and what `guard` says.
        """
        document_id = known["id"]
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        async with self._turn:
            tries = 0
            while True:
                state, leave = await self._look(document_id, guard)
                if state.document.id != document_id:
                    raise _replaced()
                if state.document.stored < known["stored"]:
                    raise Conflict(
                        "The storage has lost the last rows (it may have restarted). Look where "
                        "the table ends now, and go on from there."
                    )
                if state.document.dialect != dialect:
                    self._state = state
                    raise ReadOtherwise(state.document.dialect)
                fitting = self._fitting(state.document, pieces)
                grown, document = await _in_thread(_grow, state, fitting)
                change = changes.revise(state.snapshot, document)
                change["expect"] |= leave.expect
                growth = Growth(
                    document_id,
                    [StoredBlock(block.number, block.data, block.entry) for block in grown.blocks],
                )
                try:
                    changed = await self._append(change, growth, until)
                except Conflict:
                    # Another appender was quicker, or there is an upload: the next look tells.
                    tries += 1
                    if loop.time() > until:
                        raise
                    await asyncio.sleep(random.uniform(0, min(0.1, 0.005 * tries)))
                    continue
                registers = {**state.snapshot.registers, "document": document}
                snapshot = replace(
                    state.snapshot,
                    epoch=changed.epoch,
                    rev=changed.rev,
                    registers=registers,
                    fields={**state.snapshot.fields, **changed.fields},
                )
                self._state = State(snapshot, msgspec.convert(document, Document), grown.tail)
                return Stored(len(fitting), document, registers)

    # Internal

    async def _look(self, document_id: str, guard: Guard) -> tuple[State, Pass]:
        """The end as this node left it, if that will do, and leave to add to it."""
        known, self._state = self._state, None
        if known is not None:
            with contextlib.suppress(Refused):
                return known, guard(known.snapshot)
        return await self._read(document_id, guard)

    async def _read(self, document_id: str, guard: Guard) -> tuple[State, Pass]:
        """The room and its document's tail, both of the same moment."""
        until = asyncio.get_running_loop().time() + LOOK_PATIENCE
        while True:
            snapshot = await settled(self._backend, self.room)
            leave = guard(snapshot)
            register = _growing(snapshot)
            if register["id"] != document_id:
                raise _replaced()
            document = msgspec.convert(register, Document)
            number = document.blocks - 1
            entry = await self._backend.index(self.room, document.id, number)
            (data,) = await self._backend.get_blocks(self.room, document.id, [number])
            source = decompress(data, record_limit=self._limits.record)
            index = Index()
            index.append(entry[:16])
            if len(index) and index.first_byte(0) + len(source) == document.stored:
                tail = Tail(
                    number=number,
                    first_record=index.first_record(0),
                    first_byte=index.first_byte(0),
                    records=document.records - index.first_record(0),
                    source=source,
                    literal=index.is_literal(0),
                )
                return State(snapshot, document, tail), leave
            # It has grown in between; or a part of it was lost for good.
            if asyncio.get_running_loop().time() > until:
                raise Missing("The end of this table is gone. Upload the file again.")
            await asyncio.sleep(random.uniform(0, 0.05))

    def _fitting(self, document: Document, pieces: Sequence[Piece]) -> Sequence[Piece]:
        # A line end that is missing now takes two bytes, and an escape may have to be ended.
        left = self._limits.document - document.stored - 3
        for number, piece in enumerate(pieces):
            left -= len(piece.source)
            if left < 0:
                if not number:
                    raise TooLarge(
                        f"The table would be larger than {self._limits.document:,} bytes, the "
                        "most a table may have here.",
                        what="document",
                        limit=self._limits.document,
                    )
                return pieces[:number]
        return pieces

    async def _append(self, change: changes.Arguments, growth: Growth, until: float) -> Change:
        """Change the room; while the storage cannot be reached try again, until then."""
        loop = asyncio.get_running_loop()
        # One request id for all tries: a lost reply must not add rows twice.
        request = secrets.token_hex(8)
        pause = 0.1
        while True:
            try:
                return await self._backend.append(
                    self.room, request=request, growth=growth, **change
                )
            except Unavailable:
                if loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 1.0)


def _growing(snapshot: Snapshot) -> dict[str, Any]:
    """The document that the room shows, if rows can be added to it."""
    document = snapshot.registers.get("document")
    if document is None and snapshot.registers.get("upload") is None:
        raise NoDocument("This room has no table yet. Upload one first.")
    # Refuses during an upload.
    return dict(changes.revise(snapshot, document or {"id": ""})["set"]["document"])


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


async def _in_thread(
    job: Callable[[State, Sequence[Piece]], tuple[Grown, dict[str, Any]]],
    state: State,
    pieces: Sequence[Piece],
) -> tuple[Grown, dict[str, Any]]:
    size = len(state.tail.source) + sum(len(piece.source) for piece in pieces)
    return await asyncio.to_thread(job, state, pieces) if size > THREAD_FROM else job(state, pieces)


def _replaced() -> Conflict:
    return Conflict("Another table is shown in this room by now.")
