"""Uploads that come to nothing leave no bytes behind, however the room changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from server.accept.edge.access import hash_of, new_key
from server.accept.files.cutting import UploadLimits
from server.accept.files.upload import DROP_AFTER, Ingest
from server.errors import PresentersOnly, RoomDeleted, UploadLost
from server.fanout import ownership
from server.fanout.backend import Snapshot
from server.fanout.changes import Arguments
from server.fanout.memory import MemoryBackend
from tests.accept.client import ROOM, memory

LIMITS = UploadLimits(
    document=1 << 30, record=1 << 24, columns=100, page_size=100, lease=30, pause=120
)
DATA = b"a\tb\n1\t2\n"


class Backend:
    """A room with an owner; `dropped`: the documents whose bytes were to go soon."""

    def __init__(self) -> None:
        self.backend: MemoryBackend = memory()
        self.dropped: list[str] = []
        self.drop = self.backend.drop
        self.keep = self.backend.keep

    async def found(self) -> None:
        await self.backend.append(ROOM, **ownership.found(hash_of(new_key())))

    async def change(self, decide: Callable[[Snapshot], Arguments | None]) -> None:
        change = decide(await self.backend.snapshot(ROOM))
        assert change is not None
        await self.backend.append(ROOM, **change)

    def ingest(self, **options: str | bool) -> Ingest:
        return Ingest(self.backend, ROOM, name="t.tsv", size=None, limits=LIMITS, **options)  # type: ignore[arg-type]


@pytest.fixture
async def room(monkeypatch: pytest.MonkeyPatch) -> Backend:
    room = Backend()
    await room.found()

    async def drop(uuid: str, document: str, *, after: float = 0) -> None:
        assert (uuid, after) == (ROOM, DROP_AFTER)
        room.dropped.append(document)
        await room.drop(uuid, document, after=after)

    monkeypatch.setattr(room.backend, "drop", drop)
    return room


@pytest.mark.parametrize(
    ("decide", "error"),
    [
        (lambda snapshot: ownership.delete_room(snapshot, 1), RoomDeleted),
        (lambda snapshot: ownership.set_mode(snapshot, "presenting"), PresentersOnly),
    ],
    ids=["deleted", "presenting"],
)
async def test_what_was_to_be_kept_goes_where_the_room_changed_just_before(
    room: Backend,
    monkeypatch: pytest.MonkeyPatch,
    decide: Callable[[Snapshot], Arguments],
    error: type[Exception],
) -> None:
    async def keep(uuid: str, documents: Sequence[str]) -> None:
        await room.keep(uuid, documents)
        await room.change(decide)

    monkeypatch.setattr(room.backend, "keep", keep)
    ingest = room.ingest()
    await ingest.begin()
    await ingest.feed(DATA)
    with pytest.raises((error, UploadLost)):
        await ingest.finish()
    await ingest.abort()
    assert room.dropped == [ingest.id]


async def test_what_is_stored_after_the_room_was_deleted_goes_too(room: Backend) -> None:
    ingest = room.ingest()
    await ingest.begin()
    await room.change(lambda snapshot: ownership.delete_room(snapshot, 1))
    await ingest.feed(DATA)
    with pytest.raises((RoomDeleted, UploadLost)):
        await ingest.finish()
    await ingest.abort()
    assert room.dropped == [ingest.id]


async def test_the_bytes_of_an_upload_that_goes_on_elsewhere_stay(room: Backend) -> None:
    ingest = room.ingest(token="t")
    await ingest.begin()
    other = room.ingest(token="t", resume=True)
    await other.begin()
    await ingest.abort()
    assert room.dropped == []
    await other.feed(DATA)
    document = await other.finish()
    await ingest.abort()
    await other.abort()
    assert room.dropped == []
    assert document.id == ingest.id == other.id
