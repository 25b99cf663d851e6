"""How bytes become records and cells."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from server.document.encodings import byte_safe, canonical
from server.errors import BadMessage

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
