"""A spreadsheet or a Parquet file becomes text that reads back to the cells a person sees in it."""

from __future__ import annotations

import datetime as dt
import json
import struct
import tracemalloc
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.document import sheets
from server.document.dialect import TSV
from server.document.records import read_records
from server.document.sheets import (
    NAME_LIMIT,
    NAMES_LIMIT,
    SHEET_FILE_LIMIT,
    SHEETS_LISTED,
    SheetInfo,
    cells,
    convert,
    file_limit,
    list_sheets,
)
from server.document.streams import PIECE_SIZE
from server.document.unpack import HEAD_SIZE, SHEETS, recognise
from server.errors import (
    Damaged,
    EmptyDocument,
    NoSheet,
    NotText,
    Protected,
    Refused,
    TablecastError,
    TooLarge,
    Unsupported,
)

STATIONS = Path(__file__).parents[1] / "data" / "sheet-stations.xls"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


# Files, made here


def xlsx_cell(column: int, row: int, value: object) -> str:
    place = f'r="{chr(ord("A") + column)}{row}"'
    if isinstance(value, tuple):  # a number and its format
        return f'<c {place} s="{value[1]}"><v>{value[0]}</v></c>'
    if isinstance(value, bool):
        return f'<c {place} t="b"><v>{int(value)}</v></c>'
    if isinstance(value, (int, float)):
        return f"<c {place}><v>{value!r}</v></c>"
    text = escape(str(value)).replace("\r", "&#13;")
    return f'<c {place} t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


DATE, MOMENT, DURATION, TIME = 1, 2, 3, 4
FORMATS = {DATE: "yyyy-mm-dd", MOMENT: "yyyy-mm-dd hh:mm:ss", DURATION: "[h]:mm:ss", TIME: "hh:mm"}


