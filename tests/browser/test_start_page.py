"""The start page: rooms are made here, and found again."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.window import Window
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(90), pytest.mark.processes, pytest.mark.slow]

HOSTILE = "<img src=x onerror=\"window.hit='name'\">"
HELD = "localStorage.getItem('tablecast.key.' + document.body.dataset.uuid)"

PATIENCE = 20.0  # seconds

NewWindow = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "trips.tsv"
    file.write_bytes(table(300))
    return file


def room(name: str, *, hours: float = 1, role: str = "guest") -> dict[str, Any]:
    """A room as the browser remembers it, `hours` after the last visit."""
    at = int((time.time() - hours * 3600) * 1000)
    return {"uuid": str(uuid.uuid4()), "name": name, "at": at, "role": role}


async def start_page(new_window: NewWindow, node: Node, kept: str, **options: Any) -> Window:
    """The start page in a browser that remembers `kept`."""
    window = await Window.open(new_window, node.url, **options)
    await window.page.evaluate("kept => localStorage.setItem('tablecast.recent', kept)", kept)
    await window.page.reload()
    return window


async def names(window: Window) -> list[str]:
    shown: list[str] = await window.page.eval_on_selector_all(
        "#recent-list a", "links => links.map(link => link.innerText)"
    )
    return shown


async def owns(window: Window) -> None:
    """Wait until the panel offers what only the owner of the room has."""
    await window.live()
    await window.do("share")
    await window.page.wait_for_selector("#share-manage:visible")


# Making rooms


async def test_whoever_chooses_a_file_owns_its_room(
    new_window: NewWindow, node: Node, file: Path
) -> None:
    window = await Window.open(new_window, node.url)
    await window.choose(file)
    await window.shows(1, "1")
    await owns(window)
    assert len(await window.page.evaluate(HELD)) >= 22
    await window.page.reload()
    await owns(window)
    assert window.errors == []


async def test_whoever_chooses_a_file_is_known_by_name_from_its_first_byte_on(
    new_window: NewWindow, node: Node, file: Path
) -> None:
    window = await Window.open(new_window, node.url)
    await window.choose(file)
    await window.shows(1, "1")
    name = await window.page.inner_text("#own-name bdi")
    room_url = f"{node.url}/api/rooms/{window.page.url.rpartition('/')[2]}"
    table_ = (await (await window.page.request.get(room_url)).json())["set"]["document"]
    assert table_["by"]["name"] == name

    # The node says who is here a moment after they came.
    async def people() -> list[str]:
        presence = await (await window.page.request.get(f"{room_url}/presence")).json()
        return [person["name"] for person in presence["people"]]

    async with asyncio.timeout(PATIENCE):
        while await people() != [name]:
            await asyncio.sleep(0.05)
    # Who is here was told before there was a page to show it.
    await window.page.wait_for_selector("#watchers[data-count='1']:visible")
    assert window.errors == []


async def test_a_refusal_where_nobody_had_anything_speaks_of_nobody(
    new_window: NewWindow, node: Node, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 64)
    window = await Window.open(new_window, node.url)
    await window.choose(picture)
    said = await window.page.inner_text("#notice:visible p")
    assert "PNG" in said
    assert "Everyone keeps" not in said


async def test_whoever_opens_an_empty_room_owns_it(new_window: NewWindow, node: Node) -> None:
    window = await Window.open(new_window, node.url)
    await window.do("empty")
    await owns(window)
    assert len(await window.page.evaluate(HELD)) >= 22


async def test_whoever_opens_the_sample_owns_its_room(new_window: NewWindow, node: Node) -> None:
    window = await Window.open(new_window, node.url)
    await window.do("sample")
    await window.page.wait_for_selector("#table[data-page='1']")
    await owns(window)


async def test_without_scripts_a_cookie_holds_the_key(new_window: NewWindow, node: Node) -> None:
    context = await new_window(java_script_enabled=False)
    window = Window(await context.new_page())
    await window.page.goto(node.url)
    assert not await window.page.is_visible("#recent")
    await window.do("empty")
    await window.page.wait_for_url("**/t/*")
    room_id = window.page.url.rpartition("/")[2]
    (cookie,) = await context.cookies()
    assert cookie["name"] == f"tablecast-{room_id}"
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"


# Finding them again


async def test_the_rooms_this_browser_was_in_are_listed_and_lead_back(
    new_window: NewWindow, node: Node, file: Path
) -> None:
    window = await Window.open(new_window, node.url)
    assert "show here" in await window.page.inner_text("#recent")
    await window.choose(file)
    await window.shows(1, "1")
    own = window.page.url
    await window.page.goto(f"{node.url}/t/{uuid.uuid4()}")
    await window.live()
    await window.page.click(".logo")
    await window.page.wait_for_selector("#recent-list li >> nth=1")
    assert await names(window) == ["A room without a table", "trips.tsv"]
    entry = "#recent-list li >> nth=1"
    assert await window.page.get_attribute(entry, "data-role") == "owner"
    said = await window.page.inner_text(entry)
    assert "yours" in said
    assert "just now" in said
    await window.page.click("#recent-list a:has-text('trips.tsv')")
    await window.shows(1, "1")
    assert window.page.url == own


async def test_a_room_goes_off_the_list_and_comes_back_at_a_word(
    new_window: NewWindow, node: Node
) -> None:
    kept = [room("a.tsv", hours=1), room("b.tsv", hours=30), room("c.tsv", hours=2000)]
    window = await start_page(new_window, node, json.dumps(kept))
    assert await names(window) == ["a.tsv", "b.tsv", "c.tsv"]
    assert "yesterday" in await window.page.inner_text("#recent-list li >> nth=1")
    await window.page.click("[aria-label='Remove b.tsv from this list']")
    assert await names(window) == ["a.tsv", "c.tsv"]
    await window.page.reload()
    assert await names(window) == ["a.tsv", "c.tsv"]
    await window.do("forget-rooms")
    assert await names(window) == []
    assert await window.page.is_visible("#recent-none")
    await window.do("undo-forget")
    assert await names(window) == ["a.tsv", "c.tsv"]
    await window.page.reload()
    assert await names(window) == ["a.tsv", "c.tsv"]


async def test_at_most_twenty_rooms_are_kept_and_five_shown_at_first(
    new_window: NewWindow, node: Node
) -> None:
    kept = [room(f"{number}.tsv", hours=number) for number in range(1, 31)]
    window = await start_page(new_window, node, json.dumps(kept))
    assert len(await names(window)) == 5
    await window.do("more-rooms")
    assert await names(window) == [f"{number}.tsv" for number in range(1, 21)]
    await window.page.goto(f"{node.url}/t/{uuid.uuid4()}")
    await window.live()
    remembered = await window.page.evaluate("localStorage.getItem('tablecast.recent')")
    assert len(json.loads(remembered)) == 20


@pytest.mark.parametrize(
    "kept",
    ["{", "7", '[null, 7, {"uuid": "javascript:alert(1)", "name": "x", "at": 1}]'],
)
async def test_what_cannot_be_a_list_of_rooms_is_none(
    new_window: NewWindow, node: Node, kept: str
) -> None:
    window = await start_page(new_window, node, kept)
    assert await window.page.is_visible("#recent-none")
    assert await window.page.is_visible("[data-action=choose]")
    assert window.errors == []


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=str)
async def test_no_name_breaks_the_list(
    new_window: NewWindow, node: Node, size: tuple[int, int]
) -> None:
    kept = [room(HOSTILE), room("long-" * 80), room("\u202eevil.tsv", role="presenter")]
    window = await start_page(
        new_window,
        node,
        json.dumps(kept),
        viewport={"width": size[0], "height": size[1]},
    )
    assert (await names(window))[0] == HOSTILE
    assert await window.page.evaluate("window.hit") is None
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await window.page.evaluate(wide) == 0
