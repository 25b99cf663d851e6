"""Spreadsheets and Parquet files become tab-separated text that reads back to the same cells.

    file on disk -> a process of its own (child.py) -> workbook.py or columns.py -> cells.py
                 -> a pipe, with tab-separated UTF-8 -> Conversion, in pieces

These formats need the whole file, and the libraries that read them need memory for what a file
says, not for what it is: two cells, one in the first corner of a sheet and one in the last, make a
file of 6 KB and a table of half a terabyte, and the library ends its process when it cannot have
that. So it is a process of its own, with limits that the system enforces, and a node goes on
whatever is in a file.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from server.document.streams import PIECE_SIZE
from server.document.unpack import Kind
from server.errors import (
    Damaged,
    EmptyDocument,
    NoSheet,
    NotText,
    Protected,
    TablecastError,
    TooLarge,
    Unsupported,
)

log = logging.getLogger(__name__)

SHEET_FILE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a spreadsheet's file. One sheet is read as a whole, which takes 9 (mostly text) to 23
(small numbers) bytes of memory for each byte of an .xlsx: what `MEMORY_LIMIT` has room for."""

PARQUET_FILE_LIMIT: Final = 1024 * 1024 * 1024
"""Bytes of a Parquet file, which is read in batches: as many as of a document."""

MEMORY_LIMIT: Final = 1024 * 1024 * 1024
"""Bytes of address space of the process that reads, some 250 MB of them for its libraries."""

UNPACKED_LIMIT: Final = 2 * 1024 * 1024 * 1024
"""Unpacked bytes of a spreadsheet's parts: a large sheet packs its XML to a twelfth."""

SECONDS_LIMIT: Final = 120
"""Seconds of processor time for one file: ten times what the largest takes."""

SHEETS_LISTED: Final = 1_000
"""Sheets of a workbook that are listed; everyone in a room is told all of their names."""

NAMES_LIMIT: Final = 64 * 1024
"""Bytes of JSON of the names of sheets that are listed."""

NAME_LIMIT: Final = 255
"""Characters of a sheet's name; programs that make spreadsheets end at 31."""

_ERRORS: Final[dict[str, type[TablecastError]]] = {
    error.code: error
    for error in (Damaged, EmptyDocument, NoSheet, NotText, Protected, Unsupported)
}
_HEAD_LIMIT = 1024 * 1024  # bytes, more than the names of sheets that are listed can be
_COMPLAINT_SIZE = 16 * 1024  # bytes of the end of what a process said last


class SheetInfo(NamedTuple):
    """A table in a file. `rows` (with the header's) and `columns` where the file tells at once."""

    name: str
    hidden: bool = False
    rows: int | None = None
    columns: int | None = None


class Listing(NamedTuple):
    """Sheets of a workbook in its order, and how many more there are that are not hidden."""

    sheets: list[SheetInfo]
    left_out: int


def listing(sheets: Sequence[SheetInfo], shown: SheetInfo | None = None) -> Listing:
    """As many of them as may be listed, the first ones and `shown`; hidden ones go first."""

    def price(info: SheetInfo) -> int:
        return len(json.dumps(info.name, ensure_ascii=False).encode()) + 1

    kept: set[int] = set()
    bytes_left = NAMES_LIMIT
    at = [number for number, info in enumerate(sheets) if info is shown]
    seen = [number for number, info in enumerate(sheets) if not info.hidden]
    hidden = [number for number, info in enumerate(sheets) if info.hidden]
    for number in dict.fromkeys([*at, *seen, *hidden]):
        bytes_left -= price(sheets[number])
        if bytes_left < 0 or len(kept) == SHEETS_LISTED:
            break
        kept.add(number)
    left_out = sum(number not in kept for number in seen)
    return Listing([sheets[number] for number in sorted(kept)], left_out)


def file_limit(kind: Kind) -> int:
    """Bytes that a file of one of `unpack.SHEETS` may have."""
    return PARQUET_FILE_LIMIT if kind == "parquet" else SHEET_FILE_LIMIT


def file_too_large(kind: Kind) -> TooLarge:
    """What to raise as soon as a file of that kind is over its limit."""
    limit = file_limit(kind)
    what = "Parquet file" if kind == "parquet" else "spreadsheet"
    return TooLarge(
        f"This {what} is larger than {limit // 2**20:,} MiB, the limit. Save the table as "
        "tab-separated text and send that file. Everyone keeps what they had.",
        what="sheet_file",
        limit=limit,
    )


def reads_parquet() -> bool:
    """Whether what reads Parquet files is installed; nothing of it is loaded here."""
    return find_spec("pyarrow") is not None


def list_sheets(path: str | os.PathLike[str], kind: Kind) -> list[SheetInfo]:
    """The sheets with cells in the file at `path`, as listed; one for a Parquet file.

    Blocks, as `convert` does, and raises what that raises, but not for an empty sheet.
    """
    with Conversion(path, kind, None, only_list=True) as conversion:
        found = conversion.sheets
        for _ in conversion:  # the process says only at its end that nothing was wrong
            pass
        return found


def convert(path: str | os.PathLike[str], kind: Kind, sheet: str | int | None = None) -> Conversion:
    """Begin to read a sheet of the file at `path`, by name or by number from 0 in `list_sheets`.

    None is the first that is not hidden. `kind` is one of `unpack.SHEETS`. See `Conversion`.
    """
    return Conversion(path, kind, sheet)


