"""What was understood of a file: counted while it is cut, told in one line or in full.

Rows with more or fewer cells than record 0 are found by leaving only delimiters and line ends of a
block, which the interpreter does at about 2 GB/s: what is left of even rows is one line repeated.
"""

from __future__ import annotations

import re

from msgspec import Struct

from server.document.encodings import Why, count_damage, label

SHOWN_ROWS = 10
"""Ragged rows that a report names: enough to see what they have in common."""


class ParseReport(Struct, frozen=True, kw_only=True):
    """Register `report`: how the document's bytes are read, and what was found odd.

    `delimiter` "": each line is one cell. `quote` "": quotes are ordinary text. `escape` as in
    `detect.Detected`. `columns`: cells in record 0. `ragged`: records with another number of cells;
    `ragged_records` are the first of them, counted from 0 as records are (the row's number where
    record 0 is the header). `replaced`: characters shown as U+FFFD. `skipped`: lines before record
    0. `notes`: codes of what else there is to say, such as "nul_bytes" and "runaway_quote".
    `chosen`: names of the fields that a person set.
    """

    encoding: str
    encoding_why: Why = "valid"
    delimiter: str
    quote: str
    escape: str = ""
    skip_space: bool = False
    comment: str = ""
    header: bool = True
    records: int = 0
    columns: int = 0
    ragged: int = 0
    ragged_records: tuple[int, ...] = ()
    replaced: int = 0
    skipped: int = 0
    notes: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()


_BARE_RETURN = re.compile(rb"\r(?!\n)")
_FIRST_LINE = re.compile(rb"[^\r\n]++")


class ReportBuilder:
    """Counts what a report tells, block by block; one call at a time, from any thread.

    `report` is what was understood before the first block was cut; the counts are added to it. A
    block's bytes are in `encoding`, which is the report's unless they were transcoded. `records`:
    so far.
    """

    def __init__(self, report: ParseReport, *, encoding: str | None = None) -> None:
        self.records = report.records
        self._report = report
        self._encoding = encoding or report.encoding
        self._columns = report.columns
        self._ragged = report.ragged
        self._ragged_records = list(report.ragged_records)
        self._replaced = report.replaced
        self._notes = dict.fromkeys(report.notes)
        self._delimiter = report.delimiter.encode()
        self._spaces = report.skip_space and report.delimiter == " "
        self._escaped = re.compile(rb"\\.", re.DOTALL) if report.escape else None
        # Only single bytes can be left over; the others take the slower way.
        self._is_quick = len(self._delimiter) <= 1 and not self._spaces
        self._others = bytes(set(range(256)) - set(self._delimiter) - set(b"\n"))
        self._line = b""  # what is left of an even row

    def note(self, code: str) -> None:
        """Add a code to the report's notes."""
        self._notes[code] = None

    def replace(self, count: int) -> None:
        """Count characters that became U+FFFD before the blocks were cut."""
        self._replaced += count

    def add(self, outside: bytes, source: bytes | None = None) -> int:
        """Count whole consecutive records, and return how many they are.

        `outside` is the block with each quoted cell replaced by anything without delimiter and line
        end; `source` the block itself (None: it has no quoted cell). Both without a byte order
        mark and without skipped lines. Lines without any character are no records.
        """
        self._count_damage(outside if source is None else source)
        if self._escaped and b"\\" in outside:
            outside = self._escaped.sub(b"x", outside)
        records = self._count_even(outside)
        if records is None:
            records = self._count_each(outside)
        self.records += records
        return records

    def report(self, **changes: object) -> ParseReport:
        """What is known so far, with `changes` to the fields of the report."""
        fields = {name: getattr(self._report, name) for name in ParseReport.__struct_fields__}
        fields |= {
            "records": self.records,
            "columns": self._columns,
            "ragged": self._ragged,
            "ragged_records": tuple(self._ragged_records),
            "replaced": self._replaced,
            "notes": tuple(self._notes),
        }
        return ParseReport(**(fields | changes))

    def _count_damage(self, source: bytes) -> None:
        if b"\0" in source:
            self.note("nul_bytes")
            self._replaced += source.count(0)
        if not source.isascii() and (bad := count_damage(source, self._encoding)):
            self.note("bad_bytes")
            self._replaced += bad

    def _count_even(self, outside: bytes) -> int | None:
        """Records of a block whose rows are all as long as record 0, quickly; None: look closer."""
        if not self._is_quick or not outside.endswith(b"\n"):
            return None
        if b"\r" in outside and _BARE_RETURN.search(outside):
            return None
        marks = outside.translate(None, self._others)
        if not self._line:
            self._line = self._even_line(outside)
        size = len(self._line)
        # In one column a blank line looks as a record does.
        if size > 1 and not len(marks) % size:
            count = len(marks) // size
            if marks == self._line * count:
                return count
        lengths = list(map(len, marks.split(b"\n")))
        if lengths.count(0) > 1:
            return None  # there may be blank lines
        lengths.pop()
        self._find_ragged(lengths)
        return len(lengths)

    def _even_line(self, outside: bytes) -> bytes:
        """What is left of record 0, or of one like it; b"" if there is none yet."""
        if not self._columns:
            if (first := _FIRST_LINE.search(outside)) is None:
                return b""
            self._columns = self._cells(first[0])
        return self._delimiter * (self._columns - 1) + b"\n"

    def _cells(self, line: bytes) -> int:
        if self._spaces:
            return len([cell for cell in line.split(b" ") if cell])
        return line.count(self._delimiter) + 1 if self._delimiter else 1

    def _count_each(self, outside: bytes) -> int:
        lines = list(filter(None, outside.splitlines()))
        if lines and not self._columns:
            self._columns = self._cells(lines[0])
        if self._spaces or not self._delimiter:
            delimiters = [self._cells(line) - 1 for line in lines]
        else:
            delimiters = [line.count(self._delimiter) for line in lines]
        self._find_ragged(delimiters)
        return len(lines)

    def _find_ragged(self, delimiters: list[int]) -> None:
        """Count records by how many delimiters they have."""
        even = self._columns - 1
        ragged = len(delimiters) - delimiters.count(even)
        if not ragged:
            return
        self._ragged += ragged
        if len(self._ragged_records) < SHOWN_ROWS:
            found = [
                self.records + number for number, count in enumerate(delimiters) if count != even
            ]
            self._ragged_records += found[: SHOWN_ROWS - len(self._ragged_records)]


