"""A private Redis Cluster for tests, and what its operators do: slots moved, servers added, killed.

    with RedisCluster() as cluster:          # three primaries, a replica of each
        cluster.move_slot(slot, cluster.primaries[1])

Everything returns once all servers know of it, at most `WITHIN` seconds later.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import redis

from server.fanout.slots import SLOTS, SlotMap
from tests.cluster.locks import Lock
from tests.nodes.harness import free_port
from tests.redis_server import RedisServer

WITHIN = 20.0  # seconds
NODE_TIMEOUT = 1_000  # ms; a primary that is silent for so long is replaced
POLL = 0.02


class Member:
    """One server of the cluster."""

    def __init__(self, lock: Lock) -> None:
        self.tls_port = free_port()
        self._password = lock.password
        tls = ("--tls-cluster", "yes") if lock.authority else ()
        self.server = RedisServer(
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
            *("--cluster-node-timeout", str(NODE_TIMEOUT), "--appendonly", "no"),
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
            *(*tls, *lock.options(self.tls_port)),
        )
        self.address = "127.0.0.1", self.server.port

    def do(self, *command: str | int) -> Any:
        """The answer to a command, as text."""
        with contextlib.closing(
            redis.Redis(
                port=self.server.port,
                password=self._password or None,
                protocol=2,
                socket_timeout=5,
                decode_responses=True,
            )
        ) as client:
            return client.execute_command(*command)

    @property
    def id(self) -> str:
        return str(self.do("CLUSTER", "MYID"))

    @property
    def is_primary(self) -> bool:
        return bool(self.do("ROLE")[0] == "master")

    def slots(self) -> dict[int, tuple[str, int]]:
        """Who has which slot, as this server believes."""
        answer = self.do("CLUSTER", "SLOTS")
        for _, _, *holders in answer:
            for holder in holders:
                holder[0] = holder[0].encode()
        return SlotMap.read(answer, self.address).owners()


class RedisCluster:
    """`replicas` for each of `primaries`; a context manager."""

    def __init__(self, primaries: int = 3, replicas: int = 1, lock: Lock | None = None) -> None:
        self._lock = lock or Lock()
        self.primaries = [Member(self._lock) for _ in range(primaries)]
        self.replicas = [Member(self._lock) for _ in range(primaries * replicas)]

    @property
    def members(self) -> list[Member]:
        return [each for each in (*self.primaries, *self.replicas) if each.server.running]

    @property
    def url(self) -> str:
        """Names two servers, one of them a replica if there are any; the others must be found."""
        known = {self.primaries[0].server.port, (self.replicas or self.primaries)[-1].server.port}
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in known)

    def start(self) -> RedisCluster:
        for member in (*self.primaries, *self.replicas):
            member.server.start()
        edges = [SLOTS * part // len(self.primaries) for part in range(len(self.primaries) + 1)]
        for number, primary in enumerate(self.primaries):
            primary.do("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            primary.do("CLUSTER", "ADDSLOTSRANGE", edges[number], edges[number + 1] - 1)
        for member in self.members[1:]:
            self._introduce(member)
        self._until(self._all_met, "the servers did not meet")
        for number, replica in enumerate(self.replicas):
            primary = self.primaries[number % len(self.primaries)]
            replica.do("CLUSTER", "REPLICATE", primary.id)
        self.settled()
        return self

    def stop(self) -> None:
        for member in (*self.primaries, *self.replicas):
            member.server.stop()

    def __enter__(self) -> RedisCluster:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def settled(self) -> None:
        """Wait until all slots are served, all servers agree, and replicas have what they need."""

        def agree() -> bool:
            maps = [member.slots() for member in self.members]
            return (
                all(each == maps[0] for each in maps)
                and len(maps[0]) == SLOTS
                and all("cluster_state:ok" in m.do("CLUSTER", "INFO") for m in self.members)
                and all(m.is_primary or m.do("ROLE")[3] == "connected" for m in self.members)
            )

        self._until(agree, "the servers do not agree who has which slot")

    def owner(self, slot: int) -> Member:
        address = next(m for m in self.members if m.is_primary).slots()[slot]
        return next(member for member in self.members if member.address == address)

    def move_slot(self, slot: int, to: Member) -> None:
        """As `redis-cli --cluster reshard` does: open the slot, move its keys, close it."""
        with self.moving(slot, to):
            pass

    @contextlib.contextmanager
    def moving(self, slot: int, to: Member) -> Iterator[None]:
        """The slot is open, and nothing has gone yet; on leaving, it is moved and closed."""
        source = self.owner(slot)
        if source is to:
            yield
            return
        to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        yield
        while keys := source.do("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.do("MIGRATE", *to.address, "", 0, 5_000, "KEYS", *keys)
        # First whoever gets it, so that the slot is never nobody's.
        for member in (to, source, *self.members):
            if member.is_primary:
                member.do("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    def add_primary(self) -> Member:
        """A new server joins; it has no slots yet."""
        member = Member(self._lock)
        self.primaries.append(member)
        member.server.start()
        self._introduce(member)
        self._until(self._all_met, "the new server was not met")
        self.settled()
        return member

    # Internal

    def _introduce(self, member: Member) -> None:
        first = self.primaries[0]
        bus = int(first.do("CONFIG", "GET", "cluster-port")[1])
        member.do("CLUSTER", "MEET", *first.address, bus)

    def _all_met(self) -> bool:
        members = self.members
        for member in members:
            lines = member.do("CLUSTER", "NODES").splitlines()
            met = [line for line in lines if "handshake" not in line and "fail" not in line]
            if len(met) < len(members):
                return False
        return True

    def _until(self, met: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + WITHIN
        while not met():
            assert time.monotonic() < deadline, otherwise
            time.sleep(POLL)
