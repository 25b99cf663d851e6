"""The connection between a node and Redis breaks, or is open and dead: nobody is left stale."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.conftest import StartWorld
from tests.faults.proxy import FaultProxy, Kind
from tests.faults.watcher import Watcher, agree
from tests.faults.world import PATIENCE, World

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

BREAKS: dict[str, Callable[[FaultProxy], None]] = {
    "all cut": lambda proxy: proxy.cut(),
    "all reset": lambda proxy: proxy.reset(),
    "subscriber reset": lambda proxy: proxy.reset(Kind.PUBSUB),
    "commands reset": lambda proxy: proxy.reset(Kind.NORMAL),
}


async def told_of_all(world: World, watchers: list[Watcher], page_no: int, body: str) -> None:
    """A page is turned on the last node and something said on the first; everyone has both."""
    await watchers[-1].say("page", page_no=page_no)
    await watchers[0].chats(body)
    await agree(watchers, PATIENCE, lambda w: w.page_no == page_no and body in w.said)


@pytest.mark.parametrize("how", BREAKS)
async def test_whatever_connection_breaks_everyone_shows_the_newest_in_time(
    world: World, how: str
) -> None:
    await world.put()
    watchers = await world.watchers()
    await told_of_all(world, watchers, 2, "before")
    BREAKS[how](world.proxies[0])
    # While node 1 is cut off: nothing of this may pass its viewers by.
    await watchers[1].say("page", page_no=7)
    await watchers[1].chats("meanwhile")
    await agree(
        watchers,
        world.by("connection killed"),
        lambda w: w.page_no == 7 and w.said == ["before", "meanwhile"],
    )
    assert all(w.losses == 0 for w in watchers), (
        "a viewer's own connection has nothing to do with it"
    )
    await told_of_all(world, watchers, 3, "after")


@pytest.mark.parametrize("kind", ["pubsub", "normal", "all"])
async def test_client_kill_is_survived_by_every_connection(world: World, kind: str) -> None:
    await world.put()
    watchers = await world.watchers()
    for type_ in ("pubsub", "normal") if kind == "all" else (kind,):
        await world.redis_does("CLIENT", "KILL", "TYPE", type_, "SKIPME", "yes")
    await watchers[0].say("page", page_no=5)
    await watchers[1].chats("still here")
    await agree(
        watchers,
        world.by("connection killed"),
        lambda w: w.page_no == 5 and w.said == ["still here"],
    )
    assert [error["code"] for w in watchers for error in w.errors] == []


async def test_a_redis_that_cannot_be_reached_is_told_and_its_return_too(world: World) -> None:
    await world.put()
    watchers = await world.watchers()
    proxy = world.proxies[0]
    proxy.refuse()
    proxy.reset()
    await watchers[0].waits(lambda w: w.degraded, PATIENCE)
    assert await world.ready(0) == 503
    assert await world.ready(1) == 200
    await watchers[0].say("page", page_no=2)
    await watchers[0].waits(lambda w: w.errors != [], PATIENCE)
    assert watchers[0].errors[-1]["code"] == "unavailable"
    await watchers[1].say("page", page_no=9)
    proxy.heal()
    await agree(watchers, world.by("Redis restarted"), lambda w: w.page_no == 9)
    assert watchers[0].degradations[-2:] == [True, False]
    assert True not in watchers[1].degradations
    assert await world.ready(0) == 200


@pytest.mark.parametrize("way", ["both", "to_client", "to_server"])
async def test_a_half_open_connection_is_noticed_and_left(world: World, way: str) -> None:
    await world.put()
    watchers = await world.watchers()
    proxy = world.proxies[0]
    proxy.stall(to_client=way != "to_server", to_server=way != "to_client")
    await watchers[1].say("page", page_no=4)
    await watchers[0].waits(lambda w: w.degraded, world.by("connection half-open"))
    await watchers[1].waits(lambda w: w.page_no == 4, PATIENCE)
    proxy.heal()
    await agree(watchers, world.by("connection half-open"), lambda w: w.page_no == 4)
    await told_of_all(world, watchers, 5, "well again")
    assert all(w.losses == 0 for w in watchers)


async def test_a_frozen_redis_is_told_as_degraded_and_then_all_is_well(world: World) -> None:
    await world.put()
    watchers = await world.watchers()
    world.redis.pause()
    try:
        for watcher in watchers:
            await watcher.waits(lambda w: w.degraded, world.by("Redis frozen"))
            assert watcher.connected
    finally:
        world.redis.resume()
    await agree(watchers, world.by("Redis frozen"))
    await told_of_all(world, watchers, 6, "thawed")
    for watcher in watchers:
        assert watcher.degradations[-2:] == [True, False]
        assert watcher.losses == 0


@pytest.mark.slow
async def test_a_page_turned_into_a_frozen_redis_is_shown_to_all_or_to_none(
    start_processes: StartWorld,
) -> None:
    """Whoever gets an error may find that it happened after all; but then it did for everyone."""
    world: World = await start_processes()
    await world.put()
    watchers = await world.watchers()
    world.redis.pause()
    try:
        await watchers[0].say("page", page_no=8)
        await watchers[0].chats("into the cold")
        await watchers[0].waits(lambda w: len(w.errors) == 2, 3 * PATIENCE)
    finally:
        world.redis.resume()
    assert {error["code"] for error in watchers[0].errors} == {"unavailable"}
    await agree(watchers, PATIENCE)
    await told_of_all(world, watchers, 9, "thawed")
    assert watchers[0].said.count("into the cold") <= 1


async def test_a_slow_redis_delays_and_alarms_nobody(world: World) -> None:
    await world.put()
    watchers = await world.watchers()
    world.proxies[0].slow(latency=0.1)
    await told_of_all(world, watchers, 3, "slowly")
    assert all(True not in w.degradations for w in watchers)
