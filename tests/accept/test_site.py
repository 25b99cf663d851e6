"""The pages for people, as a browser without JavaScript reads them."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from server.accept.site import filesize, is_number
from server.errors import Missing, Unavailable
from tests.accept.client import OTHER, ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.room_client import table

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGE = f"/t/{ROOM}"
EVIL = "<script>alert(1)</script>"


async def read(node: Node, path: str = PAGE, status: int = 200) -> str:
    """The page at `path`, which must be an HTML page that nobody keeps."""
    async with node.http.get(path, headers=BROWSER) as response:
        assert response.status == status
        assert response.content_type == "text/html"
        assert response.charset == "utf-8"
        assert response.headers["Tablecast-Node"] == node.settings.node
        if status == 200:
            assert response.headers["Cache-Control"] == "no-store"
        return await response.text()


def cells(page: str) -> list[list[str]]:
    """The texts of the body's cells, row by row."""
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    return [
        [
            html.unescape(re.sub(r"<a .*?</a>|<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        ]
        for row in body.split("<tr")[1:]
    ]


def boot(page: str) -> Any:
    (text,) = re.findall(
        r'<script type="application/json" id="boot">(.*?)</script>', page, re.DOTALL
    )
    return json.loads(text)


async def test_the_start_page_offers_a_file_and_the_sample(node: Node) -> None:
    page = await read(node, "/")
    assert 'id="drop"' in page
    assert 'action="/sample"' in page
    assert "1 GB" in page


@pytest.mark.parametrize("path", ["/", PAGE, "/nothing"])
async def test_everything_a_page_refers_to_is_there(node: Node, path: str) -> None:
    await node.put(table(10))
    page = await read(node, path, 404 if path == "/nothing" else 200)
    links = set(re.findall(r'(?:href|src)="(/[^"]*)"', page))
    assert {link for link in links if link.startswith("/static/")}
    for link in links:
        async with node.http.get(html.unescape(link)) as response:
            assert response.status == 200, link


async def test_static_files_are_asked_for_anew_and_answered_shortly(node: Node) -> None:
    async with node.http.get("/static/css/tokens.css") as response:
        assert response.headers["Cache-Control"] == "no-cache"
        tag = response.headers["ETag"]
    async with node.http.get("/static/css/tokens.css", headers={"If-None-Match": tag}) as again:
        assert again.status == 304


async def test_only_what_browsers_need_is_served(node: Node) -> None:
    for path in (
        "/static/templates/room.html",
        "/static/__init__.py",
        "/static/css/../__init__.py",
    ):
        async with node.http.get(path) as response:
            assert response.status == 404


async def test_the_sample_is_one_click_away(any_node: Node) -> None:
    async with any_node.http.post("/sample", allow_redirects=False) as response:
        assert response.status == 303
        address = response.headers["Location"]
        assert response.headers["Tablecast-Node"] == any_node.settings.node
    page = await read(any_node, address)
    assert "trips.tsv" in page
    assert len(cells(page)) == 100


async def test_every_sample_is_a_room_of_its_own(node: Node) -> None:
    addresses = set()
    for _ in range(2):
        async with node.http.post("/sample", allow_redirects=False) as response:
            addresses.add(response.headers["Location"])
    assert len(addresses) == 2


# The room


async def test_an_unknown_room_is_an_empty_room(node: Node) -> None:
    page = await read(node, f"/t/{OTHER}")
    assert "This room has no table yet" in page
    assert boot(page) == {
        "uuid": OTHER,
        "state": {"type": "state", "uuid": OTHER, "epoch": "", "rev": 0, "set": {}, "whole": True},
    }


@pytest.mark.parametrize("uuid", ["x", ROOM[:-1], ROOM + "0", "%3Cscript%3E", "é" * 36])
async def test_a_malformed_room_is_a_page_that_says_so(node: Node, uuid: str) -> None:
    page = await read(node, f"/t/{uuid}", 404)
    assert "not the address of a room" in page
    assert 'href="/"' in page
    assert "<script>" not in page


@pytest.mark.parametrize("spelling", [ROOM.upper(), ROOM.replace("-", "")])
async def test_other_spellings_lead_to_the_one_address(node: Node, spelling: str) -> None:
    for query in ("", "?page=2", "?page=1%262&x=%0d%0aSet-Cookie:a"):
        path = f"/t/{spelling}{query}"
        async with node.http.get(path, allow_redirects=False) as response:
            assert response.status == 302
            location = response.headers["Location"]
            assert "Set-Cookie" not in response.headers
        assert location.split("?")[0] == PAGE
        assert ("?" in location) == bool(query)
        assert "page=1%262" in location or "%26" not in query


async def test_the_page_that_everyone_sees_is_in_the_html(any_node: Node) -> None:
    document = await any_node.put(table(1000), name="trips.tsv")
    viewer = await any_node.join()
    await viewer.turn(4)
    await viewer.shows(4)
    page = await read(any_node)
    rows = cells(page)
    assert len(rows) == 100
    assert rows[0] == ["301", "name 301.1", "name 301.2"]
    assert "<title>trips.tsv · Tablecast</title>" in page
    assert "1,000 rows" in page
    assert "3 columns" in page
    state = boot(page)["state"]
    assert (state["epoch"], state["rev"], state["set"]) == (
        viewer.epoch,
        viewer.rev,
        viewer.registers,
    )
    assert state["set"]["document"] == document


async def test_a_page_can_be_read_without_turning_it_for_others(node: Node) -> None:
    await node.put(table(950))
    assert cells(await read(node, f"{PAGE}?page=10"))[-1][0] == "950"
    page = await read(node, f"{PAGE}?page=5")
    assert cells(page)[0][0] == "401"
    for turn in ("?page=1", "?page=4", "?page=6", "?page=10"):
        assert f'href="{turn}"' in page
    assert (await node.registers())["page"]["offset"] == 0


@pytest.mark.parametrize("page", ["0", "11", "-1", "x", "1.5", "9" * 30, "%3Cb%3E", "²"])
async def test_a_page_that_does_not_exist_is_a_page_that_says_so(node: Node, page: str) -> None:
    await node.put(table(1000))
    text = await read(node, f"{PAGE}?page={page}", 404)
    assert "<b>" not in text
    assert "page" in text
    await node.refusal("GET", f"{PAGE}?page={page}", 404, "page_out_of_range")


async def test_in_an_empty_room_any_page_is_the_empty_room(node: Node) -> None:
    assert "This room has no table yet" in await read(node, f"{PAGE}?page=7")


async def test_a_room_can_be_read_while_its_first_table_arrives(node: Node) -> None:
    viewer = await node.join()
    await viewer.begin_upload("new.tsv", 1_000_000)
    page = await read(node)
    assert "A table is on its way" in page
    assert "new.tsv" in page
    await viewer.say_raw(table(5000))
    await viewer.expect("page")
    page = await read(node)
    assert len(cells(page)) == 100
    assert "so far" in page


# Everything from the file is text


async def test_markup_in_cells_and_names_is_text(any_node: Node) -> None:
    source = (
        f"a\t{EVIL}\n"
        '<b>bold</b>\tx"><img src=x onerror=alert(1)>\n'
        "&lt;\t'`{{7*7}}</td></script>\n"
    )
    await any_node.put(source.encode(), name=f"{EVIL}\"'><i>.tsv")
    page = await read(any_node)
    for markup in (EVIL, "<b>bold", "<img", "<i>"):
        assert markup not in page
    assert cells(page) == [
        ["<b>bold</b>", 'x"><img src=x onerror=alert(1)>'],
        ["&lt;", "'`{{7*7}}</td></script>"],
    ]
    # The names' quotes do not end an attribute.
    name = "script>\"'><i>.tsv"
    assert boot(page)["state"]["set"]["document"]["name"] == name
    assert re.search(r'<h1 id="name" title="script&gt;&#34;&#39;&gt;&lt;i&gt;.tsv"', page)


async def test_a_name_cannot_end_the_script_that_carries_the_state(node: Node) -> None:
    await node.put(table(10), name="<\u2044script><!--<script>\u2028&amp;.tsv")
    page = await read(node)
    text = page[page.index('id="boot">') + 10 :]
    text = text[: text.index("</script>")]
    assert "<" not in text
    assert ">" not in text
    assert json.loads(text)["state"]["set"]["document"]["name"].startswith("<\u2044script>")


async def test_a_shortened_cell_leads_to_the_whole_of_it(node: Node) -> None:
    await node.put(b"id\ttext\n1\t" + b"x" * 70_000 + b"\n")
    page = await read(node)
    (link,) = re.findall(r'<a class="whole"[^>]* href="([^"]+)"', page)
    async with node.http.get(html.unescape(link)) as response:
        assert await response.text() == "x" * 70_000


async def test_wide_ragged_and_empty_tables_have_a_page(node: Node) -> None:
    wide = "\t".join(f"c{n}" for n in range(3000)) + "\n" + "\t".join("1" * 3000) + "\n"
    for source in (wide.encode(), b"a\n1\t2\t3\n\n4\n", b"only a header\n", b"\t\t\n\t\n"):
        await node.put(source)
        page = await read(node)
        assert "<tbody>" in page
    await node.put(b"a\tb\n1\t2\t3\n4\t5\n6\n")
    assert cells(await read(node)) == [["1", "2", "3"], ["4", "5", ""], ["6", "", ""]]


# When things are not as they should be


async def test_without_the_backend_the_room_page_shows_its_shell(start_node: StartNode) -> None:
    async def gone(*args: Any, **options: Any) -> Any:
        raise Unavailable("The storage cannot be reached.")

    node = await start_node(Wrapped(memory(), snapshot=gone))
    page = await read(node, f"{PAGE}?page=3")
    assert "storage cannot be reached" in page
    assert boot(page) == {"uuid": ROOM, "state": None}
    assert "No table yet" not in page


async def test_a_table_whose_bytes_are_gone_still_has_a_page(start_node: StartNode) -> None:
    async def gone(*args: Any, **options: Any) -> Any:
        raise Missing("A part of this table is gone.")

    node = await start_node(Wrapped(memory(), get_blocks=gone))
    document = await node.put(table(100))
    page = await read(node)
    assert boot(page)["state"]["set"]["document"] == document


async def test_an_error_is_a_page_for_people_and_a_problem_for_programs(node: Node) -> None:
    page = await read(node, "/nothing", 404)
    assert "404" in page
    await node.refusal("GET", "/nothing", 404, "not_found")
    await node.refusal("GET", "/api/nothing", 404, "not_found", headers=BROWSER)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        *[(text, True) for text in ("0", "-1", "+1.5", "1,000", "12.5%", " 7 ", "−3", "1 000,5")],
        *[(text, False) for text in ("", "-", "1-2", "2024-05-01", "1.2.3", "x1", "1" * 50, "%")],
    ],
)
def test_a_cell_that_looks_like_a_number_is_one(cell: str, number: bool) -> None:
    assert is_number(cell) is number


def test_sizes_are_said_in_few_digits() -> None:
    sizes = {0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1 KB", 1536: "1.5 KB"}
    sizes |= {1 << 20: "1 MB", 1 << 30: "1 GB", 99_000_000: "94.4 MB"}
    assert {size: filesize(size) for size in sizes} == sizes


@pytest.mark.parametrize("has_reader", [True, False])
async def test_parquet_is_offered_only_where_it_can_be_read(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch, has_reader: bool
) -> None:
    monkeypatch.setattr("server.accept.site.reads_parquet", lambda: has_reader)
    node = await start_node()
    for address in ("/", f"/t/{ROOM}"):
        async with node.http.get(address) as response:
            page = await response.text()
        assert "OpenDocument" in page
        assert ("Parquet" in page) == has_reader
