"""Pointing at rows: everyone sees who points where, for a moment, and nobody is moved by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.rooms import Message, Wire, open_window, put_presented, put_table
from tests.browser.window import Window, until
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes, pytest.mark.slow]

NewWindow = Callable[..., Any]
OTTER = "a" * 16
LYNX = "b" * 16
HOSTILE = "<img src=x onerror=\"window.hit='name'\">"


@pytest_asyncio.fixture(loop_scope="session")
async def room(node: Node) -> str:
    """The address of a room with a table of 50 pages."""
    return await put_table(node, table(5_000))


async def points(window: Window, row: int | None, viewer: str = OTTER, **more: Any) -> Message:
    """What a node says when somebody points at a row of the table that `window` shows."""
    document = await window.page.get_attribute("#table", "data-document")
    name = "Otter" if viewer == OTTER else "Lynx"
    message = {"type": "point", "viewer": viewer, "name": name, "color": 0, "row": row}
    return {**message, "document": document, **more}


async def tagged(window: Window, row: int, text: str) -> None:
    await window.page.wait_for_function(
        """([row, text]) => [...document.querySelectorAll("tr.pointed")].some((line) =>
            line.cells[0].dataset.row === String(row) &&
            [...line.querySelectorAll(".tag")].some((tag) => tag.textContent.includes(text)))""",
        arg=[row, text],
    )


async def pick(window: Window, row: int) -> None:
    await window.page.click(f"th[data-row='{row}']")


async def scroll(window: Window) -> float:
    top: float = await window.page.eval_on_selector("#scroller", "box => box.scrollTop")
    return top


async def test_a_clicked_row_is_marked_for_the_others_with_the_name_of_who_points(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await pick(here, 7)
    name = await here.page.inner_text("#own-name bdi")
    await tagged(there, 7, name)
    # Whoever points sees it, without a tag of their own.
    await here.page.wait_for_selector("tr.mine th[data-row='7']")
    assert await here.page.query_selector(".tag") is None
    # A cell is in a row as well.
    await here.page.click("#table tbody tr:nth-child(9) td >> nth=1")
    await tagged(there, 9, name)
    assert len(await there.page.query_selector_all("tr.pointed")) == 1
    # It can be taken back, ...
    await here.page.keyboard.press("Escape")
    await there.page.wait_for_selector("tr.pointed", state="detached")
    # ... and whoever leaves points no more.
    await pick(here, 3)
    await tagged(there, 3, name)
    await here.page.close()
    await there.page.wait_for_selector("tr.pointed", state="detached")
    assert there.errors == []


async def test_a_row_on_another_page_is_told_of_and_shown_to_who_asks(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await here.do("browse")
    await here.go_to(13)
    await here.shows(13)
    await pick(here, 1203)
    assert "points at row 1,203, page 13" in await there.page.inner_text("#pointing:visible")
    await there.shows(1, "1")
    await there.do("show-pointed")
    await there.shows(13, "1201")
    await there.page.wait_for_selector("#following[data-state=browsing]")
    await tagged(there, 1203, await here.page.inner_text("#own-name bdi"))
    await there.page.wait_for_selector("#pointing", state="hidden")


@pytest.mark.parametrize("how", ["turned", "browsed away", "followed", "turned by another"])
async def test_a_pointer_does_not_outlive_the_page_of_who_points(
    new_window: NewWindow, room: str, how: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    there = await open_window(new_window, room)
    if how in {"browsed away", "followed"}:
        await here.do("browse")
        await here.page.wait_for_selector("#following[data-state=browsing]")
    if how == "followed":
        await here.go_to(4)
        await here.shows(4)
    row = 307 if how == "followed" else 7
    await pick(here, row)
    await until(lambda: wire.sent_of("point") != [])
    if how == "followed":
        await there.page.wait_for_selector("#pointing:visible")
        await here.do("rejoin")
    else:
        await tagged(there, row, await here.page.inner_text("#own-name bdi"))
        await (there if how == "turned by another" else here).go_to(2)
        await here.shows(2)
    await until(lambda: wire.sent_of("point")[-1]["row"] is None)
    await there.page.wait_for_selector("#pointing", state="hidden")
    # Where the row was in sight there was nothing to hide, and the word is on its way.
    await there.page.wait_for_selector("tr.pointed", state="detached")


async def test_nobody_is_scrolled_by_a_pointer(new_window: NewWindow, room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    await here.page.eval_on_selector("#scroller", "box => (box.scrollTop = 900)")
    wire.tell(await points(here, 2))
    await here.page.wait_for_selector("tr.pointed", state="attached")
    wire.tell(await points(here, 4_000, LYNX))
    await here.page.wait_for_selector("#pointing:visible")
    assert await scroll(here) == 900
    await here.shows(1)


async def test_a_row_is_pointed_at_for_a_while_only(new_window: NewWindow, room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    await here.page.clock.install(time=time.time())
    wire.tell(await points(here, 5))
    wire.tell(await points(here, 4_000, LYNX))
    await tagged(here, 5, "Otter")
    await here.page.clock.run_for(5_000)
    await tagged(here, 5, "Otter")
    wire.tell(await points(here, 6))
    await tagged(here, 6, "Otter")
    await here.page.clock.run_for(5_000)
    # Said again, it lasts on; what was not said again is over.
    await tagged(here, 6, "Otter")
    assert not await here.page.is_visible("#pointing")
    await here.page.clock.run_for(5_000)
    await here.page.wait_for_selector("tr.pointed", state="detached")


async def test_several_who_point_at_one_row_stand_side_by_side(
    new_window: NewWindow, room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    wire.tell(await points(here, 5))
    wire.tell(await points(here, 5, LYNX))
    await tagged(here, 5, "Otter points here")
    await tagged(here, 5, "Lynx points here")
    for number in range(3):
        wire.tell(await points(here, 5, f"{number}" * 16))
    await tagged(here, 5, "+3")
    # One of them moves on; who was only counted is named again.
    wire.tell(await points(here, 6, "2" * 16))
    await tagged(here, 5, "+2")


async def test_a_name_stays_text_wherever_it_is_shown(new_window: NewWindow, room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    wire.tell(await points(here, 5, name=HOSTILE))
    wire.tell(await points(here, 4_000, LYNX, name=HOSTILE))
    await tagged(here, 5, HOSTILE)
    assert HOSTILE in await here.page.inner_text("#pointing:visible")
    assert await here.page.evaluate("window.hit") is None


async def test_a_pointer_into_another_table_marks_nothing(new_window: NewWindow, room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    wire.tell(await points(here, 5, document="0123456789ab"))
    wire.tell(await points(here, 6, LYNX))
    await tagged(here, 6, "Lynx")
    assert len(await here.page.query_selector_all("tr.pointed")) == 1
    assert not await here.page.is_visible("#pointing")


async def test_moving_about_the_table_is_told_at_a_pace_that_the_server_takes(
    new_window: NewWindow, room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    await pick(here, 1)
    for _ in range(40):
        await here.page.keyboard.press("ArrowDown")
    # The last one is told, the rest only as far as there was time.
    await until(lambda: bool(wire.sent_of("point")) and wire.sent_of("point")[-1]["row"] == 41)
    rows = [message["row"] for message in wire.sent_of("point")]
    assert len(rows) < 40, rows
    # Rows of a page that is turned to are not pointed at.
    await here.page.keyboard.press("PageDown")
    await here.shows(2)
    await until(lambda: wire.sent_of("point")[-1]["row"] is None)


async def test_guests_point_at_nothing_while_others_present(
    new_window: NewWindow, node: Node
) -> None:
    room, owners = await put_presented(node, table(500))
    wire = Wire()
    guest = await wire.open(new_window, room)
    presenter = await open_window(new_window, owners)
    await presenter.page.wait_for_selector("#presenting[data-presents=true]")
    await guest.page.wait_for_selector("#presenting[data-presents=false]")
    await pick(guest, 4)
    await guest.page.wait_for_selector("#selection:visible")
    await pick(presenter, 7)
    await tagged(guest, 7, await presenter.page.inner_text("#own-name bdi"))
    assert wire.sent_of("point") == []
    assert await presenter.page.query_selector("tr.pointed") is None


async def test_on_a_phone_no_cell_is_covered_by_who_points_at_it(
    new_window: NewWindow, room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room, viewport={"width": 390, "height": 844})
    wire.tell(await points(here, 5, name="A very long name indeed"))
    await tagged(here, 5, "A very long name")
    # It comes in from beside.
    await here.page.wait_for_function(
        """() => {
            const tag = document.querySelector(".tag").getBoundingClientRect();
            const number = document.querySelector("th[data-row='5']").getBoundingClientRect();
            return tag.left >= number.left && tag.right <= number.right;
        }"""
    )


@pytest.mark.parametrize("width", [390, 1440])
async def test_the_tag_stands_in_sight_however_far_the_table_is_scrolled(
    new_window: NewWindow, node: Node, width: int
) -> None:
    room = await put_table(node, table(200, columns=200))
    wire = Wire()
    here = await wire.open(new_window, room, viewport={"width": width, "height": 844})
    wire.tell(await points(here, 5))
    await tagged(here, 5, "Otter")
    for left in (0, 3_000, 1_000_000):
        await here.page.eval_on_selector("#scroller", "(box, x) => (box.scrollLeft = x)", left)
        await here.page.wait_for_function(
            """() => {
                const tag = document.querySelector(".tag")?.getBoundingClientRect();
                const box = document.querySelector("#scroller").getBoundingClientRect();
                return tag && tag.left >= box.left && tag.right <= box.right;
            }"""
        )
