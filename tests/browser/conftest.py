"""What the windows of these tests look at."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.nodes.harness import Node


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """One node without Redis for the whole run: tests make rooms of their own on it.

    A test that stops its node, or wants other settings, starts one.
    """
    node = Node("alone", tmp_path_factory.mktemp("node"))
    await node.start()
    yield node
    node.kill()
