"""Whatever people type or send, in names, messages, files and cells, is text and keeps its place.

These windows ignore the Content-Security-Policy, so that nothing here holds only because of it.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.browser.rooms import open_window, put_table
from tests.browser.talk import hears, say, texts
from tests.browser.window import Window
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes]

NewWindow = Callable[..., Any]

PAYLOADS = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=2>",
    "<svg onload=window.hit=3>",
    '"><svg/onload=window.hit=4>',
    "' onmouseover='window.hit=5' x='",
    '" autofocus onfocus="window.hit=6',
    "javascript:window.hit=7",
    "JaVaScRiPt&colon;window.hit=8",
    "data:text/html,<script>window.hit=9</script>",
    "{{7*7}} {% if 1 %} ${7*7} #{7*7}",
    "</script><script>window.hit=10</script>",
    "<!--<script>window.hit=11",
    "</textarea></title></style></noscript><script>window.hit=12</script>",
    "<iframe srcdoc='<script>parent.hit=13</script>'>",
    "<a href=javascript:window.hit=14 id=boot name=table>click</a>",
    "<base href=//example.org><form action=//example.org><input name=body>",
    "&lt;b&gt; &amp; &#60;i&#62; <b>bold</b>",
    "[x](javascript:window.hit=15)",
]
NAME = "</script><svg onload=hit=16>{{7*7}}"
FILE = "<!--<script>\"'><img src=x onerror=window.hit=17>{{7*7}}.tsv"
# What no page of ours has: attributes that run or lead to what runs, and foreign elements.
ALIEN = """() => [...document.querySelectorAll("*")].flatMap((element) =>
    element.getAttributeNames().filter((name) =>
        /^(on|style$|srcdoc$)/i.test(name) && !(name === "style" && element.style.length) ||
        /^\\s*(javascript|data|vbscript|blob):/i.test(element.getAttribute(name)) &&
            /^(href|src|action|formaction|xlink:href|data)$/i.test(name)
    ).map((name) => `${element.localName} ${name}=${element.getAttribute(name)}`).concat(
        ["base", "iframe", "object", "embed", "img", "b"].includes(element.localName) ||
            element.localName === "script" && element.id !== "boot" &&
                !new URL(element.src, "http://nowhere/").pathname.startsWith("/static/js/")
            ? [element.outerHTML.slice(0, 100)] : []))"""


class Watched:
    """A window, and all that a page can do which ours should not."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def open(self, new_window: NewWindow, url: str, **options: Any) -> Window:
        async def watching(**options: Any) -> Any:
            context = await new_window(**options)
            context.on("page", self._watch)
            return context

        return await Window.open(watching, url, bypass_csp=True, **options)

    async def is_clean(self, window: Window) -> None:
        """Nothing has run, asked or complained, and nothing foreign is there."""
        assert await window.page.evaluate("window.hit") is None
        assert await window.page.evaluate(ALIEN) == []
        assert self.heard == []
        assert window.errors == []

    def _watch(self, page: Any) -> None:
        async def answer(dialog: Any) -> None:
            self.heard.append(f"dialog {dialog.message}")
            await dialog.dismiss()

        def listen(message: Any) -> None:
            if message.type == "error":
                self.heard.append(message.text)

        page.on("dialog", answer)
        page.on("console", listen)
        page.on("popup", lambda popup: self.heard.append(f"popup {popup.url}"))


def hostile_table() -> bytes:
    """Each payload as a header and in 150 rows as a cell, in columns that take turns."""
    lines = ["\t".join(PAYLOADS)]
    for row in range(150):
        turn = row % len(PAYLOADS)
        lines.append("\t".join(PAYLOADS[turn:] + PAYLOADS[:turn]))
    return "\n".join(lines).encode() + b"\n"


async def hostile_room(node: Node) -> str:
    """A room in which everything that can be chosen was chosen badly, twice over."""
    url = await put_table(node, table(5), name=FILE)
    room = url.rsplit("/", 1)[1]
    await put_table(node, hostile_table(), name=FILE, room=room)
    async with aiohttp.ClientSession(f"{node.url}/api/rooms/{room}/") as api:
        for page_no in (2, 1):
            turn = {"page_no": page_no, "name": NAME, "color": 3}
            async with api.put("page", json=turn) as answer:
                assert answer.status == 200, await answer.text()
        for body in ("\n".join(PAYLOADS), FILE):
            async with api.post("chat", json={"body": body, "name": NAME}) as answer:
                assert answer.status == 201, await answer.text()
    return url


