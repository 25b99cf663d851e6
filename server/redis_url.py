"""The addresses under which a node finds its Redis: one server, Sentinels, or a cluster.

    redis://[[user]:password@]host[:port][/database]        rediss:// with TLS
    unix:///path/of/its.sock
    redis+sentinel://host[:26379][,host...]/primary[/database]
    redis+cluster://host[:6379][,host...]

`rediss+sentinel://` and `rediss+cluster://` are the same with TLS. What follows a `?` goes to the
client library. Sentinels that ask for a password of their own have it there, as `sentinel_password`
(and `sentinel_username`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

PORT = 6379
SENTINEL_PORT = 26379

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")

Address = tuple[str, int]


class BadUrl(ValueError):
    """Why this is no such address, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Several servers behind one address. `service` is what Sentinels call the primary."""

    kind: str  # "sentinel" or "cluster"
    hosts: tuple[Address, ...]
    service: str
    database: str
    scheme: str  # of each server: "redis" or "rediss"
    login: str  # "user:password@" as it was written, or ""
    query: str
    sentinel_login: str

    def server(self, address: Address) -> str:
        """The URL of one server that holds data."""
        return self._url(address, self.login, f"/{self.database}")

    def sentinel(self, address: Address) -> str:
        return self._url(address, self.sentinel_login, "")

    def _url(self, address: Address, login: str, path: str) -> str:
        host, port = address
        host = f"[{host}]" if ":" in host else host
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{login}{host}:{port}{path}{query}"


def servers(url: str) -> Servers | None:
    """The parts of a URL that names Sentinels or a cluster; None for one server's own URL.

    Raises `BadUrl` where a node could not make sense of it.
    """
    if not url.isprintable() or " " in url:
        raise BadUrl("has blanks in it")
    scheme, _, kind = url.partition("://")[0].partition("+")
    if not kind:
        _check_one(url)
        return None
    if scheme not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
        raise BadUrl("begins with none of redis, rediss, unix, redis+sentinel, redis+cluster")
    parts = urlsplit(url)
    login, _, names = parts.netloc.rpartition("@")
    port = SENTINEL_PORT if kind == "sentinel" else PORT
    hosts = tuple(_host(name, port) for name in names.split(","))
    path = [part for part in parts.path.split("/") if part]
    options = parse_qsl(parts.query, keep_blank_values=True)
    own = {name: value for name, value in options if name.startswith("sentinel_")}
    if wrong := own.keys() - {"sentinel_username", "sentinel_password"}:
        raise BadUrl(f"has {min(wrong)}, which is nothing that Sentinels take")
    if kind == "cluster":
        if own:
            raise BadUrl("has a login for Sentinels, which a cluster does not have")
        if path not in ([], ["0"]):
            raise BadUrl("names a database, but a cluster has only one")
        service, database = "", "0"
    else:
        if not path:
            raise BadUrl("lacks the name of the primary, as in redis+sentinel://host:26379/primary")
        service, database = path[0], path[1] if len(path) > 1 else "0"
        if len(path) > 2 or not database.isdecimal():
            raise BadUrl("has something else than a database's number after the primary's name")
    username, password = own.get("sentinel_username", ""), own.get("sentinel_password", "")
    return Servers(
        kind=kind,
        hosts=hosts,
        service=service,
        database=database,
        scheme=scheme,
        login=f"{login}@" if login else "",
        query=urlencode([(name, value) for name, value in options if name not in own]),
        sentinel_login=_login(username, password),
    )


def _check_one(url: str) -> None:
    parts = urlsplit(url)
    if "," in parts.netloc.rpartition("@")[2]:
        raise BadUrl("has several hosts, which is for redis+sentinel:// and redis+cluster://")
    try:
        parts.port  # noqa: B018  raises when it is not a number of a port
    except ValueError:
        raise BadUrl("has a port that is none") from None
    if parts.scheme == "unix":
        if not parts.path:
            raise BadUrl("lacks the path of the socket")
    elif parts.scheme not in ("redis", "rediss"):
        raise BadUrl("begins with none of redis, rediss, unix, redis+sentinel, redis+cluster")
    elif not parts.hostname:
        raise BadUrl("lacks a host")


def _host(name: str, port: int) -> Address:
    match = _HOST.fullmatch(name)
    if match is None:
        raise BadUrl("needs hosts as in host:port,host:port" if name else "lacks a host")
    number = int(match[2]) if match[2] else port
    if not 0 < number < 65536:
        raise BadUrl("has a port that is none")
    return match[1].strip("[]"), number


def _login(username: str, password: str) -> str:
    if not username and not password:
        return ""
    quoted = urlencode({"": username})[1:], urlencode({"": password})[1:]
    return "{}:{}@".format(*(text.replace("+", "%20") for text in quoted))
