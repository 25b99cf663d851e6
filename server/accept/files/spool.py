"""A spreadsheet on its way: it goes to a file, for it can only be read once its end is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

from server.document.report import ParseReport
from server.document.sheets import Conversion, convert, file_limit, file_too_large
from server.document.unpack import Kind

# The report's note that the workbook has more sheets than are listed.
SHEETS_LEFT_OUT: Final = "sheets_left_out"


def notes_of_file(report: ParseReport | None) -> tuple[str, ...]:
    """Those of a report that stay true however the file is cut."""
    return tuple(note for note in report.notes if note == SHEETS_LEFT_OUT) if report else ()


class Opened(NamedTuple):
    """`pieces` of a sheet as TSV, its name, the names of the workbook's, and `notes` to report."""

    pieces: Iterator[bytes]
    sheet: str | None
    sheets: list[str]
    notes: tuple[str, ...]


class Spool:
    """Everything here blocks, so call it in a thread; `close` from anywhere, at any time."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._size = 0
        # Deleted with its last handle, even if this process is killed.
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(prefix="tablecast-")  # noqa: SIM115 - closed in close()
        self._conversion: Conversion | None = None

    def write(self, data: bytes) -> None:
        """Raises `TooLarge` as soon as there is more than such a file may have."""
        self._size += len(data)
        if self._size > file_limit(self.kind):
            raise file_too_large(self.kind)
        self._file.write(data)

    def table(self, sheet: str | None) -> Opened:
        """The sheet, the first one if None."""
        self._file.flush()
        conversion = self._conversion = convert(self._file.name, self.kind, sheet)
        names = [each.name for each in conversion.sheets if not each.hidden]
        shown = conversion.sheet
        name = shown.name if shown is not None else None
        notes = (SHEETS_LEFT_OUT,) if conversion.left_out else ()
        return Opened(conversion, name, names, notes)

    def close(self) -> None:
        if self._conversion is not None:
            self._conversion.close()
        self._file.close()
