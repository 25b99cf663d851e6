"""A viewer costs its node so much and no more, whatever it does; it leaves, and costs nothing."""

from __future__ import annotations

import zlib
from contextlib import ExitStack

import pytest

from tests.bounds.clients import close_all, heavy, stalled
from tests.bounds.conftest import StartNode
from tests.bounds.crowds import OTHERS, gather, leaf, watched
from tests.bounds.limits import IDLE_VIEWER, STALLED_VIEWER
from tests.bounds.measured import Measured, held, tell

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(120)]


def page_bytes(node: Measured, room: str, *, deflate: bool) -> int:
    """Bytes of a page of the room as a viewer is sent it."""
    plain = node.ask("GET", f"/api/rooms/{room}/pages/2")
    return len(zlib.compress(plain, 6)) if deflate else len(plain)


@pytest.mark.parametrize("deflate", [True, False], ids=["deflated", "plain"])
def test_a_viewer_that_reads_nothing_costs_a_page_and_a_little(
    fresh_node: Measured, ending: ExitStack, deflate: bool
) -> None:
    node, count = fresh_node, 1_000
    room = node.put(heavy(2_500))
    tasks = node.gauge("tasks")
    crowd = watched(node, room, ending)
    before = node.rested()
    sockets = [stalled(node.port, room, deflate=deflate) for _ in range(count)]
    ending.callback(close_all, sockets)
    leaf(crowd, 30)
    node.until(lambda told: told["tablecast_viewers_lagging"] == count)
    leaf(crowd, 30)
    growth = (node.settle() - before) / count
    close_all(sockets)
    crowd.close()
    node.until_empty(tasks)
    page = page_bytes(node, room, deflate=deflate)
    tell(f"a stalled viewer: {growth:,.0f} bytes of memory, of a page of {page:,}")
    assert growth <= STALLED_VIEWER + page


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
    before = node.rested()
    gather(crowd, count)
    cost = (node.settle() - before) / (count - OTHERS)
    leaf(crowd, 3)
    assert node.gauge("viewers") == count
    turned = (node.most - before) / (count - OTHERS)
    crowd.close()
    node.until_empty(tasks)
    # Python keeps what memory they needed, in pieces, and the next ones use it again.
    crowd = watched(node, room, ending)
    gather(crowd, count)
    leaf(crowd, 3)
    again = (node.most - before) / (count - OTHERS)
    tell(f"a viewer: {cost:,.0f} bytes, {turned:,.0f} in turns; of a second crowd {again:,.0f}")
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
