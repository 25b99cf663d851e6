"""The uploads that run on this node, whichever door they came in by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from server.accept.edge.access import Guard
from server.accept.files.cutting import UploadLimits
from server.accept.files.kept import told_without_table
from server.accept.files.upload import SENDING, Ingest, Recut
from server.document.cutter import document_too_large
from server.document.messages import Person
from server.errors import Draining, TablecastError
from server.fanout.backend import Backend, Change, Event, Here, Signal
from server.fanout.tasks import end
from server.settings import Settings

# Seconds for those who send to notice; whoever sends nothing meanwhile is cut off.
DRAIN_PATIENCE: Final = 2.0
ANSWER_TIME: Final = 0.2


class Uploads:
    """Opens uploads within the node's limits, and ends those that run when the node does."""

    def __init__(
        self, backend: Backend, settings: Settings, may_begin: Callable[[], None] = lambda: None
    ) -> None:
        """`may_begin` raises `RateLimited` if whoever asks now sends too many files."""
        self._backend = backend
        self._may_begin = may_begin
        self._limits = UploadLimits(
            document=settings.document_limit,
            record=settings.record_limit,
            columns=settings.column_limit,
            page_size=settings.page_size,
            lease=settings.upload_lease,
            pause=settings.upload_pause,
        )
        self._running: set[Ingest] = set()
        self._idle = asyncio.Event()
        self._draining = False
        self._looks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        return len(self._running)

    def open(
        self,
        room: str,
        *,
        name: str,
        size: int | None,
        recut: Recut | None = None,
        sheet: str | None = None,
        by: Person | None = None,
        token: str = "",
        resume: bool = False,
        replace: bool = False,
        failed: Callable[[TablecastError], None] | None = None,
        heard_at: Callable[[], float] | None = None,
        guard: Guard = SENDING,
    ) -> Ingest:
        """An upload that has not begun yet. Whoever opens it calls `abort` or `pause` in the end.

        `size` in bytes, None where it is unknown. With a `token` it can be paused, and when this
        node ends it is; with `resume` it goes on with the one that has this token. `replace` gives
        up another one that runs. `heard_at`: when its sender's last byte came (`time.monotonic`),
        where that may be long before it is fed. Raises `TooLarge`, `Draining`, `RateLimited`.
        """
        if self._draining:
            raise _draining()
        if recut is None and not resume:
            self._may_begin()
        limit = self._limits.document
        if size is not None and size > limit:
            error = document_too_large(limit)
            told_without_table(error)  # nobody has looked yet whether there is one
            raise error
        ingest = Ingest(
            self._backend,
            room,
            name=name,
            size=size,
            limits=self._limits,
            recut=recut,
            sheet=sheet,
            by=by,
            token=token,
            resume=resume,
            replace=replace,
            failed=failed,
            ended=self._ended,
            heard_at=heard_at,
            guard=guard,
        )
        self._running.add(ingest)
        self._idle.clear()
        return ingest

    def changed(self, room: str, event: Event) -> None:
        """What the fan-out tells of a room: an upload here may have lost its place there."""
        if isinstance(event, Here | Signal) or not self._running:
            return
        for ingest in self._running:
            if ingest.room != room:
                continue
            # Every change of the holder names it; after a break there may have been some.
            owner = event.fields.get("upload_owner", "")
            named = "upload_owner" in event.fields or not isinstance(event, Change)
            if named and owner != ingest.owner:
                look = asyncio.create_task(ingest.look(), name="look")
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)

    async def drain(self) -> None:
        """Take no more. What can go on elsewhere is paused; the others learn to send it again.

        Returns when that is done, in some seconds at most.
        """
        self._draining = True
        await end(list(self._looks))
        running = list(self._running)
        lasting = [ingest for ingest in running if ingest.survives]
        for ingest in set(running) - set(lasting):
            ingest.fail(_draining())
        await asyncio.gather(*(ingest.pause() for ingest in lasting))
        if len(lasting) == len(running):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_PATIENCE):
                await self._idle.wait()
        # Closing at once would reset the connection before the answer was read.
        await asyncio.sleep(ANSWER_TIME)

    def _ended(self, ingest: Ingest) -> None:
        self._running.discard(ingest)
        if not self._running:
            self._idle.set()


def _draining() -> Draining:
    return Draining("This node restarts. The table before is back; send the file again.")
