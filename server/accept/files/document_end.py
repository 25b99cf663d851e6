"""Where the document of a room ends, and how rows get there: one change for all who send.

Four times a second at most (by all nodes together: the room remembers when it grew), whatever waits
is stored: the longer last block, the blocks after it, and the register that counts them, in one
step and only if nobody else has added rows since the tail was read. Whoever comes second reads the
tail again and adds the rows after the other's. So there is nothing to clean up, however a sender
ends: what is in the register is in the blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from server.accept.edge.access import Guard, Pass
from server.accept.files.growing import State, bytes_of, fitting_in, growing, grown_by
from server.accept.files.versions import settled
from server.document.blocks import decompress
from server.document.dialect import Dialect
from server.document.growth import Piece, Tail
from server.document.messages import Document
from server.document.pages import Index
from server.errors import (
    Conflict,
    Missing,
    Refused,
    TablecastError,
    TooLarge,
    Unavailable,
)
from server.fanout import changes
from server.fanout.backend import Backend, Change, Growth, Snapshot, StoredBlock

E = TypeVar("E", bound=BaseException)

# Seconds between two changes of a room by rows: as often as an upload tells its progress.
CHANGE_INTERVAL: Final = 0.25
# Seconds that a change waits for others who have rows: those whose last rows came with the same
# change are ready again at the same time, but for their threads.
GATHER: Final = 0.01
# Source bytes in one change, but for a sender's alone: more would hold up everyone's next one.
CHANGE_LIMIT: Final = 16 * 1024 * 1024
# Seconds that a change is tried again for while the storage cannot be reached, or while others
# are always quicker.
PATIENCE: Final = 20.0
# Seconds in which a document that others add rows to holds still for a look.
LOOK_PATIENCE: Final = 2.0

_GROWN_AT: Final = "document_grown"  # plain field: ms since 1970 on the storage's clock


@dataclass(frozen=True, slots=True)
class AppendLimits:
    """`document` and `record` in bytes."""

    document: int
    record: int
    columns: int


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


@dataclass(slots=True, eq=False)
class _Wish:
    """What one sender wants to be added, and who waits for it."""

    pieces: Sequence[Piece]
    dialect: Dialect
    known: Mapping[str, Any]
    guard: Guard
    done: asyncio.Future[Stored] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def size(self) -> int:
        return sum(len(piece.source) for piece in self.pieces)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(_copied(error))


class _Granted(NamedTuple):
    """So many pieces of a wish fit, and there is leave for it."""

    wish: _Wish
    pieces: Sequence[Piece]
    leave: Pass


class DocumentEnd:
    """Where the document of a room ends: shared by all who add rows to it on this node.

    What is done on other nodes meanwhile shows when the guards of a change do not hold.
    """

    def __init__(self, backend: Backend, room: str, limits: AppendLimits) -> None:
        self.room = room
        self._backend = backend
        self._limits = limits
        self._wishes: list[_Wish] = []
        self._task: asyncio.Task[None] | None = None
        self._state: State | None = None  # as this node left it

    # API

    async def document(self, guard: Guard) -> dict[str, Any]:
        """The register of the document that rows can be added to now.

        Raises `NoDocument`, `UploadInProgress`, `Unavailable`, and what `guard` says.
        """
        snapshot = await settled(self._backend, self.room)
        guard(snapshot)
        return growing(snapshot)

    async def add(
        self, pieces: Sequence[Piece], dialect: Dialect, known: Mapping[str, Any], guard: Guard
    ) -> Stored:
        """Add the first pieces, as many as the document may hold, at least one.

        They were read by `dialect`, which must be the document's (`ReadOtherwise`); its register
        was `known` when rows were last added. Raises `Conflict` where another document is shown by
        now or the storage has lost what was known, `UploadInProgress`, `TooLarge`, `StorageFull`,
        `Unavailable` (then nobody knows whether they were added), `Missing`, and what `guard` says.
        """
        wish = _Wish(pieces, dialect, known, guard)
        self._wishes.append(wish)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="rows")
        return await wish.done

    # Internal

    async def _work(self) -> None:
        """Store what is wished until nobody wishes anything."""
        while self._wishes:
            await asyncio.sleep(GATHER)
            if self._state is not None:
                await self._rest(self._state.snapshot)
            batch = self._taken()
            try:
                await self._store(batch)
            except Exception as error:
                for wish in batch:
                    wish.fail(error)

    def _taken(self) -> list[_Wish]:
        """Those that wait longest, as many as one change takes; none of whoever went away."""
        waiting = [wish for wish in self._wishes if not wish.done.done()]
        taken: list[_Wish] = []
        size = 0
        while waiting and size < CHANGE_LIMIT:
            size += waiting[0].size
            taken.append(waiting.pop(0))
        self._wishes = waiting
        return taken

    async def _store(self, batch: Sequence[_Wish]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        tries = 0
        while True:
            # Whoever was told something, or went away, is not to be found in the table after all.
            batch = [wish for wish in batch if not wish.done.done()]
            state, granted = await self._look(batch)
            if state is None or not granted:
                self._state = state
                return
            pieces = [piece for each in granted for piece in each.pieces]
            grown, document = await grown_by(state, pieces)
            change = changes.revise(state.snapshot, document)
            for each in granted:
                change["expect"] |= each.leave.expect
            change["fields"][_GROWN_AT] = str(self._backend.now_ms())
            growth = Growth(
                document["id"],
                [StoredBlock(block.number, block.data, block.entry) for block in grown.blocks],
            )
            try:
                changed = await self._append(change, growth, until)
            except Conflict:
                # Someone else was quicker, or there is an upload: the next look tells.
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
            for each in granted:
                if not each.wish.done.done():
                    each.wish.done.set_result(Stored(len(each.pieces), document, registers))
            return

    async def _look(self, batch: Sequence[_Wish]) -> tuple[State | None, list[_Granted]]:
        """The end, once rows may be added to it again, and whose; the others are told why not.

        It is taken as this node left it, if that will do for everyone; None where nobody may.
        """
        known, self._state = self._state, None
        if known is not None:
            with contextlib.suppress(Refused):
                leaves = [wish.guard(known.snapshot) for wish in batch]
                if all(_is_new_enough(known.document, wish) for wish in batch):
                    return known, self._granted(known, zip(batch, leaves, strict=True))
        state, allowed = await self._read(batch)
        while state is not None and await self._rest(state.snapshot):
            state, allowed = await self._read(batch)
        return state, [] if state is None else self._granted(state, allowed)

    async def _rest(self, snapshot: Snapshot) -> bool:
        """Wait until the document may change again; whether that took any time."""
        since = self._backend.now_ms() - int(snapshot.fields.get(_GROWN_AT) or 0)
        # A clock that was set back must not hold it up.
        left = min(CHANGE_INTERVAL, CHANGE_INTERVAL - since / 1000)
        if left <= 0:
            return False
        await asyncio.sleep(left)
        return True

    def _granted(self, state: State, wishes: Iterable[tuple[_Wish, Pass]]) -> list[_Granted]:
        document = state.document
        # A line end that is missing now takes two bytes, and an escape may have to be ended.
        left = self._limits.document - document.stored - 3
        granted: list[_Granted] = []
        for wish, leave in wishes:
            if wish.known["id"] != document.id:
                wish.fail(Conflict("Another table is shown in this room by now."))
            elif document.stored < wish.known["stored"]:
                wish.fail(
                    Conflict(
                        "The storage has lost the last rows (it may have restarted). Look where "
                        "the table ends now, and go on from there."
                    )
                )
            elif document.dialect != wish.dialect:
                wish.fail(ReadOtherwise(document.dialect))
            elif fitting := fitting_in(wish.pieces, left, wish.dialect):
                left -= bytes_of(fitting, wish.dialect)
                granted.append(_Granted(wish, fitting, leave))
            else:
                limit = self._limits.document
                wish.fail(
                    TooLarge(
                        f"The table would be larger than {limit:,} bytes, the most a table may "
                        "have here.",
                        what="document",
                        limit=limit,
                    )
                )
        return granted

    async def _read(self, batch: Sequence[_Wish]) -> tuple[State | None, list[tuple[_Wish, Pass]]]:
        """The room and its document's tail, both of the same moment, and who may add to it."""
        until = asyncio.get_running_loop().time() + LOOK_PATIENCE
        while True:
            snapshot = await settled(self._backend, self.room)
            allowed: list[tuple[_Wish, Pass]] = []
            for wish in batch:
                try:
                    allowed.append((wish, wish.guard(snapshot)))
                except TablecastError as error:
                    wish.fail(error)
            if not allowed:
                return None, []
            register = growing(snapshot)
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
                return State(snapshot, document, tail), allowed
            # It has grown in between; or a part of it was lost for good.
            if asyncio.get_running_loop().time() > until:
                raise Missing("The end of this table is gone. Upload the file again.")
            await asyncio.sleep(random.uniform(0, 0.05))

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


def _is_new_enough(document: Document, wish: _Wish) -> bool:
    """Whether what a sender knows of the document is no newer than `document`."""
    return (
        wish.known["id"] == document.id
        and wish.known["stored"] <= document.stored
        and wish.dialect == document.dialect
    )


def _copied(error: E) -> E:
    """The same error for one of several who wait for it: each adds to it what it has to say."""
    copy = error.__class__.__new__(error.__class__, *error.args)
    copy.__dict__.update(error.__dict__)
    return copy
