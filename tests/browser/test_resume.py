"""A file is sent from a browser while its node dies: one steady progress, and the whole file."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.browser.window import Window, two_windows, until
from tests.nodes.harness import Stack
from tests.room_client import table

pytestmark = [pytest.mark.timeout(150), pytest.mark.processes]

DATA = table(200_000, columns=4)  # some 9 MB
# One small piece at a time, so that there is a middle in which something can happen.
SLOWLY = {"TABLECAST_CHUNK_LIMIT": "8KiB", "TABLECAST_UPLOAD_WINDOW": "8KiB"}

WATCH_BAR = """() => {
  window.bar = {values: [], paused: false, hidden: 0};
  const look = () => {
    const line = document.querySelector("#upload-progress");
    const {values} = window.bar;
    if (!line.hidden) values.push(document.querySelector("#upload-bar").value);
    else if (values.length) window.bar.hidden += 1;
    window.bar.paused ||= line.classList.contains("paused");
    requestAnimationFrame(look);
  };
  look();
}"""


async def bar(window: Window) -> list[float]:
    """What the bar showed, from the first time on."""
    return list(await window.page.evaluate("window.bar.values"))


async def is_past(window: Window, value: float) -> None:
    await window.page.wait_for_function(
        "value => window.bar.values.at(-1) > value", arg=value, timeout=60_000
    )


async def whole(url: str, room: str) -> str:
    document = f"{url}/api/rooms/{room}/document"
    async with aiohttp.ClientSession() as session, session.get(document) as answer:
        assert answer.status == 200
        return hashlib.sha256(await answer.read()).hexdigest()


async def complete(url: str, room: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(90):
        while True:
            async with session.get(f"{url}/api/rooms/{room}") as answer:
                document = (await answer.json())["set"].get("document") or {}
            if document.get("complete"):
                return
            await asyncio.sleep(0.1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "big.tsv"
    file.write_bytes(DATA)
    return file


async def test_a_killed_node_shows_as_a_bar_that_stands_for_a_moment_and_never_falls(
    start_stack: Callable[..., Any], new_window: Callable[..., Any], file: Path
) -> None:
    stack: Stack = await start_stack(nodes=3, settings=SLOWLY)
    room = str(uuid.uuid4())
    sender, watcher = await two_windows(new_window, f"{stack.url}/t/{room}")
    for window in (sender, watcher):
        await window.page.evaluate(WATCH_BAR)
    await sender.choose(file)
    await is_past(watcher, 250)
    connections = len(sender.nodes)
    stack.node(sender.node).kill()
    await until(lambda: len(sender.nodes) > connections)
    await complete(stack.url, room)
    for window in (sender, watcher):
        await window.shows(1, "1")
        await window.page.wait_for_selector("#upload-progress", state="hidden")
        values = await bar(window)
        assert values == sorted(values)
        assert not window.errors
    assert max(await bar(watcher)) > 700
    assert await whole(stack.url, room) == hashlib.sha256(DATA).hexdigest()


async def test_after_a_reload_the_same_file_goes_on_and_the_others_see_one_upload(
    start_stack: Callable[..., Any], new_window: Callable[..., Any], file: Path
) -> None:
    stack: Stack = await start_stack(nodes=2, settings=SLOWLY)
    room = str(uuid.uuid4())
    sender, watcher = await two_windows(new_window, f"{stack.url}/t/{room}")
    sender.page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    await watcher.page.evaluate(WATCH_BAR)
    await sender.choose(file)
    await is_past(watcher, 250)
    await sender.page.reload()
    await sender.live()
    # The room waits, and says so to everyone; its sender is told what to do.
    await watcher.page.wait_for_selector("#upload-progress.paused")
    await sender.page.wait_for_selector("#upload-again:visible")
    (before,) = (await bar(watcher))[-1:]
    await sender.choose(file)
    await is_past(watcher, before)
    await complete(stack.url, room)
    for window in (sender, watcher):
        await window.shows(1, "1")
        assert not window.errors
    values = await bar(watcher)
    assert values == sorted(values)
    assert (await watcher.page.evaluate("window.bar.paused")) is True
    assert await whole(stack.url, room) == hashlib.sha256(DATA).hexdigest()
