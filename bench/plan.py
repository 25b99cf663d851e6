"""How much an installation needs: the formulas behind docs/SCALING.md.

`python -m bench.plan 20000 10` plans for 20,000 people in rooms of 10. `--write` puts their table
into the document; a test holds it to them, and `python -m bench simulate` plays the parts that are
more than a multiplication.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "SCALING.md"
BEGIN, END = "<!-- plan -->", "<!-- end -->"

HEAD = ("people", "a room", "sticky", "nodes", "busy", "Redis busy", "Redis", "Nginx", "sent")


@dataclass(frozen=True, slots=True)
class Costs:
    """What things cost, rounded up from what was measured. CPU in seconds of one core."""

    deliver: float = 12e-6  # a page to one more viewer of a room on the same node
    turn: float = 3.5e-3  # a page turn on each node that has viewers of the room, before the first
    join: float = 1e-3  # a viewer comes: handshake, state and page
    idle: float = 6e-6  # a second of a viewer who only watches
    viewer: int = 25_000  # bytes of a node
    page: int = 4_000  # bytes of a page on the wire: 3.6 KB deflated, and headers of TCP and TLS
    append: float = 75e-6  # of Redis: a change
    publish: float = 10e-6  # of Redis: a change to one more node
    present: float = 16e-6  # of Redis: a node says who is in a room, every two seconds
    audit: float = 2e-6  # of Redis: a node compares a room's revision, every five seconds


COSTS = Costs()
LOAD = 0.5  # share of a core that a node or a Redis is planned to be busy
NODE = 10_000  # viewers on a node at most; it would take 15,000
NGINX = 40_000  # viewers of one Nginx: four workers of 24,576 connections, two for each viewer
PRESENT_EVERY = 2.0  # seconds
AUDIT_EVERY = 5.0
TURN_EVERY = 10.0  # seconds between two page turns of a room


@dataclass(frozen=True, slots=True)
class Plan:
    """An installation for `people`, `size` of them in each room.

    `sticky`: a proxy sends all of a room to one node, or to as few as hold it, not to any.
    """

    people: int
    size: int
    sticky: bool = False

    @property
    def rooms(self) -> int:
        return math.ceil(self.people / self.size)

    def spread(self, nodes: int) -> float:
        """On how many nodes a room has viewers."""
        if self.sticky:
            return math.ceil(self.size / NODE)
        return nodes * (1 - (1 - 1 / nodes) ** self.size)

    def busy(self, nodes: int) -> float:
        """Share of its core that a node is busy."""
        turns = self.rooms / TURN_EVERY
        work = turns * (self.spread(nodes) * COSTS.turn + self.size * COSTS.deliver)
        return (work + self.people * COSTS.idle) / nodes

    @property
    def nodes(self) -> int:
        nodes = math.ceil(self.people / NODE)
        while self.busy(nodes) > LOAD:
            nodes += max(1, nodes // 50)
        return nodes

    @property
    def redis(self) -> float:
        """Cores of Redis that are busy in all."""
        nodes = self.spread(self.nodes)
        a_turn = COSTS.append + nodes * COSTS.publish
        a_second = nodes * (COSTS.present / PRESENT_EVERY + COSTS.audit / AUDIT_EVERY)
        return self.rooms * (a_turn / TURN_EVERY + a_second)

    @property
    def shards(self) -> int:
        return max(1, math.ceil(self.redis / LOAD))

    @property
    def proxies(self) -> int:
        return math.ceil(self.people / NGINX)

    @property
    def out(self) -> float:
        """Bits a second to all viewers."""
        return 8 * self.people * COSTS.page / TURN_EVERY

    def cells(self) -> tuple[str, ...]:
        return (
            f"{self.people:,}",
            f"{self.size:,}",
            "yes" if self.sticky else "no",
            f"{self.nodes:,}",
            f"{100 * self.busy(self.nodes):.0f} %",
            f"{100 * self.redis:.0f} %",
            f"{self.shards:,}",
            f"{self.proxies:,}",
            rate(self.out),
        )


PLANS = (
    Plan(100, 20),
    Plan(5_000, 50),
    Plan(10_000, 10_000),
    Plan(20_000, 10),
    Plan(20_000, 10, sticky=True),
    Plan(30_000, 100),
    Plan(100_000, 100_000),
    Plan(100_000, 50),
    Plan(100_000, 50, sticky=True),
    Plan(1_000_000, 1_000_000),
    Plan(1_000_000, 1_000),
    Plan(1_000_000, 1_000, sticky=True),
    Plan(1_000_000, 20),
    Plan(1_000_000, 20, sticky=True),
)


def rate(bits: float) -> str:
    return f"{bits / 1e9:.1f} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.1f} Mbit/s"


def table(plans: Sequence[Plan] = PLANS) -> str:
    rows = [HEAD, tuple("---" for _ in HEAD), *(plan.cells() for plan in plans)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def written(text: str) -> str:
    """The document with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"there is no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def reconnected(people: int, nodes: int, jitter: float) -> float:
    """Seconds until all viewers of one of `nodes` that died have their page from the others.

    They come back spread over `jitter` seconds.
    """
    return max(jitter, people / nodes * COSTS.join / max(1, nodes - 1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.plan", description="Plan for many.")
    parser.add_argument("people", type=positive, nargs="?", help="how many watch at once")
    parser.add_argument("room", type=positive, nargs="?", help="how many of them in each room")
    parser.add_argument("--write", action="store_true", help="put the table into docs/SCALING.md")
    told = parser.parse_args(arguments)
    if told.people and not told.room:
        parser.error("how many of them are in each room?")
    if told.people:
        print(table([Plan(told.people, told.room), Plan(told.people, told.room, sticky=True)]))
        return
    if told.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")
    print(table())


def positive(text: str) -> int:
    number = int(text.replace(",", ""))
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()
