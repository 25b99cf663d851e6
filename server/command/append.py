"""`tablecast append`: rows are added to a room's table as they come.

A long input is sent as many short requests, each ending with a whole row: in the silence between
two rows of a log no proxy gives up on us, a node can be restarted, and when a connection is lost
only the rows of the last request are in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final

from server.command.client import Added, Client, Table, persistently
from server.command.console import Console, Progress
from server.command.failures import Failure, Refusal, Unreachable
from server.command.link import Link
from server.command.push import Pushing, tell
from server.command.source import REPLAY, STDIN, File, Opened, nothing_in, open_stream

# Seconds of silence after which a request ends, well below the 60 s that proxies wait for a byte.
QUIET: Final = 2.0
# Seconds after which one ends though more comes.
LONGEST: Final = 30.0
# The beginning of a new table: this many bytes, or what comes in these seconds after its first
# line. The more of it the server sees at once, the better it tells how the cells are divided.
BEGINNING: Final = 64 * 1024
GATHER: Final = 0.2

# Refused before anything was read.
_AT_THE_DOOR: Final = frozenset({"rate_limited", "node_full"})


async def append(link: Link, path: str, name: str | None, *, console: Console) -> None:
    """Add the rows of `path` (`-`: standard input); print the link first. Raises `Failure`."""
    opened = open_stream(path)
    added = Added(0)
    try:
        rows = _Rows(opened, console)
        async with Client(link) as client:
            table = None
            if link.room is not None:
                # A wrong link is told now, not when the first row comes.
                table = await persistently(lambda: client.table(link), _is_refusal, console)
                console.result(link.page)
            if not await rows.come():
                if table is None:
                    raise nothing_in(opened.name)
            else:
                if link.room is None:
                    link = await client.new_room()
                    tell(console, link, made=True)
                if table is None and opened.size is not None:
                    pushing = Pushing(client, link, File(path), name, console)
                    added = Added((await pushing.once()).rows)
                else:
                    if table is None:
                        table = await _begin_table(client, link, rows, name, console)
                        added = Added(table.rows)
                    added = added.and_then(await _send(client, link, rows, table, console))
    finally:
        opened.stream.close()
        console.clear()
    console.note(f"Added {_rows(added.rows)}.")
    if added.ragged:
        these = "This row has" if added.rows == 1 else f"{added.ragged:,} of these rows have"
        if added.ragged == 1 < added.rows:
            these = "1 of these rows has"
        console.note(
            f"{these} another number of columns than the table "
            f"({added.ragged_columns:,} instead of {added.columns:,})."
        )


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


async def _begin_table(
    client: Client, link: Link, rows: _Rows, name: str | None, console: Console
) -> Table:
    beginning = await rows.beginning()

    async def body() -> AsyncIterator[bytes]:
        yield beginning

    return await persistently(
        lambda: client.put(link, name or rows.name, body(), len(beginning)), _is_refusal, console
    )


async def _send(client: Client, link: Link, rows: _Rows, table: Table, console: Console) -> Added:
    added = Added(0)

    def may_repeat(failure: Refusal | Unreachable) -> bool:
        if isinstance(failure, Unreachable):
            # The server was there a moment ago, so it is being restarted.
            return not failure.lost and rows.repeatable
        nothing = failure.rows_added == 0 and failure.code != "unavailable"
        return (failure.code in _AT_THE_DOOR or (failure.retry and nothing)) and rows.repeatable

    while await rows.come():
        # Another one may be shown by now, or be arriving.
        shown = await persistently(lambda: client.table(link), _will_pass, console)
        rows.begin(shown or table)
        try:
            added = added.and_then(
                await persistently(lambda: client.append(link, rows.request()), may_repeat, console)
            )
        except Unreachable as failure:
            if not failure.lost:
                raise
            raise Failure(
                f"{failure.message} It is certain that {added.rows:,} rows were added; nobody "
                f"knows how many of the next {rows.sent:,} bytes. Look at the end of the table."
            ) from None
        except Refusal as refusal:
            if not added.rows:
                raise
            raise Failure(
                f"{refusal.message} That is about the last rows; the {added.rows:,} before them "
                "are in the table."
            ) from None
    return added


def _will_pass(failure: Refusal | Unreachable) -> bool:
    return failure.retry if isinstance(failure, Refusal) else True


def _is_refusal(failure: Refusal | Unreachable) -> bool:
    return isinstance(failure, Refusal) and failure.retry


class RowEnds:
    """Tells where rows of a stream may end: not in quotes, nor after an escape."""

    def __init__(self, quote: bytes = b'"', escape: bytes = b"") -> None:
        self._quote = quote
        self._escape = escape
        self._escaped = re.compile(re.escape(escape) + b".", re.DOTALL)
        self._in_quotes = False
        self._in_escape = False

    def feed(self, data: bytes) -> bool:
        """Go on past `data`; whether a row ends there."""
        plain = self._plain(data)
        self._in_escape = bool(self._escape) and plain.endswith(self._escape)
        if self._quote and plain.count(self._quote) % 2:
            self._in_quotes = not self._in_quotes
        return plain.endswith(b"\n") and not self._in_quotes

    def last(self, data: bytes | bytearray) -> int:
        """The end of the last whole row in the next `data`; 0 if there is none.

        Where a quote is no quoting mark this may find none: then a request is longer, no worse.
        """
        plain = self._plain(data)
        if not self._quote:
            return plain.rfind(b"\n") + 1
        quotes = self._in_quotes + plain.count(self._quote)
        end = len(plain)
        while (at := plain.rfind(b"\n", 0, end)) >= 0:
            quotes -= plain.count(self._quote, at, end)
            if quotes % 2 == 0:
                return at + 1
            end = at
        return 0

    def _plain(self, data: bytes | bytearray) -> bytes | bytearray:
        """The same bytes without the meaning of those that are escaped."""
        if not self._escape:
            return data
        if self._in_escape:
            data = b"x" + data[1:]
        return self._escaped.sub(b"xx", data)


class _Rows:
    """An input that is cut into requests at the ends of rows."""

    def __init__(self, opened: Opened, console: Console) -> None:
        self.name = None if opened.name == STDIN else opened.name
        self.sent = 0  # bytes of this request
        self._stream = opened.stream
        self._progress = Progress(console, opened.name, opened.size)
        self._next = b""
        self._kept: list[bytes] = []
        self._ends = RowEnds()
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
            end = RowEnds().last(gathered) or gathered.rfind(b"\n") + 1
        self._next = bytes(gathered[end:])
        return bytes(gathered[:end])

    def begin(self, table: Table) -> None:
        """From here on it is another request, to a table that is read so."""
        self._kept = []
        self.sent = 0
        self._ends = RowEnds(table.quote, table.escape)
        self._until = asyncio.get_running_loop().time() + LONGEST

    async def request(self) -> AsyncIterator[bytes]:
        """What was sent of this request before, if anything, and more until it may end."""
        for piece in tuple(self._kept):
            yield piece
        while self._next:
            piece, self._next = self._next, b""
            long = asyncio.get_running_loop().time() > self._until
            end = self._ends.last(piece) if long else 0
            if end:
                piece, self._next = piece[:end], piece[end:]
            is_whole = self._ends.feed(piece)
            self._keep(piece)
            yield piece
            if end:
                return
            try:
                async with asyncio.timeout(QUIET if is_whole else None):
                    self._next = await self._stream.read()
            except TimeoutError:
                return

    def _keep(self, piece: bytes) -> None:
        self.sent += len(piece)
        self._progress.add(len(piece))
        if self.repeatable:
            self._kept.append(piece)
        else:
            self._kept = []
