"""Where to: a room's link or a server's address, as people copy them."""

from __future__ import annotations

import os
import re
import uuid
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from server.command.failures import Misuse

# Read where `--to` is not given. Nodes do not read it (see serve.py).
VARIABLE: Final = "TABLECAST_TO"
DEFAULT: Final = "http://localhost:8080"

_ROOM: Final = re.compile(r"/(?:t|ws|api/rooms)/([^/]+)(?:/.*)?")
_SERVER: Final = ("", "/", "/api/rooms", "/api/rooms/")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")
# Letters of any language, digits, an IPv6 address in brackets; no spaces or control characters.
_HOST: Final = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.%]+\]")


class Link(NamedTuple):
    """A server, and a room on it unless one is to be made."""

    server: str  # scheme://[user:password@]host[:port]
    room: str | None = None

    @property
    def shown(self) -> str:
        """The server's address, without a password."""
        parts = urlsplit(self.server)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def page(self) -> str:
        """The link for people."""
        return f"{self.shown}/t/{self.room}"


def parse_link(text: str) -> Link:
    """The link that somebody gave. Raises `Misuse`."""
    # Without a scheme it was typed, not copied, and what is typed is mostly localhost:8080.
    whole = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(whole)
        sensible = _is_sensible(parts)
    except ValueError:
        sensible = False
    if not sensible:
        raise Misuse(
            f"“{text}” is no address. Give the link of a room (http://host/t/...) or the address "
            f"of a server ({DEFAULT})."
        )
    server = f"{parts.scheme}://{parts.netloc}"
    if parts.path in _SERVER:
        return Link(server)
    found = _ROOM.fullmatch(parts.path)
    if found is None or not _UUID.fullmatch(found[1].lower()):
        raise Misuse(
            f"“{text}” is not the link of a room: it would be {server}/t/ and a long number in "
            "groups. Check it: a part may be missing."
        )
    return Link(server, str(uuid.UUID(found[1])))


def chosen_link(given: str | None) -> Link:
    """`--to`, else the environment, else the server on this machine."""
    return parse_link(given or os.environ.get(VARIABLE, "").strip() or DEFAULT)


def _is_sensible(parts: SplitResult) -> bool:
    host = parts.netloc.rpartition("@")[2]
    # Reading the port raises ValueError for one that is no number.
    name = host if parts.port is None else host.rpartition(":")[0]
    return parts.scheme in ("http", "https") and _HOST.fullmatch(name.rstrip(":")) is not None
