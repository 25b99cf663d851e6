"""Nodes for the tests of the fan-out: a backend each, and a receiver that forgets nothing."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import fakeredis

from server.fanout.backend import Backend, Change, Event, Here, Snapshot
from server.fanout.bus import Timing
from server.fanout.cluster import ClusterBackend
from server.fanout.memory import MemoryBackend, MemoryStore
from server.fanout.redis import RedisBackend
from server.fanout.replica import Replica, Verdict
from server.redis_url import servers

PATIENCE = 8.0  # seconds; every wait of these tests ends by then
LEASE = 1.0  # seconds
FAST = Timing(linger=0.3, audit=0.3, grace=0.2, ping=0.2, answer=0.5, backoff=0.2)


class Recorder:
    """A receiver that keeps what it is told and holds every room's events to the promised order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self.degradations: list[bool] = []
        self.broken: list[str] = []  # promises that were not kept
        self._replicas: dict[str, Replica] = {}
        self._news = asyncio.Event()

    def changed(self, room: str, event: Event) -> None:
        if any(frame.name == "append" for frame in traceback.extract_stack()):
            self.broken.append(f"{room}: told from inside append")
        replica = self._replicas.get(room)
        if isinstance(event, Snapshot):
            self._replicas[room] = Replica(event)
        elif replica is None:
            self.broken.append(f"{room}: {event} came before any snapshot")
        elif isinstance(event, Change) and replica.apply(event) is not Verdict.APPLIED:
            self.broken.append(f"{room}: {event.epoch}/{event.rev} came after {replica.rev}")
        self.events.append((room, event))
        self._news.set()

    def degraded(self, degraded: bool) -> None:
        self.degradations.append(degraded)
        self._news.set()

    def forget(self) -> None:
        """Forget the events so far, but not the state they led to."""
        self.events.clear()
        self.degradations.clear()

    def of(self, room: str) -> list[Event]:
        return [event for name, event in self.events if name == room]

    def changes(self, room: str) -> list[Change]:
        return [event for event in self.of(room) if isinstance(event, Change)]

    def snapshots(self, room: str) -> list[Snapshot]:
        return [event for event in self.of(room) if isinstance(event, Snapshot)]

    def here(self, room: str) -> int | None:
        """The viewers last told, if any were."""
        counts = [event.count for event in self.of(room) if isinstance(event, Here)]
        return counts[-1] if counts else None

    def state(self, room: str) -> Snapshot:
        """What a viewer of this node sees: the last snapshot and the changes since."""
        replica = self._replicas.get(room)
        return replica.snapshot() if replica is not None else Snapshot(epoch="nothing told")

    async def until(self, met: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until what was told meets a condition."""
        async with asyncio.timeout(patience):
            while not met():
                self._news.clear()
                await self._news.wait()

    async def until_rev(self, room: str, rev: int) -> None:
        await self.until(lambda: self.state(room).rev >= rev)


@dataclass
class Node:
    backend: Backend
    told: Recorder


class Nodes(Protocol):
    """Makes nodes that share one store."""

    kind: str

    async def start(
        self,
        name: str,
        *,
        room_life: float = 3600,
        incomplete_life: float = 900,
        timing: Timing = FAST,
    ) -> Node: ...

    async def close(self) -> None: ...


@dataclass
class _Started:
    kind: str
    make: Callable[[str, float, float, Timing], Backend]
    nodes: list[Node] = field(default_factory=list)

    async def start(
        self,
        name: str,
        *,
        room_life: float = 3600,
        incomplete_life: float = 900,
        timing: Timing = FAST,
    ) -> Node:
        node = Node(self.make(name, room_life, incomplete_life, timing), Recorder())
        self.nodes.append(node)
        await asyncio.wait_for(node.backend.start(node.told), PATIENCE)
        return node

    async def close(self) -> None:
        for node in self.nodes:
            await asyncio.wait_for(node.backend.close(), PATIENCE)
        assert [broken for node in self.nodes for broken in node.told.broken] == []


def memory_nodes() -> Nodes:
    store = MemoryStore()

    def make(name: str, room_life: float, incomplete_life: float, timing: Timing) -> Backend:
        return MemoryBackend(
            name,
            store=store,
            room_life=room_life,
            incomplete_life=incomplete_life,
            lease=LEASE,
            sweep_every=0.05,
        )

    return _Started("memory", make)


def fake_redis_nodes() -> Nodes:
    server = fakeredis.FakeServer()

    def make(name: str, room_life: float, incomplete_life: float, timing: Timing) -> Backend:
        return RedisBackend(
            "",
            name,
            room_life=room_life,
            incomplete_life=incomplete_life,
            lease=LEASE,
            timing=timing,
            connect=lambda retry: fakeredis.FakeAsyncRedis(server=server, protocol=2, retry=retry),
            shebang=False,
        )

    return _Started("fakeredis", make)


def redis_nodes(url: str, prefix: str) -> Nodes:
    def make(name: str, room_life: float, incomplete_life: float, timing: Timing) -> Backend:
        return RedisBackend(
            url,
            name,
            prefix=prefix,
            room_life=room_life,
            incomplete_life=incomplete_life,
            lease=LEASE,
            timing=timing,
        )

    return _Started("redis", make)


def cluster_nodes(url: str, prefix: str) -> Nodes:
    cluster = servers(url)
    assert cluster is not None

    def make(name: str, room_life: float, incomplete_life: float, timing: Timing) -> Backend:
        return ClusterBackend(
            cluster,
            name,
            prefix=prefix,
            room_life=room_life,
            incomplete_life=incomplete_life,
            lease=LEASE,
            timing=timing,
        )

    return _Started("cluster", make)


async def eventually(met: Callable[[], Awaitable[bool]], patience: float = PATIENCE) -> None:
    """Ask again and again until it is so; for what nobody tells."""
    async with asyncio.timeout(patience):
        while not await met():
            await asyncio.sleep(0.02)
