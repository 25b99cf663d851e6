"""What tests of the chat do over and over: say, read, and speak as a node does."""

from __future__ import annotations

import time
import uuid
from typing import Any

from tests.browser.rooms import Message
from tests.browser.window import Window

# ms between looks at the page: a look at each frame would leave a loaded machine no time to draw.
POLL = 50


async def say(window: Window, text: str) -> None:
    await window.page.fill("#say-body", text)
    await window.page.press("#say-body", "Enter")


async def hears(window: Window, text: str, count: int = 1) -> None:
    """Wait until exactly `count` confirmed messages of the window hold `text`."""
    await window.page.wait_for_function(
        """([text, count]) => [...document.querySelectorAll("#log .message")]
            .filter((message) => message.textContent.includes(text)).length === count""",
        arg=[text, count],
        polling=POLL,
    )


async def texts(window: Window) -> list[str]:
    found: list[str] = await window.page.eval_on_selector_all(
        "#log .message", "all => all.map((one) => one.innerText)"
    )
    return found


def entry(text: str, rev: int, name: str = "Otter", **more: Any) -> Message:
    """A message as a node says it."""
    id = str(uuid.uuid4())
    return {
        "id": id,
        "rev": rev,
        "name": name,
        "color": 3,
        "time": int(time.time() * 1000),
        "body": text,
        "html": f'<div class="message" id="m{id}">{text}</div>',
    } | more


def chat(*messages: Message, whole: bool = False) -> Message:
    return {"type": "chat", "epoch": "", "rev": 0, "whole": whole, "messages": list(messages)}


async def title_is(window: Window, title: str) -> None:
    await window.page.wait_for_function("title => document.title === title", arg=title)