async def test_what_runs_or_could_run_is_noticed(new_window: NewWindow, node: Node) -> None:
    watched = Watched()
    window = await watched.open(new_window, node.url)
    await watched.is_clean(window)
    for markup in [*PAYLOADS[1:3], PAYLOADS[3][2:], PAYLOADS[13], "<a href='javascript:0'>x</a>"]:
        await window.page.goto(node.url)
        await window.page.evaluate(
            "text => document.body.insertAdjacentHTML('beforeend', text)", markup
        )
        assert await window.page.evaluate(ALIEN) != [], markup
    await window.page.evaluate("confirm('Is this heard?')")
    with pytest.raises(AssertionError):
        await watched.is_clean(window)


async def test_markup_is_text_wherever_it_comes_from(new_window: NewWindow, node: Node) -> None:
    url = await hostile_room(node)
    watched = Watched()
    here = await watched.open(new_window, url)
    there = await watched.open(new_window, url)
    await here.live()
    await there.live()
    await here.page.click("#own-name")
    await here.page.fill("#chat .identity input[type=text]", NAME)
    await here.page.press("#chat .identity input[type=text]", "Enter")
    await say(here, "\n".join(PAYLOADS[:9]))
    await hears(there, PAYLOADS[8], count=2)
    # Cells, headers, messages, names and the file's name are what was written.
    heads = await there.page.eval_on_selector_all(
        "#table .head", "all => all.map(e => e.innerText)"
    )
    assert heads == PAYLOADS
    assert await there.cells(1) == PAYLOADS
    assert (await texts(there))[0] == "\n".join(PAYLOADS)
    names = await there.page.eval_on_selector_all("#log bdi", "all => all.map(e => e.textContent)")
    assert set(names) == {NAME}
    assert await there.page.inner_text("#name") == FILE
    assert await there.page.title() == f"{FILE} · Tablecast"
    await there.page.wait_for_selector("#turned:visible")
    assert NAME in await there.page.inner_text("#turned")
    await there.page.click("#tab-people")
    await there.page.wait_for_function(
        "name => document.querySelector('#people-list bdi')?.textContent === name", arg=NAME
    )
    # Who points has a name that stands in the table.
    await here.page.click("#table th[data-row='3']")
    await there.page.wait_for_selector("tr.pointed .tag")
    assert NAME in (await there.page.inner_text("tr.pointed .tag"))
    # A cell that is read whole, quoted and copied; the panels that name the file.
    await there.page.dblclick("#table tbody td >> nth=1")
    await there.page.wait_for_selector("#reader:visible")
    assert await there.page.inner_text("#reader-text") == PAYLOADS[1]
    await there.do("quote")
    await there.page.press("#say-body", "Enter")
    await hears(there, "r1c2")
    for panel in ("report", "versions", "download"):
        await there.page.click(f"#facts [data-action={panel}]")
        await there.page.wait_for_selector(f"#{panel}:popover-open")
        await watched.is_clean(there)
        await there.page.keyboard.press("Escape")
    # Only addresses of the web are links, and none was made of these.
    assert await there.page.eval_on_selector_all("#log a:not(.ref)", "all => all.length") == 0
    await watched.is_clean(here)
    await watched.is_clean(there)
    # The start page of this browser names the room that it was in.
    await there.page.goto(node.url)
    await there.page.wait_for_selector("#recent-list li")
    assert FILE in await there.page.inner_text("#recent-list")
    await watched.is_clean(there)


async def test_markup_is_text_in_what_the_server_writes(new_window: NewWindow, node: Node) -> None:
    url = await hostile_room(node)
    watched = Watched()
    window = await watched.open(new_window, "about:blank")
    # Without its own scripts the page is as the server wrote it, and what got into it would run.
    empty = {"body": "", "content_type": "text/javascript"}
    await window.page.route("**/static/js/**", lambda route: route.fulfill(**empty))
    await window.page.goto(url)
    await watched.is_clean(window)
    assert await window.cells(1) == PAYLOADS
    assert await window.page.inner_text("#name") == FILE
    assert (await texts(window))[0] == "\n".join(PAYLOADS)
    boot = json.loads(await window.page.text_content("script#boot") or "")
    assert boot["state"]["set"]["document"]["name"] == FILE
    assert boot["state"]["set"]["page"]["by"]["name"] == NAME
    assert await window.page.eval_on_selector_all("#boot", "all => all.length") == 1
    # What an address holds comes back in error pages.
    for path in (f"/t/{PAYLOADS[1]}", f"/{PAYLOADS[10]}", f"{url}?page={PAYLOADS[1]}"):
        where = path if path.startswith("http") else node.url + path
        answer = await window.page.goto(where)
        assert answer is not None
        assert await window.page.evaluate("window.hit") is None
        assert await window.page.evaluate(ALIEN) == []
    assert [line for line in watched.heard if "Failed to load resource" not in line] == []


