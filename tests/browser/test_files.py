"""What a viewer sees and does about files: reading, versions, downloads, uploads that go on.

The page comes from a real node. Where it matters what the room says and when (a connection that is
lost in the middle, another file that arrives), a script of the test speaks for the room instead.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.window import Window
from tests.nodes.harness import Node
from tests.room_client import table

if TYPE_CHECKING:
    from playwright.async_api import WebSocketRoute

pytestmark = [pytest.mark.timeout(90), pytest.mark.processes, pytest.mark.slow]

PATIENCE = 10.0  # seconds
DIALECT = {"encoding": "cp1252", "delimiter": ";", "quote": '"', "escape": "", "header": True}
REPORT = {
    **DIALECT,
    "encoding_why": "guess",
    "records": 4_001,
    "columns": 3,
    "ragged": 2,
    "ragged_records": [12, 3_999],
    "replaced": 0,
    "skipped": 1,
    "notes": [],
    "chosen": [],
}

GREBE = {"id": "w", "name": "Grebe", "color": 4}

OpenRoom = Callable[..., Awaitable[tuple[Window, "Room"]]]


def document(id: str = "d3", *, rows: int = 4_000, **changes: Any) -> dict[str, Any]:
    """A `document` register."""
    return {
        "id": id,
        "version": int(id[1:]),
        "name": "trips.csv",
        "size": 1_000,
        "stored": 1_000,
        "records": rows + 1,
        "rows": rows,
        "columns": 3,
        "blocks": 1,
        "complete": True,
        "created": 1_800_000_000_000,
        "dialect": DIALECT,
        "report": REPORT,
    } | changes


def upload(id: str, name: str, size: int, received: int = 0, **changes: Any) -> dict[str, Any]:
    """An `upload` register."""
    return {"id": id, "name": name, "size": size, "received": received, "kind": "upload"} | changes


class Room:
    """The server's side of one window's socket, as a test wants it."""

    def __init__(self, **registers: Any) -> None:
        self.registers = registers
        self.said: list[dict[str, Any]] = []  # what the window said, but for heartbeats and bytes
        self.bytes = 0
        self._rev = 1
        self._socket: WebSocketRoute | None = None
        self._news = asyncio.Event()

    def connect(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(self._heard)
        self.say(
            type="hello",
            viewer="v",
            node="script",
            uuid="",
            limits={"document_bytes": 1 << 30, "chunk_bytes": 65_536, "window_bytes": 262_144},
        )
        self.say(type="state", uuid="", epoch="e", rev=self._rev, set=self.registers, whole=True)
        self._show_page()
        self.say(type="here", count=2)

    def say(self, **message: Any) -> None:
        assert self._socket is not None
        self._socket.send(json.dumps(message))

    def change(self, **registers: Any) -> None:
        """Everyone is told that these registers have changed."""
        self._rev += 1
        self.registers |= registers
        self.say(type="state", uuid="", epoch="e", rev=self._rev, set=registers)
        if "document" in registers:
            self._show_page()

    def refuse(self, code: str, about: str, message: str = "It cannot be.") -> None:
        self.say(type="error", code=code, message=message, retry=True, about=about)

    async def cut_off(self) -> None:
        """The connection is lost; the window comes back by itself."""
        assert self._socket is not None
        await self._socket.close()

    async def hears(self, type: str) -> dict[str, Any]:
        """The next message of this type, whatever else comes before it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for index, message in enumerate(self.said):
                    if message["type"] == type:
                        del self.said[: index + 1]
                        return message
                self._news.clear()
                await self._news.wait()

    async def takes(self, size: int) -> None:
        """Wait until so many bytes of chunks have come."""
        async with asyncio.timeout(PATIENCE):
            while self.bytes < size:
                self._news.clear()
                await self._news.wait()

    def _heard(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.bytes += len(message)
        else:
            self.said.append(json.loads(message))
        self._news.set()

    def _show_page(self) -> None:
        shown = self.registers.get("document")
        if not shown:
            return
        names = [f"column {column}" for column in range(shown["columns"])]
        self.say(
            type="page",
            uuid="",
            document=shown["id"],
            page_no=1,
            page_size=100,
            total_number=shown["rows"],
            first_row=1,
            header=names,
            data=[[f"{row}", "a", "b"] for row in range(1, min(100, shown["rows"]) + 1)],
            cut=[],
        )


@pytest.fixture
def open_room(new_window: Callable[..., Any], node: Node) -> OpenRoom:
    """`await open_room(document=..., ...)`: a live window, and the room that speaks to it."""

    async def open(size: tuple[int, int] = (1440, 900), **registers: Any) -> tuple[Window, Room]:
        room = Room(**({"document": document()} | registers))
        context = await new_window(viewport={"width": size[0], "height": size[1]})
        await context.route_web_socket(re.compile("/ws/"), room.connect)
        window = Window(await context.new_page())
        await window.page.goto(f"{node.url}/t/{uuid.uuid4()}")
        await window.live()
        return window, room

    return open


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of many chunks, and more than fit into the window of an upload."""
    file = tmp_path / "mine.tsv"
    file.write_bytes(b"a\tb\n" + b"1\tabcdefgh\n" * 40_000)
    return file


async def says(window: Window, selector: str, text: str) -> None:
    await window.page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
        arg=[selector, text],
    )


# How a file was read


async def test_how_a_file_was_read_stands_in_one_line_and_in_full_on_demand(
    open_room: OpenRoom,
) -> None:
    window, _ = await open_room()
    await says(window, "#facts", "(a guess), header, 2 ragged rows, 1 line skipped")
    await window.do("report")
    await says(window, "#report", "2 rows have more or fewer cells than the first: rows 12, 3,999")
    await says(window, "#report", "1 line before the table was skipped")
    await says(window, "#report", "This is a guess")
    await says(window, "#report", "It changes for everyone")


async def test_a_ragged_row_is_a_press_away_for_everyone(open_room: OpenRoom) -> None:
    window, room = await open_room()
    await window.do("report")
    await window.page.click("#report [data-row='3999']")
    assert await room.hears("page") == {"type": "page", "page_no": 40}


async def test_a_correction_sends_what_changed_and_says_when_it_is_done(
    open_room: OpenRoom,
) -> None:
    window, room = await open_room()
    await window.do("report")
    assert await window.page.is_disabled("#report-form [type=submit]")
    await window.page.select_option("#report-form [name=delimiter]", ",")
    await window.page.click("#report-form [type=submit]")
    assert await room.hears("dialect") == {"type": "dialect", "delimiter": ","}
    read = {"delimiter": ",", "chosen": ["delimiter"]}
    room.change(document=document(dialect=DIALECT | read, report=REPORT | read))
    await says(window, "#report-status", "Changed, for everyone")
    await says(window, "#facts", "comma")
    # Any other character can be typed.
    await window.page.select_option("#report-form [name=delimiter]", "other")
    await window.page.fill("#report-other", "~")
    await window.page.uncheck("#report-form [name=header]")
    await window.page.click("#report-form [type=submit]")
    assert await room.hears("dialect") == {"type": "dialect", "delimiter": "~", "header": False}


async def test_lines_before_the_table_can_be_counted_otherwise(open_room: OpenRoom) -> None:
    window, room = await open_room()
    await window.do("report")
    await window.page.fill("#report-skip", "-1")
    assert await window.page.is_disabled("#report-form [type=submit]")
    await window.page.fill("#report-skip", "3")
    await window.page.click("#report-form [type=submit]")
    assert await room.hears("dialect") == {"type": "dialect", "skip_lines": 3}


async def test_a_correction_that_cannot_be_says_why_where_it_was_asked_for(
    open_room: OpenRoom,
) -> None:
    window, room = await open_room()
    await window.do("report")
    await window.page.select_option("#report-form [name=quote]", "'")
    await window.page.click("#report-form [type=submit]")
    await room.hears("dialect")
    room.refuse("bad_message", "dialect", "These are the same character.")
    await says(window, "#report-status", "These are the same character.")
    assert await window.page.is_enabled("#report-form [type=submit]")
    assert not await window.page.is_visible("#notice")


async def test_reading_a_file_again_shows_as_progress_that_nobody_can_cancel(
    open_room: OpenRoom,
) -> None:
    window, room = await open_room()
    room.change(upload=upload("d4", "trips.csv", 1_000, kind="recut"))
    await says(window, "#upload-progress", "Reading trips.csv again…")
    assert not await window.page.is_visible("[data-action=cancel]")
    room.change(upload=None, document=document("d4"))
    await says(window, "#notice", "“trips.csv” was read again, for everyone.")
    room.change(upload=upload("d5", "trips.csv", 1_000, kind="recut"))
    room.change(upload=None, document=document("d5", corrected_by=GREBE))
    await says(window, "#notice", "“trips.csv” was read again by Grebe, for everyone.")


@pytest.mark.parametrize("size", [(390, 844), (900, 700), (1440, 900), (2560, 1440)], ids=str)
async def test_panels_fit_the_window_and_give_the_focus_back(
    open_room: OpenRoom, size: tuple[int, int]
) -> None:
    kept = [document("d3"), document("d2", name="a very long name " * 12), document("d1")]
    window, _ = await open_room(size, versions=kept)
    for panel in ("report", "versions", "download"):
        opener = f"#facts [data-action={panel}]"
        if size[0] < 500:
            await window.page.click("[popovertarget=more]")
            opener = f"#more [data-action={panel}]"
        await window.page.click(opener)
        shown = await window.page.wait_for_selector(f"#{panel}:popover-open")
        box = await shown.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1]
        await window.page.wait_for_function(
            "panel => document.activeElement?.id === panel", arg=panel
        )
        await window.page.keyboard.press("Escape")
        await window.page.wait_for_function(
            "() => document.activeElement?.matches('.fact, [popovertarget=more]')"
        )
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await window.page.evaluate(wide) == 0
    assert window.errors == []


async def test_a_room_without_a_table_has_one_fact(open_room: OpenRoom) -> None:
    window, _ = await open_room(document=None)
    await says(window, "#facts", "no table yet")
    shown = "[...document.querySelectorAll('#facts > span')].filter(fact => !fact.hidden).length"
    assert await window.page.evaluate(shown) == 1


# Versions, sheets, rows that are added


async def test_an_earlier_version_is_shown_to_everyone(open_room: OpenRoom) -> None:
    kept = [document("d3"), document("d2", rows=12), document("d1")]
    window, room = await open_room(versions=kept)
    await window.do("versions")
    await says(window, "#versions-list li:first-child", "shown now")
    await window.page.click("#versions [data-version='2']")
    assert await room.hears("version") == {"type": "version", "version": 2}
    room.change(document=kept[1])
    await says(window, "#versions-list li:nth-child(2)", "shown now")
    await says(window, "#facts", "version 2")
    await says(window, "#notice", "Everyone sees version 2 of “trips.csv” again.")


async def test_one_version_alone_is_no_choice(open_room: OpenRoom) -> None:
    window, _ = await open_room(versions=[document("d3")])
    await says(window, "#facts", "version 3")
    assert not await window.page.is_visible("[data-action=versions]")


async def test_a_newer_version_says_what_changed_in_size(open_room: OpenRoom) -> None:
    window, room = await open_room(document=document("d2", rows=2_796))
    room.change(document=document("d3", rows=4_000))
    await says(window, "#notice", "Version 3 of “trips.csv”: 1,204 rows more.")
    # A correction that makes it untrue takes it back, and is told itself.
    read = {"header": False}
    room.change(document=document("d3", rows=4_001, dialect=DIALECT | read, report=REPORT | read))
    await says(window, "#notice", "“trips.csv” is read otherwise now, for everyone.")


async def test_how_many_pages_there_are_is_said_as_it_is(open_room: OpenRoom) -> None:
    window, room = await open_room(document=document(rows=300, complete=False))
    await says(window, "#caption", "Page 1 of 3,")
    room.change(document=document(rows=8_400, complete=False))
    await says(window, "#caption", "Page 1 of 84,")
    assert "of 3," not in await window.page.inner_text("#announce")
    room.change(document=document(rows=900_000))
    await says(window, "#announce", "Page 1 of 9,000, rows 1 to 100")


async def test_whoever_shows_an_earlier_version_is_named(open_room: OpenRoom) -> None:
    kept = [document("d3"), document("d2", rows=12), document("d1")]
    window, room = await open_room(versions=kept)
    turned = {"document": "d2", "offset": 0, "size": 100, "by": GREBE, "at": 1}
    room.change(document=kept[1], page=turned)
    await says(window, "#notice", "Grebe shows everyone version 2 of “trips.csv” again.")
    await says(window, "#log .note", "Grebe shows version 2 again, trips.csv")
    room.change(document=kept[2], page=turned | {"document": "d1", "by": None})
    await says(window, "#log .note:last-child", "Version 1 is shown again, trips.csv")


async def test_whoever_corrects_how_a_table_is_read_is_named(open_room: OpenRoom) -> None:
    window, room = await open_room()
    read = {"header": False}
    report = REPORT | read | {"chosen": ["header"]}
    room.change(document=document(dialect=DIALECT | read, report=report, corrected_by=GREBE))
    await says(window, "#notice", "Grebe changed how “trips.csv” is read, for everyone.")
    await window.do("report")
    await says(window, "#report", "Chosen by somebody here: header. Grebe chose last.")


async def test_rows_that_are_added_show_in_the_facts_and_the_pager(open_room: OpenRoom) -> None:
    window, room = await open_room()
    await says(window, "#page-count", "of 40")
    room.change(document=document(rows=4_101))
    await says(window, "#facts", "4,101 rows")
    await says(window, "#page-count", "of 42")
    assert not await window.page.is_visible("#notice")


async def test_another_sheet_is_shown_by_whoever_sent_the_workbook(
    open_room: OpenRoom, file: Path
) -> None:
    book = {"sheet": "Q1", "sheets": ["Q1", "Q2"]}
    window, room = await open_room(document=document(**book))
    await says(window, "#facts", "sheet Q1, header")
    await window.do("report")
    await says(window, "#sheets", "upload the workbook again")
    assert not await window.page.is_visible("#sheets select")
    await window.page.keyboard.press("Escape")
    await window.choose(file)
    await room.hears("upload")
    room.say(type="ack", upload="d4", received=0, stored=0)
    await room.takes(100_000)
    room.say(type="ack", upload="d4", received=file.stat().st_size, stored=0, done=True)
    room.change(document=document("d4", **book))
    await window.do("report")
    await window.page.select_option("#sheets select", "Q2")
    await window.page.click("#sheets [type=submit]")
    again = await room.hears("upload")
    assert (again["name"], again["sheet"]) == (file.name, "Q2")


# Uploads that go on, and those that meet another one


async def test_an_upload_goes_on_at_the_byte_the_server_names(
    open_room: OpenRoom, file: Path
) -> None:
    window, room = await open_room()
    size = file.stat().st_size
    await window.choose(file)
    begun = await room.hears("upload")
    assert "resume" not in begun
    room.say(type="ack", upload="d4", received=0, stored=0, token="secret")
    room.change(upload=upload("d4", file.name, size))
    await room.takes(131_072)
    room.say(type="ack", upload="d4", received=131_072, stored=100_000)
    await says(window, "#upload-text", "128 of ")
    await room.cut_off()
    await says(window, "#upload-text", "Connection lost, going on as soon as it is back")
    again = await room.hears("upload")
    assert again == {"type": "upload", "name": file.name, "size": size, "resume": "secret"}
    room.bytes = 0
    room.say(type="ack", upload="d4", received=100_000, stored=100_000, token="secret")
    # The bar is one steady bar, though a little is sent twice.
    await says(window, "#upload-text", "128 of ")
    room.say(type="ack", upload="d4", received=200_000, stored=200_000)
    await room.takes(size - 100_000 - 65_536)
    room.say(type="ack", upload="d4", received=size, stored=size)
    await room.hears("upload_end")
    assert room.bytes == size - 100_000
    room.say(type="ack", upload="d4", received=size, stored=size, done=True)
    await says(window, "#notice", "is here for everyone")


async def test_an_upload_that_was_forgotten_starts_anew_once(
    open_room: OpenRoom, file: Path
) -> None:
    window, room = await open_room()
    await window.choose(file)
    await room.hears("upload")
    for token in ("first", "second"):
        room.say(type="ack", upload=f"u-{token}", received=0, stored=0, token=token)
        await room.takes(65_536)
        await room.cut_off()
        assert (await room.hears("upload"))["resume"] == token
        room.refuse("upload_lost", "upload", "It was given up.")
        if token == "first":
            assert "resume" not in await room.hears("upload")
    await says(window, "#notice", "It was given up.")
    await window.page.wait_for_selector("[data-action=again]")


async def test_after_a_reload_the_same_file_goes_on(open_room: OpenRoom, file: Path) -> None:
    window, room = await open_room()
    size = file.stat().st_size
    await window.choose(file)
    await room.hears("upload")
    room.say(type="ack", upload="d4", received=0, stored=0, token="secret")
    await room.takes(131_072)
    room.registers["upload"] = upload("d4", file.name, size, 131_072, paused=True)
    await window.page.reload()
    await says(window, "#upload-text", "Choose mine.tsv again to go on")
    room.said.clear()
    await window.choose(file)
    assert (await room.hears("upload"))["resume"] == "secret"


async def test_another_file_than_the_one_that_stopped_does_not_go_on_with_it(
    open_room: OpenRoom, file: Path
) -> None:
    window, room = await open_room()
    await window.choose(file)
    await room.hears("upload")
    room.say(type="ack", upload="d4", received=0, stored=0, token="secret")
    await room.takes(131_072)
    room.registers["upload"] = upload("d4", file.name, file.stat().st_size, 131_072, paused=True)
    await window.page.reload()
    await says(window, "#upload-text", "again to go on")
    file.write_bytes(b"a\tb\n1\t2\n")
    room.said.clear()
    await window.choose(file)
    assert "resume" not in await room.hears("upload")


async def test_everyone_sees_that_an_upload_waits_for_its_sender(open_room: OpenRoom) -> None:
    window, room = await open_room()
    room.change(upload=upload("d4", "big.tsv", 1_000_000, 400_000, paused=True))
    await says(window, "#upload-text", "Paused: waiting for the sender to come back")


async def test_a_second_upload_replaces_the_first_only_on_a_word(
    open_room: OpenRoom, file: Path
) -> None:
    window, room = await open_room()
    room.change(upload=upload("d4", "theirs.tsv", 1_000_000))
    await window.choose(file)
    assert "replace" not in await room.hears("upload")
    room.refuse("upload_in_progress", "upload")
    await says(window, "#notice", "“theirs.tsv” is just arriving here, so your “mine.tsv”")
    room.change(upload=upload("d4", "theirs.tsv", 1_000_000, 500_000))
    await window.page.click("#notice :text('Replace it with mine')")
    assert (await room.hears("upload"))["replace"] is True


async def test_whoever_was_replaced_is_told_by_what_and_can_send_again(
    open_room: OpenRoom, file: Path
) -> None:
    window, room = await open_room()
    await window.choose(file)
    await room.hears("upload")
    room.say(type="ack", upload="d4", received=0, stored=0, token="secret")
    await room.takes(65_536)
    room.change(upload=upload("d5", "theirs.tsv", 1_000_000))
    room.refuse("upload_replaced", "upload")
    await says(window, "#notice", "Somebody here replaced your “mine.tsv” with “theirs.tsv”")
    await window.do("again")
    await room.hears("upload")


# With a real node


async def test_the_table_is_downloaded_in_every_format_and_safe_for_spreadsheets(
    new_window: Callable[..., Any], node: Node, tmp_path: Path
) -> None:
    file = tmp_path / "sums.tsv"
    file.write_bytes(b"name\tsum\none\t=1+1\n")
    window = await Window.open(new_window, f"{node.url}/t/{uuid.uuid4()}")
    await window.live()
    await window.choose(file)
    await window.shows(1, "one")
    await window.page.click("#facts [data-action=download]")
    await window.page.check("#download-safe")
    downloaded = {}
    for link in await window.page.query_selector_all("#download-list a"):
        async with window.page.expect_download() as download:
            await link.click()
        saved = await download.value
        downloaded[saved.suggested_filename] = Path(await saved.path()).read_bytes()
    assert set(downloaded) == {"sums.tsv", "sums.csv", "sums.ndjson", "sums.json"}
    assert b"'=1+1" in downloaded["sums.csv"]
    assert json.loads(downloaded["sums.json"])["data"] == [["one", "=1+1"]]
    assert json.loads(downloaded["sums.ndjson"]) == {"name": "one", "sum": "=1+1"}


async def test_the_bytes_come_back_as_they_were_uploaded(
    new_window: Callable[..., Any], node: Node, tmp_path: Path
) -> None:
    file = tmp_path / "trips.tsv"
    file.write_bytes(table(2_000))
    window = await Window.open(new_window, f"{node.url}/t/{uuid.uuid4()}")
    await window.live()
    await window.choose(file)
    await window.shows(1, "1")
    await window.page.click("#facts [data-action=download]")
    async with window.page.expect_download() as download:
        await window.page.click("#download-list :text('As uploaded')")
    saved = await download.value
    assert Path(await saved.path()).read_bytes() == file.read_bytes()
    assert saved.suggested_filename == "trips.tsv"


async def test_files_of_all_kinds_may_be_chosen(new_window: Callable[..., Any], node: Node) -> None:
    window = await Window.open(new_window, node.url)
    await says(window, "#drop", "Drop a table here")
    await says(window, "#drop", "CSV, Excel, OpenDocument, Parquet")
    assert await window.page.get_attribute("#file", "accept") is None
