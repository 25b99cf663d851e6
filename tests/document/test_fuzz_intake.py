"""Whatever bytes arrive, a table comes out or a clear refusal, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import time
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from server.document.blocks import decompress
from server.document.intake import Intake, SheetFile
from server.document.pages import parse_block
from server.document.sheets import convert
from server.document.unpack import SHEETS, Kind, recognise
from server.errors import TablecastError
from tests.document.test_intake import zipped
from tests.properties import examples

DATA = Path(__file__).parents[1] / "data"
FILES = sorted((DATA / "files").iterdir())
MIB = 1024 * 1024
ODD = [
    *(b"\0", b"\n", b"\r", b'"', b"'", b"\\", b"\t", b",", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff"),
    *(b"\x1f\x8b\x08", b"PK\x03\x04", b"BZh9", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"PAR1\x15"),
    *(b"#", b"\x01", "§".encode(), b"\x81\x30", b"\\N", b"\\\n", b'""', b'\t"', b'"\n', b"sep=;\n"),
]


def ingest(source: bytes, draw: random.Random) -> None:
    """Takes a file in odd chunks; what comes out is whole, and everything else is refused."""
    intake = Intake(
        name="fuzz.csv",
        document_limit=4 * MIB,
        record_limit=draw.choice([100, 5000, 200_000]),
        column_limit=draw.choice([3, 1000]),
        block_size=draw.choice([1, 64, 4096]),
    )
    records = 0
    try:
        at = 0
        while at <= len(source):
            size = draw.choice([1, 7, 500, 100_000])
            done = at + size > len(source)
            lists = list(intake.feed(source[at : at + size]))
            lists += intake.finish() if done else []
            for block in (block for blocks in lists for block in blocks):
                data = decompress(block.data)
                assert (len(data), block.first_record) == (block.size, records)
                first = block.number == 0
                found = parse_block(
                    data, intake.dialect, 0, 10**9, is_first_block=first, literal=block.literal
                )
                assert len(found) == block.records
                records += block.records
            at += size
    except (TablecastError, SheetFile):
        return
    assert records == intake.records == intake.report.records
    assert intake.columns > 0


@settings(max_examples=examples(300))
@given(st.lists(st.sampled_from(ODD) | st.binary(max_size=20), max_size=40), st.integers(0, 99))
def test_odd_bytes_never_break_it(pieces: list[bytes], seed: int) -> None:
    ingest(b"".join(pieces), random.Random(seed))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_damaged_files_never_break_it(file: Path) -> None:
    draw = random.Random(file.name)
    whole = file.read_bytes()
    deadline = time.monotonic() + 0.4
    for _ in range(40):
        source = bytearray(whole)
        for _ in range(draw.randrange(1, 8)):
            at = draw.randrange(len(source) + 1)
            match draw.randrange(4):
                case 0:
                    source[at : at + draw.randrange(50)] = b""
                case 1:
                    source[at:at] = draw.choice(ODD)
                case 2:
                    source[at : at + 1] = draw.randbytes(1)
                case 3:
                    source[at:at] = source[at : at + 1000] * draw.randrange(20)
        ingest(bytes(source), draw)
        if time.monotonic() > deadline:
            break


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress, zipped]
)
def test_damaged_archives_never_break_it(pack: object) -> None:
    assert callable(pack)
    draw = random.Random(1)
    whole = pack(b"".join(b"%d\t%f\n" % (n, draw.random()) for n in range(3000)))
    for _ in range(60):
        source = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(source)) // draw.choice([1, 1, 1000])
            source[at : at + draw.randrange(3)] = draw.choice([b"", draw.randbytes(2)])
        ingest(bytes(source), draw)


STARTS = [
    *(gzip.compress(b"a\tb\n"), bz2.compress(b"a\tb\n"), lzma.compress(b"a\tb\n")),
    *(zstandard.compress(b"a\tb\n"), zipped(b"a\tb\n"), zipped(b"<x/>", "xl/workbook.xml")),
    (DATA / "protected.zip").read_bytes(),
    (DATA / "protected.xlsx").read_bytes()[:2000],
    (DATA / "sheet-stations.xls").read_bytes()[:2000],
    b"PAR1\x15\x04\x15" + bytes(20),
]


@settings(max_examples=examples(400), deadline=None)
@given(
    st.sampled_from(STARTS),
    st.integers(0, 2000),
    st.sampled_from(ODD) | st.binary(max_size=40),
    st.integers(0, 2000),
    st.integers(0, 99),
)
def test_odd_bytes_in_the_heads_of_packed_files_and_sheets_never_break_it(
    start: bytes, at: int, odd: bytes, rest: int, seed: int
) -> None:
    at %= len(start) + 1
    source = start[:at] + odd + start[at + rest % 8 :]
    draw = random.Random(seed)
    ingest(source, draw)
    # What is packed once more is looked at by the same rules.
    ingest(gzip.compress(source), draw)
    ingest(zipped(source, "table.tsv"), draw)


@pytest.mark.parametrize("kind", sorted(SHEETS))
def test_whatever_is_kept_as_a_sheet_ends_in_cells_or_in_a_sentence(
    kind: Kind, tmp_path: Path
) -> None:
    """Bytes with a sheet's head reach its reader, in its own process, and that never breaks."""
    draw = random.Random(kind)
    heads = [start for start in STARTS if recognise(start) == kind] or [b""]
    for number in range(4):
        start = bytearray(draw.choice(heads) + draw.randbytes(draw.choice([0, 10, 3000])))
        for _ in range(draw.randrange(4)):
            if len(start) > 9:
                start[draw.randrange(8, len(start))] = draw.randrange(256)
        path = tmp_path / f"{number}"
        path.write_bytes(bytes(start) or b"\0")
        told = ""
        try:
            with convert(path, kind) as conversion:
                told = f"{sum(map(len, conversion))} bytes"
        except TablecastError as error:
            told = error.message
        assert told


ROWS = b"alpha,beta gamma,delta,12345678\n" * (10 * MIB // 32)


@pytest.mark.parametrize(
    "source",
    [
        b"x" * (10 * MIB),
        b'a\t"' + b"x\n" * (5 * MIB),
        b"\t" * (10 * MIB),
        b"\n" * (10 * MIB),
        b'"' * (10 * MIB),
        b"'a\\'\n" * (2 * MIB),
        b"# comment\n" * MIB + b"a\tb\n",
        b"\r" * (8 * MIB) + b"a",
        gzip.compress(ROWS),
        bz2.compress(ROWS[: len(ROWS) // 10]) * 10,
        zstandard.compress(ROWS),
        zipped(bytes(10 * MIB)),
        zipped(ROWS),
        ROWS[: len(ROWS) // 2].decode().encode("utf-16"),
    ],
    ids=[
        *("one line", "an open quote", "tabs", "newlines", "quotes", "escaped quotes"),
        *("comments", "returns", "gzip", "bzip2", "zstd", "zeros in a zip", "zip", "utf-16"),
    ],
)
def test_memory_stays_bounded(source: bytes) -> None:
    intake = Intake(name="table.csv", record_limit=MIB)
    tracemalloc.start()
    try:
        with_blocks = 0
        for start in range(0, len(source), 262_144):
            for blocks in intake.feed(source[start : start + 262_144]):
                with_blocks += len(blocks)
        for blocks in intake.finish():
            with_blocks += len(blocks)
    except TablecastError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 8 * MIB
