"""The chat beside the table, in a real browser: saying, reading, and naming places in the table."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.rooms import Wire, open_window, put_table
from tests.browser.talk import chat, entry, hears, say, texts, title_is
from tests.browser.window import Window
from tests.nodes.harness import Node
from tests.room_client import table

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes]

HOSTILE = "<img src=x onerror=\"window.hit='img'\"><script>window.hit='script'</script>"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest_asyncio.fixture(loop_scope="session")
async def room(node: Node) -> str:
    """The address of a room with a table of 1,000 rows."""
    return await put_table(node, table(1_000))


async def test_what_is_said_in_one_window_is_read_in_the_other(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await say(here, "Prices look wrong.")
    await hears(there, "Prices look wrong.")
    await hears(here, "Prices look wrong.")
    await here.page.wait_for_function("() => !document.querySelector('#outbox').children.length")
    # The field is empty and ready for the next one.
    assert await here.page.input_value("#say-body") == ""
    assert await here.page.evaluate("document.activeElement.id") == "say-body"
    # Under the name that its window goes by.
    name = await here.page.inner_text("#own-name bdi")
    assert await there.page.inner_text("#log .said bdi") == name
    assert here.errors == there.errors == []


async def test_a_late_joiner_reads_what_was_said_in_order(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    said = [f"message {number}" for number in range(5)]
    for text in said:
        await say(here, text)
        await hears(here, text)
    late = await open_window(new_window, room)
    await hears(late, said[-1])
    assert await texts(late) == said
    # It was said before this window came: nothing is new.
    await title_is(late, "t.tsv · Tablecast")


async def test_shift_enter_breaks_the_line_and_an_enter_of_a_composition_does_not_send(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    await here.page.fill("#say-body", "one")
    await here.page.evaluate(
        """() => document.querySelector("#say-body").dispatchEvent(
            new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true}))"""
    )
    assert await here.page.input_value("#say-body") == "one"
    await here.page.press("#say-body", "End")
    await here.page.press("#say-body", "Shift+Enter")
    await here.page.keyboard.type("two")
    assert await here.page.input_value("#say-body") == "one\ntwo"
    await here.page.press("#say-body", "Enter")
    await hears(here, "two")
    assert await texts(here) == ["one\ntwo"]


async def test_the_field_grows_to_six_lines_and_shrinks_when_it_is_sent(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)

    async def height() -> float:
        return float(await here.page.evaluate("document.querySelector('#say-body').offsetHeight"))

    one = await height()
    await here.page.fill("#say-body", "\n".join("abc"))
    three = await height()
    await here.page.fill("#say-body", "\n".join("abcdef"))
    six = await height()
    await here.page.fill("#say-body", "\n".join("abcdefghij"))
    assert one < three < six == await height()
    await here.page.press("#say-body", "Enter")
    assert await height() == one


async def test_blank_messages_are_refused_quietly_and_long_ones_before_they_are_sent(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    await say(here, "  \n  ")
    await say(here, "x" * 4_001)
    hint = await here.page.inner_text("#say-hint")
    assert "4,001 of 4,000 characters" in hint
    # Nothing is lost: it can be made shorter.
    assert len(await here.page.input_value("#say-body")) == 4_001
    # Counted as the server counts: one of these is two in JavaScript.
    await say(here, "🦦" * 4_000)
    await here.page.wait_for_selector("#log .said")
    assert len(wire.sent_of("chat")) == 1
    assert await here.page.inner_text("#say-hint") == ""


async def test_the_same_message_twice_is_shown_once(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    first, second = entry("once", 101), entry("twice", 102)
    wire.tell(chat(first, second))
    wire.tell(chat(second | {"html": '<div class="message">something else</div>'}))
    wire.tell(chat(first, second, entry("last", 103), whole=True))
    await hears(here, "last")
    assert await texts(here) == ["once", "twice", "last"]


async def test_messages_stand_in_the_rooms_order_however_they_come(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    wire.tell(chat(entry("three", 103)))
    wire.tell(chat(entry("one", 101), entry("two", 102)))
    await hears(here, "two")
    assert await texts(here) == ["one", "two", "three"]


async def test_two_hundred_messages_are_kept(new_window: Callable[..., Any], room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    many = [entry(f"message {number}.", 1_000 + number) for number in range(250)]
    wire.tell(chat(*many[:150], whole=True))
    await hears(here, "message 149.")
    for at in range(150, 250, 10):
        wire.tell(chat(*many[at : at + 10]))
    await hears(here, "message 249.")
    shown = await texts(here)
    assert len(shown) == 200
    assert shown[0] == "message 50."


async def test_a_reader_who_scrolled_up_stays_there_and_is_told_what_is_new(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    many = [entry(f"message {number}.<br>in two lines", 1_000 + number) for number in range(200)]
    wire.tell(chat(*many, whole=True))
    await hears(here, "message 199.")
    read = f"document.querySelector('[data-id=\"{many[60]['id']}\"]')"
    at = f"{read}.getBoundingClientRect().top"
    await here.page.evaluate(f"{read}.scrollIntoView()")
    before = await here.page.evaluate(at)
    for number in range(3):
        wire.tell(chat(entry(f"new {number}", 2_000 + number)))
    await here.page.wait_for_selector("#newer:visible")
    await title_is(here, "(3) t.tsv · Tablecast")
    assert await here.page.inner_text("#newer") == "3 new messages"
    assert abs(await here.page.evaluate(at) - before) < 2
    await here.page.click("#newer")
    await title_is(here, "t.tsv · Tablecast")
    await here.page.wait_for_selector("#newer", state="hidden")
    end = "(b => b.scrollHeight - b.scrollTop - b.clientHeight)(document.querySelector('#talk'))"
    assert await here.page.evaluate(end) < 2


async def test_unread_messages_are_counted_while_the_chat_is_put_away(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    await here.do("close-side")
    wire.tell(chat(entry("one", 101)))
    wire.tell(chat(entry("two", 102)))
    await title_is(here, "(2) t.tsv · Tablecast")
    assert await here.page.inner_text("#unread") == "2"
    label = await here.page.get_attribute("[data-action=side]", "aria-label")
    assert label == "Chat and people, 2 unread messages"
    # It stays put away, in this browser, until it is wanted.
    await here.page.reload()
    await here.live()
    assert await here.page.is_hidden("#side")
    await here.do("side")
    await title_is(here, "t.tsv · Tablecast")
    assert await here.page.is_visible("#say-body")
    # The other tab hides the chat too.
    await here.page.click("#tab-people")
    wire.tell(chat(entry("three", 103)))
    await title_is(here, "(1) t.tsv · Tablecast")
    await here.page.click("#tab-chat")
    await title_is(here, "t.tsv · Tablecast")


async def test_unread_messages_are_counted_while_the_window_is_hidden(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)

    async def turn(state: str) -> None:
        await here.page.evaluate(
            """state => {
                const value = { value: state, configurable: true };
                Object.defineProperty(document, "visibilityState", value);
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            state,
        )

    await turn("hidden")
    wire.tell(chat(entry("one", 101)))
    await title_is(here, "(1) t.tsv · Tablecast")
    await turn("visible")
    await title_is(here, "t.tsv · Tablecast")


