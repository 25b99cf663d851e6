"""Which rows are on which page."""

from __future__ import annotations

from server.document.messages import Document
from server.errors import NoDocument, PageOutOfRange


def page_offset(document: Document | None, page_no: int, size: int) -> int:
    """The offset of page `page_no`. Raises `NoDocument`, `PageOutOfRange` (naming the range)."""
    if document is None:
        raise NoDocument("This room has no table yet. Upload one first.")
    pages = page_count(document.rows, size)
    if not 1 <= page_no <= pages:
        raise PageOutOfRange(f"There is no page {page_no}: this table has pages 1 to {pages:,}.")
    return (page_no - 1) * size


def page_number(rows: int, offset: int, size: int) -> int:
    """The page that begins nearest to `offset`, from 1; offsets may be no multiple of `size`."""
    return min(page_count(rows, size), (offset + size // 2) // size + 1)


def page_count(rows: int, size: int) -> int:
    """Pages of `size` rows; an empty table has one."""
    return max(1, -(-rows // size))
