"""Correcting how a table is read, for everyone.

Encoding, delimiter and header are applied when a page is read, so correcting them is one change of
the register; what the report counts by them is counted again in the background (recount.py). What
decides where records end (quotes and escapes, or a delimiter where there are quotes) means that the
stored bytes are cut anew, as an upload that nobody sends.

No correction loses a byte. Where one turns the bytes into UTF-8 (the chosen encoding cannot be cut
as it is), those that came stay beside the new document as its `source`, and the next correction of
the encoding is made of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import convert, to_builtins
from msgspec.structs import asdict, replace

from server.accept.edge.access import NO_KEYS, Guard, Pass
from server.accept.files.recount import Recounts
from server.accept.files.upload import Recut
from server.accept.files.uploads import Uploads
from server.accept.files.versions import settled
from server.document.dialect import Dialect, check_dialect, needs_cut
from server.document.encodings import Encoding, byte_safe, canonical
from server.document.messages import Correct, Document, Page, Person, Source
from server.document.recount import not_counted
from server.errors import BadMessage, Conflict, NoDocument
from server.fanout import changes
from server.fanout.backend import Backend, Snapshot
from server.live.reader import Reader

# What presenters do, and whoever brings no key while the room is open.
CORRECTING = "change how the table is read"
_KEYLESS = NO_KEYS.changing(CORRECTING)
# How an encoding was found that leaves no doubt.
CERTAIN = ("mark", "valid")
# Encodings that bytes come back from as they were, once they have become characters.
EXACT = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "gb18030")
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

    async def correct(
        self, room: str, wanted: Correct, guard: Guard = _KEYLESS, by: Person | None = None
    ) -> None:
        """Returns when everyone sees it (for a new cut, when that is complete).

        `by`: who does it, for the others. Raises `BadMessage` for what cannot be read so,
        `NoDocument`, `UploadInProgress`, `Conflict`, and what `guard` says.
        """
        for _ in range(LOOKS):
            snapshot = await settled(self._backend, room)
            leave = guard(snapshot)
            shown = snapshot.registers.get("document")
            if shown is None:
                raise NoDocument("This room has no table yet. Upload one first.")
            document = convert(shown, Document)
            given = {name: value for name, value in asdict(wanted).items() if value is not None}
            report = document.report
            if wanted.encoding is not None and _came_as(document) == canonical(wanted.encoding):
                del given["encoding"]
            cut_from, turned = _cut_from(document) if "encoding" in given else (document, False)
            dialect = check_dialect(replace(cut_from.dialect, **given))
            if cut_from is document and dialect == document.dialect:
                return
            marks = report is None or "marks" in report.notes
            chosen = (*(report.chosen if report else ()), *given)
            chosen = tuple(dict.fromkeys(chosen))
            if cut_from is not document or needs_cut(document.dialect, dialect, marks=marks):
                source = _source(cut_from, dialect, turned=turned) or cut_from.source
                encoding = _encoding(document, dialect, given)
                recut = Recut(document, dialect, encoding, chosen, source)
                if await self._cut_again(room, shown, cut_from, recut, guard, by, turned=turned):
                    return
                continue
            revised = await self._read_so(room, document, dialect, chosen, by)
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
        self,
        room: str,
        document: Document,
        dialect: Dialect,
        chosen: tuple[str, ...],
        by: Person | None,
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
            corrected_by=by,
        )

    async def _cut_again(
        self,
        room: str,
        shown: Mapping[str, Any],
        cut_from: Document,
        recut: Recut,
        guard: Guard,
        by: Person | None,
        *,
        turned: bool,
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

        name, size = cut_from.name, None if turned else cut_from.stored
        ingest = self._uploads.open(room, name=name, size=size, recut=recut, by=by, guard=leave)
        try:
            try:
                await ingest.begin()
            except Conflict:
                return False
            begun = True
            async for data in self._reader.source(room, cut_from):
                if turned:
                    data = await asyncio.to_thread(_turned_back, data, cut_from.dialect.encoding)
                await ingest.feed(data)
            await ingest.finish()
            return True
        finally:
            await asyncio.shield(ingest.abort())


def _came_as(document: Document) -> str:
    """The encoding that the document is read in, of its bytes as they came."""
    return document.dialect.encoding if document.report is None else document.report.encoding


def _cut_from(document: Document) -> tuple[Document, bool]:
    """What is read in another encoding: the document, or that of which it was made, and whether
    its bytes have to be turned back from UTF-8 first.

    Raises `BadMessage` where the bytes as they came are there no more, or not all of them.
    """
    report, source = document.report, document.source
    if report is None or report.encoding == document.dialect.encoding:
        return document, False
    if source is None:
        # Where no doubt is left a correction can only be a mistake.
        doubtful = report.encoding_why not in CERTAIN
        if doubtful and not report.replaced and report.encoding in EXACT:
            dialect = replace(document.dialect, encoding=report.encoding)
            return replace(document, dialect=dialect), True
        why = ""
        if report.encoding_why in CERTAIN:
            why = ", which is certain"
        raise BadMessage(
            f"This file came as {report.encoding} and was turned into UTF-8{why}. "
            "If it is shown wrongly all the same, save it as UTF-8 and upload it again."
        )
    if document.stored != source.became:
        raise BadMessage(
            f"Rows were added since this table is read as {report.encoding}, and they would be "
            "lost. Upload the file again."
        )
    # What a person chose since is meant for whatever it is read as.
    chosen = {name: getattr(document.dialect, name) for name in report.chosen if name != "encoding"}
    came = replace(
        document,
        id=source.id,
        stored=source.stored,
        blocks=source.blocks,
        dialect=replace(source.dialect, **chosen),
        source=None,
    )
    return came, source.turned


def _turned_back(data: bytes, encoding: str) -> bytes:
    """The bytes as they came of whole records that were turned into UTF-8."""
    try:
        return data.decode().encode(encoding)
    except UnicodeError:
        raise BadMessage(
            f"Rows that are no UTF-8 were added since this table is read as {encoding}, and they "
            "would be lost. Upload the file again."
        ) from None


def _source(cut_from: Document, dialect: Dialect, *, turned: bool) -> Source | None:
    """What has to be kept where the bytes of `cut_from` become UTF-8."""
    if byte_safe(dialect.encoding, dialect.delimiter, dialect.quote, dialect.escape):
        return None
    return Source(
        id=cut_from.id,
        stored=cut_from.stored,
        blocks=cut_from.blocks,
        dialect=cut_from.dialect,
        became=0,
        turned=turned,
    )


def _encoding(document: Document, dialect: Dialect, given: Mapping[str, object]) -> Encoding:
    report = document.report
    if report is None or "encoding" in given:
        return Encoding(name=dialect.encoding, why="chosen")
    return Encoding(name=report.encoding, why=report.encoding_why)
