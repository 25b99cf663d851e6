"""Until when everyone shows the newest page again after a fault, on three nodes behind Nginx.

There is no naive peer: one that loses its connection to Redis stays behind until it is restarted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.report import Figure, alone, median, note
from bench.scale import Scale
from tests.faults.measure import TARGETS
from tests.faults.measure import measure as measure_recoveries


def measure(scale: Scale) -> Iterator[Figure]:
    for fault, target in TARGETS.items():
        note(f"recovery: {fault}, {scale.recoveries} times")
        took = asyncio.run(measure_recoveries(fault, scale.recoveries))
        yield alone(f"recovery: {fault}, median", median(took), "{:.2f} s")
        yield alone(f"recovery: {fault}, longest", max(took), "{:.2f} s", target)