class Conversion:
    """An iterator over the pieces (1 to 256 KiB) of a sheet as tab-separated UTF-8.

    A cell with a tab, a line end or a quote at its beginning is quoted, with its quotes doubled;
    every record has as many cells as the widest, and a line with one empty cell is `""`. Read with
    tab, `"` and without escapes, the cells come back.

    Everything but the constructor blocks: use it in a thread. The first piece takes longest, a
    second for each 10 MB of an .xlsx. Raises, wherever it blocks: `NotText` for what is no table,
    `Damaged`, `Protected`, `Unsupported`, `NoSheet`, `EmptyDocument`, and `TooLarge` with the limit
    it goes over (the file's own already from the constructor). Close it, from any thread, to stop
    before the end; a `with` does so.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        kind: Kind,
        sheet: str | int | None,
        *,
        only_list: bool = False,
    ) -> None:
        path = Path(path).absolute()
        if path.stat().st_size > file_limit(kind):
            raise file_too_large(kind)
        self._kind = kind
        self._closed = False
        order = {
            "path": str(path),
            "kind": kind,
            "sheet": sheet,
            "only_list": only_list,
            "memory": MEMORY_LIMIT,
            "seconds": SECONDS_LIMIT,
            "unpacked": UNPACKED_LIMIT,
        }
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-m", f"{__name__}.child", json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=_environment(),
            )
        except BaseException:
            self._said.close()
            raise
        self._head: tuple[Listing, SheetInfo | None] | None = None

    @property
    def sheets(self) -> list[SheetInfo]:
        """Those of the file that are listed, in its order. Waits until the file is open."""
        return self._begin()[0].sheets

    @property
    def left_out(self) -> int:
        """How many others the file has, but for hidden ones. Waits until the file is open."""
        return self._begin()[0].left_out

    @property
    def sheet(self) -> SheetInfo | None:
        """The one that is read, with its rows and columns. Waits until it is."""
        return self._begin()[1]

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._begin()
        if piece := self._read(PIECE_SIZE):
            return piece
        self._check_end()
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading, if it has not ended; idempotent, and at once."""
        self._closed = True
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._said.close()

    def __del__(self) -> None:
        if not self.__dict__.get("_closed", True) and "_process" in self.__dict__:
            self.close()

    # Internal

    def _read(self, size: int) -> bytes:
        if self._closed:
            return b""
        assert self._process.stdout is not None
        try:
            return self._process.stdout.read(size)
        except ValueError:  # closed in between
            return b""

    def _begin(self) -> tuple[Listing, SheetInfo | None]:
        if self._head is None:
            line = self._read_line()
            if line.endswith(b"\n"):
                told = json.loads(line)
                chosen = SheetInfo(*told["sheet"]) if told["sheet"] else None
                sheets = [SheetInfo(*info) for info in told["sheets"]]
                self._head = Listing(sheets, told["left_out"]), chosen
            else:
                self._check_end()
                self._head = Listing([], 0), None  # stopped before it was known
        return self._head

    def _read_line(self) -> bytes:
        if self._closed:
            return b""
        assert self._process.stdout is not None
        try:
            return self._process.stdout.readline(_HEAD_LIMIT)
        except ValueError:
            return b""

    def _check_end(self) -> None:
        """Raise what ended the process, unless it came to the file's end or was stopped here."""
        if self._closed:
            return
        code = self._process.wait()
        if code == 0:
            self.close()
            return
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _COMPLAINT_SIZE))
        said = self._said.read().decode("utf-8", "replace")
        self.close()
        raise self._reason(code, said)

    def _reason(self, code: int, said: str) -> TablecastError:
        for line in reversed(said.splitlines()):
            if line.startswith('{"error"'):
                return _error(json.loads(line))
        # What it complained of may hold what is in the file; the kind of error does not.
        kinds = re.findall(r"^([A-Za-z_][\w.]*(?:Error|Exception))\b", said, re.MULTILINE)
        kind = kinds[-1] if kinds else "no error"
        log.warning("reading a file (%s) ended with %d: %s", self._kind, code, kind)
        if code == -signal.SIGXCPU:
            return TooLarge(
                f"Reading this file takes more than {SECONDS_LIMIT} seconds, the limit. Save the "
                "table as tab-separated text and send that file. Everyone keeps what they had.",
                what="seconds",
                limit=SECONDS_LIMIT,
            )
        if "memory allocation" in said or code == -signal.SIGKILL:
            return _needs_memory()
        return _damaged()


def _environment() -> dict[str, str]:
    """What the process needs to find its modules, and nothing that a file should get hold of."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONUTF8": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve address space beforehand
        "OMP_NUM_THREADS": "1",
        "RUST_BACKTRACE": "0",
    }


def _error(told: dict[str, Any]) -> TablecastError:
    if told["error"] == "MemoryError":
        return _needs_memory()
    if told["error"] == TooLarge.code:
        return TooLarge(told["message"], what=told["what"], limit=told["limit"])
    class_ = _ERRORS.get(told["error"])
    return _damaged() if class_ is None else class_(told["message"])


def _needs_memory() -> TooLarge:
    return TooLarge(
        f"Reading this file takes more than {MEMORY_LIMIT // 2**20:,} MiB of memory, the limit. A "
        "cell far below or far to the right of the table can be the cause: delete the empty rows "
        "and columns around it, or save the table as tab-separated text. Everyone keeps what they "
        "had.",
        what="memory",
        limit=MEMORY_LIMIT,
    )


def _damaged() -> Damaged:
    return Damaged(
        "This file is damaged and cannot be read. Copy or save it once more, or save the table as "
        "tab-separated text. Everyone keeps what they had."
    )
