"""A spreadsheet on its way: it goes to a file, for it can only be read once its end is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

from server.document.sheets import Conversion, convert, file_limit, file_too_large
from server.document.unpack import Kind


class Spool:
    """Everything here blocks, so call it in a thread; `close` from anywhere, at any time."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._size = 0
        # Deleted with its last handle, even if this process is killed.
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(prefix="tablecast-")  # noqa: SIM115
        self._conversion: Conversion | None = None

    def write(self, data: bytes) -> None:
        """Raises `TooLarge` as soon as there is more than such a file may have."""
        self._size += len(data)
        if self._size > file_limit(self.kind):
            raise file_too_large(self.kind)
        self._file.write(data)

    def tables(self, sheet: str | None) -> tuple[Iterator[bytes], str | None, list[str]]:
        """Pieces of the sheet (the first one if None) as TSV, its name, and all sheets' names."""
        self._file.flush()
        conversion = self._conversion = convert(self._file.name, self.kind, sheet)
        names = [each.name for each in conversion.sheets if not each.hidden]
        shown = conversion.sheet
        return conversion, shown.name if shown is not None else None, names

    def close(self) -> None:
        if self._conversion is not None:
            self._conversion.close()
        self._file.close()
