"""The way of one upload: bytes come in, blocks go to the backend, the room is told.

    feed -> cut and compress (a thread) -> a short queue -> store (one task) -> registers

The queue is what bounds memory: `feed` waits while it is full, and whoever feeds stops reading from
the network. The room learns of the document as soon as its first block is stored, and of progress
at most four times a second. Whatever goes wrong, `abort` brings back what the upload replaced; if
this node dies, any other does so when the lease has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import re
import secrets
import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from server.accept.access import NO_KEYS, Guard
from server.accept.spool import Spool
from server.document.blocks import BLOCK_SIZE, Block
from server.document.dialect import TSV, Dialect
from server.document.encodings import Encoding
from server.document.intake import Intake, SheetFile
from server.document.messages import Document, Upload
from server.errors import (
    Conflict,
    EmptyDocument,
    StorageFull,
    TablecastError,
    Unavailable,
    UploadLost,
)
from server.fanout import changes
from server.fanout.backend import Backend, StoredBlock
from server.fanout.tasks import end

T = TypeVar("T")

log = logging.getLogger(__name__)

# Batches of blocks between the cutter and the store: enough that neither waits for the other.
QUEUE_LENGTH: Final = 4
# Source bytes after which a batch goes to the store.
BATCH_SIZE: Final = 1024 * 1024
# Seconds between two progress changes of a room.
PROGRESS_INTERVAL: Final = 0.25
# Seconds that a store is tried again for while the backend cannot be reached: less than the lease.
STORE_PATIENCE: Final = 20.0
# Seconds without a byte from the uploader before the upload is given up.
IDLE_LIMIT: Final = 60.0
# A replaced document stays readable this long, for pages that are being rendered right now.
DROP_AFTER: Final = 60.0
ABORT_PATIENCE: Final = 5.0
NAME_LIMIT: Final = 255
# Who brings no key.
SENDING: Final = NO_KEYS.changing("send files")
DEFAULT_NAME: Final = "table.tsv"

_TURNS_DIRECTION: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes, but for `page_size` (rows) and `lease` (seconds)."""

    document: int
    record: int
    columns: int
    page_size: int
    lease: float
    # A conversion of a spreadsheet may take a GiB, so few run at once on a node.
    conversions: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


@dataclass(frozen=True, slots=True)
class Recut:
    """The stored bytes of `document` are cut anew, by a dialect of which a person chose the fields
    `chosen`. What comes of it is the same version of the same file."""

    document: Document
    dialect: Dialect
    encoding: Encoding
    chosen: tuple[str, ...]


