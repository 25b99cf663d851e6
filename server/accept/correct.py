"""Correcting how a table is read, for everyone.

Encoding, delimiter and header are applied when a page is read, so correcting them is one change of
the register; what the report counts by them is counted again in the background (recount.py). What
decides where records end (quotes and escapes, or a delimiter where there are quotes) means that the
stored bytes are cut anew, as an upload that nobody sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import convert, to_builtins
from msgspec.structs import asdict, replace

from server.accept.access import NO_KEYS, Guard, Pass
from server.accept.recount import Recounts
from server.accept.upload import Recut
from server.accept.uploads import Uploads
from server.accept.versions import settled
from server.document.dialect import Dialect, check_dialect, needs_cut
from server.document.encodings import Encoding
from server.document.messages import Correct, Document, Page
from server.document.recount import not_counted
from server.errors import BadMessage, Conflict, NoDocument
from server.fanout import changes
from server.fanout.backend import Backend, Snapshot
from server.live.reader import Reader

# What presenters do, and whoever brings no key while the room is open.
CORRECTING = "change how the table is read"
_KEYLESS = NO_KEYS.changing(CORRECTING)
# Looks at a room that someone else changes at the same time.
LOOKS = 5


class Corrector:
    """Reads tables in another way on request."""

    def __init__(
        self, backend: Backend, reader: Reader, uploads: Uploads, recounts: Recounts
    ) -> None:
        self._backend = backend
        self._reader = reader
        self._uploads = uploads
        self._recounts = recounts

    async def correct(self, room: str, wanted: Correct, guard: Guard = _KEYLESS) -> None:
        """Returns when everyone sees it (for a new cut, when that is complete).

        Raises `BadMessage` for what cannot be read so, `NoDocument`, `UploadInProgress`,
        `Conflict`, and what `guard` says.
        """
        for _ in range(LOOKS):
            snapshot = await settled(self._backend, room)
            leave = guard(snapshot)
            shown = snapshot.registers.get("document")
            if shown is None:
                raise NoDocument("This room has no table yet. Upload one first.")
            document = convert(shown, Document)
            given = {name: value for name, value in asdict(wanted).items() if value is not None}
            _check_encoding(document, given)
            dialect = check_dialect(replace(document.dialect, **given))
            if dialect == document.dialect:
                return
            report = document.report
            marks = report is None or "marks" in report.notes
            chosen = (*(report.chosen if report else ()), *given)
            chosen = tuple(dict.fromkeys(chosen))
            if needs_cut(document.dialect, dialect, marks=marks):
                recut = Recut(document, dialect, _encoding(document, dialect), chosen)
                if await self._cut_again(room, shown, recut, guard):
                    return
                continue
            revised = await self._read_so(room, document, dialect, chosen)
            change = changes.revise(snapshot, to_builtins(revised))
            change["expect"] |= leave.expect
            self._recounts.claim(change)
            page = convert(snapshot.registers["page"], Page)
            if page.offset >= max(1, revised.rows):
                offset = (max(0, revised.rows - 1) // page.size) * page.size
                change["set"]["page"] = to_builtins(replace(page, offset=offset))
            try:
                await self._backend.append(room, **change)
            except Conflict:
                continue  # rows came in between, or another correction
            self._recounts.begin(room, revised)
            return
        raise Conflict("The room changes too quickly just now; nothing was changed. Try again.")

    # Internal

    async def _read_so(
        self, room: str, document: Document, dialect: Dialect, chosen: tuple[str, ...]
    ) -> Document:
        first = await self._reader.header(
            room, replace(document, dialect=replace(dialect, header=True))
        )
        report = document.report
        if report is not None:
            report = replace(
                report,
                delimiter=dialect.delimiter,
                quote=dialect.quote,
                escape=dialect.escape,
                header=dialect.header,
                columns=len(first),
                chosen=chosen,
            )
            report = not_counted(report, document.dialect, dialect)
        return replace(
            document,
            dialect=dialect,
            rows=max(0, document.records - int(dialect.header)),
            columns=len(first),
            report=report,
        )

    async def _cut_again(
        self, room: str, shown: Mapping[str, Any], recut: Recut, guard: Guard
    ) -> bool:
        """False if it did not begin, because something else than `shown` is there by now.

        What is cut are the bytes that it has: rows that were added since, or another table, would
        be gone without anybody having wanted it.
        """
        begun = False

        def leave(snapshot: Snapshot) -> Pass:
            registers = snapshot.registers
            if not begun and not registers.get("upload") and registers.get("document") != shown:
                raise Conflict("The table has changed in between; nothing was corrected.")
            return guard(snapshot)

        document = recut.document
        ingest = self._uploads.open(
            room, name=document.name, size=document.stored, recut=recut, guard=leave
        )
        try:
            try:
                await ingest.begin()
            except Conflict:
                return False
            begun = True
            async for data in self._reader.source(room, document):
                await ingest.feed(data)
            await ingest.finish()
            return True
        finally:
            await asyncio.shield(ingest.abort())


def _check_encoding(document: Document, given: dict[str, object]) -> None:
    report = document.report
    if "encoding" in given and report and report.encoding != document.dialect.encoding:
        raise BadMessage(
            f"This file came as {report.encoding} and was turned into UTF-8, which is certain. "
            "If it is shown wrongly all the same, save it as UTF-8 and upload it again."
        )


def _encoding(document: Document, dialect: Dialect) -> Encoding:
    report = document.report
    if report is None or dialect.encoding != document.dialect.encoding:
        return Encoding(name=dialect.encoding, why="chosen")
    return Encoding(name=report.encoding, why=report.encoding_why)
