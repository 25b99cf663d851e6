"""The cutter alone, compression included: how fast bytes become blocks on one core.

`python -m bench.cutter FILE` cuts a file in chunks as a browser sends them and prints the seconds
and the records. A name that ends in .csv is cut at commas, any other at tabs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.ingest import parse
from bench.processes import run
from bench.report import Figure, at_least, median, note
from bench.scale import MB, Scale
from bench.tables import PLAIN, Kind, table
from server.document.cutter import BlockCutter
from server.document.dialect import Dialect

CHUNK = 256 * 1024
CUT_WITHIN = 60.0  # seconds

# What the lines of the report are called, what is cut, and how much faster than the peer.
FILES = (
    ("plain TSV", PLAIN, 6.0),
    ("quoted TSV", Kind("tsv", "texts"), None),
    ("CSV, 40 % of cells quoted", Kind("csv", "texts"), 2.0),
    ("CSV, all cells quoted", Kind("csv", "all"), 2.0),
)


class Cut(msgspec.Struct):
    """What a cut took: seconds; and what was found."""

    seconds: float
    records: int


def measure(scale: Scale) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="tablecast-bench-") as directory:
        for name, kind, limit in FILES:
            file = Path(directory, f"table.{kind.suffix}")
            file.write_bytes(b"".join(table(scale.file, kind)))
            ours, naive, no_gc = [], [], []
            for number in range(scale.file_rounds):
                note(f"cutter: {name}, round {number + 1} of {scale.file_rounds}")
                read = parse(file)
                naive.append(read.seconds)
                no_gc.append(parse(file, gc=False).seconds)
                told = run(["-m", "bench.cutter", str(file)], within=CUT_WITHIN)
                cut = msgspec.json.decode(told, type=Cut)
                if cut.records != read.rows:
                    raise RuntimeError(f"{cut.records} records were cut of {read.rows} in {name}")
                ours.append(cut.seconds)
            size = file.stat().st_size / MB
            for peer, seconds, least in (("", naive, limit), (", naive: no GC", no_gc, None)):
                yield at_least(
                    f"cutter: {name}{peer}",
                    size / median(ours),
                    size / median(seconds),
                    "{:.0f} MB/s",
                    least,
                )


def cut(path: str) -> Cut:
    """Cut and compress a file."""
    cutter = BlockCutter(Dialect(delimiter="," if path.endswith(".csv") else "\t"))
    started = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            cutter.feed(chunk)
    cutter.finish()
    return Cut(time.perf_counter() - started, cutter.records)


if __name__ == "__main__":
    print(json.dumps(msgspec.to_builtins(cut(sys.argv[1]))))
