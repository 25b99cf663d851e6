"""Keys, roles and what “Share” opens: who presents, who watches, and the end of a room."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.browser.rooms import Wire
from tests.browser.window import Window, until
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(90), pytest.mark.processes, pytest.mark.slow]

ROWS = 500
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}
DROP = """name => {
    const dropped = new DataTransfer();
    dropped.items.add(new File(["a\\tb\\n1\\t2\\n"], name));
    const options = {dataTransfer: dropped, bubbles: true, cancelable: true};
    const event = type => new DragEvent(type, options);
    document.body.dispatchEvent(event("dragenter"));
    document.body.dispatchEvent(event("drop"));
}"""

NewWindow = Callable[..., Any]


@dataclass(frozen=True)
class Room:
    """A room with a table, as whoever made it knows it."""

    node: Node
    id: str
    key: str

    @property
    def url(self) -> str:
        return f"{self.node.url}/t/{self.id}"

    @property
    def owners_url(self) -> str:
        return f"{self.url}#key={self.key}"

    async def ask(self, method: str, path: str = "", key: str = "", **json: Any) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                f"{self.node.url}/api/rooms/{self.id}{path}",
                json=json or None,
                headers={"Authorization": f"Bearer {key or self.key}"},
            ) as answer,
        ):
            assert answer.ok, await answer.text()
            return await answer.json() if answer.content_type == "application/json" else None


@pytest_asyncio.fixture(loop_scope="session")
async def room(node: Node) -> Room:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{node.url}/api/rooms") as answer:
            made = await answer.json()
        url = f"{node.url}/api/rooms/{made['uuid']}/document?name=t.tsv"
        headers = {"Authorization": f"Bearer {made['key']}"}
        async with session.put(url, data=table(ROWS), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
    return Room(node, made["uuid"], made["key"])


async def enter(new_window: NewWindow, url: str, **options: Any) -> Window:
    window = await Window.open(new_window, url, **options)
    await window.live()
    return window


async def own(new_window: NewWindow, room: Room, **options: Any) -> Window:
    """A window of the room's owner, with the panel open."""
    window = await enter(new_window, room.owners_url, **options)
    await window.do("share")
    await window.page.wait_for_selector("#share-manage:visible")
    return window


async def says(window: Window, selector: str, text: str) -> None:
    await window.page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
        arg=[selector, text],
    )


def collect(into: list[Any]) -> Callable[[Any], None]:
    """A listener that keeps what it hears. (Playwright takes no bound method of a list.)"""

    def hear(each: Any) -> None:
        into.append(each)

    return hear


async def kept_key(window: Window) -> str | None:
    key: str | None = await window.page.evaluate(
        "localStorage.getItem('tablecast.key.' + document.body.dataset.uuid)"
    )
    return key


def node_url(room: Room) -> str:
    return f"{room.node.url}/api/rooms/{room.id}"


async def watches(window: Window) -> None:
    """Wait until it shows that only others turn pages."""
    await window.page.wait_for_selector("#presenting[data-presents=false]:not([hidden])")
    await window.page.wait_for_selector("[data-action=upload][aria-disabled=true]")


async def presents(window: Window) -> None:
    """Wait until it shows that it turns pages, while others may not."""
    await window.page.wait_for_selector("#presenting[data-presents=true]:not([hidden])")
    await window.page.wait_for_selector("[data-action=upload]:not([aria-disabled])")


# Keys


async def test_a_key_leaves_the_address_bar_at_once_and_stays_in_the_browser(
    new_window: NewWindow, room: Room
) -> None:
    context = await new_window()
    window = Window(await context.new_page())
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    await window.page.goto(room.owners_url)
    await window.live()
    assert window.page.url == room.url
    assert await kept_key(window) == room.key
    # Downloads and forms bring it along in a cookie that no script reads.
    await until(lambda: any(url.endswith("/cookie") for url in asked))
    async with asyncio.timeout(20):
        while not (cookies := await context.cookies()):
            await asyncio.sleep(0.02)
    assert [(each["name"], each["httpOnly"]) for each in cookies] == [
        (f"tablecast-{room.id}", True)
    ]
    assert not [url for url in asked if room.key in url]
    await window.page.reload()
    await window.live()
    await window.do("share")
    await window.page.wait_for_selector("#share-manage:visible")
    assert window.errors == []


