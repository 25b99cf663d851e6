"""A node in a process of its own, as the kernel and its own `/metrics` see it."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.processes import forget_peak, peak, resident

PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What it costs and holds now. `pid` and `port` are those of `python -m server`."""

    pid: int
    port: int

    @property
    def memory(self) -> int:
        """Bytes."""
        return resident(self.pid)

    @property
    def most(self) -> int:
        """Bytes of memory that it had at any moment since `rested`."""
        return peak(self.pid)

    @property
    def files(self) -> int:
        """Open ones, connections among them."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def gauges(self) -> dict[str, float]:
        """What has no labels at `/metrics`."""
        text = self.ask("GET", "/metrics").decode()
        found = re.findall(r"^(\w+) ([\d.e+-]+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def gauge(self, name: str) -> float:
        return self.gauges()[f"tablecast_{name}"]

    def caches(self) -> dict[str, int]:
        """Bytes in each cache."""
        text = self.ask("GET", "/metrics").decode()
        found = re.findall(r'^tablecast_cache_bytes{cache="(\w+)"} ([\d.e+]+)$', text, re.MULTILINE)
        return {name: int(float(value)) for name, value in found}

    def ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """The body of the answer. Raises what urllib does."""
        url = f"http://127.0.0.1:{self.port}{path}"
        asked = urllib.request.Request(url, data=data, method=method)
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            told: bytes = answer.read()
            return told

    def put(self, data: bytes, room: str | None = None) -> str:
        """Show a table; its room, a new one without `room`."""
        room = room or str(uuid.uuid4())
        self.ask("PUT", f"/api/rooms/{room}/document?name=table.tsv", data)
        return room

    def warm_up(self) -> None:
        """Have it do what it does for the first time."""
        for _ in range(3):
            self.put(b"a\tb\n" + b"1\t2\n" * 100_000)

    def state(self, room: str) -> Any:
        return json.loads(self.ask("GET", f"/api/rooms/{room}"))

    def until(self, met: Callable[[dict[str, float]], bool], patience: float = PATIENCE) -> None:
        """Wait until the gauges are like this."""
        deadline = time.monotonic() + patience
        while not met(told := self.gauges()):
            if time.monotonic() > deadline:
                tasks = told["tablecast_tasks"]
                raise AssertionError(f"not within {patience:g} s: {held(told)}, {tasks:g} tasks")
            time.sleep(0.05)

    def until_empty(self, tasks: float, patience: float = PATIENCE) -> None:
        """Wait until nothing of any viewer or upload is left, and only so many tasks."""
        self.until(
            lambda told: not any(held(told).values()) and told["tablecast_tasks"] <= tasks,
            patience,
        )

    def settle(self, patience: float = 5.0) -> int:
        """Bytes of memory once they change no more, or after `patience`."""
        deadline = time.monotonic() + patience
        before = -1
        while before != (now := self.memory) and time.monotonic() < deadline:
            before = now
            time.sleep(0.3)
        return now

    def rested(self) -> int:
        """As `settle`; `most` counts from here."""
        now = self.settle()
        forget_peak(self.pid)
        return now


def tell(figure: str) -> None:
    """Say what was measured; `pytest -s` shows it."""
    sys.stdout.write(f"\n{figure}\n")


HELD: Final = ("viewers", "viewers_lagging", "rooms", "subscriptions", "uploads_running")


def held(told: dict[str, float]) -> dict[str, float]:
    """What a node has of those who use it."""
    return {name: told[f"tablecast_{name}"] for name in HELD}
