"""What a room shows its viewers, how fast they may be, and what one costs the others."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from server.errors import Missing, Unavailable
from server.fanout.backend import Change
from server.live import audience as live_audience
from server.live import showing as live_showing
from server.live import wording as live_wording
from tests.live.one_room import Room
from tests.live.peer import Message, Peer, document, page


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The payloads of all frames that rooms build from now on."""
    payloads: list[bytes] = []
    original = live_wording.encode_frame

    def counting(payload: bytes) -> Any:
        payloads.append(payload)
        return original(payload)

    for module in (live_wording, live_showing):
        monkeypatch.setattr(module, "encode_frame", counting)
    return payloads


def kinds(peer: Peer) -> list[str]:
    return [message["type"] for message in peer.messages]


def last_state(peer: Peer) -> Message:
    return peer.of("state")[-1]


async def crowd(room: Room, size: int, monkeypatch: pytest.MonkeyPatch) -> list[Peer]:
    """So many viewers who see the first page, in a room that is flushed as often as it changes."""
    monkeypatch.setattr(live_audience, "FLUSH_INTERVAL", 0)
    peers = [room.enter(str(n))[0] for n in range(size)]
    room.snapshot(document=document(), page=page())
    await room.settled()
    return peers


# What is shown


async def test_a_newcomer_gets_the_whole_state_and_then_the_page(room: Room) -> None:
    room.snapshot(rev=7, document=document(), page=page(offset=300))
    await room.settled()
    peer, _ = room.enter()
    state = await peer.expect("state")
    assert state["whole"] is True
    assert (state["epoch"], state["rev"]) == ("e", 7)
    assert state["set"]["page"] == page(offset=300)
    shown = await peer.expect("page")
    assert (shown["first_row"], shown["rev"]) == (301, 7)
    assert kinds(peer)[:2] == ["state", "page"]


async def test_whoever_comes_before_the_state_is_known_gets_it_when_it_is(room: Room) -> None:
    peer, _ = room.enter()
    assert kinds(peer) == []
    room.snapshot(document=document(), page=page())
    assert (await peer.expect("state"))["whole"]
    await peer.expect("page", first_row=1)


