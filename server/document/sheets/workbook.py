"""The cells of a spreadsheet: .xlsx, .xlsm, .xlsb, .xls and .ods, read by calamine."""

from __future__ import annotations

import mmap
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import python_calamine
from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from server.document.sheets import NAME_LIMIT, SheetInfo
from server.document.sheets.cells import record, text
from server.document.titles import one_line
from server.document.unpack import Kind
from server.errors import (
    Damaged,
    EmptyDocument,
    NoSheet,
    NotText,
    Protected,
    TooLarge,
    Unsupported,
)

T = TypeVar("T")

_SAVE = "Save the table as .xlsx or as tab-separated text and send that file."
_KEPT = "Everyone keeps what they had."
_NAMELESS = "Sheet"
_STEP = 256 * 1024  # bytes unpacked at a time to count them

# Streams of OLE files, the most telling first: a workbook may hold a document, but is one itself.
# Names as [MS-CFB] 2.6.1 stores them, in UTF-16 with zeros behind.
_OLE_STREAMS = (
    ("EncryptedPackage", "encrypted"),
    ("Workbook", ""),
    ("Book", ""),
    ("WordDocument", "a Word document"),
    ("PowerPoint Document", "a PowerPoint presentation"),
    ("VisioDocument", "a Visio drawing"),
    ("__properties_version1.0", "an Outlook message"),
)
# [MS-XLS] 2.1.7.20.1: BOF of the globals (also of BIFF5), perhaps WriteProtect, then FilePass.
_ENCRYPTED_RECORDS = re.compile(
    rb"\x09\x08(?:\x10\x00\x00\x06\x05\x00.{12}|\x08\x00\x00\x05\x05\x00.{4})(?:\x86\x00\x00\x00)?"
    rb"\x2f\x00",
    re.DOTALL,
)
_ODS_MANIFEST = "META-INF/manifest.xml"
_MANIFEST_LIMIT = 1024 * 1024
# The main part of packages of the same kind that are no spreadsheets.
_PACKAGES = (
    ("word/", "a Word document"),
    ("ppt/", "a PowerPoint presentation"),
    ("visio/", "a Visio drawing"),
)
# How calamine says that it does not know what a cell gives instead of a value: newer programs have
# more of them than it.
_ODD_ERROR = re.compile(r"cell error value '(#[A-Z0-9_/!?]{1,24})'")
_PARTS_THAT_COUNT = re.compile(r".*\.(?:xml|rels|bin)", re.IGNORECASE | re.DOTALL)


class Workbook:
    """`sheets`: those that have cells, in the workbook's order, with names as `one_line` has them.

    Raises `NotText` if it is no spreadsheet, `TooLarge` if more than `unpacked_limit` bytes are
    packed in it, `Protected`, `Damaged`, `Unsupported`.
    """

    def __init__(self, path: Path, kind: Kind, *, unpacked_limit: int) -> None:
        if kind == "xls":
            _check_ole(path)
        else:
            _check_package(path, unpacked_limit)
        # Given the path it would go by the name's ending.
        self._workbook = _careful(lambda: CalamineWorkbook.from_filelike(path.open("rb")))
        found = [
            sheet
            for sheet in self._workbook.sheets_metadata
            if sheet.typ is SheetTypeEnum.WorkSheet
        ]
        self._names = [sheet.name for sheet in found]  # as they are in the file
        self.sheets = [
            SheetInfo(_shown(sheet.name), sheet.visible is not SheetVisibleEnum.Visible)
            for sheet in found
        ]
        if not self.sheets:
            raise NotText(f"There is no sheet with cells in this workbook. {_SAVE} {_KEPT}")

    def choose(self, sheet: str | int | None) -> SheetInfo:
        """The sheet of that number, or of that name, as it is in the file or in `sheets`.

        The first that is not hidden for None.
        """
        if sheet is None:
            return next((info for info in self.sheets if not info.hidden), self.sheets[0])
        if isinstance(sheet, int):
            if 0 <= sheet < len(self.sheets):
                return self.sheets[sheet]
        elif sheet in self._names:
            return self.sheets[self._names.index(sheet)]
        elif (info := next((info for info in self.sheets if info.name == sheet), None)) is not None:
            return info
        names = ", ".join(info.name for info in self.sheets[:5])
        more = ", …" if len(self.sheets) > 5 else ""
        raise NoSheet(f"There is no such sheet in this workbook. It has: {names}{more}. {_KEPT}")

    def read(self, info: SheetInfo) -> tuple[SheetInfo, Iterator[str]]:
        """The size of one of `sheets`, and its records as lines. Raises `EmptyDocument`."""
        name = next(n for n, each in zip(self._names, self.sheets, strict=True) if each is info)
        sheet = _careful(lambda: self._workbook.get_sheet_by_name(name))
        if not sheet.width or not sheet.height:
            raise EmptyDocument(
                f"The sheet “{info.name}” is empty: it has no cell with anything in it. {_KEPT}"
            )
        return info._replace(rows=sheet.height, columns=sheet.width), _lines(sheet)


