"""What tests of all parts share: a Redis, a stack of real processes, a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.nodes.harness import Stack, require
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext

CHROMIUM = [
    # The sandbox needs what containers and root lack; nothing but our own pages is shown.
    "--no-sandbox",
    "--disable-gpu",
    # Nothing but the pages under test: no look-ups, updates or downloads of the browser's own.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    # A window behind another one is still a viewer; it must not be slowed down.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]

StartStack = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a browser share the event loop that its connection lives on."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One real Redis for the whole run. A test that kills or empties it starts one of its own."""
    require("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """`await start_stack(nodes=3, settings={...})`: Redis, nodes, Nginx; ended after the test."""
    with ExitStack() as ending:

        async def start(**options: Any) -> Stack:
            directory = tmp_path / f"stack-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            stack = Stack(directory, **options)
            ending.callback(stack.close)
            return await stack.__aenter__()

        yield start


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a screen, for the whole run.

    The headless shell is the same engine without the windows of a desktop browser, each of which
    would cost several processes of its own.
    """
    from playwright.async_api import async_playwright

    program = (
        os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or require("chromium")
    )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def new_window(browser: Browser) -> AsyncIterator[Callable[..., Any]]:
    """`await new_window(**options)`: a window (context) of its own, closed after the test."""
    contexts: list[BrowserContext] = []

    async def window(**options: Any) -> BrowserContext:
        contexts.append(await browser.new_context(**options))
        return contexts[-1]

    yield window
    for context in contexts:
        await context.close()
