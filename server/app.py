"""The composition root: builds the parts of a node and hands each what it needs.

    backend (fan-out) -> reader -> hub -> doors

They start in this order and end in reverse; one that fails to end does not stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiohttp import web

import web as browser
from server.accept.api import ApiDoor
from server.accept.chat import ChatDoor
from server.accept.described.asyncapi import AsyncApiDoor
from server.accept.described.openapi import OpenApiDoor
from server.accept.edge.content import HANDLER_ARGS
from server.accept.edge.gate import Gate
from server.accept.edge.headers import Headers
from server.accept.edge.limits import Limits
from server.accept.edge.problems import middleware
from server.accept.edge.watching import watching
from server.accept.files.append import AppendDoor
from server.accept.files.correct import Corrector
from server.accept.files.recount import Recounts
from server.accept.files.uploads import Uploads
from server.accept.health import HealthDoor
from server.accept.keys import Founder, KeysDoor
from server.accept.metrics import MetricsDoor
from server.accept.original import OriginalDoors
from server.accept.presence import PresenceDoor
from server.accept.prose import message_renderer
from server.accept.rows import RowsDoor
from server.accept.site import SiteDoor, set_up_templates
from server.accept.socket import SocketDoor
from server.accept.view import Rooms
from server.fanout.backend import Backend, Event
from server.fanout.memory import STORAGE_LIMIT, MemoryBackend
from server.live.hub import Hub
from server.live.keeper import Keeper
from server.live.reader import Reader
from server.live.talk import Render
from server.settings import Settings
from server.traces import make_traces

BACKEND: Final = web.AppKey("backend", Backend)
GATE: Final = web.AppKey("gate", Gate)
HUB: Final = web.AppKey("hub", Hub)
UPLOADS: Final = web.AppKey("uploads", Uploads)
RECOUNTS: Final = web.AppKey("recounts", Recounts)
SETTINGS: Final = web.AppKey("settings", Settings)

WEB_ROOT: Final = Path(browser.__file__).parent
# Only these folders of web/ are served.
STATIC: Final = ("css", "js")


def make_backend(settings: Settings) -> Backend:
    """Redis where one is configured, else the memory of this process."""
    if settings.redis_url:
        # Imported here because whoever runs without Redis need not wait for its client to load.
        from server.fanout.backends import backend_for
        from server.fanout.bus import Timing

        return backend_for(
            settings.redis_url,
            settings.node,
            prefix=settings.redis_prefix,
            room_life=settings.room_life,
            timing=Timing(linger=settings.linger, audit=settings.audit_interval),
            storage_limit=settings.storage_limit,
        )
    return MemoryBackend(
        settings.node,
        storage_limit=settings.storage_limit or STORAGE_LIMIT,
        room_life=settings.room_life,
    )


def make_app(settings: Settings, backend: Backend | None = None) -> web.Application:
    """A node, ready to be run. `backend` stands in for the configured one (in tests)."""
    backend = backend or make_backend(settings)
    traces = make_traces(settings)
    if traces is not None:
        backend.counts.spans = traces
    reader = Reader(
        backend,
        block_cache=settings.block_cache,
        page_cache=settings.page_cache,
        index_cache=settings.index_cache,
        cell_limit=settings.cell_limit,
        record_limit=settings.record_limit,
        message_limit=settings.page_message_limit,
    )
    keeper = Keeper(backend, settings.room_life)
    render = message_renderer(WEB_ROOT)
    hub = Hub(
        backend,
        reader,
        keeper,
        capacity=settings.viewers_per_node,
        heartbeat=settings.heartbeat,
        stall_timeout=settings.stall_timeout,
        render=render,
    )
    gate = Gate(settings.idle_timeout)
    limits = Limits(settings, gate)
    watch = watching(backend.counts, write_down=settings.log_requests)
    app = web.Application(
        middlewares=[watch, middleware(settings), limits.middleware()], handler_args=HANDLER_ARGS
    )
    uploads = Uploads(backend, settings, limits.upload)
    app[SETTINGS], app[BACKEND], app[HUB] = settings, backend, hub
    app[UPLOADS], app[GATE] = uploads, gate
    set_up_templates(app, WEB_ROOT)
    app.cleanup_ctx.append(_run_parts)
    if traces is not None:
        app.on_cleanup.append(lambda _: asyncio.to_thread(traces.close))
    _add_routes(app, backend, keeper, reader, uploads, hub, render, limits, settings)
    return app


class Told:
    """Those whom the fan-out tells of changes."""

    def __init__(self, hub: Hub, uploads: Uploads, recounts: Recounts) -> None:
        self._hub = hub
        self._uploads = uploads
        self._recounts = recounts

    def changed(self, room: str, event: Event) -> None:
        self._hub.changed(room, event)
        self._uploads.changed(room, event)
        self._recounts.changed(room, event)

    def degraded(self, degraded: bool) -> None:
        self._hub.degraded(degraded)


async def _run_parts(app: web.Application) -> AsyncIterator[None]:
    backend, hub = app[BACKEND], app[HUB]
    await backend.start(Told(hub, app[UPLOADS], app[RECOUNTS]))
    hub.start()
    try:
        yield
    finally:
        try:
            await hub.close()
        finally:
            await backend.close()


def _add_routes(
    app: web.Application,
    backend: Backend,
    keeper: Keeper,
    reader: Reader,
    uploads: Uploads,
    hub: Hub,
    render: Render,
    limits: Limits,
    settings: Settings,
) -> None:
    node = settings.node
    rooms = Rooms(backend, keeper)
    keys = KeysDoor(backend, settings)
    founder = Founder(backend, limits.room)
    site = SiteDoor(founder, rooms, reader, uploads, settings, node, WEB_ROOT, render)
    recounts = app[RECOUNTS] = Recounts(backend, record_limit=settings.record_limit)
    app.on_shutdown.append(lambda _: recounts.close())
    corrector = Corrector(backend, reader, uploads, recounts)
    api = ApiDoor(backend, rooms, reader, uploads, corrector, founder, settings)
    rows = RowsDoor(rooms, reader, settings, api.get_page)
    appends = AppendDoor(backend, keeper, settings, lambda: hub.draining)
    socket = SocketDoor(
        hub, backend, reader, uploads, corrector, settings, node, render, limits.room
    )
    original = OriginalDoors(hub, backend, reader, uploads, settings)
    presence = PresenceDoor(backend, rooms)
    chat = ChatDoor(backend, keeper, render, settings, reader.work, limits.room)
    health = HealthDoor(backend, hub)
    app.on_shutdown.append(lambda _: health.close())
    app.add_routes(
        [
            web.get("/", site.start),
            web.get("/t/{uuid}", site.room),
            web.post("/rooms", site.make_room),
            web.post("/sample", site.sample),
            web.get("/ws/{uuid}", socket.handle, allow_head=False),
            web.get("/parser/", original.start),
            web.get("/parser/share/{uuid}", original.share),
            web.get("/parser/ws", original.fresh_table, allow_head=False),
            web.get("/parser/ws/{uuid}", original.table, allow_head=False),
            web.get("/chatsocket", original.chat, allow_head=False),
            web.post("/api/rooms", api.create_room),
            web.get("/api/rooms/{uuid}", api.get_room),
            web.delete("/api/rooms/{uuid}", keys.delete_room),
            web.put("/api/rooms/{uuid}/mode", keys.put_mode),
            web.post("/api/rooms/{uuid}/keys", keys.post_keys),
            web.delete("/api/rooms/{uuid}/keys", keys.delete_keys),
            web.put("/api/rooms/{uuid}/life", keys.put_life),
            web.post("/api/rooms/{uuid}/cookie", keys.post_cookie),
            web.delete("/api/rooms/{uuid}/cookie", keys.delete_cookie),
            web.put("/api/rooms/{uuid}/document", api.put_document),
            web.get("/api/rooms/{uuid}/document", api.get_document),
            web.post("/api/rooms/{uuid}/document/rows", appends.append),
            web.put("/api/rooms/{uuid}/version", api.put_version),
            web.get("/api/rooms/{uuid}/rows", rows.rows),
            web.get("/api/rooms/{uuid}/rows.{extension}", rows.rows),
            # “1.5” is no page in a format, but a wrong number.
            web.get("/api/rooms/{uuid}/pages/{page_no}.{extension:[a-z][a-z0-9]*}", rows.page),
            web.get("/api/rooms/{uuid}/pages/{page_no}", rows.page),
            web.put("/api/rooms/{uuid}/page", api.put_page),
            web.put("/api/rooms/{uuid}/dialect", api.put_dialect),
            web.get("/api/rooms/{uuid}/rows/{row}/cells/{column}", api.get_cell),
            web.get("/api/rooms/{uuid}/chat", chat.get),
            web.post("/api/rooms/{uuid}/chat", chat.post),
            web.get("/api/rooms/{uuid}/presence", presence.get),
            web.get("/api/openapi.json", OpenApiDoor().handle),
            web.get("/api/asyncapi.json", AsyncApiDoor().handle),
            web.get("/healthz", health.alive),
            web.get("/readyz", health.ready),
        ]
    )
    if settings.metrics:
        metrics = MetricsDoor(hub, reader, backend, lambda: uploads.running, node)
        app.router.add_get("/metrics", metrics.handle)
    for folder in STATIC:
        app.router.add_static(f"/static/{folder}", WEB_ROOT / folder)
    app.router.add_get("/favicon.svg", _favicon)
    app.on_response_prepare.append(Headers(settings).complete)


async def _favicon(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(WEB_ROOT / "favicon.svg")
