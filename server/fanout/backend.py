"""What the rest of Tablecast may ask of a backend, and what a backend promises.

A *room* is a few last-write-wins registers and a chat under one revision; a *document* is numbered
blocks of bytes that never change, but for the last one, which may grow. Two backends keep these
promises, and one contract suite (tests/fanout/) holds both to them:

1. A change that `append` returned for is in the room for every node, or lost together with the
   epoch (then all nodes get a snapshot with a new epoch). `append` applies a request id once.
2. Whoever follows a room is told its state in order: first a `Snapshot`, then `Change`s whose
   revision is exactly one higher, or again a `Snapshot` wherever that chain cannot be kept.
   `receiver.changed` is never called from inside `append`; it may come before or after `append`
   returns, on this node too.
3. `follow` never fails and never waits. While the backend cannot be reached the receiver is told
   `degraded(True)`; once it can, every followed room gets a snapshot and then `degraded(False)`.
4. Every other method is bounded in time and raises `Unavailable` when the backend cannot be
   reached, `StorageFull` when it has no room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypedDict

from server.counts import Counts

JSON = Any  # what msgspec.json decodes to: dict, list, str, int, float, bool or None

ENTRY_BYTES: Final = 16  # one block's entry in a document's index
ROOM_LIFE: Final = 7 * 24 * 3600.0  # seconds a room lives after the last time anyone cared
INCOMPLETE_LIFE: Final = 15 * 60.0  # seconds blocks live that no `keep` has claimed
REQUEST_LIFE: Final = 300.0  # seconds a request id is remembered; longer than any client retries
LEASE: Final = 6.0  # seconds a node's viewers are believed; three times the pace of `present`

# The room that never ends, for whoever names none. It has no owner, so nobody can end it either.
LOBBY: Final = "00000000-0000-0000-0000-000000000000"
_FOR_EVER: Final = 100 * 365 * 24 * 3600.0


def life_of(room: str, room_life: float) -> float:
    """Seconds that a room lives after its last use, where others live for `room_life`."""
    return _FOR_EVER if room == LOBBY else room_life


@dataclass(frozen=True, slots=True)
class Change:
    """One revision of a room. `set` holds new register values; None clears a register.

    `chat` is what was said, with its `rev`. The first change of a room that nobody has changed yet
    (rev 1) brings the room's epoch. `again` says that `append` had applied its request before.

    `mark` is a name of this change and `after` that of the one before it, where the storage could
    go back in time and on from there; else both are "".
    """

    epoch: str
    rev: int
    set: Mapping[str, JSON] = field(default_factory=dict)
    chat: Mapping[str, JSON] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    again: bool = field(default=False, compare=False)
    mark: str = field(default="", compare=False)
    after: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state of a room; a room nobody has changed yet has epoch "" and rev 0.

    `chat` holds the last messages, each with its `rev`, oldest first; `fields` the plain strings
    that guards compare; `trail` the marks of the last changes, the newest last.
    """

    epoch: str = ""
    rev: int = 0
    registers: Mapping[str, JSON] = field(default_factory=dict)
    chat: Sequence[Mapping[str, JSON]] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    trail: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Present:
    """What one node says of its viewers of a room: how many, and something small about them."""

    count: int
    detail: JSON = None


