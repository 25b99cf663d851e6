"""Who is here, in a real browser: names, colours, where everyone looks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.rooms import Message, Wire, open_window, put_table
from tests.browser.window import Window, until
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes, pytest.mark.slow]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest_asyncio.fixture(loop_scope="session")
async def room(node: Node) -> str:
    """The address of a room with a table of 1,000 rows."""
    return await put_table(node, table(1_000))


def person(number: int, name: str, page_no: int | None = 1, **more: Any) -> Message:
    return {
        "id": f"{number:016x}",
        "name": name,
        "color": number % 10,
        "page_no": page_no,
        "browsing": False,
        "role": "guest",
    } | more


def here_are(*people: Message) -> Message:
    return {"type": "here", "count": len(people), "people": list(people), "pages": {}}


async def wired(new_window: Callable[..., Any], room: str, **options: Any) -> tuple[Window, Wire]:
    """A window that is told by the test alone who is here."""
    wire = Wire()
    wire.muted = {"here"}
    return await wire.open(new_window, room, **options), wire


async def test_a_colour_by_chance_makes_way_for_one_that_somebody_has(
    new_window: Callable[..., Any], room: str
) -> None:
    here, wire = await wired(new_window, room)
    (mine,) = wire.sent_of("me")
    taken = mine["color"]
    wire.tell(here_are(person(taken, "Somebody else"), person(taken + 11, "Another")))
    await until(lambda: len(wire.sent_of("me")) == 2)
    assert wire.sent_of("me")[1]["color"] not in {taken, (taken + 1) % 10}
    # Once, on entering: whoever comes later makes way.
    own = wire.sent_of("me")[1]["color"]
    wire.tell(here_are(person(own, "A third")))
    await lists(here, ["A third"])
    assert len(wire.sent_of("me")) == 2


async def test_a_colour_that_was_chosen_stays(new_window: Callable[..., Any], room: str) -> None:
    here, wire = await wired(new_window, room)
    await here.page.evaluate(
        """() => {
            localStorage.setItem("tablecast.color", "7");
            localStorage.setItem("tablecast.color.chosen", "1");
        }"""
    )
    await here.page.reload()
    await here.live()
    told = len(wire.sent_of("me"))
    assert wire.sent_of("me")[-1]["color"] == 7
    wire.tell(here_are(person(7, "Somebody else")))
    await lists(here, ["Somebody else"])
    assert len(wire.sent_of("me")) == told


async def own_name(window: Window) -> str:
    return await window.page.inner_text("#own-name bdi")


async def lists(window: Window, names: list[str]) -> None:
    """Wait until the list of others has exactly these names, in this order."""
    await window.page.wait_for_function(
        """names => JSON.stringify([...document.querySelectorAll("#people-list bdi")]
            .map((name) => name.textContent)) === JSON.stringify(names)""",
        arg=names,
    )


async def test_everyone_has_a_name_that_the_browser_remembers(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    name = await own_name(here)
    assert name.isalpha()
    color = await here.page.get_attribute("#own-name", "data-person")
    await here.page.reload()
    await here.live()
    assert await own_name(here) == name
    assert await here.page.get_attribute("#own-name", "data-person") == color


async def test_a_name_that_is_changed_is_seen_by_the_others(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await there.page.click("#tab-people")
    await here.page.click("#tab-people")
    await here.page.click("#own-entry")
    await here.page.fill("#people .identity input[type=text]", "  Ada   Lovelace ")
    await here.page.click("#people .swatch:nth-child(8)")
    await here.page.press("#people .identity input[type=text]", "Enter")
    await lists(there, ["Ada Lovelace"])
    await there.page.wait_for_selector("#people-list [data-person='7'] .where:text('page 1')")
    assert await here.page.evaluate("document.activeElement.id") == "own-entry"
    # Above the field too, and after a reload.
    await here.page.click("#tab-chat")
    assert await own_name(here) == "Ada Lovelace"
    await here.page.reload()
    await here.live()
    assert await own_name(here) == "Ada Lovelace"
    # Esc keeps the old one.
    await here.page.click("#own-name")
    await here.page.fill("#chat .identity input[type=text]", "Somebody else")
    await here.page.keyboard.press("Escape")
    assert await own_name(here) == "Ada Lovelace"
    assert await here.page.evaluate("document.activeElement.id") == "own-name"


async def test_a_second_tab_of_the_same_browser_goes_by_the_same_name(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    tab = Window(await here.page.context.new_page())
    await tab.page.goto(room)
    await tab.live()
    assert await own_name(tab) == await own_name(here)
    await here.page.click("#own-name")
    await here.page.fill("#chat .identity input[type=text]", "Two Tabs")
    await here.page.keyboard.press("Enter")
    await tab.page.wait_for_selector("#own-name bdi:text('Two Tabs')")


async def test_who_leaves_is_gone_from_the_list(new_window: Callable[..., Any], room: str) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await here.page.click("#tab-people")
    await lists(here, [await own_name(there)])
    assert await here.page.inner_text("#people-count") == "2"
    await there.page.close()
    await lists(here, [])
    await here.page.wait_for_selector("#watchers[data-count='1']")


async def test_the_list_tells_where_everyone_looks_and_leads_there(
    new_window: Callable[..., Any], room: str
) -> None:
    here, wire = await wired(new_window, room)
    await here.page.click("#tab-people")
    wire.tell(
        here_are(
            person(3, "Otter", 1),
            person(1, "Heron", 7, browsing=True, role="presenter"),
            person(2, "Lynx", None, role="owner"),
        )
    )
    await lists(here, ["Heron", "Lynx", "Otter"])
    rows = await here.page.eval_on_selector_all(
        "#people-list .person",
        """all => all.map((row) => [".badge", ".where"].map((part) => {
            const found = row.querySelector(part);
            return found.hidden ? "" : found.textContent;
        }))""",
    )
    assert rows == [["presenter", "browsing page 7"], ["owner", ""], ["", "page 1"]]
    # Who looks at no page leads nowhere.
    assert await here.page.is_disabled("#people-list li:nth-child(2) button")
    await here.page.click("#people-list li:first-child button")
    await here.shows(7)
    await until(lambda: {"type": "peek", "page_no": 7} in wire.sent)


async def test_the_list_keeps_the_focus_while_people_come_and_go(
    new_window: Callable[..., Any], room: str
) -> None:
    here, wire = await wired(new_window, room)
    await here.page.click("#tab-people")
    wire.tell(here_are(person(1, "Lynx"), person(2, "Otter")))
    await lists(here, ["Lynx", "Otter"])
    await here.page.focus("#people-list li:nth-child(2) button")
    wire.tell(here_are(person(2, "Otter"), person(4, "Badger"), person(1, "Zebra")))
    await lists(here, ["Badger", "Otter", "Zebra"])
    assert "Otter" in await here.page.evaluate("document.activeElement.textContent")
    wire.tell(here_are(person(1, "Zebra")))
    await lists(here, ["Zebra"])
    assert await here.page.evaluate("document.activeElement.id") == "tab-people"


async def test_the_bar_shows_three_faces_and_counts_the_others(
    new_window: Callable[..., Any], room: str
) -> None:
    here, wire = await wired(new_window, room)
    wire.tell(here_are(*[person(number, f"Person {number}") for number in range(12)]))
    await here.page.wait_for_selector("#watchers[data-count='12']")
    faces = await here.page.eval_on_selector_all(
        "#faces .face", "all => all.map((face) => face.textContent)"
    )
    assert faces == ["P0", "P1", "P2", "+9"]
    assert await here.page.text_content("#watchers-text") == "12 here"
    await here.page.click("#watchers")
    await here.page.wait_for_selector("#people:visible")
    assert await here.page.evaluate("document.activeElement.id") == "tab-people"


async def test_a_large_room_shows_counts(new_window: Callable[..., Any], room: str) -> None:
    here, wire = await wired(new_window, room)
    await here.page.click("#tab-people")
    wire.tell({"type": "here", "count": 1_204, "people": None, "pages": {"3": 41, "1": 1_163}})
    await here.page.wait_for_selector("#people-lead:text('1,204 people are here')")
    pages = await here.page.eval_on_selector_all(
        "#people-pages .person", "all => all.map((row) => row.innerText.replace(/\\s+/g, ' '))"
    )
    assert pages == ["Page 1 1,163 people", "Page 3 41 people"]
    # Where few look, they are counted together.
    many = {str(page): 60 - page for page in range(1, 21)}
    wire.tell({"type": "here", "count": 1_204, "people": None, "pages": many})
    hint = await here.page.wait_for_selector("#people-pages .hint")
    listed = sum(sorted(many.values())[-12:])
    assert await hint.inner_text() == f"and {1_204 - listed} on other pages"
    assert await here.page.inner_text("#faces") == "1.2K"
    await here.page.click("#people-pages [data-page='3']")
    await here.shows(3)


async def test_no_name_turns_the_writing_round_or_runs(
    new_window: Callable[..., Any], room: str
) -> None:
    here, wire = await wired(new_window, room)
    await here.page.click("#tab-people")
    hostile = "<img src=x onerror=hit=1>"
    # A node cleans names; this one does not.
    wire.tell(here_are(person(1, "\u202eretto\u2066"), person(2, hostile), person(3, "שלום")))
    await here.page.wait_for_selector("#people-list li:nth-child(3)")
    assert await here.page.evaluate("window.hit") is None
    assert await here.page.query_selector("#people img") is None
    # Whatever a name is made of, what stands beside it reads on from left to right.
    places = await here.page.eval_on_selector_all(
        "#people-list .person",
        """all => all.map((row) => [".face", "bdi", ".where"].map((part) =>
            row.querySelector(part).getBoundingClientRect().left))""",
    )
    assert all(face < name == where for face, name, where in places)
    assert await here.page.inner_text("#people-list li:last-child .where") == "page 1"
    # What somebody types is one line without invisible characters, for this window as well.
    await here.page.click("#own-entry")
    await here.page.fill("#people .identity input[type=text]", "\u202eO\u200btter\u2069 x")
    await here.page.keyboard.press("Enter")
    assert await here.page.inner_text("#own-line bdi") == "Otter x"
    assert wire.sent_of("me")[-1]["name"] == "Otter x"


async def test_long_names_break_no_layout(new_window: Callable[..., Any], room: str) -> None:
    for options in ({"viewport": {"width": 1440, "height": 900}}, PHONE):
        here, wire = await wired(new_window, room, **options)
        if options is PHONE:
            await here.page.tap("[data-action=side]")
        await here.page.click("#own-name")
        await here.page.fill("#chat .identity input[type=text]", "W" * 40)
        await here.page.keyboard.press("Enter")
        await here.page.click("#tab-people")
        wire.tell(here_are(person(1, "M" * 40, 9_999_999, browsing=True, role="presenter")))
        await lists(here, ["M" * 40])
        for part in ("document.documentElement", "document.querySelector('#people')"):
            assert await here.page.evaluate(f"{part}.scrollWidth - {part}.clientWidth") == 0


async def test_the_colours_of_people_can_be_read_in_both_themes(
    new_window: Callable[..., Any], room: str
) -> None:
    for scheme in ("light", "dark"):
        here = await open_window(new_window, room, color_scheme=scheme)
        for theme in ("auto", scheme):
            colors = await here.page.evaluate(
                """theme => {
                    if (theme !== "auto") document.documentElement.dataset.theme = theme;
                    const style = getComputedStyle(document.documentElement);
                    const of = (name) => style.getPropertyValue("--" + name).trim();
                    const people = [...Array(10).keys()].map((n) => of("person-" + n));
                    return {people, paper: of("paper"), hover: of("hover"), ink: of("person-ink")};
                }""",
                theme,
            )
            assert len(set(colors["people"])) == 10
            # As text on the page, and as a disc below its letters.
            grounds = [colors["paper"], colors["hover"], colors["ink"]]
            for color, ground in product(colors["people"], grounds):
                assert contrast(color, ground) >= 4.5, (scheme, color, ground)


def contrast(one: str, other: str) -> float:
    """How much two colours differ in lightness, as WCAG 2 has it."""
    darker, lighter = sorted((lightness(one), lightness(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lightness(color: str) -> float:
    parts = [int(color[start:end], 16) / 255 for start, end in pairwise((1, 3, 5, 7))]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
