"""The pages: start, room, and what makes a room. Everything on them reads without JavaScript."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import web
from msgspec.structs import replace
from yarl import URL

from server.accept.chat import given_name
from server.accept.edge.access import Role, keys_of
from server.accept.edge.guard import room_of, site_of
from server.accept.files.uploads import Uploads
from server.accept.keys import Founder, Made, set_cookie
from server.accept.view import Rooms, RoomView
from server.document.encodings import CHOICES
from server.document.messages import Document, PageMessage, Said, State, encode
from server.document.sheets import reads_parquet
from server.errors import Missing, PageOutOfRange, Unavailable
from server.live.paging import page_count, page_offset
from server.live.reader import Reader
from server.live.talk import Render, told
from server.live.work import in_thread
from server.settings import Settings

SAMPLE_NAME: Final = "trips.tsv"
# Bytes of what a page shows beyond which it is rendered in a thread: milliseconds of work.
THREAD_FROM: Final = 32 * 1024
# Bytes of the sample fed at a time.
SAMPLE_STEP: Final = 256 * 1024

# Quotes of those who write are escaped, so this is in links alone.
_PLACE: Final = re.compile(r'href="#(?P<place>r(?P<row>[0-9]{1,12})(?:c(?P<column>[0-9]{1,5}))?)"')
_NUMBER: Final = re.compile(r"[-+−]?(\d{1,3}([,\u202f\u00a0 ]\d{3})+|\d+)?([.,]\d+)?%?")


class SiteDoor:
    """`GET /`, `GET /t/{uuid}`, `POST /rooms`, `POST /sample`."""

    def __init__(
        self,
        founder: Founder,
        rooms: Rooms,
        reader: Reader,
        uploads: Uploads,
        settings: Settings,
        node: str,
        web_root: Path,
        render: Render,
    ) -> None:
        self._founder = founder
        self._rooms = rooms
        self._reader = reader
        self._uploads = uploads
        self._settings = settings
        self._node = node
        self._render = render
        # What this node can read, as the pages offer it.
        self._kinds = ["TSV", "CSV", "Excel", "OpenDocument", *(["Parquet"] * reads_parquet())]
        self._sample = web_root / "sample" / SAMPLE_NAME

    async def start(self, request: web.Request) -> web.StreamResponse:
        context = {
            "node": self._node,
            "limit_text": filesize(self._settings.document_limit),
            "kinds": self._kinds,
        }
        return _uncached(aiohttp_jinja2.render_template("start.html", request, context))

    async def room(self, request: web.Request) -> web.StreamResponse:
        room = room_of(request)
        if request.match_info["uuid"] != room:
            raise web.HTTPFound(
                URL.build(
                    path=f"/t/{room}", query_string=request.rel_url.raw_query_string, encoded=True
                )
            )
        room_view: RoomView | None = None
        payload: bytes | None = None
        try:
            room_view = await self._rooms.view(room)
            payload = await self._page(request, room, room_view)
        except (Unavailable, Missing):
            # The page's script keeps trying; without it the page says what is the matter.
            pass

        def render() -> web.Response:
            page = msgspec.json.decode(payload, type=PageMessage) if payload else None
            context = self._context(request, room, room_view, page, chat)
            status = HTTPStatus.GONE if context["deleted"] else HTTPStatus.OK
            return aiohttp_jinja2.render_template("room.html", request, context, status=status)

        async with self._reader.work.piece():
            chat = await told(room_view.chat, self._render) if room_view else []
            large = len(payload or b"") + sum(len(said.html) for said in chat) > THREAD_FROM
            return _uncached(await in_thread(render) if large else render())

    async def make_room(self, request: web.Request) -> web.StreamResponse:
        """A fresh room, whose key only the browser's cookie knows."""
        raise self._to_room(request, await self._founder.make())

    async def sample(self, request: web.Request) -> web.StreamResponse:
        """A fresh room with the sample in it."""
        made = await self._founder.make()
        data = await asyncio.to_thread(self._sample.read_bytes)
        ingest = self._uploads.open(
            made.room,
            name=SAMPLE_NAME,
            size=len(data),
            guard=made.keys.changing("send files"),
        )
        try:
            await ingest.begin()
            for start in range(0, len(data), SAMPLE_STEP):
                await ingest.feed(data[start : start + SAMPLE_STEP])
            await ingest.finish()
        finally:
            await ingest.abort()
        raise self._to_room(request, made)

    # Internal

    def _to_room(self, request: web.Request, made: Made) -> web.HTTPSeeOther:
        answer = web.HTTPSeeOther(f"/t/{made.room}")
        set_cookie(request, answer, made, self._settings)
        return answer

    async def _page(self, request: web.Request, room: str, room_view: RoomView) -> bytes | None:
        document = room_view.document
        if document is None:
            return None
        size = room_view.page.size if room_view.page else self._settings.page_size
        offset = room_view.offset
        wanted = request.query.get("page")
        if wanted:
            if not re.fullmatch(r"[0-9]{1,12}", wanted):
                raise PageOutOfRange(f"“{wanted[:40]}” is not a page number.")
            offset = page_offset(document, int(wanted), size)
        return await self._reader.page(room, document, offset, size)

    def _context(
        self,
        request: web.Request,
        room: str,
        room_view: RoomView | None,
        page: PageMessage | None,
        chat: Sequence[Said],
    ) -> dict[str, Any]:
        document: Document | None = room_view.document if room_view else None
        role = Role.GUEST
        boot: dict[str, Any] = {"uuid": room, "state": None}
        if room_view is not None:
            role = keys_of(request, room).role(room_view.snapshot)
            boot["state"] = State(
                uuid=room,
                epoch=room_view.epoch,
                rev=room_view.rev,
                set=room_view.registers,
                whole=True,
            )
        rows = document.rows if document and page else 0
        size = page.page_size if page else 1
        return {
            "uuid": room,
            "node": self._node,
            "role": role.value,
            "share_url": f"{site_of(request, self._settings.trusted_proxies).origin}/t/{room}",
            "document": document,
            "chat": [replace(each, html=placed(each.html, rows, size)) for each in chat],
            "named_cells": {cell for each in chat for cell in named_cells(each.html)},
            "own_name": given_name(request),
            "page": page,
            "upload": room_view.upload if room_view else None,
            "page_count": page_count(document.rows, page.page_size) if document and page else 1,
            "numeric": numeric_columns(page) if page else [],
            "degraded": room_view is None,
            "deleted": bool(room_view and room_view.registers.get("deleted")),
            "room_life": int(self._settings.room_life),
            "encodings": CHOICES,
            "kinds": self._kinds,
            "boot_json": json_for_script(boot),
        }


