"""The report says what was understood of a file, and counts exactly what was odd in it."""

from __future__ import annotations

import csv
import io
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.document.messages import encode
from server.document.report import SHOWN_ROWS, ParseReport, ReportBuilder, describe, name_delimiter

TSV = ParseReport(encoding="utf-8", delimiter="\t", quote='"')


def reference(source: bytes, delimiter: str) -> list[int]:
    """Cells of each record, one line after another."""
    lines = re.split(rb"\r\n|\r|\n", source)
    return [len(line.split(delimiter.encode())) for line in lines if line]


def count(blocks: list[bytes], report: ParseReport = TSV) -> ParseReport:
    builder = ReportBuilder(report)
    records = [builder.add(block) for block in blocks]
    assert sum(records) == builder.records
    return builder.report()


pieces = st.sampled_from(["a", "é", "\t", "\t\t", ",", "\n", "\r\n", "\r", "a\tb\tc\n", "1\t2\r\n"])


@given(st.lists(pieces, max_size=60).map("".join), st.integers(1, 30), st.sampled_from("\t,é"))
@example("\n\n\na\tb\n\n", 1, "\t")
@example("a\tb\nc\td", 4, "\t")
@example("a\tb\rc\n", 99, "\t")
@example("a\nb\n\nc\n", 1, "\t")
@example("\r\na\tb\r\n\r\nc\td\r\n", 2, "\t")
def test_however_blocks_are_cut_the_counts_are_those_of_the_whole(text, size, delimiter):
    source = text.encode()
    blocks, start = [], 0
    for end in re.finditer(rb"\r\n|\r|\n|\Z", source):
        if end.end() - start >= size or end.end() == len(source):
            blocks.append(source[start : end.end()])
            start = end.end()
    cells = reference(source, delimiter)
    report = count(blocks, ParseReport(encoding="utf-8", delimiter=delimiter, quote=""))
    odd = [number for number, size in enumerate(cells) if size != cells[0]]
    assert report.records == len(cells)
    assert report.columns == (cells[0] if cells else 0)
    assert report.ragged == len(odd)
    assert report.ragged_records == tuple(odd[:SHOWN_ROWS])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=40))
def test_rows_that_make_up_for_one_another_are_ragged_all_the_same(widths):
    source = b"".join(b"\t".join([b"x"] * width) + b"\n" for width in [2, *widths])
    report = count([source])
    assert report.ragged == sum(width != 2 for width in widths)


def test_quoted_cells_count_by_what_is_outside_of_them():
    source = b'a\tb\n1\t"two\nlines\t"\n2\n'
    builder = ReportBuilder(TSV)
    assert builder.add(b"a\tb\n1\tx\n2\n", source) == 3
    assert builder.report().ragged_records == (2,)
    text = io.StringIO(source.decode(), newline="")
    assert builder.records == len(list(csv.reader(text, delimiter="\t")))


def test_many_spaces_separate_as_one_does():
    report = ParseReport(encoding="utf-8", delimiter=" ", quote="", skip_space=True)
    counted = count([b"  a   b c\n1 2    3 \n", b" 1 2\n"], report)
    assert (counted.columns, counted.ragged_records) == (3, (2,))


def test_an_escaped_delimiter_separates_nothing():
    report = ParseReport(encoding="utf-8", delimiter="\t", quote="", escape="\\")
    assert count([b"a\tb\n1\\\t2\t3\n\\\\\t4\n"], report).ragged == 0


def test_lines_that_are_one_cell_are_never_ragged():
    report = count([b"a,b\n\nc\td\n"], ParseReport(encoding="utf-8", delimiter="", quote=""))
    assert (report.records, report.columns, report.ragged) == (2, 1, 0)


@pytest.mark.parametrize(
    ("encoding", "source", "replaced"),
    [
        ("utf-8", "é\ufffd\n".encode(), 0),
        ("utf-8", b"\xff\xc3\ta\xe2\x82\n", 3),
        ("cp1252", b"\x80\x81\x9d\n", 2),
        ("iso8859-15", bytes(range(256)), 1),
        ("gb18030", "中国".encode("gb18030") + b"\xff\n", 1),
    ],
)
def test_what_is_shown_as_replaced_is_counted(encoding, source, replaced):
    report = count([source], ParseReport(encoding=encoding, delimiter="\t", quote=""))
    assert report.replaced == replaced
    assert ("bad_bytes" in report.notes) == (replaced > (0 in source))
    assert ("nul_bytes" in report.notes) == (0 in source)


def test_what_was_transcoded_is_looked_at_as_utf_8():
    report = ParseReport(encoding="utf-16-le", encoding_why="mark", delimiter="\t", quote='"')
    builder = ReportBuilder(report, encoding="utf-8")
    builder.replace(2)
    builder.add("é\tb\n".encode())
    assert (builder.report().replaced, builder.report().encoding) == (2, "utf-16-le")


def test_a_count_goes_on_where_a_report_ends():
    first = count([b"a\tb\n1\n"])
    builder = ReportBuilder(first)
    builder.add(b"3\t4\n5\n")
    builder.note("runaway_quote")
    report = builder.report(header=False)
    assert (report.records, report.ragged, report.ragged_records) == (4, 2, (1, 3))
    assert (report.header, report.notes) == (False, ("runaway_quote",))


def test_a_report_is_plain_data():
    assert b'"ragged_records":[1]' in encode(count([b"a\tb\n1\n"]))


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "tab, UTF-8, header"),
        ({"delimiter": "", "header": False}, "one column, UTF-8, no header"),
        (
            {"delimiter": ";", "encoding": "cp1252", "encoding_why": "guess", "ragged": 1},
            "semicolon, Windows-1252 (a guess), header, 1 ragged row",
        ),
        (
            {"encoding": "utf-16-le", "encoding_why": "mark", "ragged": 1234, "replaced": 2},
            "tab, UTF-16 LE, header, 1,234 ragged rows, 2 unreadable characters",
        ),
        (
            {"skipped": 3, "notes": ("runaway_quote",)},
            "tab, UTF-8, header, 3 lines skipped, quotes read as text",
        ),
    ],
)
def test_a_report_can_be_told_in_one_line(fields, line):
    values = {"encoding": "utf-8", "delimiter": "\t", "quote": '"'} | fields
    assert describe(ParseReport(**values)) == line


def test_every_delimiter_has_a_name():
    names = [name_delimiter(chr(code)) for code in range(1, 256)]
    assert len(set(names)) == 255
    assert (name_delimiter("\x01"), name_delimiter("¦")) == ("character 0x01", '"¦"')
    assert all(name.isprintable() for name in names)


def test_counting_a_plain_block_costs_no_more_than_two_searches_through_it():
    """The bound is loose for busy machines: it is about as fast as one (2 GB/s)."""
    block = b"".join(
        b"%d\tAda Lovelace\t%d.25\tsome longer text\tx\n" % (n, n) for n in range(2000)
    )

    def best(work) -> float:
        times = []
        for _ in range(20):
            started = time.process_time()
            for _ in range(20):
                work()
            times.append(time.process_time() - started)
        return min(times)

    builder = ReportBuilder(TSV)
    assert best(lambda: builder.add(block)) < 5 * best(lambda: block.count(b"\n"))