async def test_a_wrong_key_is_named_and_forgotten_and_the_room_is_watched(
    new_window: NewWindow, room: Room
) -> None:
    window = await enter(new_window, f"{room.url}#key=AAAAAAAAAAAAAAAAAAAAAA")
    await says(window, "#notice", "key is not valid")
    assert await kept_key(window) is None
    assert window.page.url == room.url
    await window.shows(1, "1")
    await window.page.reload()
    await window.live()
    assert not await window.page.is_visible("#notice")


async def test_the_owner_who_opens_the_presenting_link_stays_the_owner(
    new_window: NewWindow, room: Room
) -> None:
    key = (await room.ask("POST", "/keys"))["key"]
    window = await enter(new_window, room.owners_url)
    # In the same window: nothing is loaded anew, only the address changes.
    await window.page.goto(f"{room.url}#key={key}")
    await window.page.wait_for_function("() => location.hash === ''")
    await window.page.reload()
    await window.live()
    assert await kept_key(window) == room.key
    await window.do("share")
    await window.page.wait_for_selector("#share-manage:visible")


async def test_a_key_works_in_a_window_where_the_room_is_open_already(
    new_window: NewWindow, room: Room
) -> None:
    await room.ask("PUT", "/mode", mode="presenting")
    window = await enter(new_window, room.url)
    await watches(window)
    await window.page.goto(room.owners_url)
    await presents(window)
    assert window.page.url == room.url


# Presenting


async def test_the_owner_lets_only_presenters_turn_pages_and_everyone_again(
    new_window: NewWindow, room: Room
) -> None:
    guest = await enter(new_window, room.url)
    owner = await own(new_window, room)
    await owner.page.check("#share-mode [value=presenting]")
    await watches(guest)
    await presents(owner)
    await says(owner, "#share-status", "only presenters")
    # It is so for whoever comes later, too.
    late = await enter(new_window, room.url)
    await watches(late)
    await owner.page.check("#share-mode [value=open]")
    for window in (guest, late):
        await window.page.wait_for_selector("[data-action=upload]:not([aria-disabled])")
        assert not await window.page.is_visible("#presenting")
    await guest.go_to(3)
    await owner.shows(3)


async def test_a_guest_sees_who_presents(new_window: NewWindow, room: Room) -> None:
    await room.ask("PUT", "/mode", mode="presenting")
    wire = Wire()
    wire.muted.add("here")
    guest = await wire.open(new_window, room.url)
    await says(guest, "#presenting", "Presenters turn pages")
    roles = {"Otter": "owner", "Lynx": "guest", "Heron": "presenter", "Crane": "presenter"}
    people = [
        {"id": name, "name": name, "color": 1, "page_no": 1, "browsing": False, "role": role}
        for name, role in roles.items()
    ]
    wire.tell({"type": "here", "count": 4, "people": people, "pages": {"1": 4}})
    await says(guest, "#presenting", "Presenting: Otter, Heron and 1 more")
    # A room too large for a list.
    wire.tell({"type": "here", "count": 900, "people": None, "pages": {"1": 900}})
    await says(guest, "#presenting", "Presenters turn pages")


async def test_a_guest_is_told_why_nothing_is_uploaded_before_a_byte_is_sent(
    new_window: NewWindow, room: Room
) -> None:
    await room.ask("PUT", "/mode", mode="presenting")
    context = await new_window()
    guest = Window(await context.new_page())
    sent: list[str | bytes] = []
    guest.page.on("websocket", lambda socket: socket.on("framesent", collect(sent)))
    choosers: list[Any] = []
    guest.page.on("filechooser", collect(choosers))
    await guest.page.goto(room.url)
    await guest.live()
    await watches(guest)
    assert "Only presenters" in (await guest.page.get_attribute("[data-action=upload]", "title"))
    await guest.page.click("[data-action=upload]", force=True)
    await says(guest, "#notice", "Only presenters upload")
    await guest.do("dismiss")
    await guest.page.evaluate(DROP, "mine.tsv")
    await says(guest, "#notice", "“mine.tsv” was not sent")
    assert choosers == []
    assert not [frame for frame in sent if isinstance(frame, bytes) or '"upload"' in frame]


