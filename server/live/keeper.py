"""Keeps the rooms alive that somebody uses: a room without use ends after its idle life."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from server.errors import TablecastError
from server.fanout import versions
from server.fanout.backend import Backend
from server.logs import about

log = logging.getLogger(__name__)

# Seconds between two prolongations of a room's life, unless that is shorter itself.
KEEP_INTERVAL: Final = 3600.0
# Rooms that are remembered; one that was forgotten is prolonged once more than needed.
REMEMBERED: Final = 20_000


class Keeper:
    """Prolongs the lives of rooms and their documents, each seldom. `room_life` in seconds.

    A deleted room is let go, however many look at what is left of it.
    """

    def __init__(self, backend: Backend, room_life: float) -> None:
        self._backend = backend
        self._room_life = room_life
        self._kept_at: OrderedDict[str, float] = OrderedDict()

    async def use(self, room: str, registers: Mapping[str, Any]) -> None:
        """Somebody watches or asks for `room`, which has these registers. Never raises."""
        now = asyncio.get_running_loop().time()
        life = min(self._room_life, registers.get("life") or self._room_life)
        if now - self._kept_at.get(room, float("-inf")) < min(KEEP_INTERVAL, life / 4):
            return
        if not registers or "deleted" in registers:
            return
        try:
            # An upload's blocks have a short life on purpose until they are complete.
            await self._backend.keep(room, versions.kept_documents(registers))
        except TablecastError as error:
            log.info("a room could not be kept", extra=about(room, code=error.code))
            return
        self._kept_at[room] = now
        self._kept_at.move_to_end(room)
        if len(self._kept_at) > REMEMBERED:
            self._kept_at.popitem(last=False)
