"""What a file is called, however its sender calls it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NAME_LIMIT: Final = 255
DEFAULT_NAME: Final = "table.tsv"

_TURNS_DIRECTION: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def clean_filename(name: str) -> str:
    """A file's name without folders, control characters and line breaks, at most 255 characters.

    Characters that turn the direction of the text around them go too: names are part of sentences.
    """
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp"))
    name = _TURNS_DIRECTION.sub("", name)
    return name.strip()[:NAME_LIMIT] or DEFAULT_NAME
