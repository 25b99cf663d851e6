"""Following the room or browsing alone: what turns, what stays, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.browser.rooms import Wire, open_window, put_presented, put_table
from tests.browser.window import Window
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes]

NewWindow = Callable[..., Any]
SCROLLER = "#scroller"


@pytest_asyncio.fixture(loop_scope="session")
async def room(node: Node) -> str:
    """The address of a room with a table of 50 pages."""
    return await put_table(node, table(5_000))


def id_of(room: str) -> str:
    return room.rsplit("/", 1)[1]


async def browses(window: Window) -> None:
    await window.page.wait_for_selector("#following[data-state=browsing]")


async def follows(window: Window) -> None:
    await window.page.wait_for_selector("#following[data-state=following]")


async def room_is_on(window: Window, page_no: int) -> None:
    """Wait until a browsing window says where the room is."""
    await window.page.wait_for_function(
        "text => document.querySelector('#following p').innerText.endsWith(text)",
        arg=f" page {page_no:,}",
    )


async def browse_to(window: Window, page_no: int) -> None:
    await window.do("browse")
    await browses(window)
    await window.go_to(page_no)
    await window.shows(page_no)


async def scroll_to(window: Window, top: int) -> None:
    await window.page.eval_on_selector(SCROLLER, "(box, top) => (box.scrollTop = top)", top)


async def scrolled(window: Window) -> int:
    top: int = await window.page.eval_on_selector(SCROLLER, "box => box.scrollTop")
    return top


async def row_in_sight(window: Window, row: int) -> None:
    """Wait until a row lies between the header and the pager."""
    await window.page.wait_for_function(
        """row => {
            const cell = document.querySelector(`th[data-row="${row}"]`);
            if (!cell) return false;
            const box = document.querySelector("#scroller").getBoundingClientRect();
            const { top, bottom } = cell.getBoundingClientRect();
            return top >= box.top + 20 && bottom <= box.bottom + 1;
        }""",
        arg=row,
    )


async def test_whoever_browses_turns_pages_alone_and_is_told_where_the_room_is(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await follows(here)
    await browse_to(here, 9)
    await room_is_on(here, 1)
    # The room does not move with it, nor it with the room.
    await there.do("next")
    await there.shows(2, "101")
    await room_is_on(here, 2)
    await here.shows(9, "801")
    await here.page.keyboard.press("Escape")
    await here.do("next")
    await here.shows(10, "901")
    await there.shows(2)
    await here.do("rejoin")
    await here.shows(2, "101")
    await follows(here)
    # A turn is everyone's again.
    await here.do("next")
    await there.shows(3, "201")
    assert here.errors == there.errors == []


async def test_coming_back_needs_no_answer_from_the_server(
    new_window: NewWindow, room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    there = await open_window(new_window, room)
    await browse_to(here, 9)
    await there.go_to(7)
    await room_is_on(here, 7)
    wire.muted.add("page")
    await here.do("rejoin")
    await here.shows(7, "601")


async def test_everyone_can_be_brought_to_the_page_of_one_who_browses(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await browse_to(here, 20)
    await scroll_to(here, 500)
    await here.do("bring")
    await there.shows(20, "1901")
    await follows(here)
    await here.shows(20, "1901")
    # Who brings the others has their page already; it does not move.
    assert await scrolled(here) == 500


async def test_nobody_who_browses_is_scrolled_whatever_the_room_does(
    new_window: NewWindow, node: Node, room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await browse_to(here, 9)
    await scroll_to(here, 640)
    await there.go_to(30)
    await room_is_on(here, 30)
    assert await scrolled(here) == 640
    # Another table: the same page of that one, without a movement, and it is said.
    await put_table(node, table(2_000, name="newer"), name="newer.tsv", room=id_of(room))
    await here.page.wait_for_selector('#table th:has-text("newer 1")')
    await here.shows(9, "801")
    assert await scrolled(here) == 640
    said = await here.page.inner_text("#notice:visible")
    for words in ("newer.tsv", "still browsing", "page 9"):
        assert words in said, said
    await browses(here)
    # A shorter one: its last page.
    await put_table(node, table(300, name="short"), name="short.tsv", room=id_of(room))
    await here.page.wait_for_selector('#table th:has-text("short 1")')
    await here.shows(3, "201")
    assert await scrolled(here) == 640
    await here.do("rejoin")
    await here.shows(1, "1")
    await here.page.wait_for_selector("#notice", state="hidden")
    assert here.errors == []


async def test_rows_that_are_read_otherwise_are_read_anew_for_who_browses(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await browse_to(here, 9)
    await scroll_to(here, 330)
    await there.page.evaluate("document.querySelector('#report').showPopover()")
    await there.page.click("#report-form [name=header]")
    await there.page.click("#report-form [type=submit]")
    # Without a header its row is one of the table, and all others move down by one.
    await here.shows(9, "800")
    assert await scrolled(here) == 330
    await browses(here)


async def test_the_last_page_fills_up_for_who_browses_there(
    new_window: NewWindow, node: Node
) -> None:
    room = await put_table(node, table(1_050))
    here = await open_window(new_window, room)
    await browse_to(here, 11)
    await scroll_to(here, 300)
    rows = "".join(f"{number}\tadded\trow\n" for number in range(1_051, 1_061))
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{node.url}/api/rooms/{id_of(room)}/document/rows", data=rows.encode()
        ) as answer,
    ):
        assert answer.status == 200, await answer.text()
    await here.page.wait_for_selector('th[data-row="1060"]', state="attached")
    assert await scrolled(here) == 300
    await browses(here)


async def test_who_browses_still_browses_after_the_connection_was_lost(
    new_window: NewWindow, room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    there = await open_window(new_window, room)
    await browse_to(here, 9)
    await here.page.context.set_offline(True)
    await here.page.wait_for_selector("#status[data-state=reconnecting]")
    await there.go_to(33)
    await there.shows(33)
    before = len(wire.sent_of("peek"))
    await here.page.context.set_offline(False)
    await here.live()
    await room_is_on(here, 33)
    await here.shows(9, "801")
    await browses(here)
    # The room heard of it, too.
    peeks = wire.sent_of("peek")[before:]
    assert [peek["page_no"] for peek in peeks] == [9]


async def test_a_guest_s_turn_in_a_presenting_room_is_for_the_guest_alone(
    new_window: NewWindow, node: Node
) -> None:
    room, owners = await put_presented(node, table(5_000))
    presenter = await open_window(new_window, owners)
    guest = await open_window(new_window, room)
    await presenter.page.wait_for_selector("#presenting[data-presents=true]")
    await guest.page.wait_for_selector("#presenting[data-presents=false]")
    await guest.do("next")
    await guest.shows(2, "101")
    await browses(guest)
    assert "browsing on your own" in await guest.page.inner_text("#notice:visible")
    assert not await guest.page.is_visible("[data-action=bring]")
    await presenter.shows(1, "1")
    await presenter.do("last")
    await room_is_on(guest, 50)
    await guest.do("rejoin")
    await guest.shows(50, "4901")
    # Presenters turn for all, and may bring all.
    await browse_to(presenter, 5)
    await presenter.do("bring")
    await guest.shows(5, "401")
    assert presenter.errors == guest.errors == []


async def test_a_link_to_a_row_opens_there_for_its_reader_alone(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    late = await open_window(new_window, f"{room}#r1203c2")
    await late.shows(13, "1201")
    await row_in_sight(late, 1203)
    await late.page.wait_for_selector("#table tr.target td.target:has-text('name 1203.1')")
    await browses(late)
    await here.shows(1, "1")
    # On the page that is shown already, it only scrolls.
    await here.page.evaluate("location.hash = 'r77'")
    await row_in_sight(here, 77)
    await here.page.wait_for_selector("#table tr.target th[data-row='77']")
    await follows(here)
    # What is not there is said.
    await here.page.evaluate("location.hash = 'r5001'")
    assert "There is no row 5,001" in await here.page.inner_text("#notice:visible")
    await here.shows(1, "1")


async def test_a_link_to_a_page_opens_there_for_its_reader_alone(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    late = await open_window(new_window, f"{room}?page=3")
    await late.shows(3, "201")
    await browses(late)
    assert "page 1" in await late.page.inner_text("#following p")
    assert late.page.url == room
    await here.go_to(5)
    await here.shows(5)
    await late.page.wait_for_selector("#following p:has-text('page 5')")
    await late.shows(3, "201")
    # With a row of that page, the row is shown.
    at_row = await open_window(new_window, f"{room}?page=3#r250")
    await row_in_sight(at_row, 250)
    await browses(at_row)
    # Where the room is anyway there is nothing to browse.
    there = await open_window(new_window, f"{room}?page=5")
    await there.shows(5)
    await follows(there)


async def test_the_link_of_a_row_is_copied(new_window: NewWindow, room: str) -> None:
    here = await open_window(new_window, room, permissions=["clipboard-read", "clipboard-write"])
    await here.page.click("th[data-row='7']")
    await here.do("copy-row-link")
    await here.page.wait_for_selector("#selection-text:has-text('Link copied')")
    assert await here.page.evaluate("navigator.clipboard.readText()") == f"{room}#r7"
    await here.page.click("#table tbody tr:nth-child(8) td >> nth=1")
    await here.do("copy-row-link")
    await here.page.wait_for_selector("#selection-text:has-text('Link copied')")
    assert await here.page.evaluate("navigator.clipboard.readText()") == f"{room}#r8c2"


async def test_whoever_turned_the_page_is_named_and_the_turn_can_be_undone(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await here.go_to(9)
    await there.shows(9)
    name = await here.page.inner_text("#own-name bdi")
    await there.page.wait_for_function(
        "text => document.querySelector('#turned').textContent.startsWith(text)",
        arg=f"{name} turned to page 9",
    )
    assert (await here.page.inner_text("#turned p")).startswith("You turned to page 9")
    await there.do("undo")
    await here.shows(1, "1")
    await here.page.wait_for_function(
        "() => document.querySelector('#turned').innerText.includes('turned to page 1')"
    )
    # An undo is a turn like any other, and can be undone.
    await here.do("undo")
    await there.shows(9, "801")


async def test_the_strip_shows_where_people_are(new_window: NewWindow, room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    await here.page.wait_for_selector("#following:visible")
    wire.muted.add("here")
    wire.tell({"type": "here", "count": 14, "people": None, "pages": {"1": 4, "41": 9, "20": 1}})
    dots = "#strip-dots [data-page='{}'][data-count='{}']"
    few, many = here.page.locator(dots.format(20, 1)), here.page.locator(dots.format(41, 9))
    # Its own viewer is not among the others.
    await here.page.wait_for_selector(dots.format(1, 3))
    small, large = await few.bounding_box(), await many.bounding_box()
    assert small
    assert large
    assert large["width"] > small["width"]
    await here.page.mouse.move(large["x"] + large["width"] / 2, large["y"] + large["height"] / 2)
    assert await here.page.inner_text("#strip-tip:visible") == "Page 41: 9 people"
    # By keyboard it is a slider that says the same.
    await here.page.focus("#scrub")
    assert await here.page.get_attribute("#scrub", "aria-valuetext") == (
        "Page 1 of 50, 3 others are there"
    )
    await here.page.keyboard.press("End")
    await here.shows(50)


async def test_a_key_leaves_the_room_s_page_and_comes_back(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    await follows(here)
    await here.page.keyboard.press("b")
    await browses(here)
    await here.page.keyboard.press("b")
    await follows(here)
    # In a field it is a letter.
    await here.page.focus("#say-body")
    await here.page.keyboard.press("b")
    assert await here.page.input_value("#say-body") == "b"
    await follows(here)
    await here.page.eval_on_selector("#say-body", "field => field.blur()")
    # All keys are listed; single letters can be switched off, for who speaks to their computer.
    await here.page.keyboard.press("?")
    await here.page.wait_for_selector("#shortcuts:popover-open")
    await here.page.uncheck("#letters")
    await here.page.keyboard.press("Escape")
    await here.page.wait_for_selector("#shortcuts", state="hidden")
    await here.page.eval_on_selector("body", "() => document.activeElement.blur()")
    await here.page.keyboard.press("b")
    await here.page.keyboard.press("?")
    await here.page.keyboard.press("ArrowRight")
    await here.shows(2, "101")
    await follows(here)
    assert not await here.page.is_visible("#shortcuts")


async def test_without_a_focus_the_arrows_and_space_scroll_the_table(
    new_window: NewWindow, room: str
) -> None:
    here = await open_window(new_window, room)
    assert await here.page.evaluate("document.activeElement === document.body")
    await here.page.keyboard.press("ArrowDown")
    assert await scrolled(here) > 0
    await here.page.keyboard.press("ArrowUp")
    assert await scrolled(here) == 0
    await here.page.keyboard.press("Space")
    page = await here.page.eval_on_selector(SCROLLER, "box => box.clientHeight")
    assert page / 2 < await scrolled(here) <= page
    await here.page.keyboard.press("Shift+Space")
    assert await scrolled(here) == 0
    await here.shows(1)


@pytest.mark.parametrize("width", [360, 800, 1440])
async def test_where_the_room_is_and_the_way_back_are_in_sight_at_any_width(
    new_window: NewWindow, room: str, width: int
) -> None:
    here = await open_window(new_window, room, viewport={"width": width, "height": 800})
    there = await open_window(new_window, room)
    await here.page.wait_for_selector("[data-action=browse]:visible")
    await browse_to(here, 9)
    await there.do("last")
    await room_is_on(here, 50)
    for selector in ("#following p", "[data-action=rejoin]", "[data-action=bring]"):
        whole = await here.page.eval_on_selector(
            selector,
            """element => {
                const { left, right } = element.getBoundingClientRect();
                const cut = element.scrollWidth > element.clientWidth + 1;
                return left >= 0 && right <= innerWidth && !cut;
            }""",
        )
        assert whole, selector
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await here.page.evaluate(wide) == 0


# Buttons of the pager that are there, but are not what one would click in their middle.
COVERED = """() => [...document.querySelectorAll("#pager :is(button, a.button)")]
    .filter((button) => button.checkVisibility())
    .filter((button) => {
        const { left, right, top, bottom } = button.getBoundingClientRect();
        return ![left + 4, (left + right) / 2, right - 4].every((x) =>
            button.contains(document.elementFromPoint(x, (top + bottom) / 2)));
    })
    .map((button) => `${innerWidth}: ${button.dataset.action}`)"""


async def test_what_is_selected_leaves_the_way_back_in_sight_at_every_width(
    new_window: NewWindow, node: Node
) -> None:
    url = await put_table(node, b"a column with quite a long name\tb\n" + b"1\t2\n" * 5_000)
    here = await open_window(new_window, url)
    await browse_to(here, 9)
    await here.page.click("#table tbody td >> nth=1")
    covered: list[str] = []
    for width in (360, 390, 640, 761, 800, 860, 920, 1000, 1101, *range(1120, 1640, 40), 1920):
        await here.page.set_viewport_size({"width": width, "height": 800})
        covered += await here.page.evaluate(COVERED)
        assert await here.page.is_visible("[data-action=rejoin]")
        assert await here.page.is_visible("[data-action=quote]")
    assert covered == []
