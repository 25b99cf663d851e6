"""One room that a node follows: how far it has come, and what is known of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from server.fanout.backend import Change, Here, Snapshot
from server.fanout.presence import Told
from server.fanout.replica import Replica


class Stage(Enum):
    """How far a room has come on the present connection, and what takes it further."""

    NEW = "not subscribed"  # the bus sends SSUBSCRIBE
    ASKED = "asked"  # the confirmation arrives
    DIRTY = "subscribed"  # a read begins; until then messages are of no use
    READING = "being read"  # the snapshot arrives; until then changes wait
    LIVE = "up to date"  # any doubt makes it DIRTY again


@dataclass(slots=True, eq=False)
class Followed:
    room: str
    channel: bytes
    count: int = 0  # followers; with none the room lingers
    stage: Stage = Stage.NEW
    replica: Replica = field(default_factory=Replica)
    known: bool = False  # the replica has been filled at least once
    again: bool = False  # fell into doubt while it was read
    waiting: list[Change] = field(default_factory=list)
    greeted: bool = False  # the receiver has had a snapshot since the first follow
    greeting: bool = False  # a snapshot for one more follower is about to be told
    here: Here = field(default_factory=lambda: Here(0))
    here_at: int = 0  # when that was told, ms on the clock of Redis
    here_next: Told | None = None  # told while the room was read
    losses: int = 0  # audits in a row that found a message missing
    linger: asyncio.TimerHandle | None = None
    cause: str = "join"  # why it is read, or was last

    @property
    def seen(self) -> tuple[str, int, str]:
        """Epoch, revision and mark of the last change seen; ("", 0, "") where there is none."""
        if not self.known:
            return "", 0, ""
        return self.replica.epoch, self.replica.rev, self.replica.mark

    def contains(self, epoch: str, rev: int) -> bool:
        """Whether the replica is at this revision or further."""
        return self.replica.epoch == epoch and self.replica.rev >= rev

    def went_back(self, snapshot: Snapshot) -> bool:
        """Whether Redis has lost some of what this node has seen of the same epoch."""
        same = self.known and snapshot.epoch == self.replica.epoch
        return same and not self.replica.leads_to(snapshot)
