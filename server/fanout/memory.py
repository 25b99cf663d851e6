"""The backend of a single process: everything in memory, nothing to install.

Several `MemoryBackend`s may share one `MemoryStore` (`memory_store.py`); each is then a node of its
own, as with Redis. Nothing here waits for anything, so each method is atomic; what it tells its
receiver goes through `call_soon`, in the order in which it happened.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence

import msgspec

from server.counts import Counts
from server.fanout.backend import (
    ENTRY_BYTES,
    INCOMPLETE_LIFE,
    JSON,
    LEASE,
    REQUEST_LIFE,
    ROOM_LIFE,
    Change,
    Event,
    Growth,
    Here,
    Present,
    Receiver,
    Signal,
    Snapshot,
    StoredBlock,
    life_of,
    numbered,
)
from server.fanout.kept import weight
from server.fanout.memory_store import STORAGE_LIMIT as STORAGE_LIMIT
from server.fanout.memory_store import MemoryStore as MemoryStore
from server.fanout.memory_store import Room
from server.fanout.quota import storage_full
from server.fanout.refusals import closing, conflict, missing

SWEEP_EVERY = 1.0  # seconds between two looks for what has expired


class MemoryBackend:
    """Keeps the promises of `backend.Backend` within one process."""

    name = "memory"

    def __init__(
        self,
        node_id: str,
        *,
        store: MemoryStore | None = None,
        storage_limit: int = STORAGE_LIMIT,
        room_life: float = ROOM_LIFE,
        incomplete_life: float = INCOMPLETE_LIFE,
        lease: float = LEASE,
        sweep_every: float = SWEEP_EVERY,
    ) -> None:
        """All times in seconds. `storage_limit` (bytes) counts where no `store` is given."""
        self.node_id = node_id
        self.counts = Counts()
        self._store = store if store is not None else MemoryStore(storage_limit)
        self._room_life = room_life
        self._incomplete_life = incomplete_life
        self._lease = lease
        self._sweep_every = sweep_every
        self._receiver: Receiver | None = None
        self._follows: dict[str, int] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._sweeper = asyncio.create_task(self._sweep_forever(), name="memory sweep")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for name in self._follows:
            self._store.room(name).followers.discard(self)
        self._follows.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper}, timeout=1)

    async def check(self) -> None:
        if self._closed:
            raise closing()

    @property
    def following(self) -> int:
        return len(self._follows)

    def now_ms(self) -> int:
        return _EPOCH_MS + int(time.monotonic() * 1000)

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
        here = self._store.room(room)
        now = time.monotonic()
        # Through JSON and back: values become what another node would read, and nobody's to edit.
        set = msgspec.json.decode(msgspec.json.encode(set or {}))
        chat = None if chat is None else msgspec.json.decode(msgspec.json.encode(chat))
        fields = dict(fields or {})
        said = here.state.chat.find(chat.get("id")) if chat is not None else None
        replay = here.requests.get(request) if request is not None else None
        if replay is not None and replay[2] > now:
            epoch, rev, _ = replay
            return Change(epoch, rev, set, numbered(chat, rev), fields, again=True)
        if said is not None:
            rev = said["rev"]
            return Change(here.state.epoch, rev, set, numbered(chat, rev), fields, again=True)
        for name, value in (expect or {}).items():
            if here.state.fields.get(name, "") != value:
                raise conflict()
        if chat is not None:
            self._store.admit_chat(weight(chat))
        if growth is not None and growth.blocks:
            known = self._store.document(room, growth.document)
            if not known.blocks:
                raise missing()
            self._store.grow(known, growth.blocks)
            known.expires = now + self._life(room, here, fields)
        if forget is not None:
            for document in forget:
                self._store.forget_document(here, document)
            self._store.forget_state(here)
        rev = here.state.rev + 1
        change = Change(
            epoch=here.state.epoch or secrets.token_hex(8),
            rev=rev,
            set=set,
            chat=numbered(chat, rev),
            fields=fields,
        )
        self._store.stored -= here.state.chat.size
        here.state.apply(change)
        self._store.stored += here.state.chat.size
        here.expires = now + self._life(room, here)
        if request is not None:
            here.requests[request] = (change.epoch, change.rev, now + REQUEST_LIFE)
        # Nobody can come from an epoch to the next by a change.
        here.tell(room, change if forget is None else here.state.snapshot())
        return change

    async def snapshot(self, room: str) -> Snapshot:
        found = self._store.rooms.get(room)
        return found.state.snapshot() if found is not None else Snapshot()

    def follow(self, room: str) -> None:
        here = self._store.room(room)
        self._follows[room] = self._follows.get(room, 0) + 1
        here.followers.add(self)
        self.tell(room, here.state.snapshot())
        self.tell(room, here.here)

    def unfollow(self, room: str) -> None:
        count = self._follows.get(room, 0)
        if count > 1:
            self._follows[room] = count - 1
        elif count == 1:
            # Nothing lingers: following again costs nothing here.
            del self._follows[room]
            self._store.room(room).followers.discard(self)

    async def present(self, rooms: Mapping[str, Present]) -> None:
        until = time.monotonic() + self._lease
        for name, said in rooms.items():
            room = self._store.room(name)
            if said.count > 0:
                detail = msgspec.json.decode(msgspec.json.encode(said.detail))
                room.nodes[self.node_id] = (until, Present(said.count, detail))
            else:
                room.nodes.pop(self.node_id, None)
            room.look(name)

    async def who(self, room: str) -> Here:
        here = self._store.rooms.get(room)
        if here is None:
            return Here(0)
        here.look(room)
        return here.here

    async def signal(self, room: str, value: JSON) -> None:
        here = self._store.rooms.get(room)
        if here is not None:
            here.tell(room, Signal(msgspec.json.decode(msgspec.json.encode(value))))

    # Documents

    async def admit(self, room: str) -> None:
        if self._store.stored >= self._store.storage_limit:
            raise storage_full(self._store.storage_limit)

    async def put_blocks(self, room: str, document: str, blocks: Sequence[StoredBlock]) -> None:
        here = self._store.room(room)
        known = self._store.document(room, document)
        if here.documents.get(document) is not known:
            self._store.forget_document(here, document)
        self._store.grow(known, blocks)
        known.expires = max(known.expires, time.monotonic() + self._incomplete_life)
        here.documents[document] = known

    async def get_blocks(self, room: str, document: str, numbers: Sequence[int]) -> list[bytes]:
        known = self._store.document(room, document)
        try:
            return [known.blocks[number] for number in numbers]
        except KeyError:
            raise missing() from None

    async def index(self, room: str, document: str, first_block: int = 0) -> bytes:
        return bytes(self._store.document(room, document).index[first_block * ENTRY_BYTES :])

    async def extent(self, room: str, document: str) -> tuple[int, int]:
        known = self._store.document(room, document)
        return len(known.blocks), len(known.index) // ENTRY_BYTES

    async def keep(self, room: str, documents: Sequence[str]) -> None:
        here = self._store.rooms.get(room)
        if here is None:
            return
        until = time.monotonic() + self._life(room, here)
        here.expires = until
        for document in documents:
            known = here.documents.get(document)
            if known is not None:
                known.expires = until

    async def drop(self, room: str, document: str, *, after: float = 0) -> None:
        here = self._store.rooms.get(room)
        known = here.documents.get(document) if here is not None else None
        if here is None or known is None:
            return
        if after > 0:
            known.expires = time.monotonic() + after
        else:
            self._store.forget_document(here, document)

    def tell(self, room: str, event: Event) -> None:
        """What has happened in a room that it follows goes to its receiver, soon."""
        asyncio.get_running_loop().call_soon(self._deliver, room, event)

    # Internal

    def _life(self, room: str, here: Room, fields: Mapping[str, str] | None = None) -> float:
        """Seconds that a room lives after its last use, once these fields are set too."""
        own = (fields or {}).get("life", here.state.fields.get("life", ""))
        life = life_of(room, self._room_life)
        return min(life, float(own)) if own else life

    def _deliver(self, room: str, event: Event) -> None:
        if self._receiver is not None and room in self._follows:
            self.counts.revisions += isinstance(event, Change)
            self._receiver.changed(room, event)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            self._store.sweep()


_EPOCH_MS = int((time.time() - time.monotonic()) * 1000)  # wall clock jumps do not move leases
