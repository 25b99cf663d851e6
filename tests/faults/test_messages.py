"""A published change is lost, or comes twice, late or out of order: all end up with the same."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.faults.proxy import FaultProxy, Kind
from tests.faults.watcher import Watcher, agree
from tests.faults.world import PATIENCE, World

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture
async def watchers(world: World) -> list[Watcher]:
    """Viewers of a table on both nodes; what is harmed is what the first node hears."""
    await world.put()
    return await world.watchers()


@pytest.fixture
def harmed(world: World) -> FaultProxy:
    return world.proxies[0]


async def until_held(proxy: FaultProxy, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while proxy.held < count:
            await asyncio.sleep(0.01)


async def test_a_change_that_is_lost_is_made_up_for_by_the_next_one(
    world: World, watchers: list[Watcher], harmed: FaultProxy
) -> None:
    harmed.lose()
    await watchers[1].chats("lost on the way")
    await watchers[1].waits(lambda w: w.said == ["lost on the way"], PATIENCE)
    assert watchers[0].said == []
    await watchers[1].say("page", page_no=3)
    await agree(
        watchers,
        world.by("message lost, then a change"),
        lambda w: w.page_no == 3 and w.said == ["lost on the way"],
    )
    assert watchers[0].degradations[1:] == [], "one room's loss is no reason to alarm anybody"


@pytest.mark.usefixtures("comparing")
async def test_a_change_that_is_lost_and_was_the_last_one_is_found_by_comparing(
    world: World, watchers: list[Watcher], harmed: FaultProxy
) -> None:
    harmed.lose()
    await watchers[1].say("page", page_no=6)
    await agree(watchers, world.by("message lost"), lambda w: w.page_no == 6)


@pytest.mark.usefixtures("comparing")
async def test_the_loss_of_ones_own_change_is_found_too(
    world: World, watchers: list[Watcher], harmed: FaultProxy
) -> None:
    harmed.lose(2)
    await watchers[0].say("page", page_no=6)
    await watchers[0].chats("did you hear me?")
    await agree(
        watchers,
        world.by("message lost"),
        lambda w: w.page_no == 6 and w.said == ["did you hear me?"],
    )


async def test_a_change_that_comes_twice_is_taken_once(
    world: World, watchers: list[Watcher], harmed: FaultProxy
) -> None:
    harmed.duplicate(3)
    for body in ("one", "two", "three"):
        await watchers[1].chats(body)
    await watchers[0].say("page", page_no=2)
    await agree(
        watchers,
        world.by("message twice or late"),
        lambda w: w.page_no == 2 and w.said == ["one", "two", "three"],
    )


@pytest.mark.parametrize("order", ["late", "backwards"])
async def test_changes_that_come_late_or_backwards_leave_nobody_behind(
    world: World, watchers: list[Watcher], harmed: FaultProxy, order: str
) -> None:
    harmed.hold()
    for number in range(2, 6):
        await watchers[1].say("page", page_no=number)
        await watchers[1].turned_to(number, PATIENCE)
    await until_held(harmed, 4)
    harmed.release(backwards=order == "backwards")
    await agree(watchers, world.by("message twice or late"), lambda w: w.page_no == 5)


@pytest.mark.usefixtures("comparing")
async def test_what_comes_after_the_room_was_read_anew_changes_nothing_back(
    world: World, watchers: list[Watcher], harmed: FaultProxy
) -> None:
    harmed.hold()
    await watchers[1].say("page", page_no=4)
    await watchers[1].say("page", page_no=8)
    # The comparison of revisions finds page 8 long before the messages come.
    await agree(watchers, world.by("message lost"), lambda w: w.page_no == 8)
    rev = watchers[0].rev
    harmed.release()
    await watchers[1].chats("after all")
    await agree(watchers, world.by("message twice or late"), lambda w: w.said == ["after all"])
    assert watchers[0].page_no == 8
    assert watchers[0].rev == rev + 1


@pytest.mark.usefixtures("comparing")
async def test_in_any_mix_of_faults_all_show_the_same_in_the_end(
    world: World, watchers: list[Watcher], harmed: FaultProxy
) -> None:
    dice = random.Random(5)
    bodies = [f"message {number}" for number in range(40)]
    for number, body in enumerate(bodies):
        match dice.randrange(8):
            case 0:
                harmed.lose(dice.randrange(1, 3))
            case 1:
                harmed.duplicate()
            case 2:
                harmed.hold()
            case 3:
                harmed.release(backwards=True)
            case 4 if number % 3 == 0:
                world.proxies[1].cut(Kind.PUBSUB)
        speaker = watchers[number % 2]
        # Ten at once and five a second may be said by one viewer.
        async with asyncio.timeout(PATIENCE):
            id = await speaker.chats(body)
            while not await _is_said(world, id):
                await asyncio.sleep(0.15)
                await speaker.say("chat", id=id, body=body)
        await speaker.say("page", page_no=1 + number % 10)
    harmed.heal()
    await agree(watchers, world.by("message lost"), lambda w: w.said == bodies)


async def _is_said(world: World, id: str) -> bool:
    chat = await world.ask("GET", "/chat")
    return any(said["id"] == id for said in chat["messages"])
