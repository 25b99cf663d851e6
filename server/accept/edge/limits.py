"""How much one address may have of a node, so that nobody fills it alone.

Many people can have one address: an office, a school, a conference behind one router. So the limits
are far above what many people do, and far below what a node can take. Whoever asks from the machine
itself has no limit: that is its owner, or a proxy that was not named as one (all of its visitors).
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from contextvars import ContextVar
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.accept.edge.answers import send
from server.accept.edge.gate import Gate
from server.accept.edge.guard import Buckets, address_of
from server.errors import RateLimited
from server.live.work import FOR
from server.settings import Settings

# Seconds' worth of uploads that one address may begin at once.
UPLOADS_AT_ONCE: Final = 60
# Seconds' worth of rooms that one address may start at once: a class behind one router opens its
# rooms in the same minute.
ROOMS_AT_ONCE: Final = 60
# Bits of an IPv6 address that belong to one network, whose owner can use any of the rest.
_NETWORK: Final = 64

# Who asks, for what is far from the request: None is whoever has no limit.
_asker: ContextVar[str | None] = ContextVar("asker", default=None)


def asker_of(request: web.Request, settings: Settings) -> str | None:
    """Whom a request counts for: an address, or a network of IPv6; None without a limit."""
    address = address_of(request, settings.trusted_proxies)
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address  # a Unix socket's, or a proxy's own word
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_loopback:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, _NETWORK), strict=False))
    return str(ip)


class Limits:
    """Counts what goes on for each address."""

    def __init__(self, settings: Settings, gate: Gate) -> None:
        self._settings = settings
        self._gate = gate
        self._most = settings.connections_per_address or max(1, settings.viewers_per_node // 2)
        self._busy: Counter[str] = Counter()
        rate = settings.uploads_per_second
        self._rate = rate
        self._uploads = Buckets(rate, max(1, UPLOADS_AT_ONCE * rate))
        self._room_rate = settings.rooms_per_second
        self._rooms = Buckets(self._room_rate, max(1, ROOMS_AT_ONCE * self._room_rate))

    def middleware(self) -> Middleware:
        """Counts requests while they are answered; a socket's lasts as long as the socket.

        Raises `RateLimited`.
        """

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            asker = asker_of(request, self._settings)
            transport = request.transport
            self._take(asker)
            self._gate.begins(transport)
            token, turn = _asker.set(asker), FOR.set(asker or "")
            try:
                response = await handler(request)
                # From here on the gate sees to it that it is read.
                self._gate.ends(transport)
                await send(request, response, partial(self._gate.ends, transport))
                return response
            finally:
                _asker.reset(token)
                FOR.reset(turn)
                self._gate.ends(transport)
                self._give_back(asker)

        return count

    def upload(self) -> None:
        """Somebody begins an upload, in the course of a request. Raises `RateLimited`."""
        asker = _asker.get()
        if asker is not None and not self._uploads.take(asker):
            raise RateLimited(
                "Too many files were sent from your address just now. Wait a little.",
                after=1 / self._rate,
            )

    def room(self) -> None:
        """Somebody starts a room, in the course of a request. Raises `RateLimited`."""
        asker = _asker.get()
        if asker is not None and not self._rooms.take(asker):
            raise RateLimited(
                "Too many rooms were started from your address just now. Wait a little.",
                after=1 / self._room_rate,
            )

    # Internal

    def _take(self, asker: str | None) -> None:
        if asker is None:
            return
        if self._busy[asker] >= self._most:
            raise RateLimited(
                f"Your address has {self._most:,} connections to this node, the most it may have. "
                "Try again shortly."
            )
        self._busy[asker] += 1

    def _give_back(self, asker: str | None) -> None:
        if asker is None:
            return
        self._busy[asker] -= 1
        if not self._busy[asker]:
            del self._busy[asker]
