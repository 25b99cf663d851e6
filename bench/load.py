"""Crowds that come, stay, turn pages or stop reading: the client programs of the load subjects.

`python -m bench.load SCENE ORDER` plays one scene for the order, a JSON object with the fields of
`Order`, and prints what it cost as the JSON of `Cost`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.processes import allow_many_files, cpu_seconds, resident
from bench.viewers import PACE, WARM_UP, Crowd
from bench.wire import PONG, TEXT, dial, frame_head, handshake, turn_frame

# Turns in one of the runs that alternate; the median of them is one figure.
TURNS_A_RUN: Final = 5
PAGES: Final = 150  # turned one after another and over again; the table has more
IDLER_BUFFER: Final = 4096  # bytes that the kernel may keep for a viewer who hardly reads
PATIENCE: Final = 30.0
SIP_INTERVAL: Final = 10.0  # seconds after which they read a little


class Order(msgspec.Struct):
    """`doors`: (port, path) of each room; `pid`: the process whose cost is told.

    `seconds`: how long nobody does anything, or may take until the `stalled` are. `pages`: a file
    with a page in each line, for a server that has none itself and passes on what it is sent.
    """

    doors: list[tuple[int, str]]
    pid: int = 0
    viewers: int = 0
    turns: int = 0
    seconds: float = 0
    stalled: int = 0
    runs: int = 0
    pages: str = ""


class Cost(msgspec.Struct):
    """`last`: seconds to the last viewer, each turn; `cpu`: CPU seconds a delivery, each turn.

    `memory`: bytes a viewer. `idle`: share of a core that idle viewers take. `beside`: as `last`,
    with others beside who read nothing.
    """

    last: list[float] = []
    cpu: list[float] = []
    memory: float = 0
    idle: float = 0
    beside: list[float] = []


def stay(order: Order) -> Cost:
    """Many come one after another, do nothing for a while, and then see pages turned."""
    crowd = Crowd(*order.doors, turn=_sent(order.pages) if order.pages else turn_frame)
    page = _warm_up(crowd, len(order.doors))
    before = resident(order.pid)
    first = len(order.doors)
    crowd.grow(order.viewers)
    memory = (resident(order.pid) - before) / (order.viewers - first)
    cpu = cpu_seconds(order.pid)
    crowd.rest(order.seconds)
    idle = (cpu_seconds(order.pid) - cpu) / order.seconds if order.seconds else 0
    last, cpus = [], []
    for _ in range(order.turns):
        page += 1
        seconds, cost = _turn(crowd, page, order.pid)
        last.append(seconds)
        cpus.append(cost / order.viewers)
    return Cost(last=last, cpu=cpus, memory=memory, idle=idle)


def storm(order: Order) -> Cost:
    """All come at once to a room where somebody is already."""
    crowd = Crowd(*order.doors)
    _warm_up(crowd, len(order.doors))
    before = cpu_seconds(order.pid)
    seconds = crowd.storm(order.viewers)
    crowd.settle()
    return Cost(last=[seconds], cpu=[(cpu_seconds(order.pid) - before) / order.viewers])


def beside(order: Order) -> Cost:
    """Turns in the first room and in the second, alternately; in the second some hardly read."""
    alone, crowded = Crowd(order.doors[0]), Crowd(order.doors[1])
    page = max(_warm_up(alone, 1), _warm_up(crowded, 1))
    # Who stalls came in the midst of the others: half of them are written after those.
    for crowd in (alone, crowded):
        crowd.grow(order.viewers // 2)
    idlers = Idlers([_idler(*order.doors[1]) for _ in range(order.stalled)])
    for crowd in (alone, crowded):
        crowd.grow(order.viewers)
    # As many pages as it takes until the server can write nothing more to any of them.
    deadline = time.monotonic() + order.seconds
    while time.monotonic() < deadline and _lagging(order.doors[1][0]) < order.stalled:
        page = page % PAGES + 1
        _turn(crowded, page)
        idlers.sip()
    found: dict[Crowd, list[float]] = {alone: [], crowded: []}
    for _ in range(order.runs):
        for crowd, runs in found.items():
            seconds = []
            for _ in range(TURNS_A_RUN):
                page = page % PAGES + 1
                seconds.append(_turn(crowd, page)[0])
            runs.append(sorted(seconds)[len(seconds) // 2])
        idlers.sip()
    return Cost(last=found[alone], beside=found[crowded])


SCENES: dict[str, Callable[[Order], Cost]] = {"stay": stay, "storm": storm, "beside": beside}


def _sent(file: str) -> Callable[[int], bytes]:
    """Pages that whoever turns sends itself."""
    lines = Path(file).read_bytes().splitlines()

    def frame(page_no: int) -> bytes:
        line = lines[page_no - 1]
        return frame_head(TEXT, len(line)) + line

    return frame


def _warm_up(crowd: Crowd, viewers: int) -> int:
    """The first viewers of each room see some pages; the number of the last one."""
    crowd.grow(viewers)
    for page in range(2, 2 + WARM_UP):
        _turn(crowd, page)
    return 1 + WARM_UP


def _turn(crowd: Crowd, page: int, pid: int = 0) -> tuple[float, float]:
    """Seconds until the last viewer has the page, and CPU seconds of `pid` until it is quiet."""
    before = cpu_seconds(pid) if pid else 0
    seconds = crowd.turn(page)
    # The pause belongs to the turn, so that work put off until after the last byte counts.
    crowd.rest(max(PACE - seconds, 0.02))
    return seconds, (cpu_seconds(pid) if pid else 0) - before


def _idler(port: int, path: str) -> socket.socket:
    """A viewer whose kernel keeps little for it, and who is not going to read."""
    sock = dial(port, receive_buffer=IDLER_BUFFER)
    sock.settimeout(PATIENCE)
    sock.sendall(handshake(port, path, deflate=True))
    if not sock.recv(1024).startswith(b"HTTP/1.1 101"):
        raise ConnectionError("a viewer was refused")
    sock.setblocking(False)
    return sock


class Idlers:
    """Viewers who take so little, and so rarely, that each of them lags, but lives."""

    def __init__(self, socks: list[socket.socket]) -> None:
        self._socks = socks
        self._sipped_at = time.monotonic()

    def sip(self) -> None:
        """If it is time: read a little and say that one is there."""
        if time.monotonic() < self._sipped_at + SIP_INTERVAL:
            return
        self._sipped_at = time.monotonic()
        for sock in self._socks:
            sock.send(PONG)
            with contextlib.suppress(BlockingIOError):
                if not sock.recv(IDLER_BUFFER):
                    raise ConnectionError("the server ended a viewer who reads slowly")


def _lagging(port: int) -> int:
    """How many viewers have bytes waiting for them, as the node tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        told = re.search(rb"^tablecast_viewers_lagging ([\d.e+]+)$", answer.read(), re.MULTILINE)
    return int(float(told[1])) if told else 0


if __name__ == "__main__":
    scene, text = sys.argv[1:]
    allow_many_files()
    cost = SCENES[scene](msgspec.json.decode(text, type=Order))
    print(msgspec.json.encode(cost).decode())
