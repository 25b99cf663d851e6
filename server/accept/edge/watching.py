"""Each request, as an operator sees it: counted, traced and (where it is wanted) written down.

By the template of its address, never by the address: that of a room opens the room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.accept.edge.guard import canonical_uuid
from server.counts import SLOW, Counts, Histogram
from server.logs import about

log = logging.getLogger("server.requests")

# The `code` of the problem that a request was answered with.
PROBLEM: Final = web.RequestKey("problem", str)
# What requests to no door at all are counted under.
UNMATCHED: Final = "unmatched"
# Of whoever is gone before the answer; no server ever sends it.
CLIENT_GONE: Final = 499
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_of(request: web.Request) -> str:
    """The template of the address, as in docs/PROTOCOL.md."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def watching(counts: Counts, *, write_down: bool) -> Middleware:
    """The outermost of the middlewares. `write_down`: a line in the log for each request."""

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        route = route_of(request)
        method = request.method if request.method in _METHODS else "OTHER"
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        # The span of a socket would last for hours; what happens on it has spans of its own.
        spans = None if is_socket else counts.spans
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        around: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if spans is not None:
            named = {"http.request.method": method, "http.route": route}
            around = spans.span(f"{method} {route}", named)
        try:
            with around as span:
                response = await handler(request)
                status = response.status
                if spans is not None:
                    spans.add(span, {"http.response.status_code": status})
            return response
        except web.HTTPException as redirect:
            status = redirect.status
            raise
        except asyncio.CancelledError:
            # A socket's request ends so whenever its viewer leaves.
            status = int(HTTPStatus.SWITCHING_PROTOCOLS) if is_socket else CLIENT_GONE
            raise
        finally:
            seconds = time.perf_counter() - began
            code = request.get(PROBLEM)
            if code is not None:
                counts.errors[code, "api" if route.startswith("/api/") else "page"] += 1
            counts.answers[method, route, status] += 1
            if status != HTTPStatus.SWITCHING_PROTOCOLS:
                histogram = counts.requests.get((method, route))
                if histogram is None:
                    histogram = counts.requests[method, route] = Histogram(SLOW)
                histogram.observe(seconds)
            if write_down:
                room = canonical_uuid(request.match_info.get("uuid", ""))
                log.info(
                    "request",
                    extra=about(
                        room,
                        method=method,
                        route=route,
                        status=status,
                        code=code,
                        seconds=round(seconds, 6),
                    ),
                )

    return watch