async def test_a_guest_is_offered_nothing_that_only_presenters_do(
    new_window: NewWindow, room: Room
) -> None:
    await room.ask("PUT", "/mode", mode="presenting")
    async with (
        aiohttp.ClientSession() as session,
        session.put(
            f"{node_url(room)}/document?name=t.tsv",
            data=table(ROWS + 1),
            headers={"Authorization": f"Bearer {room.key}"},
        ) as answer,
    ):
        assert answer.status == 200, await answer.text()
    wire = Wire()
    guest = await wire.open(new_window, room.url)
    await watches(guest)
    await guest.page.click("#facts [data-action=report]")
    await says(guest, "#report-may", "Only presenters correct this")
    assert await guest.page.is_disabled("#report-form [name=delimiter]")
    assert await guest.page.is_disabled("#report-form [name=header]")
    change = "#report-form [type=submit][aria-disabled=true][aria-describedby=report-may]"
    await guest.page.click(change, force=True)
    await says(guest, "#report-status", "Only presenters correct this")
    await guest.page.click("#facts [data-action=versions]")
    await says(guest, "#versions-may", "Only presenters show other versions")
    show = "#versions [data-version='1'][aria-disabled=true][aria-describedby=versions-may]"
    await guest.page.click(show, force=True)
    await says(guest, "#versions-status", "Only presenters show other versions")
    assert wire.sent_of("dialect") + wire.sent_of("version") == []
    # As soon as they may, they can.
    await room.ask("PUT", "/mode", mode="open")
    await guest.page.wait_for_selector("#versions-may", state="hidden")
    await guest.page.click("#versions [data-version='1']:not([aria-disabled])")
    await guest.page.wait_for_selector("#facts [data-action=versions]:text('version 1')")
    await guest.page.click("#facts [data-action=report]")
    await says(guest, "#report-may", "Anyone here may correct this")
    assert await guest.page.is_enabled("#report-form [name=delimiter]")


async def test_why_a_guest_may_not_is_said_only_while_it_is_so(
    new_window: NewWindow, room: Room
) -> None:
    await room.ask("PUT", "/mode", mode="presenting")
    guest = await enter(new_window, room.url)
    await watches(guest)
    await guest.page.click("[data-action=upload]", force=True)
    await says(guest, "#notice", "Only presenters upload")
    await guest.page.goto(room.owners_url)
    await presents(guest)
    await guest.page.wait_for_selector("#notice", state="hidden")


async def test_a_link_for_presenting_is_made_on_demand_and_a_new_one_ends_it(
    new_window: NewWindow, room: Room
) -> None:
    owner = await own(new_window, room, **CLIPBOARD)
    await owner.page.check("#share-mode [value=presenting]")
    await owner.do("invite")
    await owner.page.wait_for_selector("#share-presenting:visible")
    await says(owner, "#share-presenting-hint", "A new one ends it")
    await owner.page.click("[data-action=copy-presenting]")
    link = await owner.page.input_value("#share-presenting-link")
    await owner.page.wait_for_function(
        "link => navigator.clipboard.readText().then(text => text === link)", arg=link
    )
    assert link.startswith(f"{room.url}#key=")

    presenter = await enter(new_window, link)
    await presents(presenter)
    assert presenter.page.url == room.url
    await presenter.go_to(4)
    await owner.shows(4)
    # Who presents does not manage.
    await presenter.do("share")
    await says(presenter, "#share-why", "You present in this room")
    assert not await presenter.page.is_visible("#share-manage")

    await owner.do("invite")
    await says(owner, "#share-status", "the one before works no more")
    second = await owner.page.input_value("#share-presenting-link")
    assert second != link
    await watches(presenter)
    await says(presenter, "#notice", "You do not present any more")
    assert await kept_key(presenter) is None

    follower = await enter(new_window, second)
    await presents(follower)
    await owner.do("revoke")
    await watches(follower)
    assert not await owner.page.is_visible("#share-presenting")


# The panel


async def test_share_copies_the_link_for_viewing_without_a_key(
    new_window: NewWindow, room: Room
) -> None:
    owner = await own(new_window, room, **CLIPBOARD)
    await owner.page.wait_for_function(
        "url => navigator.clipboard.readText().then(text => text === url)", arg=room.url
    )
    await says(owner, "#share-status", "on the clipboard")
    await owner.page.keyboard.press("Escape")
    await owner.page.wait_for_selector("#sharing", state="hidden")


