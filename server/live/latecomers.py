"""Viewers for whom much has to be built before they can be told: nobody else waits for that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from server.live.viewer import Viewer
from server.live.work import FOR, Work
from server.logs import about

log = logging.getLogger(__name__)

# How often it is built anew because the room went on meanwhile. Then it is built while all wait: in
# a room where people never stop talking it would be outdated for ever.
TRIES: Final = 3
# Viewers written before other rooms get their turn.
SLICE: Final = 128


class Latecomers:
    """Those of one audience. `prepare` builds what takes long, as one piece of `work`; `is_ready`
    tells whether that is still what a newcomer needs; `bring` writes it to one of them."""

    def __init__(
        self,
        uuid: str,
        work: Work,
        *,
        prepare: Callable[[], Awaitable[None]],
        is_ready: Callable[[], bool],
        bring: Callable[[Viewer], None],
    ) -> None:
        self.task: asyncio.Task[None] | None = None
        self._uuid = uuid
        self._work = work
        self._prepare = prepare
        self._is_ready = is_ready
        self._bring = bring
        self._waiting: dict[str, Viewer] = {}

    def add(self, viewer: Viewer) -> None:
        """It is brought as soon as all is built; once, however often it is added until then."""
        self._waiting[viewer.id] = viewer
        if self.task is None:
            self.task = asyncio.create_task(self._serve(), name="latecomers")

    def stop(self) -> None:
        """Nobody is brought anything any more."""
        if self.task is not None:
            self.task.cancel()

    # Internal

    async def _serve(self) -> None:
        # Whoever came, this is for all of the room.
        FOR.set(self._uuid)
        tries = 0
        try:
            while self._waiting:
                async with self._work.piece():
                    await self._prepare()
                tries += 1
                if self._is_ready() or tries >= TRIES:
                    tries = 0
                    await self._bring_all()
        except Exception:
            log.exception("latecomers were not told", extra=about(self._uuid))
        finally:
            self.task = None

    async def _bring_all(self) -> None:
        """As far as the room does not go on meanwhile; the others stay."""
        waiting, self._waiting = self._waiting, {}
        for number, viewer in enumerate(list(waiting.values())):
            if number and number % SLICE == 0:
                await asyncio.sleep(0)
                if not self._is_ready():
                    break
            del waiting[viewer.id]
            self._bring(viewer)
        self._waiting = waiting | self._waiting
