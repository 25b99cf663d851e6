"""A browser window on a room, as a test sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Page, WebSocket

PATIENCE = 20_000  # ms; a loaded machine is slow, a fault is for ever


class Window:
    """One page of one browser context; knows the nodes that its sockets were greeted by."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.nodes: list[str] = []
        self.errors: list[str] = []  # what the page's scripts threw or complained of
        self.dialogs: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("websocket", self._watch)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    @classmethod
    async def open(cls, new_window: Callable[..., Any], url: str, **options: Any) -> Window:
        context = await new_window(**options)
        window = cls(await context.new_page())
        await window.page.goto(url)
        return window

    @property
    def node(self) -> str:
        """The node of the present (or last) socket."""
        return self.nodes[-1]

    async def live(self) -> None:
        await self.page.wait_for_selector("#status[data-state=live]")

    async def shows(self, page_no: int, first_cell: str | None = None) -> None:
        """Wait until the table shows page `page_no` (and its first cell is `first_cell`)."""
        await self.page.wait_for_selector(f'#table[data-page="{page_no}"]')
        if first_cell is not None:
            await self.page.wait_for_function(
                "want => document.querySelector('#table tbody td')?.textContent === want",
                arg=first_cell,
            )

    async def do(self, action: str) -> None:
        await self.page.click(f"[data-action={action}]:visible")

    async def go_to(self, page_no: int) -> None:
        await self.page.fill("#page-input", str(page_no))
        await self.page.press("#page-input", "Enter")

    async def choose(self, file: Path) -> None:
        """Choose `file` as its user would by the file button."""
        await self.page.set_input_files("input[type=file]", file)

    async def cells(self, row: int) -> list[str]:
        """The cells of the table's row `row` (from 1) on this page."""
        cells: list[str] = await self.page.eval_on_selector_all(
            f"#table tbody tr:nth-child({row}) td", "cells => cells.map(c => c.textContent)"
        )
        return cells

    def _watch(self, socket: WebSocket) -> None:
        def heard(payload: str | bytes) -> None:
            if isinstance(payload, str) and payload.startswith('{"type":"hello"'):
                self.nodes.append(json.loads(payload)["node"])

        socket.on("framereceived", heard)


async def two_windows(
    new_window: Callable[..., Any], url: str, **options: Any
) -> tuple[Window, Window]:
    """Two live windows on `url` that different nodes serve."""
    first = await Window.open(new_window, url, **options)
    await first.live()
    second = await Window.open(new_window, url, **options)
    await second.live()
    for more in range(1, 7):
        if second.node != first.node:
            return first, second
        # Nodes are asked in turns: if a page takes as many requests as there are nodes, or twice as
        # many, all of its windows are served by one.
        for _ in range(more):
            await second.page.request.get(f"{url.partition('/t/')[0]}/healthz")
        await second.page.reload()
        await second.live()
    raise AssertionError(f"both windows stay on {first.node}")


async def until(check: Callable[[], bool], timeout: float = PATIENCE / 1000) -> None:
    """Wait until `check()`; for what no event tells."""
    async with asyncio.timeout(timeout):
        while not check():
            await asyncio.sleep(0.02)
