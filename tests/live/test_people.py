"""Who is here is told to everyone, soon in a small room, rarely and in numbers in a large one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.fanout.backend import Here, Present, Signal
from server.live import people as live_people
from server.live.paging import page_number
from server.live.people import LISTED, PAGES, People
from server.live.viewer import Viewer
from tests.live.one_room import Room
from tests.live.peer import Message, Peer, document, make_viewer, page


def elsewhere(count: int, people: list[Any] | None = None, **pages: int) -> Message:
    """What another node says of its viewers."""
    browsing = sum(pages.values())
    return {"count": count, "browsing": browsing, "people": people, "pages": pages}


async def test_everyone_is_told_who_comes_and_who_leaves(room: Room) -> None:
    room.snapshot(document=document(), page=page(offset=300))
    first, _ = room.enter("first")
    here = await first.expect("here", count=1)
    assert here["people"] == [
        {
            "id": "first",
            "name": "Guest",
            "color": 0,
            "page_no": 4,
            "browsing": False,
            "role": "guest",
        }
    ]
    _, second = room.enter("second")
    here = await first.expect("here", count=2)
    assert {person["id"] for person in here["people"]} == {"first", "second"}
    room.live.remove(second)
    await first.expect("here", count=1)


async def test_whoever_was_told_what_was_over_before_the_others_heard_of_it_hears_that(
    room: Room,
) -> None:
    """Somebody comes and goes elsewhere between two tellings, and the state is sent again then."""
    room.snapshot()
    peer, viewer = room.enter("v")
    await peer.expect("here", count=1)
    room.live.take(Here(2, {"other": elsewhere(1)}))
    await peer.expect("here", count=2)
    room.live.take(Here(1, {}))
    await peer.expect("here", count=1)
    # All have been told the same by now.
    room.live.take(Here(2, {"other": elsewhere(1)}))
    room.live.resend(viewer)
    room.live.take(Here(1, {}))
    await peer.expect("here", count=2)
    await peer.expect("here", count=1)


async def test_a_name_a_colour_and_a_role_are_told_when_they_change(room: Room) -> None:
    room.snapshot()
    peer, viewer = room.enter("v")
    await peer.expect("here", count=1)
    viewer.name, viewer.color, viewer.role = "Otter", 7, "owner"
    room.live.stir()
    async with asyncio.timeout(5):
        while (person := (await peer.expect("here"))["people"][0])["name"] != "Otter":
            pass
    assert (person["color"], person["role"], person["page_no"]) == (7, "owner", None)


async def test_who_browses_is_counted_on_its_page_and_the_others_on_the_rooms(room: Room) -> None:
    room.snapshot(document=document(), page=page())
    peer, _ = room.enter("follows")
    _, browser = room.enter("browses")
    browser.browsing = 400
    room.live.stir()
    here = await peer.expect("here", pages={"1": 1, "5": 1})
    assert [person["browsing"] for person in here["people"]] == [False, True]
    room.change(page=page(offset=900))
    await peer.expect("here", pages={"10": 1, "5": 1})
    browser.browsing = None
    room.live.stir()
    await peer.expect("here", pages={"10": 2})


async def test_those_of_other_nodes_are_told_with_those_of_this_one(room: Room) -> None:
    room.snapshot(document=document(), page=page())
    peer, _ = room.enter("mine")
    theirs = elsewhere(2, [["t1", "Heron", 4, None, "owner"], ["t2", "Elk", 5, 200, "guest"]])
    theirs |= {"browsing": 1, "pages": {"200": 1}}
    room.live.take(Here(3, {"": {"count": 9}, "other": theirs}))
    here = await peer.expect("here", count=3)
    assert [person["name"] for person in here["people"]] == ["Guest", "Heron", "Elk"]
    assert [person["page_no"] for person in here["people"]] == [1, 1, 3]
    assert here["pages"] == {"1": 2, "3": 1}
    room.live.take(Here(1, {}))
    await peer.expect("here", count=1)


async def test_the_same_is_not_told_again(room: Room) -> None:
    room.snapshot(document=document(), page=page())
    peer, _ = room.enter()
    room.live.take(Here(5, {"other": elsewhere(4, [])}))
    await peer.expect("here", count=5)
    await asyncio.sleep(live_people.INTERVAL)
    await room.settled()
    told = len(peer.of("here"))
    for _ in range(3):
        room.live.take(Here(5, {"other": elsewhere(4, [])}))
        room.live.stir()
        await asyncio.sleep(live_people.INTERVAL)
    await room.settled()
    assert len(peer.of("here")) == told


async def test_in_a_large_room_there_are_counts_instead_of_a_list(room: Room) -> None:
    room.snapshot(document=document(), page=page())
    peer, _ = room.enter()
    room.live.take(Here(5001, {"other": elsewhere(5000, None, **{"400": 9})}))
    here = await peer.expect("here", count=5001)
    assert (here["people"], here["pages"]) == (None, {"1": 4992, "5": 9})
    assert room.live.people.said().detail["people"] is None


async def test_a_list_is_told_only_when_all_nodes_have_told_theirs(room: Room) -> None:
    room.snapshot()
    peer, _ = room.enter()
    room.live.take(Here(3, {"other": elsewhere(2)}))
    assert (await peer.expect("here", count=3))["people"] is None
    room.live.take(Here(3, {"other": elsewhere(2, [["a", "A", 0, None, "guest"]] * 2)}))
    async with asyncio.timeout(5):
        while (await peer.expect("here", count=3))["people"] is None:
            pass


async def test_a_node_that_says_what_nobody_understands_says_nothing(room: Room) -> None:
    room.snapshot()
    peer, _ = room.enter()
    room.live.take(Here(9, {"other": "?", "another": elsewhere(2, [])}))
    await peer.expect("here", count=3)


async def test_who_is_here_can_come_before_the_state(room: Room) -> None:
    peer, _ = room.enter()
    room.live.take(Here(2, {"other": elsewhere(1, [])}))
    await peer.expect("here", count=2)
    room.snapshot(document=document(), page=page())
    await peer.expect("page")


# The bounds


async def test_a_storm_is_told_a_few_times(room: Room) -> None:
    room.snapshot(document=document(), page=page())
    peer, _ = room.enter("first")
    await peer.expect("here", count=1)
    began = asyncio.get_running_loop().time()
    for n in range(200):
        room.enter(str(n))
        if n % 10 == 0:
            await asyncio.sleep(0.01)
    await peer.expect("here", count=201)
    passed = asyncio.get_running_loop().time() - began
    assert len(peer.of("here")) <= 3 + passed / live_people.INTERVAL


def test_the_pace_bounds_the_writes_of_a_room_however_large_it_is() -> None:
    """Four times a second at most, and 2,000 writes a second at most where that is less."""
    for count in (1, 50, 500, 501, 2_000, 15_000):
        viewers = dict.fromkeys(map(str, range(count)))
        pace = People(viewers, "n").pace  # type: ignore[arg-type]
        assert pace >= 0.25
        assert count / pace <= 2000


async def test_what_a_node_says_is_bounded_however_many_it_has() -> None:
    viewers: dict[str, Viewer] = {}
    people = People(viewers, "n")
    for n in range(1000):
        viewer = make_viewer(Peer(), f"{n:016x}")
        viewer.name = "\U0001f9a6" * 40
        viewer.browsing = n * 100
        viewers[viewer.id] = viewer
        people.stir()
        said = people.said()
        assert said.count == n + 1
        assert len(repr(said.detail).encode()) < 20_000
        assert (said.detail["people"] is None) == (n + 1 > LISTED)
        assert len(said.detail["pages"]) <= PAGES
    message = people.message(None, None)
    assert (message.count, message.people, message.pages) == (1000, None, {})


async def test_the_fullest_pages_are_told(room: Room) -> None:
    room.snapshot(document=document(rows=100_000), page=page())
    peer, _ = room.enter()
    pages = {str(n * 100): n for n in range(1, PAGES + 1)}
    room.live.take(Here(2000, {"other": elsewhere(1999, None, **pages)}))
    here = await peer.expect("here", count=2000)
    assert len(here["pages"]) == PAGES
    assert "2" not in here["pages"]
    assert here["pages"]["51"] == 50


@pytest.mark.parametrize(
    ("rows", "offset", "size", "number"),
    [
        (1000, 0, 100, 1),
        (1000, 900, 100, 10),
        (1000, 99, 100, 2),
        (1000, 49, 100, 1),
        (1000, 50, 100, 2),
        (1000, 999, 100, 10),
        (0, 0, 100, 1),
        (1000, 5000, 100, 10),
        (30, 7, 3, 3),
    ],
)
def test_a_page_that_begins_between_two_is_called_by_the_nearest(
    rows: int, offset: int, size: int, number: int
) -> None:
    assert page_number(rows, offset, size) == number


# Pointing


def pointing(viewer: str = "other", row: int | None = 7) -> Signal:
    return Signal({"viewer": viewer, "name": "Otter", "color": 3, "row": row, "document": "d1"})


async def test_who_points_is_seen_by_everyone(room: Room) -> None:
    peers = [room.enter(str(n))[0] for n in range(3)]
    room.snapshot(document=document(), page=page())
    await room.settled()
    room.live.take(pointing())
    for peer in peers:
        told = await peer.expect("point")
        assert {name: told[name] for name in pointing().value} == pointing().value


async def test_of_one_person_only_the_last_word_counts_and_of_many_some_wait(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    await room.settled()
    for row in range(1, 100):
        room.live.take(pointing(row=row))
    for n in range(1000):
        room.live.take(pointing(f"crowd {n}"))
    await room.settled()
    told = peer.of("point")
    assert told[0]["row"] == 99
    assert len(told) <= 20


async def test_who_comes_later_is_told_nothing_of_it(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot(document=document(), page=page())
    room.live.take(pointing())
    await peer.expect("point")
    await room.settled()
    late, _ = room.enter("late")
    await late.expect("status")
    assert late.of("point") == []


async def test_a_signal_that_is_not_understood_is_passed_over(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot()
    room.live.take(Signal({"row": "?"}))
    room.live.take(Signal(None))
    room.live.take(pointing(row=None))
    assert (await peer.expect("point"))["row"] is None


def test_nobody_is_said_by_a_count_of_nothing() -> None:
    assert People({}, "n").said().count == 0
    assert Present(0).detail is None
