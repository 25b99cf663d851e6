"""One real node a module, and two viewers of it who must never notice what the others do.

A module that uses them runs in one event loop: `pytest.mark.asyncio(loop_scope="module")`.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import aiohttp
import pytest
import pytest_asyncio

from tests.nodes.harness import Node
from tests.room_client import RoomClient, table

PAGES = 50


class Others:
    """A room in which one turns pages and another one watches, on connections that must last."""

    def __init__(self, url: str) -> None:
        self.room = str(uuid.uuid4())
        self.one, self.two = RoomClient(url, self.room), RoomClient(url, self.room)
        self._url = url
        self._turns = itertools.cycle([*range(2, PAGES + 1), 1])

    async def __aenter__(self) -> Self:
        async with (
            aiohttp.ClientSession() as session,
            session.put(
                f"{self._url}/api/rooms/{self.room}/document",
                params={"name": "trips.tsv"},
                data=table(PAGES * 100),
            ) as answer,
        ):
            assert answer.status == 200, await answer.text()
        for client in (self.one, self.two):
            await client.connect()
            await client.shows(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in (self.one, self.two):
            await client.close()

    async def go_on(self, turns: int = 1) -> None:
        """Pages are turned and seen, by both."""
        for _ in range(turns):
            page_no = next(self._turns)
            await self.one.say("page", page_no=page_no)
            for client in (self.one, self.two):
                await client.shows(page_no)


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """What the module's node runs by; a module may have its own."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]
) -> AsyncIterator[Node]:
    directory: Path = tmp_path_factory.mktemp("node")
    node = Node("alone", directory, settings=settings)
    await node.start()
    yield node
    node.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def others(node: Node) -> AsyncIterator[Others]:
    async with Others(node.url) as others:
        yield others