def placed(html: str, rows: int, size: int) -> str:
    """A message's `html` whose places in a table of `rows` are links to their pages of `size`."""

    def link(found: re.Match[str]) -> str:
        row = int(found["row"])
        page = f"?page={-(-row // size)}" if row <= rows else ""
        return f'href="{page}#{found["place"]}"'

    return _PLACE.sub(link, html)


def named_cells(html: str) -> list[tuple[int, int]]:
    """Rows and columns, both from 1, of the cells that a message links to."""
    places = _PLACE.finditer(html)
    return [(int(each["row"]), int(each["column"])) for each in places if each["column"]]


def numeric_columns(page: PageMessage) -> list[bool]:
    """For each column whether all its cells on this page that hold anything look like numbers."""
    width = max([len(page.header), *map(len, page.data)], default=0)
    numeric = [False] * width
    for column in range(width):
        cells = [row[column] for row in page.data if column < len(row) and row[column]]
        numeric[column] = bool(cells) and all(is_number(cell) for cell in cells)
    return numeric


def is_number(cell: str) -> bool:
    cell = cell.strip()
    return len(cell) < 40 and any(c.isdigit() for c in cell) and bool(_NUMBER.fullmatch(cell))


def json_for_script(value: Any) -> str:
    """JSON that may stand inside a <script type="application/json"> element."""
    text = encode(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def number(value: int) -> str:
    """1,000,000"""
    return f"{value:,}"


def filesize(value: int) -> str:
    """94.5 MB (decimal units, as file managers show them; 1 GiB is shown as 1 GB)."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{value} bytes" if value != 1 else "1 byte"


def moment(milliseconds: int) -> str:
    """A time in ms since 1970 for machines: 2024-05-01T10:41:07Z"""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def clock(milliseconds: int) -> str:
    """The same for people, who may be anywhere: 10:41 UTC"""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%H:%M} UTC"


def set_up_templates(app: web.Application, web_root: Path) -> None:
    aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(web_root / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        filters={"number": number, "filesize": filesize, "moment": moment, "clock": clock},
    )


def _uncached(response: web.Response) -> web.Response:
    """A room's page is true for a moment only; a stale one from the back button would mislead."""
    response.headers["Cache-Control"] = "no-store"
    return response
