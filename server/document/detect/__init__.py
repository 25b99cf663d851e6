"""Which dialect a text is in: what separates its cells, quotes them, and comes before the table.

Every character that could be the delimiter is tried. The right one cuts lines into equally many
cells (consistency), and cells that look like something: a number, a date, a name (type). Both
together decide, as G. van den Burg, A. Nazábal and C. Sutton found (Wrangling messy CSV files by
detecting row and type patterns, 2019); the measures here are others. Quoted cells are masked before
anything is counted, so that line ends and delimiters inside them do not count.
"""

from __future__ import annotations

import re

from msgspec import Struct

from server.document.detect.cells import Types
from server.document.detect.reading import DELIMITERS, USUAL, Reading
from server.document.detect.surroundings import (
    find_comment,
    find_table,
    has_header,
    has_runs,
    is_escaped,
    is_literal,
    source_lines,
)

SAMPLE_SIZE = 64 * 1024
"""Characters looked at: more would only take longer."""


class Detected(Struct, frozen=True, kw_only=True):
    """`delimiter` is one character, or "" where each line is one cell.

    `quote`: `"`, `'`, or "" where quotes are ordinary text. `escape`: "\\\\" or "". With a quote it
    stands before quotes inside quoted cells; without one, cells are escaped as database dumps do
    (`\\t`, `\\n`, `\\\\`, `\\N`). `doublequote`: a quote inside a quoted cell is written twice.
    `skip_space`: spaces after a delimiter belong to no cell, so that a quote after them opens a
    cell; where the delimiter is a space, many are as good as one.

    `skip_lines`: lines before record 0, blank ones and comments among them. `comment`: what begins
    lines of comment ("": there are none). `header`: record 0 names the columns. `columns`: cells
    that most records have. `confidence`: 0 to 1.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    doublequote: bool = True
    skip_space: bool = False
    skip_lines: int = 0
    comment: str = ""
    header: bool = True
    columns: int = 1
    confidence: float = 0.0


_NAMES = {
    "tsv": "\t",
    "tab": "\t",
    "csv": ",;",
    "psv": "|",
    "ssv": " ;",
}
_HINT = 1.2  # how much a file's name says: enough where all else is nearly equal


def detect_dialect(text_sample: str, *, whole: bool, name: str = "") -> Detected:
    """The dialect of a text that begins with `text_sample` (`whole`: and ends with it).

    `name` is the file's; its ending is a hint, not more. Never fails: text without any delimiter is
    one column.
    """
    text = text_sample[:SAMPLE_SIZE].removeprefix("\ufeff").replace("\0", "\ufffd")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not (whole and len(text_sample) <= SAMPLE_SIZE):
        # The last line is cut, which would make it a ragged one.
        text = text[: text.rfind("\n") + 1] or text
    types = Types()
    # As spreadsheets write it, for themselves.
    if said := re.match(r"sep=(.)\n", text):
        text = text[said.end() :]
        best = Reading(text, said[1], types)
        return _describe(best, text, skip=1, confidence=1.0)
    hints = _NAMES.get(name.lower().rpartition(".")[2], "")
    lines = text.count("\n") + 1
    readings = [
        Reading(text, mark, types, _HINT if mark in hints else 1.0)
        for mark, prior in DELIMITERS.items()
        if mark in text and (prior >= USUAL or text.count(mark) > 0.2 * lines)
    ]
    best = Reading(text, "", types)
    second = 0.0
    # Types cost the most. A reading's consistency alone tells what it can reach at best.
    for reading in sorted(readings, key=lambda reading: reading.limit, reverse=True):
        if reading.limit > best.score and reading.score > best.score:
            best, second = reading, best.score
        elif reading.limit > second:
            second = max(second, reading.score)
    confidence = round(best.score / (best.score + second), 2) if best.score else 0.0
    return _describe(best, text, skip=0, confidence=confidence)


def _describe(reading: Reading, text: str, *, skip: int, confidence: float) -> Detected:
    quoting = reading.quoting
    quote, escape, doublequote = quoting.quote, quoting.escape, quoting.doublequote
    if not quote and reading.delimiter and is_escaped(text, reading.delimiter):
        escape, doublequote = "\\", False
    elif not quote and not is_literal(text, reading.delimiter):
        quote = '"'  # what is quoted further on is quoted so
    comment = find_comment(reading)
    first, table = find_table(reading, comment)
    before = source_lines(text, reading, first) if first else 0
    return Detected(
        delimiter=reading.delimiter,
        quote=quote,
        escape=escape,
        doublequote=doublequote,
        skip_space=quoting.skip_space or (reading.delimiter == " " and has_runs(reading)),
        skip_lines=before + skip,
        comment=comment,
        header=has_header(table, reading.types),
        columns=reading.width if reading.delimiter else 1,
        confidence=confidence,
    )
