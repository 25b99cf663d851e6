"""Rooms on one node, windows on them, and a wire that a test can reach into."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.browser.window import Window
from tests.nodes.harness import Node

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, WebSocketRoute

Message = dict[str, Any]


async def put_table(node: Node, data: bytes, name: str = "t.tsv", room: str | None = None) -> str:
    """A room with this table, or this table in a room that is there; its address."""
    room = room or str(uuid.uuid4())
    async with (
        aiohttp.ClientSession() as session,
        session.put(
            f"{node.url}/api/rooms/{room}/document", params={"name": name}, data=data
        ) as answer,
    ):
        assert answer.status == 200, await answer.text()
    return f"{node.url}/t/{room}"


async def put_presented(node: Node, data: bytes) -> tuple[str, str]:
    """A room with this table in which only presenters turn: its address, and its owner's link."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{node.url}/api/rooms") as answer:
            made = await answer.json()
        key = {"Authorization": f"Bearer {made['key']}"}
        room, api = f"{node.url}/t/{made['uuid']}", f"{node.url}/api/rooms/{made['uuid']}"
        async with session.put(f"{api}/document", data=data, headers=key) as answer:
            assert answer.status == 200, await answer.text()
        async with session.put(f"{api}/mode", json={"mode": "presenting"}, headers=key) as answer:
            assert answer.status == 200, await answer.text()
    return room, f"{room}#key={made['key']}"


async def open_window(new_window: Callable[..., Any], url: str, **options: Any) -> Window:
    """A live window on the room at `url`."""
    window = await Window.open(new_window, url, **options)
    await window.live()
    return window


class Wire:
    """Stands between a window and its node: a test can hold back, answer and add messages."""

    def __init__(self) -> None:
        self.sent: list[Message] = []  # by the page, in order, also what was held back
        self.held: set[str] = set()  # types of messages that do not reach the node
        self.muted: set[str] = set()  # types of messages that do not reach the page
        self._page: WebSocketRoute | None = None

    async def open(self, new_window: Callable[..., Any], url: str, **options: Any) -> Window:
        """A live window on the room at `url` whose sockets go through here."""

        async def wired(**options: Any) -> BrowserContext:
            context: BrowserContext = await new_window(**options)
            await context.route_web_socket(re.compile("/ws/"), self._connect)
            return context

        return await open_window(wired, url, **options)

    def tell(self, message: Message) -> None:
        """Say something to the page as if the node had said it."""
        assert self._page is not None
        self._page.send(json.dumps(message))

    def sent_of(self, type: str) -> list[Message]:
        return [message for message in self.sent if message.get("type") == type]

    def _connect(self, page: WebSocketRoute) -> None:
        node = page.connect_to_server()
        self._page = page

        def from_page(data: str | bytes) -> None:
            if isinstance(data, str):
                message = json.loads(data)
                self.sent.append(message)
                if message.get("type") in self.held:
                    return
            node.send(data)

        def from_node(data: str | bytes) -> None:
            if isinstance(data, str) and json.loads(data).get("type") in self.muted:
                return
            page.send(data)

        page.on_message(from_page)
        node.on_message(from_node)
