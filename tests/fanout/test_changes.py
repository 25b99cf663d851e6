"""What uploads and page turns do to a room, and under which guards, played on a real backend."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.errors import (
    Conflict,
    NoDocument,
    PageOutOfRange,
    UploadInProgress,
    UploadLost,
    UploadReplaced,
)
from server.fanout import changes, turns, versions
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
        before = await self.now()
        state = await self.do(begin(before, id, now_ms=0))
        return await self.do(
            changes.complete(
                state.registers["upload"],
                document(id, rows, version=versions.next_version(before)),
                announced=False,
                versions=versions.versions_of(before),
            )
        )


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    backend = MemoryBackend("a")
    await backend.start(Recorder())
    yield Room(backend)
    await backend.close()


def document(id: str, rows: int = 1000, complete: bool = True, version: int = 1) -> dict[str, Any]:
    return {
        "id": id,
        "version": version,
        "name": f"{id}.tsv",
        "rows": rows,
        "complete": complete,
    }


def page(id: str, offset: int = 0, size: int = 100) -> dict[str, Any]:
    return {"document": id, "offset": offset, "size": size}


def turned(id: str, offset: int) -> dict[str, Any]:
    """The page that somebody without a name turned to from the first one."""
    back = {"document": id, "offset": 0} if offset else None
    return {**page(id, offset), "by": None, "at": 0, "back": back}


def shown(page: dict[str, Any]) -> dict[str, Any]:
    """The rows that it shows, whoever turned to it."""
    return {name: page[name] for name in ("document", "offset", "size")}


def begin(state: Snapshot, id: str, now_ms: int = NOW) -> changes.Arguments:
    return changes.begin_upload(state, id=id, name=f"{id}.tsv", size=5000, now_ms=now_ms)


# The whole way


async def test_an_upload_shows_its_first_page_before_it_is_complete(room: Room) -> None:
    await room.show("old")
    before = await room.do(turns.turn_page(await room.now(), 4))

    state = await room.do(begin(before, "new"))
    assert state.registers["document"] == document("old")
    assert state.registers["page"] == turned("old", 300)
    assert state.registers["upload"] == {
        "id": "new",
        "name": "new.tsv",
        "size": 5000,
        "received": 0,
        "lease": NOW + LEASE,
        "previous": document("old"),
        "previous_page": turned("old", 300),
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

    await room.do(turns.turn_page(state, 1))
    state = await room.do(
        changes.complete(state.registers["upload"], document("new", 200), announced=True)
    )
    assert state.registers == {
        "document": document("new", 200),
        "page": turned("new", 0),
        "versions": [document("old")],
    }
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
        await room.do(turns.turn_page(await room.now(), 4))
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
    await room.do(turns.turn_page(state, 7))
    after = await room.do(changes.abort(state.registers["upload"], announced=False))
    assert after.registers == {
        "document": document("old"),
        "page": turned("old", 600),
        "versions": [document("old")],
    }
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
        state = await room.do(turns.turn_page(state, page_no))
        assert shown(state.registers["page"]) == page("d", offset)


@pytest.mark.parametrize(("rows", "pages"), [(0, 1), (1, 1), (100, 1), (101, 2), (1000, 10)])
def test_a_table_has_as_many_pages_as_its_rows_fill_and_at_least_one(rows: int, pages: int) -> None:
    assert turns.page_count(rows, 100) == pages
    state = Snapshot("e", 1, {"document": document("d", rows), "page": page("d")})
    assert turns.turn_page(state, pages)["set"]["page"]["offset"] == (pages - 1) * 100
    for page_no in (0, -1, pages + 1):
        with pytest.raises(PageOutOfRange, match=rf"\b{pages}\b"):
            turns.turn_page(state, page_no)


def test_a_page_has_the_size_that_the_room_shows() -> None:
    state = Snapshot("e", 1, {"document": document("d", 95), "page": page("d", size=10)})
    assert shown(turns.turn_page(state, 10)["set"]["page"]) == page("d", 90, 10)


def test_without_a_table_there_is_no_page_to_turn() -> None:
    with pytest.raises(NoDocument):
        turns.turn_page(Snapshot(), 1)


async def test_a_page_turned_while_another_table_came_is_refused(room: Room) -> None:
    state = await room.show("old")
    await room.show("new")
    with pytest.raises(Conflict):
        await room.do(turns.turn_page(state, 2))


# A complete document grows


def grown(state: Snapshot, rows: int) -> changes.Arguments:
    now = state.registers["document"]
    return changes.revise(state, {**now, "rows": now["rows"] + rows})


async def test_rows_that_are_added_are_counted_once(room: Room) -> None:
    await room.show("d", rows=10)
    state = await room.do(grown(await room.now(), 5))
    assert state.registers["document"]["rows"] == 15
    first, second = grown(state, 1), grown(state, 2)
    await room.do(first)
    with pytest.raises(Conflict):
        await room.do(second)
    state = await room.do(grown(await room.now(), 2))
    assert state.registers["document"]["rows"] == 18
    assert state.registers["page"] == page("d")


async def test_no_row_is_added_while_an_upload_runs(room: Room) -> None:
    state = await room.show("d")
    late = grown(state, 1)
    begun = await room.do(begin(state, "new"))
    with pytest.raises(Conflict):
        await room.do(late)
    with pytest.raises(UploadInProgress, match=r"new\.tsv"):
        grown(begun, 1)


async def test_no_row_is_added_to_a_table_that_was_replaced(room: Room) -> None:
    state = await room.show("d")
    late = grown(state, 1)
    after = await room.show("new")
    with pytest.raises(Conflict):
        await room.do(late)
    with pytest.raises(NoDocument):
        changes.revise(after, document("d", 1001))


async def test_rows_added_while_an_upload_was_about_to_begin_come_back_with_the_table(
    room: Room,
) -> None:
    state = await room.show("d", rows=10)
    early = begin(state, "new")
    await room.do(grown(state, 5))
    with pytest.raises(Conflict):
        await room.do(early)
    begun = await room.do(begin(await room.now(), "new"))
    assert begun.registers["upload"]["previous"]["rows"] == 15
    assert begun.registers["versions"][0]["rows"] == 15
    after = await room.do(changes.abort(begun.registers["upload"]))
    assert after.registers["document"]["rows"] == 15


async def test_an_upload_that_takes_a_dead_ones_place_keeps_the_rows_added_before(
    room: Room,
) -> None:
    await room.show("d", rows=10)
    state = await room.do(grown(await room.now(), 5))
    state = await room.do(begin(state, "silent"))
    silent = state.registers["upload"]
    state = await room.do(
        changes.announce(silent, document("silent", complete=False), received=1, now_ms=NOW)
    )
    state = await room.do(begin(state, "second", now_ms=NOW + 2 * LEASE))
    assert state.registers["upload"]["previous"]["rows"] == 15
    assert [each["id"] for each in state.registers["versions"]] == ["d"]


# Versions


def ids(state: Snapshot) -> list[str]:
    return [each["id"] for each in state.registers["versions"]]


async def test_the_last_three_tables_stay_and_the_fourth_falls_out(room: Room) -> None:
    for id in ("a", "b", "c"):
        state = await room.show(id)
    assert ids(state) == ["c", "b", "a"]
    before = await room.now()
    begun = await room.do(begin(before, "d"))
    assert ids(begun) == ["c", "b", "a"]
    known = versions.versions_of(before)
    done = changes.complete(
        begun.registers["upload"], document("d", version=4), announced=False, versions=known
    )
    assert versions.fallen(known, done) == ["a"]
    state = await room.do(done)
    assert ids(state) == ["d", "c", "b"]
    assert versions.next_version(state) == 5


async def test_going_back_shows_the_first_page_and_loses_nothing(room: Room) -> None:
    for id in ("a", "b", "c"):
        await room.show(id)
    state = await room.do(turns.turn_page(await room.now(), 4))
    state = await room.do(versions.show_version(state, 2))
    assert state.registers["document"] == document("b", version=2)
    assert state.registers["page"] == page("b")
    assert state.fields["document_id"] == "b"
    assert ids(state) == ["c", "b", "a"]
    assert versions.show_version(state, 2) is None
    assert versions.next_version(state) == 4
    state = await room.do(versions.show_version(state, 3))
    assert state.registers["document"] == document("c", version=3)


async def test_a_version_comes_back_with_the_rows_that_were_added_to_it(room: Room) -> None:
    await room.show("a", rows=10)
    await room.do(grown(await room.now(), 5))
    state = await room.show("b")
    state = await room.do(versions.show_version(state, 1))
    assert state.registers["document"]["rows"] == 15
    state = await room.do(grown(state, 1))
    state = await room.do(versions.show_version(state, 2))
    state = await room.do(versions.show_version(state, 1))
    assert state.registers["document"]["rows"] == 16


async def test_going_back_is_refused_where_rows_were_added_or_an_upload_began_meanwhile(
    room: Room,
) -> None:
    await room.show("a")
    state = await room.show("b")
    late = versions.show_version(state, 1)
    state = await room.do(grown(state, 1))
    with pytest.raises(Conflict):
        await room.do(late)
    late = versions.show_version(state, 1)
    begun = await room.do(begin(state, "c"))
    with pytest.raises(Conflict):
        await room.do(late)
    with pytest.raises(UploadInProgress, match=r"c\.tsv"):
        versions.show_version(begun, 1)


async def test_a_version_that_is_not_there_is_refused_by_naming_those_that_are(room: Room) -> None:
    with pytest.raises(NoDocument, match="no table"):
        versions.show_version(await room.now(), 1)
    state = await room.show("a")
    with pytest.raises(NoDocument, match="only version 1"):
        versions.show_version(state, 7)
    await room.show("b")
    state = await room.show("c")
    with pytest.raises(NoDocument, match="versions 1, 2 and 3"):
        versions.show_version(state, 7)


@pytest.mark.parametrize("shown", [1, 3])
async def test_a_failed_upload_leaves_the_versions_as_they_were(room: Room, shown: int) -> None:
    for id in ("a", "b", "c"):
        state = await room.show(id)
    if shown == 1:
        state = await room.do(versions.show_version(state, 1))
    before = state
    begun = await room.do(begin(state, "d"))
    state = await room.do(
        changes.announce(
            begun.registers["upload"],
            document("d", complete=False, version=4),
            received=1,
            now_ms=NOW,
        )
    )
    assert set(versions.kept_documents(state.registers)) == {"a", "b", "c"}
    after = await room.do(changes.restore(state, NOW + LEASE + 1))
    assert after.registers == before.registers


async def test_versions_are_found_where_an_older_release_kept_no_list(room: Room) -> None:
    await room.show("a")
    await room.do(changes.Arguments(set={"versions": None}, fields={}, expect={}))
    state = await room.now()
    assert [each["id"] for each in versions.versions_of(state)] == ["a"]
    assert versions.kept_documents(state.registers) == ["a"]
    assert ids(await room.do(begin(state, "b"))) == ["a"]


async def test_the_bytes_as_they_came_are_kept_as_long_as_what_was_made_of_them() -> None:
    came, others = document("came"), [document("b", version=2), document("c", version=3)]
    made = {**document("made"), "source": {"id": "came"}}
    corrected = changes.Arguments(set={"versions": [made]}, fields={}, expect={})
    assert versions.fallen([came], corrected) == []
    assert versions.kept_documents({"document": made}) == ["made", "came"]
    assert versions.kept_documents({"versions": [made, *others]}) == ["made", "came", "b", "c"]
    newer = changes.Arguments(set={"versions": others}, fields={}, expect={})
    assert versions.fallen([*others, made], newer) == ["made", "came"]
    back = changes.Arguments(set={"versions": [document("again")]}, fields={}, expect={})
    assert versions.fallen([made], back) == ["made", "came"]


# Uploads that wait for their sender

PAUSE = 4 * LEASE


async def lasting(room: Room, id: str = "new", **more: Any) -> Snapshot:
    """An upload that can be resumed has shown its first page."""
    begun = await room.do(
        changes.begin_upload(
            await room.now(),
            id=id,
            name=f"{id}.tsv",
            size=5000,
            now_ms=NOW,
            pause_ms=PAUSE,
            owner="first",
            token="hash",
            **more,
        )
    )
    return await room.do(
        changes.announce(
            begun.registers["upload"],
            document(id, complete=False),
            received=1000,
            now_ms=NOW,
            pause_ms=PAUSE,
        )
    )


def resumed(state: Snapshot, owner: str = "second", now_ms: int = NOW) -> changes.Arguments:
    return changes.resume_upload(state, token="hash", owner=owner, now_ms=now_ms, pause_ms=PAUSE)


async def test_an_upload_whose_node_is_silent_waits_before_it_is_given_up(room: Room) -> None:
    await room.show("old")
    state = await lasting(room)
    assert changes.restore(state, NOW + LEASE) is None
    state = await room.do(changes.restore(state, NOW + LEASE + 1))
    upload = state.registers["upload"]
    assert (upload["paused"], upload["lease"], upload["received"]) == (True, NOW + PAUSE, 1000)
    assert state.registers["document"] == document("new", complete=False)
    assert changes.restore(state, NOW + PAUSE) is None
    state = await room.do(changes.restore(state, NOW + PAUSE + 1))
    assert "upload" not in state.registers
    assert state.registers["document"] == document("old")
    assert state.fields == {"document_id": "old"}


async def test_a_silent_sender_whose_node_dies_has_as_long_to_come_back_as_any_other(
    room: Room,
) -> None:
    await room.show("old")
    state = await lasting(room)
    quiet = changes.progress(
        state.registers["upload"], received=1000, now_ms=NOW, lease_ms=LEASE, pause_ms=PAUSE
    )
    quiet["set"]["upload"]["paused"] = True
    state = await room.do(quiet)
    with pytest.raises(UploadInProgress, match="waits for its sender"):
        begin(state, "next", now_ms=NOW + PAUSE)
    state = await room.do(changes.restore(state, NOW + LEASE + 1))
    assert state.registers["upload"]["lease"] == NOW + PAUSE
    assert "upload_owner" not in state.fields


async def test_nobody_else_begins_while_an_upload_waits_but_then_anyone_may(room: Room) -> None:
    await room.show("old")
    state = await lasting(room)
    with pytest.raises(UploadInProgress, match="is just arriving"):
        begin(state, "next", now_ms=NOW + PAUSE)
    state = await room.do(changes.restore(state, NOW + LEASE + 1))
    with pytest.raises(UploadInProgress, match="waits for its sender"):
        begin(state, "next", now_ms=NOW + PAUSE)
    state = await room.do(begin(state, "next", now_ms=NOW + PAUSE + 1))
    assert state.registers["document"] == document("old")
    assert state.fields["upload_id"] == "next"
    assert "upload_token" not in state.fields


@pytest.mark.parametrize("paused", [False, True])
async def test_whoever_has_the_token_goes_on_whether_or_not_it_was_noticed(
    room: Room, paused: bool
) -> None:
    await room.show("old")
    state = await lasting(room)
    if paused:
        upload = state.registers["upload"]
        state = await room.do(
            changes.pause(
                upload, document("new", 1200, complete=False), received=1500, until_ms=NOW + PAUSE
            )
        )
        assert "upload_owner" not in state.fields
    late = resumed(state, "third")
    state = await room.do(resumed(state))
    upload = state.registers["upload"]
    assert (upload["id"], upload["paused"]) == ("new", False)
    assert upload["received"] == (1500 if paused else 1000)
    assert upload["previous"] == document("old")
    assert state.fields["upload_owner"] == "second"
    # Of two at the same moment the second has to look again, and is the newer one then.
    with pytest.raises(Conflict):
        await room.do(late)
    assert (await room.do(resumed(state, "third"))).fields["upload_owner"] == "third"


async def test_going_on_and_giving_up_cannot_both_happen(room: Room) -> None:
    state = await room.do(changes.restore(await lasting(room), NOW + LEASE + 1))
    give_up, go_on = changes.restore(state, NOW + PAUSE + 1), resumed(state, now_ms=NOW + PAUSE)
    await room.do(go_on)
    with pytest.raises(Conflict):
        await room.do(give_up)
    state = await room.now()
    late = resumed(state, "late")
    await room.do(changes.abort(state.registers["upload"]))
    with pytest.raises(Conflict):
        await room.do(late)
    with pytest.raises(UploadLost, match="is over"):
        resumed(await room.now())


async def test_a_wrong_token_goes_on_with_nothing(room: Room) -> None:
    state = await lasting(room)
    for token in ("", "other"):
        with pytest.raises(UploadLost):
            changes.resume_upload(state, token=token, owner="x", now_ms=NOW)
    without = await room.do(
        changes.begin_upload(state, id="next", name="next.tsv", size=None, now_ms=NOW, replace=True)
    )
    with pytest.raises(UploadLost):
        changes.resume_upload(without, token="", owner="x", now_ms=NOW)


async def test_replacing_brings_back_what_was_and_begins_anew_in_one_change(room: Room) -> None:
    await room.show("old")
    state = await lasting(room)
    state = await room.do(
        changes.begin_upload(
            state, id="next", name="next.tsv", size=9, now_ms=NOW, owner="other", replace=True
        )
    )
    assert state.registers["document"] == document("old")
    assert state.registers["page"] == page("old")
    assert state.registers["upload"]["previous"] == document("old")
    assert (state.fields["upload_id"], state.fields["upload_owner"]) == ("next", "other")
    assert changes.was_replaced(state, "new")
    assert not changes.was_replaced(state, "next")
    with pytest.raises(UploadReplaced):
        resumed(state)


async def test_all_of_a_chain_of_replacements_are_known_to_be_replaced(room: Room) -> None:
    await lasting(room)
    names = [f"n{number}" for number in range(changes.REPLACED_KEPT)]
    for name in names:
        state = await room.do(
            changes.begin_upload(
                await room.now(),
                id=name,
                name=name,
                size=9,
                now_ms=NOW,
                token=f"token of {name}",
                pause_ms=PAUSE,
                replace=True,
            )
        )
    assert [changes.was_replaced(state, name) for name in ("new", *names)] == (
        [True] * len(names) + [False]
    )
    with pytest.raises(UploadReplaced):
        resumed(state)
    with pytest.raises(UploadReplaced):
        changes.resume_upload(state, token="token of n2", owner="x", now_ms=NOW)
    state = await room.do(
        changes.begin_upload(state, id="last", name="n", size=9, now_ms=NOW, replace=True)
    )
    assert not changes.was_replaced(state, "new")


async def test_what_was_completed_in_between_is_not_replaced(room: Room) -> None:
    state = await lasting(room)
    replacing = changes.begin_upload(
        state, id="next", name="next.tsv", size=9, now_ms=NOW, replace=True
    )
    state = await room.do(
        changes.complete(state.registers["upload"], document("new"), announced=True)
    )
    with pytest.raises(Conflict):
        await room.do(replacing)
    state = await room.do(
        changes.begin_upload(state, id="next", name="n", size=9, now_ms=NOW, replace=True)
    )
    assert state.registers["upload"]["previous"] == document("new")
    assert not changes.was_replaced(state, "new")
