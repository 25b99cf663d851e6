"""A page to many viewers: CPU a delivery, time to the last viewer, memory a viewer.

The naive peer sends each viewer its JSON over that connection's own deflate; a less naive one makes
the JSON once. All show the same rows to the same client program; ours takes each turn through a
real Redis.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.processes import Server, node, redis, run, serving
from bench.report import Figure, at_most, median, note
from bench.scale import Scale
from bench.tables import table
from bench.upload import put

PAGE_ROWS = 100
RUN_WITHIN = 120.0  # seconds for one crowd


class Run(msgspec.Struct):
    """One crowd's turns: seconds to the last viewer, CPU seconds a delivery; bytes a viewer."""

    last: list[float]
    cpu: list[float]
    memory: float


def measure(scale: Scale) -> Iterator[Figure]:
    document = b"".join(table((scale.turns + 10) * PAGE_ROWS * 110))
    ours: list[Run] = []
    naive: list[Run] = []
    once: list[Run] = []
    with TemporaryDirectory(prefix="tablecast-bench-") as directory, redis() as storage:
        file = Path(directory, "table.tsv")
        file.write_bytes(document)
        for number in range(scale.rounds):
            note(f"fanout: {scale.viewers} viewers, round {number + 1} of {scale.rounds}")
            room = str(uuid.uuid4())
            for send, runs in (("send_json", naive), ("send_str", once)):
                with serving(["-m", "bench.naive", send, str(file)]) as server:
                    runs.append(_crowd(server, room, scale))
            with node(storage.url) as server:
                put(server.port, room, [document], len(document))
                ours.append(_crowd(server, room, scale))
    crowd = f"{scale.viewers:,} viewers"
    for name, peer, limit in (("", naive, 1 / 6), (", naive: JSON made once", once, None)):
        yield at_most(
            f"fan-out: CPU a delivered page{name}",
            1e6 * median(_all(run.cpu for run in ours)),
            1e6 * median(_all(run.cpu for run in peer)),
            "{:.1f} us",
            limit,
        )
        yield at_most(
            f"fan-out: last of {crowd}{name}",
            1e3 * median(_all(run.last for run in ours)),
            1e3 * median(_all(run.last for run in peer)),
            "{:.1f} ms",
        )
    yield at_most(
        "memory: of the node a viewer",
        median(run.memory for run in ours) / 1024,
        median(run.memory for run in naive) / 1024,
        "{:.1f} KiB",
        1 / 4,
    )


def _crowd(server: Server, room: str, scale: Scale) -> Run:
    arguments = [server.port, f"/ws/{room}", server.pid, scale.viewers, scale.turns]
    told = run(["-m", "bench.viewers", *map(str, arguments)], within=RUN_WITHIN)
    return msgspec.json.decode(told, type=Run)


def _all(runs: Iterator[Sequence[float]]) -> list[float]:
    return [value for values in runs for value in values]
