"""The words of the original clients, who know a table and a chat and nothing else.

To them a table is records, 100 a page, with the header as the first of them, and there is none
before it is complete. A room's page is known to all others by the rows before it; which of these
pages shows it, and which rows come before one of these, is decided here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from server.document.messages import (
    Document,
    ErrorMessage,
    HereMessage,
    Page,
    PointMessage,
    Said,
    encode,
)
from server.live.cache import ByteCache
from server.live.frames import EMPTY, Frame, encode_frame, join
from server.live.paging import page_count
from server.live.reader import Reader
from server.live.wording import View

PAGE_SIZE: Final = 100
# Bytes of frames of the chat that are kept: two tails of the longest messages.
KEPT_BYTES: Final = 4 * 1024 * 1024


class Table(msgspec.Struct, kw_only=True):
    """A page as the original clients know it: pages count from 1, records with the header."""

    uuid: str
    page_no: int
    total_number: int
    data: msgspec.Raw | list[list[str]]


class Words(msgspec.Struct, kw_only=True):
    """A message of the chat as the original clients know it."""

    id: str
    body: str
    html: str


class _Silence:
    """Has no words for anything; what a kind of client knows is said by a kind of this."""

    def view(self, registers: Mapping[str, Any]) -> View | None:
        return None

    async def page(self, uuid: str, view: View, rev: int) -> bytes:
        return b""  # not asked for where there is nothing to view

    def state(self, uuid: str, epoch: str, rev: int, set: dict[str, Any], whole: bool) -> Frame:
        return EMPTY

    def chat(self, epoch: str, messages: Sequence[Said], whole: bool) -> Frame:
        return EMPTY

    def here(self, message: HereMessage) -> Frame:
        return EMPTY

    def point(self, message: PointMessage) -> Frame:
        return EMPTY

    def status(self, degraded: bool) -> Frame:
        return EMPTY

    def error(self, message: ErrorMessage) -> Frame:
        return EMPTY

    def heartbeat(self, epoch: str, rev: int) -> Frame:
        return EMPTY

    def bye(self, reason: str, again: bool) -> Frame:
        return EMPTY


class TableWording(_Silence):
    """For those who look at a table."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def view(self, registers: Mapping[str, Any]) -> View | None:
        found = _shown(registers)
        if found is None:
            return None
        document, page = found
        records = _as_rows(document)
        offset = (page_of(document, page.offset) - 1) * PAGE_SIZE
        rows = max(0, min(PAGE_SIZE, records.rows - offset))
        # Whoever turned is to see that something came of it, even where somebody else was as quick
        # to turn back; and each page says how many records there are.
        return View(records, offset, PAGE_SIZE, rows, (records.rows, page.at))

    async def page(self, uuid: str, view: View, rev: int) -> bytes:
        document, offset = view.document, view.offset
        table = Table(
            uuid=uuid,
            page_no=offset // PAGE_SIZE + 1,
            total_number=document.rows,
            data=await self._reader.data(uuid, document, offset, PAGE_SIZE),
        )
        return encode(table)


class ChatWording(_Silence):
    """For those who chat."""

    def __init__(self) -> None:
        self._kept: ByteCache[tuple[str, str], Frame] = ByteCache(KEPT_BYTES)
        self._lock = threading.Lock()  # a whole chat is told in a thread

    def chat(self, epoch: str, messages: Sequence[Said], whole: bool) -> Frame:
        return join(*map(self._told, messages))

    def _told(self, said: Said) -> Frame:
        """Each message is a message by itself, so one that was told is not built again."""
        key = (said.id, said.body)
        with self._lock:
            frame = self._kept.get(key)
            if frame is None:
                frame = encode_frame(encode(Words(id=said.id, body=said.body, html=said.html)))
                self._kept.put(key, frame, len(frame.plain) + len(frame.deflated))
        return frame


def page_of(document: Document, offset: int) -> int:
    """Which page, from 1, has the row after the first `offset` ones."""
    record = offset + int(document.dialect.header)
    return min(page_count(document.records, PAGE_SIZE), record // PAGE_SIZE + 1)


def offset_of(document: Document, page_no: int) -> int:
    """The rows before page `page_no`: `page_of` of them is `page_no` again."""
    return max(0, (page_no - 1) * PAGE_SIZE - int(document.dialect.header))


def _shown(registers: Mapping[str, Any]) -> tuple[Document, Page] | None:
    """The table that is shown and its page; until one is complete, those that it replaces."""
    document, page = registers.get("document"), registers.get("page")
    if document is not None and not document["complete"]:
        upload = registers.get("upload") or {}
        document, page = upload.get("previous"), upload.get("previous_page")
    if document is None or page is None or page["document"] != document["id"]:
        return None
    return msgspec.convert(document, Document), msgspec.convert(page, Page)


def _as_rows(document: Document) -> Document:
    """The same table with its header as an ordinary row."""
    dialect = msgspec.structs.replace(document.dialect, header=False)
    return msgspec.structs.replace(document, dialect=dialect, rows=document.records)
