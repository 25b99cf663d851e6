"""How bytes become records and cells, and which bytes are no table at all."""

from __future__ import annotations

import codecs
import re

from msgspec import Struct
from msgspec.structs import replace

from server.document.encodings import byte_safe, canonical
from server.errors import BadMessage, NotText, NotUtf8

SNIFF_SIZE = 64 * 1024
"""Bytes from the beginning that decide whether a file is text (one block: the first page waits
for no more than it needs anyway)."""

BOM = b"\xef\xbb\xbf"

SKIP_LIMIT = 10_000
"""Lines before the table that can be skipped: nobody writes a longer introduction."""


class Dialect(Struct, frozen=True, kw_only=True):
    """`delimiter` is one character, or "" where each line is one cell.

    `quote`: one ASCII character, or "" where quotes are ordinary text. `doublequote`: a quote
    inside a quoted cell is written twice. `escape`: one ASCII character, or "". With a quote it
    takes its meaning from the quote, delimiter, line end or escape after it; before anything else
    it is text. Without one, cells are escaped as database dumps do: `\\t`, `\\n`, `\\\\`, and `\\N`
    for no value, which is shown as an empty cell.

    `skip_space`: spaces before a cell do not belong to it; where the delimiter is a space, many are
    as good as one. `comment`: what begins lines that are no records ("": none are). `skip_lines`:
    lines before record 0 that belong to no record, whatever is in them. `header`: record 0 names
    the columns.
    """

    encoding: str = "utf-8"
    delimiter: str = "\t"
    quote: str = '"'
    escape: str = ""
    doublequote: bool = True
    skip_space: bool = False
    comment: str = ""
    skip_lines: int = 0
    header: bool = True


TSV = Dialect()


def check_dialect(dialect: Dialect) -> Dialect:
    """`dialect`, with its encoding's usual name. Raises `BadMessage` if it cannot be read by."""
    encoding = canonical(dialect.encoding)
    if encoding is None:
        raise BadMessage(f"There is no encoding {dialect.encoding[:40]!r} here.")
    for name, mark in (("delimiter", dialect.delimiter), *_ascii_marks(dialect)):
        if len(mark) > 1 or mark in ("\n", "\r", "\0", "\ufffd", "\ufeff"):
            raise BadMessage(f"The {name} is one character, and no line end.")
        if "\ud800" <= mark <= "\udfff":
            raise BadMessage(f"The {name} is no character.")
    for name, mark in _ascii_marks(dialect):
        if not mark.isascii() or mark.isalnum() or mark == " ":
            raise BadMessage(f"The {name} is a punctuation mark of ASCII.")
    marks = [mark for mark in (dialect.delimiter, dialect.quote, dialect.escape) if mark]
    if len(set(marks)) < len(marks):
        raise BadMessage("Delimiter, quote and escape are different characters.")
    comment = dialect.comment
    if not comment.isascii() or len(comment) > 8 or set(comment) & {*marks, *" \n\r\0"}:
        raise BadMessage("A comment begins with up to 8 ASCII characters that mean nothing else.")
    if not 0 <= dialect.skip_lines <= SKIP_LIMIT:
        raise BadMessage(f"At most {SKIP_LIMIT:,} lines can be skipped.")
    return replace(dialect, encoding=encoding)


def _ascii_marks(dialect: Dialect) -> tuple[tuple[str, str], ...]:
    return ("quote", dialect.quote), ("escape", dialect.escape)


def without_quotes(dialect: Dialect) -> Dialect:
    """The same dialect, only that quotes and escapes are ordinary text."""
    return replace(dialect, quote="", escape="")


def needs_cut(old: Dialect, new: Dialect, *, marks: bool) -> bool:
    """Whether blocks that were cut by `old` have to be cut again before `new` can read them.

    `marks`: the quote or escape of `old` occurs in them (`ParseReport.notes` has "marks"). Where
    none does, records end where lines do, whatever separates cells.
    """
    if not byte_safe(new.encoding, new.delimiter, new.quote, new.escape):
        return True
    deciding = ["comment", "skip_lines"]
    if marks or new.quote not in ("", old.quote) or new.escape not in ("", old.escape):
        deciding += ["delimiter", "quote", "escape", "doublequote", "skip_space"]
    return any(getattr(old, name) != getattr(new, name) for name in deciding)


_SAVE = "Save the table as tab-separated text in UTF-8 and send that file."
_UNPACK = "Unpack it and send the table inside."

