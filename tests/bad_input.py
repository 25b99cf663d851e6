"""What people send by mistake, and what they are to be told: the same at every door."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data"
MIB = 1024 * 1024
GOOD = b"station\tmeasured\n" + b"".join(b"%d\t%d\n" % (n, n * n) for n in range(2000))


class Bad(NamedTuple):
    """`data` gives its bytes piece by piece, so that a gigabyte is never anywhere.

    `says`: words of the sentence, one of which tells what to do.
    """

    what: str
    name: str
    data: Callable[[], Iterator[bytes]]
    status: int
    code: str
    says: tuple[str, ...]


def _bytes(data: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([data])


def _times(piece: bytes, times: int, before: bytes = b"", after: bytes = b"") -> Iterator[bytes]:
    yield before
    for _ in range(times):
        yield piece
    yield after


def _file(name: str) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([(DATA / name).read_bytes()])


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(DATA / "files", "files")
    return out.getvalue()


_X = b"x" * MIB
_ROWS = b"1\tsome text\n" * (MIB // 12)
_PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\nendobj\n" * 50

BAD = [
    Bad("an empty file", "a.tsv", _bytes(b""), 422, "empty_document", ("empty", "Send")),
    Bad(
        "only newlines", "a.tsv", _bytes(b"\r\n\n" * 999), 422, "empty_document", ("empty", "Send")
    ),
    Bad(
        *("one line of a gigabyte", "a.tsv", lambda: _times(_X, 1024)),
        *(413, "too_large", ("The header", "16 MiB", "a line for each row")),
    ),
    Bad(
        *("a million columns", "a.tsv", lambda: _times(b"name\t" * 1000, 1000, after=b"\n1\t2\n")),
        *(413, "too_large", ("1,000,001 columns", "16,384", "Leave some of them out")),
    ),
    Bad(
        *("a cell of 50 MB", "a.tsv", lambda: _times(_X, 50, b"id\ttext\n1\t", b"\n2\tb\n")),
        *(413, "too_large", ("Row 1", "16 MiB", "shorten what is longer")),
    ),
    Bad(
        *("more than a gigabyte", "a.tsv", lambda: _times(_ROWS, 1100, b"id\ttext\n")),
        *(413, "too_large", ("1,024 MiB", "Split")),
    ),
    Bad(
        *("a truncated .gz", "a.tsv.gz", _bytes(gzip.compress(GOOD)[:-900])),
        *(422, "damaged", ("ends in the middle", "Send the whole file")),
    ),
    Bad(
        *("a damaged .gz", "a.tsv.gz", _bytes(gzip.compress(GOOD)[:-8] + bytes(8))),
        *(422, "damaged", ("damaged", "Copy or download")),
    ),
    Bad(
        *("a .zip with a password", "a.zip", _file("protected.zip")),
        *(422, "password_protected", ("password", "Unpack it and send stations.tsv")),
    ),
    Bad(
        *("an .xlsx with a password", "a.xlsx", _file("protected.xlsx")),
        *(422, "password_protected", ("password", "save it without")),
    ),
    Bad(
        *("a truncated .xlsx", "a.xlsx", lambda: iter([b"PK\x03\x04" + bytes(26) + b"xl/w.xml"])),
        *(422, "damaged", ("damaged", "Copy it")),
    ),
    Bad(
        *("a directory in a .tar", "a.tar", _bytes(_tar())),
        *(422, "not_one_table", ("tar archive", "Unpack it")),
    ),
    Bad(
        *("a PDF by the name of a table", "a.tsv", _bytes(_PDF)),
        *(415, "not_text", ("PDF", "Save the table as tab-separated text")),
    ),
    Bad(
        *("a picture", "a.tsv", _bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))),
        *(415, "not_text", ("PNG image", "Save the table as tab-separated text")),
    ),
]
