"""Rows as text for other programs: TSV, CSV, JSON and NDJSON, a piece at a time.

Each writer gives `begin`, then `rows` any number of times, then `end`; joined, the pieces are the
whole file. What TSV and CSV hold, Python's csv module reads back as the same cells.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

# A spreadsheet takes a cell that begins so for a formula (https://owasp.org/www-community/attacks/
# CSV_Injection); a plain number is none, and
# before it may stand what nobody sees: white space, controls, and Unicode's category Cf.
_UNSEEN: Final = (
    r"\s\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_FORMULA: Final = re.compile(rf"[{_UNSEEN}]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_PLAIN_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?%?")

Rows = Iterable[Sequence[str]]


class Writer(Protocol):
    """Writes one table. `header` [] means that the table has none."""

    def begin(self) -> bytes: ...

    def rows(self, rows: Rows) -> bytes: ...

    def end(self) -> bytes: ...


class Format(NamedTuple):
    name: str
    media_type: str


TSV: Final = Format("tsv", "text/tab-separated-values")
CSV: Final = Format("csv", "text/csv")
JSON: Final = Format("json", "application/json")
NDJSON: Final = Format("ndjson", "application/x-ndjson")
FORMATS: Final = {format.name: format for format in (JSON, NDJSON, TSV, CSV)}


def writer(
    format: Format, header: Sequence[str], *, first_row: int, total: int, defuse: bool = False
) -> Writer:
    """A writer of `format`. `first_row` counts from 1; `total` is the table's number of rows.

    `defuse` puts an apostrophe before cells that a spreadsheet would run as a formula.
    """
    if format is JSON:
        return _Json(header, first_row, total)
    if format is NDJSON:
        return _NdJson(header)
    delimiter, end = ("\t", "\n") if format is TSV else (",", "\r\n")
    return _Separated(header, delimiter, end, defuse=defuse)


def defused(cell: str) -> str:
    """The cell as a spreadsheet shows it instead of running it."""
    if _FORMULA.match(cell) and not _PLAIN_NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def unique_names(header: Sequence[str], width: int) -> list[str]:
    """Names for `width` columns, no two the same: `price`, `price_2`, and `column_5` for none."""
    names: list[str] = []
    taken = set(header[:width])
    used: set[str] = set()
    # Where to go on counting: 16,384 columns of one name would take minutes otherwise.
    counts: dict[str, int] = {}
    for number in range(width):
        name = header[number] if number < len(header) and header[number] else f"column_{number + 1}"
        count = counts.get(name, 1)
        candidate = name if count == 1 else f"{name}_{count}"
        while candidate in used or (count > 1 and candidate in taken):
            count += 1
            candidate = f"{name}_{count}"
        counts[name] = count
        used.add(candidate)
        names.append(candidate)
    return names


class _Separated:
    """TSV or CSV. Lines end with `end`; cells are quoted where they must be."""

    def __init__(self, header: Sequence[str], delimiter: str, end: str, *, defuse: bool) -> None:
        self._header = header
        self._delimiter = delimiter
        self._end = end
        self._defuse = defuse
        self._begun = False
        self._lines: list[str] = []
        # With \r\n as its line end the csv module quotes every cell that holds either character.
        self._csv = csv.writer(self, delimiter=delimiter, lineterminator="\r\n")

    def write(self, line: str) -> int:
        """What the csv module calls with each line."""
        self._lines.append(line[:-2])
        return len(line)

    def begin(self) -> bytes:
        # A byte order mark would be right for one spreadsheet and wrong for all other programs.
        return self.rows([self._header]) if self._header else b""

    def rows(self, rows: Rows) -> bytes:
        table = [[defused(cell) for cell in row] for row in rows] if self._defuse else list(rows)
        text = self._plain(table)
        if text is None:
            self._csv.writerows(table)
            text = "".join(line + self._end for line in self._lines)
            self._lines = []
        if text and not self._begun:
            self._begun = True
            text = self._without_mark(text)
        return text.encode()

    def end(self) -> bytes:
        return b""

    # Internal

    def _without_mark(self, text: str) -> str:
        """The same, if what it begins with is a cell's, not a byte order mark."""
        if not text.startswith("\ufeff"):
            return text
        # Without quotes around it the cell has none inside, nor a delimiter or a line end.
        end = min(at for mark in (self._delimiter, self._end) if (at := text.find(mark)) >= 0)
        return f'"{text[:end]}"{text[end:]}'

    def _plain(self, rows: Sequence[Sequence[str]]) -> str | None:
        """The lines if no cell of them needs quotes, which is five times as fast to find out."""
        lines = [self._delimiter.join(row) for row in rows]
        text = "".join(line + self._end for line in lines)
        between = sum(map(len, rows)) - len(rows)
        if (
            '"' in text
            or not all(lines)  # one empty cell is written as ""
            or text.count(self._delimiter) != between
            or text.count("\n") != len(rows)
            or text.count("\r") != (len(rows) if self._end == "\r\n" else 0)
        ):
            return None
        return text


class _Json:
    """One object like a page's: `first_row`, `total_number`, `header`, and the rows as `data`."""

    def __init__(self, header: Sequence[str], first_row: int, total: int) -> None:
        self._head = {
            "first_row": first_row,
            "total_number": total,
            "header": list(header),
            "data": [],
        }
        self._empty = True

    def begin(self) -> bytes:
        return msgspec.json.encode(self._head)[: -len("]}")]

    def rows(self, rows: Rows) -> bytes:
        encoded = b",\n".join(msgspec.json.encode(row) for row in rows)
        if not encoded:
            return b""
        lead = b"\n" if self._empty else b",\n"
        self._empty = False
        return lead + encoded

    def end(self) -> bytes:
        return b"\n]}\n"


class _NdJson:
    """An object a line. Names are made unique; cells beyond the header get names of their own."""

    def __init__(self, header: Sequence[str]) -> None:
        self._header = header
        self._names = unique_names(header, len(header))

    def begin(self) -> bytes:
        return b""

    def rows(self, rows: Rows) -> bytes:
        return b"".join(
            msgspec.json.encode(dict(zip(self._names_of(len(row)), row, strict=False))) + b"\n"
            for row in rows
        )

    def end(self) -> bytes:
        return b""

    def _names_of(self, width: int) -> list[str]:
        """At least `width` names; further ones never change those before them."""
        if width > len(self._names):
            self._names = unique_names(self._header, max(width, 2 * len(self._names)))
        return self._names
