"""What kind of packing a file has, by its first bytes, and the bytes inside of packed ones.

    recognise(first bytes) -> gzip, bzip2, xz, zstd, zip   -> Unpacker -> bytes of the table
                           -> xlsx, xls, ods, parquet      -> sheets.py
                           -> None                          -> as it is

A file's name says nothing here: people rename files, and programs send none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal

from server.document import streams
from server.document.streams import PIECE_SIZE, Decompressor, Source
from server.document.unzip import WHAT, Unzip, base_name
from server.errors import NotOneTable

Kind = Literal["gzip", "bzip2", "xz", "zstd", "zip", "xlsx", "xls", "ods", "parquet"]

PACKED: Final[frozenset[Kind]] = frozenset({"gzip", "bzip2", "xz", "zstd", "zip"})
"""Kinds for `Unpacker`."""

SHEETS: Final[frozenset[Kind]] = frozenset({"xlsx", "xls", "ods", "parquet"})
"""Kinds for sheets.py. "xlsx" is any package of Office's newer formats, "xls" of its older ones:
what exactly it is shows when it is opened."""

HEAD_SIZE: Final = 512
"""Bytes that tell what a file is: one header of a tar archive, the longest."""

_STREAMS: Final[dict[Kind, tuple[Callable[[], Decompressor], str, tuple[str, ...]]]] = {
    "gzip": (streams.gzip_stream, ".gz", (".gz", ".gzip")),
    "bzip2": (streams.bzip2_stream, ".bz2", (".bz2", ".bz")),
    "xz": (streams.xz_stream, ".xz", (".xz",)),
    "zstd": (streams.zstd_stream, ".zst", (".zst", ".zstd")),
}

# Workbooks that are a .zip inside, though one that is broken may not show it.
_PACKAGES: Final = frozenset({"xlsx", "xlsm", "xlsb", "ods"})

_NAMELESS: Final = ("", "-")  # what `zip` calls its standard input

# Each mark has a byte that no text has, or is as good as that (bzip2's: pi, or its square root).
# gzip: RFC 1952; zstd, and frames to be skipped: RFC 8878; OLE: [MS-CFB]; Parquet's first page or
# footer begins with field 1, a number: https://github.com/apache/parquet-format
_MARKS: Final[tuple[tuple[bytes, Kind], ...]] = (
    (rb"\x1f\x8b\x08", "gzip"),
    (rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", "bzip2"),
    (rb"\xfd7zXZ\x00", "xz"),
    (rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", "zstd"),
    (rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|docProps/|customXml/)", "xlsx"),
    (rb"PK\x03\x04.{26}(?:xl|word|ppt)/[\w ./-]*\.(?:xml|rels|bin)", "xlsx"),
    (rb"PK\x03\x04.{26}mimetype.{0,64}?application/vnd\.oasis\.opendocument\.spreadsheet", "ods"),
    (rb"PK\x03\x04|PK\x05\x06|(?:PK\x07\x08|PK00)PK\x03\x04", "zip"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls"),
    (rb"PAR[1E]\x15|PAR[1E].{0,60}[\x00-\x08]", "parquet"),
)


def recognise(first: bytes) -> Kind | None:
    """What a file is that begins with `first`; None for everything that is not packed.

    `first` is at least `HEAD_SIZE` bytes, or the whole file.
    """
    return next((kind for mark, kind in _MARKS if re.match(mark, first, re.DOTALL)), None)


def is_tar(first: bytes) -> bool:
    """Whether a file that begins with `first` (`HEAD_SIZE` bytes or more) is a tar archive.

    The header's sum is checked: the oldest archives have no other mark.
    """
    head = first[:HEAD_SIZE]
    digits = head[148:156].strip(b" \0")
    if len(head) < HEAD_SIZE or not re.fullmatch(rb"[0-7]+", digits):
        return False
    return int(digits, 8) == sum(head[:148]) + 8 * ord(" ") + sum(head[156:])


class Unpacker:
    """A packed file's bytes in, the bytes inside out, in pieces of 1 to 256 KiB.

    Lazy: a piece is made when it is asked for, and whoever stops asking stops the work, so that a
    limit on what comes out is a limit on what is done. Holds no more than a few pieces and the
    chunk, and what the format itself looks back on (`streams.MEMORY_LIMIT` at most). Take all
    pieces of one call before the next call. After an error it is of no further use.

    Raises `Damaged` (also for what is cut off), `Protected`, `Unsupported` for a method of packing
    that is not known here, `NotOneTable` for an archive in it, none or several files; `NotText` for
    a document of an office program; `TooLarge` for what needs too much memory.
    """

    def __init__(self, kind: Kind, name: str = "") -> None:
        """`kind` is one of `PACKED`, as `recognise` says. `name`: what its sender calls the file,
        which tells what to call it where it is broken."""
        if kind not in PACKED:
            raise ValueError(f"{kind} is not for unpacking")
        self.kind = kind
        self._source = Source()
        self._unzip: Unzip | None = None
        if kind == "zip":
            ending = name.lower().rpartition(".")[2]
            self._unzip = Unzip(self._source, f".{ending}" if ending in _PACKAGES else WHAT)
            self._label = WHAT
            pieces = self._unzip.pieces()
        else:
            begin, self._label, _ = _STREAMS[kind]
            pieces = streams.streams(self._source, begin, self._label)
        self._pieces = self._checked(pieces)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The pieces that `chunk` makes known. Nothing happens until they are taken."""
        self._source.put(chunk)
        return self._take()

    def finish(self) -> Iterator[bytes]:
        """The last pieces, now that nothing follows; raises if something should."""
        self._source.ended = True
        return self._take()

    def name(self, outer: str) -> str:
        """What to call the table in a file named `outer`: trips.csv for trips.csv.gz.

        For a .zip, the name of the file inside (known when its first piece is). The name that a
        gzip header may hold is not asked: it is what the file was called on some disk long ago.
        """
        inner = base_name(self._unzip.name or "") if self._unzip is not None else ""
        if inner not in _NAMELESS:
            return inner
        for suffix in (".zip",) if self._unzip is not None else _STREAMS[self.kind][2]:
            if outer.lower().endswith(suffix) and len(outer) > len(suffix):
                return outer[: -len(suffix)]
        return outer

    def _take(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if not piece:
                return
            yield piece

    def _checked(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """`pieces`, whose first has the table's first bytes and shows that it is no archive."""
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= HEAD_SIZE:
                break
            if not piece:
                yield b""
        self._check(head)
        for start in range(0, len(head), PIECE_SIZE):
            yield head[start : start + PIECE_SIZE]
        yield from pieces

    def _check(self, head: bytes) -> None:
        inner = recognise(head)
        if is_tar(head):
            what = "a tar archive"
        elif inner == "zip":
            what = "a .zip"
        elif inner in _STREAMS:
            what = f"a {_STREAMS[inner][1]} file"
        else:
            return
        raise NotOneTable(
            f"There is {what} inside of this {self._label} file. Unpack it, and send the table "
            "inside. Everyone keeps what they had."
        )
