"""Compressed streams as they arrive: in pieces in, in bounded pieces out, in bounded memory.

All formats behave alike here (`Decompressor`), the way the standard library's bz2 and lzma do.
Whatever a decompressor is fed, one call gives at most as many bytes as it is asked for, so that a
few bytes that stand for gigabytes cost no more memory than any others.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from server.errors import Damaged, TablecastError, TooLarge

if sys.version_info >= (3, 14):
    import compression.zstd as zstd
else:
    import backports.zstd as zstd

PIECE_SIZE = 256 * 1024
"""Bytes that are handed on at a time, at most."""

WINDOW_LOG = 27
"""log2 of the bytes that a stream may look back on: what zstd's own program takes without being
told to, and twice what `xz -9` asks for."""

MEMORY_LIMIT = 2**WINDOW_LOG + 8 * 1024 * 1024
"""Bytes of memory that a decompressor may use."""

# Compressed bytes given to a decompressor at a time. It copies what it leaves: zlib with each
# piece, all of them at their stream's end, and a file may be thousands of tiny streams.
_FIRST_STEP = 4 * 1024
_STEP = 64 * 1024
_ERRORS = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError)


class Decompressor(Protocol):
    """One stream; as `bz2.BZ2Decompressor` is, only that attributes are read-only."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Inflate:
    """zlib's decompressor with the manners of the others. `wbits` as for `zlib.decompressobj`."""

    def __init__(self, wbits: int) -> None:
        self._inflate = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        tail = self._inflate.unconsumed_tail
        piece = self._inflate.decompress(tail + data if tail else data, max_length)
        # A full piece may be all there is, or zlib may hold more that it has read already.
        self.needs_input = not self._inflate.unconsumed_tail and len(piece) < max_length
        return piece


def gzip_stream() -> Decompressor:
    return Inflate(16 + zlib.MAX_WBITS)


def zlib_stream() -> Decompressor:
    return Inflate(zlib.MAX_WBITS)


def deflate_stream() -> Decompressor:
    """Without any header, as in .zip."""
    return Inflate(-zlib.MAX_WBITS)


def bzip2_stream() -> Decompressor:
    return bz2.BZ2Decompressor()


def xz_stream() -> Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)


def lzma_stream() -> Decompressor:
    """With the 13 bytes of the old .lzma format at its head."""
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MEMORY_LIMIT)


def zstd_stream() -> Decompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


class Source:
    """Bytes that have arrived and that nobody took yet. `ended`: no more will come.

    Who reads it is a generator that yields the pieces it makes, and b"" when it needs more bytes.
    """

    def __init__(self) -> None:
        self.ended = False
        self.taken = 0
        self._data = b""
        self._at = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def put(self, data: bytes) -> None:
        self._data = self._data[self._at :] + data if len(self) else data
        self._at = 0

    def need(self, size: int) -> Generator[bytes, None, bool]:
        """Wait for `size` bytes; false if the end comes before."""
        while len(self) < size:
            if self.ended:
                return False
            yield b""
        return True

    def peek(self, size: int) -> bytes:
        return self._data[self._at : self._at + size]

    def find(self, mark: bytes) -> int:
        """How many bytes come before `mark`; -1 if it is not there."""
        found = self._data.find(mark, self._at)
        return found if found < 0 else found - self._at

    def take(self, size: int) -> bytes:
        data = self.peek(size)
        self.skip(len(data))
        return data

    def skip(self, size: int) -> None:
        self._at += size
        self.taken += size

    def skip_zeros(self) -> None:
        while len(self) and self._data[self._at] == 0:
            block = self.peek(_STEP)
            self.skip(len(block) - len(block.lstrip(b"\0")))


def pump(
    stream: Decompressor, source: Source, what: str, limit: int | None = None
) -> Iterator[bytes]:
    """What the bytes of `source` (at most `limit`) decompress to: pieces of 1 to `PIECE_SIZE`.

    Takes from `source` what belongs to the stream, and nothing after its end. `what` names the
    kind of file (".gz") to people. Raises `Damaged`, and, `TooLarge` if it needs too
    much memory.
    """
    left = len(source) if limit is None else min(limit, len(source))
    step = _FIRST_STEP
    while left:
        chunk = source.peek(min(step, left))
        step = min(step * 2, _STEP)
        source.skip(len(chunk))
        left -= len(chunk)
        while True:
            try:
                piece = stream.decompress(chunk, PIECE_SIZE)
            except _ERRORS as error:
                raise _failed(error, what) from None
            chunk = b""
            if stream.eof:
                source.skip(-len(stream.unused_data))
                left = 0
            if piece:
                yield piece
            if stream.eof or stream.needs_input or not piece:
                break


def streams(source: Source, begin: Callable[[], Decompressor], what: str) -> Iterator[bytes]:
    """What streams one after the other stand for, with zero bytes between or after them."""
    while True:
        stream = begin()
        while not stream.eof:
            if not (yield from source.need(1)):
                raise cut_off(what)
            yield from pump(stream, source, what)
        source.skip_zeros()
        while not len(source):
            if source.ended:
                return
            yield b""
            source.skip_zeros()


def damaged(what: str) -> Damaged:
    return Damaged(
        f"This {what} file is damaged: what is in it does not pass its own check. Copy or download "
        "it once more, or make it again from the table. Everyone keeps what they had."
    )


def cut_off(what: str) -> Damaged:
    return Damaged(
        f"The {what} file ends in the middle: it was probably cut off while it was copied. Send "
        "the whole file. Everyone keeps what they had."
    )


def _failed(error: Exception, what: str) -> TablecastError:
    # Neither library has a class or a code for it.
    if "memory" not in str(error).lower():
        return damaged(what)
    return TooLarge(
        f"This {what} file was packed so that unpacking it takes more than "
        f"{MEMORY_LIMIT // 2**20} MiB of memory. Pack it again at the usual level. Everyone "
        "keeps what they had.",
        what="memory",
        limit=MEMORY_LIMIT,
    )
