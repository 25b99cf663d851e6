"""The uploads that run on this node, whichever door they came in by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from server.accept.access import Guard
from server.accept.upload import SENDING, Ingest, Recut, UploadLimits
from server.errors import Draining, TablecastError, TooLarge
from server.fanout.backend import Backend
from server.settings import Settings

# Seconds for those who send to notice; whoever sends nothing meanwhile is cut off.
DRAIN_PATIENCE: Final = 2.0
ANSWER_TIME: Final = 0.2


class Uploads:
    """Opens uploads within the node's limits, and ends those that run when the node does."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._limits = UploadLimits(
            document=settings.document_limit,
            record=settings.record_limit,
            columns=settings.column_limit,
            page_size=settings.page_size,
            lease=settings.upload_lease,
        )
        self._running: set[Ingest] = set()
        self._idle = asyncio.Event()
        self._draining = False

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
        failed: Callable[[TablecastError], None] | None = None,
        guard: Guard = SENDING,
    ) -> Ingest:
        """An upload that has not begun yet. Whoever opens it calls `abort` in the end.

        `size` in bytes, None where it is unknown. Raises `TooLarge`, `Draining`.
        """
        if self._draining:
            raise _draining()
        limit = self._limits.document
        if size is not None and size > limit:
            raise TooLarge(
                f"This file is larger than {limit:,} bytes, the most a table may have here. "
                "The table before it stays.",
                what="document",
                limit=limit,
            )
        ingest = Ingest(
            self._backend,
            room,
            name=name,
            size=size,
            limits=self._limits,
            recut=recut,
            sheet=sheet,
            failed=failed,
            ended=self._ended,
            guard=guard,
        )
        self._running.add(ingest)
        self._idle.clear()
        return ingest

    async def drain(self) -> None:
        """Take no more, and let those who send learn that they must send again elsewhere.

        Returns when they have been told, in about two seconds at most.
        """
        self._draining = True
        running = list(self._running)
        for ingest in running:
            ingest.fail(_draining())
        if not running:
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
