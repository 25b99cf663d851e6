"""Who is here: what people say of themselves, where they look, and what telling it costs."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from server.fanout.backend import Present
from server.fanout.memory import MemoryStore
from server.live.people import INTERVAL, LISTED, PAGES
from tests.accept.client import OTHER, ROOM, Node, SocketClient, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.accept.owned import bearer, owned_room
from tests.room_client import PATIENCE, Message, table

# What docs/ARCHITECTURE.md promises of one telling, in bytes.
WITH_LIST = 14 * 1024
WITHOUT_LIST = 1024


def last(viewer: SocketClient) -> Message:
    """Who is here, as this viewer was told last."""
    return next((told for told in reversed(viewer.seen) if told["type"] == "here"), {})


def people(here: Message) -> dict[str, Message]:
    """Those who are listed, by their names."""
    return {person["name"]: person for person in here.get("people") or ()}


async def sees(viewer: SocketClient, wanted: Callable[[Message], bool]) -> Message:
    """Wait until a viewer has been told such a list."""
    await viewer.settles(lambda v: bool(last(v)) and wanted(last(v)))
    return last(viewer)


async def named(node: Node, name: str, color: int, room: str = ROOM) -> SocketClient:
    viewer = await node.join(room)
    await viewer.say("me", name=name, color=color)
    return viewer


def size(value: Any) -> int:
    """Bytes of its JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


async def presence(node: Node, room: str = ROOM) -> Message:
    async with node.http.get(f"/api/rooms/{room}/presence") as response:
        assert response.status == 200
        return dict(await response.json())


async def test_everyone_sees_who_is_here_and_where(start_node: StartNode) -> None:
    store = MemoryStore()
    first, second = await start_node(memory(store)), await start_node(memory(store))
    await first.put(table(1000))
    otter, heron = await named(first, "Otter", 3), await named(second, "Heron", 4)
    await heron.say("peek", page_no=7)
    for viewer in (otter, heron):
        here = await sees(viewer, lambda h: h["pages"] == {"1": 1, "7": 1} and len(people(h)) == 2)
        assert here["count"] == 2
        assert people(here)["Otter"] == {
            "id": otter.hello["viewer"],
            "name": "Otter",
            "color": 3,
            "page_no": 1,
            "browsing": False,
            "role": "guest",
        }
        heron_there = people(here)["Heron"]
        assert (heron_there["page_no"], heron_there["browsing"]) == (7, True)
    await otter.turn(5)
    await sees(heron, lambda h: h["pages"] == {"5": 1, "7": 1})
    await heron.say("follow")
    here = await sees(otter, lambda h: h["pages"] == {"5": 2})
    assert not people(here)["Heron"]["browsing"]


async def test_programs_are_told_the_same(start_node: StartNode) -> None:
    store = MemoryStore()
    nodes = [await start_node(memory(store)) for _ in range(2)]
    await nodes[0].put(table(1000))
    assert await presence(nodes[0]) == {"count": 0, "people": [], "pages": {}}
    viewers = [
        await named(node, name, 3) for node, name in zip(nodes, ("Otter", "Heron"), strict=True)
    ]
    await viewers[1].say("peek", page_no=7)
    here = await sees(viewers[0], lambda h: h["pages"] == {"1": 1, "7": 1} and len(people(h)) == 2)
    for node in nodes:
        async with asyncio.timeout(PATIENCE):
            while (told := await presence(node))["pages"] != here["pages"]:
                await asyncio.sleep(0.02)
        assert people(told) == people(here)
        assert set(told) == {"count", "people", "pages"}
    assert await presence(nodes[0], OTHER) == {"count": 0, "people": [], "pages": {}}


async def test_a_role_is_seen_by_all(node: Node) -> None:
    room = await owned_room(node)
    guest = await named(node, "Otter", 3, room.uuid)
    presenter = await node.join(room.uuid, bearer(room.presenter))
    await presenter.say("me", name="Heron")
    here = await sees(guest, lambda h: set(people(h)) == {"Otter", "Heron"})
    assert {name: each["role"] for name, each in people(here).items()} == {
        "Otter": "guest",
        "Heron": "presenter",
    }


