"""Keeps the rooms alive that somebody uses: a room without use ends after its idle life."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from server.errors import TablecastError
from server.fanout import changes
from server.fanout.backend import Backend

log = logging.getLogger(__name__)

# Seconds between two prolongations of a room's life, unless that is shorter itself.
KEEP_INTERVAL: Final = 3600.0
# Rooms that are remembered; one that was forgotten is prolonged once more than needed.
REMEMBERED: Final = 20_000


class Keeper:
    """Prolongs the lives of rooms and their documents, each seldom. `room_life` in seconds."""

    def __init__(self, backend: Backend, room_life: float) -> None:
        self._backend = backend
        self._every = min(KEEP_INTERVAL, room_life / 4)
        self._kept_at: OrderedDict[str, float] = OrderedDict()

    async def use(self, room: str, registers: Mapping[str, Any]) -> None:
        """Somebody watches or asks for `room`, which has these registers. Never raises."""
        now = asyncio.get_running_loop().time()
        if now - self._kept_at.get(room, float("-inf")) < self._every:
            return
        # An upload's blocks have a short life on purpose until they are complete.
        ids = changes.kept_documents(registers)
        if not ids:
            return
        try:
            await self._backend.keep(room, ids)
        except TablecastError as error:
            log.info("room %s could not be kept: %s", room, error)
            return
        self._kept_at[room] = now
        self._kept_at.move_to_end(room)
        if len(self._kept_at) > REMEMBERED:
            self._kept_at.popitem(last=False)
