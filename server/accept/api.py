"""The doors for programs: rooms, documents, pages and cells over HTTP."""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import quote

import msgspec
from aiohttp import web

from server.accept.edge.access import keys_of
from server.accept.edge.answers import Parts, chain, download
from server.accept.edge.bodies import IDLE_LIMIT, json_body
from server.accept.edge.content import Content
from server.accept.edge.guard import room_of, site_of
from server.accept.files.correct import CORRECTING, Corrector
from server.accept.files.upload import Ingest
from server.accept.files.uploads import Uploads
from server.accept.files.versions import SHOWING, show_version
from server.accept.keys import Founder, set_cookie
from server.accept.names import clean_color, clean_name, signed
from server.accept.turn import TURNING, turn_page
from server.accept.view import Rooms, RoomView
from server.document.blocks import BLOCK_SIZE
from server.document.encodings import charset
from server.document.messages import Correct, Document, Person, encode
from server.errors import (
    NoDocument,
    PageOutOfRange,
    TablecastError,
    UploadLost,
)
from server.fanout.backend import Backend
from server.live.paging import page_offset
from server.live.reader import Reader
from server.settings import Settings

# A slow body is cut this often, however little has come.
GATHER_SECONDS: Final = 1.0
# Bytes of a body gathered before they are cut: each cut costs a thread's turn.
GATHER: Final = 256 * 1024
# Bytes of a request that names a version.
VERSION_LIMIT: Final = 1024

# Who did it, where a program does not say so itself.
PROGRAM: Final = "A program"


class PageTurn(msgspec.Struct):
    page_no: int
    name: str = PROGRAM
    color: int = 0


class VersionBody(msgspec.Struct):
    version: int


