"""A .zip as it arrives: the one table in it, without waiting for the directory at its end.

The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (the numbers of sections
below). What the directory would tell, the headers before the files tell as well, except how long a
file is that was packed as it came (its size follows it, 4.3.9). Compressed files end by themselves;
a stored one ends where a size follows that fits what came before.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple

from server.document.streams import (
    PIECE_SIZE,
    Decompressor,
    Source,
    bzip2_stream,
    cut_off,
    damaged,
    deflate_stream,
    lzma_stream,
    pump,
    xz_stream,
    zstd_stream,
)
from server.errors import NotOneTable, NotText, Protected, TooLarge, Unsupported

SKIPPED_LIMIT: Final = 16 * 1024 * 1024
"""Unpacked bytes of one file that is nobody's table (.DS_Store): it is counted to find its end."""

WHAT: Final = ".zip"

_LOCAL = b"PK\x03\x04"
_DESCRIPTOR = b"PK\x07\x08"
_SPANNED = (_DESCRIPTOR, b"PK00")  # a mark that splitting programs leave before the first header
# What follows the last file: directory, its end, and their 64-bit and signed kin (4.3.6).
_AFTER = (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x08")
_HEADER = struct.Struct("<4s5H3I2H")
_MARK_SIZE = 4
_DESCRIPTOR_SIZE = 24  # at most
_NEXT = 4  # bytes of the mark after a descriptor
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_HAS_END_MARK = 1 << 1  # of LZMA alone
_HAS_DESCRIPTOR = 1 << 3
_IS_UTF8 = 1 << 11
_IN_EXTRA = 0xFFFFFFFF
_ZIP64 = 1
_STORED, _LZMA = 0, 14
_METHODS: dict[int, Callable[[], Decompressor]] = {
    8: deflate_stream,
    12: bzip2_stream,
    _LZMA: lzma_stream,
    93: zstd_stream,
    95: xz_stream,
}
_METHOD_NAMES = {1: "Shrink", 6: "Implode", 9: "Deflate64", 98: "PPMd"}
_NAMES_SHOWN = 60  # characters of a name in a sentence

# What file managers leave in archives, besides names that begin with a dot.
_LITTER = {"thumbs.db", "desktop.ini", "icon\r"}


class _Entry(NamedTuple):
    """A file as its local header tells. `packed`, `size` in bytes; both may be 0 for unknown."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int

    @property
    def has_descriptor(self) -> bool:
        return bool(self.flags & _HAS_DESCRIPTOR)

    @property
    def is_folder(self) -> bool:
        return self.name.endswith(("/", "\\"))

    @property
    def is_litter(self) -> bool:
        base = base_name(self.name)
        return base.startswith(".") or base.lower() in _LITTER or "__MACOSX" in self.name.split("/")


class Unzip:
    """Reads the table out of `source`. `name`: its path in the .zip, once its header was read.

    `what` names the file to people where it is broken: to them a workbook is no .zip.
    """

    def __init__(self, source: Source, what: str = WHAT) -> None:
        self.name: str | None = None
        self._what = what
        self._source = source

    def pieces(self) -> Iterator[bytes]:
        """The table's bytes; b"" where more of `source` is needed.

        Raises `Damaged`, `Protected`, `NotOneTable`, `Unsupported`, `NotText`, `TooLarge`.
        """
        while (entry := (yield from self._header())) is not None:
            self._check(entry)
            wanted = not (entry.is_folder or entry.is_litter)
            if wanted:
                if self.name is not None:
                    raise _several(self.name, entry.name)
                self.name = entry.name
            yield from self._file(entry, wanted=wanted)
        while not self._source.ended:
            self._source.skip(len(self._source))
            yield b""
        if self.name is None:
            raise NotOneTable(
                "There is no file in this .zip. Pack the table again and send that file. Everyone "
                "keeps what they had."
            )

    def _header(self) -> Generator[bytes, None, _Entry | None]:
        """The next file's header; None after the last."""
        source = self._source
        yield from self._need(_MARK_SIZE)
        if not source.taken and source.peek(_MARK_SIZE) in _SPANNED:
            source.skip(_MARK_SIZE)
            yield from self._need(_MARK_SIZE)
        mark = source.peek(_MARK_SIZE)
        if mark in _AFTER:
            return None
        if mark != _LOCAL:
            raise damaged(self._what)
        yield from self._need(_HEADER.size)
        (_, _, flags, method, _, _, crc, packed, size, name_size, extra_size) = _HEADER.unpack(
            source.take(_HEADER.size)
        )
        yield from self._need(name_size + extra_size)
        name = _text(source.take(name_size), is_utf8=bool(flags & _IS_UTF8))
        extra = source.take(extra_size)
        if _IN_EXTRA in (packed, size):
            packed, size = self._sizes(extra)
        return _Entry(name, flags, method, crc, packed, size)

    def _sizes(self, extra: bytes) -> tuple[int, int]:
        """Packed and unpacked size out of the 64-bit field (4.5.3; a local header has both)."""
        while len(extra) >= 4:
            kind, size = struct.unpack_from("<2H", extra)
            if kind == _ZIP64 and size >= 16 and len(extra) >= 4 + 16:
                unpacked, packed = struct.unpack_from("<2Q", extra, 4)
                return packed, unpacked
            extra = extra[4 + size :]
        raise damaged(self._what)

    def _check(self, entry: _Entry) -> None:
        # Some programs mark a folder as encrypted too, so the first file says it.
        if entry.flags & _ENCRYPTED and not entry.is_folder:
            raise Protected(
                f"This .zip is protected with a password. Unpack it and send {shown(entry.name)} "
                "itself. Everyone keeps what they had."
            )
        if entry.name in ("mimetype", "[Content_Types].xml") or entry.name.endswith(".iwa"):
            raise NotText(
                "This looks like a document of an office program, and not like a spreadsheet that "
                "can be read here. Export the table as .xlsx or as tab-separated text, and send "
                "that file. Everyone keeps what they had."
            )
        if entry.method != _STORED and entry.method not in _METHODS:
            method = _METHOD_NAMES.get(entry.method, f"number {entry.method}")
            raise Unsupported(
                f"This .zip is compressed by a method that cannot be read here ({method}). Pack "
                f"{shown(entry.name)} again, as .zip with Deflate or as .gz. Everyone keeps what "
                "they had."
            )

    def _file(self, entry: _Entry, *, wanted: bool) -> Iterator[bytes]:
        """Reads a file to its end and checks it; yields its pieces if they are `wanted`."""
        sum_ = _Sum()
        if entry.method != _STORED:
            data = self._compressed(entry, sum_)
        elif not entry.has_descriptor or entry.packed:
            data = self._stored(entry)
        elif entry.is_folder:
            data = iter(())
        else:
            data = self._stored_as_it_came(sum_)
        for piece in data:
            sum_.add(piece)
            if wanted or not piece:
                yield piece
            elif sum_.size > SKIPPED_LIMIT:
                raise TooLarge(
                    f"There is a hidden file of more than {SKIPPED_LIMIT // 2**20} MiB in this "
                    f".zip: {shown(entry.name)}. Send the table itself. Everyone keeps what they "
                    "had.",
                    what="hidden_file",
                    limit=SKIPPED_LIMIT,
                )
        if entry.has_descriptor:
            yield from self._descriptor(entry, sum_)
        elif (sum_.crc, sum_.size) != (entry.crc, entry.size):
            raise damaged(self._what)

    def _compressed(self, entry: _Entry, sum_: _Sum) -> Iterator[bytes]:
        source = self._source
        stream = _METHODS[entry.method]()
        begin = source.taken
        if entry.method == _LZMA:
            yield from self._lzma_header(entry, stream)
        while not stream.eof:
            left = None if entry.has_descriptor else entry.packed - (source.taken - begin)
            if left is not None and left <= 0:
                raise damaged(self._what)
            yield from self._need(1)
            yield from pump(stream, source, self._what, left)
        sum_.packed = source.taken - begin
        if not entry.has_descriptor and sum_.packed != entry.packed:
            raise damaged(self._what)

    def _lzma_header(self, entry: _Entry, stream: Decompressor) -> Iterator[bytes]:
        """Turn the header of 5.8.8 into that of the old .lzma format, which says the same."""
        yield from self._need(4)
        _, size = struct.unpack("<2H", self._source.take(4))
        yield from self._need(size)
        properties = self._source.take(size)
        known = not entry.flags & _HAS_END_MARK and not entry.has_descriptor
        head = Source()
        head.put(properties + (struct.pack("<Q", entry.size) if known else b"\xff" * 8))
        yield from pump(stream, head, self._what)

    def _stored(self, entry: _Entry) -> Iterator[bytes]:
        left = entry.packed
        while left:
            yield from self._need(1)
            piece = self._source.take(min(left, PIECE_SIZE))
            left -= len(piece)
            yield piece

    def _stored_as_it_came(self, sum_: _Sum) -> Iterator[bytes]:
        """Ends before a descriptor that fits; `sum_` is kept by whoever takes the pieces."""
        source = self._source
        while True:
            yield from self._need(_DESCRIPTOR_SIZE + _NEXT)
            sum_.packed = sum_.size
            if source.peek(_MARK_SIZE) == _DESCRIPTOR:
                if self._descriptor_size(sum_):
                    return
                yield source.take(1)
            size = source.find(_DESCRIPTOR)
            if size < 0:
                size = len(source) - len(_DESCRIPTOR) + 1
            yield source.take(min(size, PIECE_SIZE))

    def _descriptor(self, entry: _Entry, sum_: _Sum) -> Iterator[bytes]:
        """Take the sizes that follow a file, if they fit."""
        yield from self._need(_DESCRIPTOR_SIZE + _NEXT)
        if entry.method == _STORED:
            sum_.packed = sum_.size
        size = self._descriptor_size(sum_)
        # zipfile writes none after a folder although it says so.
        if not size and not entry.is_folder:
            raise damaged(self._what)
        self._source.skip(size)

    def _descriptor_size(self, sum_: _Sum) -> int:
        """Bytes of the descriptor that comes next; 0 if what comes next is none that fits.

        It has 32 or 64 bits a size, with a mark before it or without, and nothing says which.
        """
        ahead = self._source.peek(_DESCRIPTOR_SIZE + _NEXT)
        for mark in (_DESCRIPTOR, b""):
            for layout in ("<I2Q", "<3I"):
                size = len(mark) + struct.calcsize(layout)
                if layout == "<3I" and max(sum_.size, sum_.packed) >= 2**32:
                    continue
                fits = mark + struct.pack(layout, sum_.crc, sum_.packed, sum_.size)
                if ahead.startswith(fits) and ahead[size : size + _NEXT] in (_LOCAL, *_AFTER):
                    return size
        return 0

    def _need(self, size: int) -> Iterator[bytes]:
        if not (yield from self._source.need(size)):
            raise cut_off(self._what)


class _Sum:
    """What a file's check compares: CRC-32 and bytes, unpacked and packed."""

    __slots__ = ("crc", "packed", "size")

    def __init__(self) -> None:
        self.crc = 0
        self.size = 0
        self.packed = 0

    def add(self, piece: bytes) -> None:
        self.crc = zlib.crc32(piece, self.crc)
        self.size += len(piece)


def base_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def shown(path: str) -> str:
    """A file's name as a sentence has room for it."""
    name = "".join(c if c.isprintable() else "\ufffd" for c in base_name(path))
    return name if len(name) <= _NAMES_SHOWN else name[: _NAMES_SHOWN - 1] + "…"


def _several(one: str, other: str) -> NotOneTable:
    return NotOneTable(
        f"There is more than one file in this .zip: first {shown(one)}, then "
        f"{shown(other)}. Unpack it and send the table you mean. Everyone keeps what they had."
    )


def _text(name: bytes, *, is_utf8: bool) -> str:
    # Many programs write UTF-8 without saying so; else it is the code page of DOS (appendix D).
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("utf-8" if is_utf8 else "cp437", "replace")
