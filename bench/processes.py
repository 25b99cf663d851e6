"""Nodes, naive peers and Redis as processes of their own, and what the kernel says they cost."""

from __future__ import annotations

import os
import re
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[1]
START_WITHIN = 20.0  # seconds
STOP_WITHIN = 10.0
_SCHEDULER_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's posix-timers.h: CPU time in nanoseconds


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves on a port of 127.0.0.1."""

    pid: int
    port: int


@contextmanager
def redis(*options: str) -> Iterator[RedisServer]:
    """A Redis that keeps an append-only file and writes it once a second, as in the deployment.

    `options` go to its command line, behind these.
    """
    with RedisServer("--appendfsync", "everysec", *options) as server:
        yield server


@contextmanager
def node(redis_url: str, **settings: str | int) -> Iterator[Server]:
    """A node; `settings` are its settings in lower case, without the prefix."""
    given = {"redis_url": redis_url, "drain_time": 0, "log_level": "warning", **settings}
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TABLECAST_")}
    environ |= {f"TABLECAST_{name.upper()}": str(value) for name, value in given.items()}
    with serving(["-m", "server", "--port", "0"], environ) as server:
        yield server


@contextmanager
def serving(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A Python program that prints its address (with `:port`) once it serves."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            line = _first_line(process)
            found = re.search(rb"127\.0\.0\.1:(\d+)|localhost:(\d+)", line)
            if found is None:
                log.seek(0)
                said = log.read().decode(errors="replace")[-2000:]
                raise RuntimeError(f"{' '.join(arguments)} does not serve: {line!r}\n{said}")
            yield Server(process.pid, int(found[1] or found[2]))
        finally:
            _end(process)


def run(arguments: Sequence[str], *, within: float) -> bytes:
    """What a Python program prints. Raises when it fails or takes longer than `within` seconds."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, timeout=within, check=True
    )
    return done.stdout


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process so far, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most bytes of memory that a process held since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): resets VmHWM to VmRSS


def allow_many_files() -> None:
    """Raise this process's soft limit of open files (its children's too) to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not tell {field}")


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(START_WITHIN):
            return b""
    return process.stdout.readline()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_WITHIN)
    if process.stdout is not None:
        process.stdout.close()
