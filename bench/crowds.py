"""Many viewers: idle, in one room, in many, all coming at once, behind Nginx, or stalled.

The naive peer is that of the fan-out: for each turn, each viewer's JSON over its own deflate. The
client program is the same for both (`bench/load.py`); ours takes each turn through a real Redis.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.load import Cost, Order
from bench.processes import Server, node, redis, run, serving
from bench.report import Figure, at_most, below, median, note
from bench.scale import Scale
from bench.tables import table
from bench.upload import put
from tests.nodes.harness import Nginx

PAGES = 200
PAGE_BYTES = 100 * 110  # about, of a hundred rows
WITHIN = 400.0  # seconds for one scene
# The idle life of 10,000 viewers needs no more; a viewer who reads nothing is to stay.
SETTINGS = {"stall_timeout": "10min"}


@dataclass(frozen=True, slots=True)
class Peers:
    """The two sides of a subject: a Redis for ours, and a file that the naive one shows."""

    redis_url: str
    file: str
    document: bytes

    @contextmanager
    def ours(self, *rooms: str) -> Iterator[Server]:
        """A node that shows the table in these rooms."""
        with node(self.redis_url, **SETTINGS) as server:
            for room in rooms:
                put(server.port, room, [self.document], len(self.document))
            yield server

    @contextmanager
    def naive(self) -> Iterator[Server]:
        with serving(["-m", "bench.naive", "send_json", self.file]) as server:
            yield server


def measure_crowd(scale: Scale) -> Iterator[Figure]:
    """10,000 viewers of one room on one node: what they cost idle, and a page turn to all."""
    room = str(uuid.uuid4())
    with peers() as both:
        note(f"crowd: {scale.crowd:,} viewers")
        order = {"viewers": scale.crowd, "turns": scale.crowd_turns, "seconds": scale.idle}
        with both.naive() as server:
            naive = play("stay", server, [room], **order)
        with both.ours(room) as server:
            ours = play("stay", server, [room], **order)
    crowd = f"{scale.crowd:,} viewers"
    yield below(
        f"{crowd}, idle: memory of the node for each",
        ours.memory / 1024,
        naive.memory / 1024,
        "{:.1f} KiB",
        25_000 / 1024,
    )
    yield at_most(
        f"{crowd}, idle: share of a core",
        100 * ours.idle,
        100 * max(naive.idle, 1e-6),  # in the moment of a sketch it may do nothing at all
        "{:.2f} %",
    )
    yield from _turned(crowd, ours, naive)


def measure_rooms(scale: Scale) -> Iterator[Figure]:
    """200 rooms on one node whose pages are all turned at the same moment."""
    rooms = [str(uuid.uuid4()) for _ in range(scale.rooms)]
    viewers = scale.rooms * scale.room_viewers
    with peers(pages=20) as both:
        note(f"rooms: {scale.rooms} of {scale.room_viewers} viewers")
        with both.naive() as server:
            naive = play("stay", server, rooms, viewers=viewers, turns=scale.crowd_turns)
        with both.ours(*rooms) as server:
            ours = play("stay", server, rooms, viewers=viewers, turns=scale.crowd_turns)
    what = f"{scale.rooms} rooms of {scale.room_viewers} viewers at once"
    yield from _turned(what, ours, naive, limit=None)


def measure_storm(scale: Scale) -> Iterator[Figure]:
    """2,000 viewers who come to one room at the same moment."""
    found: dict[str, list[float]] = {"ours": [], "naive": []}
    with peers() as both:
        for number in range(scale.rounds):
            note(f"storm: {scale.storm:,} viewers, round {number + 1} of {scale.rounds}")
            room = str(uuid.uuid4())
            with both.naive() as server:
                found["naive"] += play("storm", server, [room], viewers=scale.storm).last
            with both.ours(room) as server:
                found["ours"] += play("storm", server, [room], viewers=scale.storm).last
    yield at_most(
        f"{scale.storm:,} viewers come at once: last first page",
        1e3 * median(found["ours"]),
        1e3 * median(found["naive"]),
        "{:.0f} ms",
    )


def measure_nginx(scale: Scale) -> Iterator[Figure]:
    """A crowd and a storm behind Nginx, which has the same two cores."""
    room = str(uuid.uuid4())
    crowd = f"behind Nginx: {scale.nginx_crowd:,} viewers"
    costs: dict[str, tuple[Cost, Cost]] = {}
    with peers() as both:
        for side in ("naive", "ours"):
            note(f"nginx: {scale.nginx_crowd:,} viewers, {side}")
            with (
                both.naive() if side == "naive" else both.ours(room) as server,
                _nginx(server) as proxy,
            ):
                order = {"viewers": scale.nginx_crowd, "turns": scale.crowd_turns}
                stay = play("stay", proxy, [room], **order)
                costs[side] = stay, play("storm", proxy, [room], viewers=scale.storm)
    (ours, ours_storm), (naive, naive_storm) = costs["ours"], costs["naive"]
    yield from _turned(crowd, ours, naive)
    yield at_most(
        f"behind Nginx: {scale.storm:,} viewers come at once: last first page",
        1e3 * median(ours_storm.last),
        1e3 * median(naive_storm.last),
        "{:.0f} ms",
    )


def measure_nodes(scale: Scale) -> Iterator[Figure]:
    """1,000 viewers of one room, half of them on each of two nodes."""
    room = str(uuid.uuid4())
    with peers() as both:
        note(f"nodes: {scale.viewers:,} viewers on two")
        with both.naive() as server:
            naive = play("stay", server, [room], viewers=scale.viewers, turns=scale.turns)
        with both.ours(room) as one, both.ours() as other:
            doors = [(one.port, f"/ws/{room}"), (other.port, f"/ws/{room}")]
            order = Order(doors=doors, pid=one.pid, viewers=scale.viewers, turns=scale.turns)
            ours = send("stay", order)
    yield below(
        f"two nodes (naive: one): last of {scale.viewers:,} viewers",
        1e3 * median(ours.last),
        1e3 * median(naive.last),
        "{:.1f} ms",
        40,
    )


def measure_stalled(scale: Scale) -> Iterator[Figure]:
    """What viewers who do not read cost the others in their room."""
    here, there = str(uuid.uuid4()), str(uuid.uuid4())
    with peers() as both:
        note(f"stalled: {scale.stalled:,} beside {scale.viewers:,} others")
        with both.ours(here) as one, both.ours(there) as other:
            cost = send(
                "beside",
                Order(
                    doors=[(one.port, f"/ws/{here}"), (other.port, f"/ws/{there}")],
                    viewers=scale.viewers,
                    stalled=scale.stalled,
                    seconds=4 * scale.idle,
                    runs=scale.stalled_runs,
                ),
            )
    ours, without = 1e3 * median(cost.beside), 1e3 * median(cost.last)
    what = f"last of {scale.viewers:,} beside {scale.stalled:,} stalled (peer: without them)"
    yield at_most(what, ours, without, "{:.1f} ms", 1.1)


def _turned(crowd: str, ours: Cost, naive: Cost, limit: float | None = 1 / 8) -> Iterator[Figure]:
    yield at_most(
        f"{crowd}: last to get a page",
        1e3 * median(ours.last),
        1e3 * median(naive.last),
        "{:.0f} ms",
    )
    yield at_most(
        f"{crowd}: CPU a delivered page",
        1e6 * median(ours.cpu),
        1e6 * median(naive.cpu),
        "{:.1f} us",
        limit,
    )


@contextmanager
def peers(pages: int = PAGES) -> Iterator[Peers]:
    """Both sides, with a table of so many pages."""
    document = b"".join(table(pages * PAGE_BYTES))
    with TemporaryDirectory(prefix="tablecast-bench-") as directory, redis() as storage:
        file = Path(directory, "table.tsv")
        file.write_bytes(document)
        yield Peers(storage.url, str(file), document)


@contextmanager
def _nginx(server: Server) -> Iterator[Server]:
    """The project's Nginx before a server, whose process it is that is looked at."""
    with TemporaryDirectory(prefix="tablecast-bench-") as directory:
        nginx = Nginx(Path(directory), [server.port])
        try:
            asyncio.run(nginx.start())
            yield Server(server.pid, nginx.port)
        finally:
            nginx.kill()


def play(scene: str, server: Server, rooms: list[str], **order: float) -> Cost:
    """What a scene of bench/load.py costs in these rooms of a server."""
    doors = [(server.port, f"/ws/{room}") for room in rooms]
    return send(scene, msgspec.convert({"doors": doors, "pid": server.pid, **order}, Order))


def send(scene: str, order: Order) -> Cost:
    """What a scene of bench/load.py costs."""
    text = msgspec.json.encode(order).decode()
    return msgspec.json.decode(run(["-m", "bench.load", scene, text], within=WITHIN), type=Cost)
