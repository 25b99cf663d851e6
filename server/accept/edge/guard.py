"""Who may ask: the pages of this site and programs, not the pages of other sites.

A browser sends `Origin` with every WebSocket and every unsafe request, so a foreign page that
tries to act with its visitor's access is told apart by it. A request without the header does not
come from a browser's page and is allowed.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from aiohttp import web

from server.errors import Forbidden, NotFound
from server.settings import Network

# Some proxies tell the port as well, which is another one for each connection.
_WITH_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9]+(?:\.[0-9]+){3}))(?::[0-9]+)?")

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Site(NamedTuple):
    """How the person who asks calls this site."""

    scheme: str
    host: str  # with the port, if it is not the scheme's own

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"


def site_of(request: web.Request, trusted: Sequence[Network]) -> Site:
    """The site's name as its visitors know it: a proxy's word for it counts where it is trusted."""
    headers = request.headers
    if trusted and _is_within(request.remote, trusted):
        # A chain of proxies makes a list; the first one is the nearest to the person.
        scheme = headers.get("X-Forwarded-Proto", request.scheme).split(",")[0].strip().lower()
        host = headers.get("X-Forwarded-Host", request.host).split(",")[0].strip()
        return Site(scheme if scheme in ("http", "https") else request.scheme, readable(host))
    return Site(request.scheme, readable(request.host))


def readable(header: str) -> str:
    """What a header says, with marks for bytes that are no UTF-8: it can be said back."""
    return header.encode("utf-8", "replace").decode()


def address_of(request: web.Request, trusted: Sequence[Network]) -> str:
    """Where a request comes from: the last address that no trusted proxy has written of another."""
    address = request.remote or ""
    # Some proxies add to the line that came, others add a line of their own behind it.
    told = ",".join(request.headers.getall("X-Forwarded-For", ()))
    hops = [_without_port(hop.strip()) for hop in told.split(",")]
    while trusted and hops and _is_within(address, trusted):
        address = hops.pop() or address
    return address


def _without_port(hop: str) -> str:
    found = _WITH_PORT.fullmatch(hop)
    return hop if found is None else found[1] or found[2]


def _is_within(address: str | None, networks: Sequence[Network]) -> bool:
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    return any(ip in network for network in networks)


def check_origin(
    request: web.Request, allowed: Collection[str], trusted: Sequence[Network] = ()
) -> None:
    """Raise `Forbidden` for an origin that is neither this host nor in `allowed`."""
    origin = request.headers.get("Origin")
    if origin is None or origin in allowed:
        return
    if not allowed and origin in _own_origins(site_of(request, trusted)):
        return
    raise Forbidden("A page of another site may not do this here.")


def _own_origins(site: Site) -> Collection[str]:
    # Behind a proxy whose word does not count a site seems to be without TLS, and may have it.
    return {site.origin, f"https://{site.host}"}


def room_of(request: web.Request) -> str:
    """The canonical UUID in the path. Raises `NotFound` for what is none."""
    uuid = canonical_uuid(request.match_info["uuid"])
    if uuid is None:
        raise NotFound("This is not the address of a room. Check the link: a part may be missing.")
    return uuid


def canonical_uuid(text: str) -> str | None:
    """Lower case with dashes, or None. Accepts capitals, missing dashes and braces."""
    digits = text.strip("{}").replace("-", "").lower()
    if len(text) > 38 or len(digits) != 32 or not set(digits) <= set("0123456789abcdef"):
        return None
    cuts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(cuts)


class TokenBucket:
    """At most `rate` a second on average, and bursts of `burst`."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """A `TokenBucket` for each of those who ask last; whoever was away long begins anew."""

    def __init__(self, rate: float, burst: float, kept: int = 10_000) -> None:
        self._rate = rate
        self._burst = burst
        self._kept = kept
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, who: str) -> bool:
        bucket = self._buckets.setdefault(who, TokenBucket(self._rate, self._burst))
        self._buckets.move_to_end(who)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return bucket.take()