# Magic numbers: https://www.garykessler.net/library/file_sigs.html and the formats' own documents.
# No text begins with these.
_BINARY = (
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"%PDF-", "a PDF document", _SAVE),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", _SAVE),
    (b"\xff\xd8\xff", "a JPEG image", _SAVE),
    (b"SQLite format 3\x00", "an SQLite database", _SAVE),
    (b"\x7fELF", "a program (ELF)", _SAVE),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.xls, .doc)", _SAVE),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _SAVE),
    (b"Obj\x01", "an Avro file", _SAVE),
    (b"\xca\xfe\xba\xbe", "a program (Java or macOS)", _SAVE),
    (b"\xcf\xfa\xed\xfe", "a program (macOS)", _SAVE),
)
# Letters only, which a header could begin with too: believed where other bytes are not text either.
_MAYBE_BINARY = (
    (b"PAR1", "a Parquet file", _SAVE),
    (b"ARROW1", "an Arrow file", _SAVE),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"GIF8", "a GIF image", _SAVE),
    (b"RIFF", "a sound, picture or film (RIFF)", _SAVE),
    (b"OggS", "a sound (Ogg)", _SAVE),
    (b"ID3", "a sound (MP3)", _SAVE),
    (b"MZ", "a Windows program", _SAVE),
)
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_OTHER_UNICODE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
# Control characters that no text file needs. Tab, line ends, form feed and vertical tab are text,
# and 1b to 1f too (escape sequences of terminals, ASCII's own separators).
_CONTROL = bytes([*range(0x09), *range(0x0E, 0x1B), 0x7F])
_CONTROL_SHARE = 10  # one in so many is more than text has, and less than compressed bytes have


def check_text(head: bytes, *, whole: bool) -> None:
    """Raise unless a file that begins with `head` (`whole`: and ends with it) is UTF-8 text.

    `NotText` for binary files, `NotUtf8` for text in another encoding; both say what it looks like
    and what to do. A few bad bytes in what is otherwise UTF-8 pass, and so does a character that
    the end of `head` cuts.
    """
    for mark, name in _OTHER_UNICODE:
        if head.startswith(mark):
            raise NotUtf8(_not_utf8(f"This file is {name} text"))
    for magic, name, advice in _BINARY:
        if head.startswith(magic):
            raise NotText(_not_text(name, advice))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise NotText(_not_text(*_zip(head)))
    zeros = head.count(0)
    control = len(head) - len(head.translate(None, _CONTROL))
    if zeros or control * _CONTROL_SHARE > len(head):
        if _is_bare_utf16(head, zeros):
            raise NotUtf8(_not_utf8("This file looks like UTF-16 text"))
        for magic, name, advice in _MAYBE_BINARY:
            if head.startswith(magic):
                raise NotText(_not_text(name, advice))
        what = "zero bytes" if zeros else "control characters"
        raise NotText(
            f"This is not a text file: it contains {what}. {_SAVE} Everyone keeps what they had."
        )
    _check_utf8(head, whole=whole)


def _check_utf8(head: bytes, *, whole: bool) -> None:
    try:
        _decode(head, "strict", whole=whole)
    except UnicodeDecodeError as error:
        text = _decode(head, "replace", whole=whole)
        bad = text.count("\ufffd") - head.count("\ufffd".encode())
        good = len(text) - bad - len(text.encode("ascii", "ignore"))
        # One damaged letter among many good ones is shown as U+FFFD. In Latin-1 and its like
        # hardly any letter happens to be good UTF-8.
        if bad > good:
            line = 1 + len(re.findall(rb"\r\n?|\n", head[: error.start]))
            raise NotUtf8(_not_utf8(f"This file is not UTF-8 text (see line {line:,})")) from None


def _decode(head: bytes, errors: str, *, whole: bool) -> str:
    # Unless it is final, the decoder waits for the rest of a character that the end cuts.
    return codecs.getincrementaldecoder("utf-8")(errors).decode(head, final=whole)


def _is_bare_utf16(head: bytes, zeros: int) -> bool:
    """Western text in UTF-16 without a mark: nearly every second byte is zero, always the same."""
    one = max(head[0::2].count(0), head[1::2].count(0))
    return one * 3 > len(head) and one * 20 > zeros * 19


def _zip(head: bytes) -> tuple[str, str]:
    if b"xl/" in head:
        return "an Excel workbook (.xlsx)", _SAVE
    if b"opendocument.spreadsheet" in head:
        return "an OpenDocument spreadsheet (.ods)", _SAVE
    if b"[Content_Types].xml" in head:
        return "an Office document (.xlsx, .docx)", _SAVE
    return "a ZIP archive", _UNPACK


def _not_text(name: str, advice: str) -> str:
    return f"This looks like {name}, not a text file. {advice} Everyone keeps what they had."


def _not_utf8(what: str) -> str:
    return f"{what}. Save it as UTF-8 and send it again. Everyone keeps what they had."
