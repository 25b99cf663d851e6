"""Names of people, files and sheets: one line each, that shows what it is and cannot pretend."""

from __future__ import annotations

import unicodedata
from typing import Final

# Marks on one letter; more of them climb over the neighbouring lines.
MARKS: Final = 4

# Control characters, invisible ones and those that turn the direction of text, surrogates, private
# ones, separators of lines and paragraphs.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Letters and signs by their category, but nothing can be seen of them.
_FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SEEN: Final = frozenset("LNPS")  # first letters of categories: letters, numbers, signs, symbols


def one_line(text: str, limit: int) -> str:
    """`text` without what is invisible and with single white space, at most `limit` characters.

    "" where there is nothing to be seen.
    """
    # Cut before the work, generously: most of what is cut away may be invisible.
    shown = unicodedata.normalize("NFC", text[: 10 * limit])
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
    line = " ".join("".join(kept).split())[:limit].rstrip()
    return line if is_seen(line) else ""


def is_seen(text: str) -> bool:
    """Whether there is anything to be seen."""
    return any(unicodedata.category(c)[0] in _SEEN and c not in _FILLERS for c in text)
