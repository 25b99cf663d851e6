"""What the register of the page says of who turned it, and where an undo leads."""

from __future__ import annotations

from typing import Any

from server.fanout import turns
from server.fanout.backend import Snapshot

OTTER = {"id": "a1", "name": "Otter", "color": 3}
HERON = {"id": "b2", "name": "Heron", "color": 4}
PROGRAM = {"id": "", "name": "A program", "color": 0}
RUN = turns.RUN_MS


class Room:
    """The registers of a room whose pages are turned, at times in ms."""

    def __init__(self) -> None:
        self.registers: dict[str, Any] = {
            "document": {"id": "d", "rows": 10_000},
            "page": {"document": "d", "offset": 0, "size": 100},
        }

    def turn(self, page_no: int, by: dict[str, Any] | None, at: int) -> dict[str, Any]:
        state = Snapshot("e", 1, self.registers)
        change = turns.turn_page(state, page_no, by=by, now_ms=at)
        self.registers |= change["set"]
        return dict(self.registers["page"])

    def back(self) -> int | None:
        """The page that an undo leads to."""
        place = self.registers["page"]["back"]
        assert place is None or place["document"] == "d"
        return None if place is None else place["offset"] // 100 + 1


def test_a_page_says_who_turned_to_it_and_when() -> None:
    page = Room().turn(7, OTTER, 1000)
    assert (page["by"], page["at"]) == (OTTER, 1000)
    assert page["back"] == {"document": "d", "offset": 0}


def test_an_undo_leads_to_where_the_room_was() -> None:
    room = Room()
    room.turn(41, OTTER, 1000)
    assert room.back() == 1
    room.turn(7, HERON, 1001)
    assert room.back() == 41


def test_who_leafs_through_many_pages_comes_back_to_where_it_began() -> None:
    room = Room()
    at = 100_000
    for page_no in range(2, 9):
        at += RUN - 1
        room.turn(page_no, OTTER, at)
        assert room.back() == 1
    room.turn(20, OTTER, at + RUN)
    assert room.back() == 8


def test_an_undo_can_be_undone_at_once() -> None:
    room = Room()
    room.turn(41, OTTER, 1000)
    room.turn(1, OTTER, 1500)
    assert room.back() == 41
    room.turn(41, OTTER, 2000)
    assert room.back() == 1


def test_turning_to_the_page_that_is_shown_changes_nothing_about_the_way_back() -> None:
    room = Room()
    room.turn(41, OTTER, 1000)
    room.turn(41, HERON, 90_000)
    assert room.back() == 1


def test_two_programs_of_different_names_are_two() -> None:
    room = Room()
    room.turn(2, PROGRAM, 100_000)
    room.turn(3, {**PROGRAM, "name": "Clock"}, 100_001)
    assert room.back() == 2
    room.turn(4, {**PROGRAM, "name": "Clock"}, 100_002)
    assert room.back() == 2


def test_a_program_named_as_a_viewers_id_is_not_that_viewer() -> None:
    room = Room()
    room.turn(2, OTTER, 100_000)
    room.turn(3, {**PROGRAM, "name": OTTER["id"]}, 100_001)
    assert room.back() == 2
    room.turn(4, OTTER, 100_002)
    assert room.back() == 3


def test_without_a_page_before_there_is_no_way_back() -> None:
    room = Room()
    del room.registers["page"]
    room.turn(1, OTTER, 1000)
    assert room.back() is None


def test_any_row_can_be_the_first_one() -> None:
    state = Snapshot("e", 1, Room().registers)
    change = turns.turn_to(state, 99, by=PROGRAM, now_ms=5)
    assert change["set"]["page"]["offset"] == 99
    assert change["expect"] == {"document_id": "d"}
