"""Counting again, after a correction, what a report tells: in the background, for everyone.

The correction itself does not wait for it. Until the counts are there the report has the note
`not_counted`; they come as one more change of the document, and only into the very document that is
shown, read as it was counted. A newer correction or another table ends the counting.

Which node counts says the plain field `recount`: the document's id, how often it was begun, and
until when (ms since 1970) that node is to be believed in. Every node that has viewers in the room
waits for that moment, and one of them begins again: a node that ends leaves no note for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from msgspec import convert, to_builtins
from msgspec.structs import replace

from server.document.dialect import Dialect
from server.document.messages import Document
from server.document.pages import Index
from server.document.recount import NOT_COUNTED, Recount
from server.errors import Conflict, Missing, TablecastError
from server.fanout import changes
from server.fanout.backend import Backend, Change, Event, Snapshot
from server.fanout.tasks import end
from server.logs import about

log = logging.getLogger(__name__)

# Blocks that are read at once: a MiB, some milliseconds of a thread.
BATCH: Final = 16
# Looks at a document that others add rows to at the same time.
LOOKS: Final = 50
# Documents that are counted at once on a node; others wait for their turn.
AT_ONCE: Final = 2
# A node that counts is believed in for so many seconds, and for those that the bytes may take.
CLAIM: Final = 60.0
BYTES_A_SECOND: Final = 4_000_000
# A count that was begun so often is not to be had: the storage has lost something, perhaps.
TRIES: Final = 3


class Recounts:
    """Those that run on this node, one for each room at most."""

    def __init__(self, backend: Backend, *, record_limit: int) -> None:
        self._backend = backend
        self._record_limit = record_limit
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        # Of each room in `_watches`: set when it is worth another look.
        self._stirred: dict[str, asyncio.Event] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._closed = False

    # API

    @property
    def waiting(self) -> int:
        """Rooms whose counts this node waits for, its own included."""
        return len(self._watches)

    def claim(self, change: changes.Arguments) -> None:
        """Let `change`, which shows a document whose counts are missing, say that they come from
        here: call `begin` once it is made."""
        document = change["set"]["document"]
        if _is_uncounted(document):
            change["fields"]["recount"] = self._claim(document, 1)

    def begin(self, room: str, document: Document) -> None:
        """Count `document` again if its report says so. Returns at once."""
        if document.report is None or NOT_COUNTED not in document.report.notes:
            return
        if (running := self._tasks.get(room)) is not None:
            running.cancel()
        self._start(self._tasks, room, self._run(room, document), f"recount {document.id}")

    def changed(self, room: str, event: Event) -> None:
        """What the fan-out tells of a room: one that waits for counts is looked after."""
        if isinstance(event, Snapshot):
            document = event.registers.get("document")
        elif isinstance(event, Change) and "document" in event.set:
            document = event.set["document"]
        else:
            return
        if not _is_uncounted(document):
            if (watch := self._watches.get(room)) is not None:
                watch.cancel()
        elif room not in self._watches and not self._closed:
            self._start(self._watches, room, self._watch(room), f"waits for counts of {room[:8]}")

    async def close(self) -> None:
        self._closed = True
        await end([*self._watches.values(), *self._tasks.values()])

    # Internal

    @staticmethod
    def _start(
        tasks: dict[str, asyncio.Task[None]], room: str, job: Coroutine[Any, Any, None], name: str
    ) -> None:
        def forget(done: asyncio.Task[None]) -> None:
            if tasks.get(room) is done:
                del tasks[room]

        tasks[room] = asyncio.create_task(job, name=name)
        tasks[room].add_done_callback(forget)

    def _claim(self, document: Mapping[str, Any], tries: int) -> str:
        seconds = CLAIM + document["stored"] / BYTES_A_SECOND
        return f"{document['id']} {tries} {self._backend.now_ms() + int(seconds * 1000)}"

    async def _watch(self, room: str) -> None:
        """Begin to count where whoever did has ended."""
        stirred = self._stirred[room] = asyncio.Event()
        try:
            while True:
                snapshot = await self._backend.snapshot(room)
                document = snapshot.registers.get("document")
                if document is None or not _is_uncounted(document):
                    return
                claim = snapshot.fields.get("recount", "")
                id, tries, until = (*claim.split(), "", "0", "0")[:3]
                begun = int(tries) if id == document["id"] else 0
                if begun and (left := int(until) - self._backend.now_ms()) >= 0:
                    # Nodes that wait for the same moment need not all run into it.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(left / 1000 + random.uniform(0, CLAIM / 20)):
                            await stirred.wait()
                    stirred.clear()
                    continue
                counts = begun > 0 and room in self._tasks
                if begun >= TRIES and not counts:
                    return
                renewed = self._claim(document, begun if counts else begun + 1)
                try:
                    await self._backend.append(room, **changes.claim_recount(snapshot, renewed))
                except Conflict:
                    continue  # another node was first, or the table has changed
                if not counts:
                    self.begin(room, convert(document, Document))
        except TablecastError as error:
            # An upload runs, or the storage cannot be reached: the next snapshot asks again.
            log.info("counts are not waited for", extra=about(room, code=error.code))
        except Exception:
            log.exception("waiting for counts failed", extra=about(room))
        finally:
            if self._stirred.get(room) is stirred:
                del self._stirred[room]

    async def _run(self, room: str, document: Document) -> None:
        try:
            async with self._turn:
                await self._count(room, document)
        except TablecastError as error:
            told = about(room, document=document.id, code=error.code)
            log.info("a document was not counted again", extra=told)
        except Exception:
            log.exception("counting again failed", extra=about(room, document=document.id))
        else:
            # Nobody tells it of a room that all have left.
            if (stirred := self._stirred.get(room)) is not None:
                stirred.set()

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


def _is_uncounted(document: Mapping[str, Any] | None) -> bool:
    report = document["report"] if document is not None else None
    return report is not None and NOT_COUNTED in report["notes"]


def _cells(dialect: Dialect) -> Dialect:
    """Whether record 0 names the columns changes no count."""
    return replace(dialect, header=True)