async def test_an_empty_room_has_a_state_too(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(rev=0, epoch="")
    state = await peer.expect("state")
    assert (state["epoch"], state["rev"], state["set"]) == ("", 0, {})
    assert peer.of("page") == []


async def test_the_first_change_of_a_room_brings_its_epoch(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(rev=0, epoch="")
    await peer.expect("state", rev=0)
    room.change(epoch="new", document=document(), page=page())
    state = await peer.expect("state", rev=1)
    assert state["epoch"] == "new"
    await peer.expect("page")


async def test_a_page_turn_reaches_everyone_as_state_then_page_in_one_write(room: Room) -> None:
    peers = [room.enter(str(n))[0] for n in range(3)]
    room.snapshot(document=document(), page=page())
    for peer in peers:
        await peer.expect("page", first_row=1)
        peer.writes.clear()
        peer.messages.clear()
    room.change(page=page(offset=100))
    await room.settled()
    for peer in peers:
        assert kinds(peer) == ["state", "page"]
        assert last_state(peer)["set"] == {"page": page(offset=100)}
        assert not last_state(peer)["whole"]
        assert len(peer.writes) == 1


async def test_a_change_of_another_register_does_not_repeat_the_page(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    room.change(upload=None)
    await peer.expect("state", rev=2)
    await room.settled()
    assert len(peer.of("page")) == 1


async def test_a_cleared_register_is_said_to_be_null_and_is_absent_from_a_whole_state(
    room: Room,
) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    room.change(document=None, page=None)
    state = await peer.expect("state", rev=2)
    assert state["set"] == ({} if state["whole"] else {"document": None, "page": None})
    late, _ = room.enter("late")
    assert (await late.expect("state"))["set"] == {}
    assert late.of("page") == []


async def test_changes_that_come_at_once_are_one_state_with_the_last_values(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    for offset in range(100, 1000, 100):
        room.change(page=page(offset=offset))
    await peer.expect("page", first_row=901)
    await room.settled()
    assert peer.revs[0] == 1
    assert len(peer.revs) <= 3
    assert last_state(peer)["set"] == {"page": page(offset=900)}


async def test_deltas_have_no_gap_whoever_applies_them_has_the_rooms_registers(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await room.settled()
    for n in range(40):
        room.change(**{f"r{n % 7}": n if n % 5 else None, "page": page(offset=100 * (n % 9))})
        if n % 3 == 0:
            await asyncio.sleep(0)
        if n % 10 == 0:
            await room.settled()
    await room.settled()
    assert peer.registers == room.live.registers
    assert peer.revs == sorted(set(peer.revs))
    assert peer.revs[-1] == room.rev
    assert peer.of("page")[-1]["first_row"] == page(offset=100 * (39 % 9))["offset"] + 1


async def test_an_old_change_is_not_shown_again(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(rev=5, document=document(), page=page(offset=200))
    await peer.expect("page")
    room.live.take(Change(epoch="e", rev=5, set={"page": page(offset=0)}))
    room.live.take(Change(epoch="e", rev=4, set={"page": page(offset=0)}))
    await room.settled()
    assert peer.revs == [5]
    assert room.live.registers["page"] == page(offset=200)


async def test_a_repeated_snapshot_disturbs_nobody(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(rev=5, document=document(), page=page())
    await peer.expect("page")
    await room.settled()
    before = list(peer.messages)
    room.snapshot(rev=5, document=document(), page=page())
    await room.settled()
    assert peer.messages == before


@pytest.mark.parametrize(("epoch", "rev"), [("e", 3), ("new", 3), ("new", 9), ("new", 20)], ids=str)
async def test_a_snapshot_replaces_the_state_even_by_a_lower_revision(
    room: Room, epoch: str, rev: int
) -> None:
    peer, _ = room.enter()
    room.snapshot(rev=9, document=document(), page=page(), upload={"left": "over"})
    await peer.expect("page")
    await room.settled()
    room.snapshot(rev=rev, epoch=epoch, document=document("d2"), page=page("d2", offset=100))
    state = await peer.expect("state", epoch=epoch, rev=rev)
    assert state["whole"]
    assert set(state["set"]) == {"document", "page"}
    await peer.expect("page", document="d2", first_row=101)


async def test_after_a_lower_snapshot_changes_are_shown_again(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(rev=9, document=document(), page=page())
    await peer.expect("state", rev=9)
    room.snapshot(rev=2, epoch="new", document=document(), page=page())
    await peer.expect("state", rev=2)
    room.change(epoch="new", page=page(offset=500))
    await peer.expect("state", rev=3, whole=False)
    await peer.expect("page", first_row=501)


async def test_a_growing_table_shows_its_first_page_again_only_while_that_grows(
    room: Room,
) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(rows=40, complete=False), page=page())
    await peer.expect("page", total_number=40)
    room.change(document=document(rows=90, complete=False))
    await peer.expect("page", total_number=90)
    room.change(document=document(rows=400, complete=False))
    await peer.expect("page", total_number=400)
    room.change(document=document(rows=900, complete=False))
    await peer.expect("state", rev=4)
    await room.settled()
    assert len(peer.of("page")) == 3


async def test_whoever_comes_after_the_upload_is_told_how_many_rows_there_are(room: Room) -> None:
    room.enter()
    room.snapshot(document=document(rows=400, complete=False), page=page())
    await room.settled()
    room.change(document=document(rows=90_000, complete=True))
    await room.settled()
    late, _ = room.enter("late")
    assert (await late.expect("page"))["total_number"] == 90_000


async def test_whoever_comes_during_a_replacement_gets_no_page_of_the_old_table(
    room: Room,
) -> None:
    first, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await room.settled()
    room.pages.hold(0)
    room.change(document=document("d2"), page=page("d2"))
    await first.expect("state", rev=2)
    late, _ = room.enter("late")
    assert (await late.expect("state"))["set"]["document"]["id"] == "d2"
    room.pages.release(0)
    await late.expect("page", document="d2")
    assert len(late.of("page")) == 1


async def test_whoever_comes_during_a_replacement_that_fails_gets_the_page_of_the_old_table(
    room: Room,
) -> None:
    room.enter()
    room.snapshot(document=document(), page=page())
    await room.settled()
    room.change(document=document("d2"), page=page("d2"))
    late, _ = room.enter("late")
    room.change(document=document(), page=page())
    await late.expect("page", document="d1")
    await room.settled()
    assert late.registers == room.live.registers


# Once for all


async def test_a_frame_is_built_once_however_many_watch(room: Room, encoded: list[bytes]) -> None:
    costs = []
    for crowd in (1, 200):
        for n in range(crowd):
            room.enter(f"{crowd} {n}")
        room.snapshot(rev=room.rev + 1, document=document(), page=page(offset=100))
        await room.settled()
        encoded.clear()
        room.change(page=page(offset=200))
        await room.settled()
        costs.append(len(encoded))
    assert max(costs) <= 3  # the state, the page, and who looks at it


async def test_a_storm_of_newcomers_costs_one_encoding(room: Room, encoded: list[bytes]) -> None:
    room.snapshot(document=document(), page=page())
    await room.settled()
    room.enter("first")
    encoded.clear()
    peers = [room.enter(str(n))[0] for n in range(100)]
    assert encoded == []
    assert all(kinds(peer) == kinds(peers[0]) for peer in peers)


# Nobody waits for anybody


async def test_a_lagging_viewer_gets_only_the_newest_state_after_it_has_drained(
    room: Room,
) -> None:
    slow, _ = room.enter("slow")
    quick, _ = room.enter("quick")
    room.snapshot(document=document(), page=page())
    await slow.expect("page")
    await quick.expect("page")
    slow.stall()
    for offset in (100, 200, 300):
        room.change(page=page(offset=offset))
        await quick.expect("page", first_row=offset + 1)
    await room.settled()
    assert slow.revs == [1], "nothing was written while it lagged"
    slow.drain()
    room.sweep()
    assert slow.revs == [1, 4]
    assert last_state(slow)["whole"]
    assert [shown["first_row"] for shown in slow.of("page")] == [1, 301]
    assert quick.revs == [1, 2, 3, 4]
    room.change(page=page(offset=400))
    await room.settled()
    assert slow.revs[-1] == quick.revs[-1] == 5
    assert not last_state(slow)["whole"], "it is as the others again"


async def test_those_who_lag_take_no_turns_from_those_who_do_not(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_audience, "SLICE", 1)
    slow = [room.enter(f"slow {n}")[0] for n in range(300)]
    quick, _ = room.enter("quick")
    room.snapshot(document=document(), page=page())
    await quick.expect("page")
    await room.settled()
    for peer in slow:
        peer.stall()
    room.change(page=page(offset=100))  # from this they are known to lag
    await quick.expect("page", first_row=101)
    await room.settled()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    published = live_audience.Audience._publish

    async def publish(self: live_audience.Audience, page: Any) -> None:
        counting = asyncio.create_task(count())
        await published(self, page)
        counting.cancel()

    monkeypatch.setattr(live_audience.Audience, "_publish", publish)
    room.change(page=page(offset=200))
    await quick.expect("page", first_row=201)
    await room.settled()
    assert turns < 10
    for peer in slow:
        peer.drain()
    room.sweep()
    assert all(peer.revs[-1] == quick.revs[-1] for peer in slow)


async def test_a_viewer_that_drained_without_missing_anything_is_written_nothing(
    room: Room,
) -> None:
    peer, viewer = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    await room.settled()
    viewer.lagging = True
    room.lag.add(viewer)
    before = len(peer.writes)
    room.sweep()
    assert len(peer.writes) == before
    assert not viewer.lagging


async def test_a_viewer_that_closes_during_a_write_stops_nobody(room: Room) -> None:
    peers = [room.enter(str(n))[0] for n in range(5)]
    peers[0].on_write = peers[2].close
    room.snapshot(document=document(), page=page())
    await peers[4].expect("page")
    assert peers[2].messages == []


async def test_nobody_is_written_a_revision_at_or_below_the_last(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_audience, "SLICE", 10)
    peers = await crowd(room, 100, monkeypatch)
    for peer in peers[::7]:
        # Wherever a write stands, something newer may come.
        peer.on_write = lambda: room.rev < 60 and room.change(page=page(offset=room.rev % 9 * 100))
    for peer in peers[::11]:
        peer.stall()
    room.change(page=page(offset=900))
    await room.settled()
    for peer in peers[::11]:
        peer.drain()
    room.sweep()
    await room.settled()
    for peer in peers:
        assert peer.revs == sorted(set(peer.revs))
        assert peer.revs[-1] == room.rev
        assert peer.of("page")[-1]["first_row"] == room.live.registers["page"]["offset"] + 1


async def test_in_a_large_room_a_newer_page_overtakes_an_older_one(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = await crowd(room, 1000, monkeypatch)
    peers[0].on_write = lambda: room.rev == 2 and room.change(page=page(offset=200))
    room.change(page=page(offset=100))
    await room.settled()
    spared = [peer for peer in peers if [p["first_row"] for p in peer.of("page")] == [1, 201]]
    assert len(spared) >= 800
    assert all(peer.revs[-1] == 3 for peer in peers)


async def test_in_a_room_that_is_always_busy_everyone_gets_his_turn(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_audience, "SLICE", 10)
    peers = await crowd(room, 100, monkeypatch)

    def hurry(peer: Peer) -> None:
        if peer.revs[-1] == room.rev < 60:
            room.change(page=page(offset=room.rev % 9 * 100))

    for peer in peers:
        peer.on_write = partial(hurry, peer)
    room.change(page=page(offset=100))
    await room.settled()
    # A round ends after its first slice: 60 rounds of 10 write each of 100 viewers some 6 times.
    assert min(len(peer.revs) for peer in peers) >= 5


async def test_a_page_that_does_not_come_holds_up_neither_state_nor_a_newer_page(
    room: Room,
) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    room.pages.hold(100)
    room.change(page=page(offset=100))
    await peer.expect("state", rev=2)
    room.change(upload={"name": "x"})
    await peer.expect("state", rev=3)
    room.change(page=page(offset=200))
    await peer.expect("state", rev=4)
    await peer.expect("page", first_row=201)
    room.pages.release(100)
    await room.settled()
    assert [shown["first_row"] for shown in peer.of("page")] == [1, 201]


@pytest.mark.parametrize("turns", [1, 2, 5])
async def test_a_page_turn_during_the_rendering_of_another_page_is_not_lost(
    room: Room, turns: int
) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    room.pages.hold(100)
    room.change(page=page(offset=100))
    await room.pages.until_asked(100)
    for n in range(turns):
        room.change(page=page(offset=900 - 100 * (turns - 1 - n)))
    room.pages.release(100)
    await peer.expect("page", first_row=901)
    await room.settled()
    assert peer.revs[-1] == room.rev


async def test_a_table_completed_during_the_rendering_of_its_page_is_shown_whole(
    room: Room,
) -> None:
    peer, _ = room.enter()
    room.pages.hold(0)
    room.snapshot(document=document(rows=400, complete=False), page=page())
    await room.pages.until_asked(0)
    room.change(document=document(rows=90_000, complete=True))
    room.pages.release(0)
    await peer.expect("page", total_number=90_000)


async def test_a_replacement_during_the_rendering_of_a_page_hides_that_page(room: Room) -> None:
    peer, _ = room.enter()
    room.pages.hold(0)
    room.snapshot(document=document(), page=page())
    await room.pages.until_asked(0)
    room.change(document=document("d2"), page=page("d2", offset=100))
    room.pages.release(0)
    await peer.expect("page", document="d2", first_row=101)
    await room.settled()
    assert [shown["document"] for shown in peer.of("page")] == ["d2"]


async def test_a_page_that_stops_being_wanted_while_it_hangs_holds_up_nothing(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    room.pages.hold(100)
    room.change(page=page(offset=100))
    await room.pages.until_asked(100)
    room.change(page=page(offset=200))  # comes before the state of the first turn is told
    await peer.expect("state")
    await peer.expect("page", first_row=201)


async def test_a_slow_page_is_shown_though_other_registers_change_all_the_while(
    room: Room,
) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    room.pages.hold(100)
    room.change(page=page(offset=100))
    for n in range(3):
        await room.pages.until_asked(100)
        room.change(upload={"received": n})
        await peer.expect("state", rev=room.rev)
    room.pages.release(100)
    await peer.expect("page", first_row=101)
    assert room.pages.asked.count(100) == 1, "it was not begun anew each time"


# A page that cannot be read


async def test_a_page_that_cannot_be_read_is_tried_again(room: Room) -> None:
    peer, _ = room.enter()
    room.pages.failing[0] = Unavailable("gone")
    room.snapshot(document=document(), page=page())
    await peer.expect("state")
    await room.pages.until_asked(0, times=2)
    del room.pages.failing[0]
    await peer.expect("page", first_row=1)
    assert peer.of("error") == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_showing, "RETRIES", (0.01, 0.01, 0.01, 0.05))


@pytest.mark.usefixtures("hasty")
async def test_a_page_that_stays_unreadable_is_told_once_to_everyone(room: Room) -> None:
    peer, _ = room.enter()
    room.pages.failing[0] = Missing("gone")
    room.snapshot(document=document(), page=page())
    error = await peer.expect("error", code="missing", about="page")
    assert "Upload the file again" in error["message"]
    await room.pages.until_asked(0, times=7)
    assert len(peer.of("error")) == 1


@pytest.mark.usefixtures("hasty")
async def test_whoever_comes_later_is_told_too_that_the_page_cannot_be_read(room: Room) -> None:
    peer, _ = room.enter()
    room.pages.failing[0] = Missing("gone")
    room.snapshot(document=document(), page=page())
    await peer.expect("error")
    late, _ = room.enter("late")
    await late.expect("error", code="missing", about="page")
    del room.pages.failing[0]
    await peer.expect("page")
    last, _ = room.enter("last")
    await last.expect("page")
    assert last.of("error") == []


@pytest.mark.usefixtures("hasty")
async def test_of_each_table_that_cannot_be_read_people_are_told(room: Room) -> None:
    peer, _ = room.enter()
    room.pages.failing[0] = Missing("gone")
    room.snapshot(document=document(), page=page())
    await peer.expect("error")
    room.change(document=document("d2"), page=page("d2"))
    await peer.expect("state", rev=2)
    await peer.expect("error")


async def test_what_comes_while_a_page_cannot_be_read_is_shown_at_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_showing, "RETRIES", (3600.0,))
    peer, _ = room.enter()
    room.pages.failing[0] = Missing("gone")
    room.snapshot(document=document(), page=page())
    await peer.expect("error")
    room.change(page=page(offset=100))
    await peer.expect("state", rev=2)
    await peer.expect("page", first_row=101)


# The number of viewers, and how things stand


async def test_everyone_is_told_when_the_fan_out_is_lost_and_when_it_is_back(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("page")
    await peer.expect("status", degraded=False)
    room.live.set_degraded(True)
    await peer.expect("status", degraded=True)
    late, _ = room.enter("late")
    await late.expect("status", degraded=True)
    room.live.set_degraded(False)
    await peer.expect("status", degraded=False)
    await late.expect("status", degraded=False)


async def test_whoever_comes_while_nothing_is_known_is_told_why(room: Room) -> None:
    room.live.set_degraded(True)
    peer, _ = room.enter()
    await peer.expect("status", degraded=True)
    assert peer.of("state") == []


async def test_a_lagging_viewer_learns_the_status_with_its_next_state(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await peer.expect("status", degraded=False)
    await room.settled()
    peer.stall()
    room.live.set_degraded(True)
    peer.drain()
    room.sweep()
    await peer.expect("status", degraded=True)


# Asking again, and leaving


async def test_whoever_asks_gets_the_whole_state_and_page_again(room: Room) -> None:
    peer, viewer = room.enter()
    room.snapshot(document=document(), page=page(offset=100))
    await peer.expect("page")
    await room.settled()
    peer.messages.clear()
    peer._at = 0
    room.live.resend(viewer)
    assert (await peer.expect("state"))["whole"]
    await peer.expect("page", first_row=101)


async def test_a_viewer_that_left_is_written_nothing(room: Room) -> None:
    peer, viewer = room.enter()
    room.live.remove(viewer)
    room.snapshot(document=document(), page=page())
    await room.settled()
    room.live.catch_up(viewer)
    assert peer.writes == []