class Correction(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of the message `dialect`."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool | None = None
    skip_lines: int | None = None


class ApiDoor:
    """Everything under `/api`."""

    def __init__(
        self,
        backend: Backend,
        rooms: Rooms,
        reader: Reader,
        uploads: Uploads,
        corrector: Corrector,
        founder: Founder,
        settings: Settings,
    ) -> None:
        self._backend = backend
        self._rooms = rooms
        self._reader = reader
        self._uploads = uploads
        self._corrector = corrector
        self._founder = founder
        self._settings = settings

    async def create_room(self, request: web.Request) -> web.StreamResponse:
        """A fresh room and its owner's key, which a browser may have as a cookie too."""
        made = await self._founder.make()
        url = f"{site_of(request, self._settings.trusted_proxies).origin}/t/{made.room}"
        answer = {"uuid": made.room, "url": url, "key": made.key}
        response = _json(answer, status=201, headers={"Location": url})
        if request.query.get("cookie") == "1":
            set_cookie(request, response, made, self._settings)
        return response

    async def get_room(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        room_view = await self._rooms.view(room)
        return _json(
            {
                "uuid": room,
                "epoch": room_view.epoch,
                "rev": room_view.rev,
                "set": room_view.registers,
            }
        )

    async def put_document(self, request: web.Request) -> web.StreamResponse:
        """The body is the file; `curl -T` sends it as it is read."""
        room = room_of(request)
        body = _Body(Content(request))
        ingest = self._uploads.open(
            room,
            name=request.query.get("name", ""),
            sheet=request.query.get("sheet"),
            replace=request.query.get("replace") == "true",
            by=signed(request.query.get("by", PROGRAM)),
            # With a Content-Encoding, what is announced is not the size of the file.
            size=None if "Content-Encoding" in request.headers else request.content_length,
            failed=body.fail,
            guard=keys_of(request, room).changing("send files"),
        )
        try:
            await ingest.begin()
            await body.feed(ingest)
            document = await ingest.finish()
        finally:
            # Cancelled or failed, the room gets its table back; after finish() this does nothing.
            await asyncio.shield(ingest.abort())
        return _json(document)

    async def get_document(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        document = self._document(await self._rooms.view(room))
        tag = f"{document.id}-{document.stored}"
        if _has(request, tag):
            return web.Response(
                status=304, headers={"Cache-Control": "no-store", "ETag": f'"{tag}"'}
            )
        name = quote(_file_name(document))
        parts = self._reader.source(room, document)
        # Bytes that are gone are told before an answer begins, wherever that is possible.
        first = await anext(parts, b"")
        response = web.StreamResponse(
            headers={
                "Content-Type": _source_type(document),
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
                "ETag": f'"{tag}"',
            }
        )
        response.content_length = document.stored
        all_of_it = chain(first, parts)
        return await download(request, response, all_of_it, room=room, document=document.id)

    async def get_page(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        room_view = await self._rooms.view(room)
        size = room_view.page.size if room_view.page else self._settings.page_size
        offset = page_offset(room_view.document, _number(request, "page_no", "page"), size)
        document = self._document(room_view)
        parts = await self._reader.page_parts(room, document, offset, size, rev=room_view.rev)
        return Parts(parts, content_type="application/json")

    async def put_page(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        limit = self._settings.message_limit
        turn = await json_body(request, PageTurn, '{"page_no": 7}', limit)
        known = await self._rooms.view(room)
        guard = keys_of(request, room).changing(TURNING)
        by = Person(id="", name=clean_name(turn.name), color=clean_color(turn.color, 0))
        rev = await turn_page(self._backend, room, turn.page_no, known.snapshot, guard, by)
        return _json({"page_no": turn.page_no, "rev": rev})

    async def put_version(self, request: web.Request) -> web.StreamResponse:
        """Show an earlier version, or a later one again, to everyone."""
        room = room_of(request)
        body = await json_body(request, VersionBody, '{"version": 2}', VERSION_LIMIT)
        guard, by = keys_of(request, room).changing(SHOWING), signed(request.query.get("by"))
        rev = await show_version(self._backend, room, body.version, guard, by)
        return _json({"version": body.version, "rev": rev})

    async def put_dialect(self, request: web.Request) -> web.StreamResponse:
        """Correct how the table is read, for everyone; answers when everyone sees it."""
        room = room_of(request)
        example = '{"delimiter": ";"} or the like'
        wanted = await json_body(request, Correction, example, self._settings.message_limit)
        guard = keys_of(request, room).changing(CORRECTING)
        correct = Correct(**msgspec.structs.asdict(wanted))
        await self._corrector.correct(room, correct, guard, signed(request.query.get("by")))
        return _json(self._document(await self._rooms.view(room)))

    async def get_cell(self, request: web.Request) -> web.StreamResponse:
        """The whole of a cell that a page shows shortened, as plain text."""
        room = room_of(request)
        document = self._document(await self._rooms.view(room))
        wanted = request.query.get("document")
        if wanted is not None and wanted != document.id:
            raise NoDocument("This table was replaced by a newer one since. Look again.")
        row, column = _number(request, "row", "row"), _number(request, "column", "column")
        cell = await self._reader.cell(room, document, row, column)
        return web.Response(
            text=cell,
            content_type="text/plain",
            charset="utf-8",
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )

    # Internal

    @staticmethod
    def _document(room_view: RoomView) -> Document:
        if room_view.document is None:
            raise NoDocument("This room has no table yet. Upload one first.")
        return room_view.document


class _Body:
    """The body of a PUT on its way into an upload, which may end while nothing comes."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._waiting: asyncio.Timeout | None = None

    def fail(self, error: TablecastError) -> None:
        """The upload ended by itself: wait for no more bytes of it."""
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def feed(self, ingest: Ingest) -> None:
        loop = asyncio.get_running_loop()
        gathered = bytearray()
        fed_at = loop.time()
        while data := await self._read(ingest):
            gathered += data
            # The first block shows the table, so nothing waits for it; nor for long afterwards.
            enough = GATHER if ingest.stored else BLOCK_SIZE
            if len(gathered) >= enough or loop.time() - fed_at > GATHER_SECONDS:
                await ingest.feed(bytes(gathered))
                gathered.clear()
                fed_at = loop.time()
        if gathered:
            await ingest.feed(bytes(gathered))

    async def _read(self, ingest: Ingest) -> bytes:
        """The next bytes, none at the end. Raises what ended the upload meanwhile."""
        ingest.alive()
        try:
            async with asyncio.timeout(IDLE_LIMIT) as self._waiting:
                return await self._content.readany()
        except TimeoutError:
            ingest.alive()
            raise UploadLost(
                f"No byte came for {IDLE_LIMIT:.0f} seconds, so the upload was given up."
            ) from None
        finally:
            self._waiting = None


def _number(request: web.Request, part: str, word: str) -> int:
    text = request.match_info[part]
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise PageOutOfRange(f"“{text[:40]}” is not a {word} number.")
    return int(text)


def _has(request: web.Request, tag: str) -> bool:
    """Whether whoever asks has what `tag` stands for (RFC 9110, 13.1.2)."""
    known = request.if_none_match or ()
    return any(each.value in (tag, "*") for each in known)


def _source_type(document: Document) -> str:
    """What the stored bytes are, as far as it has a name."""
    kinds = dict.fromkeys(("\t", ""), "text/tab-separated-values") | {",": "text/csv"}
    kind = kinds.get(document.dialect.delimiter, "text/plain")
    return f"{kind}; charset={charset(document.dialect.encoding)}"


def _file_name(document: Document) -> str:
    """Of a workbook only the cells of one sheet are stored, as tab-separated text."""
    if document.sheet is None:
        return document.name
    stem = document.name.rpartition(".")[0] or document.name
    several = len(document.sheets or ()) > 1
    sheet = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", document.sheet)
    return f"{stem} – {sheet}.tsv" if several else f"{stem}.tsv"


def _json(
    value: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=encode(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
