"""A node dies or is asked to go, Nginx is loaded anew: viewers are elsewhere at once, not stale."""

from __future__ import annotations

import asyncio
import re
import signal
import time

import pytest

from tests.faults.conftest import StartWorld
from tests.faults.watcher import Watcher, agree
from tests.faults.world import PATIENCE, WorldOfProcesses
from tests.nodes.harness import require

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(180)]

VIEWERS = 8


@pytest.fixture
async def world(start_processes: StartWorld) -> WorldOfProcesses:
    """Three nodes behind Nginx."""
    require("nginx")
    world: WorldOfProcesses = await start_processes(nodes=3, with_nginx=True)
    return world


@pytest.fixture
async def watchers(world: WorldOfProcesses) -> list[Watcher]:
    """Viewers through Nginx, some on every node."""
    await world.put()
    watchers = [await world.watch(url=world.front) for _ in range(VIEWERS)]
    await agree(watchers, PATIENCE, lambda w: w.here == VIEWERS)
    assert len({w.node for w in watchers}) == 3
    return watchers


async def test_the_viewers_of_a_killed_node_are_on_others_in_time_and_nothing_is_lost(
    world: WorldOfProcesses, watchers: list[Watcher]
) -> None:
    lost = watchers[0].node
    staying = next(w for w in watchers if w.node != lost)
    id = await watchers[0].chats("acknowledged")
    await watchers[0].waits(lambda w: w.said == ["acknowledged"], PATIENCE)
    world.node(lost).kill()
    await staying.say("page", page_no=7)
    await staying.chats("meanwhile")
    await agree(
        watchers,
        world.by("node killed"),
        lambda w: (
            w.page_no == 7
            and w.said == ["acknowledged", "meanwhile"]
            and w.chat[0]["id"] == id
            and w.node != lost
        ),
    )
    # Nobody is counted twice for longer than the lease of the dead node.
    await agree(watchers, PATIENCE, lambda w: w.here == VIEWERS)


async def test_a_node_that_was_killed_comes_back_and_serves_the_newest(
    world: WorldOfProcesses, watchers: list[Watcher]
) -> None:
    lost = world.node(watchers[0].node)
    lost.kill()
    await agree(watchers, PATIENCE, lambda w: w.node != lost.name)
    await watchers[1].say("page", page_no=5)
    await agree(watchers, PATIENCE, lambda w: w.page_no == 5)
    await lost.start()
    late = await world.watch(url=lost.url)
    await agree([*watchers, late], PATIENCE, lambda w: w.page_no == 5)


async def test_a_node_that_drains_sends_its_viewers_away_and_they_are_back_in_time(
    world: WorldOfProcesses, watchers: list[Watcher]
) -> None:
    leaving = world.node(watchers[0].node)
    its = [w for w in watchers if w.node == leaving.name]
    ending = asyncio.create_task(leaving.stop())
    staying = next(w for w in watchers if w not in its)
    await staying.chats("while it drains")
    for watcher in its:
        await watcher.lost(1, PATIENCE)
    await agree(
        watchers,
        world.by("node drained"),
        lambda w: w.said == ["while it drains"] and w.node != leaving.name,
    )
    assert all(w.byes == 1 for w in its), "each was told to come back"
    assert await ending == 0
    assert all(w.losses == 0 for w in watchers if w not in its)


async def test_every_node_in_turn_can_be_restarted_while_people_look(
    world: WorldOfProcesses, watchers: list[Watcher]
) -> None:
    for number, node in enumerate(world.nodes):
        await node.restart()
        await watchers[number].waits(lambda w: w.connected, PATIENCE)
        await watchers[number].chats(f"{number}")
        await agree(watchers, PATIENCE, lambda w: w.said[-1:] == [str(number)])  # noqa: B023
    assert watchers[0].said == ["0", "1", "2"]


async def test_a_frozen_node_holds_up_nobody_else_and_wakes_to_the_newest(
    world: WorldOfProcesses, watchers: list[Watcher]
) -> None:
    frozen = world.node(watchers[0].node)
    others = [w for w in watchers if w.node != frozen.name]
    frozen.pause()
    await others[0].say("page", page_no=3)
    await others[1].chats("while you froze")
    await agree(others, PATIENCE, lambda w: w.page_no == 3 and w.said == ["while you froze"])
    # It is believed for six seconds that its viewers are here.
    await others[0].waits(lambda w: w.here == len(others), PATIENCE)
    frozen.resume()
    await agree(watchers, PATIENCE, lambda w: w.page_no == 3 and w.here == VIEWERS)


async def test_when_nginx_is_loaded_anew_its_viewers_stay_and_new_ones_come(
    world: WorldOfProcesses, watchers: list[Watcher]
) -> None:
    assert world.nginx is not None
    configuration = (world.nginx.prefix / "nginx.conf").read_text()
    patience = re.search(r"worker_shutdown_timeout (\d+)s", configuration)
    assert patience is not None
    world.nginx.signal(signal.SIGHUP)
    began = time.monotonic()
    late = [await world.watch(url=world.front) for _ in range(3)]
    await watchers[0].say("page", page_no=6)
    await late[0].waits(lambda w: w.connected, PATIENCE)
    await late[0].chats("new worker")
    everyone = [*watchers, *late]
    await agree(everyone, PATIENCE, lambda w: w.page_no == 6 and w.said == ["new worker"])
    if time.monotonic() - began < int(patience[1]) / 2:
        assert all(w.losses == 0 for w in watchers)
    # The old worker ends after its time, and its viewers come back through the new one.
    for watcher in watchers:
        await watcher.lost(1, world.by("Nginx reloaded"))
    await watchers[0].waits(lambda w: w.connected, PATIENCE)
    await watchers[0].chats("through the new one")
    await agree(everyone, PATIENCE, lambda w: w.said == ["new worker", "through the new one"])
    # Who came just then may have had the old one too.
    assert all(w.losses <= 1 for w in late)
