"""Cells as a person sees them, and records of them as tab-separated text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

_EXACT = 2**53  # whole numbers below are exact in a float
_PLAIN_DIGITS = 21  # longer numbers are written with an exponent
_NOISE = 3  # a number that 15 digits round by more characters than this was meant to be shorter
_SECOND = 1_000_000  # microseconds

# What makes a cell need quotes somewhere in a record; tabs are counted. A byte order mark would be
# taken for the file's own, and a zero byte for a sign that this is no text.
_SPECIAL = re.compile('["\\r\\n\\ufeff\\0]')
_TO_QUOTE = re.compile('[\\t\\r\\n]|^["\\ufeff]')


def record(cells: Sequence[str]) -> str:
    """A line that reads back to `cells`, at least one, with its line end."""
    line = "\t".join(cells)
    if not line:
        line = '""' if len(cells) == 1 else line
    elif line.count("\t") >= len(cells) or _SPECIAL.search(line):
        line = "\t".join(map(_quoted, cells))
    return line + "\n"


def _quoted(cell: str) -> str:
    cell = cell.replace("\0", "\ufffd")
    if _TO_QUOTE.search(cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def shown_number(value: float) -> str:
    """As spreadsheets show it where nothing formats it: a fraction has at most 15 digits."""
    if value.is_integer():
        return number(value)
    return plain(f"{value:.15g}")


def number(value: float) -> str:
    """All digits, but not those that only say how a computer rounds: 0.3 for 0.1 + 0.2."""
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    full, rounded = repr(value), f"{value:.15g}"  # 15 is what spreadsheets keep
    return plain(rounded if len(full) - len(rounded) > _NOISE else full)


def plain(digits: str) -> str:
    """A number without an exponent, unless it is so large or small that nobody counts zeros."""
    if digits.endswith(".0"):
        return digits[:-2]
    if "e" not in digits and "E" not in digits:
        return "0" if digits == "-0" else digits
    text = f"{Decimal(digits):f}"
    return text if len(text) <= _PLAIN_DIGITS + 2 else digits


def clock(ticks: int, per_second: int) -> str:
    """A length of time as hours, minutes and seconds: 27:03:04.5."""
    sign, ticks = ("-", -ticks) if ticks < 0 else ("", ticks)
    seconds, rest = divmod(ticks, per_second)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{sign}{hours}:{minutes:02}:{seconds:02}"
    if rest:
        text += f".{rest:0{len(str(per_second)) - 1}}".rstrip("0")
    return text


def bytes_text(value: bytes) -> str:
    """Text if it is that, else its bytes in hexadecimal."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


def _boolean(value: bool) -> str:
    return "TRUE" if value else "FALSE"


def _duration(value: timedelta) -> str:
    return clock(value // timedelta(microseconds=1), _SECOND)


def _moment(value: datetime) -> str:
    return _fraction(value.isoformat(sep=" "))


def _time(value: time) -> str:
    return _fraction(value.isoformat())


def _fraction(text: str) -> str:
    return text.rstrip("0") if "." in text else text


_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    bool: _boolean,
    int: str,
    float: shown_number,
    date: date.isoformat,
    datetime: _moment,
    time: _time,
    timedelta: _duration,
}


def text(value: object) -> str:
    """A spreadsheet's value as text; "" for none."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    return _TEXTS.get(type(value), str)(value)
