"""The kinds of values that settings have: how each is written, shown and judged.

`text`, `count`, `size` and so on make the fields of `settings.Settings`, each with its default and
what it is for; `setting` makes one of any kind.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of value is read, shown and judged. `parse` raises ValueError."""

    parse: Callable[[str], Any]
    show: Callable[[Any], str]
    valid: Callable[[Any], bool]
    allowed: str


# How values are written

_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)?", re.IGNORECASE)
_SIZE_UNITS = {"b": 1, "kib": KiB, "mib": MiB, "gib": GiB, "tib": 1024 * GiB}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)?")
_TIME_UNITS = {"ms": 0.001, "s": 1.0, "min": MINUTE, "h": HOUR, "d": DAY}
_TRUTH = {"true": True, "yes": True, "on": True, "1": True}
_TRUTH |= {"false": False, "no": False, "off": False, "0": False}


def _parse_size(text: str) -> int:
    if not (match := _SIZE.fullmatch(text)):
        raise ValueError(text)
    return int(match[1]) * _SIZE_UNITS[(match[2] or "B").lower()]


def show_size(value: int) -> str:
    for name, unit in (("GiB", GiB), ("MiB", MiB), ("KiB", KiB)):
        if value and value % unit == 0:
            return f"{value // unit}{name}"
    return f"{value}B" if value else "0"


def _parse_time(text: str) -> float:
    if not (match := _TIME.fullmatch(text)):
        raise ValueError(text)
    return float(match[1]) * _TIME_UNITS[match[2] or "s"]


def _show_time(value: float) -> str:
    for name, unit in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if value >= unit and value % unit == 0:
            return f"{value / unit:g}{name}"
    return f"{value:g}s" if value >= 1 or not value else f"{value * 1000:g}ms"


def _parse_truth(text: str) -> bool:
    if (truth := _TRUTH.get(text.lower())) is None:
        raise ValueError(text)
    return truth


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


def _parse_networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part) for part in _parse_list(text))


def _show_list(values: tuple[object, ...]) -> str:
    return ",".join(map(str, values))


# What values are allowed


def setting(default: T, help: str, kind: Kind, *, secret: bool = False) -> T:
    made: T = field(default=default, repr=not secret, metadata={"help": help, "kind": kind})
    return made


def _between(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: math.isfinite(value) and low <= value <= high


def _are_origins(origins: tuple[str, ...]) -> bool:
    return all(re.fullmatch(r"https?://[^/?#\s@;,]+", origin) for origin in origins)


def text(default: str, help: str, *, pattern: str, allowed: str) -> str:
    expression = re.compile(pattern)
    kind = Kind(str, str, lambda value: expression.fullmatch(value) is not None, allowed)
    return setting(default, help, kind)


def choice(default: str, help: str, choices: tuple[str, ...]) -> str:
    return setting(default, help, Kind(str.lower, str, choices.__contains__, ", ".join(choices)))


def count(default: int, help: str, *, low: int, high: int) -> int:
    kind = Kind(int, str, _between(low, high), f"{low:,} to {high:,}")
    return setting(default, help, kind)


def rate(default: float, help: str, *, low: float, high: float) -> float:
    kind = Kind(float, "{:g}".format, _between(low, high), f"{low:g} to {high:g} a second")
    return setting(default, help, kind)


def size(default: int, help: str, *, low: int, high: int) -> int:
    allowed = f"{show_size(low)} to {show_size(high)}"
    return setting(default, help, Kind(_parse_size, show_size, _between(low, high), allowed))


def time(default: float, help: str, *, low: float, high: float) -> float:
    allowed = f"{_show_time(low)} to {_show_time(high)}"
    return setting(default, help, Kind(_parse_time, _show_time, _between(low, high), allowed))


def truth(default: bool, help: str) -> bool:
    kind = Kind(_parse_truth, lambda value: str(value).lower(), lambda _: True, "true or false")
    return setting(default, help, kind)


def origins(help: str) -> tuple[str, ...]:
    """Empty by default."""
    allowed = "origins (scheme://host[:port]) with commas"
    return setting((), help, Kind(_parse_list, _show_list, _are_origins, allowed))


def networks(help: str) -> tuple[Network, ...]:
    """Empty by default."""
    allowed = "addresses and networks with commas"
    return setting((), help, Kind(_parse_networks, _show_list, lambda _: True, allowed))


def without_password(url: str) -> str:
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"//[^/@]*@", "//***@", url))
