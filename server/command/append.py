"""`tablecast append`: rows are added to a room's table as they come.

A long input is sent as many short requests, each ending with a whole row: in the silence between
two rows of a log no proxy gives up on us, a node can be restarted, and when a connection is lost
only the rows of the last request are in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from server.command.client import Client, persistently
from server.command.console import Console, Progress
from server.command.failures import Failure, Refusal, Unreachable
from server.command.link import Link
from server.command.push import Pushing
from server.command.source import REPLAY, STDIN, File, Opened, nothing_in, open_stream

# Seconds of silence after which a request ends, well below the 60 s that proxies wait for a byte.
QUIET: Final = 2.0
# Seconds after which one ends though more comes.
LONGEST: Final = 30.0
# The beginning of a new table: this many bytes, or what comes in these seconds after its first
# line. The more of it the server sees at once, the better it tells how the cells are divided.
BEGINNING: Final = 64 * 1024
GATHER: Final = 0.2

# Refused before the first row was taken, so that the same rows may be sent again.
_AT_THE_DOOR: Final = frozenset({"upload_in_progress", "rate_limited", "node_full"})


async def append(link: Link, path: str, name: str | None, *, console: Console) -> None:
    """Add the rows of `path` (`-`: standard input); prints the link first. Raises `Failure`."""
    opened = open_stream(path)
    try:
        rows = _Rows(opened, console)
        # Before a room is made: there may be nothing to show.
        if not await rows.come():
            raise nothing_in(opened.name)
        async with Client(link) as client:
            if link.room is None:
                link = await client.new_room()
            is_new = not await client.has_document(link)
            console.result(link.page)
            if is_new and opened.size is not None:
                added = await Pushing(client, link, File(path), name, console).once()
            else:
                added = await _send(client, link, rows, name, is_new=is_new, console=console)
    finally:
        opened.stream.close()
        console.clear()
    console.note(f"Added {added:,} {'row' if added == 1 else 'rows'}.")


async def _send(
    client: Client, link: Link, rows: _Rows, name: str | None, *, is_new: bool, console: Console
) -> int:
    added = 0
    # Whether the server answered before: one that was there a moment ago is being restarted.
    known = False
    if is_new:
        added += await _begin_table(client, link, rows, name, console)
        known = True

    def may_repeat(failure: Refusal | Unreachable) -> bool:
        if isinstance(failure, Refusal):
            return failure.code in _AT_THE_DOOR and rows.repeatable
        return not failure.lost and known and rows.repeatable

    while await rows.come():
        rows.begin()
        try:
            added += await persistently(
                lambda: client.append(link, rows.request()), may_repeat, console
            )
        except Unreachable as failure:
            if not failure.lost:
                raise
            raise Failure(
                f"{failure.message} It is certain that {added:,} rows were added; nobody knows how "
                f"many of the next {rows.sent:,} bytes. Look at the end of the table."
            ) from None
        known = True
    return added


async def _begin_table(
    client: Client, link: Link, rows: _Rows, name: str | None, console: Console
) -> int:
    beginning = await rows.beginning()

    async def body() -> AsyncIterator[bytes]:
        yield beginning

    return await persistently(
        lambda: client.put(link, name or rows.name, body(), len(beginning)),
        lambda failure: isinstance(failure, Refusal) and failure.retry,
        console,
    )


class _Rows:
    """An input that is cut into requests at the ends of rows."""

    def __init__(self, opened: Opened, console: Console) -> None:
        self.name = None if opened.name == STDIN else opened.name
        self.sent = 0  # bytes of this request
        self._stream = opened.stream
        self._progress = Progress(console, opened.name, opened.size)
        self._next = b""
        self._kept: list[bytes] = []
        self._quotes = 0
        self._until = 0.0

    @property
    def repeatable(self) -> bool:
        """Whether all that was sent of this request can be sent again."""
        return self.sent <= REPLAY

    async def come(self) -> bool:
        """Wait for more; False at the end."""
        if not self._next:
            self._next = await self._stream.read()
        return bool(self._next)

    async def beginning(self) -> bytes:
        """The first whole lines, or all there is."""
        gathered = bytearray(self._next)
        while b"\n" not in gathered and (piece := await self._stream.read()):
            gathered += piece
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHER):
                while len(gathered) < BEGINNING and (piece := await self._stream.read()):
                    gathered += piece
        end = len(gathered)
        if not self._stream.ended:
            # A quote that never closes is text; then any line is as good an end as another.
            end = _end_of_row(gathered, 0) or gathered.rfind(b"\n") + 1
        self._next = bytes(gathered[end:])
        return bytes(gathered[:end])

    def begin(self) -> None:
        """From here on it is another request."""
        self._kept = []
        self.sent = self._quotes = 0
        self._until = asyncio.get_running_loop().time() + LONGEST

    async def request(self) -> AsyncIterator[bytes]:
        """What was sent of this request before, if anything, and more until it may end."""
        for piece in tuple(self._kept):
            yield piece
        while self._next:
            piece, self._next = self._next, b""
            long = asyncio.get_running_loop().time() > self._until
            end = _end_of_row(piece, self._quotes) if long else 0
            if end:
                piece, self._next = piece[:end], piece[end:]
            self._keep(piece)
            yield piece
            if end:
                return
            is_whole = piece.endswith(b"\n") and self._quotes % 2 == 0
            try:
                async with asyncio.timeout(QUIET if is_whole else None):
                    self._next = await self._stream.read()
            except TimeoutError:
                return

    def _keep(self, piece: bytes) -> None:
        self.sent += len(piece)
        self._quotes += piece.count(b'"')
        self._progress.add(len(piece))
        if self.repeatable:
            self._kept.append(piece)
        else:
            self._kept = []


def _end_of_row(data: bytes | bytearray, quotes: int) -> int:
    """The end of the last line that ends outside of quotes, `quotes` having come before; else 0.

    Where a quote is no quoting mark this may find none: then a request is longer, nothing worse.
    """
    end = len(data)
    count = quotes + data.count(b'"')
    while (at := data.rfind(b"\n", 0, end)) >= 0:
        count -= data.count(b'"', at, end)
        if count % 2 == 0:
            return at + 1
        end = at
    return 0
