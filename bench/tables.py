"""Tables to measure with: the same bytes each time, mixed as real ones are."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import repeat
from typing import Literal

NAMES = ("id", "time", "city", "station", "value", "unit", "status", "note", "ratio", "code")
_CITIES = ("Zürich", "Nairobi", "São Paulo", "Osaka", "Tromsø", "Wellington", "Lima", "Kraków")
_WORDS = ("wind", "calm", "rising", "sensor", "replaced", "checked", "late", "north", "upper")
_START = datetime(2024, 1, 1, tzinfo=UTC)
_UNIT_ROWS = 100_000  # about 10 MB; then the rows come again, far beyond what zstd looks back to


@dataclass(frozen=True, slots=True)
class Kind:
    """How a table is written. `quoted`: which cells stand in quotes.

    With "texts" these are city, station and note, and one note in fifty holds a quote and a line
    end; a CSV quotes its status too, and two of three notes hold a comma.
    """

    suffix: Literal["tsv", "csv"] = "tsv"
    quoted: Literal["none", "texts", "all"] = "none"

    @property
    def delimiter(self) -> str:
        return "\t" if self.suffix == "tsv" else ","


PLAIN = Kind()


def table(size: int, kind: Kind = PLAIN) -> Iterator[bytes]:
    """A file of about `size` bytes (less by no more than a record), in a few large pieces."""
    header = _line(kind, NAMES)
    yield header
    unit = _unit(kind)
    whole, rest = divmod(size - len(header), len(unit))
    yield from repeat(unit, whole)
    # Only a record begins with a line end and "1" (in quotes or not): ids do, and nothing quoted.
    start = b'\n"1' if kind.quoted == "all" else b"\n1"
    yield unit[: unit.rfind(start, 0, rest) + 1]


@cache
def _unit(kind: Kind) -> bytes:
    random_ = random.Random(20240101)  # a fixed seed: the same bytes each time
    between = ", " if kind.suffix == "csv" else " "
    lines = []
    for number in range(_UNIT_ROWS):
        note = between.join(random_.choices(_WORDS, k=random_.randrange(6)))
        station = f"station {random_.randrange(400):03}"
        city = random_.choice(_CITIES)
        if kind.quoted != "none" and number % 50 == 0:
            note = f'said "{note}"\nand left'
        moment = _START + timedelta(seconds=37 * number)
        cells = (
            f"{1_000_000 + number}",
            f"{moment:%Y-%m-%d %H:%M:%S}",
            city,
            station,
            f"{random_.gauss(12, 9):.3f}",
            random_.choice(("°C", "hPa", "%", "m/s")),
            random_.choice(("ok", "ok", "ok", "suspect", "")),
            note,
            f"{random_.random():.6f}",
            f"{random_.getrandbits(32):08x}",
        )
        lines.append(_line(kind, cells))
    return b"".join(lines)


def _line(kind: Kind, cells: tuple[str, ...]) -> bytes:
    quoted: Collection[str] = ()
    if kind.quoted == "all":
        quoted = NAMES
    elif kind.quoted == "texts" and cells is not NAMES:
        quoted = ("city", "station", "note", *(("status",) if kind.suffix == "csv" else ()))
    written = (
        '"' + cell.replace('"', '""') + '"' if name in quoted else cell
        for name, cell in zip(NAMES, cells, strict=True)
    )
    return (kind.delimiter.join(written) + "\n").encode()
