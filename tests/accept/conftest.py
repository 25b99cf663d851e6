"""Nodes on the in-memory backend, and on Redis where that is cheap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.accept.client import Node, fake_redis, memory

StartNode = Callable[..., Any]


@pytest.fixture
async def start_node() -> AsyncIterator[StartNode]:
    """`await start_node(backend, setting=...)`: a node that is ended after the test."""
    async with AsyncExitStack() as ending:

        async def start(backend: Any = None, **settings: Any) -> Node:
            return await ending.enter_async_context(Node(backend or memory(), settings))

        yield start


@pytest.fixture
async def node(start_node: StartNode) -> Node:
    started: Node = await start_node()
    return started


@pytest.fixture(params=["memory", "fakeredis"])
async def any_node(request: pytest.FixtureRequest, start_node: StartNode) -> Node:
    """A node on each kind of backend in turn."""
    backend = memory() if request.param == "memory" else fake_redis()
    # Whoever leaves in the middle of an upload is not waited for long.
    started: Node = await start_node(backend, upload_pause=0.5)
    return started
