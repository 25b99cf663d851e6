"""The first half of an upload's way: bytes of a file in, batches of blocks out.

Everything that takes long is done in a thread. A spreadsheet is written to the disk as it comes,
and read as a table when all of it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from server.accept.files.spool import Spool
from server.accept.files.store import Batch
from server.document.blocks import BLOCK_SIZE, Block
from server.document.cutter import CutSoFar
from server.document.dialect import TSV, Dialect
from server.document.encodings import Encoding
from server.document.intake import Intake, SheetFile
from server.errors import UploadLost

# Source bytes after which a batch goes to the store.
BATCH_SIZE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes, but for `page_size` (rows), `lease` and `pause` (seconds)."""

    document: int
    record: int
    columns: int
    page_size: int
    lease: float
    pause: float
    # A conversion of a spreadsheet may take a GiB, so few run at once on a node.
    conversions: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


# Gets each batch before the next is cut, also one without blocks: there was work.
Put = Callable[[Batch], Awaitable[None]]


class Closed(NamedTuple):
    """What an intake said last: all that is kept of it, for it may hold a record of megabytes."""

    name: str
    so_far: CutSoFar
    is_plain: bool


class Cutting:
    """Give it the file by `feed` and `finish`, which raise what is wrong with it; then `close`.

    It holds no word of its user, so that it ends with the last one that is said of it. `notes`:
    codes that the report has from the beginning.
    """

    def __init__(
        self,
        name: str,
        limits: UploadLimits,
        *,
        sheet: str | None,
        dialect: Dialect | None,
        encoding: Encoding | None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.sheets: list[str] | None = None
        self._notes = notes
        self._name = name
        self._limits = limits
        self._sheet = sheet
        self._spool: Spool | None = None
        self._intake: Intake | Closed = self._new_intake(dialect=dialect, encoding=encoding)

    # API

    @property
    def name(self) -> str:
        """The table's name, which may be that of a file inside the file."""
        return self._intake.name

    @property
    def sheet(self) -> str | None:
        """Of a workbook: the one that is read."""
        return self._sheet if self.sheets is not None else None

    @property
    def so_far(self) -> CutSoFar:
        return self._intake.so_far

    @property
    def is_plain(self) -> bool:
        """As `Intake.is_plain`."""
        return self._intake.is_plain

    @property
    def is_sheet(self) -> bool:
        return self._spool is not None

    def go_on(self, so_far: CutSoFar) -> None:
        """What follows is the rest of the file."""
        self._intake = self._new_intake(so_far=so_far)

    async def feed(self, chunk: bytes, put: Put) -> None:
        """Returns when the next bytes are cut and taken."""
        if self._spool is not None:
            await asyncio.to_thread(self._spool.write, chunk)
            return
        intake = self._open()
        try:
            await _take(intake, intake.feed(chunk), put)
        except SheetFile as sheet:
            await self._begin_spool(sheet)

    async def finish(self, put: Put, converts: Callable[[], None]) -> None:
        """No more bytes come. `converts` is called when a spreadsheet is to be read, which takes
        its time."""
        if self._spool is None:
            intake = self._open()
            try:
                await _take(intake, intake.finish(), put)
            except SheetFile as sheet:
                await self._begin_spool(sheet)
        if self._spool is not None:
            await self._read_sheet(self._spool, put, converts)

    def close(self) -> None:
        """Hold nothing of the file any more. What was learnt of it stays."""
        intake = self._intake
        self._intake = Closed(intake.name, intake.so_far, intake.is_plain)
        if self._spool is not None:
            self._spool.close()

    # Internal

    def _open(self) -> Intake:
        """Raises `UploadLost` when it was closed."""
        if isinstance(self._intake, Closed):
            raise UploadLost("This upload has ended. Start it again.")
        return self._intake

    def _new_intake(
        self,
        *,
        dialect: Dialect | None = None,
        encoding: Encoding | None = None,
        so_far: CutSoFar | None = None,
    ) -> Intake:
        limits = self._limits
        return Intake(
            name=self._name,
            dialect=dialect,
            encoding=encoding,
            notes=self._notes,
            block_size=min(BLOCK_SIZE, limits.record),
            record_limit=limits.record,
            document_limit=limits.document,
            column_limit=limits.columns,
            so_far=so_far,
        )

    async def _begin_spool(self, sheet: SheetFile) -> None:
        self._spool = Spool(sheet.kind)
        await asyncio.to_thread(self._spool.write, sheet.head)

    async def _read_sheet(self, spool: Spool, put: Put, converts: Callable[[], None]) -> None:
        """Turn the spooled file into a table, as if that had been sent."""
        # Waiting for its turn is no silence either.
        converts()
        async with self._limits.conversions:
            opened = await asyncio.to_thread(spool.table, self._sheet)
            pieces, self._sheet, self.sheets, self._notes = opened
            intake = self._new_intake(dialect=TSV, encoding=Encoding(name="utf-8"))
            self._intake = intake
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                await _take(intake, intake.feed(piece), put)
                converts()
            await _take(intake, intake.finish(), put)


async def _take(intake: Intake, steps: Iterator[list[Block]], put: Put) -> None:
    """Do the intake's steps in a thread, and hand on the blocks of each before the next."""
    more = True
    while more:
        batch, more = await asyncio.to_thread(_some, intake, steps)
        await put(batch)


def _some(intake: Intake, steps: Iterator[list[Block]]) -> tuple[Batch, bool]:
    """Do steps until there is a batch or a step without blocks; whether there may be more.

    Several in one turn of a thread, because the turns themselves would take most of the time.
    """
    gathered: list[Block] = []
    more = False
    for blocks in steps:
        gathered += blocks
        if not blocks or sum(block.size for block in gathered) >= BATCH_SIZE:
            more = True
            break
    return Batch(gathered, intake.so_far), more
