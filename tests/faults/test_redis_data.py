"""Redis loses data, goes back in time, or is full: everyone agrees on what there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.faults.copies import Copy
from tests.faults.watcher import Watcher, agree
from tests.faults.world import PATIENCE, World
from tests.room_client import table

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture
async def watchers(world: World) -> list[Watcher]:
    await world.put()
    return await world.watchers()


# Three changes are lost; others, who did not see them, make so many instead.
FORKS = pytest.mark.parametrize(
    "changes",
    [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 3, 4],
)


async def talk(watchers: list[Watcher], *bodies: str, page_no: int) -> None:
    """Say things and turn the page; everyone has it."""
    for body in bodies:
        await watchers[0].chats(body)
    await watchers[-1].say("page", page_no=page_no)
    await agree(
        watchers,
        PATIENCE,
        lambda w: w.page_no == page_no and w.said[len(w.said) - len(bodies) :] == list(bodies),
    )


# Redis is restarted


async def test_what_was_acknowledged_is_there_after_a_restart_with_the_data(
    world: World, watchers: list[Watcher]
) -> None:
    await talk(watchers, "before", page_no=4)
    before = watchers[0].shown
    await asyncio.to_thread(world.redis.restart, keep_data=True)
    await watchers[0].waits(lambda w: w.degradations[-1:] == [False], PATIENCE)
    await agree(watchers, world.by("Redis restarted"))
    assert watchers[0].shown == before
    await talk(watchers, "after", page_no=5)
    assert watchers[0].epoch == before["epoch"]


async def test_after_a_restart_without_the_data_all_see_an_empty_room(
    world: World, watchers: list[Watcher]
) -> None:
    await talk(watchers, "gone for good", page_no=4)
    await asyncio.to_thread(world.redis.restart, keep_data=False)
    await agree(
        watchers,
        world.by("Redis restarted"),
        lambda w: w.registers == {} and w.said == [] and w.rev == 0,
    )
    await world.put(name="newer")
    await agree(watchers, PATIENCE, lambda w: w.registers.get("upload") is None and w.page_no == 1)
    await talk(watchers, "anew", page_no=2)


# It has an older state than everyone has seen


@pytest.mark.usefixtures("comparing")
async def test_a_revision_that_went_back_is_noticed_and_everyone_goes_back_together(
    world: World, watchers: list[Watcher]
) -> None:
    await talk(watchers, "kept", page_no=2)
    copy = await Copy.of(world.raw, world.key)
    epoch = watchers[0].epoch
    await talk(watchers, "lost", "lost too", page_no=9)
    await copy.restore()
    await agree(
        watchers,
        world.by("revision went back"),
        lambda w: w.epoch != epoch and w.said == ["kept"] and w.page_no == 2,
    )
    await talk(watchers, "and on", page_no=3)


@pytest.mark.usefixtures("comparing")
async def test_whoever_comes_after_it_went_back_sees_what_the_others_come_to_see(
    world: World, watchers: list[Watcher]
) -> None:
    await talk(watchers, "kept", page_no=2)
    copy = await Copy.of(world.raw, world.key)
    await talk(watchers, "lost", page_no=9)
    await copy.restore()
    late = [await world.watch(0), await world.watch(1)]
    await agree([*watchers, *late], world.by("revision went back"), lambda w: w.said == ["kept"])


@FORKS
async def test_a_room_that_went_back_and_came_as_far_again_is_not_taken_for_the_same(
    world: World, watchers: list[Watcher], changes: int
) -> None:
    """Others, who had not seen what was lost, have gone on from the older state meanwhile."""
    await talk(watchers, "kept", page_no=2)
    copy = await Copy.of(world.raw, world.key)
    await talk(watchers, "lost", "lost too", page_no=9)
    for proxy in world.proxies:
        proxy.refuse()
        proxy.reset()
    await copy.restore()
    stranger = await world.stranger()
    for number in range(changes):
        await stranger.append(world.room, chat=_said(f"new {number}"))
    for proxy in world.proxies:
        proxy.heal()
    new = [f"new {number}" for number in range(changes)]
    await agree(
        watchers,
        world.by("revision went back"),
        lambda w: w.said == ["kept", *new] and w.page_no == 2,
    )
    await talk(watchers, "and on", page_no=3)


@FORKS
async def test_it_is_noticed_too_where_no_connection_broke(
    world: World, watchers: list[Watcher], changes: int
) -> None:
    await talk(watchers, "kept", page_no=2)
    copy = await Copy.of(world.raw, world.key)
    await talk(watchers, "lost", "lost too", page_no=9)
    stranger = await world.stranger()
    await copy.restore()
    for number in range(changes):
        await stranger.append(world.room, chat=_said(f"new {number}"))
    new = [f"new {number}" for number in range(changes)]
    await agree(
        watchers,
        world.by("revision went back"),
        lambda w: w.said == ["kept", *new] and w.page_no == 2,
    )


@pytest.mark.usefixtures("comparing")
async def test_the_same_copy_restored_again_and_again_leaves_nobody_behind(
    world: World, watchers: list[Watcher]
) -> None:
    await talk(watchers, "kept", page_no=2)
    copy = await Copy.of(world.raw, world.key)
    for round in range(3):
        await talk(watchers, f"lost {round}", page_no=3 + round)
        await copy.restore()
        await agree(
            watchers,
            world.by("revision went back"),
            lambda w: w.said == ["kept"] and w.page_no == 2,
        )


async def test_rows_that_were_lost_are_not_shown_in_place_of_those_that_came_instead(
    world: World, watchers: list[Watcher]
) -> None:
    """All nodes have read the lost ones, and others have their numbers now."""
    await talk(watchers, page_no=10)
    copy = await Copy.of(world.raw, world.key)
    epoch = watchers[0].epoch
    await add_rows(world, "lost", node=0)
    await talk(watchers, page_no=11)
    assert [row[1] for row in watchers[1].page["data"]] == ["lost"] * 3
    stranger = await world.stranger()
    await copy.restore()
    # Somebody else's change tells everyone that it went back.
    await stranger.append(world.room, chat=_said("look"))
    await agree(
        watchers,
        world.by("revision went back"),
        lambda w: w.epoch != epoch and w.page_no == 10 and w.said == ["look"],
    )
    await add_rows(world, "instead", node=1)
    await talk(watchers, page_no=11)
    for watcher in watchers:
        assert [row[1] for row in watcher.page["data"]] == ["instead"] * 3


async def add_rows(world: World, word: str, *, node: int) -> None:
    rows = "".join(f"{number}\t{word}\t{word}\n" for number in range(1001, 1004))
    await world.ask("POST", "/document/rows", data=rows.encode(), node=node)


# It is full


@pytest.fixture
async def full(world: World, watchers: list[Watcher]) -> AsyncIterator[None]:
    """Redis takes no more bytes."""
    await world.raw.config_set("maxmemory-policy", "noeviction")
    await world.raw.config_set("maxmemory", "1mb")
    yield
    await world.raw.config_set("maxmemory", "0")


@pytest.mark.usefixtures("full")
async def test_while_redis_is_full_uploads_and_chat_are_refused_with_the_reason_and_viewing_goes_on(
    world: World, watchers: list[Watcher]
) -> None:
    refusal = await world.ask("PUT", "/document?name=t.tsv", status=507, data=table(5_000))
    assert refusal["code"] == "storage_full"
    assert refusal["retry"] is True
    refusal = await world.ask("POST", "/chat", status=507, json={"body": "no room for this"})
    assert refusal["code"] == "storage_full"
    await talk(watchers, page_no=7)
    late = await world.watch(1)
    await agree([*watchers, late], world.by("Redis full"), lambda w: w.page_no == 7)
    assert watchers[0].registers["document"]["version"] == 1
    assert watchers[0].registers.get("upload") is None
    assert all(True not in w.degradations for w in watchers)
    await world.raw.config_set("maxmemory", "0")
    await world.put(name="newer")
    await agree(watchers, PATIENCE, lambda w: "newer 1" in w.header)
    await watchers[0].chats("room again")
    await agree(watchers, PATIENCE, lambda w: w.said == ["room again"])


# Internal


def _said(body: str) -> dict[str, Any]:
    return {"id": body, "name": "Otter", "color": 1, "time": 0, "body": body}
