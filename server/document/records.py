"""Whole records of source bytes become cells, as the dialect says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count as count_from
from itertools import islice

from server.document.dialect import Dialect
from server.document.scan import split_lines

_FIELD_LIMIT = 2**31 - 1  # the csv module's own limit set aside: cutter.py limits whole records

Records = Iterable[list[str]]


def read_records(source: bytes, dialect: Dialect, first: int, count: int) -> list[list[str]]:
    """Records `first` to `first + count` of `source`, counted from 0; fewer at its end.

    `source` is whole records without a byte order mark and skipped lines. They are read as the csv
    module does, but lines without any character are no records, and no comments are. Bytes that are
    no character, and zero bytes, become U+FFFD.
    """
    quoted = bool(dialect.quote) and dialect.quote.encode() in source
    escaped = bool(dialect.escape) and dialect.escape.encode() in source
    if not quoted and not escaped:
        lines = _lines(source, dialect)[first : first + count]
        texts = [line.decode(dialect.encoding, "replace") for line in lines]
        if b"\0" in source:
            texts = [_without_zeros(text) for text in texts]
        return [_split(text, dialect) for text in texts]
    text = _without_zeros(source.decode(dialect.encoding, "replace"))
    records: Records
    if not dialect.quote:
        records = _dump_records(text, dialect)
    elif dialect.skip_space and dialect.delimiter == " ":
        records = _spaced_records(text, dialect)
    else:
        records = _csv_records(text, dialect)
    return list(islice(records, first, first + count))


def _without_zeros(text: str) -> str:
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _lines(source: bytes, dialect: Dialect) -> list[bytes]:
    lines = split_lines(source)
    comment = dialect.comment.encode()
    if comment and comment in source:
        lines = [line for line in lines if not line.startswith(comment)]
    return lines


def _split(text: str, dialect: Dialect) -> list[str]:
    """The cells of a line without quotes and escapes."""
    delimiter = dialect.delimiter
    if dialect.skip_space:
        if delimiter == " ":
            return list(filter(None, text.split(" "))) or [""]
        cells = text.split(delimiter) if delimiter else [text]
        return [cell.lstrip(" ") for cell in cells]
    return text.split(delimiter) if delimiter else [text]


# With quotes: the csv module


def _csv_records(text: str, dialect: Dialect) -> Records:
    # 128 KiB unless raised, and one for the whole process: always the same number, so that no
    # thread lowers it while another one reads.
    csv.field_size_limit(_FIELD_LIMIT)
    if dialect.escape:
        text = _text_escapes(dialect).sub(r"\1\2\2", text)
    lines = _Lines(text, dialect.comment)
    reader = csv.reader(
        lines if lines.comment else io.StringIO(text, newline=""),
        delimiter=dialect.delimiter or _absent(text),
        quotechar=dialect.quote,
        doublequote=dialect.doublequote,
        escapechar=dialect.escape or None,
        skipinitialspace=dialect.skip_space,
    )
    records = filter(None, lines.follow(reader) if lines.comment else reader)
    if dialect.escape and text.endswith(dialect.escape):
        return _mend_last(list(records), dialect.escape)
    return records


@lru_cache(maxsize=64)
def _text_escapes(dialect: Dialect) -> re.Pattern[str]:
    """Escapes before what means nothing: the csv module would leave them out."""
    e = re.escape(dialect.escape)
    marks = re.escape(dialect.quote + dialect.delimiter + dialect.escape) + r"\r\n"
    return re.compile(rf"(?<!{e})((?:{e}{e})*+)({e})(?=[^{marks}])")


def _mend_last(records: list[list[str]], escape: str) -> list[list[str]]:
    """The csv module makes a line end of an escape that ends the text."""
    if records and records[-1][-1].endswith("\n"):
        records[-1][-1] = records[-1][-1][:-1] + escape
    return records


def _absent(text: str) -> str:
    """A character that does not occur."""
    return next(char for char in map(chr, count_from(0xE000)) if char not in text)


class _Lines:
    """Lines for a csv reader, without those that begin as comments do where a record begins.

    `comment` is "" if there are none.
    """

    def __init__(self, text: str, comment: str) -> None:
        self.comment = comment if comment in text else ""
        self._file = io.StringIO(text, newline="")
        self._begins = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        while self._begins and line.startswith(self.comment):
            line = next(self._file)
        self._begins = False
        return line

    def follow(self, reader: Records) -> Iterator[list[str]]:
        """What the reader of these lines reads."""
        for record in reader:
            self._begins = True
            yield record


# Without quotes, but with escapes: as databases dump tables

# https://www.postgresql.org/docs/current/sql-copy.html (text format) and
# https://dev.mysql.com/doc/refman/8.4/en/load-data.html (escape sequences).
_MEANINGS = {
    "t": "\t",
    "n": "\n",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "0": "\ufffd",
    "Z": "\x1a",
}


def _dump_records(text: str, dialect: Dialect) -> Iterator[list[str]]:
    for found in _dump_line(dialect).finditer(text):
        line = found[1]
        if line is None:
            continue
        if dialect.escape not in line:
            yield _split(line, dialect)
            continue
        cells: list[str] = []
        for part in line.split(dialect.delimiter) if dialect.delimiter else [line]:
            if cells and _is_escaped(cells[-1], dialect.escape):
                cells[-1] += dialect.delimiter + part
            else:
                cells.append(part)
        if dialect.skip_space:
            cells = [cell.lstrip(" ") for cell in cells]
            if dialect.delimiter == " ":
                cells = list(filter(None, cells)) or [""]
        yield [_unescape(cell, dialect.escape) for cell in cells]


@lru_cache(maxsize=64)
def _dump_line(dialect: Dialect) -> re.Pattern[str]:
    """A record (group 1) or a comment."""
    e, c = re.escape(dialect.escape), re.escape(dialect.comment)
    record = rf"((?:[^{e}\r\n]++|{e}(?:\r\n|.|\Z))++)"
    comment = rf"(?<![^\r\n]){c}[^\r\n]*+|" if c else ""
    return re.compile(comment + record, re.DOTALL)


def _is_escaped(cell: str, escape: str) -> bool:
    """Whether what follows `cell` is escaped."""
    return (len(cell) - len(cell.rstrip(escape))) % 2 == 1


def _unescape(cell: str, escape: str) -> str:
    if escape not in cell:
        return cell
    if cell == escape + "N":
        return ""  # NULL

    def meaning(found: re.Match[str]) -> str:
        char = found[1]
        if char in _MEANINGS:
            return _MEANINGS[char]
        return found[0] if char.isalnum() or not char else char

    return _escapes(escape).sub(meaning, cell)


@lru_cache(maxsize=64)
def _escapes(escape: str) -> re.Pattern[str]:
    return re.compile(re.escape(escape) + r"(\r\n|.|\Z)", re.DOTALL)


# Quotes, and many spaces that separate as one does: the csv module knows no such thing


def _spaced_records(text: str, dialect: Dialect) -> Iterator[list[str]]:
    inside, outside = _marks(dialect, dialect.doublequote), _marks(dialect, False)
    cells: list[str] = []
    begun = False
    for found in _spaced_token(dialect).finditer(text):
        kind = found.lastgroup
        if kind == "end":
            if begun:
                yield cells or [""]
            cells, begun = [], False
        elif kind != "comment":
            begun = True
        if kind == "cell":
            cells.append(outside.sub(r"\1\2", found["cell"]))
        elif kind == "after":
            inner = inside.sub(r"\1\2", found["inner"])
            cells.append(inner + (found["text"] or "") + outside.sub(r"\1\2", found["after"]))
    if begun:
        yield cells or [""]


@lru_cache(maxsize=64)
def _spaced_token(dialect: Dialect) -> re.Pattern[str]:
    q, e, c = map(re.escape, (dialect.quote, dialect.escape, dialect.comment))
    pairs = [q + q] * dialect.doublequote + [rf"{e}."] * bool(e)
    inner = "|".join([rf"[^{q}{e}]++", *pairs])
    cell = "|".join([rf"[^ \r\n{e}]++", *[rf"{e}(?:.|\Z)"] * bool(e)])
    text = rf"(?P<text>{e})?+" if e and dialect.doublequote else "(?P<text>)"
    comment = [rf"(?<![^\r\n]){c}[^\r\n]*+(?P<comment>)"] * bool(c)
    return re.compile(
        "|".join(
            [
                *comment,
                r"(?P<end>\r\n|[\r\n])",
                rf"{q}(?P<inner>(?:{inner})*+){q}{text}(?P<after>(?:{cell})*+)",
                rf"(?P<cell>(?:{cell})++)",
                " ++",
            ]
        ),
        re.DOTALL,
    )


@lru_cache(maxsize=64)
def _marks(dialect: Dialect, doubled: bool) -> re.Pattern[str]:
    """Marks that stand for themselves after an escape or, `doubled`, after another quote."""
    q, e = re.escape(dialect.quote), re.escape(dialect.escape)
    pair = rf"{q}({q})" if doubled else "(?!)()"
    escaped = rf"{e}([{q}{e} \r\n])" if e else "(?!)()"
    return re.compile(rf"{pair}|{escaped}")
