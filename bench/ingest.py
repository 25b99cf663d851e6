"""A file on its way into Redis: through a node by PUT and by WebSocket, and the node's memory.

The naive peer is `list(csv.reader(file))` over the same file in a process of its own, which stores
nothing, sends nothing and keeps everything in memory. A less naive one turns the garbage collector
off, which takes most of its time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.processes import forget_peak, node, peak, redis, resident, run
from bench.report import Figure, at_least, below, median, note
from bench.scale import MB, Scale
from bench.tables import table
from bench.upload import push, put

PARSE_WITHIN = 120.0  # seconds
MEMORY_LIMIT = 100  # MB that a node may grow by


class Parse(msgspec.Struct):
    """What the naive peer says of itself: seconds, bytes."""

    seconds: float
    peak: int
    rows: int


def measure(scale: Scale) -> Iterator[Figure]:
    document = b"".join(table(scale.file))
    naive: list[Parse] = []
    no_gc: list[Parse] = []
    by_put: list[float] = []
    by_socket: list[float] = []
    growth: list[float] = []
    with TemporaryDirectory(prefix="tablecast-bench-") as directory:
        file = Path(directory, "table.tsv")
        file.write_bytes(document)
        for number in range(scale.file_rounds):
            note(f"ingest: {len(document) / MB:.0f} MB, round {number + 1} of {scale.file_rounds}")
            naive.append(parse(file))
            no_gc.append(parse(file, gc=False))
            # A new Redis each time: one that still tidies its file would slow the peer down.
            with redis() as storage, node(storage.url) as server:
                before = resident(server.pid)
                forget_peak(server.pid)
                by_put.append(put(server.port, str(uuid.uuid4()), [document], len(document)))
                growth.append((peak(server.pid) - before) / MB)
            with redis() as storage, node(storage.url) as server:
                by_socket.append(push(server.port, str(uuid.uuid4()), document))
    size = len(document) / MB
    for name, peer, limit in (("", naive, 3), (", naive: no GC", no_gc, None)):
        slow = size / median(one.seconds for one in peer)
        yield at_least(
            f"ingest: PUT into Redis{name}", size / median(by_put), slow, "{:.0f} MB/s", limit
        )
        yield at_least(
            f"ingest: WebSocket into Redis{name}", size / median(by_socket), slow, "{:.0f} MB/s"
        )
    parsed = median(one.peak for one in naive) / MB
    yield below(
        "ingest: peak growth of the node", median(growth), parsed, "{:.0f} MB", MEMORY_LIMIT
    )


def parse(file: Path, *, gc: bool = True) -> Parse:
    how = "parse" if gc else "parse_no_gc"
    told = run(["-m", "bench.naive", how, str(file)], within=PARSE_WITHIN)
    return msgspec.json.decode(told, type=Parse)
