"""Rows for other programs: any range, or a page, as JSON, NDJSON, TSV or CSV, streamed."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from aiohttp import web

from server.accept.guard import room_of
from server.accept.view import view
from server.document import formats
from server.document.formats import FORMATS, Format
from server.document.messages import Document
from server.errors import BadMessage, NoDocument, NotFound, PageOutOfRange
from server.fanout.backend import Backend
from server.live.reader import Reader, page_offset
from server.settings import Settings

# The formats of `Accept`, besides the media types of the formats themselves.
_ALIASES: Final = {"application/ndjson": formats.NDJSON, "application/jsonl": formats.NDJSON}
_DEFUSE: Final = "defuse"


class RowsDoor:
    """`GET /api/rooms/{uuid}/rows[.ext]?start=&count=` and `GET /api/rooms/{uuid}/pages/{n}.ext`.

    `formulas=defuse` puts an apostrophe before cells that a spreadsheet would run.
    """

    def __init__(self, backend: Backend, reader: Reader, settings: Settings) -> None:
        self._backend = backend
        self._reader = reader
        self._settings = settings

    async def rows(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        format = _format(request)
        document = (await view(self._backend, room)).document
        if document is None:
            raise NoDocument("This room has no table yet. Upload one first.")
        start = _number(request, "start", 1)
        if start < 1:
            raise PageOutOfRange("Rows are counted from 1.")
        left = max(0, document.rows - start + 1)
        count = min(left, _number(request, "count", left))
        return await self._send(request, room, document, format, start, count)

    async def page(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        format = _format(request)
        room_view = await view(self._backend, room)
        size = room_view.page.size if room_view.page else self._settings.page_size
        offset = page_offset(room_view.document, int(request.match_info["page_no"]), size)
        document = room_view.document
        assert document is not None
        count = max(0, min(size, document.rows - offset))
        return await self._send(request, room, document, format, offset + 1, count)

    # Internal

    async def _send(
        self,
        request: web.Request,
        room: str,
        document: Document,
        format: Format,
        start: int,
        count: int,
    ) -> web.StreamResponse:
        header = await self._reader.header(room, document)
        defuse = _defuse(request)
        writer = formats.writer(format, header, first_row=start, total=document.rows, defuse=defuse)
        stem = document.name.rpartition(".")[0] or document.name
        response = web.StreamResponse(
            headers={
                "Content-Type": f"{format.media_type}; charset=utf-8",
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(stem)}.{format.name}",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
            }
        )
        await response.prepare(request)
        await response.write(writer.begin())
        async for rows in self._reader.rows(room, document, start, count):
            await response.write(writer.rows(rows))
        await response.write(writer.end())
        await response.write_eof()
        return response


def _format(request: web.Request) -> Format:
    """By the address's extension, else by `Accept`, else JSON."""
    extension = request.match_info.get("extension")
    if extension is not None:
        if extension not in FORMATS:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise NotFound(f"There is no format .{extension:.20}; there are {known}.")
        return FORMATS[extension]
    accepted = request.headers.get("Accept", "")
    by_type = {format.media_type: format for format in FORMATS.values()} | _ALIASES
    for part in accepted.split(","):
        found = by_type.get(part.partition(";")[0].strip().lower())
        if found is not None:
            return found
    return formats.JSON


def _defuse(request: web.Request) -> bool:
    wanted = request.query.get("formulas")
    if wanted not in (None, _DEFUSE, "keep"):
        raise BadMessage("`formulas` is `keep` (the default) or `defuse`.")
    return wanted == _DEFUSE


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise BadMessage(f"`{name}` must be a whole number, not “{text[:40]}”.")
    return int(text)
