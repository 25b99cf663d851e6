"""Does the arithmetic of docs/SCALING.md hold? Costs measured in a short run, and queues played.

A second beside a figure is what the formulas of `bench/plan.py` say. What is played: page turns of
many rooms that one node works off one after another, rooms whose viewers any node may get, and the
viewers of a dead node who come back at once.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from bench.crowds import peers, play
from bench.plan import COSTS, LOAD, NODE, TURN_EVERY, Costs, reconnected
from bench.processes import cpu_seconds, node, redis
from bench.report import Figure, at_most, median, note, percentile
from bench.scale import Scale
from bench.upload import put
from server.fanout.backend import Event, Present
from server.fanout.redis import RedisBackend

SEED = 5
SECONDS = 400.0  # of page turns that are played
READY_WITHIN = 30.0  # seconds until nodes follow all rooms
SAME = 1.1  # a play may exceed the formula by so much
JITTER = 0.5  # seconds over which viewers of a dead node come back


@dataclass(slots=True)
class _Quiet:
    """A receiver that counts what it hears."""

    heard: int = 0

    def changed(self, room: str, event: Event) -> None:
        self.heard += 1

    def degraded(self, degraded: bool) -> None:
        pass


def measure(scale: Scale) -> Iterator[Figure]:
    yield from _costs(scale)
    yield from _turns()
    yield from _spread()
    yield from _storm()


# What things cost here


def _costs(scale: Scale) -> Iterator[Figure]:
    """CPU, so that other work on the machine matters little; the peer is what is planned."""
    few, many = max(2, scale.viewers // 10), scale.viewers
    totals: dict[int, float] = {}
    joins: list[float] = []
    with peers() as both:
        for viewers in (few, many):
            note(f"simulate: what {viewers:,} viewers cost")
            room = str(uuid.uuid4())
            with node(both.redis_url) as server:
                put(server.port, room, [both.document], len(both.document))
                cost = play("stay", server, [room], viewers=viewers, turns=scale.turns)
                totals[viewers] = median(cost.cpu) * viewers
                before = cpu_seconds(server.pid)
                play("storm", server, [room], viewers=viewers)
                joins.append((cpu_seconds(server.pid) - before) / viewers)
    deliver = max(0.0, (totals[many] - totals[few]) / (many - few))
    turn = max(0.0, totals[few] - few * deliver)
    calls = 20 * scale.viewers
    note(f"simulate: what {calls:,} calls cost Redis")
    append, publish, present, audit = asyncio.run(_redis_costs(calls))
    found = Costs(deliver, turn, joins[-1], append=append, publish=publish, present=present)
    for what, here, planned in (
        ("a delivered page", found.deliver, COSTS.deliver),
        ("a turn, on each node", found.turn, COSTS.turn),
        ("a viewer who comes", found.join, COSTS.join),
        ("Redis: a change", found.append, COSTS.append),
        ("Redis: a change to one more node", found.publish, COSTS.publish),
        ("Redis: who is in a room", found.present, COSTS.present),
        ("Redis: a revision compared", audit, COSTS.audit),
    ):
        yield at_most(f"CPU: {what} (planned)", 1e6 * here, 1e6 * planned, "{:.1f} us")


async def _redis_costs(calls: int) -> tuple[float, float, float, float]:
    rooms = [str(uuid.uuid4()) for _ in range(max(1, calls // 20))]
    with redis() as server:
        nodes = [RedisBackend(server.url, f"node-{number}") for number in range(6)]
        try:
            one, *others = nodes
            ears = {backend: _Quiet() for backend in nodes}
            for backend, ear in ears.items():
                await backend.start(ear)

            async def cost() -> float:
                before = cpu_seconds(server.pid)
                for number in range(calls):
                    await one.append(rooms[number % len(rooms)], set={"page": {"offset": number}})
                return (cpu_seconds(server.pid) - before) / calls

            append = await cost()
            for backend in others:
                for room in rooms:
                    backend.follow(room)
            async with asyncio.timeout(READY_WITHIN):
                while any(ears[backend].heard < len(rooms) for backend in others):
                    await asyncio.sleep(0.05)
            publish = max(0.0, await cost() - append) / len(others)
            before = cpu_seconds(server.pid)
            for number in range(20):
                await one.present(dict.fromkeys(rooms, Present(number % 2 + 1)))
            present = (cpu_seconds(server.pid) - before) / (20 * len(rooms))
            before = cpu_seconds(server.pid)
            for _ in range(20):
                for start in range(0, len(rooms), 500):
                    # What only the bus asks for.
                    await one._source.revisions(rooms[start : start + 500])
            audit = (cpu_seconds(server.pid) - before) / (20 * len(rooms))
        finally:
            for backend in nodes:
                await backend.close()
    return append, publish, present, audit


# Plays


def _turns() -> Iterator[Figure]:
    """Rooms of 50 on one node, as many as keep it half busy; they turn when they like."""
    size = 50
    service = COSTS.turn + size * COSTS.deliver
    rooms = int(LOAD * TURN_EVERY / service)
    delays, busy = played_turns(rooms, service)
    load = rooms / TURN_EVERY * service
    waited = service + load * service / (2 * (1 - load))  # one queue, equal work, random arrivals
    yield _same(f"{rooms:,} rooms of {size} on a node: busy", 100 * busy, 100 * load, "{:.1f} %")
    mean = sum(delays) / len(delays)
    yield _same("a page to the last of a room, mean", 1e3 * mean, 1e3 * waited, "{:.2f} ms")
    longest = 1e3 * percentile(delays, 0.99)
    yield Figure("a page to the last of a room, 99 of 100", f"{longest:.1f} ms")


def played_turns(rooms: int, service: float) -> tuple[list[float], float]:
    """Seconds until each turn was worked off, and the share of the time that took."""
    chance = random.Random(SEED)
    delays: list[float] = []
    now = free = worked = 0.0
    while (now := now + chance.expovariate(rooms / TURN_EVERY)) < SECONDS:
        free = max(now, free) + service
        worked += service
        delays.append(free - now)
    return delays, worked / max(SECONDS, free)


def _spread() -> Iterator[Figure]:
    for size, nodes in ((20, 100), (1_000, 100), (50, 10)):
        formula = nodes * (1 - (1 - 1 / nodes) ** size)
        yield _same(
            f"nodes with viewers of a room of {size:,}, of {nodes}",
            played_spread(size, nodes),
            formula,
            "{:.1f}",
        )


def played_spread(size: int, nodes: int) -> float:
    """Mean number of nodes that get somebody of a room when each gets any node."""
    chance = random.Random(SEED)
    plays = 200
    return sum(len({chance.randrange(nodes) for _ in range(size)}) for _ in range(plays)) / plays


def _storm() -> Iterator[Figure]:
    for nodes in (3, 10, 100):
        people = nodes * NODE
        yield _same(
            f"{NODE:,} viewers of a dead node, of {nodes}: last page",
            played_storm(people, nodes),
            reconnected(people, nodes, JITTER),
            "{:.1f} s",
        )


def played_storm(people: int, nodes: int) -> float:
    """Seconds until the last viewer of a dead node has its page from the least busy other one."""
    chance = random.Random(SEED)
    free = [0.0] * (nodes - 1)
    last = 0.0
    for now in sorted(chance.uniform(0, JITTER) for _ in range(people // nodes)):
        done = max(now, heapq.heappop(free)) + COSTS.join
        heapq.heappush(free, done)
        last = max(last, done)
    return last


def _same(what: str, played: float, formula: float, show: str) -> Figure:
    return at_most(f"{what} (formula)", played, formula, show, SAME)
