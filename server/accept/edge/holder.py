"""The keys of one connection: which it has, what they open now, and what its viewer was told."""

from __future__ import annotations

from typing import Final

from server.accept.edge.access import Guard, Keyring, Pass, Role, wrong_key
from server.fanout.backend import Snapshot

# Wrong keys on one connection: more than any mistake explains.
WRONG_KEYS: Final = 10


class Holder:
    """Roles are never remembered: whatever is asked is answered by the room as it is."""

    def __init__(self, keys: Keyring) -> None:
        self._keys = keys
        self._wrong = 0
        self._told = Role.GUEST
        self._epoch, self._rev = "", 0  # of the room when that was so

    @property
    def is_guessing(self) -> bool:
        """Too many wrong keys came."""
        return self._wrong >= WRONG_KEYS

    @property
    def has_keys(self) -> bool:
        return self._keys != Keyring()

    def changing(self, what: str) -> Guard:
        """For what only presenters do in a presenting room, with the keys of that moment."""

        def guard(snapshot: Snapshot) -> Pass:
            return self._keys.changing(what)(snapshot)

        return guard

    def take(self, key: str, snapshot: Snapshot) -> Role:
        """Another key; the role that its holder has now. Raises `WrongKey`."""
        keys = Keyring().with_key(key)
        if keys.role(snapshot) is Role.GUEST:
            self._wrong += 1
            raise wrong_key()
        self._keys = self._keys.with_key(key)
        return self.role(snapshot)

    def role(self, snapshot: Snapshot) -> Role:
        """The role now, which the viewer is about to be told."""
        self._epoch, self._rev = snapshot.epoch, snapshot.rev
        self._told = self._keys.role(snapshot)
        return self._told

    def news(self, snapshot: Snapshot) -> Role | None:
        """The role now, if the viewer was told of another. A room of before has no news."""
        is_old = snapshot.epoch in ("", self._epoch) and snapshot.rev < self._rev
        if is_old:
            return None
        before = self._told
        return None if self.role(snapshot) is before else self._told
