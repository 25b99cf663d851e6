"""The upload of one viewer: what its socket's messages about sending a file do.

A viewer who vanishes in the middle has not given its upload up: with the token from its first `ack`
it goes on over another connection, on any node.

One connection sends one file at a time. Each chunk is answered, by an `ack` or by an error; what is
still on its way after an error is passed over in silence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import UNSET

from server.accept.edge.access import Guard, new_key
from server.accept.files.upload import SENDING, Ingest
from server.accept.files.uploads import Uploads
from server.document.messages import Ack, Person, ServerMessage, StartUpload
from server.errors import (
    BadMessage,
    NoUpload,
    TablecastError,
    TooLarge,
    UploadInProgress,
    UploadLost,
    UploadReplaced,
)

# Seconds in which the uploader's own next message meets the error of an upload that failed.
FAILURE_GRACE: Final = 1.0


class Sender:
    """Whoever calls it answers its errors, as being about an upload.

    `tell` sends a message, `refuse` an error that comes by itself; both raise ConnectionResetError
    when the viewer is gone. `catch_up` returns when the viewer knows the room as it is now, so that
    it can tell why its upload is over. `heard_at`: when its last byte came. `chunk_limit` in bytes.
    `by`: who sends, for the others.
    """

    def __init__(
        self,
        uploads: Uploads,
        room: str,
        *,
        chunk_limit: int,
        tell: Callable[[ServerMessage], Awaitable[None]],
        refuse: Callable[[TablecastError], Awaitable[None]],
        catch_up: Callable[[], Awaitable[None]],
        heard_at: Callable[[], float] | None = None,
        guard: Guard = SENDING,
    ) -> None:
        self._uploads = uploads
        self._room = room
        self._chunk_limit = chunk_limit
        self._tell = tell
        self._refuse = refuse
        self._catch_up = catch_up
        self._heard_at = heard_at
        self.by: Person | None = None
        self._guard = guard
        self._ingest: Ingest | None = None
        self._is_lasting = False  # the viewer was told how to go on with it
        self._failed: asyncio.Task[None] | None = None
        # What is left of an upload that was refused or has failed may still be on its way.
        self._leftovers = False

    # API

    async def start(self, message: StartUpload) -> None:
        if self._ingest is not None:
            raise UploadInProgress(
                "You are sending a file already. Wait until it is complete, or cancel it."
            )
        self._leftovers = True
        if message.size is not None and message.size < 0:
            raise BadMessage(f"A file cannot have {message.size} bytes. Leave `size` out instead.")
        ingest = self._uploads.open(
            self._room,
            name=message.name,
            size=message.size,
            sheet=message.sheet,
            by=self.by,
            token=message.resume or new_key(),
            resume=message.resume is not None,
            replace=message.replace,
            failed=lambda error: self._upload_failed(ingest, error),
            heard_at=self._heard_at,
            guard=self._guard,
        )
        self._ingest = ingest
        # What is to go on stays as it was if it does not now.
        self._is_lasting = message.resume is not None
        try:
            await ingest.begin()
        except TablecastError as error:
            await self._leave()
            await self._explain(error)
            raise
        self._leftovers = False
        self._is_lasting = True
        await self._ack(first=True)

    async def chunk(self, chunk: bytes) -> None:
        ingest = self._ingest
        if ingest is None:
            if not self._leftovers:
                self._leftovers = True
                raise NoUpload("A chunk came, but no upload is open. Send `upload` first.")
            return
        if ingest.is_paused:
            return
        limit = self._chunk_limit
        try:
            if len(chunk) > limit:
                raise TooLarge(
                    f"This chunk has {len(chunk):,} bytes; at most {limit:,} are allowed.",
                    what="chunk",
                    limit=limit,
                )
            await ingest.feed(chunk)
        except TablecastError as error:
            await self._fail(ingest, error)
        await self._ack()

    async def end(self) -> None:
        ingest = self._open_upload()
        if ingest is None or ingest.is_paused:
            return
        try:
            await ingest.finish()
        except TablecastError as error:
            await self._fail(ingest, error)
        else:
            self._ingest = None
            await self._ack(ingest, done=True)

    async def cancel(self) -> None:
        if self._open_upload() is not None:
            await self._give_up()

    async def close(self) -> None:
        """The viewer is gone: its upload waits for it, if it knows how to go on."""
        if self._failed is not None:
            self._failed.cancel()
        await asyncio.shield(self._leave())

    # Internal

    def _open_upload(self) -> Ingest | None:
        """The upload that is to end; None for one whose failure was told already."""
        if self._ingest is None and not self._leftovers:
            raise NoUpload("No upload is open on this connection.")
        self._leftovers = False
        return self._ingest

    async def _leave(self) -> None:
        if self._is_lasting and self._ingest is not None:
            # Until the next one is opened its messages are about this one, which goes on elsewhere.
            self._leftovers = True
            ingest, self._ingest = self._ingest, None
            await ingest.pause()
        else:
            await self._give_up()

    async def _fail(self, ingest: Ingest, error: TablecastError) -> None:
        """Raise what is wrong, unless it is only that the upload goes on elsewhere."""
        if not ingest.is_paused:
            await self._give_up()
            await self._explain(error)
            raise error

    async def _explain(self, error: TablecastError) -> None:
        """What the room shows must not be older than the word that the upload is over."""
        if isinstance(error, UploadLost | UploadReplaced):
            await self._catch_up()

    async def _give_up(self) -> None:
        ingest, self._ingest = self._ingest, None
        self._leftovers = True
        if ingest is not None:
            await ingest.abort()

    def _upload_failed(self, ingest: Ingest, error: TablecastError) -> None:
        """The upload ended by itself while its uploader says nothing: tell it."""
        if self._failed is not None:
            self._failed.cancel()
        self._failed = asyncio.create_task(self._tell_failed(ingest, error), name="upload failed")

    async def _tell_failed(self, ingest: Ingest, error: TablecastError) -> None:
        # A call that is in progress raises the same error; then there is nothing left to tell.
        await asyncio.sleep(FAILURE_GRACE)
        if self._ingest is ingest:
            with contextlib.suppress(ConnectionResetError):
                await self._give_up()
                await self._explain(error)
                await self._refuse(error)

    async def _ack(
        self, ingest: Ingest | None = None, *, first: bool = False, done: bool = False
    ) -> None:
        ingest = ingest or self._ingest
        if ingest is not None and not ingest.is_paused:
            await self._tell(
                Ack(
                    upload=ingest.id,
                    received=ingest.received,
                    stored=ingest.stored,
                    done=done,
                    token=ingest.token if first and ingest.survives else UNSET,
                )
            )
