"""Which server of a Redis Cluster has which slot, and what the bus and the calls say of that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from server.redis_url import Address

SLOTS = REDIS_CLUSTER_HASH_SLOTS


class Redirects(Protocol):
    """Who wants to know when a server says that another one has a slot."""

    def moved(self, slot: int, owner: Address) -> None:
        """At once, and without raising; rooms may be taken from the bus that called."""


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Runs of slots (first, last, owner), and all servers that the cluster names, replicas too."""

    runs: tuple[tuple[int, int, Address], ...]
    servers: frozenset[Address]

    @classmethod
    def read(cls, answer: Iterable[Sequence[Any]], asked: Address) -> SlotMap:
        """From what CLUSTER SLOTS answered at `asked`, which may leave out its own host."""
        runs: list[tuple[int, int, Address]] = []
        servers: set[Address] = set()
        for first, last, *holders in answer:
            addresses = [_address(host, port, asked) for host, port, *_ in holders]
            servers.update(addresses)
            if addresses:
                runs.append((int(first), int(last), addresses[0]))
        return cls(tuple(sorted(runs)), frozenset(servers))

    def owners(self) -> dict[int, Address]:
        """Slots that nobody has are left out."""
        return {slot: owner for first, last, owner in self.runs for slot in range(first, last + 1)}


def slot_of(key: bytes) -> int:
    return key_slot(key)


def by_slot(channels: Iterable[bytes]) -> list[list[bytes]]:
    """The same channels in groups that one command may name."""
    groups: dict[int, list[bytes]] = {}
    for channel in channels:
        groups.setdefault(slot_of(channel), []).append(channel)
    return list(groups.values())


def _address(host: bytes | None, port: int, asked: Address) -> Address:
    name = (host or b"").decode()
    return (asked[0] if name in ("", "?") else name), int(port)
