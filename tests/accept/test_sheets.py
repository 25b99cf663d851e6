"""Spreadsheets become tables like any other."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest

from server.accept.files.cutting import Cutting, UploadLimits
from server.accept.files.store import Batch
from tests.accept.client import ROOM, Node
from tests.room_client import PATIENCE

XLS = Path(__file__).parents[1] / "data" / "sheet-stations.xls"


def workbook(**sheets: list[list[str]]) -> bytes:
    """The least that is an .xlsx, with text in its cells."""
    office = "http://schemas.openxmlformats.org"
    rel, package = f"{office}/officeDocument/2006/relationships", f"{office}/package/2006"
    main = f"{office}/spreadsheetml/2006/main"
    kind = "application/vnd.openxmlformats"

    def relations(*targets: tuple[str, str]) -> str:
        each = "".join(
            f'<Relationship Id="rId{n}" Type="{rel}/{what}" Target="{target}"/>'
            for n, (what, target) in enumerate(targets, 1)
        )
        return f'<Relationships xmlns="{package}/relationships">{each}</Relationships>'

    def cell(name: str, text: str) -> str:
        return f'<c r="{name}" t="inlineStr"><is><t>{text}</t></is></c>'

    numbered = list(enumerate(sheets, 1))
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in numbered)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        f'<Default Extension="rels" ContentType="{kind}-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType="'
        f'{kind}-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{rel}">'
        f"<sheets>{names}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(
            *(("worksheet", f"worksheets/sheet{n}.xml") for n, _ in numbered)
        ),
    }
    for number, name in numbered:
        body = ""
        for r, row in enumerate(sheets[name], 1):
            cells = "".join(cell(f"{chr(64 + c)}{r}", text) for c, text in enumerate(row, 1))
            body += f'<row r="{r}">{cells}</row>'
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>'
        )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return out.getvalue()


BOOK = workbook(
    First=[["a", "b"], ["1", "x y"]],
    Second=[["c"], *([f"row {n}"] for n in range(150))],
)


async def test_the_first_sheet_is_shown_and_another_can_be_asked_for(any_node: Node) -> None:
    document = await any_node.put(BOOK, name="book.xlsx")
    assert (document["sheets"], document["sheet"]) == (["First", "Second"], "First")
    viewer = await any_node.join()
    page = await viewer.shows(1)
    assert (page["header"], page["data"]) == (["a", "b"], [["1", "x y"]])
    await viewer.say("upload", name="book.xlsx", size=len(BOOK), sheet="Second")
    await viewer.expect("ack", received=0)
    await viewer.send_chunks(BOOK)
    await viewer.say("upload_end")
    await viewer.settles(lambda v: v.page["header"] == ["c"])
    assert viewer.registers["document"]["rows"] == 150


async def test_a_workbook_of_old_opens_too(node: Node) -> None:
    document = await node.put(XLS.read_bytes(), name="stations.xls")
    assert document["rows"] > 0
    assert document["sheet"] in document["sheets"]


async def test_a_sheet_that_is_not_there_and_a_damaged_workbook_are_refused_in_words(
    node: Node,
) -> None:
    url = "/api/rooms/3f2504e0-4f89-41d3-9a0c-0305e82c3301/document"
    problem = await node.refusal("PUT", f"{url}?sheet=Third", 404, "no_sheet", data=BOOK)
    assert "First, Second" in problem["detail"]
    await node.refusal("PUT", url, 422, "damaged", data=BOOK[: len(BOOK) // 2])
    assert (await node.registers()).get("document") is None


async def test_what_everyone_is_told_of_a_table_is_bounded_whatever_was_sent(node: Node) -> None:
    wide = "\U00020000"
    names = [f"{number:04}{wide * 27}" for number in range(2000)]
    ragged = [["a"] * (1 + row % 3) for row in range(1000)]
    book = workbook(**{name: [] for name in names[:-1]}, **{names[-1]: ragged})
    url = f"/api/rooms/{ROOM}/document"
    params = {"name": wide * 300, "sheet": names[-1], "by": wide * 100}
    async with node.http.put(url, params=params, data=book) as answer:
        document = await answer.json()
        assert answer.status == 200, document
    assert len(json.dumps(document, ensure_ascii=False).encode()) < 128 * 1024
    assert 100 < len(document["sheets"]) <= 1000
    assert document["sheet"] == document["sheets"][-1] == names[-1]
    assert document["report"]["notes"] == ["sheets_left_out"]
    # However the table is read, the workbook has these sheets.
    for quote in ("'", '"'):
        async with node.http.put(f"/api/rooms/{ROOM}/dialect", json={"quote": quote}) as answer:
            document = await answer.json()
            assert answer.status == 200
        assert document["dialect"]["quote"] == quote
        assert "sheets_left_out" in document["report"]["notes"]
    few = await node.put(BOOK, name="book.xlsx")
    assert few["report"]["notes"] == []


async def download(node: Node) -> tuple[bytes, str, str]:
    async with node.http.get(f"/api/rooms/{ROOM}/document") as answer:
        name = answer.headers["Content-Disposition"].partition("UTF-8''")[2]
        return await answer.read(), answer.headers["Content-Type"], unquote(name)


async def test_a_sheet_is_downloaded_as_what_it_is_under_a_name_that_says_so(node: Node) -> None:
    await node.put(BOOK, name="book.xlsx")
    tsv = "text/tab-separated-values; charset=utf-8"
    assert await download(node) == (b"a\tb\n1\tx y\n", tsv, "book – First.tsv")
    await node.put(workbook(Only=[["a"], ["1"]]), name="book.xlsx")
    assert await download(node) == (b"a\n1\n", tsv, "book.tsv")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (b"a,b\n1,2\n", "text/csv; charset=utf-8"),
        (b"a;b\n1;2\n", "text/plain; charset=utf-8"),
        ("straße\tgröße\nKöln\t5\n".encode("cp1252"), "charset=windows-1252"),
    ],
)
async def test_a_download_says_how_its_bytes_are_written(
    node: Node, source: bytes, kind: str
) -> None:
    await node.put(source, name="table.csv")
    data, told, name = await download(node)
    assert (data, name) == (source, "table.csv")
    assert told.endswith(kind)


async def test_a_workbook_that_waits_for_its_turn_is_not_taken_for_silent() -> None:
    limits = UploadLimits(
        document=10**6,
        record=10**6,
        columns=100,
        page_size=100,
        lease=30,
        pause=0,
        conversions=asyncio.Semaphore(0),
    )
    told = asyncio.Event()
    batches: list[Batch] = []

    async def put(batch: Batch) -> None:
        batches.append(batch)

    cutting = Cutting("t.xlsx", limits, sheet=None, dialect=None, encoding=None)
    await cutting.feed(workbook(one=[["id", "name"], ["1", "first"]]), put)
    finishing = asyncio.create_task(cutting.finish(put, told.set))
    try:
        await asyncio.wait_for(told.wait(), PATIENCE)
        assert cutting.sheets is None
        limits.conversions.release()
        await asyncio.wait_for(finishing, PATIENCE)
    finally:
        cutting.close()
    assert sum(block.records for batch in batches for block in batch.blocks) == 2