def xlsx(path: Path, content: Mapping[str, Iterable[Iterable[object]]], hidden: str = "") -> Path:
    """A workbook of named sheets; None is no cell."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    names = "".join(
        f'<sheet name="{escape(name)}" sheetId="{number}" r:id="r{number}" '
        f'state="{"hidden" if name == hidden else "visible"}"/>'
        for number, name in enumerate(content, 1)
    )
    links = "".join(
        f'<Relationship Id="r{number}" Type="{office}/worksheet" '
        f'Target="worksheets/s{number}.xml"/>'
        for number, _ in enumerate(content, 1)
    )
    formats = "".join(
        f'<numFmt numFmtId="{164 + number}" formatCode="{code}"/>'
        for number, code in FORMATS.items()
    )
    styles = "".join(f'<xf numFmtId="{164 + number if number else 0}"/>' for number in range(5))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}/relationships">{links}'
            f'<Relationship Id="s" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{main}"><numFmts>{formats}</numFmts><cellXfs>{styles}</cellXfs>'
            "</styleSheet>",
        )
        for number, rows in enumerate(content.values(), 1):
            lines = []
            for row, values in enumerate(rows, 1):
                found = [
                    xlsx_cell(column, row, value)
                    for column, value in enumerate(values)
                    if value is not None
                ]
                lines.append(f'<row r="{row}">{"".join(found)}</row>')
            archive.writestr(
                f"xl/worksheets/s{number}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
            )
    return path


def ods(path: Path, rows: Iterable[Iterable[str]], manifest: str = "") -> Path:
    """`rows` of elements of content.xml."""
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text", "manifest")
    )
    body = "".join(f"<table:table-row>{''.join(row)}</table:table-row>" for row in rows)
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr(
            "content.xml",
            f"<office:document-content {names}><office:body><office:spreadsheet>"
            f'<table:table table:name="Blatt">{body}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
        archive.writestr(
            "META-INF/manifest.xml", f"<manifest:manifest {names}>{manifest}</manifest:manifest>"
        )
    return path


def ods_text(text: str) -> str:
    return (
        '<table:table-cell office:value-type="string"><text:p>'
        f"{escape(text)}</text:p></table:table-cell>"
    )


def xlsb(path: Path, rows: list[list[object]]) -> Path:
    """Records as in [MS-XLSB]: a number, a length, and that many bytes."""

    def record(number: int, data: bytes = b"") -> bytes:
        head = bytes([number]) if number < 128 else bytes([number & 0x7F | 0x80, number >> 7])
        return head + bytes([len(data)]) + data

    def string(text: str) -> bytes:
        return struct.pack("<I", len(text)) + text.encode("utf-16-le")

    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    size = struct.pack("<4I", 0, len(rows) - 1, 0, len(rows[0]) - 1)
    sheet = record(129) + record(148, size) + record(145)
    for row, values in enumerate(rows):
        sheet += record(0, struct.pack("<2I", row, 0) + bytes(13))
        for column, value in enumerate(values):
            head = struct.pack("<2I", column, 0)
            if isinstance(value, float):
                sheet += record(5, head + struct.pack("<d", value))
            else:
                sheet += record(6, head + string(str(value)))
    sheet += record(146) + record(130)
    bundle = struct.pack("<2I", 0, 1) + string("rId1") + string("Binär")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
        archive.writestr(
            "xl/_rels/workbook.bin.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
            f'Type="{office}/worksheet" Target="worksheets/sheet1.bin"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.bin",
            record(131) + record(143) + record(156, bundle) + record(144) + record(132),
        )
        archive.writestr("xl/worksheets/sheet1.bin", sheet)
    return path


def read(path: Path, sheet: str | int | None = None) -> list[list[str]]:
    """The cells of a file, through all that a document goes through."""
    with path.open("rb") as file:
        kind = recognise(file.read(HEAD_SIZE))
    assert kind in SHEETS
    with convert(path, kind, sheet) as conversion:
        pieces = list(conversion)
    assert all(0 < len(piece) <= PIECE_SIZE for piece in pieces)
    source = b"".join(pieces)
    return read_records(source, TSV, 0, source.count(b"\n"))


def complaint(path: Path, error: type[TablecastError] = Damaged, sheet: str | None = None) -> str:
    with pytest.raises(error) as caught:
        read(path, sheet)
    assert type(caught.value) is error
    assert caught.value.message.endswith("Everyone keeps what they had.")
    return caught.value.message


# Cells as text


any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.text(
    st.sampled_from('"\t\r\n\ufeff a\x0b\x85\u2028'), max_size=6
)


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(any_text, min_size=n, max_size=n))))
def test_whatever_is_in_cells_is_read_back_from_the_text(rows: list[list[str]]) -> None:
    source = "".join(map(cells.record, rows)).encode()
    assert read_records(source, TSV, 0, len(rows) + 1) == rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (0.1 + 0.2, "0.3"),
        (0.0033222591362126246, "0.00332225913621262"),
        (2 / 3, "0.666666666666667"),
        (1e15 + 0.5, "1000000000000000"),
        (2.0**53 + 2, "9007199254740994"),
        (1234.5600000000001, "1234.56"),
        (0.8444218515250481, "0.844421851525048"),
        (9007199254740991.0, "9007199254740991"),
        (1e20, "100000000000000000000"),
        (1e300, "1e+300"),
        (0.0000125, "0.0000125"),
        (1e-200, "1e-200"),
        (True, "TRUE"),
        (7, "7"),
        (None, ""),
        ("", ""),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.datetime(2024, 2, 29, 13, 5), "2024-02-29 13:05:00"),  # noqa: DTZ001
        (dt.datetime(2024, 2, 29, 13, 5, 0, 250_000), "2024-02-29 13:05:00.25"),  # noqa: DTZ001
        (dt.time(7, 30), "07:30:00"),
        (dt.timedelta(hours=27, minutes=3, seconds=4), "27:03:04"),
        (dt.timedelta(seconds=-90.5), "-0:01:30.5"),
    ],
)
def test_a_value_is_written_as_a_person_sees_it(value: object, text: str) -> None:
    assert cells.text(value) == text


@given(st.floats(allow_nan=False))
def test_a_number_is_the_same_number_again(value: float) -> None:
    assert float(cells.text(value)) == pytest.approx(value, rel=1e-14)


def test_a_zero_byte_in_a_cell_does_not_make_the_text_binary() -> None:
    assert cells.record(["a\0b", "c"]) == "a\ufffdb\tc\n"


# Spreadsheets


def test_a_workbook_shows_what_its_cells_show(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["name", 'with "quotes"', '5" pipe', '"quoted"', "a\tb\nc\r\nd"],
        [1, 2.5, -3.0, True, False],
        [(45351, DATE), (45351.5, MOMENT), (1.127, DURATION), (0.25, TIME), 0.1 + 0.2],
        ["städte", "", None, "last", "x"],
    ]
    assert read(xlsx(tmp_path / "a", {"Trips": rows})) == [
        ["name", 'with "quotes"', '5" pipe', '"quoted"', "a\tb\nc\r\nd"],
        ["1", "2.5", "-3", "TRUE", "FALSE"],
        ["2024-02-29", "2024-02-29 12:00:00", "27:02:52.8", "06:00:00", "0.3"],
        ["städte", "", "", "last", "x"],
    ]


def test_empty_rows_and_columns_around_a_table_are_left_out_and_within_it_stay(
    tmp_path: Path,
) -> None:
    none = [None, None, None]
    rows = [none, none, [None, "a", "b"], none, [None, "c", ""], none, [None, "", ""], none]
    assert read(xlsx(tmp_path / "a", {"s": rows})) == [["a", "b"], ["", ""], ["c", ""]]


def test_an_empty_cell_in_a_table_of_one_column_stays_a_row(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "a", {"s": [["a"], [None], ["b"]]})
    assert read(path) == [["a"], [""], ["b"]]


def test_the_first_sheet_that_is_not_hidden_is_shown_and_any_can_be_chosen(tmp_path: Path) -> None:
    content = {"Notes": [["n"]], "Trips": [["t"]], "Stops & more": [["s"]]}
    path = xlsx(tmp_path / "a", content, hidden="Notes")
    assert read(path) == [["t"]]
    assert read(path, "Stops & more") == [["s"]]
    assert read(path, 0) == [["n"]]
    assert list_sheets(path, "xlsx") == [
        SheetInfo("Notes", hidden=True),
        SheetInfo("Trips"),
        SheetInfo("Stops & more"),
    ]
    with convert(path, "xlsx") as conversion:
        assert conversion.sheet == SheetInfo("Trips", rows=1, columns=1)
        assert conversion.sheets == list_sheets(path, "xlsx")
    assert "Notes, Trips, Stops & more" in complaint(path, NoSheet, "Tips")


def test_a_workbook_of_very_many_sheets_lists_the_first_of_them_and_the_one_that_is_shown(
    tmp_path: Path,
) -> None:
    names = [f"sheet {number}" for number in range(SHEETS_LISTED + 200)]
    path = xlsx(tmp_path / "a", {name: [[name]] for name in names}, hidden=names[0])
    with convert(path, "xlsx") as conversion:
        assert [info.name for info in conversion.sheets] == names[1 : SHEETS_LISTED + 1]
        assert conversion.left_out == 199
    with convert(path, "xlsx", names[-1]) as conversion:
        assert b"".join(conversion) == names[-1].encode() + b"\n"
        assert conversion.sheet == SheetInfo(names[-1], rows=1, columns=1)
        assert [info.name for info in conversion.sheets] == [*names[1:SHEETS_LISTED], names[-1]]


def test_names_of_sheets_are_bounded_and_what_cannot_be_listed_can_be_read(tmp_path: Path) -> None:
    names = [f"{number:06}" + "\U00020000" * 300 for number in range(400)]
    path = xlsx(tmp_path / "a", {name: [[name[:6]]] for name in names})
    with convert(path, "xlsx", names[-1]) as conversion:
        assert b"".join(conversion) == b"000399\n"
        listed = [info.name for info in conversion.sheets]
        assert conversion.sheet is not None
        assert listed[-1] == conversion.sheet.name == names[-1][:NAME_LIMIT]
        assert len(json.dumps(listed, ensure_ascii=False).encode()) <= NAMES_LIMIT + 2 * len(listed)
        assert len(listed) + conversion.left_out == len(names)
        assert len(listed) > 50
    assert read(path, listed[0]) == [["000000"]]


def test_names_of_sheets_cannot_pretend(tmp_path: Path) -> None:
    content = {"a\u202eb": [["1"]], "\u200b": [["2"]], "ab": [["3"]]}
    path = xlsx(tmp_path / "a", content)
    assert [info.name for info in list_sheets(path, "xlsx")] == ["ab", "Sheet", "ab"]
    assert [read(path, name) for name in content] == [[["1"]], [["2"]], [["3"]]]
    assert read(path, "Sheet") == [["2"]]


def test_more_names_than_a_line_can_have_hold_nothing_up(tmp_path: Path) -> None:
    names = [f"{number:05}" + "\U00020000" * 3000 for number in range(300)]
    path = xlsx(tmp_path / "a", {name: [["x"]] for name in names})
    assert read(path) == [["x"]]


def test_an_old_workbook_is_read() -> None:
    assert read(STATIONS) == [
        ["Station", "seit", "Höhe", "offen"],
        ["Köln", "1999-12-31", "53", "TRUE"],
        ['5" Rohr\tund mehr', "2024-02-29", "-1.25", "FALSE"],
    ]
    assert "“leer”" in complaint(STATIONS, EmptyDocument, "leer")


def test_an_opendocument_spreadsheet_is_read(tmp_path: Path) -> None:
    number = '<table:table-cell office:value-type="float" office:value="53"/>'
    date = '<table:table-cell office:value-type="date" office:date-value="2024-02-29"/>'
    yes = '<table:table-cell office:value-type="boolean" office:boolean-value="true"/>'
    rows = [[ods_text("Köln"), number], [date, yes]]
    assert read(ods(tmp_path / "a", rows)) == [["Köln", "53"], ["2024-02-29", "TRUE"]]


def test_a_binary_workbook_is_read(tmp_path: Path) -> None:
    path = xlsb(tmp_path / "a", [["Köln", 53.0], ["x", 0.5]])
    assert read(path) == [["Köln", "53"], ["x", "0.5"]]


# Bad spreadsheets


def test_a_workbook_with_a_password_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLE + bytes(1000) + "EncryptedPackage".encode("utf-16-le") + bytes(1000))
    assert "password" in complaint(path, Protected)
    entry = (
        '<manifest:file-entry manifest:full-path="content.xml"><manifest:encryption-data/>'
        "</manifest:file-entry>"
    )
    assert "password" in complaint(ods(path, [[ods_text("a")]], manifest=entry), Protected)
    old = STATIONS.read_bytes()
    begin = old.index(b"\x09\x08\x10\x00\x00\x06\x05\x00") + 20
    path.write_bytes(old[:begin] + b"\x2f\x00" + old[begin + 2 :])
    assert "password" in complaint(path, Protected)


@pytest.mark.parametrize(
    ("stream", "what"),
    [("WordDocument", "Word"), ("PowerPoint Document", "PowerPoint"), ("Other", "old Office")],
)
def test_an_old_document_that_is_no_workbook_is_named(
    tmp_path: Path, stream: str, what: str
) -> None:
    path = tmp_path / "a"
    names = ("Root Entry" + "\0" * 54 + stream).encode("utf-16-le")
    path.write_bytes(OLE + bytes(1000) + names + bytes(1000))
    assert what in complaint(path, NotText)


def test_a_word_document_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w/>")
    assert "Word" in complaint(tmp_path / "a", NotText)


def test_a_workbook_that_was_cut_off_or_damaged_says_so(tmp_path: Path) -> None:
    whole = xlsx(tmp_path / "a", {"s": [["a", "b"]] * 50}).read_bytes()
    path = tmp_path / "b"
    for end in range(HEAD_SIZE, len(whole), 400):
        path.write_bytes(whole[:end])
        assert "damaged" in complaint(path)
    broken = bytearray(whole)
    broken[broken.index(b"xl/worksheets/s1.xml") + 40] ^= 0xFF
    path.write_bytes(broken)
    assert "damaged" in complaint(path)
    old = STATIONS.read_bytes()
    path.write_bytes(old[: len(old) // 2])
    assert "damaged" in complaint(path)


def test_more_cells_than_a_spreadsheet_can_have_are_refused(tmp_path: Path) -> None:
    cell = '<table:table-cell office:value-type="float" office:value="1"'
    wide = cell + ' table:number-columns-repeated="16000"/>'
    path = ods(tmp_path / "a", [[wide]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    repeated = b'<table:table-row table:number-rows-repeated="1000000">'
    parts["content.xml"] = parts["content.xml"].replace(b"<table:table-row>", repeated)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(Refused, match=r"cannot be read here|MiB of memory"):
        read(path)


def test_an_empty_sheet_is_named(tmp_path: Path) -> None:
    assert "“Trips”" in complaint(xlsx(tmp_path / "a", {"Trips": []}), EmptyDocument)


def test_a_file_over_its_limit_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"PK\x03\x04")
    with path.open("r+b") as file:
        file.truncate(SHEET_FILE_LIMIT + 1)
    with pytest.raises(TooLarge, match="64 MiB") as caught:
        convert(path, "xlsx")
    assert caught.value.limit == file_limit("xlsx")


def with_rows(path: Path, rows: str) -> Path:
    """A workbook with `rows` of XML in its sheet."""
    xlsx(path, {"s": []})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data.replace("</sheetData>", rows + "</sheetData>"))
    return path


def test_cells_without_a_value_are_empty(tmp_path: Path) -> None:
    rows = (
        '<row r="1"><c r="A1"><v>1</v></c><c r="B1" t="e"><f>1/0</f><v>#DIV/0!</v></c></row>'
        '<row r="2"><c r="A2"><f>1+1</f></c><c r="B2" t="e"><v>#N/A</v></c></row>'
        '<row r="3"><c r="A3"><v>3</v></c></row>'
    )
    assert read(with_rows(tmp_path / "a", rows)) == [["1", ""], ["", ""], ["3", ""]]


@pytest.mark.parametrize("shown", ["#SPILL!", "#CALC!", "#FIELD!"])
def test_an_error_that_is_not_known_is_named(tmp_path: Path, shown: str) -> None:
    path = with_rows(tmp_path / "a", f'<row r="1"><c r="A1" t="e"><v>{shown}</v></c></row>')
    assert shown in complaint(path, Unsupported)
    odd = with_rows(tmp_path / "b", '<row r="1"><c r="A1" t="e"><v>x&#10;y</v></c></row>')
    assert "damaged" in complaint(odd)


def test_two_cells_far_apart_cost_no_memory_of_the_node(tmp_path: Path) -> None:
    near = '<row r="1"><c r="A1"><v>1</v></c></row>'
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    assert "1,024 MiB of memory" in complaint(with_rows(tmp_path / "a", near + far), TooLarge)


def test_a_workbook_that_unpacks_to_more_than_allowed_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = xlsx(tmp_path / "a", {"s": [["a" * 1000]] * 2000})
    monkeypatch.setattr(sheets, "UNPACKED_LIMIT", 2**20)
    message = complaint(path, TooLarge)
    assert "1 MiB" in message


def test_a_workbook_that_lies_about_its_size_is_not_opened(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "a", {"s": [["a" * 1000]] * 2000})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("xl/worksheets/s1.xml").file_size
    place = data.rindex(struct.pack("<I", size))
    data[place : place + 4] = struct.pack("<I", 1000)
    path.write_bytes(data)
    assert "damaged" in complaint(path)


def test_a_file_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_rows(tmp_path / "a", f"<row>{'<c><v>1.5</v></c>' * 20}</row>" * 200_000)
    monkeypatch.setattr(sheets, "SECONDS_LIMIT", 1)
    assert "1 seconds" in complaint(path, TooLarge)


def test_who_stops_early_stops_the_process(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "a", {"s": [["a" * 500] * 5] * 2000})
    conversion = convert(path, "xlsx")
    assert next(conversion)
    conversion.close()
    conversion.close()
    assert conversion._process.returncode is not None
    assert list(conversion) == []


def test_who_stops_before_the_file_is_open_waits_for_nothing(tmp_path: Path) -> None:
    conversion = convert(xlsx(tmp_path / "a", {"s": [["a"]]}), "xlsx")
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(list, conversion)
        conversion.close()
        assert reading.result(timeout=10) in ([], [b"a\n"])
    assert conversion._process.returncode is not None


@settings(max_examples=25, deadline=None)
@given(
    where=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=30),
    old=st.booleans(),
)
def test_any_damage_ends_in_cells_or_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, where: float, junk: bytes, old: bool
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a"
    data = bytearray(
        STATIONS.read_bytes() if old else xlsx(path, {"s": [["a", 1.5]] * 9}).read_bytes()
    )
    place = int(where * len(data))
    data[place : place + len(junk)] = junk
    path.write_bytes(data)
    try:
        with convert(path, "xls" if old else "xlsx") as conversion:
            list(conversion)
    except TablecastError as error:
        told = error.message
    else:
        told = "fine"
    assert told


# Parquet


def test_without_its_library_a_parquet_file_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from server.document.sheets import columns

    monkeypatch.setattr(columns, "pa", None)
    with pytest.raises(Unsupported, match=r"tablecast\[parquet\]"):
        columns.Columns(tmp_path / "a")


def parquet(path: Path, table: dict[str, Any], **options: Any) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(table), path, **options)
    return path


def test_the_columns_of_a_parquet_file_are_read_in_their_order(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = parquet(
        tmp_path / "a",
        {
            "name": ["Köln", None, '"a"\tb\n'],
            "count": [1, None, 2**62],
            "share": [1.0, 0.5, None],
            "small": pa.array([0.1, 1e20, 1e-7], pa.float32()),
            "open": [True, False, None],
            "price": [Decimal("1.20"), Decimal("-100.00"), None],
            "day": [dt.date(2024, 2, 29), None, dt.date(1, 1, 1)],
            "at": pa.array([0, 1_500_000_000_250_000_000, None], pa.timestamp("ns")),
            "zoned": pa.array([0, 1_500_000_000_000, None], pa.timestamp("ms", "Europe/Berlin")),
            "utc": pa.array([0, 1_500_000_000_000, None], pa.timestamp("ms", "UTC")),
            "time": pa.array([0, 3_723_000_001, None], pa.time64("us")),
            "took": pa.array([97_384_500, 0, None], pa.duration("ms")),
            "raw": [b"text", b"\xff\x00", None],
            "kind": pa.array(["x", "y", None]).dictionary_encode(),
            "nothing": pa.nulls(3),
        },
    )
    assert read(path) == [
        [
            *("name", "count", "share", "small", "open", "price", "day", "at", "zoned"),
            *("utc", "time", "took", "raw", "kind", "nothing"),
        ],
        [
            *("Köln", "1", "1", "0.1", "TRUE", "1.20", "2024-02-29", "1970-01-01 00:00:00"),
            *("1970-01-01 01:00:00+01:00", "1970-01-01 00:00:00Z", "00:00:00", "27:03:04.5"),
            *("text", "x", ""),
        ],
        [
            *("", "", "0.5", "100000000000000000000", "FALSE", "-100.00", ""),
            *("2017-07-14 02:40:00.25", "2017-07-14 04:40:00+02:00", "2017-07-14 02:40:00Z"),
            *("01:02:03.000001", "0:00:00", "ff00", "y", ""),
        ],
        ['"a"\tb\n', str(2**62), "", "0.0000001", "", "", "0001-01-01", *[""] * 8],
    ]


def test_nested_values_are_json(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    one = uuid.UUID(int=7)
    path = parquet(
        tmp_path / "a",
        {
            "list": pa.array([[1, 2], None, [], [None, 3]]),
            "struct": pa.array(
                [{"a": 1, "b": ["ä", None]}, {"a": None, "b": None}, None, {"a": 2, "b": []}]
            ),
            "map": pa.array(
                [[("k", 1)], [], None, [("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int32())
            ),
            "moments": pa.array([[0], [1], None, []], pa.list_(pa.timestamp("ns"))),
            "id": pa.array([one.bytes, None, None, one.bytes], pa.uuid()),
        },
    )
    assert read(path)[1:] == [
        [
            *("[1, 2]", '{"a": 1, "b": ["ä", null]}', '{"k": 1}'),
            *('["1970-01-01 00:00:00"]', str(one)),
        ],
        ["", '{"a": null, "b": null}', "{}", '["1970-01-01 00:00:00.000000001"]', ""],
        ["[]", "", "", "", ""],
        ["[null, 3]", '{"a": 2, "b": []}', '{"k": 1, "l": 2}', "[]", str(one)],
    ]


def test_a_parquet_file_of_many_groups_is_read_to_its_end(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "a", {"n": range(50_000), "t": ["x" * 20] * 50_000}, row_group_size=7000
    )
    with convert(path, "parquet") as conversion:
        assert conversion.sheet == SheetInfo("table", rows=50_001, columns=2)
    found = read(path)
    assert len(found) == 50_001
    assert found[-1] == ["49999", "x" * 20]


def test_a_parquet_file_with_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "a", {"a": [], "b": []})) == [["a", "b"]]


def test_a_parquet_file_without_columns_is_empty(tmp_path: Path) -> None:
    complaint(parquet(tmp_path / "a", {}), EmptyDocument)


def test_a_damaged_parquet_file_says_so(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "a", {"n": range(5000)}).read_bytes()
    (tmp_path / "b").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in complaint(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"PARE\x15" + bytes(100) + b"PARE")
    assert "encrypted" in complaint(tmp_path / "b", Protected)


def test_a_small_parquet_file_of_very_many_rows_is_read_piece_by_piece(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = 5_000_000
    same = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), ["x" * 1000])
    path = parquet(tmp_path / "a", {"same": same})
    assert path.stat().st_size < 1_000_000
    del same
    tracemalloc.start()
    try:
        with convert(path, "parquet") as conversion:
            got = sum(len(next(conversion)) for _ in range(100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got == 100 * PIECE_SIZE
    assert peak < 4 * 2**20
