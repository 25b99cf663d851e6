"""A text as one delimiter would cut it, and how likely that is the right one."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import pairwise

from server.document.detect.cells import Types, has_numbers, is_one_value, mean_worth
from server.document.detect.quoting import find_quoting

DELIMITERS = {
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

USUAL = 0.9  # the prior of those that are tried however seldom they are

_TAB_FIRST = 3.0  # a tab in nearly every line is there to separate
_SINGLE = 0.16  # the score of lines as single cells
_QUOTED = 1.3  # quotes at the edges of its cells speak for a delimiter
_TORN = 0.5  # how consistent a reading can be that leaves all quotes as text
_LINES = 4000  # lines whose cells are counted
_ROWS = 300  # lines that are looked at as single cells


class Reading:
    """A text as one delimiter would cut it.

    `score` tells how likely that is the right one, and is at most `limit`.
    """

    def __init__(self, text: str, delimiter: str, types: Types, hint: float = 1.0) -> None:
        self.types = types
        self.delimiter = delimiter
        self.quoting = find_quoting(text, delimiter)
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
        worth = mean_worth(self._rows, self.types)
        if self.delimiter:
            return self.limit * worth**2
        cells = [row[0] for row in self._rows[:: len(self._rows) // _ROWS + 1]]
        typed = sum(is_one_value(cell, self.types) for cell in cells) / len(cells)
        return (_SINGLE * max(0.5, worth) + max(0.0, 1.6 * typed - 0.8)) * self._explained

    @property
    def _explained(self) -> float:
        """The share of the quotes that begin or end a cell, as quotes do."""
        quoting = self.quoting
        if quoting.quotes < 2 or self.delimiter == "\t":
            return 1.0  # in tab-separated text a quote may be just a quote
        return 1 - quoting.left / quoting.quotes

    def _consistency(self, lengths: list[int], counts: Counter[int]) -> float:
        if not self.delimiter:
            return 1.0
        if self.width < 2:
            return 0.0
        prior = DELIMITERS.get(self.delimiter, USUAL)
        rows = len(lengths)
        if prior < USUAL and rows < 2:
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
        if self.delimiter == " " and not has_numbers(self._rows, self.types):
            prior *= 0.3
        return prior * consistency**2 * (1 - 1 / (self.width + 1))