_DELIMITERS = {
    "": "one column",
    "\t": "tab",
    ",": "comma",
    ";": "semicolon",
    "|": "pipe",
    " ": "space",
    ":": "colon",
    "=": "equals sign",
    "^": "caret",
    "~": "tilde",
    "#": "hash",
    "\x1c": "file separator",
    "\x1d": "group separator",
    "\x1e": "record separator",
    "\x1f": "unit separator",
}


def name_delimiter(delimiter: str) -> str:
    """A delimiter's name for people: "tab", "comma", `"¦"`, "character 0x01"."""
    if delimiter in _DELIMITERS:
        return _DELIMITERS[delimiter]
    return f'"{delimiter}"' if delimiter.isprintable() else f"character 0x{ord(delimiter):02x}"


def describe(report: ParseReport) -> str:
    """A report in one line: "tab, UTF-8, header", and then what was found odd.

    As in "semicolon, Windows-1252 (a guess), no header, 3 ragged rows, 2 lines skipped".
    """
    encoding = label(report.encoding)
    if report.encoding_why in ("guess", "fallback"):
        encoding += " (a guess)"
    parts = [
        name_delimiter(report.delimiter),
        encoding,
        "header" if report.header else "no header",
    ]
    for count, one, many in (
        (report.ragged, "ragged row", "ragged rows"),
        (report.replaced, "unreadable character", "unreadable characters"),
        (report.skipped, "line skipped", "lines skipped"),
    ):
        if count:
            parts.append(f"{count:,} {one if count == 1 else many}")
    if "runaway_quote" in report.notes:
        parts.append("quotes read as text")
    return ", ".join(parts)
