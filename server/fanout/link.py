"""What the bus needs of one Redis: a connection to listen on, and what is read beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import MovedError

from server.fanout.backend import Snapshot
from server.fanout.presence import Told


class Link(Protocol):
    """The part of a redis-py connection that is used here; it never reconnects by itself."""

    async def connect(self) -> None: ...

    async def send_command(self, *args: Any, **kwargs: Any) -> None: ...

    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None
    ) -> Any: ...

    async def disconnect(self, nowait: bool = False) -> None: ...


class Rooms(Protocol):
    """What a bus reads from Redis by ordinary commands; each raises `Unavailable`."""

    def channel(self, room: str) -> str: ...

    async def connected(self) -> None:
        """A new connection stands: measure what has to be measured anew."""

    async def load(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        """Snapshot of each room and who is there; an error where only that room cannot be read."""

    async def revisions(self, rooms: Sequence[str]) -> Sequence[tuple[str, int] | None]:
        """(epoch, rev) of each room; ("", 0) where there is none, None where it is on the move."""

    async def mint(self, room: str, epoch: str, rev: int, mark: str) -> None:
        """Give the room a new epoch if it is at `epoch`, but has lost the change `rev` (`mark`)."""

    def together(self, channels: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        """The channels in groups that one command may name."""

    def moved(self, error: MovedError) -> None:
        """Another server has a slot; who looks after all of them takes its rooms from this bus."""


class Lost(Exception):
    """The subscriber connection is of no use any more."""


class Later(Exception):
    """A room cannot be read just now, and can be in a moment."""
