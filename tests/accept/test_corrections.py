"""How a table is read can be corrected by anyone, and changes for everyone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.accept.client import ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.accept.test_sheets import workbook

DIALECT = f"/api/rooms/{ROOM}/dialect"
PRICES = "name,price;unit\n" + "".join(f"item {n},{n};kg\n" for n in range(1, 301))


async def correct(node: Node, **wanted: Any) -> dict[str, Any]:
    async with node.http.put(DIALECT, json=wanted) as answer:
        assert answer.status == 200, await answer.text()
        told: dict[str, Any] = await answer.json()
        return told


async def test_another_delimiter_is_applied_at_once_without_a_new_document(
    any_node: Node,
) -> None:
    document = await any_node.put(PRICES.encode())
    first, second = await any_node.join(), await any_node.join()
    await first.shows(1)
    delimiter = ";" if document["dialect"]["delimiter"] == "," else ","
    await first.say("dialect", delimiter=delimiter)
    row = {",": ["item 1", "1;kg"], ";": ["item 1,1", "kg"]}[delimiter]
    for viewer in (first, second):
        await viewer.settles(lambda v: v.page and v.page["data"][0] == row)
        now = viewer.registers["document"]
        assert now["id"] == document["id"]
        assert now["dialect"]["delimiter"] == now["report"]["delimiter"] == delimiter
        assert now["report"]["chosen"] == ["delimiter"]
        assert now["columns"] == 2


@pytest.mark.parametrize("wanted", [{"header": False}, {"quote": "'"}], ids=str)
async def test_the_others_are_told_who_corrected_it(any_node: Node, wanted: dict[str, Any]) -> None:
    """A change of the register, and a new cut, which its sender's name stays with."""
    await any_node.put(PRICES.encode())
    viewer, other = await any_node.join(), await any_node.join()
    await other.shows(1)
    assert other.registers["document"]["corrected_by"] is None
    await viewer.say("me", name="Grebe", color=4)
    await viewer.say("dialect", **wanted)
    await other.settles(lambda v: v.registers["document"]["corrected_by"])
    await other.settles(lambda v: not v.registers.get("upload"))
    document = other.registers["document"]
    grebe = {"id": viewer.hello["viewer"], "name": "Grebe", "color": 4}
    assert (document["corrected_by"], document["by"]["name"]) == (grebe, "A program")
    # A program may say who it is. Who does not is not taken for whoever came before.
    async with any_node.http.put(DIALECT, params={"by": "A script"}, json={"escape": "\\"}) as done:
        told = await done.json()
    assert told["corrected_by"] == {"id": "", "name": "A script", "color": 0}
    assert (await correct(any_node, escape=""))["corrected_by"] is None


async def test_the_header_becomes_a_row_and_a_row_the_header(any_node: Node) -> None:
    await any_node.put(b"a\tb\n1\t2\n3\t4\n")
    viewer = await any_node.join()
    await viewer.shows(1)
    await viewer.say("dialect", header=False)
    await viewer.settles(lambda v: v.page["header"] == [])
    assert viewer.page["data"] == [["a", "b"], ["1", "2"], ["3", "4"]]
    assert viewer.registers["document"]["rows"] == 3
    await viewer.say("dialect", header=True)
    await viewer.settles(lambda v: v.page["header"] == ["a", "b"])
    assert viewer.registers["document"]["rows"] == 2


async def test_another_encoding_is_applied_at_once(any_node: Node) -> None:
    await any_node.put("name\tcity\nПривет\tМосква\n".encode("cp1251") * 1)
    viewer = await any_node.join()
    await viewer.shows(1)
    await viewer.say("dialect", encoding="koi8-r")
    await viewer.settles(lambda v: v.registers["document"]["dialect"]["encoding"] == "koi8-r")
    await viewer.say("dialect", encoding="windows-1251")
    await viewer.settles(lambda v: v.page["data"] == [["Привет", "Москва"]])


