"""What uploads and page turns do to a room, and under which guards, played on a real backend."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.errors import Conflict, NoDocument, PageOutOfRange, UploadInProgress
from server.fanout import changes
from server.fanout.backend import Snapshot
from server.fanout.memory import MemoryBackend
from tests.fanout.nodes import Recorder

NOW = 1_000_000
LEASE = changes.LEASE_MS


class Room:
    """One room whose changes go through the guards of a backend."""

    def __init__(self, backend: MemoryBackend) -> None:
        self.backend = backend
        self.name = str(uuid.uuid4())

    async def do(self, change: changes.Arguments | None) -> Snapshot:
        assert change is not None
        await self.backend.append(self.name, **change)
        return await self.now()

    async def now(self) -> Snapshot:
        return await self.backend.snapshot(self.name)

    async def show(self, id: str, rows: int = 1000) -> Snapshot:
        """A complete document, as if uploaded long ago."""
        state = await self.do(begin(await self.now(), id, now_ms=0))
        return await self.do(
            changes.complete(state.registers["upload"], document(id, rows), announced=False)
        )


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    backend = MemoryBackend("a")
    await backend.start(Recorder())
    yield Room(backend)
    await backend.close()


def document(id: str, rows: int = 1000, complete: bool = True) -> dict[str, Any]:
    return {"id": id, "name": f"{id}.tsv", "rows": rows, "complete": complete}


def page(id: str, offset: int = 0, size: int = 100) -> dict[str, Any]:
    return {"document": id, "offset": offset, "size": size}


def begin(state: Snapshot, id: str, now_ms: int = NOW) -> changes.Arguments:
    return changes.begin_upload(state, id=id, name=f"{id}.tsv", size=5000, now_ms=now_ms)


# The whole way


async def test_an_upload_shows_its_first_page_before_it_is_complete(room: Room) -> None:
    await room.show("old")
    before = await room.do(changes.turn_page(await room.now(), 4))

    state = await room.do(begin(before, "new"))
    assert state.registers["document"] == document("old")
    assert state.registers["page"] == page("old", 300)
    assert state.registers["upload"] == {
        "id": "new",
        "name": "new.tsv",
        "size": 5000,
        "received": 0,
        "lease": NOW + LEASE,
        "previous": document("old"),
        "previous_page": page("old", 300),
    }
    assert state.fields == {
        "document_id": "old",
        "upload_id": "new",
        "upload_lease": str(NOW + LEASE),
    }

    state = await room.do(
        changes.announce(
            state.registers["upload"],
            document("new", 50, complete=False),
            received=1000,
            now_ms=NOW + 10,
        )
    )
    assert state.registers["document"] == document("new", 50, complete=False)
    assert state.registers["page"] == page("new")
    assert state.registers["upload"]["received"] == 1000
    assert state.fields["document_id"] == "new"

    state = await room.do(
        changes.progress(
            state.registers["upload"],
            document("new", 90, complete=False),
            received=3000,
            now_ms=NOW + 500,
        )
    )
    assert state.registers["document"]["rows"] == 90
    assert state.registers["upload"]["lease"] == NOW + 500 + LEASE
    assert state.registers["upload"]["previous"] == document("old")
    assert state.fields["upload_lease"] == str(NOW + 500 + LEASE)

    await room.do(changes.turn_page(state, 1))
    state = await room.do(
        changes.complete(state.registers["upload"], document("new", 200), announced=True)
    )
    assert state.registers == {"document": document("new", 200), "page": page("new")}
    assert state.fields == {"document_id": "new"}


async def test_a_small_upload_is_complete_before_it_was_announced(room: Room) -> None:
    state = await room.do(begin(await room.now(), "new"))
    assert state.registers["upload"]["previous"] is None
    state = await room.do(
        changes.complete(state.registers["upload"], document("new"), announced=False, page_size=20)
    )
    assert state.registers == {"document": document("new"), "page": page("new", size=20)}
    assert state.fields == {"document_id": "new"}


async def test_progress_before_the_announcement_leaves_the_table_alone(room: Room) -> None:
    await room.show("old")
    state = await room.do(begin(await room.now(), "new"))
    state = await room.do(
        changes.progress(state.registers["upload"], received=10, now_ms=NOW + 1000)
    )
    assert state.registers["document"] == document("old")
    assert state.registers["upload"]["received"] == 10


# Giving up


@pytest.mark.parametrize("had_one", [True, False])
async def test_an_upload_that_fails_leaves_what_was_there_before(room: Room, had_one: bool) -> None:
    if had_one:
        await room.show("old")
        await room.do(changes.turn_page(await room.now(), 4))
    before = await room.now()
    state = await room.do(begin(before, "new"))
    state = await room.do(
        changes.announce(state.registers["upload"], document("new"), received=1, now_ms=NOW)
    )
    after = await room.do(changes.abort(state.registers["upload"]))
    assert after.registers == before.registers
    assert after.fields == before.fields


async def test_page_turns_made_before_the_announcement_survive_a_failed_upload(
    room: Room,
) -> None:
    await room.show("old")
    state = await room.do(begin(await room.now(), "new"))
    await room.do(changes.turn_page(state, 7))
    after = await room.do(changes.abort(state.registers["upload"], announced=False))
    assert after.registers == {"document": document("old"), "page": page("old", 600)}
    assert after.fields == {"document_id": "old"}


async def test_giving_up_as_if_unannounced_is_refused_where_the_table_was_switched(
    room: Room,
) -> None:
    await room.show("old")
    begun = await room.do(begin(await room.now(), "new"))
    upload = begun.registers["upload"]
    await room.do(changes.announce(upload, document("new"), received=1, now_ms=NOW))
    with pytest.raises(Conflict):
        await room.do(changes.abort(upload, announced=False))
    assert (await room.do(changes.abort(upload))).registers["document"] == document("old")


async def test_an_upload_whose_lease_ended_is_given_up_by_any_node(room: Room) -> None:
    await room.show("old")
    before = await room.now()
    begun = await room.do(begin(before, "new"))
    state = await room.do(
        changes.announce(begun.registers["upload"], document("new"), received=1, now_ms=NOW)
    )
    assert changes.restore(state, NOW + LEASE) is None
    after = await room.do(changes.restore(state, NOW + LEASE + 1))
    assert after.registers == before.registers
    assert after.fields == before.fields
    assert changes.restore(after, NOW + 10 * LEASE) is None


async def test_a_lease_renewed_in_time_stops_the_giving_up(room: Room) -> None:
    state = await room.do(begin(await room.now(), "new"))
    late = changes.restore(state, NOW + LEASE + 1)
    await room.do(changes.progress(state.registers["upload"], received=1, now_ms=NOW + LEASE))
    with pytest.raises(Conflict):
        await room.do(late)


# Rivals


async def test_a_second_upload_is_refused_and_told_what_is_arriving(room: Room) -> None:
    state = await room.do(begin(await room.now(), "first"))
    with pytest.raises(UploadInProgress, match=r"first\.tsv"):
        begin(state, "second", now_ms=NOW + LEASE)


async def test_of_two_uploads_begun_at_once_one_is_refused(room: Room) -> None:
    state = await room.now()
    await room.do(begin(state, "first"))
    with pytest.raises(Conflict):
        await room.do(begin(state, "second"))


@pytest.mark.parametrize("announced", [True, False])
async def test_an_upload_that_fell_silent_is_replaced_and_cannot_come_back(
    room: Room, announced: bool
) -> None:
    await room.show("old")
    state = await room.do(begin(await room.now(), "silent"))
    silent = state.registers["upload"]
    if announced:
        state = await room.do(changes.announce(silent, document("silent"), received=1, now_ms=NOW))
    later = NOW + 2 * LEASE
    state = await room.do(begin(state, "second", now_ms=later))
    assert state.registers["document"] == document("old")
    assert state.registers["page"] == page("old")
    assert state.registers["upload"]["id"] == "second"
    assert state.registers["upload"]["previous"] == document("old")
    assert state.registers["upload"]["previous_page"] == page("old")
    assert state.fields == {
        "document_id": "old",
        "upload_id": "second",
        "upload_lease": str(later + LEASE),
    }
    for late in (
        changes.announce(silent, document("silent"), received=9, now_ms=later),
        changes.progress(silent, document("silent"), received=9, now_ms=later),
        changes.complete(silent, document("silent"), announced=announced),
        changes.abort(silent, announced=announced),
    ):
        with pytest.raises(Conflict):
            await room.do(late)
    assert await room.now() == state


async def test_an_upload_that_woke_up_in_time_is_not_replaced(room: Room) -> None:
    state = await room.do(begin(await room.now(), "silent"))
    takeover = begin(state, "second", now_ms=NOW + LEASE + 1)
    await room.do(changes.progress(state.registers["upload"], received=1, now_ms=NOW + LEASE))
    with pytest.raises(Conflict):
        await room.do(takeover)


# Pages


async def test_turning_the_page_moves_the_first_row(room: Room) -> None:
    state = await room.show("d", rows=250)
    for page_no, offset in ((3, 200), (1, 0), (2, 100)):
        state = await room.do(changes.turn_page(state, page_no))
        assert state.registers["page"] == page("d", offset)


@pytest.mark.parametrize(("rows", "pages"), [(0, 1), (1, 1), (100, 1), (101, 2), (1000, 10)])
def test_a_table_has_as_many_pages_as_its_rows_fill_and_at_least_one(rows: int, pages: int) -> None:
    assert changes.page_count(rows, 100) == pages
    state = Snapshot("e", 1, {"document": document("d", rows), "page": page("d")})
    assert changes.turn_page(state, pages)["set"]["page"]["offset"] == (pages - 1) * 100
    for page_no in (0, -1, pages + 1):
        with pytest.raises(PageOutOfRange, match=rf"\b{pages}\b"):
            changes.turn_page(state, page_no)


def test_a_page_has_the_size_that_the_room_shows() -> None:
    state = Snapshot("e", 1, {"document": document("d", 95), "page": page("d", size=10)})
    assert changes.turn_page(state, 10)["set"]["page"] == page("d", 90, 10)


def test_without_a_table_there_is_no_page_to_turn() -> None:
    with pytest.raises(NoDocument):
        changes.turn_page(Snapshot(), 1)


async def test_a_page_turned_while_another_table_came_is_refused(room: Room) -> None:
    state = await room.show("old")
    await room.show("new")
    with pytest.raises(Conflict):
        await room.do(changes.turn_page(state, 2))
