"""What ends a command, as one sentence for whoever typed it.

Failure                  exit code 1
|-- Misuse               exit code 2: an argument that cannot mean anything
|-- Changed              the file changed while it was read
|-- Unreachable          no server there, or the connection was lost
`-- Refusal              the server said no; its code and whether a retry helps
"""

from __future__ import annotations

from typing import ClassVar


class Failure(Exception):
    """`message` is a sentence: what happened, and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Misuse(Failure):
    exit_code = 2


class Changed(Failure):
    pass


class Unreachable(Failure):
    """`lost`: there was a connection, so that a part may have arrived."""

    def __init__(self, message: str, *, lost: bool = False) -> None:
        super().__init__(message)
        self.lost = lost


class Refusal(Failure):
    """`code` is one of docs/PROTOCOL.md; `after` are the seconds that the server asks to wait.

    `rows_added`: rows that were added before, where the server knows.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retry: bool = False,
        after: float = 0,
        rows_added: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry = retry
        self.after = after
        self.rows_added = rows_added
