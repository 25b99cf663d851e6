"""Clients of redis-py: bounded in time and number, for one server or the primary Sentinels know."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError

from server.redis_url import Address, BadUrl, Servers, servers

CONNECT_WITHIN = 1.0  # seconds
ANSWER_WITHIN = 2.0
CONNECTIONS = 64  # of one client; more calls wait their turn
WAIT_FOR_CONNECTION = 5.0  # seconds

_BOUNDS: dict[str, Any] = {
    "protocol": 2,
    "socket_connect_timeout": CONNECT_WITHIN,
    "socket_timeout": ANSWER_WITHIN,
}


class Primary:
    """The server that Sentinels hold to be the primary now.

    It stands where redis-py's connections expect their pool, which tells them where to connect to.
    """

    is_master = True
    check_connection = False

    def __init__(self, known: Servers) -> None:
        self._service = known.service
        never = Retry(NoBackoff(), 0)
        self._sentinels = {
            f"{host}:{port}": client(known.sentinel((host, port)), never)
            for host, port in known.hosts
        }
        self.address: Address | None = None  # that was told last

    async def get_master_address(self) -> Address:
        """Ask; raises `ConnectionError` while no Sentinel that answers knows a primary."""
        why: list[str] = []
        for name, sentinel in list(self._sentinels.items()):
            asking: Any = sentinel
            try:
                # Split, so that the answer comes as it is.
                found = await asking.execute_command(
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service
                )
            except (RedisError, OSError) as error:
                why.append(f"{name}: {str(error) or type(error).__name__}")
                continue
            if found is None:
                why.append(f"{name}: knows no {self._service}")
                continue
            # Whoever answers is asked first from now on.
            self._sentinels = {name: sentinel, **self._sentinels}
            self.address = found[0].decode(), int(found[1])
            return self.address
        raise ConnectionError(f"No Sentinel tells the primary: {'; '.join(why)}")

    async def aclose(self) -> None:
        for sentinel in self._sentinels.values():
            await sentinel.aclose()


def client(url: str, retry: Retry, primary: Primary | None = None) -> Redis:
    """A client whose every step is bounded: 1 s to connect, 2 s for an answer.

    With `primary`, it connects there and not to the host in `url`. With a `retry` that never
    retries, calls do not wait for each other's connections.
    """
    options: dict[str, Any] = {**parse_url(url), **_BOUNDS, "retry": retry}
    if not url.startswith("unix:"):  # a socket of this machine has no such option
        options["socket_keepalive"] = True
    if primary is not None:
        tls = options.get("connection_class") is SSLConnection
        options["connection_class"] = (
            SentinelManagedSSLConnection if tls else SentinelManagedConnection
        )
        options["connection_pool"] = primary
    if not retry.get_retries():
        return Redis.from_pool(ConnectionPool(**options))
    return Redis.from_pool(
        BlockingConnectionPool(max_connections=CONNECTIONS, timeout=WAIT_FOR_CONNECTION, **options)
    )


def try_out(url: str) -> None:
    """Make what `client` would connect with, and read the files of TLS that it names.

    Raises `BadUrl` where that fails; whether anybody answers is not asked.
    """
    known = servers(url)
    urls = [url] if known is None else [known.server(known.hosts[0])]
    if known is not None and known.kind == "sentinel":
        urls.append(known.sentinel(known.hosts[0]))
    for each in urls:
        try:
            pool: Any = client(each, Retry(NoBackoff(), 0)).connection_pool
            connection = pool.make_connection()
        except (TypeError, ValueError, RedisError) as error:
            said = str(error).rpartition("__init__() ")[2]
            raise BadUrl(f"has something behind its ? that cannot be: {said}") from None
        if isinstance(connection, SSLConnection):
            try:
                connection.ssl_context.get()
            except (OSError, ValueError) as error:
                tls = connection.ssl_context
                files = [file for file in (tls.ca_certs, tls.certfile, tls.keyfile) if file]
                raise BadUrl(f"cannot have its TLS ({', '.join(files)}): {error}") from None


def behind_sentinels(url: str) -> Primary | None:
    """Whom to ask for the primary, if `url` names Sentinels."""
    known = servers(url)
    return Primary(known) if known is not None and known.kind == "sentinel" else None


def data_url(url: str) -> str:
    """The URL for the servers with data: `url` itself unless it names Sentinels."""
    known = servers(url)
    return url if known is None else known.server(known.hosts[0])
