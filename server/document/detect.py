"""Which dialect a text is in: what separates its cells, quotes them, and comes before the table.

Every character that could be the delimiter is tried. The right one cuts lines into equally many
cells (consistency), and cells that look like something: a number, a date, a name (type). Both
together decide, as G. van den Burg, A. Nazábal and C. Sutton found (Wrangling messy CSV files by
detecting row and type patterns, 2019); the measures here are others. Quoted cells are masked before
anything is counted, so that line ends and delimiters inside them do not count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

from msgspec import Struct

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


_PRIORS = {
    "\t": 1.2,
    ",": 1.0,
    ";": 1.0,
    "|": 0.95,
    "\x01": 1.0,
    "\x1e": 1.0,
    "\x1f": 1.0,
    "^": 0.8,
    "~": 0.8,
    "¦": 0.8,
    "¬": 0.8,
    "§": 0.7,
    " ": 0.55,
    ":": 0.4,
    "=": 0.35,
    "#": 0.4,
    "&": 0.35,
    "*": 0.35,
    "!": 0.35,
}
"""Characters that separate cells, and how readily each is believed to."""

_USUAL = 0.9  # the prior of those that are tried however seldom they are

_NAMES = {
    "tsv": "\t",
    "tab": "\t",
    "csv": ",;",
    "psv": "|",
    "ssv": " ;",
}
_HINT = 1.2  # how much a file's name says: enough where all else is nearly equal
_TAB_FIRST = 3.0  # a tab in nearly every line is there to separate
_SINGLE = 0.16  # the score of lines as single cells
_QUOTED = 1.3  # quotes at the edges of its cells speak for a delimiter
_TORN = 0.5  # how consistent a reading can be that leaves all quotes as text
_LINES = 4000  # lines whose cells are counted
_ROWS = 300  # lines whose cells are looked at
_COLUMNS = 60


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
    types = _Types()
    if said := re.match(r"sep=(.)\n", text):
        best = _Reading(text[said.end() :], said[1], types)
        return _describe(best, text, skip=1, confidence=1.0)
    hints = _NAMES.get(name.lower().rpartition(".")[2], "")
    lines = text.count("\n") + 1
    readings = [
        _Reading(text, mark, types, _HINT if mark in hints else 1.0)
        for mark, prior in _PRIORS.items()
        if mark in text and (prior >= _USUAL or text.count(mark) > 0.2 * lines)
    ]
    best = _Reading(text, "", types)
    second = 0.0
    # Types cost the most. A reading's consistency alone tells what it can reach at best.
    for reading in sorted(readings, key=lambda reading: reading.limit, reverse=True):
        if reading.limit > best.score and reading.score > best.score:
            best, second = reading, best.score
        elif reading.limit > second:
            second = max(second, reading.score)
    confidence = round(best.score / (best.score + second), 2) if best.score else 0.0
    return _describe(best, text, skip=0, confidence=confidence)


class _Reading:
    """A text as one delimiter would cut it.

    `score` tells how likely that is the right one, and is at most `limit`.
    """

    def __init__(self, text: str, delimiter: str, types: _Types, hint: float = 1.0) -> None:
        self.types = types
        self.delimiter = delimiter
        self.quoting = _find_quoting(text, delimiter)
        self.lines = self.quoting.masked.split("\n", _LINES)[:_LINES]
        rows = [self.split(line) for line in self.lines if line and not line.isspace()]
        self._rows = [row for row in rows if not row[0].startswith(("#", "//"))] or rows
        lengths = [len(row) for row in self._rows]
        counts = Counter(lengths)
        self.width = max(counts, key=lambda width: (counts[width] * (width > 1), width), default=1)
        self.limit = hint * self._consistency(lengths, counts)

    def split(self, line: str) -> list[str]:
        """The cells of a line of the masked text."""
        if not self.delimiter:
            return [line]
        return line.split() if self.delimiter == " " else line.split(self.delimiter)

    @cached_property
    def score(self) -> float:
        if not self._rows:
            return 0.0
        worth = _type_score(self._rows, self.types)
        if self.delimiter:
            return self.limit * worth**2
        cells = [row[0] for row in self._rows[:: len(self._rows) // _ROWS + 1]]
        typed = sum(_is_one(cell, self.types) for cell in cells) / len(cells)
        return (_SINGLE * max(0.5, worth) + max(0.0, 1.6 * typed - 0.8)) * self._explained

    @property
    def _explained(self) -> float:
        """The share of the quotes that begin or end a cell, as quotes do."""
        quoting = self.quoting
        return 1 - quoting.left / quoting.quotes if quoting.quotes > 1 else 1.0

    def _consistency(self, lengths: list[int], counts: Counter[int]) -> float:
        if not self.delimiter:
            return 1.0
        if self.width < 2:
            return 0.0
        prior = _PRIORS.get(self.delimiter, _USUAL)
        rows = len(lengths)
        if prior < _USUAL and rows < 2:
            return 0.0  # one line shows no pattern
        same = counts[self.width] / rows
        beside = sum(a == b > 1 for a, b in pairwise(lengths)) / max(1, rows - 1)
        having = 1 - counts[1] / rows
        consistency = 0.85 * max(same, 0.9 * beside) + 0.15 * having
        consistency *= _TORN + (1 - _TORN) * self._explained
        if self.quoting.cells > 0.6 * rows:
            prior *= _QUOTED
        if self.delimiter == "\t" and having > 0.7:
            prior *= _TAB_FIRST
        if self.delimiter == " " and not _has_numbers(self._rows, self.types):
            prior *= 0.3
        return prior * consistency**2 * (1 - 1 / (self.width + 1))


# Quotes


class _Quoting(Struct, frozen=True):
    quote: str
    escape: str
    doublequote: bool
    skip_space: bool
    cells: int  # quoted ones
    quotes: int  # double quotes in the text
    left: int  # of them, those that are not part of quoting
    masked: str  # the text without quoted cells


_CELL = "\ue000"  # stands before what was a quoted cell while columns are looked at


def _find_quoting(text: str, delimiter: str) -> _Quoting:
    """The quoting that explains the most quotes, and the text with the quoted cells masked."""
    quotes = text.count('"')
    best = _Quoting("", "", True, False, 0, quotes, quotes, text)
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


def _mask(text: str, delimiter: str, quote: str, escape: str) -> _Quoting | None:
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

    masked = _quoted_cell(quote, escape, delimiter).sub(mask, text)
    if not cells:
        return None
    opened = len(_opening(quote, delimiter).findall(masked))
    if opened > cells * 0.2 + (quote == '"'):
        return None  # more than a few that nothing closes
    if quote == "'" and (opened or not _fills_a_column(masked, delimiter)):
        return None
    masked = masked.replace(_CELL, "")
    return _Quoting(
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
def _quoted_cell(quote: str, escape: str, delimiter: str) -> re.Pattern[str]:
    q, d = re.escape(quote), re.escape(delimiter)
    inside = rf"(?:[^{q}\\]++|{q}{q}|\\.)*+" if escape else rf"(?:[^{q}]++|{q}{q})*+"
    begin = rf"(?<![^{d}\n])"
    before, after = ("( *+)", " *+") if delimiter != " " else ("()", "")
    return re.compile(rf"{begin}{before}{q}({inside}){q}{after}(?=[{d}\n]|\Z)", re.DOTALL)


@lru_cache(maxsize=128)
def _opening(quote: str, delimiter: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^{re.escape(delimiter)}\n])[ ]*{re.escape(quote)}")


# Types of cells

_TYPES = re.compile(
    r"""\s*(?:
    (?P<number>
        [-+(]?[$€£¥]?[ ]?[-+]?(?:\d{1,3}(?:[ ,.'\xa0]\d{3})+|\d+)?(?:[.,]\d*)?
        (?:[eE][-+]?\d{1,3})?\)?[ ]?[%€$£]? (?<=[\d)%€$£.])
        | (?i:nan|[-+]?inf) )
    |(?P<date>
        (?:\d{4}[-/.]?\d{2}[-/.]?\d{2}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}
          |\d{1,2}[-/. ][^\W\d_]{3,9}[-/., ]{1,2}\d{2,4}|[^\W\d_]{3,9}[. ]+\d{1,2},[ ]?\d{4})
        (?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:[ ]?[AaPp]\.?[Mm]\.?)?[ ]?(?:Z|UTC|GMT|[-+]\d\d:?\d\d)?)?
        |\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:[ ]?[AaPp]\.?[Mm]\.?)? )
    |(?P<empty>)
    |(?P<known>
        (?i:true|false|yes|no|n/?a|null|none|unknown)|\\N|--?|\.|\?|[MFYN]
        |(?:https?|ftp|s3|file)://[^\s"<>]+|www\.[^\s"<>]+
        |[^\s@",;|<>]+@[^\s@",;|<>]+\.\w+
        |\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?
        |[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
        |\{.*\}|\[.*\] )
    |(?P<word>[^\W_](?:[\w.'’/+&()°-]*\w)?[.)%°]?)
    |(?P<text>[\w(¿¡«“'’][\w .'’/&()+%°“”«»?!–—-]*)
    |(?P<sentence>[\w(¿¡«“'’][\w\s.,:;'’/&()+%°“”«»?!–—\[\]@*-]*)
    )\s*""",
    re.VERBOSE | re.DOTALL,
)
_TYPE_SIZE = 200  # characters of a cell that tell its type
_WORTH = {
    "number": 1.0,
    "date": 1.0,
    "empty": 0.8,
    "known": 1.0,
    "word": 0.93,
    "text": 0.85,
    "sentence": 0.45,
}


class _Types(dict[str, tuple[str, float]]):
    """What cells look like, and how much that speaks for their being cells; each is read once."""

    def __missing__(self, cell: str) -> tuple[str, float]:
        if found := _TYPES.fullmatch(cell[:_TYPE_SIZE]):
            kind = str(found.lastgroup)
            answer = kind, _WORTH[kind]
        elif cell[:1] in "\"'" or cell[-1:] in "\"'":
            answer = "torn", 0.1
        else:
            answer = "other", 0.3
        self[cell] = answer
        return answer


def _is_one(line: str, types: _Types) -> bool:
    """Whether a line is clearly one value; `1,5` could be two."""
    kind, worth = types[line]
    return worth == 1.0 and (kind != "number" or "," not in line)


def _type_score(rows: Sequence[Sequence[str]], types: _Types) -> float:
    total, count = 0.0, 0
    for row in rows[:: len(rows) // _ROWS + 1]:
        cells = row[:_COLUMNS]
        total += sum(types[cell][1] for cell in cells)
        count += len(cells)
    return total / count if count else 0.0


def _has_numbers(rows: Sequence[Sequence[str]], types: _Types) -> bool:
    cells = [cell for row in rows[:100] for cell in row]
    return sum(types[cell][0] in ("number", "date") for cell in cells) > 0.3 * len(cells)


# What is around the table

_COMMENTS = ("##", "#", "%", "//", "--", "!", "*")


def _describe(reading: _Reading, text: str, *, skip: int, confidence: float) -> Detected:
    quoting = reading.quoting
    quote, escape, doublequote = quoting.quote, quoting.escape, quoting.doublequote
    if not quote and reading.delimiter and _is_escaped(text, reading.delimiter):
        escape, doublequote = "\\", False
    elif not quote and not _is_literal(text, reading.delimiter):
        quote = '"'  # what is quoted further on is quoted so
    comment = _comment(reading)
    first, table = _find_table(reading, comment)
    before = _source_lines(text, reading, first) if first else 0
    return Detected(
        delimiter=reading.delimiter,
        quote=quote,
        escape=escape,
        doublequote=doublequote,
        skip_space=quoting.skip_space or (reading.delimiter == " " and _has_runs(reading)),
        skip_lines=before + skip,
        comment=comment,
        header=_has_header(table, reading.types),
        columns=reading.width if reading.delimiter else 1,
        confidence=confidence,
    )


def _is_literal(text: str, delimiter: str) -> bool:
    """Whether quotes are ordinary text: none quotes a cell, and whoever wrote them knows none that
    does. Quotes within cells alone (`5" pipe`) can mean that in tab-separated text only, whose
    writers mostly do not quote."""
    return bool(_opening('"', delimiter).search(text)) or (
        delimiter == "\t" and text.count('"') >= _MANY_QUOTES
    )


_MANY_QUOTES = 4


def _source_lines(text: str, reading: _Reading, masked_lines: int) -> int:
    """Lines of the text that so many lines without quoted cells are."""
    if "\n" not in text or len(reading.lines) == text.count("\n") + 1:
        return masked_lines
    start = 0
    pattern = _quoted_cell(reading.quoting.quote, reading.quoting.escape, reading.delimiter)
    done = lines = 0
    for line in reading.lines[:masked_lines]:
        del line
        end = text.find("\n", start)
        for found in pattern.finditer(text, start):
            if found.start() > end:
                break
            if found.end() > end:
                end = text.find("\n", found.end())
        if end < 0:
            break
        lines += text.count("\n", start, end + 1)
        start = end + 1
        done += 1
    return lines


def _has_runs(reading: _Reading) -> bool:
    return any("  " in line.strip() or line.startswith(" ") for line in reading.lines)


_ESCAPES = re.compile(r"\\(.?)", re.DOTALL)
_DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\(?!\\)|(?<![\\\w])\\\\(?!\\)\w")


def _is_escaped(text: str, delimiter: str) -> bool:
    """Whether backslashes escape, as in dumps of databases; in paths of Windows they do not."""
    if "\\" not in text:
        return False
    after = Counter(_ESCAPES.findall(text))
    if any(mark not in "tnrNbfv0\\'\"Z/" and mark != delimiter for mark in after if mark):
        return False
    if _DRIVE.search(text):
        return False
    null = re.compile(rf"(?<![^{re.escape(delimiter)}\n])\\N(?![^{re.escape(delimiter)}\n])")
    return bool(null.search(text)) or bool(after.keys() & {"t", "n", "r", "\\", delimiter})


def _comment(reading: _Reading) -> str:
    """What begins lines that are not part of the table, at its beginning or within."""
    lines = [line for line in reading.lines if line.strip()]
    for prefix in _COMMENTS:
        marked = [line for line in lines if line.startswith(prefix)]
        if not marked or (len(marked) > len(lines) * 0.5 and len(marked) > len(lines) - 2):
            continue
        if prefix not in ("##", "#") and not lines[0].startswith(prefix):
            continue
        if prefix == reading.delimiter:
            continue
        # `#chrom<tab>start` names columns.
        alike = [len(reading.split(line)) == reading.width for line in marked]
        if reading.width > 1 and alike[-1] and marked[-1] in lines[: len(marked) + 1]:
            if len(marked) == 1:
                continue
            alike.pop()
            if prefix == "#" and not all(line.startswith("##") for line in marked[:-1]):
                continue
        if reading.width > 1 and sum(alike) > 0.5 * len(alike):
            continue
        return prefix
    return ""


def _find_table(reading: _Reading, comment: str) -> tuple[int, list[list[str]]]:
    """How many lines come before record 0, and the records as far as they are in the sample."""
    lines = reading.lines
    rows: list[tuple[int, list[str]]] = [
        (number, reading.split(line))
        for number, line in enumerate(lines)
        if line and not (comment and line.startswith(comment))
    ]
    if not rows:
        return 0, []
    start = 0
    named = 0  # comments before a last one that names the columns, as in `#chrom<tab>start`
    while named < len(rows) and rows[named][1][0].startswith("#"):
        named += 1
    widths = [len(row) for _, row in rows[:named]]
    if reading.width > 1 and 1 < named < len(rows) and widths[-1] == reading.width:
        if widths.count(reading.width) <= named / 2:
            start = named - 1
    elif reading.width > 1:
        start = next((at for at in range(min(len(rows), 100)) if _begins(rows, at, reading)), 0)
    first = rows[start][0]
    # Blank lines and comments alone are no preamble to skip: neither are records anyway.
    return first if first and any(line for line in lines[:first]) else 0, [
        row for _, row in rows[start:]
    ]


def _begins(rows: list[tuple[int, list[str]]], at: int, reading: _Reading) -> bool:
    """Whether the table can begin with this row: it is nearly as full as those below."""
    number, row = rows[at]
    filled = _filled(row)
    if reading.width == 2 and len(row) > 1:
        full = sum(_filled(cells) > 1 for _, cells in rows[at + 1 : at + 21])
        return filled > 1 or full < 0.7 * len(rows[at + 1 : at + 21])
    if filled < 2:
        return False
    below = rows[at + 1 : at + 21]
    if not below:
        return True
    if len(row) < reading.width:
        # A blank line parts what is narrower from the table.
        for line, cells in below:
            if len(cells) >= reading.width and line > number + 1:
                return "" not in reading.lines[number:line]
            number = line
    usual = sorted(_filled(cells) for _, cells in below)[len(below) // 2]
    return filled > max(1, 0.4 * min(usual, reading.width))


def _filled(row: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _has_header(table: list[list[str]], types: _Types) -> bool:
    """Whether record 0 names the columns. Where nothing speaks against it, it does."""
    if not table:
        return True
    head = table[0]
    # Some tables repeat their header.
    body = [row for row in table[1:101] if len(row) == len(head) and row != head]
    if all(not cell.strip() for cell in head):
        return False
    kinds = [types[cell.strip()][0] for cell in head]
    if not body:
        return ("number" not in kinds and "date" not in kinds) or len(table) > 1
    votes = 0.0
    for column, (cell, kind) in enumerate(zip(head, kinds, strict=True)):
        below = [row[column].strip() for row in body if row[column].strip()]
        if not below:
            continue
        values = Counter(types[value][0] for value in below)
        usual, count = values.most_common(1)[0]
        if usual in ("number", "date") and count >= 0.7 * len(below):
            if kind in ("number", "date"):
                votes -= 1.0 if kind == usual else 0.5
            elif kind != "empty":
                votes += 1.0
        elif kind in ("number", "date") or kind == usual == "known" or cell.strip() in below:
            votes -= 0.7
        elif len(below) > 2 and kind != "empty":
            lengths = {len(value) for value in below}
            if len(lengths) == 1 and len(cell.strip()) not in lengths:
                votes += 0.7
            votes += 0.05
    names = [cell.strip() for cell in head if cell.strip()]
    if len(set(names)) < len(names):
        votes -= 0.5
    if _is_years(names[1:]):
        return True
    return votes >= 0


def _is_years(names: list[str]) -> bool:
    """Columns may be named by years, one after another."""
    if len(names) < 2 or not all(name.isdecimal() and len(name) == 4 for name in names):
        return False
    years = list(map(int, names))
    return all(1800 < year < 2200 for year in years) and all(
        b - a == years[1] - years[0] != 0 for a, b in pairwise(years)
    )
