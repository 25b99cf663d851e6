"""A private Redis for tests: its own directory, its own free port, and faults as named verbs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

START_WITHIN = 10.0  # seconds
STOP_WITHIN = 5.0


def find_redis_server() -> str | None:
    """The program to start, if this machine has one."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """A redis-server of the test's own; a context manager, or `start()` and `stop()` by hand.

    Its port stays the same over `kill` and `restart`, so that clients find it again.
    """

    def __init__(self, *options: str) -> None:
        """`options` go to redis-server's command line as they are."""
        program = find_redis_server()
        if program is None:
            raise FileNotFoundError("redis-server is not installed")
        self.program = program
        self.options = options
        self.port = _free_port()
        self._directory: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("this Redis is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> RedisServer:
        """Start and wait until it answers."""
        if self.running:
            return self
        if self._directory is None:
            self._directory = tempfile.mkdtemp(prefix="tablecast-redis-")
        arguments = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": self._directory,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "daemonize": "no",
        }
        command = [self.program]
        for name, value in arguments.items():
            command += [f"--{name}", value]
        with (Path(self._directory) / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_WITHIN
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                text = (Path(self._directory) / "redis.log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"redis-server did not start:\n{text[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End it and forget its data."""
        self._end(signal.SIGTERM)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def kill(self) -> None:
        """End it as a power cut would; the data that reached the disk stays for `start`."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool) -> None:
        """Kill it and start it again, with what was on the disk or with nothing."""
        self.kill()
        if not keep_data and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Internal

    def _end(self, with_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)  # a frozen process does not hear SIGTERM
            process.send_signal(with_signal)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_WITHIN)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