async def test_without_a_table_nobody_is_on_a_page(node: Node) -> None:
    viewer = await named(node, "Otter", 3)
    here = await sees(viewer, lambda h: "Otter" in people(h))
    assert here["pages"] == {}
    assert people(here)["Otter"]["page_no"] is None


# Names


async def test_a_name_is_cleaned_before_anyone_sees_it(node: Node) -> None:
    viewer, other = await node.join(), await node.join()
    for typed, name in (
        ("Zoe\u0308", "Zoë"),
        ("Ot\u202eter\u2066\u200b", "Otter"),
        ("a\nb\x00c", "a bc"),
        ("x" * 300, "x" * 40),
        ("\u200b\u3164", "Guest"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ):
        await viewer.say("me", name=typed)
        here = await sees(
            other,
            lambda h, name=name: any(
                p["name"] == name and p["id"] == viewer.hello["viewer"] for p in h["people"]
            ),
        )
        assert here["count"] == 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": None},
        {"name": 5},
        {"name": ["Otter"]},
        {"name": {"toString": "Otter"}},
        {"name": "Otter", "color": 10},
        {"name": "Otter", "color": -1},
        {"name": "Otter", "color": 10**30},
        {"name": "Otter", "color": 1.5},
        {"name": "Otter", "color": "3"},
    ],
)
async def test_who_says_nonsense_of_itself_stays_who_it_was(
    node: Node, fields: Mapping[str, Any]
) -> None:
    viewer = await named(node, "Heron", 4)
    await viewer.say("me", **fields)
    error = await viewer.expect_error("bad_message")
    assert error["about"] == "me"
    here = await sees(await node.join(), lambda h: "Heron" in people(h))
    assert people(here)["Heron"]["color"] == 4


async def test_nobody_is_somebody_else(node: Node) -> None:
    otter, liar = await named(node, "Otter", 3), await node.join()
    lie = {"id": otter.hello["viewer"], "viewer": otter.hello["viewer"], "role": "owner"}
    await liar.say("me", name="Liar", page_no=9, browsing=True, **lie)
    here = await sees(otter, lambda h: "Liar" in people(h))
    assert people(here)["Liar"]["id"] == liar.hello["viewer"]
    assert people(here)["Liar"]["role"] == "guest"
    assert not people(here)["Liar"]["browsing"]
    assert people(here)["Otter"]["id"] == otter.hello["viewer"]


@pytest.mark.parametrize(
    "page_no", [0, -1, 11, 10**30, -(10**30), 10**4000], ids=lambda n: f"{n}"[:9]
)
async def test_nobody_looks_at_a_page_that_there_is_not(node: Node, page_no: int) -> None:
    await node.put(table(1000))
    viewer = await named(node, "Otter", 3)
    await viewer.say("peek", page_no=page_no)
    error = await viewer.expect_error("page_out_of_range")
    assert error["about"] == "peek"
    here = await sees(viewer, lambda h: "Otter" in people(h) and h["pages"] == {"1": 1})
    assert not people(here)["Otter"]["browsing"]


