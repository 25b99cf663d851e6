"""How figures are shown: a table that reads well in a terminal and in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import zstandard

WIDTHS = (54, 10, 10, 5, 17)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. `target` says in words what `met` was judged by."""

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None

    def cells(self) -> Sequence[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = {None: "", True: ", met", False: ", MISSED"}[self.met]
        return self.what, self.ours, self.peer, ratio, self.target + verdict


def at_most(what: str, ours: float, peer: float, show: str, limit: float | None = None) -> Figure:
    """A figure that is better when it is low; `limit` is the largest ratio that meets the target.

    `show` formats both values, as in "{:.1f} us".
    """
    ratio = ours / peer
    target, met = "", None
    if limit is not None:
        target, met = f"<= {limit:.2f}", ratio <= limit
    return Figure(what, show.format(ours), show.format(peer), ratio, target, met)


def at_least(what: str, ours: float, peer: float, show: str, limit: float | None = None) -> Figure:
    """A figure that is better when it is high; `limit` is the lowest ratio that is good enough."""
    ratio = ours / peer
    target, met = "", None
    if limit is not None:
        target, met = f">= {limit:.2f}", ratio >= limit
    return Figure(what, show.format(ours), show.format(peer), ratio, target, met)


def below(what: str, ours: float, peer: float, show: str, limit: float) -> Figure:
    """A figure that must be below `limit`, whatever the peer's is."""
    target = "< " + show.format(limit)
    return Figure(what, show.format(ours), show.format(peer), ours / peer, target, ours < limit)


def alone(what: str, ours: float, show: str, limit: float | None = None) -> Figure:
    """A figure without a peer; with a `limit` it must be below that."""
    target, met = "", None
    if limit is not None:
        target, met = "< " + show.format(limit), ours < limit
    return Figure(what, show.format(ours), target=target, met=met)


def spread(what: str, values: Sequence[float], show: str) -> Figure:
    """The lowest and the highest of `values`."""
    return Figure(what, f"{show.format(min(values))}-{show.format(max(values))}")


class Report:
    """Prints figures as they come, and keeps what a document is to say of them."""

    def __init__(self, *, judge: bool) -> None:
        """`judge` False leaves the targets out: a sketch is too small for them."""
        self._judge = judge
        print(machine(), end="\n\n")
        for row in _HEAD:
            print(row)

    def take(self, figures: Iterable[Figure]) -> str:
        """The machine as it was before them, and a table of these figures alone."""
        before = machine()
        rows = []
        for figure in figures:
            if not self._judge:
                figure = replace(figure, target="", met=None)
            rows.append(_row(figure.cells()))
            print(rows[-1], flush=True)
        return "\n".join([before, "", *_HEAD, *rows])


def machine() -> str:
    """The machine and the versions that figures depend on, in one line."""
    cpus = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cpus} CPUs, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, "
        f"zstandard {zstandard.__version__}, load average {os.getloadavg()[0]:.1f} at the start"
    )


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def note(text: str) -> None:
    """Tell whoever waits what is being done, apart from the figures."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _row(cells: Sequence[str]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return f"| {' | '.join(padded)} |"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


_HEAD = (
    _row(("figure", "Tablecast", "naive peer", "ratio", "target")),
    _row(["-" * width for width in WIDTHS]),
)
