"""Whether this node lives, and whether it can serve."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from server.document.messages import encode
from server.errors import Draining, Unavailable
from server.fanout.backend import Backend
from server.fanout.tasks import end
from server.live.hub import Hub

# Whoever asks whether a node is ready has a deadline, and so have those who wait for the answer. A
# backend that is far away is as slow as ever, and one that is near and slow is in trouble: so it
# may take some times as long as it did last, within these bounds (seconds).
LEAST_PATIENCE: Final = 0.075
MOST_PATIENCE: Final = 0.5
TIMES_AS_LONG: Final = 4
# In steps, so that a loop that is busy just then gives its own delay to the backend.
STEP: Final = 0.015


class HealthDoor:
    """`GET /healthz` (the process answers), `GET /readyz` (it can serve; 503 with the reason).

    Both answer at once: a backend that takes far longer than usual counts as lost for now, and one
    of which the fan-out knows that it is lost is not even asked.
    """

    def __init__(self, backend: Backend, hub: Hub) -> None:
        self._backend = backend
        self._hub = hub
        self._check: asyncio.Task[None] | None = None  # one for all who ask meanwhile
        self._patience = MOST_PATIENCE

    async def alive(self, request: web.Request) -> web.StreamResponse:
        return _ok({"status": "ok"})

    async def ready(self, request: web.Request) -> web.StreamResponse:
        if self._hub.draining:
            raise Draining("This node is shutting down.")
        if self._hub.is_degraded:
            raise _unready()
        check = self._check
        if check is None:
            check = self._check = asyncio.create_task(self._ask(), name="check")
            check.add_done_callback(self._checked)
        for _ in range(round(self._patience / STEP)):
            await asyncio.wait([check], timeout=STEP)
            if check.done():
                check.result()
                return _ok({"status": "ok", "backend": self._backend.name})
        raise _unready()

    async def close(self) -> None:
        if self._check is not None:
            await end([self._check])

    # Internal

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await self._backend.check()
        usual = TIMES_AS_LONG * (loop.time() - asked)
        self._patience = min(max(usual, LEAST_PATIENCE), MOST_PATIENCE)

    def _checked(self, check: asyncio.Task[None]) -> None:
        self._check = None
        if not check.cancelled():
            check.exception()  # whoever waited was told


def _unready() -> Unavailable:
    return Unavailable("This node cannot reach its storage. Viewers stay, and are told.")


def _ok(value: dict[str, str]) -> web.Response:
    return web.Response(
        body=encode(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
