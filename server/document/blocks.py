"""What a document is stored as: blocks of whole consecutive records, never changed again.

A block holds the source's bytes as they came, so that the blocks in order are the file. (cutter.py
makes them.)
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import zstandard

from server.errors import Missing

BLOCK_SIZE = 64 * 1024
"""Source bytes after which a block ends with the next record: a page needs one or two blocks, and
a 1 GiB document has an index of 256 KiB."""

RECORD_LIMIT = 16 * 1024 * 1024
"""Bytes of one record, with its line end. A node holds a whole record while it arrives; a quote
that is never closed would otherwise make one record of the rest of the file."""

DOCUMENT_LIMIT = 1024 * 1024 * 1024
"""Bytes of a document: what a group looks at together, and what a Redis has room for."""

COLUMN_LIMIT = 16_384
"""Cells in one record: as many as the largest spreadsheet has, and few enough for a page."""

_ENTRY = struct.Struct(">QQ")
COMPRESSION = 1  # zstd's level: even so it is half of what plain text costs here
_LITERAL = 1 << 63  # in the index, beside the first byte


class Block(NamedTuple):
    """Consecutive whole records. `size` counts source bytes, `data` is the source in zstd.

    `literal`: quotes and escapes are text in this block, whatever the dialect says.
    """

    number: int
    first_record: int
    first_byte: int
    records: int
    size: int
    data: bytes
    literal: bool = False

    @property
    def entry(self) -> bytes:
        return index_entry(self.first_record, self.first_byte, literal=self.literal)


def index_entry(first_record: int, first_byte: int, *, literal: bool = False) -> bytes:
    """A block's 16 bytes in its document's index: two big-endian 64-bit numbers.

    The highest bit of the second says that the block is `literal`.
    """
    return _ENTRY.pack(first_record, first_byte | (_LITERAL if literal else 0))


def decompress(data: bytes, *, record_limit: int = RECORD_LIMIT) -> bytes:
    """The source bytes of a block that was cut under this `record_limit`.

    Raises `Missing` if `data` is no such block: damaged, or larger than one can be.
    """
    most = record_limit + BLOCK_SIZE
    try:
        if not 0 <= zstandard.frame_content_size(data) <= most:
            raise Missing("A part of this document is damaged.")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError:
        raise Missing("A part of this document is damaged.") from None
