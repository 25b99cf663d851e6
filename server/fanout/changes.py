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
            recount         who counts the shown document again (`accept/files/recount.py`)
            upload_replaced the last uploads that others replaced, the newest first, and "," between
                            them: of each its id, and its token's hash

What a room can go back to is in `versions.py`, where it looks in `turns.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from server.errors import (
    NoDocument,
    UploadInProgress,
    UploadLost,
    UploadReplaced,
)
from server.fanout.arguments import PAGE_SIZE as PAGE_SIZE
from server.fanout.arguments import Arguments as Arguments
from server.fanout.arguments import Register as Register
from server.fanout.arguments import first_page, id_of, refuse_during_upload, unchanged
from server.fanout.backend import Snapshot
from server.fanout.versions import newest, versions_of

REPLACED_KEPT = 8  # uploads whose senders, when they look, are told that theirs were replaced
LEASE_MS = 30_000  # an uploader's node that is silent for this long has given up
_OF_AN_UPLOAD = ("id", "lease", "owner", "token", "until", "plain")


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
    change = Arguments(set={}, fields={}, expect=unchanged(snapshot))
    running = registers.get("upload")
    if running is not None:
        over = now_ms > _until(snapshot, running)
        if not over and not replace:
            raise UploadInProgress(_why_not_now(running))
        change = _give_up(running, announced=id_of(document) == running["id"])
        change["expect"] |= {**unchanged(snapshot), "upload_id": running["id"]}
        if over:
            change["expect"]["upload_lease"] = str(running["lease"])
        else:
            ended = f"{running['id']} {snapshot.fields.get('upload_token', '')}"
            last = [ended, *_replaced(snapshot)][:REPLACED_KEPT]
            change["fields"]["upload_replaced"] = ",".join(last)
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
    kept = versions_of(snapshot)
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
    change["set"]["page"] = first_page(document, page_size)
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
        if token and any(each.endswith(f" {token}") for each in _replaced(snapshot)):
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
    """Whether this upload is one of the last that somebody replaced."""
    return any(each.startswith(f"{id} ") for each in _replaced(snapshot))


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

    `versions`: those of the room when the upload began, or at any time since. The new
    one joins them; `fallen` tells which of them is kept no longer.
    """
    change = Arguments(
        set={"document": document, "upload": None},
        fields={**_no_upload(), "document_id": document["id"]},
        expect={"upload_id": upload["id"]},
    )
    if not announced:
        change["set"]["page"] = first_page(document, page_size)
    if versions is not None:
        change["set"]["versions"] = newest([document, *versions])
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
        announced = id_of(snapshot.registers.get("document")) == upload["id"]
        change = _give_up(upload, announced=announced)
    change["expect"]["upload_lease"] = str(upload["lease"])
    return change


def revise(snapshot: Snapshot, document: Register) -> Arguments:
    """The complete document that is shown gets another register: more rows, another dialect.

    Holds only if nothing else has changed the document since `snapshot`. Raises `NoDocument`,
    `UploadInProgress`.
    """
    if id_of(snapshot.registers.get("document")) != document["id"]:
        raise NoDocument("Another table is shown in this room by now. Look again.")
    refuse_during_upload(snapshot)
    return Arguments(
        set={"document": document},
        fields={"document_stamp": secrets.token_hex(8)},
        expect=unchanged(snapshot),
    )


def claim_recount(snapshot: Snapshot, claim: str) -> Arguments:
    """Plain field `recount` becomes `claim`, of one of those who want to count what is shown.

    Holds only for the first of them. Raises `UploadInProgress`.
    """
    refuse_during_upload(snapshot)
    before = snapshot.fields.get("recount", "")
    return Arguments(
        set={}, fields={"recount": claim}, expect={**unchanged(snapshot), "recount": before}
    )


# Internal


def _replaced(snapshot: Snapshot) -> list[str]:
    return [each for each in snapshot.fields.get("upload_replaced", "").split(",") if each]


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
        change["fields"]["document_id"] = id_of(previous)
    else:
        # Were the document switched after all, clearing the upload alone would leave it half.
        change["expect"]["document_id"] = id_of(previous)
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
    # Of one that is paused the lease is as late; where its sender is only silent, it is not.
    return max(lease, int(snapshot.fields.get("upload_until") or 0))
