"""After a correction the report is counted again, and never over anything newer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.accept.files import recount as accept_recount
from server.app import HUB, RECOUNTS
from server.errors import Missing
from server.fanout.memory import MemoryStore
from tests.accept.client import ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.room_client import PATIENCE, RoomClient

DIALECT = f"/api/rooms/{ROOM}/dialect"
ROWS = f"/api/rooms/{ROOM}/document/rows"
# By commas every row has two cells; by semicolons each third has one.
PRICES = b"name,price;unit\n" + b"".join(
    b"item %d,%d%s\n" % (n, n, b";kg" if n % 3 else b"") for n in range(1, 30_001)
)


async def correct(node: Node, **wanted: Any) -> dict[str, Any]:
    async with node.http.put(DIALECT, json=wanted) as answer:
        assert answer.status == 200, await answer.text()
        told: dict[str, Any] = await answer.json()
        return told


def report(viewer: RoomClient) -> dict[str, Any]:
    found: dict[str, Any] = viewer.registers["document"]["report"]
    return found


def is_counted(viewer: RoomClient) -> bool:
    return "not_counted" not in report(viewer)["notes"]


def by_semicolons(viewer: RoomClient) -> bool:
    return bool(viewer.registers["document"]["dialect"]["delimiter"] == ";")


class Held:
    """A backend on which a recount's change waits until a test lets it go."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        inner = memory(store)

        async def append(*given: Any, **change: Any) -> Any:
            task = asyncio.current_task()
            if task is not None and task.get_name().startswith("recount"):
                self.reached.set()
                await self.go.wait()
            return await inner.append(*given, **change)

        self.backend: Any = Wrapped(inner, append=append)

    async def counted(self) -> None:
        """Wait until the counts are there and only their change is missing."""
        await asyncio.wait_for(self.reached.wait(), PATIENCE)


async def test_ragged_rows_are_counted_again_by_the_new_delimiter(any_node: Node) -> None:
    document = await any_node.put(PRICES)
    assert (document["dialect"]["delimiter"], document["report"]["ragged"]) == (",", 0)
    viewer = await any_node.join()
    await correct(any_node, delimiter=";")
    await viewer.settles(by_semicolons)
    await viewer.settles(is_counted)
    assert report(viewer)["ragged"] == 10_000
    assert report(viewer)["ragged_records"] == list(range(3, 31, 3))
    assert viewer.registers["document"]["id"] == document["id"]


async def test_characters_that_cannot_be_read_are_counted_again_too(any_node: Node) -> None:
    await any_node.put(b"name\tcity\n" + "Zoë\tKöln\n".encode("cp1252") * 3)
    viewer = await any_node.join()
    assert report(viewer)["replaced"] == 0
    await correct(any_node, encoding="utf-8")
    await viewer.settles(lambda v: report(v)["encoding"] == "utf-8" and is_counted(v))
    assert report(viewer)["replaced"] == 6
    assert "bad_bytes" in report(viewer)["notes"]
    await correct(any_node, encoding="cp1252")
    await viewer.settles(lambda v: report(v)["encoding"] == "cp1252" and is_counted(v))
    assert report(viewer)["replaced"] == 0
    assert "bad_bytes" not in report(viewer)["notes"]


async def test_the_correction_does_not_wait_for_the_count(start_node: StartNode) -> None:
    held = Held()
    node = await start_node(held.backend)
    await node.put(PRICES)
    told = await correct(node, delimiter=";")
    assert told["dialect"]["delimiter"] == ";"
    assert "not_counted" in told["report"]["notes"]
    await held.counted()
    held.go.set()
    viewer = await node.join()
    await viewer.settles(is_counted)


async def test_rows_that_came_while_it_was_counted_are_counted(start_node: StartNode) -> None:
    held = Held()
    node = await start_node(held.backend)
    await node.put(PRICES)
    await correct(node, delimiter=";")
    await held.counted()
    async with node.http.post(ROWS, data=b"one cell\n" * 2 + b"two;cells\n" * 20_000) as answer:
        assert answer.status == 200
    held.go.set()
    viewer = await node.join()
    await viewer.settles(is_counted)
    assert report(viewer)["ragged"] == 10_002
    assert viewer.registers["document"]["rows"] == 50_002