class Ingest:
    """One upload into one room. Use it as: begin, feed..., finish; or abort at any time.

    `failed` is called (once, from the loop) with the error when the upload ends by itself between
    two calls; the next call raises the same error. `ended` is called once, however it ends.
    """

    def __init__(
        self,
        backend: Backend,
        room: str,
        *,
        name: str,
        size: int | None,
        limits: UploadLimits,
        recut: Recut | None = None,
        sheet: str | None = None,
        failed: Callable[[TablecastError], None] | None = None,
        ended: Callable[[Ingest], None] | None = None,
        guard: Guard = SENDING,
    ) -> None:
        self.id = secrets.token_hex(12)
        self.stored = 0
        self._backend = backend
        self._room = room
        self._limits = limits
        self._lease_ms = int(limits.lease * 1000)
        self._failed = failed
        self._ended = ended
        self._guard = guard
        self._intake = self._new_intake(
            clean_name(name),
            recut.dialect if recut is not None else None,
            recut.encoding if recut is not None else None,
        )
        self._upload = Upload(id=self.id, name=clean_name(name), size=size, received=0, lease=0)
        self._sheet = sheet
        self._sheets: list[str] | None = None
        self._spool: Spool | None = None
        self._received = 0
        self._chosen = recut.chosen if recut is not None else ()
        self._kind = "upload" if recut is None else "recut"
        self._of = recut.document if recut is not None else None
        self._version = 1
        self._versions: list[changes.Register] = []
        self._queue: asyncio.Queue[Sequence[Block] | None] = asyncio.Queue(QUEUE_LENGTH)
        self._task: asyncio.Task[None] | None = None
        self._error: TablecastError | None = None
        self._begun = False
        self._announced = False
        self._blocks = 0
        self._records = 0
        self._told_at = 0.0
        self._fed_at = 0.0
        self._over = False

    # API

    @property
    def received(self) -> int:
        return self._received

    async def begin(self) -> None:
        """Take the room's one place for an upload. Raises `UploadInProgress`, `Unavailable`, and
        what the guard says.

        Call `abort` even if this fails: nobody knows whether the place was taken then.
        """
        for last in (False, False, True):
            snapshot = await self._backend.snapshot(self._room)
            leave = self._guard(snapshot)
            begin = changes.begin_upload(
                snapshot,
                id=self.id,
                name=self._upload.name,
                size=self._upload.size,
                now_ms=self._backend.now_ms(),
                lease_ms=self._lease_ms,
            )
            begin["set"]["upload"]["kind"] = self._kind
            begin["fields"]["upload_role"] = leave.upload_role
            begin["expect"] |= leave.expect
            self._upload = msgspec.convert(begin["set"]["upload"], Upload)
            self._version = self._of.version if self._of else changes.next_version(snapshot)
            self._versions = changes.versions(snapshot)
            self._begun = True
            try:
                await self._backend.append(self._room, **begin)
                break
            except Conflict:
                self._begun = False
                # Someone changed the room since the snapshot; if it was another upload, the second
                # look says so by its name.
                if last:
                    raise
        self._fed_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._store(), name=f"upload {self.id}")

    def alive(self) -> None:
        """Bytes came, though not yet enough to be cut. Raises the error of a store that failed."""
        self._check()
        self._fed_at = asyncio.get_running_loop().time()

    def fail(self, error: TablecastError) -> None:
        """End the upload from outside; whoever feeds it meets the error, and aborts."""
        if self._error is None and not self._over:
            self._fail(error)

    async def feed(self, chunk: bytes) -> None:
        """Take the next bytes; returns when they are cut (not yet stored). Raises what is wrong."""
        self._check()
        self._fed_at = asyncio.get_running_loop().time()
        self._received += len(chunk)
        if self._spool is not None:
            await asyncio.to_thread(self._spool.write, chunk)
            return
        try:
            await self._take(self._intake.feed(chunk))
        except SheetFile as sheet:
            await self._begin_spool(sheet)

    async def finish(self) -> Document:
        """No more bytes come: store the rest and make the document complete."""
        self._check()
        self._check_size()
        if self._spool is None:
            try:
                await self._take(self._intake.finish())
            except SheetFile as sheet:
                await self._begin_spool(sheet)
        if self._spool is not None:
            await self._read_sheet(self._spool)
        await self._put(None)
        assert self._task is not None
        await asyncio.shield(self._task)
        self._check()
        return await self._complete()

    async def abort(self) -> None:
        """Give the upload up and bring back what it replaced. Idempotent, bounded in time."""
        if self._over:
            return
        self._end()
        if not self._begun:
            return
        if self._task is not None:
            await end([self._task])
        try:
            async with asyncio.timeout(ABORT_PATIENCE):
                # On a conflict another node has restored the room already.
                with contextlib.suppress(Conflict):
                    await self._backend.append(
                        self._room,
                        **changes.abort(
                            msgspec.to_builtins(self._upload), announced=self._announced
                        ),
                    )
                await self._backend.drop(self._room, self.id, after=DROP_AFTER)
        except (Unavailable, TimeoutError):
            log.warning("room %s: upload %s ends with its lease", self._room, self.id)

    # Internal

    def _new_intake(self, name: str, dialect: Dialect | None, encoding: Encoding | None) -> Intake:
        limits = self._limits
        return Intake(
            name=name,
            dialect=dialect,
            encoding=encoding,
            block_size=min(BLOCK_SIZE, limits.record),
            record_limit=limits.record,
            document_limit=limits.document,
            column_limit=limits.columns,
        )

    def _end(self) -> None:
        self._over = True
        if self._spool is not None:
            self._spool.close()
        if self._ended is not None:
            self._ended(self)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._over:
            raise UploadLost("This upload has ended. Start it again.")

    def _check_size(self) -> None:
        size = self._upload.size
        if size is not None and self.received != size:
            raise UploadLost(
                f"{self.received:,} bytes of {self._upload.name} came instead of {size:,}: it was "
                "changed while it was read, or cut off. The table before it is back; send it again."
            )

    async def _take(self, steps: Iterator[list[Block]]) -> None:
        """Do the intake's steps in a thread, and queue the blocks of each before the next."""
        more = True
        while more:
            blocks, more = await asyncio.to_thread(_some, steps)
            self._fed_at = asyncio.get_running_loop().time()
            if blocks:
                await self._put(blocks)

    async def _begin_spool(self, sheet: SheetFile) -> None:
        self._spool = Spool(sheet.kind)
        await asyncio.to_thread(self._spool.write, sheet.head)

    async def _read_sheet(self, spool: Spool) -> None:
        """Turn the spooled file into a table, as if that had been sent."""
        async with self._limits.conversions:
            # Its process has a time limit of its own, so the uploader is not silent meanwhile.
            self._fed_at = math.inf
            opened = await asyncio.to_thread(spool.tables, self._sheet)
            pieces, self._sheet, self._sheets = opened
            self._intake = self._new_intake(self._upload.name, TSV, Encoding(name="utf-8"))
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                await self._take(self._intake.feed(piece))
                self._fed_at = math.inf
            await self._take(self._intake.finish())

    async def _put(self, blocks: Sequence[Block] | None) -> None:
        """Queue blocks for the store; raises the store's error instead of waiting for ever."""
        assert self._task is not None
        put = asyncio.ensure_future(self._queue.put(blocks))
        try:
            await asyncio.wait([put, self._task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not put.done():
                put.cancel()
        self._check()

    async def _store(self) -> None:
        try:
            await self._store_all()
        except TablecastError as error:
            self._fail(error)
        except Exception:
            log.exception("room %s: upload %s failed", self._room, self.id)
            self._fail(UploadLost("The upload failed inside the server. Start it again."))

    def _fail(self, error: TablecastError) -> None:
        self._error = error
        if self._failed is not None:
            self._failed(error)

    async def _store_all(self) -> None:
        loop = asyncio.get_running_loop()
        renew_after = self._limits.lease / 3
        while True:
            try:
                async with asyncio.timeout(renew_after):
                    blocks = await self._queue.get()
            except TimeoutError:
                if loop.time() - self._fed_at > IDLE_LIMIT:
                    raise UploadLost(
                        f"No byte of {self._upload.name} came for {IDLE_LIMIT:.0f} seconds, so the "
                        "upload was given up. The table before it is back; start it again."
                    ) from None
                await self._tell()
                continue
            if blocks is None:
                return
            await self._persistently(
                lambda blocks=blocks: self._backend.put_blocks(  # type: ignore[misc]
                    self._room,
                    self.id,
                    [StoredBlock(block.number, block.data, block.entry) for block in blocks],
                )
            )
            last = blocks[-1]
            self._blocks = last.number + 1
            self._records = last.first_record + last.records
            self.stored = last.first_byte + last.size
            if not self._announced or loop.time() - self._told_at >= PROGRESS_INTERVAL:
                await self._tell()

    async def _tell(self) -> None:
        """Tell the room how far the upload is, and renew its lease."""
        self._told_at = asyncio.get_running_loop().time()
        upload = msgspec.to_builtins(self._upload)
        document = msgspec.to_builtins(self._document(complete=False)) if self._blocks else None
        now_ms = self._backend.now_ms()
        if document is not None and not self._announced:
            self._announced = True
            change = changes.announce(
                upload,
                document,
                page_size=self._limits.page_size,
                received=self.received,
                now_ms=now_ms,
                lease_ms=self._lease_ms,
            )
        else:
            change = changes.progress(
                upload, document, received=self.received, now_ms=now_ms, lease_ms=self._lease_ms
            )
        await self._append(change)
        self._upload = msgspec.convert(change["set"]["upload"], Upload)

    async def _complete(self) -> Document:
        if not self._records:
            raise EmptyDocument("There is nothing in this file.")
        blocks, entries = await self._persistently(
            lambda: self._backend.extent(self._room, self.id)
        )
        if blocks != self._blocks or entries != self._blocks:
            raise UploadLost(
                "The storage lost a part of this upload (it may have restarted). "
                "The table before it is back; start it again."
            )
        document = self._document(complete=True)
        await self._persistently(lambda: self._backend.keep(self._room, [self.id]))
        change = changes.complete(
            msgspec.to_builtins(self._upload),
            msgspec.to_builtins(document),
            page_size=self._limits.page_size,
            announced=self._announced,
            versions=self._versions,
        )
        await self._append(change)
        self._end()
        for old in changes.fallen(self._versions, change):
            try:
                await self._backend.drop(self._room, old, after=DROP_AFTER)
            except TablecastError as error:
                log.info("room %s: old document %s stays: %s", self._room, old, error)
        return document

    def _size_ahead(self) -> int | None:
        """Bytes that the table will have, where the file's own size tells."""
        as_it_came = self._intake.unpacked == self.received and self._spool is None
        return self._upload.size if as_it_came else None

    def _document(self, *, complete: bool) -> Document:
        dialect = self._intake.dialect
        header = int(dialect.header)
        of = self._of
        return Document(
            id=self.id,
            version=self._version,
            name=clean_name(self._intake.name),
            size=self.stored if complete else self._size_ahead(),
            stored=self.stored,
            records=self._records,
            rows=max(0, self._records - header),
            columns=self._intake.columns,
            blocks=self._blocks,
            complete=complete,
            created=of.created if of else self._backend.now_ms(),
            dialect=dialect,
            sheets=of.sheets if of else self._sheets,
            sheet=of.sheet if of else self._sheet if self._sheets is not None else None,
            report=msgspec.structs.replace(self._intake.report, chosen=self._chosen),
        )

    async def _append(self, change: changes.Arguments) -> None:
        # One request id for all tries: a lost reply must not apply a change twice.
        request = secrets.token_hex(8)
        try:
            await self._persistently(
                lambda: self._backend.append(self._room, request=request, **change)
            )
        except Conflict:
            # Whoever may send no more is told that.
            self._guard(await self._backend.snapshot(self._room))
            raise UploadLost(
                "This upload was given up in between. The table before it is back; start it again."
            ) from None

    @staticmethod
    async def _persistently(call: Callable[[], Awaitable[T]]) -> T:
        """Do `call` until the backend can be reached, for `STORE_PATIENCE` seconds."""
        end = time.monotonic() + STORE_PATIENCE
        pause = 0.1
        while True:
            try:
                return await call()
            except StorageFull:
                raise
            except Unavailable:
                if time.monotonic() + pause > end:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 1.0)


def _some(steps: Iterator[list[Block]]) -> tuple[list[Block], bool]:
    """Do steps until there is a batch or a step without blocks; whether there may be more.

    Several in one turn of a thread, because the turns themselves would take most of the time.
    """
    gathered: list[Block] = []
    for blocks in steps:
        gathered += blocks
        if not blocks or sum(block.size for block in gathered) >= BATCH_SIZE:
            return gathered, True
    return gathered, False


def clean_name(name: str) -> str:
    """A file's name without folders, control characters and line breaks, at most 255 characters.

    Characters that turn the direction of the text around them go too: names are part of sentences.
    """
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp"))
    name = _TURNS_DIRECTION.sub("", name)
    return name.strip()[:NAME_LIMIT] or DEFAULT_NAME
