"""`python -m bench [--quick] [SUBJECT...]`: measure and print a table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

from bench import big, cutter, fanout, ingest, latency, pages
from bench.processes import allow_many_files
from bench.report import Figure, print_figures, print_head
from bench.scale import FULL, QUICK, Scale

SUBJECTS: dict[str, Callable[[Scale], Iterator[Figure]]] = {
    "fanout": fanout.measure,
    "ingest": ingest.measure,
    "cutter": cutter.measure,
    "pages": pages.measure,
    "latency": latency.measure,
}
# Takes a browser and some gigabytes of disk and memory, so it is measured only where it is named.
ON_DEMAND: dict[str, Callable[[Scale], Iterator[Figure]]] = {"big": big.measure}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Tablecast.")
    every = SUBJECTS | ON_DEMAND
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help=f"{', '.join(SUBJECTS)} (all of these if none is named), {', '.join(ON_DEMAND)}",
    )
    parser.add_argument("--quick", action="store_true", help="a sketch, to see that all works")
    arguments = parser.parse_args()
    for subject in arguments.subjects:
        if subject not in every:
            parser.error(f"there is no {subject!r}; there are {', '.join(every)}")
    allow_many_files()
    scale = QUICK if arguments.quick else FULL
    started = time.monotonic()
    print_head()
    for subject in arguments.subjects or SUBJECTS:
        print_figures(every[subject](scale), judge=not arguments.quick)
    print(f"\nMeasured in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
