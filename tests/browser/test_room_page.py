"""The room's page in a real browser: what a viewer sees and does, on one node without Redis."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.rooms import open_window, put_table
from tests.browser.window import Window
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(90), pytest.mark.processes]

HOSTILE = "<img src=x onerror=\"window.hit='cell'\"><script>window.hit='script'</script>"


async def open_room(
    new_window: Callable[..., Any], node: Node, data: bytes, name: str = "t.tsv", **options: Any
) -> Window:
    return await open_window(new_window, await put_table(node, data, name), **options)


async def overflow(window: Window) -> float:
    """How many pixels the page is wider than the window (the table scrolls in its own box)."""
    wide: float = await window.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide


async def test_pages_are_turned_by_keyboard(new_window: Callable[..., Any], node: Node) -> None:
    window = await open_room(new_window, node, table(1_000))
    for key, page_no in [
        ("ArrowRight", 2),
        ("PageDown", 3),
        ("ArrowLeft", 2),
        ("End", 10),
        ("PageUp", 9),
        ("Home", 1),
    ]:
        await window.page.keyboard.press(key)
        await window.shows(page_no)
    # A screen reader is told once the page stays.
    await window.page.wait_for_function(
        """() => { const told = document.querySelector("#announce").textContent;
            return told.includes("Page 1 of 10") && told.includes("rows 1 to 100"); }"""
    )


async def test_a_page_number_that_is_not_there_is_refused_and_everyone_keeps_the_page(
    new_window: Callable[..., Any], node: Node
) -> None:
    window = await open_room(new_window, node, table(1_000))
    await window.go_to(7)
    await window.shows(7)
    await window.go_to(11)
    notice = await window.page.wait_for_selector("#notice:visible")
    assert "1 to 10" in await notice.inner_text()
    await window.shows(7)


async def test_what_was_said_of_the_page_goes_with_it(
    new_window: Callable[..., Any], node: Node
) -> None:
    window = await open_window(new_window, await put_table(node, table(500)))
    await window.page.fill("#page-input", "abc")
    await window.page.press("#page-input", "Enter")
    await window.page.wait_for_selector("#notice:has-text('stays on page 1')")
    await window.go_to(3)
    await window.shows(3)
    await window.page.wait_for_selector("#notice", state="hidden")


async def test_cells_are_copied_as_tsv(new_window: Callable[..., Any], node: Node) -> None:
    window = await open_room(
        new_window, node, table(20), permissions=["clipboard-read", "clipboard-write"]
    )
    await window.page.click("#table tbody tr:nth-child(2) td >> nth=0")
    await window.page.keyboard.press("Shift+ArrowRight")
    await window.page.keyboard.press("Shift+ArrowDown")
    await window.page.keyboard.press("Control+c")
    await window.page.wait_for_function(
        "navigator.clipboard.readText().then(t => t.includes('\\t'))"
    )
    copied = await window.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip().splitlines() == ["2\tname 2.1", "3\tname 3.1"]


async def test_a_shortened_cell_can_be_read_whole(
    new_window: Callable[..., Any], node: Node
) -> None:
    cell = "".join(f"word {number} " for number in range(20_000))
    window = await open_room(new_window, node, f"a\tb\n1\t{cell}\n".encode())
    await window.page.click("#table [data-action=whole]")
    await window.page.wait_for_function(
        "size => document.querySelector('#reader-text')?.textContent.length === size",
        arg=len(cell),
    )


async def test_columns_are_made_wider_by_keyboard(
    new_window: Callable[..., Any], node: Node
) -> None:
    window = await open_room(new_window, node, f"a\tb\n1\t{'x' * 4_000}\n".encode())
    assert await overflow(window) == 0
    head = "#table th[data-column='1']"
    before = (await (await window.page.wait_for_selector(head)).bounding_box())["width"]
    await window.page.focus(f"{head} [role=separator]")
    for _ in range(5):
        await window.page.keyboard.press("ArrowRight")
    await window.page.wait_for_function(
        "([head, before]) => document.querySelector(head).getBoundingClientRect().width > before",
        arg=[head, before],
    )


@pytest.mark.parametrize("size", [(1440, 900), (390, 844), (2560, 1440)], ids=str)
@pytest.mark.parametrize("kind", ["wide", "long", "empty", "header"])
async def test_no_table_breaks_the_layout(
    new_window: Callable[..., Any], node: Node, size: tuple[int, int], kind: str
) -> None:
    names = "\t".join(f"column {n}" for n in range(200))
    data = {
        "wide": (names + "\n" + "\t".join("cell" for _ in range(200)) + "\n").encode(),
        "long": f"a\tb\n{'y' * 4_000}\t{'word ' * 800}\n".encode(),
        "header": b"a\tb\tc\n",
    }.get(kind)
    options = {"viewport": {"width": size[0], "height": size[1]}}
    name = "a-very-long-file-name-" * 10 + ".tsv"
    if data is None:
        window = await Window.open(new_window, f"{node.url}/t/{uuid.uuid4()}", **options)
        await window.live()
    else:
        window = await open_room(new_window, node, data, name, **options)
    assert await overflow(window) == 0
    assert await window.page.is_visible("[data-action=share]")
    box = await (await window.page.wait_for_selector("[data-action=share]")).bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size[0]
    assert window.errors == []


async def test_whatever_stands_in_a_file_is_text(
    new_window: Callable[..., Any], node: Node
) -> None:
    data = f"{HOSTILE}\tb\n{HOSTILE}\t</script><script>window.hit='boot'</script>\n".encode()
    window = await open_room(new_window, node, data, name=f"{HOSTILE}.tsv")
    assert (await window.cells(1))[0] == HOSTILE
    assert await window.page.evaluate("window.hit") is None
    # Rendered by script too, after a page turn's worth of messages.
    await put_table(node, data, HOSTILE, room=window.page.url.rpartition("/")[2])
    await window.page.wait_for_function(
        "() => document.querySelector('#facts').textContent.includes('version 2')"
    )
    assert (await window.cells(1))[0] == HOSTILE
    assert await window.page.evaluate("window.hit") is None


async def test_a_line_break_in_a_cell_shows_and_is_no_part_of_it(
    new_window: Callable[..., Any], node: Node
) -> None:
    window = await open_room(new_window, node, b'a\tb\n"one\ntwo\n\nfour"\tx\n')
    assert await window.cells(1) == ["one\ntwo\n\nfour", "x"]
    marks = await window.page.eval_on_selector_all(
        "#table td .break", "marks => marks.map(mark => getComputedStyle(mark, '::before').content)"
    )
    assert marks == ['"↵"'] * 3


@pytest.mark.parametrize("size", [(720, 450), (844, 390)], ids=str)
async def test_a_low_window_has_one_line_below_the_table(
    new_window: Callable[..., Any], node: Node, size: tuple[int, int]
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    window = await open_room(new_window, node, table(9_000), viewport=viewport)
    for act in ("nothing", "turned", "selected", "browse"):
        if act == "turned":
            await window.go_to(40)
            await window.shows(40)
        elif act == "selected":
            await window.page.click("#table tbody td >> nth=1")
            await window.page.wait_for_selector("#selection:visible")
        elif act == "browse":
            await window.page.keyboard.press("Escape")
            await window.do("browse")
        pager = await window.page.locator("#pager").bounding_box()
        assert pager
        assert pager["height"] < 60, act
        for part in await window.page.query_selector_all("#pager :is(button, .turn a)"):
            if not await part.is_visible():
                continue
            box = await part.bounding_box()
            assert box
            assert 0 <= box["x"] <= box["x"] + box["width"] <= size[0], act
        assert await overflow(window) == 0


async def test_the_table_reads_without_javascript(
    new_window: Callable[..., Any], node: Node
) -> None:
    url = await put_table(node, table(1_000))
    window = await Window.open(new_window, url, java_script_enabled=False)
    assert await window.page.inner_text("#table tbody tr:first-child td >> nth=0") == "1"
    await window.page.click("a[data-action=next]")
    assert await window.page.inner_text("#table tbody tr:first-child td >> nth=0") == "101"
    await window.page.fill("#page-input", "10")
    await window.page.press("#page-input", "Enter")
    assert await window.page.inner_text("#table tbody tr:first-child td >> nth=0") == "901"


async def test_the_theme_follows_the_system_and_can_be_switched(
    new_window: Callable[..., Any], node: Node
) -> None:
    def shade() -> str:
        return "getComputedStyle(document.body).backgroundColor"

    window = await open_room(new_window, node, table(5), color_scheme="dark")
    dark = await window.page.evaluate(shade())
    for _ in range(3):
        await window.do("theme")
        if await window.page.evaluate("document.documentElement.dataset.theme") == "light":
            break
    light = await window.page.evaluate(shade())
    assert light != dark
    await window.page.reload()
    assert await window.page.evaluate(shade()) == light


async def test_leaving_while_a_file_is_sent_asks_first(
    new_window: Callable[..., Any], node: Node, tmp_path: Path
) -> None:
    file = tmp_path / "big.tsv"
    file.write_bytes(table(900_000))
    window = await Window.open(new_window, f"{node.url}/t/{uuid.uuid4()}")
    await window.live()
    asked: list[str] = []

    async def answer(dialog: Any) -> None:
        asked.append(dialog.type)
        await dialog.accept()

    window.page.on("dialog", answer)
    # A browser asks only whoever has done something on the page.
    await window.page.click("#name")
    await window.choose(file)
    await window.shows(1)
    await window.page.goto("about:blank")
    assert asked == ["beforeunload"]


async def test_a_cancelled_upload_brings_the_table_back_and_says_so(
    new_window: Callable[..., Any], node: Node, tmp_path: Path
) -> None:
    file = tmp_path / "never.tsv"
    file.write_bytes(table(900_000, name="never"))
    window = await open_room(new_window, node, table(500), name="before.tsv")
    await window.go_to(4)
    await window.shows(4)
    await window.choose(file)
    await window.page.wait_for_selector('#table th:has-text("never 1")')
    await window.do("cancel")
    await window.shows(4, "301")
    await window.page.wait_for_selector('#name:has-text("before.tsv")')


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.tsv", b"", "empty"),
        ("picture.tsv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "PNG"),
    ],
)
async def test_a_file_that_is_no_table_is_refused_in_words_and_the_table_stays(
    new_window: Callable[..., Any], node: Node, tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    window = await open_room(new_window, node, table(5))
    await window.choose(file)
    notice = await window.page.wait_for_selector("#notice:visible")
    assert says in await notice.inner_text()
    assert (await window.cells(1))[0] == "1"


async def test_everyone_sees_how_many_are_watching(
    new_window: Callable[..., Any], node: Node
) -> None:
    first = await open_room(new_window, node, table(5))
    second = await Window.open(new_window, first.page.url)
    for window in (first, second):
        await window.page.wait_for_selector("#watchers[data-count='2']", state="attached")
    await second.page.close()
    await first.page.wait_for_selector("#watchers[data-count='1']", state="attached")


async def test_the_share_button_copies_the_rooms_link(
    new_window: Callable[..., Any], node: Node
) -> None:
    window = await open_room(
        new_window, node, table(5), permissions=["clipboard-read", "clipboard-write"]
    )
    await window.do("share")
    await window.page.wait_for_function(
        "url => navigator.clipboard.readText().then(t => t === url)", arg=window.page.url
    )


async def test_every_control_has_a_name(new_window: Callable[..., Any], node: Node) -> None:
    window = await open_room(new_window, node, table(500))
    nameless = await window.page.evaluate(
        """[...document.querySelectorAll("button, a[href], input, [role=button]")]
           .filter(e => e.offsetParent && !(e.ariaLabel || e.innerText.trim() || e.title
                        || e.labels?.length))
           .map(e => e.outerHTML)"""
    )
    assert nameless == [], json.dumps(nameless, indent=1)
