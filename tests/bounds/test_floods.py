"""Whoever says all that its connection takes costs its node little, and the others are served."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.bounds.clients import FLOODS, Flood, heavy
from tests.bounds.crowds import watched
from tests.bounds.limits import FLOODED_ROOM, FLOODING_VIEWER
from tests.bounds.measured import Measured, tell

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(120)]

FLOODERS = 20
SECONDS = 1.25


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_words_costs_little_and_the_others_are_served(
    fresh_node: Measured, ending: ExitStack, kind: str
) -> None:
    node = fresh_node
    room = node.put(heavy(2_500))
    tasks = node.gauge("tasks")
    crowd = watched(node, room, ending)
    before = node.rested()
    flood = Flood(node.port, room, FLOODERS, FLOODS[kind]())
    ending.callback(flood.leave)
    flood.go_on(SECONDS)
    if kind not in ("page turns", "uploads", "corrections"):
        crowd.turn(7)
    flood.leave()
    crowd.close()
    node.until_empty(tasks)
    growth = node.most - before
    tell(f"a flood of {kind} by {FLOODERS}: {growth:,} bytes; {flood.sent:,} were taken")
    assert flood.sent
    assert growth <= FLOODED_ROOM + FLOODERS * FLOODING_VIEWER
