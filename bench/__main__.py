"""`python -m bench [--quick|--write] [SUBJECT...]`: measure and print a table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

from bench import (
    big,
    crowds,
    cutter,
    fanout,
    ingest,
    latency,
    nchan,
    pages,
    recovery,
    results,
    simulate,
)
from bench.processes import allow_many_files
from bench.report import Figure, Report
from bench.scale import FULL, QUICK, Scale

SUBJECTS: dict[str, Callable[[Scale], Iterator[Figure]]] = {
    "fanout": fanout.measure,
    "ingest": ingest.measure,
    "cutter": cutter.measure,
    "pages": pages.measure,
    "latency": latency.measure,
    "crowd": crowds.measure_crowd,
    "rooms": crowds.measure_rooms,
    "storm": crowds.measure_storm,
    "nginx": crowds.measure_nginx,
    "nodes": crowds.measure_nodes,
    "stalled": crowds.measure_stalled,
    "recovery": recovery.measure,
}
# What needs more than a test machine has (a browser and some gigabytes, or a module of Nginx), and
# what is for whoever plans.
ON_DEMAND: dict[str, Callable[[Scale], Iterator[Figure]]] = {
    "big": big.measure,
    "nchan": nchan.measure,
    "simulate": simulate.measure,
}


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
    parser.add_argument(
        "--write", action="store_true", help="put the figures into docs/BENCHMARKS.md"
    )
    arguments = parser.parse_args()
    if arguments.write and arguments.quick:
        parser.error("the figures of a sketch are not for the docs: leave --quick or --write out")
    for subject in arguments.subjects:
        if subject not in every:
            parser.error(f"there is no {subject!r}; there are {', '.join(every)}")
    allow_many_files()
    scale = QUICK if arguments.quick else FULL
    started = time.monotonic()
    report = Report(judge=not arguments.quick)
    for subject in arguments.subjects or SUBJECTS:
        table = report.take(every[subject](scale))
        if arguments.write:
            results.write(subject, table)
    print(f"\nMeasured in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
