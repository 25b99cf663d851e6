"""What quotes cells, and the text without what is quoted."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from msgspec import Struct


class Quoting(Struct, frozen=True):
    """How cells are quoted; the fields are those of `Detected`, and what tells how likely it is."""

    quote: str
    escape: str
    doublequote: bool
    skip_space: bool
    cells: int  # quoted ones
    quotes: int  # double quotes in the text
    left: int  # of them, those that are not part of quoting
    masked: str  # the text without quoted cells


_CELL = "\ue000"  # stands before what was a quoted cell while columns are looked at


def find_quoting(text: str, delimiter: str) -> Quoting:
    """The quoting that explains the most quotes, and the text with the quoted cells masked."""
    quotes = text.count('"')
    best = Quoting("", "", True, False, 0, quotes, quotes, text)
    least = quotes + 1
    for quote in ('"', "'"):
        if not _may_quote(text, delimiter, quote):
            continue
        for escape in ("", "\\") if "\\" + quote in text else ("",):
            found = _mask(text, delimiter, quote, escape)
            if found is None:
                continue
            left = found.left + (found.masked.count("'") if quote == "'" else 0)
            if left < least:
                least, best = left, found
    return best


def _may_quote(text: str, delimiter: str, quote: str) -> bool:
    """False only if no cell begins with `quote`; quick."""
    return (
        "\n" + quote in text
        or text.startswith((quote, " "))
        or (delimiter + quote in text if delimiter else False)
        or (delimiter + " " + quote in text if delimiter else "\n " in text)
    )


def _mask(text: str, delimiter: str, quote: str, escape: str) -> Quoting | None:
    pairs = spaces = cells = 0

    def mask(found: re.Match[str]) -> str:
        nonlocal pairs, spaces, cells
        cells += 1
        inner: str = found[2]
        spaces += bool(found[1])
        if quote in inner:
            pairs += quote * 2 in inner
        elif len(inner) < 40 and "\n" not in inner and (not delimiter or delimiter not in inner):
            return _CELL + inner
        return _CELL + "Q"

    masked = quoted_cell(quote, escape, delimiter).sub(mask, text)
    if not cells:
        return None
    opened = len(opening(quote, delimiter).findall(masked))
    if opened > cells * 0.2 + (quote == '"'):
        return None  # more than a few that nothing closes
    if quote == "'" and (opened or not _fills_a_column(masked, delimiter)):
        return None
    masked = masked.replace(_CELL, "")
    return Quoting(
        quote,
        escape,
        not escape or pairs > 0,
        spaces > 0 and delimiter != " ",
        cells,
        text.count('"'),
        masked.count('"'),
        masked,
    )


def _fills_a_column(masked: str, delimiter: str) -> bool:
    """Whether most cells of some column are quoted; apostrophes here and there are not quoting."""
    rows = [line.split(delimiter or "\n") for line in masked.split("\n") if line]
    columns = Counter(
        column for row in rows for column, cell in enumerate(row) if cell.startswith(_CELL)
    )
    return len(rows) > 1 and max(columns.values(), default=0) > 0.6 * len(rows)


@lru_cache(maxsize=128)
def quoted_cell(quote: str, escape: str, delimiter: str) -> re.Pattern[str]:
    """Matches a quoted cell as it should be; group 1: spaces before it, 2: what is quoted."""
    q, d = re.escape(quote), re.escape(delimiter)
    inside = rf"(?:[^{q}\\]++|{q}{q}|\\.)*+" if escape else rf"(?:[^{q}]++|{q}{q})*+"
    begin = rf"(?<![^{d}\n])"
    before, after = ("( *+)", " *+") if delimiter != " " else ("()", "")
    return re.compile(rf"{begin}{before}{q}({inside}){q}{after}(?=[{d}\n]|\Z)", re.DOTALL)


@lru_cache(maxsize=128)
def opening(quote: str, delimiter: str) -> re.Pattern[str]:
    """Matches a quote that begins a cell."""
    return re.compile(rf"(?<![^{re.escape(delimiter)}\n])[ ]*{re.escape(quote)}")