async def test_names_may_change_so_often_and_no_more(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.accept.meeting.RATE", 1e-6)
    viewer = await node.join()
    for number in range(11):
        await viewer.say("me", name=f"Otter {number}")
    error = await viewer.expect_error("rate_limited")
    assert error["about"] == "me"
    await sees(viewer, lambda h: "Otter 9" in people(h))


# Who has left


@pytest.mark.parametrize("way", ["says goodbye", "vanishes"])
async def test_who_has_left_is_seen_no_longer(start_node: StartNode, way: str) -> None:
    store = MemoryStore()
    first, second = await start_node(memory(store)), await start_node(memory(store))
    watchers = [await first.join(), await second.join()]
    otter = await named(first, "Otter", 3)
    for watcher in watchers:
        await sees(watcher, lambda h: "Otter" in people(h) and h["count"] == 3)
    await otter.close() if way == "says goodbye" else otter.vanish()
    for watcher in watchers:
        here = await sees(watcher, lambda h: h["count"] == 2)
        assert "Otter" not in people(here)


async def test_the_viewers_of_a_node_that_died_are_forgotten_with_its_lease(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.live.hub.HERE_INTERVAL", 0.2)  # three times a lease, as ever
    store = MemoryStore()
    inner = memory(store, lease=0.6, sweep_every=0.05)
    died = False

    async def present(said: Mapping[str, Present]) -> None:
        if not died:
            await inner.present(said)

    doomed = await start_node(Wrapped(inner, present=present))
    alive = await start_node(memory(store, lease=0.6, sweep_every=0.05))
    otter, heron = await named(doomed, "Otter", 3), await named(alive, "Heron", 4)
    await sees(heron, lambda h: set(people(h)) == {"Otter", "Heron"})
    died = True
    here = await sees(heron, lambda h: "Otter" not in people(h))
    assert here["count"] == 1
    assert (await presence(alive))["count"] == 1
    await otter.close()


# Many


async def test_a_large_room_is_told_in_counts(node: Node) -> None:
    await node.put(table(10_000))
    viewers = [await named(node, f"Otter {n}", n % 10) for n in range(LISTED)]
    here = await sees(viewers[0], lambda h: h["count"] == LISTED and h["people"] is not None)
    assert len(here["people"]) == LISTED
    more = [await node.join() for _ in range(10)]
    here = await sees(viewers[0], lambda h: h["count"] == LISTED + 10)
    assert here["people"] is None
    for number, viewer in enumerate([*viewers, *more]):
        await viewer.say("peek", page_no=number + 2)
    here = await sees(viewers[0], lambda h: len(h["pages"]) == PAGES)
    assert set(here["pages"].values()) == {1}
    for viewer in more:
        await viewer.close()
    here = await sees(viewers[0], lambda h: h["count"] == LISTED and h["people"] is not None)
    assert {person["browsing"] for person in here["people"]} == {True}


@pytest.mark.parametrize("staying", [30, 60], ids=["a list", "counts"])
async def test_what_is_told_of_who_is_here_is_bounded_whatever_people_do(
    start_node: StartNode, staying: int
) -> None:
    """The bound that docs/ARCHITECTURE.md states, while all come, go, turn and rename at once."""
    inner = memory()
    said: list[int] = []

    async def present(each: Mapping[str, Present]) -> None:
        said.extend(size(what.detail) for what in each.values())
        await inner.present(each)

    node = await start_node(Wrapped(inner, present=present))
    await node.put(table(20_000))
    watcher = await node.join()
    viewers = [await node.join() for _ in range(staying)]
    await sees(watcher, lambda h: h["count"] == staying + 1)
    loop = asyncio.get_running_loop()
    stirs = 0

    async def turn(viewer: SocketClient, number: int) -> None:
        nonlocal stirs
        for step in itertools.count():
            await viewer.say("peek", page_no=(number * 7 + step) % 200 + 1)
            await viewer.expect("page", peek=True)
            stirs += 1
            if step % 20 == 0:
                await viewer.say("me", name="🦦" * 35 + f" {number} {step}")

    async def come_and_go() -> None:
        nonlocal stirs
        while True:
            passing = SocketClient(node.url, ROOM)
            try:
                await passing.connect()
            finally:
                await passing.close()
            stirs += 2

    said.clear()
    watcher.seen.clear()
    began = loop.time()
    storm = [asyncio.create_task(turn(viewer, n)) for n, viewer in enumerate(viewers)]
    storm += [asyncio.create_task(come_and_go()) for _ in range(5)]
    try:
        async with asyncio.timeout(4 * PATIENCE):
            # Enough to tell a bound from one telling for each stir.
            while stirs < 600 or not any(told["type"] == "here" for told in watcher.seen):
                await watcher.next()
    finally:
        passed = loop.time() - began
        for task in storm:
            task.cancel()
        done = await asyncio.gather(*storm, return_exceptions=True)
    assert {type(each) for each in done} == {asyncio.CancelledError}, done
    told = [message for message in watcher.seen if message["type"] == "here"]
    # Whatever stood in a buffer when it began comes on top.
    assert len(told) <= passed / INTERVAL + 2
    assert len(said) <= passed / INTERVAL + 2
    for each in told:
        assert size(each) < (WITHOUT_LIST if each["people"] is None else WITH_LIST)
    assert max(said) < (WITH_LIST if staying < LISTED else WITHOUT_LIST)
    assert all((each["people"] is None) == (each["count"] > LISTED) for each in told)
    assert all(len(each["pages"]) <= PAGES for each in told)
