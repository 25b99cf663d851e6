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

from tests.cluster.locks import Lock
from tests.nodes.harness import Process, free_port
from tests.redis_server import RedisServer, find_redis_server

WITHIN = 20.0  # seconds
DOWN_AFTER = 500  # ms; a primary that is silent for so long is replaced
POLL = 0.02
SERVICE = "tables"


def do(port: int, *command: str | int, password: str = "") -> Any:
    """The answer of a server to a command, as text."""
    with contextlib.closing(
        redis.Redis(
            port=port,
            password=password or None,
            protocol=2,
            socket_timeout=5,
            decode_responses=True,
        )
    ) as client:
        return client.execute_command(*command)


class Watched:
    """Two servers, of which a Sentinel makes one the primary; a context manager."""

    def __init__(
        self, directory: Path, *, lock: Lock | None = None, sentinels: Lock | None = None
    ) -> None:
        """`lock` is that of the servers. The Sentinel's has its authority too, if it has one."""
        self.lock, self.sentinels = lock or Lock(), sentinels or Lock()
        options = "--appendonly", "no", "--repl-diskless-sync-delay", "0"
        tls = free_port(), free_port()
        self.servers = [RedisServer(*options, *self.lock.options(port)) for port in tls]
        # Where each of them is for the other one, for the Sentinel and for nodes.
        self._ports = {
            server: port if self.lock.authority else server.port
            for server, port in zip(self.servers, tls, strict=True)
        }
        self.sentinel = Process("sentinel", directory)
        self.port = free_port()
        self.tls_port = free_port()
        self._directory = directory

    @property
    def url(self) -> str:
        """Names a Sentinel that is not there before the one that is."""
        return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.port}/{SERVICE}"

    @property
    def primary(self) -> RedisServer:
        """Who it is now, as the Sentinel says."""
        _, port = self._ask("GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if self._ports[server] == int(port))

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

    def replicated(self, primary: RedisServer) -> None:
        """Wait until its replica has all that was written until now.

        Redis waits for what the same connection wrote, so this one writes something.
        """
        with contextlib.closing(
            redis.Redis(
                port=primary.port,
                password=self.lock.password or None,
                protocol=2,
                socket_timeout=WITHIN,
                single_connection_client=True,
            )
        ) as client:
            client.set("written last", "")
            assert client.wait(1, int(WITHIN * 500)) == 1

    def fail_over(self) -> None:
        """As an operator orders it; returns once the Sentinel has begun."""
        self._ask("FAILOVER", SERVICE)

    def watch(self, primary: RedisServer) -> None:
        """Tell the Sentinel who the primary is, whatever it believed before."""
        with contextlib.suppress(redis.ResponseError):
            self._ask("REMOVE", SERVICE)
        self._ask("MONITOR", SERVICE, "127.0.0.1", self._ports[primary], 1)
        settings = {"down-after-milliseconds": str(DOWN_AFTER), "failover-timeout": "3000"}
        if self.lock.password:
            settings["auth-pass"] = self.lock.password
        for name, value in settings.items():
            self._ask("SET", SERVICE, name, value)

    def settled(self) -> None:
        """Wait until the other server follows the primary, and the Sentinel knows so."""

        def watched() -> bool:
            replicas = self._ask("REPLICAS", SERVICE)
            for fields in replicas:
                state = dict(zip(fields[::2], fields[1::2], strict=True))
                if state["flags"] == "slave" and state["master-link-status"] == "ok":
                    return True
            return False

        self._until(lambda: bool(self._role(self.replica)[3:4] == ["connected"]))
        self._until(watched)

    # Internal

    def _start(self) -> Watched:
        primary, replica = self.servers
        for server in self.servers:
            server.start()
        where = "127.0.0.1", self._ports[primary]
        do(replica.port, "REPLICAOF", *where, password=self.lock.password)
        # The Sentinel looks now and then only, so all is to be well when it looks first.
        self._until(lambda: bool(self._role(replica)[3] == "connected"))
        given = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self._directory)}
        if self.sentinels.password:
            given["requirepass"] = self.sentinels.password
        if self.lock.authority is not None:
            given |= self.lock.tls(self.tls_port)
        settings = self._directory / "sentinel.conf"
        settings.write_text("".join(f'{name} "{value}"\n' for name, value in given.items()))
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
            return bool(do(self.port, "PING", password=self.sentinels.password))
        return False

    def _ask(self, *command: str | int) -> Any:
        return do(self.port, "SENTINEL", *command, password=self.sentinels.password)

    def _role(self, server: RedisServer) -> Any:
        return do(server.port, "ROLE", password=self.lock.password)

    def _until(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN
        while not met():
            assert time.monotonic() < deadline, self.sentinel.output()
            time.sleep(POLL)
