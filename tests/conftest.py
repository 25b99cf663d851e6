"""What tests of all parts share: a Redis, a stack of real processes, a browser."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
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

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl+C, and programs hand that on to
    # those that they start: some tests interrupt a program and expect that it ends.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


class Stacks:
    """Starting a stack takes as long as most tests do, so the last one is kept for the next test
    that asks for the same; what was ended in it is started again."""

    def __init__(self) -> None:
        self._kept: Stack | None = None
        self._options: dict[str, Any] = {}

    async def take(self, directory: Path, options: dict[str, Any]) -> Stack:
        stack, self._kept = self._kept, None
        if stack is not None and options == self._options:
            try:
                await stack.mend()
                return stack
            except AssertionError:
                pass  # it is beyond that
        if stack is not None:
            stack.close()
        return await Stack(directory, **options).__aenter__()

    def keep(self, stack: Stack, options: dict[str, Any]) -> None:
        self.close()
        self._kept, self._options = stack, options

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()


@pytest.fixture(scope="session")
def stacks() -> Iterator[Stacks]:
    stacks = Stacks()
    yield stacks
    stacks.close()


@pytest.fixture
def start_stack(tmp_path_factory: pytest.TempPathFactory, stacks: Stacks) -> Iterator[StartStack]:
    """`await start_stack(nodes=3, settings={...})`: Redis, nodes, Nginx, for this test alone.

    Rooms of other tests may be in it, so use one of your own.
    """
    started: list[tuple[Stack, dict[str, Any]]] = []

    async def start(**options: Any) -> Stack:
        stack = await stacks.take(tmp_path_factory.mktemp("stack"), options)
        started.append((stack, options))
        return stack

    yield start
    for stack, options in started:
        stacks.keep(stack, options)


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
