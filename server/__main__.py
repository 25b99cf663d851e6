"""`python -m server` is the command line, `tablecast`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Final, NoReturn


def _imported() -> Callable[[], int]:
    """The command line. Its imports take most of the time until the first word; Ctrl+C ends them.

    At once, and not by an exception: imports swallow those here and there, and nothing has begun
    that would have to be ended.
    """
    # A shell lets what it starts in the background ignore Ctrl+C.
    ends = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ends:
        signal.signal(signal.SIGINT, _end)
    from server.command import main

    if ends:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return main


def _end(*_: object) -> NoReturn:
    # As whoever is interrupted later ends (server/command), of which nothing is known yet.
    os._exit(130)


main: Final = _imported()

if __name__ == "__main__":
    sys.exit(main())
