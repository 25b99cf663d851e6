"""What a report tells, counted again in the stored blocks as another dialect reads them.

Where a correction moves no record's end, the blocks stay as they are, and only the numbers of cells
and of characters that cannot be read are others. Counting them costs what reading the bytes does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from server.document.blocks import decompress
from server.document.cutter import begin_report
from server.document.dialect import Dialect, without_quotes
from server.document.pages import without_lead
from server.document.report import ParseReport, ReportBuilder
from server.document.scan import Scanner

NOT_COUNTED: Final = "not_counted"
"""A note: `ragged` and `replaced` say nothing yet, because the table was read otherwise before."""

_BAD_BYTES = "bad_bytes"


def not_counted(report: ParseReport, old: Dialect, new: Dialect) -> ParseReport:
    """`report` without what was counted by `old` and says nothing of `new`."""
    if old.delimiter != new.delimiter:
        report = replace(report, ragged=0, ragged_records=())
    if old.encoding != new.encoding:
        notes = tuple(note for note in report.notes if note != _BAD_BYTES)
        report = replace(
            report, encoding=new.encoding, encoding_why="chosen", replaced=0, notes=notes
        )
    if old.delimiter != new.delimiter or old.encoding != new.encoding:
        report = replace(report, notes=tuple(dict.fromkeys((*report.notes, NOT_COUNTED))))
    return report


class Recount:
    """Counts a document's blocks by `dialect`, in their order; one call at a time, in any thread.

    `blocks`: how many were counted for good.
    """

    def __init__(self, dialect: Dialect, *, record_limit: int) -> None:
        self.blocks = 0
        self._dialect = dialect
        self._record_limit = record_limit
        literal = without_quotes(dialect)
        self._by = {False: (dialect, Scanner(dialect)), True: (literal, Scanner(literal))}
        self._counted = begin_report(dialect)

    def add(self, blocks: Sequence[tuple[bytes, bool]]) -> None:
        """Count the next blocks: each as it is stored, and whether it is `literal`.

        Raises `Missing` for what is no block.
        """
        for data, literal in blocks:
            self._counted = self._with(data, literal, None)
            self.blocks += 1

    def told(self, report: ParseReport, last: tuple[bytes, bool], size: int) -> ParseReport:
        """The document's `report` with the counts, once all blocks but its last were added.

        `last`: that block, of which the document has the first `size` source bytes; it may get
        longer, so it is counted anew each time.
        """
        counted = self._with(*last, size)
        notes = dict.fromkeys(note for note in report.notes if note != NOT_COUNTED)
        changes: dict[str, object] = {
            "ragged": counted.ragged,
            "ragged_records": counted.ragged_records,
        }
        # What was turned into UTF-8 was counted then, in bytes that are not there any more.
        if report.encoding == self._dialect.encoding:
            changes["replaced"] = counted.replaced
            if _BAD_BYTES in counted.notes:
                notes[_BAD_BYTES] = None
        return replace(report, notes=tuple(notes), **changes)

    @property
    def records(self) -> int:
        """Records in the blocks that were added."""
        return self._counted.records

    # Internal

    def _with(self, data: bytes, literal: bool, size: int | None) -> ParseReport:
        source = decompress(data, record_limit=self._record_limit)[:size]
        if not self.blocks:
            source = without_lead(source, self._dialect)
        by, scanner = self._by[literal]
        builder = ReportBuilder(
            replace(self._counted, quote=by.quote, escape=by.escape), encoding=by.encoding
        )
        outside = scanner.outside(source)
        builder.add(outside, None if outside is source else source)
        return builder.report()
