"""Texts that people type: names that cannot pretend, and messages in which there is something."""

from __future__ import annotations

import unicodedata
from typing import Final

from server.errors import BadMessage

NAME_CHARACTERS: Final = 40
NAMELESS: Final = "Guest"
COLORS: Final = 10
# Marks on one letter; more of them climb over the neighbouring lines.
MARKS: Final = 4

# Control characters, invisible ones and those that turn the direction of text, surrogates, private
# ones, separators of lines and paragraphs.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Letters and signs by their category, but nothing can be seen of them.
_FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SEEN: Final = frozenset("LNPS")  # first letters of categories: letters, numbers, signs, symbols
_LINES: Final = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n"})


def clean_name(text: str) -> str:
    """A name of 1 to 40 characters that stays on its line and shows what it is."""
    # Cut before the work, generously: most of what is cut away may be invisible.
    shown = unicodedata.normalize("NFC", text[: 10 * NAME_CHARACTERS])
    kept: list[str] = []
    marks = 0
    for character in shown:
        if character.isspace():
            kept.append(" ")
            continue
        category = unicodedata.category(character)
        if category in _HIDDEN or character in _FILLERS:
            continue
        marks = marks + 1 if category.startswith("M") else 0
        if marks <= MARKS:
            kept.append(character)
    name = " ".join("".join(kept).split())[:NAME_CHARACTERS].rstrip()
    return name if _is_seen(name) else NAMELESS


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
    return text.strip("\n").rstrip() if _is_seen(text) else ""


def _is_seen(text: str) -> bool:
    return any(unicodedata.category(c)[0] in _SEEN and c not in _FILLERS for c in text)
