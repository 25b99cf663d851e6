"""What an error about a file says of the table that was there before, where there was none.

Whoever finds a file wrong knows nothing of rooms, and says what is true in nearly all of them.
"""

from __future__ import annotations

import re

from server.errors import TablecastError

_KEPT = re.compile(r" ?Everyone keeps what they had\.")
_BACK = re.compile(r"The table before(?: it)? is back; (\w)")


def told_without_table(error: TablecastError) -> None:
    """Make `error` say nothing of a table that nobody had."""
    message = _KEPT.sub("", error.message)
    error.message = _BACK.sub(lambda found: found[1].upper(), message)
