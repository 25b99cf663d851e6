"""Texts that people type: names that cannot pretend, and messages in which there is something."""

from __future__ import annotations

import unicodedata
from typing import Final

from server.document.messages import Person
from server.document.titles import is_seen, one_line
from server.errors import BadMessage

NAME_CHARACTERS: Final = 40
NAMELESS: Final = "Guest"
COLORS: Final = 10
_LINES: Final = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n"})


def clean_name(text: str) -> str:
    """A name of 1 to 40 characters that stays on its line and shows what it is."""
    return one_line(text, NAME_CHARACTERS) or NAMELESS


def signed(name: str | None) -> Person | None:
    """Who came through another door than a socket, if they say who they are."""
    return None if name is None else Person(id="", name=clean_name(name))


def clean_color(color: int | None, default: int) -> int:
    """One of ten colours. Raises `BadMessage`."""
    if color is None:
        return default
    if not 0 <= color < COLORS:
        raise BadMessage(f"There is no color {color}: they are 0 to {COLORS - 1}.")
    return color


def clean_body(text: str) -> str:
    """What somebody says, its lines ended by "\\n"; "" where there is nothing to be seen."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINES)
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return text.strip("\n").rstrip() if is_seen(text) else ""