async def test_a_count_never_comes_over_a_newer_correction_or_another_table(
    start_node: StartNode,
) -> None:
    held = Held()
    node = await start_node(held.backend)
    await node.put(PRICES)
    await correct(node, delimiter=";")
    await held.counted()
    told = await correct(node, delimiter="|")
    held.go.set()
    viewer = await node.join()
    await viewer.settles(is_counted)
    document = viewer.registers["document"]
    assert (document["dialect"]["delimiter"], document["columns"]) == ("|", told["columns"])
    assert report(viewer)["ragged"] == 0

    held.reached.clear()
    held.go.clear()
    await correct(node, delimiter=",")
    await held.counted()
    newer = await node.put(b"a\tb\n1\t2\n")
    held.go.set()
    # A change of everyone's page comes after whatever the count still did.
    await viewer.settles(lambda v: v.registers["document"]["id"] == newer["id"])
    await viewer.until_quiet()
    assert viewer.registers["document"] == newer


async def test_a_node_that_ends_does_not_wait_for_a_count(start_node: StartNode) -> None:
    held = Held()
    node = Node(held.backend, {})
    async with node:
        await node.put(PRICES)
        await correct(node, delimiter=";")
        await held.counted()
        async with asyncio.timeout(PATIENCE):
            await node.http.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that counts is believed in for a moment only."""
    monkeypatch.setattr(accept_recount, "CLAIM", 0.2)


async def test_nobody_waits_for_counts_that_came_when_all_had_left(start_node: StartNode) -> None:
    held = Held()
    node = await start_node(held.backend, linger=0)
    await node.put(PRICES)
    viewer = await node.join()
    await correct(node, delimiter=";")
    await viewer.settles(by_semicolons)
    await held.counted()
    recounts = node.app[RECOUNTS]
    assert recounts.waiting == 1
    await viewer.close()
    async with asyncio.timeout(PATIENCE):
        while node.app[HUB].rooms:
            await asyncio.sleep(0.02)
        held.go.set()
        while recounts.waiting:
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("who", ["watches", "comes later"])
async def test_another_node_counts_where_the_one_that_did_has_ended(
    start_node: StartNode, who: str
) -> None:
    store = MemoryStore()
    held = Held(store)
    other = await start_node(memory(store))
    async with Node(held.backend, {}) as node:
        await node.put(PRICES)
        viewers = [await other.join() for _ in range(2 * (who == "watches"))]
        await correct(node, delimiter=";")
        await held.counted()
    viewers += [await other.join()]
    for viewer in viewers:
        await viewer.settles(lambda v: by_semicolons(v) and is_counted(v))
        assert report(viewer)["ragged"] == 10_000


@pytest.mark.usefixtures("soon")
async def test_of_many_nodes_one_counts(start_node: StartNode) -> None:
    store = MemoryStore()
    held = Held(store)
    claimed: list[str] = []

    def counting(name: str) -> Wrapped:
        inner = memory(store)

        async def append(*given: Any, **change: Any) -> Any:
            told = await inner.append(*given, **change)
            if "recount" in change.get("fields", {}):
                claimed.append(name)
            return told

        return Wrapped(inner, append=append)

    others = [await start_node(counting(name)) for name in ("b", "c", "d")]
    async with Node(held.backend, {}) as node:
        await node.put(PRICES)
        viewers = [await other.join() for other in others]
        await correct(node, delimiter=";")
        await held.counted()
    for viewer in viewers:
        await viewer.settles(lambda v: by_semicolons(v) and is_counted(v))
    assert len(claimed) == 1


@pytest.mark.usefixtures("soon")
async def test_what_cannot_be_counted_is_not_tried_for_ever(start_node: StartNode) -> None:
    tried = []
    inner = memory()

    async def get_blocks(*given: Any) -> Any:
        task = asyncio.current_task()
        if task is not None and task.get_name().startswith("recount"):
            tried.append(task)
            raise Missing("A part of this table is gone.")
        return await inner.get_blocks(*given)

    node = await start_node(Wrapped(inner, get_blocks=get_blocks))
    await node.put(PRICES)
    viewer = await node.join()
    await correct(node, delimiter=";")
    async with asyncio.timeout(PATIENCE):
        while len(tried) < accept_recount.TRIES or node.app[RECOUNTS].waiting:
            await asyncio.sleep(0.02)
    await viewer.settles(by_semicolons)
    assert len(tried) == accept_recount.TRIES
    assert not is_counted(viewer)
