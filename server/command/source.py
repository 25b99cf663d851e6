"""What is sent: a file that can be read again, or a pipe that comes once.

Reading waits in a thread that the end of the program does not wait for, so that Ctrl+C works while
a pipe is silent, and no flag of a terminal that others share is changed.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Self

from server.command.console import reason
from server.command.failures import Changed, Failure

READ_SIZE: Final = 256 * 1024
# Pieces read before they are asked for, so that the disk and the network work at the same time.
READ_AHEAD: Final = 4
# Bytes of a pipe that are kept, so that an upload refused at the door can be tried again.
REPLAY: Final = 4 * 1024 * 1024
STDIN: Final = "standard input"


class Stamp(NamedTuple):
    """What tells two states of a file apart without reading it."""

    modified: int  # ns
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


class Stream:
    """Reads a file descriptor in a thread. `owned`: closes it when that thread is done."""

    def __init__(self, descriptor: int, name: str, *, owned: bool) -> None:
        self._descriptor = descriptor
        self._name = name
        self._owned = owned
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._permits = threading.Semaphore(READ_AHEAD)
        self._closed = False
        self._ended = False
        threading.Thread(target=self._run, name=f"reads {name}", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether the end was read."""
        return self._ended

    async def read(self) -> bytes:
        """The next bytes as they come, b"" at the end and from then on. Raises `Failure`.

        Cancelled, it loses nothing: the next call gets the same bytes.
        """
        if self._ended:
            return b""
        piece = await self._pieces.get()
        self._permits.release()
        if isinstance(piece, OSError):
            self._ended = True
            raise Failure(f"{self._name} cannot be read: {reason(piece)}.")
        self._ended = not piece
        return piece

    def close(self) -> None:
        """Read no further. Idempotent."""
        self._closed = True
        self._permits.release()

    def _run(self) -> None:
        piece: bytes | OSError = b""
        try:
            while True:
                self._permits.acquire()
                if self._closed:
                    return
                try:
                    piece = os.read(self._descriptor, READ_SIZE)
                except OSError as error:
                    piece = error
                try:
                    self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
                except RuntimeError:
                    return  # the loop has ended, and with it whoever would read
                if not piece or isinstance(piece, OSError):
                    return
        finally:
            if self._owned:
                os.close(self._descriptor)


class File:
    """A regular file. Use it as: begin, body, end; any number of times."""

    repeatable: Final = True

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = base_name(path)
        self.size: int | None = None
        self.stamp: Stamp | None = None
        self._descriptor = -1
        self._stream: Stream | None = None

    async def begin(self) -> None:
        """Open it and take its size. Raises `Failure`."""
        self.stamp = None
        self._descriptor = _open(self.path)
        self.stamp = Stamp.of(os.fstat(self._descriptor))
        self.size = self.stamp.size
        self._stream = Stream(os.dup(self._descriptor), self.name, owned=True)

    async def body(self) -> AsyncIterator[bytes]:
        """All bytes. The last ones come only if the file is still what it was at the beginning.

        So a server never takes half of one state and half of another for a whole file. Raises
        `Changed`.
        """
        assert self._stream is not None
        left = self.size or 0
        held = b""
        while left > 0 and (piece := await self._stream.read()):
            if held:
                yield held
            held = piece[:left]
            left -= len(held)
        if left or Stamp.of(os.fstat(self._descriptor)) != self.stamp:
            raise Changed(f"{self.name} changed while it was read.")
        yield held

    def end(self) -> None:
        if self._stream is not None:
            self._stream.close()
            os.close(self._descriptor)
            self._stream = None


class Pipe:
    """Bytes that come once, from standard input or a named pipe. Use it as: begin, body, end."""

    size: Final = None

    def __init__(self, name: str, stream: Stream) -> None:
        self.name = name
        self.stream = stream
        self._kept: list[bytes] = []
        self._kept_size = 0

    @property
    def repeatable(self) -> bool:
        """Whether all that was read so far can be sent again."""
        return self._kept_size <= REPLAY

    async def begin(self) -> None:
        """Wait for the first bytes. Raises `Failure` if there are none."""
        if not self._kept:
            piece = await self.stream.read()
            if not piece:
                raise nothing_in(self.name)
            self._keep(piece)

    async def body(self) -> AsyncIterator[bytes]:
        for piece in tuple(self._kept):
            yield piece
        while piece := await self.stream.read():
            self._keep(piece)
            yield piece

    def end(self) -> None:
        """A pipe stays open: what was read from it would be lost."""

    def _keep(self, piece: bytes) -> None:
        self._kept_size += len(piece)
        if self.repeatable:
            self._kept.append(piece)
        else:
            self._kept.clear()


Source = File | Pipe


class Opened(NamedTuple):
    """`size` in bytes: None where nobody knows it before the end."""

    name: str
    size: int | None
    stream: Stream


def open_source(path: str) -> Source:
    """The source that `path` names, `-` being standard input. Raises `Failure`."""
    opened = open_stream(path)
    if opened.size is None:
        return Pipe(opened.name, opened.stream)
    opened.stream.close()
    return File(path)


def open_stream(path: str) -> Opened:
    """What `path` names, to be read once. Raises `Failure`."""
    if path == "-":
        return Opened(STDIN, None, Stream(_standard_input(), STDIN, owned=False))
    descriptor = _open(path)
    status = os.fstat(descriptor)
    # A file of no bytes may be one that the kernel writes as it is read (/proc).
    is_file = stat.S_ISREG(status.st_mode) and status.st_size > 0
    name = base_name(path)
    stream = Stream(descriptor, name, owned=True)
    return Opened(name, status.st_size if is_file else None, stream)


def nothing_in(name: str) -> Failure:
    return Failure(f"There is nothing in {name}. Give a file with a line of text at least.")


def stamp_of(path: str) -> Stamp | None:
    """The file's state now; None while there is none, or nothing in it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return None
    return Stamp.of(status)


def base_name(path: str) -> str:
    """The last part of a path, as text that can be sent whatever bytes are in it."""
    whole = os.path.basename(path.rstrip("/")) or path
    return os.fsencode(whole).decode("utf-8", "replace")


def _standard_input() -> int:
    try:
        descriptor = sys.stdin.fileno()
        os.fstat(descriptor)
    except (AttributeError, OSError, ValueError):
        raise Failure("There is no standard input to read from.") from None
    return descriptor


def _open(path: str) -> int:
    name = os.fsencode(path).decode("utf-8", "replace")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Failure(f"There is no file {name}. Check its name, and the folder.") from None
    except PermissionError:
        raise Failure(f"{name} may not be read: permission denied.") from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise Failure(f"{name} cannot be opened: {why}.") from None
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Failure(f"{name} is a directory. Give one of the files in it.")
    return descriptor
