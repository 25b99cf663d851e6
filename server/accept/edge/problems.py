"""Errors over HTTP: problem+json (RFC 9457) for programs, a page for people."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import aiohttp_jinja2
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.accept.edge.guard import SAFE_METHODS, canonical_uuid, check_origin
from server.accept.edge.watching import PROBLEM, route_of
from server.document.messages import encode
from server.errors import Draining, Full, RateLimited, TablecastError, Unavailable
from server.logs import about
from server.settings import Settings

log = logging.getLogger(__name__)


# Seconds after which a program that was turned away may well try again.
RETRY_AFTER: Final = 1
# A title on its own would only repeat the status; these say what the person can do.
_ADVICE: Final = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address. Check the link, or start a new table.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take such a request.",
}


def middleware(settings: Settings) -> Middleware:
    """Checks the origin of what could do harm, turns errors into answers."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.method not in SAFE_METHODS or _is_upgrade(request):
                check_origin(request, settings.allowed_origins, settings.trusted_proxies)
            response = await handler(request)
        except TablecastError as error:
            response = problem(
                request,
                error.status,
                error.message,
                error.code,
                retry=error.retry,
                more=error.more,
            )
            if isinstance(error, RateLimited):
                response.headers["Retry-After"] = str(math.ceil(error.after))
            elif isinstance(error, Unavailable | Full | Draining):
                response.headers["Retry-After"] = str(RETRY_AFTER)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            status = HTTPStatus(error.status)
            detail = _ADVICE.get(status) or error.text or status.phrase
            response = problem(request, status, detail, status.phrase.lower().replace(" ", "_"))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except ConnectionResetError:
            # Whoever asked is gone, so nobody reads this; it ends the request without a complaint.
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        except Exception:
            room = canonical_uuid(request.match_info.get("uuid", ""))
            door = about(room, method=request.method, route=route_of(request))
            log.exception("a request failed", extra=door)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            response = problem(
                request, status, "Something went wrong inside the server.", "internal", retry=True
            )
        return response

    return answer


def problem(
    request: web.Request,
    status: HTTPStatus,
    detail: str,
    code: str,
    *,
    retry: bool = False,
    more: Mapping[str, int] | None = None,
) -> web.Response:
    """An error for whoever asks: a page where a browser would show it, problem+json elsewhere."""
    request[PROBLEM] = code
    wants_page = "text/html" in request.headers.get("Accept", "")
    is_form = request.content_type == "application/x-www-form-urlencoded"
    if wants_page and (is_form or not request.path.startswith("/api/")):
        context = {"status": status.value, "title": status.phrase, "detail": detail}
        return aiohttp_jinja2.render_template("error.html", request, context, status=status.value)
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "retry": retry,
        **(more or {}),
    }
    return web.Response(
        status=status.value, body=encode(body), content_type="application/problem+json"
    )


def _is_upgrade(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"
