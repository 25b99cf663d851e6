"""The cutter alone, compression included: how fast bytes become blocks on one core.

`python -m bench.cutter FILE` cuts a file in chunks as a browser sends them and prints the seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ingest import parse
from bench.processes import run
from bench.report import Figure, at_least, median, note
from bench.scale import MB, Scale
from bench.tables import table
from server.document.blocks import BlockCutter

CHUNK = 256 * 1024
CUT_WITHIN = 60.0  # seconds


def measure(scale: Scale) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="tablecast-bench-") as directory:
        for name, quoted in (("plain", False), ("quoted", True)):
            file = Path(directory, f"{name}.tsv")
            file.write_bytes(b"".join(table(scale.file, quoted=quoted)))
            ours, naive, no_gc = [], [], []
            for number in range(scale.file_rounds):
                note(f"cutter: {name}, round {number + 1} of {scale.file_rounds}")
                naive.append(parse(file).seconds)
                no_gc.append(parse(file, gc=False).seconds)
                ours.append(float(run(["-m", "bench.cutter", str(file)], within=CUT_WITHIN)))
            size = file.stat().st_size / MB
            for peer, seconds in (("", naive), (", naive: no GC", no_gc)):
                yield at_least(
                    f"cutter: {name} TSV, one core{peer}",
                    size / median(ours),
                    size / median(seconds),
                    "{:.0f} MB/s",
                )


def cut(path: str) -> float:
    """Seconds to cut and compress a file."""
    cutter = BlockCutter()
    started = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            cutter.feed(chunk)
    cutter.finish()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(cut(sys.argv[1]))
