"""A meeting over a table: four windows, three nodes, Nginx in front of them and Redis behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from tests.browser.talk import hears, say
from tests.browser.window import Window
from tests.nodes.harness import Stack
from tests.redis_server import RedisServer
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes]

NewWindow = Callable[..., Any]
NODES = 3
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DARK: dict[str, Any] = {"color_scheme": "dark"}
SCROLLED = "document.querySelector('#scroller').scrollTop"
# What has the focus: how to tell it, and whether one can see where it is.
FOCUS = """() => {
    const { activeElement: it } = document;
    const { outlineStyle, outlineWidth } = getComputedStyle(it);
    const box = it.getBoundingClientRect();
    return {
        name: it.id || it.dataset.action || it.localName,
        seen: it.checkVisibility() && box.bottom > 0 && box.right > 0
            && box.top < innerHeight && box.left < innerWidth,
        ring: outlineStyle !== "none" && parseFloat(outlineWidth) >= 1,
    };
}"""


class Room(NamedTuple):
    url: str
    key: str

    @property
    def owners_url(self) -> str:
        return f"{self.url}#key={self.key}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> AsyncIterator[Stack]:
    directory = tmp_path_factory.mktemp("meeting")
    async with Stack(directory, nodes=NODES, redis=redis_server) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def room(stack: Stack) -> Room:
    """A room with an owner, and a table of 50 pages."""
    async with aiohttp.ClientSession(stack.url) as session:
        async with session.post("/api/rooms") as answer:
            made = await answer.json()
        async with session.put(
            f"/api/rooms/{made['uuid']}/document",
            params={"name": "trips.tsv"},
            data=table(5_000),
            headers={"Authorization": f"Bearer {made['key']}"},
        ) as answer:
            assert answer.status == 200, await answer.text()
    return Room(f"{stack.url}/t/{made['uuid']}", made["key"])


class Meeting:
    """Windows on one room, spread over the nodes."""

    def __init__(self, new_window: NewWindow) -> None:
        self._new_window = new_window
        self.windows: list[Window] = []

    async def join(self, name: str, url: str, **options: Any) -> Window:
        """A window of somebody called `name`, on a node of its own while there is one."""
        window = await Window.open(self._new_window, url, **options)
        window.page.on("console", lambda said: self._listen(window, said))
        await window.live()
        # Nginx takes the nodes in turns: whoever comes back alone comes to the next one.
        taken = {other.node for other in self.windows}
        while window.node in taken and len(taken) < NODES:
            await window.page.context.set_offline(True)
            await window.page.wait_for_selector("#status[data-state=reconnecting]")
            await window.page.context.set_offline(False)
            await window.live()
        self.windows.append(window)
        phone = await window.page.is_hidden("#side")
        if phone:
            await window.do("side")
        await window.page.click("#own-name")
        await window.page.fill("#chat .identity input[type=text]", name)
        await window.page.press("#chat .identity input[type=text]", "Enter")
        if phone:
            await window.do("close-side")
        return window

    def _listen(self, window: Window, said: Any) -> None:
        # A connection that was cut on purpose is no fault.
        if said.type == "error" and "WebSocket" not in said.text:
            window.errors.append(said.text)


async def meets(window: Window, where: dict[str, str]) -> None:
    """Wait until the window lists exactly these people, each at what it says."""
    await window.page.wait_for_function(
        """where => {
            const rows = [...document.querySelectorAll("#people-list .person")].map((row) =>
                [row.querySelector("bdi").textContent, row.querySelector(".where").textContent]);
            return JSON.stringify(rows) === JSON.stringify(where);
        }""",
        arg=[[name, where[name]] for name in sorted(where)],
        polling=50,
    )


async def dot(window: Window, page_no: int, count: int) -> None:
    """Wait until the pager shows that `count` others are on a page."""
    at = f"#strip-dots [data-page='{page_no}'][data-count='{count}']"
    await window.page.wait_for_selector(at, state="attached")


async def room_is_on(window: Window, page_no: int) -> None:
    await window.page.wait_for_function(
        "no => document.querySelector('#following p').textContent.endsWith(` page ${no}`)",
        arg=page_no,
    )


async def test_two_follow_one_browses_and_one_presents(
    new_window: NewWindow, stack: Stack, room: Room
) -> None:
    meeting = Meeting(new_window)
    ada = await meeting.join("Ada", room.owners_url, **DESK)
    ben = await meeting.join("Ben", room.url, **DESK, **DARK)
    cleo = await meeting.join("Cleo", room.url, **PHONE, **DARK)
    dora = await meeting.join("Dora", room.url, **DESK)
    assert {window.node for window in meeting.windows} == {node.name for node in stack.nodes}
    for window in (ada, ben, dora):
        await window.page.click("#tab-people")
    await meets(ada, {"Ben": "page 1", "Cleo": "page 1", "Dora": "page 1"})
    await meets(ben, {"Ada": "page 1", "Cleo": "page 1", "Dora": "page 1"})

    # Ada presents, and everyone is told who does.
    await ada.do("share")
    await ada.page.check("#share-mode [value=presenting]")
    for window in (ben, cleo, dora):
        await window.page.wait_for_selector("#presenting[data-presents=false]", state="attached")
        told = await window.page.text_content("#presenting")
        assert told is not None
        assert "Ada" in told
    await ada.page.keyboard.press("Escape")
    await ada.do("next")
    for window in meeting.windows:
        await window.shows(2, "101")
    await ben.page.wait_for_selector("#turned:visible")
    assert await ben.page.text_content("#turned bdi") == "Ada"

    # Dora reads on alone; the pager and the list say where she is.
    await dora.do("browse")
    await dora.go_to(9)
    await dora.shows(9, "801")
    await dora.page.eval_on_selector("#scroller", "box => (box.scrollTop = 640)")
    await meets(ada, {"Ben": "page 2", "Cleo": "page 2", "Dora": "browsing page 9"})
    await dot(ada, 9, 1)
    await dot(dora, 2, 3)
    await ada.do("next")
    for window in (ada, ben, cleo):
        await window.shows(3, "201")
    await room_is_on(dora, 3)
    assert await dora.page.is_hidden("[data-action=bring]")
    assert await dora.page.evaluate(SCROLLED) == 640
    # A guest who turns the page while another presents leaves alone, too.
    await ben.do("next")
    await ben.shows(4, "301")
    await ben.page.wait_for_selector("#following[data-state=browsing]")
    await ben.do("rejoin")
    await ben.shows(3, "201")

    # A row in a message leads there who clicks it, and nobody else.
    await ben.page.click("#tab-chat")
    await say(ben, "Look at r512c2 please")
    for window in meeting.windows:
        await hears(window, "Look at r512c2")
    await cleo.page.wait_for_selector("#unread:visible")
    await cleo.do("side")
    await cleo.page.click("#log a.ref")
    await cleo.shows(6, "501")
    await cleo.page.wait_for_selector("tr.target th[data-row='512']")
    assert await cleo.page.is_hidden("#side")
    await cleo.page.wait_for_selector("#following[data-state=browsing]")
    await meets(ada, {"Ben": "page 3", "Cleo": "browsing page 6", "Dora": "browsing page 9"})
    await ben.shows(3, "201")
    # Who said it has the colour that the list gives him.
    color = await dora.page.get_attribute("#people-list li:nth-child(2) button", "data-person")
    assert color == await dora.page.get_attribute("#log .said", "data-person")
    await cleo.do("rejoin")
    await cleo.shows(3, "201")

    # Ada looks ahead and brings everyone, but for those who are on their own.
    await ada.do("browse")
    await ada.go_to(20)
    await ada.shows(20, "1901")
    await ben.shows(3, "201")
    await ada.do("bring")
    for window in (ada, ben, cleo):
        await window.shows(20, "1901")
        await window.page.wait_for_selector("#following[data-state=following]")
    await room_is_on(dora, 20)
    await dora.shows(9, "801")
    assert await dora.page.evaluate(SCROLLED) == 640
    await dora.do("rejoin")
    await dora.shows(20, "1901")
    await meets(ada, {"Ben": "page 20", "Cleo": "page 20", "Dora": "page 20"})

    # Whoever leaves is gone from the list.
    await cleo.page.close()
    await meets(ada, {"Ben": "page 20", "Dora": "page 20"})
    assert [window.errors for window in meeting.windows] == [[], [], [], []]


class Keys:
    """Hands that have no mouse."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.passed: list[str] = []  # what the focus has been on, in order

    async def tab_to(self, name: str) -> None:
        """Tab on to what has this id or action; every stop on the way can be seen."""
        for _ in range(60):
            await self.window.page.keyboard.press("Tab")
            focus = await self.window.page.evaluate(FOCUS)
            self.passed.append(focus["name"])
            if focus["name"] != "body":
                assert focus["seen"], f"{focus['name']} has the focus out of sight"
            # The table shows it in its header, a row's number field by its border.
            if focus["name"] not in ("body", "table"):
                assert focus["ring"], f"{focus['name']} does not show that it has the focus"
            if focus["name"] == name:
                return
        raise AssertionError(f"no {name} among {self.passed}")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.window.page.keyboard.press(key)


