"""The pages live within the policy that they are served with: no browser has anything to report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.browser.rooms import open_window, put_table
from tests.browser.window import PATIENCE, Window
from tests.nodes.harness import Node
from tests.room_client import table

if TYPE_CHECKING:
    from playwright.async_api import Route

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes]

NewWindow = Callable[..., Any]

WATCH = """
window.reported = [];
document.addEventListener("securitypolicyviolation", (event) => window.reported.push(
  [event.effectiveDirective, event.blockedURI, event.sourceFile, event.lineNumber].join(" ")));
"""
# Something like it reaches a page when a bug lets text become markup.
INTRUDERS = {
    "script": "const s = document.createElement('script'); s.textContent = 'window.hit = 1';"
    "document.body.append(s)",
    "handler": "document.body.insertAdjacentHTML('beforeend', "
    "'<img src=x onerror=\"window.hit = 1\">')",
    "style": "document.body.insertAdjacentHTML('beforeend', "
    "'<p style=\"background: url(https://evil.example/x)\">')",
    "picture": "document.body.insertAdjacentHTML('beforeend', "
    "'<img src=\"https://evil.example/x.png\">')",
    "frame": "document.body.insertAdjacentHTML('beforeend', '<iframe src=\"/\"></iframe>')",
    "base": "document.head.insertAdjacentHTML('beforeend', '<base href=\"https://evil.example/\">')",
    "request": "fetch('https://evil.example/').catch(() => 0)",
    "socket": "new WebSocket('wss://evil.example/ws')",
    "worker": "try { new Worker('data:text/javascript,0') } catch {}",
    "form": "document.body.insertAdjacentHTML('beforeend', "
    "'<form method=post action=\"https://evil.example/\" id=bad></form>'); bad.submit()",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    node = Node("alone", tmp_path_factory.mktemp("node"))
    await node.start()
    yield node
    node.kill()


async def watched(new_window: NewWindow, url: str, **options: Any) -> tuple[Window, list[str]]:
    """A window, and what its browser says of policies."""
    said: list[str] = []

    async def with_watch(**options: Any) -> Any:
        context = await new_window(**options)
        await context.add_init_script(WATCH)
        context.on(
            "console",
            lambda message: (
                said.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        return context

    return await Window.open(with_watch, url, **options), said


async def reported(window: Window) -> list[str]:
    found: list[str] = await window.page.evaluate("window.reported")
    return found


async def test_the_start_page_does_nothing_that_its_policy_forbids(
    new_window: NewWindow, node: Node, tmp_path: Path
) -> None:
    window, said = await watched(new_window, node.url)
    file = tmp_path / "trips.tsv"
    file.write_bytes(table(300))
    assert await reported(window) == []
    await window.choose(file)
    await window.page.wait_for_url("**/t/*")
    await window.live()
    await window.shows(1)
    assert await reported(window) == said == window.errors == []


async def test_a_room_in_use_does_nothing_that_its_policy_forbids(
    new_window: NewWindow, node: Node, tmp_path: Path
) -> None:
    url = await put_table(node, table(3_000))
    window, said = await watched(new_window, url)
    await window.live()
    page = window.page
    await window.go_to(7)
    await window.shows(7)
    # All that can be pressed, without knowing what it is: dialogs, menus, panels.
    buttons = page.locator("button:visible:enabled")
    for number in range(await buttons.count()):
        button = buttons.nth(number)
        if await button.count() and await button.is_visible() and await button.is_enabled():
            await button.click(timeout=2_000, no_wait_after=True, force=True)
            await page.keyboard.press("Escape")
    await page.reload()
    await window.live()
    if await page.locator("#say-body").is_visible():
        await page.fill("#say-body", "See r1203, and https://example.org/")
        await page.press("#say-body", "Enter")
        await page.wait_for_selector("#log .message >> text=See")
    file = tmp_path / "second.tsv"
    file.write_bytes(table(500, name="second"))
    await window.choose(file)
    await page.wait_for_selector("#table th:has-text('second')")
    assert await reported(window) == said == []


async def test_the_page_of_an_error_does_nothing_that_its_policy_forbids(
    new_window: NewWindow, node: Node
) -> None:
    window, said = await watched(new_window, f"{node.url}/t/nothing")
    assert await reported(window) == said == window.errors == []


async def test_a_download_is_saved_in_spite_of_its_sandbox(
    new_window: NewWindow, node: Node
) -> None:
    data = table(300)
    window = await open_window(new_window, await put_table(node, data))
    room = window.page.url.rpartition("/")[2]
    async with window.page.expect_download() as download:
        await window.page.evaluate(
            """room => {
                const link = document.createElement("a");
                link.href = `/api/rooms/${room}/document`;
                document.body.append(link);
                link.click();
            }""",
            room,
        )
    path = await (await download.value).path()
    assert Path(path).read_bytes() == data


async def test_markup_that_got_in_runs_nothing_and_sends_nothing(
    new_window: NewWindow, node: Node
) -> None:
    window, _ = await watched(new_window, node.url)
    left: list[str] = []  # what leaves the browser

    async def catch(route: Route) -> None:
        left.append(route.request.url)
        await route.abort()

    await window.page.context.route("**evil.example**", catch)
    for name, intruder in INTRUDERS.items():
        await window.page.goto(node.url)
        await window.page.evaluate(f"() => {{ {intruder} }}")
        await window.page.wait_for_function("window.reported.length > 0")
        assert await window.page.evaluate("window.hit") is None, name
        assert left == [], name


async def test_a_page_of_another_site_cannot_frame_a_room(
    new_window: NewWindow, node: Node
) -> None:
    url = await put_table(node, table(3))
    window = await Window.open(new_window, "about:blank")
    await window.page.set_content(f'<iframe src="{url}"></iframe>')
    async with asyncio.timeout(PATIENCE / 1000):
        while not any(frame.url.startswith("chrome-error:") for frame in window.page.frames):
            await asyncio.sleep(0.02)