async def test_a_link_that_cannot_be_copied_is_selected_to_be_copied_by_hand(
    new_window: NewWindow, room: Room
) -> None:
    context = await new_window()
    await context.add_init_script(
        """Object.defineProperty(navigator, "clipboard", {value: undefined});
           document.execCommand = () => false;"""
    )
    window = Window(await context.new_page())
    await window.page.goto(room.url)
    await window.live()
    await window.do("share")
    await window.do("copy-link")
    await says(window, "#share-status", "could not be put on the clipboard")
    selected = await window.page.evaluate(
        """() => { const field = document.activeElement;
             return field.value.slice(field.selectionStart, field.selectionEnd); }"""
    )
    assert selected == room.url


async def test_a_room_without_a_key_says_why_there_is_nothing_to_manage(
    new_window: NewWindow, node: Node
) -> None:
    window = await enter(new_window, f"{node.url}/t/{uuid.uuid4()}")
    await window.do("share")
    await says(window, "#share-why", "opened without a key")
    assert not await window.page.is_visible("#share-manage")


async def test_the_owner_says_how_long_the_room_is_kept(new_window: NewWindow, room: Room) -> None:
    first = await own(new_window, room)
    second = await own(new_window, room)
    assert await first.page.eval_on_selector_all(
        "#share-life option", "options => options.map(option => option.text)"
    ) == ["1 hour", "1 day", "7 days"]
    await first.page.select_option("#share-life", "3600")
    await says(first, "#share-status", "kept for 1 hour")
    await second.page.wait_for_function(
        "() => document.querySelector('#share-life').value === '3600'"
    )


async def test_what_the_server_refuses_is_said_and_shown_as_it_is(
    new_window: NewWindow, room: Room
) -> None:
    owner = await own(new_window, room)

    async def refuse(route: Any) -> None:
        await route.fulfill(status=503, json={"detail": "The storage cannot be reached."})

    await owner.page.route("**/mode", refuse)
    await owner.page.click("#share-mode [value=presenting]")
    await says(owner, "#share-status", "The storage cannot be reached.")
    await owner.page.wait_for_selector("#share-mode [value=open]:checked")


# The end


async def test_deleting_takes_a_second_step_and_ends_the_room_for_all_who_are_in_it(
    new_window: NewWindow, room: Room
) -> None:
    guest = await enter(new_window, room.url)
    sockets: list[Any] = []
    guest.page.on("websocket", collect(sockets))
    await guest.shows(1, "1")
    owner = await own(new_window, room)
    await owner.do("delete-room")
    await owner.do("keep-room")
    assert await owner.page.is_visible("[data-action=delete-room]")
    await owner.do("delete-room")
    await owner.do("delete-really")
    for window in (guest, owner):
        await says(window, "#empty-title", "This room was deleted by its owner")
        await window.page.wait_for_selector("#status[data-state=deleted]")
        assert not await window.page.is_visible("#table")
        assert not await window.page.is_visible("#pager")
        assert not await window.page.is_visible("#connection-line")
        assert await window.page.is_disabled("#say-body")
        assert await window.page.is_disabled("[data-action=share]")
        assert await window.page.inner_text("#log") == ""
        assert window.dialogs == []
    assert await kept_key(owner) is None
    # Nothing is tried again, not even when the network comes back.
    await guest.page.evaluate("dispatchEvent(new Event('online'))")
    assert sockets == []
    await guest.page.click("#empty-leave a")
    await guest.page.wait_for_selector("#drop")
    assert await guest.page.query_selector(f"[data-room='{room.id}']") is None


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "none"])
async def test_a_deleted_room_says_so_to_whoever_comes_later(
    new_window: NewWindow, room: Room, scripts: bool
) -> None:
    await room.ask("DELETE")
    window = await Window.open(new_window, room.url, java_script_enabled=scripts)
    assert "This room was deleted by its owner" in await window.page.inner_text("#empty")
    assert await window.page.is_visible("#empty-leave a")
    if scripts:
        await window.page.wait_for_selector("#status[data-state=deleted]")
