"""Tables to measure with: the same bytes each time, mixed as real ones are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import repeat

HEADER = "id\ttime\tcity\tstation\tvalue\tunit\tstatus\tnote\tratio\tcode\n"
_CITIES = ("Zürich", "Nairobi", "São Paulo", "Osaka", "Tromsø", "Wellington", "Lima", "Kraków")
_WORDS = ("wind", "calm", "rising", "sensor", "replaced", "checked", "late", "north", "upper")
_START = datetime(2024, 1, 1, tzinfo=UTC)
_UNIT_ROWS = 100_000  # about 10 MB; then the rows come again, far beyond what zstd looks back to


def table(size: int, *, quoted: bool = False) -> Iterator[bytes]:
    """A TSV file of about `size` bytes (less by no more than a record), in a few large pieces.

    `quoted`: texts stand in quotes, and some hold a quote or a line end.
    """
    yield HEADER.encode()
    unit = _unit(quoted)
    whole, rest = divmod(size - len(HEADER), len(unit))
    yield from repeat(unit, whole)
    # Only a record begins with a line end and "1": ids do, and nothing quoted.
    yield unit[: unit.rfind(b"\n1", 0, rest) + 1]


@cache
def _unit(quoted: bool) -> bytes:
    random_ = random.Random(20240101)  # a fixed seed: the same bytes each time
    rows = []
    for number in range(_UNIT_ROWS):
        note = " ".join(random_.choices(_WORDS, k=random_.randrange(6)))
        station = f"station {random_.randrange(400):03}"
        city = random_.choice(_CITIES)
        if quoted:
            if number % 50 == 0:
                note = f'said ""{note}""\nand left'
            city, station, note = f'"{city}"', f'"{station}"', f'"{note}"'
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
        rows.append("\t".join(cells))
    return ("\n".join(rows) + "\n").encode()
