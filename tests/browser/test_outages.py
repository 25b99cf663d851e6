"""What people are told when the storage behind their room fails: then, after it, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest_asyncio

from tests.browser.rooms import Message, Wire, put_table
from tests.browser.talk import say
from tests.browser.window import Window
from tests.nodes.harness import Node

OUT_OF_REACH = "The server cannot reach its storage just now."
REFUSAL = {"type": "error", "code": "unavailable", "message": OUT_OF_REACH, "retry": True}


@pytest_asyncio.fixture(loop_scope="session")
async def wired(new_window: Callable[..., Any], node: Node) -> tuple[Window, Wire]:
    wire = Wire()
    window = await wire.open(new_window, await put_table(node, b"a\tb\n1\t2\n"))
    await window.shows(1)
    return window, wire


def state(rev: int, **registers: Any) -> Message:
    return {
        "type": "state",
        "uuid": "",
        "epoch": "new",
        "rev": rev,
        "set": registers,
        "whole": True,
    }


def status(degraded: bool) -> Message:
    return {"type": "status", "degraded": degraded}


async def says(window: Window, text: str) -> None:
    await window.page.wait_for_selector(f"#notice:visible:has-text('{text}')")


async def is_silent(window: Window) -> None:
    await window.page.wait_for_selector("#notice", state="hidden")


async def test_what_could_not_be_done_is_said_until_the_storage_is_back(
    wired: tuple[Window, Wire],
) -> None:
    window, wire = wired
    wire.tell(status(True))
    wire.tell({**REFUSAL, "about": "page"})
    await says(window, "That could not be done now. Nothing was lost")
    assert await window.page.is_visible("#connection-line")
    wire.tell(status(False))
    await is_silent(window)
    assert await window.page.is_hidden("#connection-line")


async def test_a_moment_without_storage_is_said_until_something_changes_again(
    wired: tuple[Window, Wire],
) -> None:
    window, wire = wired
    wire.tell({**REFUSAL, "about": "page"})
    await says(window, OUT_OF_REACH)
    wire.tell(state(1))
    await window.page.wait_for_selector(f"#notice:has-text('{OUT_OF_REACH}')", state="hidden")


async def test_whoever_saw_what_the_storage_has_lost_is_told_until_there_is_a_table_again(
    wired: tuple[Window, Wire],
) -> None:
    window, wire = wired
    table = await window.page.evaluate(
        "JSON.parse(document.querySelector('#boot').textContent).state.set.document"
    )
    wire.tell(state(1, document=table))
    await says(window, "The server has lost what was changed here last.")
    wire.tell({**state(1), "epoch": "newer"})
    await says(window, "The server no longer has what was shown and said here.")
    assert await window.page.is_visible("#empty")
    wire.tell({**state(2, document=table), "epoch": "newer"})
    await is_silent(window)


async def test_what_goes_on_as_it_was_is_no_loss(wired: tuple[Window, Wire]) -> None:
    window, wire = wired
    wire.tell({"type": "heartbeat", "epoch": "another", "rev": 9})  # it asks, and nothing is lost
    await say(window, "answered")  # after what it asked for
    await window.page.wait_for_selector("#log .said:has-text('answered')")
    assert wire.sent_of("sync")
    assert await window.page.is_hidden("#notice")