async def announced(window: Window, text: str) -> None:
    """Wait until a screen reader was told this."""
    await window.page.wait_for_function(
        "text => document.querySelector('#announce').textContent.includes(text)", arg=text
    )


async def test_a_meeting_is_held_by_keys_alone(new_window: NewWindow, room: Room) -> None:
    meeting = Meeting(new_window)
    ada = await meeting.join("Ada", room.owners_url, **DESK)
    window = await Window.open(new_window, room.url, **DESK)
    await window.live()
    keys = Keys(window)
    # From the bar over the table to the chat and the pager, in the order that is seen.
    await keys.tab_to("say-body")
    await window.page.keyboard.type("Good morning")
    await keys.press("Enter")
    await hears(ada, "Good morning")
    await keys.tab_to("next")
    order = [name for name in keys.passed if name in ("share", "table", "say-body", "next")]
    assert order == ["share", "table", "say-body", "next"]
    await keys.press("Enter")
    await ada.shows(2, "101")
    await announced(ada, "turned to Page 2 of 50")
    # Leave the room's page, and come back to it.
    await keys.press("b")
    await window.page.wait_for_selector("#following[data-state=browsing]")
    await announced(window, "You are browsing on your own")
    await keys.press("ArrowRight")
    await window.shows(3, "201")
    await ada.shows(2)
    await keys.tab_to("rejoin")
    await keys.press("Enter")
    await window.shows(2, "101")
    # The button that was pressed is gone, and the keys go on from the one in its place.
    assert (await window.page.evaluate(FOCUS))["name"] == "browse"
    await keys.tab_to("undo")
    await keys.press("Enter")
    await ada.shows(1, "1")
    await window.shows(1, "1")
    assert ada.errors == window.errors == []
