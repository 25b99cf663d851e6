"""A copy of one room's state that is kept current by changes: pure, no clock, no I/O."""

from __future__ import annotations

from collections import deque
from enum import Enum

from server.fanout.backend import JSON, Change, Snapshot

CHAT_KEPT = 200  # messages a room remembers; older ones are gone for good


class Verdict(Enum):
    """What became of a change that was offered to a replica."""

    APPLIED = "applied"
    OLD = "old"  # already contained; nothing was done
    GAP = "gap"  # something in between is missing; only a snapshot helps


class Replica:
    """The registers, fields and last messages of a room at one (epoch, rev)."""

    __slots__ = ("chat", "epoch", "fields", "registers", "rev")

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.epoch = ""
        self.rev = 0
        self.registers: dict[str, JSON] = {}
        self.fields: dict[str, str] = {}
        self.chat: deque[JSON] = deque(maxlen=CHAT_KEPT)
        if snapshot is not None:
            self.replace(snapshot)

    def judge(self, epoch: str, rev: int) -> Verdict:
        """What `apply` would do with a change that has this epoch and revision.

        A room that nobody has changed yet has no epoch, so its first change brings one.
        """
        if not self.epoch and not self.rev and rev == 1:
            return Verdict.APPLIED
        if epoch != self.epoch or rev > self.rev + 1:
            return Verdict.GAP
        return Verdict.APPLIED if rev == self.rev + 1 else Verdict.OLD

    def apply(self, change: Change) -> Verdict:
        """Take in `change` if it is exactly the next one; otherwise change nothing."""
        verdict = self.judge(change.epoch, change.rev)
        if verdict is Verdict.APPLIED:
            self.epoch = change.epoch
            self.rev = change.rev
            for name, value in change.set.items():
                if value is None:
                    self.registers.pop(name, None)
                else:
                    self.registers[name] = value
            for name, text in change.fields.items():
                if text:
                    self.fields[name] = text
                else:
                    self.fields.pop(name, None)
            if change.chat is not None:
                self.chat.append(change.chat)
        return verdict

    def replace(self, snapshot: Snapshot) -> None:
        """Become `snapshot`, even if its revision is lower than the present one."""
        self.epoch = snapshot.epoch
        self.rev = snapshot.rev
        self.registers = dict(snapshot.registers)
        self.fields = dict(snapshot.fields)
        self.chat = deque(snapshot.chat, maxlen=CHAT_KEPT)

    def snapshot(self) -> Snapshot:
        """The present state; later changes do not show through."""
        return Snapshot(
            epoch=self.epoch,
            rev=self.rev,
            registers=dict(self.registers),
            chat=tuple(self.chat),
            fields=dict(self.fields),
        )
