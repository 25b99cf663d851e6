"""What each change of a room means, decided in this one place: pure functions of a room's state.

Every function returns the arguments for `Backend.append`: the registers to set, the plain fields
that later guards compare, and the guards (`expect`) under which the change still makes sense.
Where a guard no longer holds, `append` raises `Conflict` and the room stays as it is. So whatever a
node does late (progress, completion, giving up) can never touch a newer upload's document.

    fields: document_id    id in register `document`
            upload_id      id in register `upload`
            upload_lease   lease in register `upload`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from server.errors import NoDocument, PageOutOfRange, UploadInProgress
from server.fanout.backend import JSON, Snapshot

LEASE_MS = 30_000  # an uploader's node that is silent for this long has given up
PAGE_SIZE = 100

Register = Mapping[str, JSON]


class Arguments(TypedDict):
    """For `Backend.append(room, **arguments)`."""

    set: dict[str, JSON]
    fields: dict[str, str]
    expect: dict[str, str]


def begin_upload(
    snapshot: Snapshot,
    *,
    id: str,
    name: str,
    size: int | None,
    now_ms: int,
    lease_ms: int = LEASE_MS,
) -> Arguments:
    """An upload `id` starts; what the room shows stays until its first block is announced.

    Where a running upload's lease has ended, the new one takes its place and what it had replaced
    comes back. Raises `UploadInProgress` where one really runs.
    """
    registers = snapshot.registers
    document, page = registers.get("document"), registers.get("page")
    change = Arguments(set={}, fields={}, expect={"upload_id": ""})
    running = registers.get("upload")
    if running is not None:
        if now_ms <= running["lease"]:
            raise UploadInProgress(
                f"“{running['name']}” is just arriving in this room. "
                "Wait until it is complete, then send yours."
            )
        change = _give_up(running, announced=_id(document) == running["id"])
        change["expect"]["upload_lease"] = str(running["lease"])
        document = change["set"].get("document", document)
        page = change["set"].get("page", page)
    upload = {
        "id": id,
        "name": name,
        "size": size,
        "received": 0,
        "lease": now_ms + lease_ms,
        "previous": document,
        "previous_page": page,
    }
    change["set"]["upload"] = upload
    change["fields"] |= _upload_fields(upload)
    return change


def announce(
    upload: Register,
    document: Register,
    *,
    page_size: int = PAGE_SIZE,
    received: int,
    now_ms: int,
    lease_ms: int = LEASE_MS,
) -> Arguments:
    """The first block is stored: the room turns to page 1 of the document that still arrives."""
    change = progress(upload, document, received=received, now_ms=now_ms, lease_ms=lease_ms)
    change["set"]["page"] = _first_page(document, page_size)
    change["fields"]["document_id"] = document["id"]
    return change


def progress(
    upload: Register,
    document: Register | None = None,
    *,
    received: int,
    now_ms: int,
    lease_ms: int = LEASE_MS,
) -> Arguments:
    """`received` bytes have come; the lease is renewed. `document` once it has been announced.

    The room's new `upload` register is in the result's `set`; build the next change on it.
    """
    renewed = {**upload, "received": received, "lease": now_ms + lease_ms}
    change = Arguments(
        set={"upload": renewed},
        fields=_upload_fields(renewed),
        expect={"upload_id": upload["id"]},
    )
    if document is not None:
        change["set"]["document"] = document
    return change


def complete(
    upload: Register,
    document: Register,
    *,
    announced: bool,
    page_size: int = PAGE_SIZE,
) -> Arguments:
    """All of the document is stored. Turns to its first page if it was never announced."""
    change = Arguments(
        set={"document": document, "upload": None},
        fields={"document_id": document["id"], "upload_id": "", "upload_lease": ""},
        expect={"upload_id": upload["id"]},
    )
    if not announced:
        change["set"]["page"] = _first_page(document, page_size)
    return change


def abort(upload: Register, *, announced: bool = True) -> Arguments:
    """The upload is given up: the room returns to what it showed before.

    `announced`: whether `announce` was sent, even if nobody knows whether it arrived. Page turns
    made before the announcement are kept.
    """
    return _give_up(upload, announced=announced)


def restore(snapshot: Snapshot, now_ms: int) -> Arguments | None:
    """Any node gives up an upload whose lease has ended; None while there is nothing to give up."""
    upload = snapshot.registers.get("upload")
    if upload is None or now_ms <= upload["lease"]:
        return None
    announced = _id(snapshot.registers.get("document")) == upload["id"]
    change = _give_up(upload, announced=announced)
    change["expect"]["upload_lease"] = str(upload["lease"])
    return change


def turn_page(snapshot: Snapshot, page_no: int) -> Arguments:
    """Everyone sees page `page_no` (from 1). Raises `NoDocument` or `PageOutOfRange`."""
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
    return Arguments(
        set={"page": {"document": document["id"], "offset": (page_no - 1) * size, "size": size}},
        fields={},
        expect={"document_id": document["id"]},
    )


def page_count(rows: int, size: int) -> int:
    """Pages of `size` rows; a table without rows has one, empty, page."""
    return max(1, -(-rows // size))


# Internal


def _give_up(upload: Register, *, announced: bool) -> Arguments:
    previous = upload.get("previous")
    change = Arguments(
        set={"upload": None},
        fields={"upload_id": "", "upload_lease": ""},
        expect={"upload_id": upload["id"]},
    )
    if announced:
        change["set"]["document"] = previous
        change["set"]["page"] = upload.get("previous_page")
        change["fields"]["document_id"] = _id(previous)
    else:
        # Were the document switched after all, clearing the upload alone would leave it half.
        change["expect"]["document_id"] = _id(previous)
    return change


def _upload_fields(upload: Register) -> dict[str, str]:
    return {"upload_id": upload["id"], "upload_lease": str(upload["lease"])}


def _first_page(document: Register, page_size: int) -> dict[str, JSON]:
    return {"document": document["id"], "offset": 0, "size": page_size}


def _id(document: Register | None) -> str:
    return str(document["id"]) if document is not None else ""