async def test_a_screen_reader_hears_single_messages_and_the_count_of_many(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    wire.muted = {"chat"}
    here = await wire.open(new_window, room)
    assert await here.page.get_attribute("#log", "role") == "log"
    wire.tell(chat(entry("one", 101)))
    await hears(here, "one")
    assert await here.page.get_attribute("#log", "aria-live") == "polite"
    wire.tell(chat(*[entry(f"burst {number}", 200 + number) for number in range(30)]))
    await hears(here, "burst 29")
    assert await here.page.get_attribute("#log", "aria-live") == "off"
    await here.page.wait_for_function(
        "() => /^3\\d new messages/.test(document.querySelector('#announce').textContent)"
    )
    assert await here.page.get_attribute("#log", "aria-live") == "polite"


async def test_nothing_that_is_said_is_executed(new_window: Callable[..., Any], room: str) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await here.page.click("#own-name")
    await here.page.fill("#chat .identity input[type=text]", "<b>O</b><img src=x onerror=hit=1>")
    await here.page.press("#chat .identity input[type=text]", "Enter")
    await say(here, HOSTILE)
    await say(here, "javascript:window.hit='link' data:text/html,x https://example.org/a?b=\"c")
    await hears(there, "example.org")
    assert (await texts(there))[0] == HOSTILE
    assert await there.page.inner_text("#log .said bdi") == "<b>O</b><img src=x onerror=hit=1>"
    links = await there.page.eval_on_selector_all(
        "#log a", "all => all.map((a) => [a.protocol, a.rel, a.target])"
    )
    assert links == [["https:", "noopener noreferrer nofollow", "_blank"]]
    for window in (here, there):
        assert await window.page.evaluate("window.hit") is None
        assert await window.page.query_selector("#side img, #side script") is None


async def test_a_server_that_lies_about_html_executes_nothing(
    new_window: Callable[..., Any], room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    html = (
        f'<div class="message" onclick="hit=1">safe {HOSTILE}<svg onload="hit=2"></svg>'
        '<a href="javascript:hit=3" onclick="hit=4">bad link</a> <a href="data:text/html,x">x</a>'
        '<a href="https://example.org/" onclick="hit=5" style="color: red">good link</a>'
        '<iframe srcdoc="<script>parent.hit=6</script>"></iframe></div><script>hit=7</script>'
    )
    wire.tell(chat(entry("", 101, html=html), entry("", 102, html="<img src=x onerror=hit=8>")))
    await hears(here, "good link")
    await here.page.click("text=bad link")
    assert await here.page.evaluate("window.hit") is None
    inside = await here.page.evaluate(
        """() => [...document.querySelector("#log .message").querySelectorAll("*")]
            .map((e) => e.localName + ":" + e.getAttributeNames().sort())"""
    )
    assert inside == ["a:href,rel,target"]
    assert here.errors == []


async def test_a_row_in_a_message_is_a_link_for_the_one_who_clicks(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, room)
    await say(here, "see r512c2 and r7, not r2x")
    await hears(there, "see r512c2")
    assert await there.page.eval_on_selector_all(
        "#log a.ref", "all => all.map((a) => a.getAttribute('href'))"
    ) == ["#r512c2", "#r7"]
    await there.page.click("#log a.ref >> nth=1")
    await there.page.wait_for_selector("#table[data-page='1'] tr:has(th[data-row='7'])")
    await there.page.click("#log a.ref >> nth=0")
    await there.shows(6)
    box = "document.querySelector('#table th[data-row=\"512\"]').getBoundingClientRect()"
    assert 0 < await there.page.evaluate(f"{box}.top") < 900
    await here.shows(1)
    # A row that is not there is told, and nothing moves.
    await say(here, "or r4000")
    await hears(there, "or r4000")
    await there.page.click("#log a.ref >> nth=2")
    notice = await there.page.wait_for_selector("#notice:visible")
    assert "no row 4,000" in await notice.inner_text()
    await there.shows(6)


async def test_a_link_to_a_row_opens_there_and_marks_it(
    new_window: Callable[..., Any], room: str
) -> None:
    here = await open_window(new_window, room)
    there = await open_window(new_window, f"{room}#r512")
    await there.shows(6)
    await there.page.wait_for_selector("tr.target th[data-row='512']")
    await there.page.evaluate("location.hash = '#r33c2'")
    await there.page.wait_for_selector("tr.target th[data-row='33']")
    await here.shows(1)


async def test_a_cell_is_quoted_in_the_chat(new_window: Callable[..., Any], node: Node) -> None:
    url = await put_table(node, f"id\tnote\n1\tshort\n2\t{'long ' * 40}\n".encode())
    here = await open_window(new_window, url)
    await here.page.fill("#say-body", "Look:")
    await here.page.click("#table tbody tr:nth-child(1) td >> nth=1")
    await here.do("quote")
    assert await here.page.input_value("#say-body") == "Look: r1c2 “short” "
    assert await here.page.evaluate("document.activeElement.id") == "say-body"
    await here.page.keyboard.press("Enter")
    await hears(here, "Look: r1c2 “short”")
    await here.page.click("#table tbody tr:nth-child(2) td >> nth=1")
    await here.do("quote")
    quoted = await here.page.input_value("#say-body")
    assert quoted.startswith("r2c2 “long long")
    assert len(quoted) < 80
    await here.page.fill("#say-body", "")
    # A whole row, and the header, which has no number.
    await here.page.click("#table th[data-row='1']")
    await here.do("quote")
    assert await here.page.input_value("#say-body") == "r1 "
    await here.page.click("#table thead th[data-column='1'] .head")
    assert await here.page.is_hidden("[data-action=quote]")


async def test_the_chat_notes_who_uploaded_a_version(
    new_window: Callable[..., Any], node: Node, room: str
) -> None:
    wire = Wire()
    here = await wire.open(new_window, room)
    await put_table(node, table(50), room=room.rsplit("/", 1)[1])
    await here.page.wait_for_selector("#log .note")
    note = await here.page.inner_text("#log .note")
    assert re.search(r"version 2, t.tsv ", note, re.IGNORECASE)
    assert "uploaded" in note
    # With a name, if it is known.
    boot = json.loads(await here.page.text_content("#boot") or "")["state"]
    by = {"id": "", "name": "<i>Otter</i>", "color": 4}
    shown = boot["set"]["document"] | {"id": "other", "version": 3, "by": by}
    wire.tell(
        {"type": "state", "uuid": boot["set"]["document"]["id"], "epoch": boot["epoch"]}
        | {"rev": boot["rev"] + 1_000, "set": {"document": shown}}
    )
    await here.page.wait_for_selector("#log .note [data-person='4']:text('<i>Otter</i>')")
    assert "uploaded version 3, t.tsv" in await here.page.inner_text("#log .note:last-child")
    # Only what was seen to happen is noted.
    late = await open_window(new_window, room)
    await late.page.wait_for_selector("#chat-empty:visible")
    assert await late.page.query_selector("#log .note") is None


async def test_the_day_is_told_where_it_changes(new_window: Callable[..., Any], room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room, timezone_id="Europe/Berlin", locale="en-GB")
    day = 86_400_000
    now = int(time.time() * 1000)
    wire.tell(chat(entry("old", 101, time=now - 400 * day), entry("new", 102, time=now)))
    await hears(here, "new")
    days = await here.page.eval_on_selector_all("#log .day", "all => all.map(e => e.innerText)")
    assert len(days) == 2
    assert days[1] == "Today"
    assert re.search(r"\d{4}", days[0])
    assert re.fullmatch(r"\d{1,2}:\d\d", await here.page.inner_text("#log .said:last-child time"))


async def test_on_a_phone_the_chat_is_a_sheet(new_window: Callable[..., Any], room: str) -> None:
    wire = Wire()
    here = await wire.open(new_window, room, **PHONE)
    assert await here.page.is_hidden("#side")
    wire.tell(chat(entry('see <a class="ref" href="#r90">r90</a>', 101)))
    await here.page.wait_for_selector("#unread:visible")
    await here.page.tap("[data-action=side]")
    await here.page.wait_for_selector("#log a.ref:visible")
    assert await here.page.get_attribute("[data-action=side]", "aria-expanded") == "true"
    assert await here.page.is_hidden("#unread")
    await here.page.keyboard.press("Escape")
    await here.page.wait_for_selector("#side", state="hidden")
    focused = "document.activeElement.dataset.action"
    assert await here.page.evaluate(focused) == "side"
    # What a link leads to is not left below the sheet.
    await here.page.tap("[data-action=side]")
    await here.page.tap("#log a.ref")
    await here.page.wait_for_selector("#side", state="hidden")
    await here.page.wait_for_selector("tr.target th[data-row='90']")
    # Quoting opens it with the field ready.
    await here.page.tap("#table tbody tr:nth-child(90) td >> nth=1")
    await here.page.tap("[data-action=quote]")
    await here.page.wait_for_selector("#say-body:visible")
    assert (await here.page.input_value("#say-body")).startswith("r90c2 ")


async def test_the_tabs_are_worked_by_keys(new_window: Callable[..., Any], room: str) -> None:
    here = await open_window(new_window, room)
    await here.page.focus("#tab-chat")
    await here.page.keyboard.press("ArrowRight")
    await here.page.wait_for_selector("#people:visible")
    assert await here.page.evaluate("document.activeElement.id") == "tab-people"
    assert await here.page.get_attribute("#tab-people", "aria-selected") == "true"
    assert await here.page.get_attribute("#tab-chat", "tabindex") == "-1"
    await here.page.keyboard.press("Home")
    await here.page.wait_for_selector("#chat:visible")
    # The keys of the tabs and of the messages turn no pages.
    await here.page.focus("#talk")
    for key in ("End", "PageDown", "ArrowRight"):
        await here.page.keyboard.press(key)
    await here.page.focus("[data-action=next]")
    await here.page.keyboard.press("Enter")
    await here.shows(2)


async def test_a_whole_cell_is_read_in_the_place_of_the_chat(
    new_window: Callable[..., Any], node: Node
) -> None:
    url = await put_table(node, f"a\n{'word ' * 400}\n".encode())
    here = await open_window(new_window, url)
    await here.page.dblclick("#table tbody td >> nth=0")
    await here.page.wait_for_selector("#reader:visible")
    assert await here.page.is_hidden("#side")
    await here.do("close-reader")
    await here.page.wait_for_selector("#say-body:visible")
    # Whoever quotes the cell that is being read wants the chat.
    await here.page.dblclick("#table tbody td >> nth=0")
    await here.do("quote")
    await here.page.wait_for_selector("#reader", state="hidden")
    assert await here.page.evaluate("document.activeElement.id") == "say-body"


async def test_without_scripts_the_chat_is_read_and_written(
    new_window: Callable[..., Any], room: str
) -> None:
    plain = await Window.open(new_window, room, java_script_enabled=False)
    await plain.page.fill("#say [name=name]", "Heron <b>")
    await plain.page.fill("#say [name=body]", "plain\nwords about r7")
    await plain.page.click("#say [data-action=say]")
    await plain.page.wait_for_selector("#log .said")
    assert await plain.page.inner_text("#log bdi") == "Heron <b>"
    assert await plain.page.inner_text("#log .message") == "plain\nwords about r7"
    assert await plain.page.get_attribute("#log a.ref", "href") == "?page=1#r7"
    # What was said is in sight, and who said it need not say so again.
    id = await plain.page.get_attribute("#log .message", "id")
    assert plain.page.url == f"{room}#{id}"
    assert await plain.page.input_value("#say [name=name]") == "Heron <b>"
    assert (await plain.page.inner_text("#log time")).endswith("UTC")
    # With scripts the same message is taken over from the page, not said twice.
    here = await open_window(new_window, room)
    await hears(here, "words about r7")
    await here.page.click("#log a.ref")
    await here.page.wait_for_selector("tr.target th[data-row='7']")
    boot = json.loads(await here.page.inner_text("#boot") or "{}")
    assert boot["uuid"] == room.rsplit("/", 1)[1]


async def test_without_scripts_a_place_in_a_message_leads_to_its_page(
    new_window: Callable[..., Any], node: Node
) -> None:
    room = await put_table(node, table(300) + b"301\t" + b"long " * 400 + b"\n")
    plain = await Window.open(new_window, room, java_script_enabled=False)
    lines = "\n".join(f"line {number}" for number in range(60))
    for body in (lines, "see r201, r201c2 and r301", "the last"):
        await plain.page.fill("#say [name=body]", body)
        await plain.page.click("#say [data-action=say]")
        await plain.page.wait_for_selector(f"#log .message:has-text('{body.splitlines()[0]}')")
    last = await plain.page.locator("#log .message").last.bounding_box()
    seen = await plain.page.locator("#talk").bounding_box()
    assert last
    assert seen
    assert seen["y"] <= last["y"] <= seen["y"] + seen["height"] - last["height"]
    for place, page_no in (("r201", 3), ("r201c2", 3), ("r301", 4)):
        await plain.page.click(f"#log a.ref:text-is('{place}')")
        await plain.page.wait_for_url(f"**?page={page_no}#{place}")
        box = await plain.page.locator(f"#{place}").bounding_box()
        assert box
        assert 0 < box["y"] < 800
        # A long cell leaves room for the others.
        assert box["height"] < 200
