"""A primary, its replica and a Sentinel that watches them, for tests."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from tests.nodes.harness import Process, free_port
from tests.redis_server import RedisServer, find_redis_server

WITHIN = 20.0  # seconds
DOWN_AFTER = 500  # ms; a primary that is silent for so long is replaced
POLL = 0.02
SERVICE = "tables"


def do(port: int, *command: str | int) -> Any:
    """The answer of a server to a command, as text."""
    with contextlib.closing(
        redis.Redis(port=port, protocol=2, socket_timeout=5, decode_responses=True)
    ) as client:
        return client.execute_command(*command)


class Watched:
    """Two servers, of which a Sentinel makes one the primary; a context manager."""

    def __init__(self, directory: Path) -> None:
        options = "--appendonly", "no", "--repl-diskless-sync-delay", "0"
        self.servers = [RedisServer(*options), RedisServer(*options)]
        self.sentinel = Process("sentinel", directory)
        self.port = free_port()
        self._directory = directory

    @property
    def url(self) -> str:
        """Names a Sentinel that is not there before the one that is."""
        return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.port}/{SERVICE}"

    @property
    def primary(self) -> RedisServer:
        """Who it is now, as the Sentinel says."""
        _, port = do(self.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    @property
    def replica(self) -> RedisServer:
        primary = self.primary
        return next(server for server in self.servers if server is not primary)

    def __enter__(self) -> Watched:
        try:
            return self._start()
        except BaseException:
            self._stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def fail_over(self) -> None:
        """As an operator orders it; returns once the Sentinel has begun."""
        do(self.port, "SENTINEL", "FAILOVER", SERVICE)

    def watch(self, primary: RedisServer) -> None:
        """Tell the Sentinel who the primary is, whatever it believed before."""
        with contextlib.suppress(redis.ResponseError):
            do(self.port, "SENTINEL", "REMOVE", SERVICE)
        do(self.port, "SENTINEL", "MONITOR", SERVICE, "127.0.0.1", primary.port, 1)
        for name, value in (("down-after-milliseconds", DOWN_AFTER), ("failover-timeout", 3_000)):
            do(self.port, "SENTINEL", "SET", SERVICE, name, value)

    def settled(self) -> None:
        """Wait until the other server follows the primary, and the Sentinel knows so."""

        def watched() -> bool:
            replicas = do(self.port, "SENTINEL", "REPLICAS", SERVICE)
            for fields in replicas:
                state = dict(zip(fields[::2], fields[1::2], strict=True))
                if state["flags"] == "slave" and state["master-link-status"] == "ok":
                    return True
            return False

        self._until(lambda: bool(do(self.replica.port, "ROLE")[3:4] == ["connected"]))
        self._until(watched)

    # Internal

    def _start(self) -> Watched:
        primary, replica = self.servers
        for server in self.servers:
            server.start()
        do(replica.port, "REPLICAOF", "127.0.0.1", primary.port)
        # The Sentinel looks now and then only, so all is to be well when it looks first.
        self._until(lambda: bool(do(replica.port, "ROLE")[3] == "connected"))
        settings = self._directory / "sentinel.conf"
        settings.write_text(f'port {self.port}\nbind 127.0.0.1\ndir "{self._directory}"\n')
        self.sentinel.spawn(
            [str(find_redis_server()), str(settings), "--sentinel"], dict(os.environ)
        )
        self._until(self._answers)
        self.watch(primary)
        self.settled()
        return self

    def _stop(self) -> None:
        self.sentinel.kill()
        for server in self.servers:
            server.stop()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(do(self.port, "PING"))
        return False

    def _until(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN
        while not met():
            assert time.monotonic() < deadline, self.sentinel.output()
            time.sleep(POLL)