async def test_lines_before_the_table_can_be_rows_again_and_more_can_be_skipped(
    any_node: Node,
) -> None:
    source = b"A report\nof today\n" + b"".join(b"%d,%d,x\n" % (n, n) for n in range(50))
    document = await any_node.put(source, name="report.csv")
    assert (document["report"]["skipped"], document["records"]) == (2, 50)
    viewer = await any_node.join()
    await viewer.say("dialect", skip_lines=0)
    await viewer.settles(lambda v: v.registers["document"]["dialect"]["skip_lines"] == 0)
    await viewer.settles(lambda v: v.registers.get("upload") is None)
    assert viewer.registers["document"]["records"] == 52
    url = f"/api/rooms/{ROOM}/dialect"
    async with any_node.http.put(url, json={"skip_lines": 10}) as response:
        assert response.status == 200
        again = await response.json()
    assert (again["records"], again["report"]["skipped"]) == (42, 10)
    assert "skip_lines" in again["report"]["chosen"]
    for lines, code in ((-1, "bad_message"), (20_000, "bad_message"), (200, "empty_document")):
        status = 422 if code == "empty_document" else 400
        await any_node.refusal("PUT", url, status, code, json={"skip_lines": lines})
    async with any_node.http.get(f"/api/rooms/{ROOM}/document") as response:
        assert await response.read() == source


async def test_another_quoting_cuts_the_stored_bytes_anew(any_node: Node) -> None:
    rows = "".join(f'{n}\t"two\nlines"\n' for n in range(1, 2001))
    document = await any_node.put(f"id\tnote\n{rows}".encode())
    assert document["rows"] == 2000
    first, second = await any_node.join(), await any_node.join()
    await first.say("dialect", quote="")
    for viewer in (first, second):
        await viewer.settles(
            lambda v: (
                v.registers.get("document", {}).get("rows") == 4000
                and v.registers["document"]["complete"]
                and v.page["total_number"] == 4000
            )
        )
        assert viewer.registers["document"]["id"] != document["id"]
        assert viewer.page["data"][0] == ["1", '"two']
        assert viewer.registers["document"]["report"]["chosen"] == ["quote"]
    told = await correct(any_node, quote='"')
    assert told["rows"] == 2000


@pytest.mark.parametrize(
    "wanted",
    [
        {"encoding": "klingon"},
        {"delimiter": "ab"},
        {"delimiter": "\n"},
        {"quote": "x"},
        {"delimiter": '"'},
        {"header": "yes"},
        {"colour": "red"},
    ],
    ids=str,
)
async def test_what_nothing_can_be_read_by_is_refused_and_changes_nothing(
    node: Node, wanted: dict[str, Any]
) -> None:
    document = await node.put(b"a\tb\n1\t2\n")
    await node.refusal("PUT", DIALECT, 400, "bad_message", json=wanted)
    assert (await node.registers())["document"]["dialect"] == document["dialect"]


async def test_an_encoding_that_is_certain_is_not_corrected(node: Node) -> None:
    await node.put("a\tb\n1\t2\n".encode("utf-16"))
    problem = await node.refusal("PUT", DIALECT, 400, "bad_message", json={"encoding": "cp1252"})
    assert "utf-16" in problem["detail"].lower()


async def test_an_empty_room_has_nothing_to_correct(node: Node) -> None:
    await node.refusal("PUT", DIALECT, 404, "no_document", json={"delimiter": ";"})


QUOTED = "id\tnote\n" + "".join(f'{n}\t"two\nlines"\n' for n in range(1, 2001))


async def test_a_new_cut_is_the_same_version_of_the_same_file(any_node: Node) -> None:
    await any_node.put(b"first\n1\n")
    second = await any_node.put(QUOTED.encode(), name="notes.tsv")
    third = await any_node.put(b"third\n1\n")
    async with any_node.http.put(f"/api/rooms/{ROOM}/version", json={"version": 2}) as answer:
        assert answer.status == 200
    for quote, rows in (("", 4000), ('"', 2000), ("", 4000)):
        told = await correct(any_node, quote=quote)
        assert (told["version"], told["created"], told["rows"]) == (2, second["created"], rows)
        versions = (await any_node.registers())["versions"]
        assert [version["version"] for version in versions] == [3, 2, 1]
        assert versions[1] == told
    assert (await any_node.put(b"fourth\n1\n"))["version"] == third["version"] + 1


async def test_a_new_cut_of_a_workbook_is_still_one_of_its_sheets(node: Node) -> None:
    book = workbook(First=[["a", "b"], ['"', "y"]], Second=[["c"]])
    await node.put(book, name="book.xlsx")
    told = await correct(node, quote="")
    assert (told["sheet"], told["sheets"]) == ("First", ["First", "Second"])


