"""A page turn from a viewer on one node to a viewer on another, through a real Redis.

The naive peer has one node only: it sends the page to both of its viewers itself. What ours takes
longer is the price of a second node.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import node, redis, serving
from bench.report import Figure, at_most, below, median, note, percentile
from bench.scale import Scale
from bench.tables import table
from bench.upload import put
from bench.wire import Viewer

SPACING = 0.12  # seconds between turns: more than twice the pace at which a room may change
ROWS = 100
LIMIT = 10  # ms at the median


def measure(scale: Scale) -> Iterator[Figure]:
    document = b"".join(table((scale.latency_turns + 10) * ROWS * 110))
    room = f"/ws/{(uid := str(uuid.uuid4()))}"
    note(f"latency: {scale.latency_turns} turns")
    with TemporaryDirectory(prefix="tablecast-bench-") as directory, redis() as storage:
        file = Path(directory, "table.tsv")
        file.write_bytes(document)
        with node(storage.url) as here, node(storage.url) as there:
            put(here.port, uid, [document], len(document))
            with Viewer(here.port, room) as turner, Viewer(there.port, room) as watcher:
                ours = _turns(turner, watcher, scale.latency_turns)
        with (
            serving(["-m", "bench.naive", "send_json", str(file)]) as server,
            Viewer(server.port, room) as turner,
            Viewer(server.port, room) as watcher,
        ):
            naive = _turns(turner, watcher, scale.latency_turns)
    yield below(
        "latency: node to node (naive: one node), median",
        1e3 * median(ours),
        1e3 * median(naive),
        "{:.2f} ms",
        LIMIT,
    )
    yield at_most(
        "latency: node to node (naive: one node), 95 of 100",
        1e3 * percentile(ours, 0.95),
        1e3 * percentile(naive, 0.95),
        "{:.2f} ms",
    )


def _turns(turner: Viewer, watcher: Viewer, count: int) -> list[float]:
    """Seconds from each turn until the page is with the other viewer."""
    for viewer in (turner, watcher):
        viewer.drain()
    seconds = []
    for page in range(2, 2 + count):
        started = time.perf_counter()
        turner.turn(page)
        seconds.append(watcher.wait_for_page() - started)
        turner.wait_for_page()
        time.sleep(SPACING)
    return seconds
