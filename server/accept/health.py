"""Whether this node lives, and whether it can serve."""

from __future__ import annotations

from aiohttp import web

from server.document.messages import encode
from server.errors import Draining
from server.fanout.backend import Backend
from server.live.hub import Hub


class HealthDoor:
    """`GET /healthz` (the process answers), `GET /readyz` (it can serve; 503 with the reason)."""

    def __init__(self, backend: Backend, hub: Hub) -> None:
        self._backend = backend
        self._hub = hub

    async def alive(self, request: web.Request) -> web.StreamResponse:
        return _ok({"status": "ok"})

    async def ready(self, request: web.Request) -> web.StreamResponse:
        if self._hub.draining:
            raise Draining("This node is shutting down.")
        await self._backend.check()
        return _ok({"status": "ok", "backend": self._backend.name})


def _ok(value: dict[str, str]) -> web.Response:
    return web.Response(
        body=encode(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
