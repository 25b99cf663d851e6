"""A question with the answer yes or no, to whoever sits at the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Final

from server.command.console import Console

_LINE: Final = 1024
_YES: Final = (b"y", b"yes")


def can_ask(console: Console) -> bool:
    """Whether somebody sees a question and can answer it."""
    try:
        return console.is_watched and sys.stdin.isatty()
    except (AttributeError, ValueError):  # there is no standard input
        return False


async def agrees(question: str, console: Console) -> bool:
    """Ask; anything but `y` or `yes` is a no, and so is the end of the input."""
    console.ask(f"{question} [y/N] ")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def take(line: bytes) -> None:
        if not answer.done():
            answer.set_result(line)

    def read() -> None:
        try:
            line = os.read(sys.stdin.fileno(), _LINE)
        except OSError:
            line = b""
        try:
            loop.call_soon_threadsafe(take, line)
        except RuntimeError:
            return  # the loop has ended, and with it whoever asked

    # The end of the program does not wait for this thread, so that Ctrl+C is an answer too.
    threading.Thread(target=read, name="answer", daemon=True).start()
    return (await answer).strip().lower() in _YES
