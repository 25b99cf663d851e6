"""What happens between a viewer and its node is the viewer's alone, who comes back to the newest.

A viewer that stops reading, vanishes, is slow or sleeps costs the others nothing.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from tests.faults.conftest import StartWorld
from tests.faults.proxy import FaultProxy
from tests.faults.watcher import Watcher, agree
from tests.faults.world import PATIENCE, World
from tests.nodes.harness import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

QUICKLY = {"heartbeat": 0.3, "stall_timeout": 0.6}
# A viewer that takes nothing is given up after 30 s, before three heartbeats are over (45 s).
GIVEN_UP = 40.0
ROWS = 4_000


def heavy() -> bytes:
    """A table whose pages have some 80 KB that cannot be deflated to much less than half."""
    dice = random.Random(1)
    lines = ["\t".join(f"column {number}" for number in range(12))]
    lines += ("\t".join(f"{dice.getrandbits(256):x}" for _ in range(12)) for _ in range(ROWS))
    return "\n".join([*lines, ""]).encode()


@pytest.fixture(params=["here", pytest.param("processes", marks=pytest.mark.slow)])
async def hasty(
    request: pytest.FixtureRequest, start_here: StartWorld, start_processes: StartWorld
) -> World:
    """Nodes that are soon out of patience with a viewer; with processes as they usually are."""
    if request.param == "here":
        here: World = await start_here(**QUICKLY)
        return here
    processes: World = await start_processes()
    return processes


@pytest.fixture(params=["here", pytest.param("processes", marks=pytest.mark.slow)])
async def stern(
    request: pytest.FixtureRequest, start_here: StartWorld, start_processes: StartWorld
) -> World:
    """The same, but patient with those who only say nothing."""
    started: World
    if request.param == "here":
        started = await start_here(stall_timeout=QUICKLY["stall_timeout"])
    else:
        started = await start_processes()
    return started


@pytest.fixture
async def far_away() -> AsyncIterator[FaultProxy]:
    """What stands between a viewer and the first node, once `at_a_distance` has said which."""
    async with FaultProxy(0) as proxy:
        yield proxy


async def at_a_distance(world: World, proxy: FaultProxy) -> Watcher:
    proxy.target = int(world.urls[0].rpartition(":")[2])
    return await world.watch(url=f"http://127.0.0.1:{proxy.port}")


async def leaf(watchers: list[Watcher], pages: int) -> None:
    """Turn pages as fast as everyone can follow; the last one is page 2."""
    for number in range(pages):
        await watchers[0].say("page", page_no=3 + number % 30)
        await asyncio.sleep(0.04)
    await watchers[0].say("page", page_no=2)
    await agree(watchers, PATIENCE, lambda w: w.page_no == 2)


async def test_a_viewer_that_stops_reading_is_ended_and_the_others_notice_nothing(
    stern: World, far_away: FaultProxy
) -> None:
    await stern.ask("PUT", "/document?name=heavy.tsv", data=io.BytesIO(heavy()))
    others = await stern.watchers()
    stalled = await at_a_distance(stern, far_away)
    await agree([*others, stalled], PATIENCE, lambda w: w.here == 3)
    far_away.stall(to_client=True, to_server=False)
    # Until the node gives it up, whatever it is sent piles up in buffers that are bounded.
    async with asyncio.timeout(min(GIVEN_UP, stern.by("viewer vanished"))):
        while others[0].here == 3:
            await leaf(others, 30)
    assert all(w.losses == 0 for w in others)
    far_away.heal()
    far_away.reset()
    await agree([*others, stalled], stern.by("viewer stalled") + PATIENCE, lambda w: w.here == 3)


async def test_a_viewer_that_vanishes_without_a_close_is_not_counted_for_long(
    hasty: World, far_away: FaultProxy
) -> None:
    await hasty.put()
    others = await hasty.watchers()
    vanished = await at_a_distance(hasty, far_away)
    await agree([*others, vanished], PATIENCE, lambda w: w.here == 3)
    far_away.stall()
    for watcher in others:
        await watcher.waits(lambda w: w.here == 2, hasty.by("viewer vanished"))


async def test_over_a_slow_link_the_newest_comes_and_what_was_between_does_not(
    world: World, far_away: FaultProxy
) -> None:
    await world.ask("PUT", "/document?name=heavy.tsv", data=io.BytesIO(heavy()))
    others = await world.watchers()
    slow = await at_a_distance(world, far_away)
    await agree([*others, slow], PATIENCE)
    far_away.slow(rate=400_000, latency=0.01)
    seen = len(slow.seen)
    await leaf(others, 25)
    await agree([*others, slow], world.by("slow link"), lambda w: w.page_no == 2)
    pages = [told for told in slow.seen[seen:] if told["type"] == "page"]
    assert 1 <= len(pages) < 25
    assert slow.losses == 0


async def test_a_laptop_that_sleeps_wakes_to_the_newest(hasty: World, far_away: FaultProxy) -> None:
    await hasty.put()
    others = await hasty.watchers()
    laptop = await at_a_distance(hasty, far_away)
    await agree([*others, laptop], PATIENCE, lambda w: w.here == 3)
    far_away.stall()
    await others[0].waits(lambda w: w.here == 2, hasty.by("viewer vanished"))
    await others[0].say("page", page_no=9)
    await others[1].chats("while you slept")
    far_away.heal()
    await agree(
        [*others, laptop],
        hasty.by("laptop woke"),
        lambda w: w.page_no == 9 and w.said == ["while you slept"] and w.here == 3,
    )
    assert laptop.losses == 1


@pytest.mark.slow
async def test_a_program_that_was_stopped_for_long_wakes_to_the_newest(
    start_here: StartWorld,
) -> None:
    """The same with a real process that gets no time at all for a while."""
    world = await start_here(heartbeat=0.5)
    await world.put()
    others = await world.watchers()
    sleeper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.sleeper", world.urls[0], world.room),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        await shows(sleeper, 1, [])
        sleeper.send_signal(signal.SIGSTOP)
        await others[0].waits(lambda w: w.here == 2, PATIENCE)
        await others[0].say("page", page_no=9)
        await others[1].chats("while you slept")
        sleeper.send_signal(signal.SIGCONT)
        await shows(sleeper, 9, ["while you slept"])
    finally:
        sleeper.kill()
        await sleeper.wait()


async def shows(program: asyncio.subprocess.Process, page_no: int, said: list[str]) -> None:
    """Read what the program prints until it shows this."""
    assert program.stdout is not None
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            shown = json.loads(await program.stdout.readline())
            if (shown["page_no"], shown["said"]) == (page_no, said):
                return


async def test_connections_that_are_reset_again_and_again_do_not_lose_anything(
    world: World, far_away: FaultProxy
) -> None:
    await world.put()
    others = await world.watchers()
    shaky = await at_a_distance(world, far_away)
    for number in range(6):
        await agree([*others, shaky], PATIENCE)
        (far_away.reset if number % 2 else far_away.cut)()
        await shaky.lost(number + 1, PATIENCE)
        await others[0].chats(f"{number}")
        await others[0].say("page", page_no=2 + number)
    await agree(
        [*others, shaky],
        world.by("laptop woke"),
        lambda w: w.said == [f"{number}" for number in range(6)] and w.page_no == 7,
    )
    assert shaky.losses == 6
