"""The way of one upload: bytes come in, blocks go to the backend, the room is told.

    feed -> cut and compress (a thread) -> a short queue -> store (one task) -> registers

The queue is what bounds memory: `feed` waits while it is full, and whoever feeds stops reading from
the network. Whatever goes wrong, `abort` brings back what the upload replaced.

An upload with a token can be left and gone on with: at the end of the last block of which the room
knows, if the stored bytes are the file's own, else from its beginning, while everyone still sees
how far it was. `pause` leaves it so; where a node dies, the others pause it when its lease has
ended, and give it up when nobody comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from server.accept.edge.access import NO_KEYS, Guard
from server.accept.files.cutting import Cutting, UploadLimits
from server.accept.files.filename import clean_filename
from server.accept.files.kept import told_without_table
from server.accept.files.place import Place, Times, Wanted
from server.accept.files.spool import notes_of_file
from server.accept.files.store import Batch, Store
from server.document.cutter import CutSoFar
from server.document.dialect import Dialect
from server.document.encodings import Encoding
from server.document.messages import Document, Person, Source
from server.errors import (
    Draining,
    EmptyDocument,
    TablecastError,
    Unavailable,
    UploadLost,
)
from server.fanout.backend import Backend
from server.logs import about, room_id

log = logging.getLogger(__name__)

# A replaced document stays readable this long, for pages that are being rendered right now.
DROP_AFTER: Final = 60.0
ABORT_PATIENCE: Final = 5.0
PAUSE_PATIENCE: Final = 5.0
# Who brings no key.
SENDING: Final = NO_KEYS.changing("send files")


@dataclass(frozen=True, slots=True)
class Recut:
    """The stored bytes of `document` are cut anew, by a dialect of which a person chose the fields
    `chosen`. What comes of it is the same version of the same file, and has this `source`."""

    document: Document
    dialect: Dialect
    encoding: Encoding
    chosen: tuple[str, ...]
    source: Source | None = None


class Ingest:
    """One upload into one room. Use it as: begin, feed..., finish; or abort or pause at any time.

    `failed` is called (once, from the loop) with the error when the upload ends by itself between
    two calls; the next call raises the same error. `ended` is called once, however it ends.
    `token`: it can be paused, and `resume`: it goes on with the one that has this token.
    `heard_at` as in `Store`.
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
        by: Person | None = None,
        token: str = "",
        resume: bool = False,
        replace: bool = False,
        failed: Callable[[TablecastError], None] | None = None,
        ended: Callable[[Ingest], None] | None = None,
        heard_at: Callable[[], float] | None = None,
        guard: Guard = SENDING,
    ) -> None:
        self.room = room
        self.token = token
        self.is_paused = False
        self._backend = backend
        self._limits = limits
        self._name = clean_filename(name)
        self._size = size
        self._place = Place(
            backend,
            room,
            Wanted(
                self._name,
                size,
                kind="upload" if recut is None else "recut",
                by=by,
                token=token,
                resume=resume,
                replace=replace,
            ),
            Times(lease=int(limits.lease * 1000), pause=int(limits.pause * 1000)),
            page_size=limits.page_size,
            guard=guard,
        )
        self.survives = bool(token) and limits.pause > 0
        self._ended = ended
        self._cutting = Cutting(
            self._name,
            limits,
            sheet=sheet,
            dialect=recut.dialect if recut is not None else None,
            encoding=recut.encoding if recut is not None else None,
            notes=notes_of_file(recut.document.report) if recut is not None else (),
        )
        self._received = 0
        self._chosen = recut.chosen if recut is not None else ()
        self._of = recut.document if recut is not None else None
        self._source = recut.source if recut is not None else None
        self._tell_failed = failed
        self._store = Store(
            backend,
            room,
            self._place,
            self,
            self._cutting.so_far,
            lease=limits.lease,
            failed=self._failed,
            heard_at=heard_at,
        )
        # Nobody sends what is cut anew, so nobody can be silent.
        self._store.busy = recut is not None
        self._over = False
        self._began = time.monotonic()

    # API

    @property
    def id(self) -> str:
        """Known for certain once it has begun."""
        return self._place.upload.id

    @property
    def owner(self) -> str:
        """What the room's plain field `upload_owner` is while this upload runs here."""
        return self._place.owner

    @property
    def received(self) -> int:
        """Bytes of the file that came; after a resume, from where it goes on."""
        return self._received

    @property
    def stored(self) -> int:
        return self._store.so_far.stored

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the file's own, as far as they go."""
        return self._cutting.is_plain

    async def begin(self) -> None:
        """Take the room's one place for an upload. Raises `UploadInProgress`, `Unavailable`, and
        what the guard says; a resume `UploadLost`, `UploadReplaced`, `BadMessage`.

        Call `abort` (of a resume: `pause`) even if this fails: nobody knows whether the place was
        taken then.
        """
        await self._place.take()
        shown = self._place.shown
        if shown is not None:
            self._store.known = shown.stored
            if self._place.is_plain and await self._store.holds(shown.blocks):
                self._go_on(shown)
        self._store.start()

    def alive(self) -> None:
        """Bytes came, though not yet enough to be cut. Raises the error of a store that failed."""
        self._check()
        self._store.alive()

    def fail(self, error: TablecastError) -> None:
        """End the upload from outside; whoever feeds it meets the error, and aborts."""
        if self._store.error is None and not self._over:
            self._store.fail(error)

    async def feed(self, chunk: bytes) -> None:
        """Take the next bytes; returns when they are cut (not yet stored). Raises what is wrong."""
        self._check()
        self._store.alive()
        self._received += len(chunk)
        self._backend.counts.upload_bytes += len(chunk)
        was_busy, self._store.busy = self._store.busy, True
        try:
            with self._in_room():
                await self._cutting.feed(chunk, self._put)
        finally:
            self._store.busy = was_busy
        self._store.alive()

    async def finish(self) -> Document:
        """No more bytes come: store the rest and make the document complete."""
        with self._in_room():
            self._check()
            self._check_size()
            self._store.busy = True
            await self._cutting.finish(self._put, self._converts)
            await self._store.drained()
            self._check()
            return await self._complete()

    async def abort(self) -> None:
        """Give the upload up and bring back what it replaced. Idempotent, bounded in time."""
        if self._over and not self.is_paused:
            return
        self._end("failed")
        self.is_paused = False
        await self._let_go()
        if not self._place.held:
            return
        try:
            async with asyncio.timeout(ABORT_PATIENCE):
                # If the place is another's by now, so may be the blocks.
                if await self._place.give_up() or await self._place.is_forgotten():
                    await self._backend.drop(self.room, self.id, after=DROP_AFTER)
        except (Unavailable, TimeoutError):
            log.warning("an upload ends with its lease", extra=about(self.room, upload=self.id))

    async def pause(self) -> None:
        """Leave the upload for whoever has its token; what is queued is stored. Bounded in time.

        One without a token is given up.
        """
        if self._over:
            return
        if not self.survives or self._store.error is not None:
            await self.abort()
            return
        self.is_paused = True
        self._end("paused")
        try:
            if not self._place.held:
                return
            async with asyncio.timeout(PAUSE_PATIENCE):
                await self._store.drained()
                if self._store.error is not None:
                    raise self._store.error
                await self._place.pause(self._store.told(), self._received)
        except TimeoutError:
            told = about(self.room, upload=self.id)
            log.warning("an upload is paused with its lease", extra=told)
        except TablecastError as error:
            told = about(self.room, upload=self.id, code=error.code)
            log.info("an upload is not paused", extra=told)
        finally:
            await self._let_go()

    async def look(self) -> None:
        """Fail if the place in the room is held no longer, as a change seems to say."""
        if not self._store.started or self._over:
            return
        with contextlib.suppress(Unavailable):
            lost = await self._place.look()
            if lost is not None:
                self.fail(lost)

    def describe(self, so_far: CutSoFar, *, complete: bool = False) -> Document:
        """The register of the document up to there."""
        # Where the file's own size tells, it is known before its end.
        cutting = self._cutting
        ahead = self._size if cutting.is_plain and not cutting.is_sheet else None
        dialect, of = so_far.dialect, self._of
        return Document(
            id=self.id,
            version=of.version if of else self._place.version,
            name=clean_filename(cutting.name),
            size=so_far.stored if complete else ahead,
            stored=so_far.stored,
            records=so_far.records,
            rows=max(0, so_far.records - int(dialect.header)),
            columns=so_far.columns,
            blocks=so_far.blocks,
            complete=complete,
            created=of.created if of else self._backend.now_ms(),
            dialect=dialect,
            sheets=of.sheets if of else cutting.sheets,
            sheet=of.sheet if of else cutting.sheet,
            report=msgspec.structs.replace(so_far.report, chosen=self._chosen),
            by=of.by if of else self._place.upload.by,
            corrected_by=self._place.upload.by if of else None,
            source=self._source_of(so_far),
        )

    # Internal

    def _source_of(self, so_far: CutSoFar) -> Source | None:
        if self._source is None or self._source.became:
            return self._source
        return msgspec.structs.replace(self._source, became=so_far.stored)

    def _go_on(self, shown: Document) -> None:
        """Take what follows as the rest of the file."""
        assert shown.report is not None
        self._store.so_far = so_far = CutSoFar(
            stored=shown.stored,
            records=shown.records,
            blocks=shown.blocks,
            columns=shown.columns,
            dialect=shown.dialect,
            report=shown.report,
        )
        self._cutting.go_on(so_far)
        self._received = shown.stored

    def _end(self, outcome: str) -> None:
        self._over = True
        self._count(outcome)
        self._cutting.close()
        if self._ended is not None:
            self._ended(self)

    async def _let_go(self) -> None:
        """End what it does, and keep nobody by whom it is kept: its memory is free with the last
        word of it, and waits for no garbage collector, which on a quiet node comes late."""
        await self._store.close()
        self._tell_failed = None

    def _count(self, outcome: str) -> None:
        if self._of is not None:
            return  # nobody sent anything
        counts = self._backend.counts
        counts.uploads[outcome] += 1
        if counts.spans is not None:
            seconds = time.monotonic() - self._began
            said = {"tablecast.room": room_id(self.room), "tablecast.outcome": outcome}
            counts.spans.past("upload", seconds, said)

    def _failed(self, error: TablecastError) -> None:
        self._explain(error)
        if self._tell_failed is not None:
            self._tell_failed(error)

    @contextlib.contextmanager
    def _in_room(self) -> Iterator[None]:
        """Errors are told as they are true in this room."""
        try:
            yield
        except TablecastError as error:
            self._explain(error)
            raise

    def _explain(self, error: TablecastError) -> None:
        if self._place.upload.previous is None:
            told_without_table(error)

    def _check(self) -> None:
        if self._store.error is not None:
            raise self._store.error
        if self.is_paused:
            raise Draining("This upload goes on elsewhere.")
        if self._over:
            raise UploadLost("This upload has ended. Start it again.")

    def _check_size(self) -> None:
        size = self._size
        if size is not None and self.received != size:
            raise UploadLost(
                f"{self.received:,} bytes of {self._name} came instead of {size:,}: it was "
                "changed while it was read, or cut off. The table before it is back; send it again."
            )

    async def _put(self, batch: Batch) -> None:
        self._store.alive()
        if batch.blocks:
            await self._store.put(batch)
            self._check()

    def _converts(self) -> None:
        # Its process has a time limit of its own, so the uploader is not silent meanwhile.
        self._store.alive_at = math.inf

    async def _complete(self) -> Document:
        so_far = self._cutting.so_far
        if not so_far.records:
            raise EmptyDocument("There is nothing in this file.")
        if not await self._store.is_whole(so_far.blocks):
            raise UploadLost(
                "The storage lost a part of this upload (it may have restarted). "
                "The table before it is back; start it again."
            )
        document = self.describe(so_far, complete=True)
        await self._place.keep(self.id)
        fallen = await self._place.complete(document)
        self._end("completed")
        await self._let_go()
        for old in fallen:
            try:
                await self._backend.drop(self.room, old, after=DROP_AFTER)
            except TablecastError as error:
                told = about(self.room, document=old, code=error.code)
                log.info("an old document stays", extra=told)
        return document
