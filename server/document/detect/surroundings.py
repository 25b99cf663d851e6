"""What is around the table: comments and other lines before it; and whether it has a header."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from server.document.detect.cells import Types
from server.document.detect.quoting import opening, quoted_cell
from server.document.detect.reading import Reading

_MANY_QUOTES = 4
_COMMENTS = ("##", "#", "%", "//", "--", "!", "*")


def is_literal(text: str, delimiter: str) -> bool:
    """Whether quotes are ordinary text: none quotes a cell, and whoever wrote them knows none that
    does. Quotes within cells alone (`5" pipe`) can mean that in tab-separated text only, whose
    writers mostly do not quote."""
    return bool(opening('"', delimiter).search(text)) or (
        delimiter == "\t" and text.count('"') >= _MANY_QUOTES
    )


def source_lines(text: str, reading: Reading, masked_lines: int) -> int:
    """Lines of the text that so many lines without quoted cells are."""
    quoting = reading.quoting
    if not quoting.quote:
        return masked_lines
    lines = inside = at = 0
    pattern = quoted_cell(quoting.quote, quoting.escape, reading.delimiter)
    for found in pattern.finditer(text):
        lines += text.count("\n", at, found.start())
        if lines >= masked_lines:
            break
        inside += found[0].count("\n")
        at = found.end()
    return masked_lines + inside


def has_runs(reading: Reading) -> bool:
    """Whether more than one space separates cells, or some come first."""
    return any("  " in line.strip() or line.startswith(" ") for line in reading.lines)


_ESCAPES = re.compile(r"\\(.?)", re.DOTALL)
_DIGITS = re.compile(r"\d+")
_DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\(?!\\)|(?<![\\\w])\\\\(?!\\)\w")


def is_escaped(text: str, delimiter: str) -> bool:
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


def find_comment(reading: Reading) -> str:
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


def find_table(reading: Reading, comment: str) -> tuple[int, list[list[str]]]:
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
    if not any(lines[:first]):
        first = 0  # blank lines alone: they are no records anyway
    return first, [row for _, row in rows[start:]]


def _begins(rows: list[tuple[int, list[str]]], at: int, reading: Reading) -> bool:
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


def has_header(table: list[list[str]], types: Types) -> bool:
    """Whether record 0 names the columns. Where nothing speaks against it, it does."""
    if not table:
        return True
    head = table[0]
    # Some tables repeat their header.
    body = [row for row in table[1:101] if len(row) == len(head) and row != head]
    if all(not cell.strip() for cell in head):
        return False
    if len(head) == 1 and _is_one_of_many(head[0], [row[0] for row in table[1:101]], types):
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


def _is_one_of_many(line: str, others: list[str], types: Types) -> bool:
    """Whether a line that is one cell looks like nearly all the others, and so names none of them.

    Lines are alike that differ in nothing but their numbers, and whole sentences are; of words and
    names the first may be a title.
    """
    if len(others) < 2:
        return False

    def look(text: str) -> str:
        kind = types[text.strip()][0]
        return kind if kind in ("sentence", "other") else _DIGITS.sub("0", text.strip())

    mine = look(line)
    return sum(look(other) == mine for other in others) >= 0.9 * len(others)


def _is_years(names: list[str]) -> bool:
    """Columns may be named by years, one after another."""
    if len(names) < 2 or not all(name.isdecimal() and len(name) == 4 for name in names):
        return False
    years = list(map(int, names))
    return all(1800 < year < 2200 for year in years) and all(
        b - a == years[1] - years[0] != 0 for a, b in pairwise(years)
    )