@dataclass(frozen=True, slots=True)
class Here:
    """How many viewers a room has on all nodes, and the details that these say of theirs.

    Never stored, has no revision.
    """

    count: int
    nodes: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that is of use now or never: no revision, not stored, perhaps lost."""

    value: JSON


Event = Change | Snapshot | Here | Signal


def numbered(chat: Mapping[str, JSON] | None, rev: int) -> dict[str, JSON] | None:
    """A chat message as it is told: with the revision at which it was said."""
    return None if chat is None else {**chat, "rev": rev}


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """One block as it is stored: `data` compressed, `entry` its 16 bytes in the index."""

    number: int
    data: bytes
    entry: bytes


@dataclass(frozen=True, slots=True)
class Growth:
    """Blocks of `document` that a change brings along: new ones, or a longer last one."""

    document: str
    blocks: Sequence[StoredBlock]


class Asked(TypedDict, total=False):
    """What `Backend.append` may be given beside the room, for those who pass it on."""

    set: Mapping[str, JSON] | None
    chat: Mapping[str, JSON] | None
    fields: Mapping[str, str] | None
    expect: Mapping[str, str] | None
    request: str | None
    growth: Growth | None
    forget: Sequence[str] | None


class Receiver(Protocol):
    """What a backend calls on this node (live.Hub). Both return at once and never raise."""

    def changed(self, room: str, event: Event) -> None:
        """`event` happened in `room`, which this node follows."""

    def degraded(self, degraded: bool) -> None:
        """The backend was lost (True) or all followed rooms are up to date again (False)."""


class Backend(Protocol):
    """Room state, documents and fan-out for one node. `room` is always a lower-case UUID."""

    name: str
    node_id: str  # this node's, in `Here.nodes`
    counts: Counts  # of this node; all its parts count there

    @property
    def following(self) -> int:
        """Rooms of which this node hears the changes."""

    async def start(self, receiver: Receiver) -> None:
        """Begin work. Returns at once even if the backend cannot be reached (it keeps trying)."""

    async def close(self) -> None:
        """Release everything; idempotent, bounded in time."""

    async def check(self) -> None:
        """Raise `Unavailable` unless requests can be served now."""

    def now_ms(self) -> int:
        """The backend's clock in milliseconds since 1970, the same for all nodes (leases)."""

    # Room state

    async def append(
        self,
        room: str,
        *,
        set: Mapping[str, JSON] | None = None,
        chat: Mapping[str, JSON] | None = None,
        fields: Mapping[str, str] | None = None,
        expect: Mapping[str, str] | None = None,
        request: str | None = None,
        growth: Growth | None = None,
        forget: Sequence[str] | None = None,
    ) -> Change:
        """Raise the room's revision by one and set registers, plain fields and a chat message.

        `expect` names plain fields and the values they must have now ("" for absent); on a
        mismatch `Conflict` is raised and nothing changed. A `request` id that was applied before
        (within the last minutes) changes nothing and returns its first epoch and revision (and
        `again`), whatever `expect` says: the guards held when it was applied.

        The blocks of `growth` are stored in the same step, or nothing is: `Missing` where no block
        of that document is there, `StorageFull` where there is no room. The document then lives as
        long as the room.

        With `forget`, all that the room has is forgotten before the new values are set: registers,
        plain fields, chat, and the bytes of these documents. The room then has a new epoch.
        Every change of registers and chat of every room goes through here.
        """

    async def snapshot(self, room: str) -> Snapshot:
        """The room's state now, read from the primary."""

    def follow(self, room: str) -> None:
        """Begin to tell the receiver of this room's events; counted, so pair it with `unfollow`.

        For a room that is already followed (or still lingers) and up to date, the snapshot is
        delivered soon all the same.
        """

    def unfollow(self, room: str) -> None:
        """Undo one `follow`. The subscription lingers a little for the next viewer."""

    async def present(self, rooms: Mapping[str, Present]) -> None:
        """Say which viewers each room has on this node (a count of 0: none any more).

        Call it again at least every 2 s for rooms with viewers: what a node says is forgotten 6 s
        after it was last said, and not before. Followers of a room get `Here` with what all nodes
        say when any of it changes, and when they begin to follow.
        """

    async def who(self, room: str) -> Here:
        """Who is in the room, as all nodes said last."""

    async def signal(self, room: str, value: JSON) -> None:
        """Let all who follow the room now have a `Signal`, each once at most."""

    # Documents

    async def admit(self, room: str) -> None:
        """Raise `StorageFull` if no document can be stored for this room now."""

    async def put_blocks(self, room: str, document: str, blocks: Sequence[StoredBlock]) -> None:
        """Store blocks and their index entries; they expire 15 min after the last such write.

        A document that was kept is not forgotten earlier for it.
        """

    async def get_blocks(self, room: str, document: str, numbers: Sequence[int]) -> list[bytes]:
        """The compressed bytes of these blocks, in order. Raises `Missing` if one is gone."""

    async def index(self, room: str, document: str, first_block: int = 0) -> bytes:
        """The index from `first_block` on: 16 bytes a block (b"" past the end)."""

    async def extent(self, room: str, document: str) -> tuple[int, int]:
        """(blocks stored, whole index entries stored) of a document."""

    async def keep(self, room: str, documents: Sequence[str]) -> None:
        """Let the room, its chat and these documents live for the room's idle life from now.

        That is the plain field `life` (in seconds) where the room has one and it is shorter than
        the backend's own. Each change of a room lets it live so long, too. The lobby never ends.
        """

    async def drop(self, room: str, document: str, *, after: float = 0) -> None:
        """Forget a document's bytes in `after` seconds (0: now)."""
