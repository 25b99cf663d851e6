"""An audit of the pages with axe-core: it finds nothing, however they look and whatever is open."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.browser.window import Window
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes]

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
# Each size and each theme in two of the four; what is left are their other pairs.
LOOKS = [
    pytest.param(
        {"viewport": {"width": width, "height": height}, "color_scheme": theme},
        id=name,
        marks=marks,
    )
    for name, width, height, theme, marks in [
        ("wide-light", 1440, 900, "light", ()),
        ("wide-dark", 1440, 900, "dark", pytest.mark.slow),
        ("phone-light", 390, 844, "light", pytest.mark.slow),
        ("phone-dark", 390, 844, "dark", ()),
    ]
]
# What it takes to find the place in the page: rule, weight, and the elements with what is wrong.
AUDIT = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.flatMap(
    ({id, impact, nodes}) => nodes.map(node =>
        `${id} (${impact}) at ${node.target.join(" ")}: ${node.failureSummary}`))"""
RECENT = """[{"uuid": "00000000-0000-4000-8000-000000000000", "name": "trips.tsv", "role": "owner",
    "at": 1800000000000}, {"uuid": "00000000-0000-4000-8000-000000000001", "name": "",
    "role": "guest", "at": 1700000000000}]"""

NewWindow = Callable[..., Any]
Look = dict[str, Any]


async def audit(window: Window, what: str) -> None:
    """Nothing is wrong with the page as it is now."""
    if not await window.page.evaluate("'axe' in window"):
        await window.page.evaluate(AXE.read_text())
    found = await window.page.evaluate(AUDIT)
    assert found == [], f"{what}:\n" + "\n".join(found)


async def open_page(new_window: NewWindow, url: str, look: Look) -> Window:
    # Colours on their way to other colours have no contrast worth a word.
    return await Window.open(new_window, url, reduced_motion="reduce", **look)


async def owned_room(node: Node) -> tuple[str, str]:
    """A room with two versions of a table that has a long cell: its address, and its key."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{node.url}/api/rooms") as answer:
            made = await answer.json()
        for data in (table(30), table(250) + f"long\t{'word ' * 20_000}\n".encode()):
            async with session.put(
                f"{node.url}/api/rooms/{made['uuid']}/document?name=t.tsv", data=data
            ) as answer:
                assert answer.status == 200, await answer.text()
    return made["url"], made["key"]


async def test_the_audit_finds_what_is_wrong(new_window: NewWindow, node: Node) -> None:
    window = await open_page(new_window, node.url, {})
    await window.page.evaluate(
        """() => { const main = document.querySelector("main");
             main.append(document.createElement("button"));
             main.querySelector(".lead").style.color = "#ddd"; }"""
    )
    with pytest.raises(AssertionError, match=r"(?s)button-name \(critical\).*color-contrast"):
        await audit(window, "spoilt")


@pytest.mark.parametrize("look", LOOKS)
async def test_the_start_page(new_window: NewWindow, node: Node, look: Look) -> None:
    window = await open_page(new_window, node.url, look)
    await audit(window, "no rooms yet")
    await window.page.evaluate("kept => localStorage.setItem('tablecast.recent', kept)", RECENT)
    await window.page.reload()
    await audit(window, "rooms")
    await window.page.click("[data-action=forget-room] >> nth=0")
    await audit(window, "a room was removed")


@pytest.mark.parametrize("look", LOOKS)
async def test_the_error_page(new_window: NewWindow, node: Node, look: Look) -> None:
    window = await open_page(new_window, f"{node.url}/t/nothing", look)
    await audit(window, "the error page")


@pytest.mark.parametrize("look", LOOKS)
async def test_an_empty_room_and_a_deleted_one(
    new_window: NewWindow, node: Node, look: Look
) -> None:
    window = await open_page(new_window, f"{node.url}/t/{uuid.uuid4()}", look)
    await window.live()
    await audit(window, "empty")
    await window.do("share")
    await audit(window, "nothing to manage")
    url, key = await owned_room(node)
    window = await open_page(new_window, f"{url}#key={key}", look)
    await window.live()
    await window.do("share")
    await window.do("delete-room")
    await audit(window, "the question before the end")
    await window.do("delete-really")
    await window.page.wait_for_selector("#status[data-state=deleted]")
    await audit(window, "deleted")


@pytest.mark.parametrize("look", LOOKS)
async def test_a_room_in_which_people_talk_over_a_table(
    new_window: NewWindow, node: Node, look: Look
) -> None:
    url, key = await owned_room(node)
    other = await Window.open(new_window, url)
    await other.live()
    await other.page.fill("#say-body", "Look at r12 and https://example.org/ please")
    await other.page.press("#say-body", "Enter")
    window = await open_page(new_window, f"{url}#key={key}", look)
    await window.live()
    await window.shows(1, "1")
    await audit(window, "as it opens")
    phone = look["viewport"]["width"] < 760
    if phone:
        await window.do("side")
    await window.page.wait_for_selector("#log .message")
    await audit(window, "chat")
    await window.page.click("#own-name")
    await window.page.wait_for_selector("form.identity:visible")
    await audit(window, "name and colour")
    await window.page.keyboard.press("Escape")
    await window.page.click("#tab-people")
    await window.page.wait_for_selector("#people-list li")
    await audit(window, "people")
    await window.do("close-side")
    await audit(window, "side closed")
    await window.page.click("#table tbody td >> nth=0")
    await audit(window, "a cell is selected")
    await window.page.keyboard.press("Escape")
    await window.do("browse")
    await window.do("next")
    await window.shows(2)
    await audit(window, "browsing")
    await window.do("side")
    await window.page.click("#tab-chat")
    await window.page.context.set_offline(True)
    await window.page.fill("#say-body", "Nobody hears this yet")
    await window.page.press("#say-body", "Enter")
    await window.page.wait_for_selector("#outbox [data-state=pending]")
    await audit(window, "a message waits for the connection")


@pytest.mark.parametrize("look", LOOKS)
async def test_all_that_can_be_opened_over_a_table(
    new_window: NewWindow, node: Node, look: Look
) -> None:
    url, key = await owned_room(node)
    window = await open_page(new_window, f"{url}#key={key}", look)
    await window.live()
    phone = look["viewport"]["width"] < 760
    if phone:
        await window.page.click("[popovertarget=more]")
        await audit(window, "the menu")
        await window.page.keyboard.press("Escape")
    for panel in ("report", "versions", "download", "shortcuts"):
        if phone:
            await window.page.click("[popovertarget=more]")
        place = "#facts" if panel != "shortcuts" and not phone else "#more"
        await window.page.click(f"{place} [data-action={panel}]")
        await window.page.wait_for_selector(f"#{panel}:popover-open")
        await audit(window, panel)
        await window.page.keyboard.press("Escape")
    await window.do("share")
    await window.page.check("#share-mode [value=presenting]")
    await window.page.wait_for_selector("#presenting:not([hidden])", state="attached")
    await window.do("invite")
    await window.page.wait_for_selector("#share-presenting:visible")
    await audit(window, "sharing")
    await window.page.keyboard.press("Escape")
    await audit(window, "presenting")
    guest = await open_page(new_window, url, look)
    await guest.page.wait_for_selector("#presenting[data-presents=false]", state="attached")
    await audit(guest, "others present")
    await window.go_to(99)
    await window.page.wait_for_selector("#notice:visible")
    await audit(window, "a notice")
    await window.go_to(3)
    await window.page.click("#table [data-action=whole]")
    await window.page.wait_for_selector("#reader:visible")
    await audit(window, "a cell read whole")
