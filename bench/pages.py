"""A page turn of a large document beside one of a small document: the peer is the small one.

Pages are turned at random. Without caches on the node every turn fetches and parses its blocks, in
both documents; with them the small one is soon in memory as a whole.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator

import msgspec

from bench.processes import Server, cpu_seconds, node, redis
from bench.report import Figure, at_most, median, note
from bench.scale import MB, Scale
from bench.tables import table
from bench.upload import put
from bench.wire import Viewer

PACE = 0.06  # seconds from a turn to the next: below 20 a second a room does not wait
PAGE_ROWS = 100
LIMIT = 1.5


class Room:
    """A document with one viewer, who turns its pages."""

    def __init__(self, server: Server, size: int) -> None:
        self._server = server
        uid = str(uuid.uuid4())
        length = sum(map(len, table(size)))
        put(server.port, uid, table(size), length)
        with Viewer(server.port, f"/ws/{uid}", deflate=False) as viewer:
            state = viewer.wait_for("page")
        self._pages = msgspec.convert(state["total_number"], int) // PAGE_ROWS
        self._random = random.Random(7)  # the same pages each time
        self._page = 1
        self._viewer = Viewer(server.port, f"/ws/{uid}")
        self._viewer.drain()
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def turn(self) -> tuple[float, float]:
        """Turn to a page at random: (seconds until it is here, CPU seconds of the node)."""
        page = self._page
        while page == self._page:
            page = self._random.randint(1, self._pages)
        self._page = page
        cpu = cpu_seconds(self._server.pid)
        started = time.perf_counter()
        self._viewer.turn(page)
        seconds = self._viewer.wait_for_page() - started
        time.sleep(PACE)
        return seconds, cpu_seconds(self._server.pid) - cpu

    def measure(self) -> None:
        seconds, cpu = self.turn()
        self.seconds.append(seconds)
        self.cpu.append(cpu)

    def close(self) -> None:
        self._viewer.socket.close()


def measure(scale: Scale) -> Iterator[Figure]:
    with redis() as storage:
        with node(storage.url, block_cache=0, page_cache=0) as server:
            yield from _compare(server, scale, "cold", LIMIT)
        with node(storage.url) as server:
            yield from _compare(server, scale, "cached", None)


def _compare(server: Server, scale: Scale, name: str, limit: float | None) -> Iterator[Figure]:
    sizes = f"{scale.large / MB:,.0f} MB beside {scale.small / MB:.0f} MB"
    note(f"pages: {sizes}, {name}")
    large, small = Room(server, scale.large), Room(server, scale.small)
    for _ in range(scale.page_turns):
        large.measure()
        small.measure()
    large.close()
    small.close()
    yield at_most(
        f"page turn, {sizes}, {name}: time",
        1e3 * median(large.seconds),
        1e3 * median(small.seconds),
        "{:.2f} ms",
        limit,
    )
    yield at_most(
        f"page turn, {sizes}, {name}: CPU",
        1e3 * median(large.cpu),
        1e3 * median(small.cpu),
        "{:.2f} ms",
        limit,
    )
