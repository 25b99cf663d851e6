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
from server.errors import TablecastError
from tests.document.test_intake import zipped

FILES = sorted((Path(__file__).parents[1] / "data" / "files").iterdir())
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


@settings(max_examples=300)
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


@pytest.mark.parametrize(
    "source",
    [
        b"x" * (16 * MIB),
        b'a\t"' + b"x\n" * (8 * MIB),
        b"\t" * (16 * MIB),
        b"\n" * (16 * MIB),
        b'"' * (16 * MIB),
        b"'a\\'\n" * (3 * MIB),
        b"# comment\n" * MIB + b"a\tb\n",
        b"\r" * (8 * MIB) + b"a",
        gzip.compress(b"a b\n" * (4 * MIB)),
        ("a\tb\n" * (2 * MIB)).encode("utf-16"),
    ],
    ids=[
        *("one line", "an open quote", "tabs", "newlines", "quotes", "escaped quotes"),
        *("comments", "returns", "packed", "utf-16"),
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
