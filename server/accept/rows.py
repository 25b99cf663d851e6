"""Rows for other programs: any range, or a page, as JSON, NDJSON, TSV or CSV, streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from server.accept.edge.answers import download
from server.accept.edge.guard import room_of
from server.accept.view import Rooms
from server.document import formats
from server.document.formats import FORMATS, Format
from server.document.messages import Document
from server.errors import BadMessage, NoDocument, NotFound, PageOutOfRange
from server.live.paging import page_offset
from server.live.reader import Reader
from server.settings import Settings

# Other names that programs know the formats by, besides the ones that they are sent under.
_ALIASES: Final = {
    "application/ndjson": formats.NDJSON,
    "application/jsonl": formats.NDJSON,
    "text/json": formats.JSON,
}
_MEDIA_TYPES: Final = {format.media_type: format for format in FORMATS.values()} | _ALIASES
_FORMULAS: Final = ("keep", "defuse")


class RowsDoor:
    """`GET /api/rooms/{uuid}/rows[.ext]?start=&count=` and `GET /api/rooms/{uuid}/pages/{n}[.ext]`.

    `formulas=defuse` puts an apostrophe before cells that a spreadsheet would run. A page as JSON
    is the message that viewers get, from `page_message`.
    """

    def __init__(
        self, rooms: Rooms, reader: Reader, settings: Settings, page_message: Handler
    ) -> None:
        self._rooms = rooms
        self._reader = reader
        self._settings = settings
        self._page_message = page_message

    # API

    async def rows(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        format, defuse = _format(request), _defuse(request)
        start, count = _number(request, "start"), _number(request, "count")
        document = self._document(request, (await self._rooms.view(room)).document)
        if start is None:
            start = 1
        elif start < 1:
            raise PageOutOfRange("Rows are counted from 1.")
        left = max(0, document.rows - start + 1)
        count = left if count is None else min(left, count)
        return await self._send(request, room, document, format, defuse, start, count)

    async def page(self, request: web.Request) -> web.StreamResponse:
        format, defuse = _format(request), _defuse(request)
        if format is formats.JSON:
            response = await self._page_message(request)
            response.headers["Vary"] = "Accept"
            return response
        room = room_of(request)
        room_view = await self._rooms.view(room)
        size = room_view.page.size if room_view.page else self._settings.page_size
        document = self._document(request, room_view.document)
        offset = page_offset(document, _page_no(request), size)
        count = max(0, min(size, document.rows - offset))
        return await self._send(request, room, document, format, defuse, offset + 1, count)

    # Internal

    @staticmethod
    def _document(request: web.Request, document: Document | None) -> Document:
        if document is None:
            raise NoDocument("This room has no table yet. Upload one first.")
        if request.query.get("document", document.id) != document.id:
            raise NoDocument("This table was replaced by a newer one since. Look again.")
        return document

    async def _send(
        self,
        request: web.Request,
        room: str,
        document: Document,
        format: Format,
        defuse: bool,
        start: int,
        count: int,
    ) -> web.StreamResponse:
        header = await self._reader.header(room, document)
        writer = formats.writer(format, header, first_row=start, total=document.rows, defuse=defuse)
        begin = writer.begin()
        parts = self._reader.rows(room, document, start, count, writer.rows)
        # Rows that are gone are told before an answer begins, wherever that is possible.
        first = await anext(parts, b"")
        stem = document.name.rpartition(".")[0] or document.name
        response = web.StreamResponse(
            headers={
                "Content-Type": f"{format.media_type}; charset=utf-8",
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(stem)}.{format.name}",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
                "Vary": "Accept",
                "Tablecast-Document": document.id,
            }
        )

        async def all_of_it() -> AsyncIterator[bytes]:
            yield begin
            yield first
            async for rows in parts:
                yield rows
            yield writer.end()

        return await download(request, response, all_of_it(), room=room, document=document.id)


def _format(request: web.Request) -> Format:
    """By the address's extension, else what `Accept` likes best, else JSON."""
    extension = request.match_info.get("extension")
    if extension is not None:
        if extension not in FORMATS:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise NotFound(f"There is no format .{extension:.20}; there are {known}.")
        return FORMATS[extension]
    best, most = formats.JSON, 0.0
    for part in request.headers.get("Accept", "").split(","):
        media_type, *parameters = part.lower().split(";")
        found = _MEDIA_TYPES.get(media_type.strip())
        weight = _weight(parameters)
        if found is not None and weight > most:
            best, most = found, weight
    return best


def _weight(parameters: list[str]) -> float:
    """The `q` of a media type in `Accept` (RFC 9110, 12.4.2): 1 where there is none."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _defuse(request: web.Request) -> bool:
    wanted = request.query.get("formulas", "keep")
    if wanted not in _FORMULAS:
        raise BadMessage("`formulas` is `keep` (the default) or `defuse`.")
    return wanted == "defuse"


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise BadMessage(f"`{name}` must be a whole number, not “{text[:40]}”.")
    return int(text)


def _page_no(request: web.Request) -> int:
    text = request.match_info["page_no"]
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise PageOutOfRange(f"“{text[:40]}” is not a page number.")
    return int(text)
