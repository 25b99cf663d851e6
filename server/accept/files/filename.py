"""What a file is called, however its sender calls it."""

from __future__ import annotations

import re
from typing import Final

from server.document.titles import one_line

NAME_LIMIT: Final = 255
DEFAULT_NAME: Final = "table.tsv"


def clean_filename(name: str) -> str:
    """A file's name without folders, on one line and as `one_line`; at most 255 characters.

    What names a folder (`.`, `..`) is no file's name.
    """
    name = one_line(re.split(r"[/\\]", name)[-1], NAME_LIMIT)
    return name if name.strip(".") else DEFAULT_NAME
