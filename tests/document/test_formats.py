"""Rows leave as files that other programs read back as the same cells."""

from __future__ import annotations

import csv
import io
import json
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.document import formats
from server.document.formats import CSV, JSON, NDJSON, TSV, Format, defused, unique_names, writer

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
tables = st.lists(st.lists(text, min_size=1, max_size=5), max_size=8)


def written(format: Format, header: list[str], rows: list[list[str]], **options: bool) -> str:
    out = writer(format, header, first_row=1, total=len(rows), **options)
    half = len(rows) // 2
    pieces = [out.begin(), out.rows(rows[:half]), out.rows(rows[half:]), out.end()]
    return b"".join(pieces).decode()


@pytest.mark.parametrize(("format", "delimiter"), [(TSV, "\t"), (CSV, ",")])
@given(header=st.lists(text, min_size=1, max_size=5), rows=tables)
def test_tsv_and_csv_are_read_back_as_the_same_cells(
    format: Format, delimiter: str, header: list[str], rows: list[list[str]]
) -> None:
    read = list(
        csv.reader(io.StringIO(written(format, header, rows), newline=""), delimiter=delimiter)
    )
    assert read == [header, *rows]


@pytest.mark.parametrize(("format", "delimiter", "end"), [(TSV, "\t", "\n"), (CSV, ",", "\r\n")])
@given(rows=st.lists(st.lists(st.text("a,\t \"'\n\r=", max_size=2), min_size=1, max_size=3)))
def test_only_cells_that_need_it_are_quoted(
    format: Format, delimiter: str, end: str, rows: list[list[str]]
) -> None:
    """As the csv module does it, which takes longer."""

    def line(row: list[str]) -> str:
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerow(row)
        return out.getvalue()[:-2] + end

    assert written(format, [], rows) == "".join(map(line, rows))


@given(header=st.lists(text, max_size=5), rows=tables)
def test_json_is_one_object_with_all_rows(header: list[str], rows: list[list[str]]) -> None:
    told = json.loads(written(JSON, header, rows))
    assert told == {"first_row": 1, "total_number": len(rows), "header": header, "data": rows}


@given(header=st.lists(text, max_size=5), rows=tables)
def test_ndjson_keeps_every_cell_under_a_name_of_its_own(
    header: list[str], rows: list[list[str]]
) -> None:
    lines = written(NDJSON, header, rows).split("\n")[:-1]
    assert [list(json.loads(line).values()) for line in lines] == rows


@given(header=st.lists(text, max_size=6), width=st.integers(0, 8))
def test_no_two_names_are_the_same(header: list[str], width: int) -> None:
    names = unique_names(header, width)
    assert len(names) == len(set(names)) == width


def test_names_that_repeat_are_numbered() -> None:
    assert unique_names(["a", "a", "", "a_2"], 5) == ["a", "a_3", "column_3", "a_2", "column_5"]


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "=1"])
def test_formulas_are_defused_on_request(cell: str) -> None:
    assert defused(cell) == "'" + cell
    assert list(csv.reader(io.StringIO(written(CSV, ["h"], [[cell]], defuse=True), newline="")))[
        1
    ] == ["'" + cell]
    assert list(csv.reader(io.StringIO(written(CSV, ["h"], [[cell]]), newline="")))[1] == [cell]


def test_no_invisible_character_hides_a_formula() -> None:
    unseen = [char for code in range(0x110000) if category(char := chr(code)) in ("Cf", "Cc", "Zs")]
    assert [char for char in unseen if defused(f"{char}=1+1") != f"'{char}=1+1"] == []
    assert defused("\ufeff\u200b \ufeff@SUM(A1)").startswith("'")
    assert defused("\ufeffplain") == "\ufeffplain"


@pytest.mark.parametrize("format", [TSV, CSV])
@pytest.mark.parametrize("header", [[], ["\ufeff=1+1", "b"], ["\ufeff"], ["\ufeff,\t", "b"]])
def test_a_cell_at_the_beginning_is_not_taken_for_a_byte_order_mark(
    format: Format, header: list[str]
) -> None:
    rows = [["\ufeffx", "y"], ["\ufeffz"]]
    told = written(format, header, rows)
    assert not told.startswith("\ufeff")
    delimiter = "\t" if format is TSV else ","
    read = list(csv.reader(io.StringIO(told, newline=""), delimiter=delimiter))
    assert read == [header] * bool(header) + rows


@pytest.mark.parametrize("cell", ["-5", "+3.20", "-1,234.5", "1e-5", "-12%", "a=b", "x-y", ""])
def test_numbers_and_plain_text_stay_as_they_are(cell: str) -> None:
    assert defused(cell) == cell


def test_each_format_is_known_by_its_extension() -> None:
    assert set(formats.FORMATS) == {"tsv", "csv", "json", "ndjson"}
