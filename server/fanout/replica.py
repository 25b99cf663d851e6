"""A copy of one room's state that is kept current by changes: pure, no clock, no I/O."""

from __future__ import annotations

from enum import Enum

from server.fanout.backend import JSON, Change, Snapshot
from server.fanout.kept import Chat

MARK = 8  # characters that name one change of a room
# Changes whose marks a room remembers. Whoever has missed more cannot know whether the storage went
# back meanwhile, so it counts as if it had.
TRAIL_KEPT = 128


class Verdict(Enum):
    """What became of a change that was offered to a replica."""

    APPLIED = "applied"
    OLD = "old"  # already contained; nothing was done
    GAP = "gap"  # something in between is missing, or was another; only a snapshot helps


class Replica:
    """The registers, fields and last messages of a room at one (epoch, rev)."""

    __slots__ = ("chat", "epoch", "fields", "registers", "rev", "trail")

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.epoch = ""
        self.rev = 0
        self.registers: dict[str, JSON] = {}
        self.fields: dict[str, str] = {}
        self.chat = Chat()
        self.trail = ""
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
        if self._contradicts(change):
            return Verdict.GAP
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
            self.trail = (self.trail + change.mark)[-TRAIL_KEPT * MARK :] if change.mark else ""
        return verdict

    @property
    def mark(self) -> str:
        """The mark of the last change; "" if that is not known."""
        return self.trail[-MARK:]

    def leads_to(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot of the same epoch is this state, or one that came of it.

        If not, what this node has seen was lost, whatever revision the room has reached since.
        """
        if snapshot.rev < self.rev:
            return False
        if not self.trail:
            return True
        at = len(snapshot.trail) - MARK * (snapshot.rev - self.rev + 1)
        return at >= 0 and snapshot.trail[at : at + MARK] == self.mark

    def replace(self, snapshot: Snapshot) -> None:
        """Become `snapshot`, even if its revision is lower than the present one."""
        self.epoch = snapshot.epoch
        self.rev = snapshot.rev
        self.registers = dict(snapshot.registers)
        self.fields = dict(snapshot.fields)
        self.chat = Chat(snapshot.chat)
        self.trail = snapshot.trail

    def snapshot(self) -> Snapshot:
        """The present state; later changes do not show through."""
        return Snapshot(
            epoch=self.epoch,
            rev=self.rev,
            registers=dict(self.registers),
            chat=tuple(self.chat),
            fields=dict(self.fields),
            trail=self.trail,
        )

    def _contradicts(self, change: Change) -> bool:
        """Whether a change of this epoch belongs to another history than the one known here."""
        if change.epoch != self.epoch or not self.trail or not change.mark:
            return False
        if change.rev == self.rev + 1:
            return change.after != self.mark
        at = len(self.trail) - MARK * (self.rev - change.rev + 1)
        return change.rev <= self.rev and at >= 0 and self.trail[at : at + MARK] != change.mark
