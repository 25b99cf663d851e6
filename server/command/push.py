"""`tablecast push`: a file or a pipe becomes a room's table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from server.command.client import Client, Table, persistently
from server.command.console import Console, Progress
from server.command.failures import Changed, Failure, Misuse, Refusal, Unreachable
from server.command.link import Link
from server.command.question import agrees, can_ask
from server.command.source import STDIN, File, Pipe, Source, Stamp, open_source, stamp_of

# Seconds between two looks at a watched file: short for a person, nothing for a disk.
POLL: Final = 0.5
# Seconds until a push that failed for a while is tried again in watching.
AGAIN: Final = 5.0


async def push(
    link: Link, path: str, name: str | None, *, watch: bool, replace: bool, console: Console
) -> None:
    """Upload `path` (`-`: standard input) and print the link. Raises `Failure`.

    `replace`: an upload that runs in the room is given up for this one, without asking.
    """
    source = open_source(path)
    if watch and not isinstance(source, File):
        if path == "-":
            raise Misuse("--watch needs a file: standard input comes only once.")
        raise Failure(f"{path} is empty or no regular file, so it cannot be watched.")
    if isinstance(source, Pipe):
        # Before a room is made: there may be nothing to show.
        await source.begin()
    async with Client(link) as client:
        made = link.room is None
        if made:
            link = await client.new_room()
        pushing = Pushing(client, link, source, name, console, replace=replace)
        if watch:
            assert isinstance(source, File)
            await pushing.on_every_change(source, made=made)
        if isinstance(source, Pipe):
            # The end may be hours away, and everyone can already look.
            tell(console, link, made=made)
            await pushing.once()
        else:
            await pushing.once()
            tell(console, link, made=made)


def tell(console: Console, link: Link, *, made: bool) -> None:
    """Print the link, and of a room that was `made` the one that grants everything."""
    console.result(link.page)
    if made and link.key:
        console.note(f"For you alone: {link.granting} (whoever opens this owns the room).")


class Pushing:
    """Uploads of one source into one room."""

    def __init__(
        self,
        client: Client,
        link: Link,
        source: Source,
        name: str | None,
        console: Console,
        *,
        replace: bool = False,
    ) -> None:
        self._client = client
        self._link = link
        self._source = source
        # Standard input has no name of its own; the server has one for such tables.
        self._name = name if name is not None or source.name == STDIN else source.name
        self._console = console
        self._replace = replace
        self._asked = False
        # Whether the server was there before. One that never was is a matter of the address.
        self._known = False

    # API

    async def once(self) -> Table:
        """Push now, once more if the file changed while it was read."""
        try:
            return await self._persistently()
        except Changed as changed:
            self._console.note(f"{changed.message} Sending it again.")
            try:
                return await self._persistently()
            except Changed:
                raise Failure(
                    f"{self._source.name} changed again while it was read, so nothing of it is "
                    "shown. Push it when it is finished, or use --watch, or `tablecast append`."
                ) from None

    async def on_every_change(self, file: File, *, made: bool) -> None:
        """Push now and whenever the file is another one. Ends only by failing at the first push."""
        pushed: Stamp | None = None
        told = False
        while True:
            if pushed is not None:
                await self._changed(file, pushed)
            try:
                await self._persistently()
            except Changed as changed:
                self._console.note(f"{changed.message} Waiting for its end.")
                await asyncio.sleep(POLL)
                pushed = pushed or Stamp(0, 0, 0)
                continue
            except Failure as failure:
                if not told:
                    raise
                self._console.error(failure.message)
                if isinstance(failure, Unreachable) or (
                    isinstance(failure, Refusal) and failure.retry
                ):
                    await asyncio.sleep(AGAIN)
                    continue
                # The same bytes would be refused again; others may not.
                pushed = file.stamp or stamp_of(file.path) or pushed
                continue
            assert file.stamp is not None
            pushed = file.stamp
            if told:
                self._console.note(f"{file.name} was sent again.")
            else:
                tell(self._console, self._link, made=made)
                self._console.note(f"Watching {file.name}; Ctrl+C ends it.")
                told = True

    # Internal

    async def _changed(self, file: File, pushed: Stamp) -> None:
        """Wait until the file is another one and has stayed so from one look to the next."""
        before = pushed
        absent = False
        while True:
            await asyncio.sleep(POLL)
            now = stamp_of(file.path)
            if now is None:
                if not absent:
                    self._console.note(f"{file.name} is gone or empty; waiting for it.")
                absent = True
                continue
            if now != pushed and now == before:
                return
            before, absent = now, False

    async def _persistently(self) -> Table:
        def may_repeat(failure: Refusal | Unreachable) -> bool:
            if isinstance(failure, Refusal):
                self._known = True
                return failure.retry and self._source.repeatable
            self._known |= failure.lost
            return self._known and self._source.repeatable

        table = await persistently(self._attempt, may_repeat, self._console)
        self._known = True
        return table

    async def _attempt(self) -> Table:
        try:
            return await self._put(replace=self._replace)
        except Refusal as refusal:
            if refusal.code != "upload_in_progress":
                raise
            if not await self._may_replace(refusal):
                # In words of this program.
                refusal.message += " --replace does that."
                raise
        return await self._put(replace=True)

    async def _may_replace(self, refusal: Refusal) -> bool:
        """Ask, once, whether this file shall take the place of the one that is arriving."""
        if self._asked or not self._source.repeatable or not can_ask(self._console):
            return False
        self._asked = True
        return await agrees(f"{refusal.message} Replace it?", self._console)

    async def _put(self, *, replace: bool) -> Table:
        source = self._source
        await source.begin()
        try:
            body = self._shown(source.body(), Progress(self._console, source.name, source.size))
            return await self._client.put(
                self._link, self._name, body, source.size, replace=replace
            )
        except Refusal as refusal:
            if refusal.code == "upload_lost" and isinstance(source, Pipe):
                raise Failure(
                    f"{refusal.message} For what comes slowly there is `tablecast append`."
                ) from None
            raise
        finally:
            source.end()
            self._console.clear()

    @staticmethod
    async def _shown(body: AsyncIterator[bytes], progress: Progress) -> AsyncIterator[bytes]:
        async for piece in body:
            yield piece
            progress.add(len(piece))
