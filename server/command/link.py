"""Where to: a room's link or a server's address, as people copy them."""

from __future__ import annotations

import os
import re
import uuid
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from server.command.failures import Misuse

# Read where `--to` and `--key` are not given. Nodes do not read them (see serve.py).
VARIABLE: Final = "TABLECAST_TO"
KEY_VARIABLE: Final = "TABLECAST_KEY"
DEFAULT: Final = "http://localhost:8080"

_ROOM: Final = re.compile(r"/(?:t|ws|api/rooms)/([^/]+)(?:/.*)?")
_GRANTED: Final = re.compile(r"key=([^&]*)")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_SERVER: Final = ("", "/", "/api/rooms", "/api/rooms/")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}")
# Letters of any language, digits, an IPv6 address in brackets; no spaces or control characters.
_HOST: Final = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.%]+\]")


class Link(NamedTuple):
    """A server, and a room on it unless one is to be made; a key of the room, or ""."""

    server: str  # scheme://[user:password@]host[:port]
    room: str | None = None
    key: str = ""

    @property
    def shown(self) -> str:
        """The server's address, without a password."""
        parts = urlsplit(self.server)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def page(self) -> str:
        """The link for people. The key is not in it."""
        return f"{self.shown}/t/{self.room}"

    @property
    def granting(self) -> str:
        """The link that grants what the key does."""
        return f"{self.page}#key={self.key}"

    @property
    def headers(self) -> dict[str, str]:
        """What brings the key along."""
        if not self.key:
            return {}
        if "@" in self.server:
            # The name and the password take the header that keys usually come in.
            return {"Cookie": f"tablecast-{self.room}={self.key}"}
        return {"Authorization": f"Bearer {self.key}"}


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
    granted = _GRANTED.fullmatch(parts.fragment)
    return Link(
        server, str(uuid.UUID(found[1])), _checked_key(unquote(granted[1])) if granted else ""
    )


def chosen_link(given: str | None, key: str | None = None) -> Link:
    """`--to`, else the environment, else the server on this machine; `--key` likewise.

    A key in the link counts before the environment's. Raises `Misuse`.
    """
    link = parse_link(given or os.environ.get(VARIABLE, "").strip() or DEFAULT)
    if link.room is None:
        return link
    named = key or link.key or os.environ.get(KEY_VARIABLE, "").strip()
    return link._replace(key=_checked_key(named) if named else "")


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise Misuse(
            "That is no key: 22 letters, digits, dashes and underscores, as they stand behind "
            "#key= in a link that grants presenting."
        )
    return key


def _is_sensible(parts: SplitResult) -> bool:
    host = parts.netloc.rpartition("@")[2]
    # Reading the port raises ValueError for one that is no number.
    name = host if parts.port is None else host.rpartition(":")[0]
    return parts.scheme in ("http", "https") and _HOST.fullmatch(name.rstrip(":")) is not None
