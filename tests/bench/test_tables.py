"""The tables that the bench measures with are what docs/BENCHMARKS.md says of them."""

from __future__ import annotations

import csv
import io

import pytest

from bench.cutter import FILES
from bench.tables import NAMES, PLAIN, Kind, table
from server.document.dialect import Dialect
from server.document.intake import Intake

SIZE = 300_000


def read(kind: Kind) -> list[list[str]]:
    text = b"".join(table(SIZE, kind)).decode()
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=kind.delimiter, strict=True))


@pytest.mark.parametrize("kind", [kind for _, kind, _ in FILES])
def test_every_kind_is_a_whole_table_of_about_the_size_asked_for(kind: Kind) -> None:
    document = b"".join(table(SIZE, kind))
    assert SIZE - 200 < len(document) <= SIZE
    rows = read(kind)
    assert tuple(rows[0]) == NAMES
    assert {len(row) for row in rows} == {len(NAMES)}


@pytest.mark.parametrize("kind", [kind for _, kind, _ in FILES])
def test_a_node_would_read_it_by_the_dialect_that_the_bench_cuts_it_by(kind: Kind) -> None:
    intake = Intake(name=f"table.{kind.suffix}")
    for steps in (intake.feed(b"".join(table(SIZE, kind))), intake.finish()):
        for _ in steps:
            pass
    assert intake.dialect == Dialect(delimiter=kind.delimiter)
    assert intake.records == len(read(kind))


def test_the_csv_files_hold_quoted_cells_commas_and_line_ends_in_the_shares_that_are_told() -> None:
    texts, everything = Kind("csv", "texts"), Kind("csv", "all")
    notes = [row[NAMES.index("note")] for row in read(texts)[1:]]
    assert sum("," in note for note in notes) / len(notes) == pytest.approx(0.67, abs=0.03)
    assert sum("\n" in note and '"' in note for note in notes) / len(notes) == pytest.approx(
        0.02, abs=0.002
    )
    line = b"".join(table(SIZE, texts)).splitlines()[3]
    assert line.count(b'"') == 2 * 4
    line = b"".join(table(SIZE, everything)).splitlines()[3]
    assert line.count(b'"') == 2 * len(NAMES)


def test_the_same_bytes_come_each_time() -> None:
    assert b"".join(table(SIZE, PLAIN)) == b"".join(table(SIZE, PLAIN))
