"""How a whole text reads, a character at a time: slow, and plain enough to be believed."""

from __future__ import annotations

import re

from server.document.dialect import Dialect, without_quotes

MEANINGS = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "Z": "\x1a"}


def read_whole(text: str, dialect: Dialect) -> list[list[str]]:
    """The records of `text`. From a quote's record on that is never closed, quotes are text."""
    return _read(text, dialect)[0]


def is_open(text: str, dialect: Dialect) -> bool:
    """Whether a quote of `text` is never closed."""
    return _read(text, dialect)[1]


def _read(text: str, dialect: Dialect) -> tuple[list[list[str]], bool]:
    text = text.removeprefix("\ufeff").replace("\0", "\ufffd")
    open_quote = False
    for _ in range(dialect.skip_lines):
        text = re.sub(r"\A[^\r\n]*+(\r\n|[\r\n])?", "", text)
    at = 0
    records: list[list[str]] = []
    while at < len(text):
        if line_end := _line_end(text, at):
            at += line_end
        elif dialect.comment and text.startswith(dialect.comment, at):
            while at < len(text) and not _line_end(text, at):
                at += 1
        elif (found := _record(text, at, dialect)) is None:
            dialect, open_quote = without_quotes(dialect), True
        else:
            record, at = found
            records.append(record)
    return records, open_quote


def _line_end(text: str, at: int) -> int:
    return 2 if text.startswith("\r\n", at) else text[at] in "\r\n" if at < len(text) else 0


def _record(text: str, at: int, dialect: Dialect) -> tuple[list[str], int] | None:
    cells: list[str] = []
    spaced = dialect.skip_space and dialect.delimiter == " "
    while True:
        while dialect.skip_space and text.startswith(" ", at):
            at += 1
        ends = at == len(text) or _line_end(text, at)
        if spaced and ends:
            return cells or [""], at + _line_end(text, at)
        if dialect.quote and text.startswith(dialect.quote, at):
            if (found := _quoted(text, at + 1, dialect)) is None:
                return None
            cell, at = found
        else:
            cell = ""
        rest, at = _plain(text, at, dialect)
        cells.append(cell + rest)
        if at < len(text) and text[at] == dialect.delimiter:
            at += 1
        else:
            return cells, at + _line_end(text, at)


def _quoted(text: str, at: int, dialect: Dialect) -> tuple[str, int] | None:
    cell = ""
    while at < len(text):
        if text[at] == dialect.escape:
            if at + 1 == len(text):
                return None
            cell += _escaped(text[at + 1], dialect)
            at += 2
        elif text[at] != dialect.quote:
            cell += text[at]
            at += 1
        elif dialect.doublequote and text.startswith(dialect.quote, at + 1):
            cell += dialect.quote
            at += 2
        else:
            at += 1
            if dialect.doublequote and dialect.escape and text.startswith(dialect.escape, at):
                return cell + dialect.escape, at + 1
            return cell, at
    return None


def _plain(text: str, at: int, dialect: Dialect) -> tuple[str, int]:
    cell, start = "", at
    while at < len(text) and not _line_end(text, at) and text[at] != dialect.delimiter:
        if text[at] != dialect.escape or at + 1 == len(text):
            cell += text[at]
            at += 1
        elif dialect.quote:
            cell += _escaped(text[at + 1], dialect)
            at += 2
        else:
            size = _line_end(text, at + 1) or 1
            mark = text[at + 1 : at + 1 + size]
            cell += _dumped(mark, dialect)
            at += 1 + size
    if dialect.escape and not dialect.quote and text[start:at] == dialect.escape + "N":
        return "", at
    return cell, at


def _escaped(char: str, dialect: Dialect) -> str:
    marks = dialect.quote + dialect.delimiter + dialect.escape + "\r\n"
    return char if char in marks else dialect.escape + char


def _dumped(char: str, dialect: Dialect) -> str:
    if char in MEANINGS:
        return MEANINGS[char]
    if char == "0":
        return "\ufffd"
    return dialect.escape + char if char.isalnum() else char
