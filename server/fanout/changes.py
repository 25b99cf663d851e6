"""What each change of a room means, decided in this one place: pure functions of a room's state.

Every function returns the arguments for `Backend.append`: the registers to set, the plain fields
that later guards compare, and the guards (`expect`) under which the change still makes sense.
Where a guard no longer holds, `append` raises `Conflict` and the room stays as it is. So whatever a
node does late (progress, completion, giving up) can never touch a newer upload's document.

    fields: document_id     id in register `document`
            document_stamp  another one with every change of a complete document (`revise`)
            upload_id       id in register `upload`
            upload_lease    lease in register `upload`
            upload_owner    names the connection that sends; whoever has lost it changes nothing
            upload_token    SHA-256 of what takes the upload up again, where it can be
            upload_until    ms since 1970; until then it waits for its sender when the lease ends
            upload_plain    "1" where the stored bytes are the file's own, as far as they go
            recount         who counts the shown document again (`accept/recount.py`)
            upload_replaced the upload that another one replaced: its id, and its token's hash

A room keeps its last complete documents, its *versions*, in register `versions`, the newest first.
The one that is shown may have grown since it was put there; `versions` looks at `document` first.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TypedDict

from server.errors import (
    NoDocument,
    PageOutOfRange,
    UploadInProgress,
    UploadLost,
    UploadReplaced,
)
from server.fanout.backend import JSON, Snapshot

LEASE_MS = 30_000  # an uploader's node that is silent for this long has given up
PAGE_SIZE = 100
RUN_MS = 5_000  # turns of one person with less than this between them are one move
_OF_AN_UPLOAD = ("id", "lease", "owner", "token", "until", "plain")
VERSIONS_KEPT = 3  # complete documents that a room can show again

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
    pause_ms: int = 0,
    owner: str = "",
    token: str = "",
    replace: bool = False,
) -> Arguments:
    """An upload `id` starts; what the room shows stays until its first block is announced.

    With a `token` (its hash) it can be resumed: without a sign of life it waits for `pause_ms`.
    Where a running upload's time is over, or it shall be replaced, the new one takes its place, and
    what it had replaced comes back. Raises `UploadInProgress` where one really runs.
    """
    registers = snapshot.registers
    document, page = registers.get("document"), registers.get("page")
    change = Arguments(set={}, fields={}, expect=_unchanged(snapshot))
    running = registers.get("upload")
    if running is not None:
        over = now_ms > _until(snapshot, running)
        if not over and not replace:
            raise UploadInProgress(_why_not_now(running))
        change = _give_up(running, announced=_id(document) == running["id"])
        change["expect"] |= {**_unchanged(snapshot), "upload_id": running["id"]}
        if over:
            change["expect"]["upload_lease"] = str(running["lease"])
        else:
            ended = f"{running['id']} {snapshot.fields.get('upload_token', '')}"
            change["fields"]["upload_replaced"] = ended
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
    change["fields"] |= _upload_fields(upload, now_ms, pause_ms)
    change["fields"] |= {"upload_owner": owner, "upload_token": token}
    kept = versions(snapshot)
    if kept != registers.get("versions", []):
        change["set"]["versions"] = kept
    return change


def announce(
    upload: Register,
    document: Register,
    *,
    page_size: int = PAGE_SIZE,
    received: int,
    now_ms: int,
    lease_ms: int = LEASE_MS,
    pause_ms: int = 0,
) -> Arguments:
    """The first block is stored: the room turns to page 1 of the document that still arrives."""
    change = progress(
        upload,
        document,
        received=received,
        now_ms=now_ms,
        lease_ms=lease_ms,
        pause_ms=pause_ms,
    )
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
    pause_ms: int = 0,
) -> Arguments:
    """`received` bytes have come; the lease is renewed. `document` once it has been announced.

    The room's new `upload` register is in the result's `set`; build the next change on it.
    """
    renewed = {**upload, "received": received, "lease": now_ms + lease_ms}
    change = Arguments(
        set={"upload": renewed},
        fields=_upload_fields(renewed, now_ms, pause_ms),
        expect={"upload_id": upload["id"]},
    )
    if document is not None:
        change["set"]["document"] = document
    return change


def pause(
    upload: Register,
    document: Register | None = None,
    *,
    received: int,
    until_ms: int,
) -> Arguments:
    """Nobody sends any more: the upload waits until then, and whoever has its token goes on.

    `document` as in `progress`. No owner holds it meanwhile.
    """
    waiting = {**upload, "received": received, "paused": True, "lease": until_ms}
    change = Arguments(
        set={"upload": waiting},
        fields={**_upload_fields(waiting), "upload_owner": ""},
        expect={"upload_id": upload["id"]},
    )
    if document is not None:
        change["set"]["document"] = document
    return change


def resume_upload(
    snapshot: Snapshot,
    *,
    token: str,
    owner: str,
    now_ms: int,
    lease_ms: int = LEASE_MS,
    pause_ms: int = 0,
) -> Arguments:
    """The upload with this `token` (its hash) goes on, from wherever it was sent before.

    It need not be paused: its sender may have noticed first that the connection is gone. Whoever
    has held it holds it no longer. Raises `UploadLost`, `UploadReplaced`.
    """
    upload = snapshot.registers.get("upload")
    if not token or upload is None or snapshot.fields.get("upload_token") != token:
        if token and snapshot.fields.get("upload_replaced", "").endswith(f" {token}"):
            raise replaced()
        raise UploadLost(
            "This upload is over: it was complete, or was given up because nobody went on with it. "
            "If the table is not here, send the file again."
        )
    renewed = {**upload, "paused": False, "lease": now_ms + lease_ms}
    return Arguments(
        set={"upload": renewed},
        fields={**_upload_fields(renewed, now_ms, pause_ms), "upload_owner": owner},
        expect={"upload_id": upload["id"], "upload_owner": snapshot.fields.get("upload_owner", "")},
    )


def was_replaced(snapshot: Snapshot, id: str) -> bool:
    """Whether this upload was the last one that somebody replaced."""
    return snapshot.fields.get("upload_replaced", "").startswith(f"{id} ")


def replaced() -> UploadReplaced:
    return UploadReplaced(
        "Somebody else's file replaced it before it was complete. "
        "Send it again if it is to be shown after all."
    )


def complete(
    upload: Register,
    document: Register,
    *,
    announced: bool,
    page_size: int = PAGE_SIZE,
    versions: Sequence[Register] | None = None,
) -> Arguments:
    """All of the document is stored. Turns to its first page if it was never announced.

    `versions`: those of the room when the upload began, or at any time since (`versions`). The new
    one joins them; `fallen` tells which of them is kept no longer.
    """
    change = Arguments(
        set={"document": document, "upload": None},
        fields={**_no_upload(), "document_id": document["id"]},
        expect={"upload_id": upload["id"]},
    )
    if not announced:
        change["set"]["page"] = _first_page(document, page_size)
    if versions is not None:
        change["set"]["versions"] = _newest([document, *versions])
    return change


def abort(upload: Register, *, announced: bool = True) -> Arguments:
    """The upload is given up: the room returns to what it showed before.

    `announced`: whether `announce` was sent, even if nobody knows whether it arrived. Page turns
    made before the announcement are kept.
    """
    return _give_up(upload, announced=announced)


def restore(snapshot: Snapshot, now_ms: int) -> Arguments | None:
    """What any node does with an upload whose lease has ended; None while there is nothing to do.

    If it can be resumed it is paused, for its sender may come back; once that time has passed too
    it is given up.
    """
    upload = snapshot.registers.get("upload")
    if upload is None or now_ms <= upload["lease"]:
        return None
    until = _until(snapshot, upload)
    if now_ms <= until:
        change = pause(upload, received=upload["received"], until_ms=until)
    else:
        announced = _id(snapshot.registers.get("document")) == upload["id"]
        change = _give_up(upload, announced=announced)
    change["expect"]["upload_lease"] = str(upload["lease"])
    return change


def revise(snapshot: Snapshot, document: Register) -> Arguments:
    """The complete document that is shown gets another register: more rows, another dialect.

    Holds only if nothing else has changed the document since `snapshot`. Raises `NoDocument`,
    `UploadInProgress`.
    """
    if _id(snapshot.registers.get("document")) != document["id"]:
        raise NoDocument("Another table is shown in this room by now. Look again.")
    _refuse_during_upload(snapshot)
    return Arguments(
        set={"document": document},
        fields={"document_stamp": secrets.token_hex(8)},
        expect=_unchanged(snapshot),
    )


def claim_recount(snapshot: Snapshot, claim: str) -> Arguments:
    """Plain field `recount` becomes `claim`, of one of those who want to count what is shown.

    Holds only for the first of them. Raises `UploadInProgress`.
    """
    _refuse_during_upload(snapshot)
    before = snapshot.fields.get("recount", "")
    return Arguments(
        set={}, fields={"recount": claim}, expect={**_unchanged(snapshot), "recount": before}
    )


def versions(snapshot: Snapshot) -> list[Register]:
    """The complete documents that the room can show, the newest first, each as it is now."""
    registers = snapshot.registers
    document = registers.get("document")
    if document is not None and not document["complete"]:
        document = (registers.get("upload") or {}).get("previous")
    return _newest([document] * (document is not None) + list(registers.get("versions") or []))


def next_version(snapshot: Snapshot) -> int:
    """The version that the next document of this room is."""
    return max((document["version"] for document in versions(snapshot)), default=0) + 1


def fallen(before: Sequence[Register], change: Arguments) -> list[str]:
    """The ids of those versions that the room keeps no longer after `change`."""
    kept = {document["id"] for document in change["set"].get("versions", before)}
    return [document["id"] for document in before if document["id"] not in kept]


def kept_documents(registers: Mapping[str, JSON]) -> list[str]:
    """The ids of all complete documents that a room can come to show, whatever happens next."""
    upload = registers.get("upload") or {}
    shown = (registers.get("document"), upload.get("previous"))
    documents = [*filter(None, shown), *(registers.get("versions") or [])]
    return list({document["id"]: None for document in documents if document["complete"]})


def show_version(snapshot: Snapshot, version: int) -> Arguments | None:
    """Everyone sees this version, from its first page; None if it is shown already.

    The others stay. Raises `NoDocument`, `UploadInProgress`.
    """
    _refuse_during_upload(snapshot)
    kept = versions(snapshot)
    document = next((each for each in kept if each["version"] == version), None)
    if document is None:
        raise NoDocument(_no_such_version(version, [each["version"] for each in kept]))
    if document["id"] == _id(snapshot.registers.get("document")):
        return None
    size = (snapshot.registers.get("page") or {}).get("size", PAGE_SIZE)
    return Arguments(
        set={"document": document, "page": _first_page(document, size), "versions": kept},
        fields={"document_id": document["id"], "document_stamp": secrets.token_hex(8)},
        expect=_unchanged(snapshot),
    )


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


def _unchanged(snapshot: Snapshot) -> dict[str, str]:
    """Guards: the same document, as it is, and no upload."""
    now = {name: snapshot.fields.get(name, "") for name in ("document_id", "document_stamp")}
    return {**now, "upload_id": ""}


def _refuse_during_upload(snapshot: Snapshot) -> None:
    upload = snapshot.registers.get("upload")
    if upload is not None:
        raise UploadInProgress(
            f"“{upload['name']}” is just arriving in this room. Wait until it is complete."
        )


def _why_not_now(running: Register) -> str:
    if running.get("kind") == "recut":
        return (
            f"“{running['name']}” is just being read in another way. "
            "Wait until that is done, then send yours."
        )
    what = f"“{running['name']}” is just arriving in this room"
    if running.get("paused"):
        what += ", and waits for its sender to come back"
    return f"{what}. Wait until it is complete, then send yours, or let yours replace it."


def _newest(documents: Sequence[Register]) -> list[Register]:
    """The versions that are kept of these; of two with one number the first counts.

    A document that was cut anew is the version that it was before, with another id.
    """
    by_number: dict[int, Register] = {}
    for document in documents:
        by_number.setdefault(document["version"], document)
    order = sorted(by_number.values(), key=lambda document: -document["version"])
    return order[:VERSIONS_KEPT]


def _no_such_version(version: int, known: list[int]) -> str:
    if not known:
        return "There is no table in this room yet. Drop a file to show one."
    *first, last = map(str, sorted(known))
    there = f"versions {', '.join(first)} and {last}" if first else f"only version {last}"
    return f"There is no version {version} to go back to: this room has {there}."


def _give_up(upload: Register, *, announced: bool) -> Arguments:
    previous = upload.get("previous")
    change = Arguments(
        set={"upload": None},
        fields=_no_upload(),
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


def _upload_fields(upload: Register, now_ms: int = 0, pause_ms: int = 0) -> dict[str, str]:
    fields = {"upload_id": upload["id"], "upload_lease": str(upload["lease"])}
    if pause_ms:
        fields["upload_until"] = str(now_ms + pause_ms)
    return fields


def _no_upload() -> dict[str, str]:
    return {f"upload_{name}": "" for name in _OF_AN_UPLOAD}


def _until(snapshot: Snapshot, upload: Register) -> int:
    """When the upload is given up, in ms since 1970."""
    lease: int = upload["lease"]
    if upload.get("paused"):
        return lease
    return max(lease, int(snapshot.fields.get("upload_until") or 0))


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
    return bool((one["id"] or one["name"]) == (other["id"] or other["name"]))


def _first_page(document: Register, page_size: int) -> dict[str, JSON]:
    return {"document": document["id"], "offset": 0, "size": page_size}


def _id(document: Register | None) -> str:
    return str(document["id"]) if document is not None else ""
