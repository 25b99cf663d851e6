"""The way of rows that are added to a room's document, for as long as their sender likes.

    body -> whole records (a thread) -> the document's tail -> one guarded change of the room

Whatever is whole is handed on four times a second at most; what becomes of it then, together with
the rows of all others, is told in document_end.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from server.accept.edge.access import Guard, keys_of
from server.accept.edge.content import Content
from server.accept.edge.guard import room_of
from server.accept.files.document_end import AppendLimits, DocumentEnd, ReadOtherwise
from server.document.dialect import TSV
from server.document.growth import Piece, RowStream, ragged
from server.document.messages import Document, encode
from server.errors import (
    Draining,
    TablecastError,
    Unavailable,
)
from server.fanout.backend import Backend
from server.live.keeper import Keeper
from server.settings import Settings

# Seconds for which rows are gathered before they are handed on.
APPEND_INTERVAL: Final = 0.25
# Bytes that may wait for the next change; past it the sender waits. So rows are added at up to
# 16 MB/s, and an appender needs some 12 MB at most, but for a record that is larger itself.
WAITING_LIMIT: Final = 4 * 1024 * 1024
# Seconds in which an idle stream notices that its node ends; and those it has when it is cut off.
TICK: Final = 0.5
LAST_PATIENCE: Final = 5.0


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
        content = Content(request)
        guard = keys_of(request, room).changing("add rows")
        appending = Appending(end, self._keeper, self._limits, guard)
        document = await appending.run(content, self._draining)
        return web.Response(
            body=encode(
                {
                    "rows_added": appending.rows_added,
                    "ragged": appending.ragged,
                    "ragged_columns": appending.ragged_columns,
                    "document": document,
                }
            ),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )


class Appending:
    """One stream of rows into the document that the room shows when the stream begins."""

    def __init__(
        self, end: DocumentEnd, keeper: Keeper, limits: AppendLimits, guard: Guard
    ) -> None:
        self.rows_added = 0
        self.ragged = 0  # of them, with another number of cells than the table has columns
        self.ragged_columns = 0  # cells of the first of those
        self._end = end
        self._keeper = keeper
        self._limits = limits
        self._guard = guard
        self._document: dict[str, Any] = {}
        self._dialect = TSV  # of the document, as its rows are read
        self._storing: asyncio.Task[None] | None = None

    async def run(self, content: Content, draining: Callable[[], bool]) -> dict[str, Any]:
        """Read to the end; the document then. Errors say how many rows were added before."""
        try:
            return await self._run(content, draining)
        except TablecastError as error:
            error.message = f"{error.message} {self._told(error)}"
            error.more["rows_added"] = self.rows_added
            raise

    # Internal

    async def _run(self, content: Content, draining: Callable[[], bool]) -> dict[str, Any]:
        self._document = await self._end.document(self._guard)
        self._dialect = msgspec.convert(self._document, Document).dialect
        rows = RowStream(
            self._dialect, record_limit=self._limits.record, column_limit=self._limits.columns
        )
        try:
            await self._read(content, rows, draining)
        except asyncio.CancelledError:
            # The sender is gone, or this node ends. Whole rows that came are kept.
            with contextlib.suppress(TablecastError, TimeoutError):
                async with asyncio.timeout(LAST_PATIENCE):
                    if self._storing is not None:
                        await asyncio.shield(self._storing)
                    await self._store(rows)
            raise
        return self._document

    async def _read(self, content: Content, rows: RowStream, draining: Callable[[], bool]) -> None:
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
                    data = await content.readany()
            except TimeoutError:
                continue
            except TablecastError:
                await self._store(rows)
                raise
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
                await self._compare(pieces[: stored.pieces])
                pieces = pieces[stored.pieces :]
                await self._keeper.use(self._end.room, stored.registers)

    async def _compare(self, added: Sequence[Piece]) -> None:
        """Count the rows that are of another width than the table."""
        columns = self._document["columns"]
        found, width = await asyncio.to_thread(ragged, added, self._dialect, columns)
        self.ragged_columns = self.ragged_columns or width
        self.ragged += found

    def _told(self, error: TablecastError) -> str:
        added = f"{self.rows_added:,} {'row was' if self.rows_added == 1 else 'rows were'}"
        if isinstance(error, Unavailable) and self._storing is not None:
            return f"{added} added before; whether those sent last were is not known."
        return f"{added} added before." if self.rows_added else "No row was added."