async def test_rows_that_come_just_before_a_new_cut_are_cut_too(start_node: StartNode) -> None:
    inner = memory()
    late = False

    async def append(*given: Any, **change: Any) -> Any:
        nonlocal late
        upload = change["set"].get("upload")
        if upload and upload["kind"] == "recut" and not late:
            late = True
            async with node.http.post(f"/api/rooms/{ROOM}/document/rows", data=b"x\ty\n") as told:
                assert told.status == 200
        return await inner.append(*given, **change)

    node = await start_node(Wrapped(inner, append=append))
    await node.put(QUOTED.encode())
    told = await correct(node, quote="")
    assert told["rows"] == 4001


GOOD = ("name;größe\n" + "Jürgen;1\nMüller;2\n" * 30).encode("cp1252")


async def stored(node: Node) -> bytes:
    async with node.http.get(f"/api/rooms/{ROOM}/document") as answer:
        assert answer.status == 200
        return await answer.read()


@pytest.mark.parametrize("wrong", ["utf-16-le", "utf-32-be"])
async def test_a_wrong_encoding_loses_no_byte(any_node: Node, wrong: str) -> None:
    document = await any_node.put(GOOD + b"odd", name="t.csv")
    for encoding in (wrong, "utf-16-be"):
        read = await correct(any_node, encoding=encoding)
        assert (read["report"]["encoding"], read["version"]) == (encoding, 1)
        assert read["source"]["id"] == document["id"]
    assert "\ufffd".encode() in await stored(any_node)
    back = await correct(any_node, encoding="cp1252")
    assert await stored(any_node) == GOOD + b"odd"
    assert (back["dialect"], back["rows"], back["source"]) == (
        document["dialect"],
        document["rows"],
        None,
    )
    assert back["report"]["encoding_why"] == "chosen"


async def test_other_corrections_between_two_of_the_encoding_are_kept(node: Node) -> None:
    document = await node.put(GOOD, name="t.csv")
    await correct(node, encoding="utf-16-le")
    for wanted in ({"quote": "'"}, {"header": False}, {"delimiter": ","}):
        assert (await correct(node, **wanted))["source"]["id"] == document["id"]
    back = await correct(node, encoding="windows-1252")
    assert await stored(node) == GOOD
    dialect = back["dialect"]
    assert (dialect["quote"], dialect["header"], dialect["delimiter"]) == ("'", False, ",")


async def test_a_wrong_encoding_is_corrected_in_an_earlier_version_too(any_node: Node) -> None:
    await any_node.put(GOOD, name="t.csv")
    await correct(any_node, encoding="utf-16-le")
    await any_node.put(b"a\tb\n1\t2\n")
    async with any_node.http.put(f"/api/rooms/{ROOM}/version", json={"version": 1}) as answer:
        assert answer.status == 200
    await correct(any_node, encoding="cp1252")
    assert await stored(any_node) == GOOD


@pytest.mark.parametrize("between", [None, "cp1252", "utf-32-be"])
async def test_a_guess_that_turned_the_bytes_into_utf_8_is_corrected_too(
    any_node: Node, between: str | None
) -> None:
    text = "id\tcity\n1\tKøbenhavn\n2\tŁódź\n" * 20
    document = await any_node.put(text.encode("utf-16-le"))
    assert document["report"]["encoding_why"] == "zeros"
    assert await stored(any_node) == text.encode()
    if between:
        await correct(any_node, encoding=between)
    await correct(any_node, encoding="utf-8")
    assert await stored(any_node) == text.encode("utf-16-le")
    await correct(any_node, encoding="utf-16-le")
    assert await stored(any_node) == text.encode()


async def test_the_same_encoding_once_more_changes_nothing(node: Node) -> None:
    await node.put(GOOD, name="t.csv")
    read = await correct(node, encoding="utf-16-le")
    assert await correct(node, encoding="UTF-16LE") == read


async def test_rows_that_were_added_since_are_not_lost_by_a_correction(node: Node) -> None:
    await node.put(GOOD, name="t.csv")
    await correct(node, encoding="utf-16-le")
    async with node.http.post(f"/api/rooms/{ROOM}/document/rows", data=b"x\n") as answer:
        assert answer.status == 200
    before = await stored(node)
    problem = await node.refusal("PUT", DIALECT, 400, "bad_message", json={"encoding": "cp1252"})
    assert "Rows were added" in problem["detail"]
    assert await stored(node) == before
