"""Turning the page for everyone, and the way back. Pure functions, as in `changes.py`."""

from __future__ import annotations

from server.errors import NoDocument, PageOutOfRange
from server.fanout.arguments import PAGE_SIZE, Arguments, Register
from server.fanout.backend import Snapshot

RUN_MS = 5_000  # turns of one person with less than this between them are one move


def turn_page(
    snapshot: Snapshot, page_no: int, *, by: Register | None = None, now_ms: int = 0
) -> Arguments:
    """Everyone sees page `page_no` (from 1), turned `by` this person (`id`, `name`, `color`).

    Raises `NoDocument` or `PageOutOfRange`.
    """
    document = snapshot.registers.get("document")
    if document is None:
        raise NoDocument("There is no table in this room yet. Drop a file to show one.")
    size = (snapshot.registers.get("page") or {}).get("size", PAGE_SIZE)
    pages = page_count(document["rows"], size)
    if not 1 <= page_no <= pages:
        raise PageOutOfRange(
            f"There is no page {page_no}: this table has pages 1 to {pages}."
            if pages > 1
            else f"There is no page {page_no}: this table has only page 1."
        )
    return turn_to(snapshot, (page_no - 1) * size, by=by, now_ms=now_ms)


def turn_to(
    snapshot: Snapshot, offset: int, *, by: Register | None = None, now_ms: int = 0
) -> Arguments:
    """Everyone sees the rows after the first `offset` ones, of which there must be as many.

    Raises `NoDocument`.
    """
    document = snapshot.registers.get("document")
    if document is None:
        raise NoDocument("There is no table in this room yet. Drop a file to show one.")
    before = snapshot.registers.get("page") or {}
    page = {
        "document": document["id"],
        "offset": offset,
        "size": before.get("size", PAGE_SIZE),
        "by": by,
        "at": now_ms,
    }
    page["back"] = _back(before, page)
    return Arguments(set={"page": page}, fields={}, expect={"document_id": document["id"]})


def page_count(rows: int, size: int) -> int:
    """Pages of `size` rows; a table without rows has one, empty, page."""
    return max(1, -(-rows // size))


# Internal


def _back(before: Register, page: Register) -> Register | None:
    """Where an undo of turning to `page` leads.

    Whoever leafs through many pages comes back to where the room was before all of that.
    """
    if not before:
        return None
    now = {"document": page["document"], "offset": page["offset"]}
    place = {"document": before["document"], "offset": before["offset"]}
    first = before.get("back")
    is_run = _is_same(before.get("by"), page["by"]) and page["at"] - before.get("at", 0) < RUN_MS
    if place == now or (is_run and first and first["document"] == now["document"]):
        place = first if first is not None and first != now else place
    return place if place != now else None


def _is_same(one: Register | None, other: Register | None) -> bool:
    """Whether two are one person; those without a viewer's id are known by name."""
    if one is None or other is None:
        return False
    if one["id"] or other["id"]:
        return bool(one["id"] == other["id"])
    return bool(one["name"] == other["name"])
