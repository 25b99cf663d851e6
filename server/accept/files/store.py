"""The second half of an upload's way: a short queue of blocks, the backend, the room's registers.

The queue is what bounds memory: `put` waits while it is full. The room learns of the document as
soon as its first block is stored, and of progress at most four times a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from server.accept.edge.bodies import IDLE_LIMIT
from server.accept.files.place import Place, persistently
from server.document.blocks import Block
from server.document.cutter import CutSoFar
from server.document.messages import Document
from server.errors import TablecastError, UploadLost
from server.fanout.backend import Backend, StoredBlock
from server.fanout.tasks import end
from server.logs import about

log = logging.getLogger(__name__)

# Batches of blocks between the cutter and the store: enough that neither waits for the other.
QUEUE_LENGTH: Final = 4
# Seconds between two progress changes of a room.
PROGRESS_INTERVAL: Final = 0.25
# Seconds without a byte from the uploader before the others are told that nothing comes, and
# between two looks whether that is so.
QUIET_LIMIT: Final = 10.0
LOOK_INTERVAL: Final = 1.0
# Seconds between two prolongations of what the room has beside this upload: less than any life.
KEEP_INTERVAL: Final = 15.0


class Batch(NamedTuple):
    """Consecutive blocks, and what is known of the document up to the last of them."""

    blocks: Sequence[Block]
    so_far: CutSoFar


class Arriving(Protocol):
    """The first half: what the room is told of the file."""

    @property
    def received(self) -> int:
        """Bytes that came."""

    @property
    def is_plain(self) -> bool:
        """As `Intake.is_plain`."""

    def describe(self, so_far: CutSoFar) -> Document:
        """The document as far as it is stored."""


class Store:
    """Stores what it is given, in one task, and keeps the upload's place in the room meanwhile.

    `so_far`: what is stored. `known`: bytes of the document that the room knows to be stored; it is
    told no less. `alive_at`: when the uploader was last heard of (`time.monotonic`).
    `busy`: whether bytes of it are being worked on, so that nobody waits for more. `error`: why it
    has ended by itself; `failed` was called with it, once, from the loop.

    While nobody is busy and nothing comes the room is told that the upload is paused, as when its
    sender has left; what comes next takes that back. The place is held all the while.
    """

    def __init__(
        self,
        backend: Backend,
        room: str,
        place: Place,
        arriving: Arriving,
        so_far: CutSoFar,
        *,
        lease: float,
        failed: Callable[[TablecastError], None] | None,
        heard_at: Callable[[], float] | None = None,
    ) -> None:
        """`lease` in seconds. `heard_at`: when the last byte came (`time.monotonic`), even if what
        it belongs to is not whole yet and so nobody has called `alive`."""
        self.so_far = so_far
        self.known = 0
        self.alive_at = 0.0
        self.busy = False
        self.error: TablecastError | None = None
        self._backend = backend
        self._room = room
        self._place = place
        self._arriving: Arriving | None = arriving
        self._renew_after = lease / 3
        self._failed = failed
        self._heard_at = heard_at or (lambda: -math.inf)
        self._queue: asyncio.Queue[Batch | None] = asyncio.Queue(QUEUE_LENGTH)
        self._task: asyncio.Task[None] | None = None
        self._told_at = 0.0
        self._renew_at = 0.0
        self._kept_at = -math.inf

    # API

    @property
    def started(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        self.alive()
        self._renew_at = asyncio.get_running_loop().time() + self._renew_after
        self._task = asyncio.create_task(self._run(), name=f"upload {self._place.upload.id}")

    def alive(self) -> None:
        """The uploader was heard of."""
        self.alive_at = time.monotonic()

    def fail(self, error: TablecastError) -> None:
        self.error = error
        if self._failed is not None:
            self._failed(error)

    async def put(self, batch: Batch | None) -> None:
        """Queue blocks, or None for the end; returns at once when the store has ended."""
        assert self._task is not None
        if self._task.done():
            return
        put = asyncio.ensure_future(self._queue.put(batch))
        try:
            await asyncio.wait([put, self._task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not put.done():
                put.cancel()

    async def drained(self) -> None:
        """Store all that was put, and end."""
        if self._task is not None:
            await self.put(None)
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """End at once, and hold neither blocks nor whoever gave them."""
        if self._task is not None:
            await end([self._task])
        while not self._queue.empty():
            self._queue.get_nowait()
        self._arriving = self._failed = None

    async def holds(self, blocks: int) -> bool:
        """Whether this many blocks are in the storage; one that restarted may have lost some."""
        return min(await self._extent()) >= blocks > 0

    async def is_whole(self, blocks: int) -> bool:
        """Whether these are all, and in the index too."""
        return await self._extent() == (blocks, blocks)

    def told(self) -> Document | None:
        """What the room is to know of the document; None while it knows of more already."""
        if not self.so_far.blocks or self.so_far.stored < self.known:
            return None
        assert self._arriving is not None, "it is closed"
        return self._arriving.describe(self.so_far)

    # Internal

    async def _extent(self) -> tuple[int, int]:
        id = self._place.upload.id
        return await persistently(lambda: self._backend.extent(self._room, id))

    async def _run(self) -> None:
        try:
            await self._store_all()
        except TablecastError as error:
            self.fail(error)
        except Exception:
            told = about(self._room, upload=self._place.upload.id)
            log.exception("an upload failed", extra=told)
            self.fail(UploadLost("The upload failed inside the server. Start it again."))

    async def _store_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(min(self._renew_after, LOOK_INTERVAL)):
                    batch = await self._queue.get()
            except TimeoutError:
                if time.monotonic() - self.alive_at > IDLE_LIMIT:
                    raise UploadLost(
                        f"No byte of {self._place.upload.name} came for {IDLE_LIMIT:.0f} seconds, "
                        "so the upload was given up. The table before it is back; start it again."
                    ) from None
                if loop.time() >= self._renew_at or self._is_quiet() != self._place.is_quiet:
                    await self._tell()
                continue
            if batch is None:
                return
            await self._put_blocks(batch.blocks)
            self.so_far = batch.so_far
            is_due = loop.time() - self._told_at >= PROGRESS_INTERVAL
            if is_due or not self._place.announced or self._place.is_quiet:
                await self._tell()

    def _is_quiet(self) -> bool:
        """Whether nothing has come for a while though it could."""
        silence = time.monotonic() - max(self.alive_at, self._heard_at())
        return not self.busy and silence >= QUIET_LIMIT

    async def _put_blocks(self, blocks: Sequence[Block]) -> None:
        id = self._place.upload.id
        stored = [StoredBlock(block.number, block.data, block.entry) for block in blocks]
        await persistently(lambda: self._backend.put_blocks(self._room, id, stored))

    async def _tell(self) -> None:
        """Tell the room how far the upload is, and renew its lease."""
        self._told_at = asyncio.get_running_loop().time()
        self._renew_at = self._told_at + self._renew_after
        if self._told_at - self._kept_at >= KEEP_INTERVAL:
            self._kept_at = self._told_at
            await self._place.keep()
        arriving = self._arriving
        assert arriving is not None, "it is closed"
        await self._place.tell(
            self.told(), arriving.received, is_plain=arriving.is_plain, is_quiet=self._is_quiet()
        )