def _shown(name: str) -> str:
    plain = len(name) <= NAME_LIMIT and name.isascii() and name.isprintable()
    return (" ".join(name.split()) if plain else one_line(name, NAME_LIMIT)) or _NAMELESS


def _lines(sheet: CalamineSheet) -> Iterator[str]:
    """Without the empty rows before the first and after the last that have anything in them."""
    begun = False
    empty = 0
    blank = record([""] * sheet.width)
    for row in sheet.iter_rows():
        line = record([text(value) for value in row])
        if line == blank:
            empty += begun
            continue
        begun = True
        while empty:
            empty -= 1
            yield blank
        yield line


def _careful(call: Callable[[], T]) -> T:
    """Do `call` and say what calamine says in our words."""
    try:
        return call()
    except python_calamine.PasswordError:
        raise protected() from None
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        if found := _ODD_ERROR.search(str(error)):
            raise _odd_error(found[1]) from None
        raise unreadable() from None


def protected() -> Protected:
    return Protected(
        "This workbook is protected with a password. Open it, save it without the password (or the "
        f"table as tab-separated text) and send that file. {_KEPT}"
    )


def damaged() -> Damaged:
    return Damaged(
        "This workbook is damaged: it cannot be read to its end. Copy it once more, or open it and "
        f"save it again. {_KEPT}"
    )


def unreadable() -> Damaged:
    # The library tells neither which, nor whether a sheet has more cells than it takes.
    return Damaged(
        "This workbook cannot be read here: it is damaged, or made otherwise or larger than "
        "spreadsheets are. Open it and save it again, or save the table as tab-separated text. "
        f"{_KEPT}"
    )


def _odd_error(shown: str) -> Unsupported:
    return Unsupported(
        f"A cell of this workbook says {shown} instead of a value, and that cannot be read here. "
        f"Clear such cells, or save the table as tab-separated text and send that file. {_KEPT}"
    )


def _no_spreadsheet(what: str) -> NotText:
    return NotText(f"This looks like {what}, not like a spreadsheet. {_SAVE} {_KEPT}")


def _check_ole(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name, what in _OLE_STREAMS:
            if data.find(name.encode("utf-16-le") + b"\0\0") < 0:
                continue
            if what == "encrypted":
                raise protected()
            if what:
                raise _no_spreadsheet(what)
            if _ENCRYPTED_RECORDS.search(data):
                raise protected()
            return
        if data.find("Root Entry".encode("utf-16-le")) < 0:
            raise damaged()  # not even the directory is there
    raise _no_spreadsheet("an old Office file")


def _check_package(path: Path, unpacked_limit: int) -> None:
    """Refuse what is no spreadsheet, and what unpacks to more than it says or than is allowed."""
    try:
        with zipfile.ZipFile(path) as package:
            names = package.namelist()
            if _ODS_MANIFEST in names:
                with package.open(_ODS_MANIFEST) as file:
                    if b":encryption-data" in file.read(_MANIFEST_LIMIT):
                        raise protected()
            if "content.xml" not in names and not any(name.startswith("xl/") for name in names):
                for folder, what in _PACKAGES:
                    if any(name.startswith(folder) for name in names):
                        raise _no_spreadsheet(what)
                raise _no_spreadsheet("an archive or a document of another program")
            parts = [part for part in package.infolist() if _PARTS_THAT_COUNT.match(part.filename)]
            if sum(part.file_size for part in parts) > unpacked_limit:
                raise _unpacks_too_large(unpacked_limit)
            for part in parts:
                # Reads as many bytes as the part says it has, and fails if these are not all.
                with package.open(part) as file:
                    while file.read(_STEP):
                        pass
    except NotImplementedError:  # what zipfile says to a method that it does not know
        raise Unsupported(
            f"This workbook is packed by a method that cannot be read here. {_SAVE} {_KEPT}"
        ) from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError):
        raise damaged() from None
    except RuntimeError:  # what zipfile says to a part with a password
        raise protected() from None


def _unpacks_too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"What is packed in this workbook is larger than {limit // 2**20:,} MiB, the limit. Save "
        f"the table as tab-separated text and send that file. {_KEPT}",
        what="sheet_unpacked",
        limit=limit,
    )