async def test_no_text_turns_its_neighbours_round(new_window: NewWindow, node: Node) -> None:
    over, hidden = "\u202e", "\u200b\u2066\u200f\ufeff"
    rows = f"first\t{over}second\tthird\n{over}one\ttwo{over}\tthree\n"
    url = await put_table(node, rows.encode(), name=f"a{over}vst.tsv")
    room = url.rsplit("/", 1)[1]
    async with aiohttp.ClientSession(f"{node.url}/api/rooms/{room}/") as api:
        for name, body in (
            (f"Ot{over}{hidden}ter", f"{over}turned and never ended"),
            ("\u05d0\u05d1\u05d2 1", "from right to left"),
            ("Heron", "plain words"),
        ):
            async with api.post("chat", json={"body": body, "name": name}) as answer:
                assert answer.status == 201, await answer.text()
    watched = Watched()
    window = await watched.open(new_window, url)
    await window.live()
    await hears(window, "plain words")
    names = await window.page.eval_on_selector_all("#log bdi", "all => all.map(e => e.textContent)")
    assert names == ["Otter", "\u05d0\u05d1\u05d2 1", "Heron"]
    assert await window.page.title() == "avst.tsv · Tablecast"
    # Each neighbour runs from left to right, and each time stands behind its name.
    runs = await window.page.evaluate(
        """() => {
            const edge = (node, at) => {
                const range = document.createRange();
                range.setStart(node, at);
                range.setEnd(node, at + 1);
                return range.getBoundingClientRect().left;
            };
            const runs = (selector) => {
                const { firstChild: text } = document.querySelector(selector);
                return edge(text, 0) < edge(text, text.length - 1);
            };
            const behind = [...document.querySelectorAll("#log .who")].map((who) =>
                who.querySelector("bdi").getBoundingClientRect().right
                    <= who.querySelector("time").getBoundingClientRect().left);
            return [runs("tbody td:nth-of-type(3)"), runs("th[data-column='2'] .head"),
                runs("#log .said:last-child .message"), runs("#log .said time"), ...behind];
        }"""
    )
    assert runs == [True] * 7
    await watched.is_clean(window)


async def test_a_room_that_is_deleted_ends_for_everyone_in_it(
    new_window: NewWindow, node: Node
) -> None:
    async with aiohttp.ClientSession(f"{node.url}/api/") as api:
        async with api.post("rooms") as answer:
            made = await answer.json()
        room = made["uuid"]
        url = await put_table(node, table(500), room=room)
        here = await open_window(new_window, url)
        there = await open_window(new_window, url)
        await say(there, "before the end")
        await hears(here, "before the end")
        await here.do("browse")
        await here.go_to(3)
        await here.shows(3)
        await there.page.fill("#say-body", "half a mess")
        key = {"Authorization": f"Bearer {made['key']}"}
        async with api.delete(f"rooms/{room}", headers=key) as answer:
            assert answer.status == 204
        for window in (here, there):
            await window.page.wait_for_selector("#status[data-state=deleted]", state="attached")
            await window.page.wait_for_selector("#empty:visible")
            assert "deleted" in await window.page.inner_text("#empty-title")
            assert await window.page.is_hidden("#table")
            assert await window.page.is_hidden("#pager")
            assert await texts(window) == []
            assert window.errors == []
        # Who comes with the link is told the same, and nothing tries to come back.
        late = await Window.open(new_window, url)
        await late.page.wait_for_selector("#empty-leave:visible")
        assert late.nodes == []


async def test_a_burst_of_messages_leaves_the_others_their_pace(
    new_window: NewWindow, node: Node
) -> None:
    """10,000 messages from twenty sockets; most are refused, some hundreds are said."""
    url = await put_table(node, table(1_000))
    room = url.rsplit("/", 1)[1]
    here = await open_window(new_window, url)

    async def flood(session: aiohttp.ClientSession, which: int) -> None:
        async with session.ws_connect(f"{node.url}/ws/{room}") as socket:

            async def listen() -> None:
                async for _ in socket:
                    pass

            listening = asyncio.create_task(listen())
            try:
                for number in range(500):
                    said = {"type": "chat", "id": str(uuid.uuid4()), "body": f"{which} {number}"}
                    await socket.send_json(said)
            except ConnectionError:
                pass  # sent away: it only flooded
            finally:
                listening.cancel()

    async with aiohttp.ClientSession() as session:
        floods = asyncio.gather(*(flood(session, which) for which in range(20)))
        for page_no in range(2, 7):
            await here.do("next")
            await here.shows(page_no, str((page_no - 1) * 100 + 1))
        await floods
    await say(here, "heard all the same")
    await hears(here, "heard all the same")
    assert 20 < len(await texts(here)) <= 200
    assert await here.page.is_hidden("#notice")
    assert here.errors == []
