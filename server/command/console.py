"""What a command says: its result on stdout, everything else on stderr, so that pipes work."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

from server.command.failures import Failure

# Seconds between two states of the progress line: faster than that nobody reads.
REDRAW: Final = 0.1
# The rate is that of the last seconds: an old pause must not spoil the time left.
RATE_OVER: Final = 5.0
BAR_WIDTH: Final = 24
NAME_WIDTH: Final = 32

_BACK: Final = "\r\x1b[K"


class Console:
    """Writes to whoever started the command. `quiet`: nothing but results and errors."""

    def __init__(self, *, quiet: bool = False) -> None:
        # Both are None where a program was started without them.
        self._out: TextIO | None = sys.stdout
        self._err: TextIO | None = sys.stderr
        self._quiet = quiet
        self._drawn = False

    # API

    @property
    def is_watched(self) -> bool:
        """Whether somebody sees a progress line: stderr is a terminal that can redraw it."""
        if self._quiet or self._err is None or os.environ.get("TERM") == "dumb":
            return False
        return self._err.isatty()

    def result(self, text: str) -> None:
        """Write to stdout at once. Raises `Failure` where nobody takes it any more."""
        self.clear()
        if self._out is None:
            raise Failure(f"There is no standard output for the link: {text}")
        try:
            self._out.write(f"{text}\n")
            self._out.flush()
        except OSError as error:
            muffle(self._out)
            raise Failure(f"The link could not be written ({reason(error)}): {text}") from None

    def note(self, text: str) -> None:
        if not self._quiet:
            self.error(text)

    def error(self, text: str) -> None:
        self._write(f"tablecast: {printable(text)}\n", clear=True)

    def ask(self, text: str) -> None:
        """A question; the answer is typed behind it, and ends its line."""
        self._write(f"tablecast: {printable(text)}", clear=True)

    def draw(self, text: str) -> None:
        """The progress line, in place of the one before."""
        self._write(_BACK + text)
        self._drawn = True

    def clear(self) -> None:
        if self._drawn:
            self._write(_BACK)
            self._drawn = False

    @property
    def width(self) -> int:
        try:
            # A terminal that does not know its width says 0.
            return (self._err and os.get_terminal_size(self._err.fileno()).columns) or 80
        except (OSError, ValueError):
            return 80

    # Internal

    def _write(self, text: str, *, clear: bool = False) -> None:
        if clear:
            self.clear()
        if self._err is None:
            return
        try:
            self._err.write(text)
            self._err.flush()
        except OSError:
            # Nobody reads what is said; the work goes on, and the exit code tells its end.
            muffle(self._err)
            self._err = None


class Progress:
    """A line about bytes that go out; draws nothing where nobody watches."""

    def __init__(
        self,
        console: Console,
        name: str,
        size: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._watched = console.is_watched
        self._name = name
        self._size = size
        self._clock = clock
        self._done = 0
        self._drawn_at = 0.0
        self._marks = deque([(clock(), 0)])

    def add(self, count: int) -> None:
        """`count` bytes more were sent."""
        self._done += count
        if not self._watched:
            return
        now = self._clock()
        if now - self._drawn_at < REDRAW and self._done != self._size:
            return
        self._drawn_at = now
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[1][0] > RATE_OVER:
            self._marks.popleft()
        then, done = self._marks[0]
        rate = (self._done - done) / (now - then) if now > then else 0.0
        width = self._console.width
        self._console.draw(line(self._name, self._done, self._size, rate, width))


def line(name: str, done: int, size: int | None, rate: float, width: int) -> str:
    """The progress line, shorter than `width`: what is least needed is left out first."""
    name = shortened(printable(name), NAME_WIDTH)
    speed = f"{amount(rate)}/s"
    if size is None:
        parts = [name, amount(done), speed]
    else:
        share = min(1.0, done / size) if size else 1.0
        full = round(share * BAR_WIDTH)
        bar = "#" * full + "-" * (BAR_WIDTH - full)
        if done >= size:
            left = "finishing"
        else:
            left = f"{duration((size - done) / rate)} left" if rate else ""
        parts = [name, f"[{bar}]", f"{int(share * 100)} %", f"{amount(done)} of {amount(size)}"]
        parts += [speed, left]
        while len("  ".join(parts)) >= width and len(parts) > 1:
            # The bar first, then what stands at the end.
            parts.pop(1 if parts[1].startswith("[") else -1)
    return "  ".join(part for part in parts if part)[: max(0, width - 1)]


def amount(count: float) -> str:
    """Bytes as people say them: 87 MB, 1.3 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            break
        count /= 1000
    if unit == "bytes":
        return f"{count:.0f} byte" if round(count) == 1 else f"{count:.0f} bytes"
    return f"{count:.1f} {unit}" if count < 9.95 else f"{count:,.0f} {unit}"


def duration(seconds: float) -> str:
    """Time as people say it: 8 s, 2 min 5 s, 1 h 4 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def shortened(text: str, width: int) -> str:
    """The middle goes: names differ at their ends."""
    if len(text) <= width:
        return text
    half = (width - 3) // 2
    return f"{text[: width - 3 - half]}...{text[len(text) - half :]}"


def printable(text: str) -> str:
    """Without what would move a terminal's cursor: names come from other people's disks."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def reason(error: OSError) -> str:
    """Why, in the system's words, as a part of a sentence."""
    number = error.errno or 0
    text = os.strerror(number) if number > 0 else error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]


def muffle(stream: TextIO) -> None:
    """Let what is still in a buffer go nowhere, so that the end of the program does not fail."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        # Not a real file then, and nothing will be flushed to one.
        return
