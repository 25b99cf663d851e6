"""A viewer costs its node so much and no more, whatever it does; it leaves, and costs nothing."""

from __future__ import annotations

import zlib
from contextlib import ExitStack

import pytest

from bench.viewers import Crowd
from tests.bounds.clients import FLOODS, Flood, close_all, heavy, stalled
from tests.bounds.conftest import StartNode
from tests.bounds.limits import (
    FLOODED_ROOM,
    FLOODING_VIEWER,
    IDLE_VIEWER,
    STALLED_VIEWER,
)
from tests.bounds.measured import Measured, held, tell

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(120)]

# Others who go on reading meanwhile; they turn the pages and must get them.
OTHERS = 2


def page_bytes(node: Measured, room: str, *, deflate: bool) -> int:
    """Bytes of a page of the room as a viewer is sent it."""
    plain = node.ask("GET", f"/api/rooms/{room}/pages/2")
    return len(zlib.compress(plain, 6)) if deflate else len(plain)


def watched(node: Measured, room: str, ending: ExitStack) -> Crowd:
    """Some who read, and have seen pages turned."""
    crowd = Crowd((node.port, f"/ws/{room}"))
    ending.callback(crowd.close)
    crowd.grow(OTHERS)
    leaf(crowd, 20)
    return crowd


def gather(crowd: Crowd, count: int) -> None:
    """Let so many be there; those who are read what they are told meanwhile."""
    for part in range(250, count + 250, 250):
        crowd.grow(min(part, count))


def leaf(crowd: Crowd, pages: int) -> None:
    """Turn pages, each of which everyone who reads gets."""
    for number in range(pages):
        crowd.turn(3 + number % 20)
        crowd.rest(0.06)
    crowd.turn(2)


@pytest.mark.parametrize(
    ("count", "deflate"),
    [
        pytest.param(100, True, id="100 deflated"),
        pytest.param(100, False, id="100 plain"),
        pytest.param(2_000, True, id="2,000 deflated"),
    ],
)
def test_a_viewer_that_reads_nothing_costs_a_page_and_a_little(
    one_node: Measured, ending: ExitStack, deflate: bool, count: int
) -> None:
    room = one_node.put(heavy(2_500))
    tasks = one_node.gauge("tasks")
    crowd = watched(one_node, room, ending)
    before = one_node.settle()
    sockets = [stalled(one_node.port, room, deflate=deflate) for _ in range(count)]
    ending.callback(close_all, sockets)
    leaf(crowd, 30)
    one_node.until(lambda told: told["tablecast_viewers_lagging"] == count)
    leaf(crowd, 30)
    growth = (one_node.settle() - before) / count
    close_all(sockets)
    crowd.close()
    one_node.until_empty(tasks)
    tell(f"a stalled viewer: {growth:,.0f} bytes of memory")
    assert growth <= STALLED_VIEWER + page_bytes(one_node, room, deflate=deflate)


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("reads", [False, True])
def test_a_flood_of_words_costs_little_and_the_others_are_served(
    one_node: Measured, ending: ExitStack, kind: str, reads: bool
) -> None:
    flooders = 20
    room = one_node.put(heavy(2_500))
    tasks = one_node.gauge("tasks")
    crowd = watched(one_node, room, ending)
    before = one_node.settle()
    flood = Flood(one_node.port, room, flooders, FLOODS[kind](), reads=reads)
    ending.callback(flood.leave)
    most = 0
    for _ in range(5):
        flood.go_on(0.25)
        crowd.rest(0.01)
        most = max(most, one_node.memory)
    if kind not in ("page turns", "uploads", "corrections"):
        crowd.turn(7)
    flood.leave()
    crowd.close()
    one_node.until_empty(tasks)
    tell(f"a flood of {kind} by {flooders}: {most - before:,} bytes; {flood.sent:,} were taken")
    assert flood.sent
    assert most - before <= FLOODED_ROOM + flooders * FLOODING_VIEWER


@pytest.mark.timeout(600)
def test_ten_thousand_viewers_cost_what_is_said_and_the_next_ten_thousand_no_more(
    start_node: StartNode, ending: ExitStack
) -> None:
    count = 10_000
    # One program plays all of them, and must not be taken for vanished while it lets more in.
    node = start_node(linger=0.5, heartbeat=55)
    room = node.put(heavy(2_500))
    tasks = node.gauge("tasks")
    crowd = watched(node, room, ending)
    before = node.settle()
    gather(crowd, count)
    cost = (node.settle() - before) / (count - OTHERS)
    leaf(crowd, 3)
    assert node.gauge("viewers") == count
    turned = (node.settle() - before) / (count - OTHERS)
    crowd.close()
    node.until_empty(tasks)
    # Python keeps what memory they needed, in pieces, and the next ones use it again.
    crowd = watched(node, room, ending)
    gather(crowd, count)
    again = (node.settle() - before) / count
    tell(f"a viewer: {cost:,.0f} bytes, {turned:,.0f} after turns; of a second crowd {again:,.0f}")
    crowd.close()
    node.until_empty(tasks)
    assert cost <= IDLE_VIEWER
    assert turned <= IDLE_VIEWER
    assert again <= IDLE_VIEWER


def test_viewers_that_vanish_while_they_are_being_let_in_leave_nothing(
    one_node: Measured,
) -> None:
    tasks = one_node.gauge("tasks")
    files = one_node.files
    room = one_node.put(heavy(100))
    for _ in range(300):
        stalled(one_node.port, room).close()
    one_node.until_empty(tasks)
    one_node.until(lambda _: one_node.files <= files + 2)
    assert not any(held(one_node.gauges()).values())
