"""Real processes for tests: nodes, Nginx in front of them, and a Redis, on free ports of loopback.

    async with Stack(directory, nodes=3) as stack:
        stack.url          # through Nginx
        stack.nodes[0].kill()

Every start waits until the process serves, at most `START` seconds, and fails with the end of its
log if it does not. Whatever happens, nothing that was started here outlives the test run.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "nginx.conf"

START = 40.0  # seconds; a busy CI machine with two cores starts three nodes in about 5
STOP = 20.0
POLL = 0.02

# Where Debian puts servers, which the PATH of people who are not root may lack.
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def require(program: str) -> str:
    """The path of `program`. Without it a test is skipped, but fails in CI."""
    if found := shutil.which(program, path=SYSTEM_PATH):
        return found
    why = f"{program} is not installed; `make test` installs it"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Failed(AssertionError):
    """A process did not do what it must; the message ends with its log."""


class Process:
    """One operating system process with its output in a file."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        assert not self.running, f"{self.name} is running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        atexit.register(self.kill)

    async def wait_for(self, url: str, status: int = 200, timeout: float = START) -> None:
        """Return once GET `url` answers with `status`."""
        deadline = time.monotonic() + timeout
        last: object = "no answer"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while time.monotonic() < deadline:
                if not self.running:
                    raise self.failed(f"ended with {self.exit_code} instead of serving")
                try:
                    async with session.get(url) as response:
                        last = response.status
                        if last == status:
                            return
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    last = error
                await asyncio.sleep(POLL)
        raise self.failed(f"GET {url} gave {last!r}, not {status}, for {timeout:g} s")

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process else None

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def failed(self, why: str) -> Failed:
        return Failed(f"{self.name} {why}\n{self.output()[-4000:]}")

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def pause(self) -> None:
        """Stop it where it is: its connections stay open and nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash does (SIGKILL)."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait(STOP)
        atexit.unregister(self.kill)

    async def stop(self, timeout: float = STOP) -> int:
        """Ask it to end (SIGTERM), wait, and return its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended(timeout)

    async def ended(self, timeout: float = STOP) -> int:
        """Wait until it has ended by itself; its exit code."""
        deadline = time.monotonic() + timeout
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                raise self.failed(f"did not end within {timeout:g} s")
            await asyncio.sleep(POLL)
        atexit.unregister(self.kill)
        return code


class Node(Process):
    """`python -m server` on a port of its own, which it keeps over restarts."""

    def __init__(
        self, name: str, directory: Path, *, redis_url: str = "", settings: Mapping[str, str] = {}
    ) -> None:
        super().__init__(name, directory)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith("TABLECAST_")
        } | {
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
            "TABLECAST_HOST": "127.0.0.1",
            "TABLECAST_PORT": str(self.port),
            "TABLECAST_NODE": name,
            "TABLECAST_REDIS_URL": redis_url,
            "TABLECAST_TRUSTED_PROXIES": "127.0.0.1",
            "TABLECAST_DRAIN_TIME": "500ms",
            **settings,
        }

    async def start(self, *, ready: bool = True) -> None:
        """Start it; return once it is able to serve (`ready=False`: once it is alive)."""
        self.spawn([sys.executable, "-m", "server"], self.environment)
        await self.wait_for(f"{self.url}/readyz" if ready else f"{self.url}/healthz")

    async def restart(self) -> None:
        if self.running:
            await self.stop()
        await self.start()


def render(**values: str) -> str:
    """nginx.conf with `${NAME}` replaced for each of `values`, as the container's envsubst does."""

    def value(match: re.Match[str]) -> str:
        return values[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, TEMPLATE.read_text())


class Nginx(Process):
    """The project's own nginx.conf, in front of `ports` of loopback, taken in turns."""

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        super().__init__("nginx", directory)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.prefix = directory / "nginx"
        (self.prefix / "nodes.d").mkdir(parents=True)
        (self.prefix / "nginx.conf").write_text(
            render(
                TABLECAST_LISTEN=f"127.0.0.1:{self.port}",
                TABLECAST_NODES="nodes",
                NGINX_LOCAL_RESOLVERS="127.0.0.1",
            )
        )
        # The zone lets all workers take turns as one; no node is ever held to be down, so that a
        # test knows which one is asked next and a restarted one is used at once.
        members = "".join(f"    server 127.0.0.1:{port} max_fails=0;\n" for port in ports)
        (self.prefix / "nodes.d" / "nodes.conf").write_text(
            f"upstream nodes {{\n    zone nodes 64k;\n{members}}}\n"
        )

    def command(self, *more: str) -> list[str]:
        arguments = [require("nginx"), "-e", "stderr", "-p", str(self.prefix), "-c", "nginx.conf"]
        if os.geteuid() == 0:
            # Workers of root run as nobody, who may not enter root's temporary directories.
            arguments += ["-g", "user root;"]
        return [*arguments, *more]

    async def start(self) -> None:
        self.spawn(self.command(), {"PATH": SYSTEM_PATH})
        await self.wait_for(f"{self.url}/nginx/health")

    def kill(self) -> None:
        # The master must end its workers, which would keep the port.
        if self.running:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            assert self._process is not None
            try:
                self._process.wait(STOP)
            except subprocess.TimeoutExpired:
                super().kill()
        atexit.unregister(self.kill)


class Stack:
    """A Redis, nodes and an Nginx in front: the deployment, on loopback.

    `settings` are TABLECAST_ variables for all nodes. `redis` may be a server that is running
    already; such a one is left running.
    """

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 3,
        settings: Mapping[str, str] = {},
        redis: RedisServer | None = None,
    ) -> None:
        self.directory = directory
        if redis is None:
            require("redis-server")
        # As the container runs it: at most the last second is lost with the power.
        self.redis = redis or RedisServer("--appendfsync", "everysec")
        self._own_redis = redis is None
        self.nodes: list[Node] = []
        self._count = nodes
        self._settings = settings
        self.nginx: Nginx
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Where viewers go: Nginx."""
        return self.nginx.url

    def node(self, name: str) -> Node:
        """The node that calls itself `name` (in `hello`, in the header `Tablecast-Node`)."""
        return next(node for node in self.nodes if node.name == name)

    async def __aenter__(self) -> Self:
        with ExitStack() as stack:
            if self._own_redis:
                stack.callback(self.redis.stop)
                await asyncio.to_thread(self.redis.start)
            self.nodes = [
                Node(
                    f"node-{number}",
                    self.directory,
                    redis_url=self.redis.url,
                    settings=self._settings,
                )
                for number in range(1, self._count + 1)
            ]
            for node in self.nodes:
                stack.callback(node.kill)
            await asyncio.gather(*(node.start() for node in self.nodes))
            self.nginx = Nginx(self.directory, [node.port for node in self.nodes])
            stack.callback(self.nginx.kill)
            await self.nginx.start()
            self._running = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def mend(self) -> None:
        """All of it runs and serves again, whatever was done to it; the logs begin anew."""
        await asyncio.to_thread(self.redis.start)
        for process in (*self.nodes, self.nginx):
            process.log.write_bytes(b"")
            process.resume()
        await asyncio.gather(
            *(
                node.wait_for(f"{node.url}/readyz") if node.running else node.start()
                for node in self.nodes
            )
        )
        if not self.nginx.running:
            await self.nginx.start()

    def close(self) -> None:
        """End all of it at once; the last started first."""
        self._running.close()
