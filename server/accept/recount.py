"""Counting again, after a correction, what a report tells: in the background, for everyone.

The correction itself does not wait for it. Until the counts are there the report has the note
`not_counted`; they come as one more change of the document, and only into the very document that is
shown, read as it was counted. Whatever is in the way (a newer correction, another table, a node
that ends) ends the counting, and the note stays.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from msgspec import convert, to_builtins
from msgspec.structs import replace

from server.document.dialect import Dialect
from server.document.messages import Document
from server.document.pages import Index
from server.document.recount import NOT_COUNTED, Recount
from server.errors import Conflict, Missing, TablecastError
from server.fanout import changes
from server.fanout.backend import Backend
from server.fanout.tasks import end
from server.logs import about

log = logging.getLogger(__name__)

# Blocks that are read at once: a MiB, some milliseconds of a thread.
BATCH: Final = 16
# Looks at a document that others add rows to at the same time.
LOOKS: Final = 50
# Documents that are counted at once on a node; others wait for their turn.
AT_ONCE: Final = 2


class Recounts:
    """Those that run on this node, one for each room at most."""

    def __init__(self, backend: Backend, *, record_limit: int) -> None:
        self._backend = backend
        self._record_limit = record_limit
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    def begin(self, room: str, document: Document) -> None:
        """Count `document` again if its report says so. Returns at once."""
        if document.report is None or NOT_COUNTED not in document.report.notes:
            return
        if (running := self._tasks.get(room)) is not None:
            running.cancel()
        task = asyncio.create_task(self._run(room, document), name=f"recount {document.id}")
        self._tasks[room] = task
        task.add_done_callback(lambda done: self._forget(room, done))

    async def close(self) -> None:
        await end(list(self._tasks.values()))

    # Internal

    def _forget(self, room: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(room) is task:
            del self._tasks[room]

    async def _run(self, room: str, document: Document) -> None:
        try:
            async with self._turn:
                await self._count(room, document)
        except TablecastError as error:
            told = about(room, document=document.id, code=error.code)
            log.info("a document was not counted again", extra=told)
        except Exception:
            log.exception("counting again failed", extra=about(room, document=document.id))

    async def _count(self, room: str, wanted: Document) -> None:
        count = Recount(wanted.dialect, record_limit=self._record_limit)
        index = Index()
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(random.uniform(0, min(0.25, 0.02 * look)))
            snapshot = await self._backend.snapshot(room)
            shown = snapshot.registers.get("document")
            if shown is None:
                return
            document = convert(shown, Document)
            report = document.report
            if document.id != wanted.id or _cells(document.dialect) != _cells(wanted.dialect):
                return
            if report is None or NOT_COUNTED not in report.notes:
                return
            index.append(await self._backend.index(room, document.id, len(index)))
            last = document.blocks - 1
            if len(index) <= last:
                raise Missing("A part of this table is gone.")
            while count.blocks < last:
                numbers = range(count.blocks, min(count.blocks + BATCH, last))
                blocks = await self._blocks(room, document, index, numbers)
                await asyncio.to_thread(count.add, blocks)
            if last and count.records != index.first_record(last):
                raise Missing("The blocks of this table do not fit each other.")
            (end_block,) = await self._blocks(room, document, index, range(last, last + 1))
            size = document.stored - index.first_byte(last)
            told = await asyncio.to_thread(count.told, report, end_block, size)
            change = changes.revise(snapshot, to_builtins(replace(document, report=told)))
            try:
                await self._backend.append(room, **change)
            except Conflict:
                continue  # rows came in between, or another correction: the next look tells
            return
        raise Conflict("Others always changed it in between.")

    async def _blocks(
        self, room: str, document: Document, index: Index, numbers: range
    ) -> list[tuple[bytes, bool]]:
        stored = await self._backend.get_blocks(room, document.id, numbers)
        return [
            (data, index.is_literal(number)) for number, data in zip(numbers, stored, strict=True)
        ]


def _cells(dialect: Dialect) -> Dialect:
    """Whether record 0 names the columns changes no count."""
    return replace(dialect, header=True)
