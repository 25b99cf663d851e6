"""A room that is used lives on with all that it can show, whichever door is the only one used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from server.accept.files import store
from server.live import keeper
from tests.accept.client import Node, memory
from tests.room_client import PATIENCE, table


class Kept:
    """A node of whose rooms it is known what lived on since the last look."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.room = ""
        self.key = ""
        self.ids: set[str] = set()
        self.news = asyncio.Event()

    async def until(self, ids: set[str]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.ids >= ids:
                self.news.clear()
                await self.news.wait()

    async def put(self, rows: int) -> str:
        return str((await self.node.put(table(rows), room=self.room))["id"])

    async def ask(self, method: str, path: str, body: object) -> None:
        async with self.node.http.request(
            method,
            f"/api/rooms/{self.room}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.key}"},
        ) as response:
            assert response.status < 300, await response.text()


@pytest.fixture
async def kept(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    """Whatever is prolonged seldom is prolonged each time."""
    monkeypatch.setattr(keeper, "KEEP_INTERVAL", 0.0)
    monkeypatch.setattr(store, "KEEP_INTERVAL", 0.0)
    backend = memory()
    async with Node(backend, {}) as node:
        kept = Kept(node)
        original = backend.keep

        async def keep(room: str, documents: Sequence[str]) -> None:
            kept.ids |= set(documents)
            kept.news.set()
            await original(room, documents)

        monkeypatch.setattr(backend, "keep", keep)
        async with node.http.post("/api/rooms") as response:
            made = await response.json()
        kept.room, kept.key = made["uuid"], made["key"]
        yield kept


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/chat", {"body": "hello"}),
        ("GET", "/chat", None),
        ("PUT", "/mode", {"mode": "presenting"}),
        ("PUT", "/mode", {"mode": "open"}),
        ("POST", "/keys", None),
        ("DELETE", "/keys", None),
        ("PUT", "/life", {"seconds": 60}),
        ("PUT", "/page", {"page_no": 1}),
    ],
)
async def test_each_door_lets_all_versions_live_on(
    kept: Kept, method: str, path: str, body: object
) -> None:
    ids = {await kept.put(rows) for rows in (1, 2)}
    kept.ids.clear()
    await kept.ask(method, path, body)
    assert kept.ids == ids


async def test_a_room_into_which_files_are_only_sent_keeps_its_versions(kept: Kept) -> None:
    first, second = [await kept.put(rows) for rows in (1, 2)]
    kept.ids.clear()
    third = await kept.put(3)
    assert kept.ids == {first, second, third}


async def test_while_a_file_arrives_for_hours_what_was_there_before_lives_on(kept: Kept) -> None:
    before = await kept.put(1)
    kept.ids.clear()
    go_on = asyncio.Event()

    async def file() -> AsyncIterator[bytes]:
        yield table(5_000)
        await go_on.wait()

    sending = asyncio.create_task(kept.node.put(file(), room=kept.room))
    await kept.until({before})
    go_on.set()
    await asyncio.wait_for(sending, PATIENCE)
