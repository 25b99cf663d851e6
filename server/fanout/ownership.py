"""What the owner of a room may change, as `changes` does it: pure functions of the room's state.

    fields: key_owner      SHA-256 of the owner's key in hex; absent in a room that has no owner
            key_presenter  SHA-256 of the presenter key
            mode           "presenting", or absent while everyone may change what the room shows
            upload_role    who began the upload that runs: "presenter", "owner", or absent (a guest)
            life           seconds that the room lives after its last use, where its owner set them
            deleted        "1" once the room was deleted

The registers of the same names (and `keyed`, `invited`) tell viewers what they may know of it.
Whoever applies these changes adds the guard that the asking key still is the owner's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.fanout import changes, versions
from server.fanout.backend import JSON, Snapshot
from server.fanout.changes import Arguments

OPEN: Final = "open"
PRESENTING: Final = "presenting"


class Deletion(Arguments):
    forget: list[str]


def found(key: str) -> Arguments:
    """A fresh room has an owner, who holds the key with this hash. Holds only in an unused one."""
    unused = ("key_owner", "deleted", "document_id", "upload_id")
    return Arguments(
        set={"keyed": True}, fields={"key_owner": key}, expect=dict.fromkeys(unused, "")
    )


def set_mode(snapshot: Snapshot, mode: str) -> Arguments | None:
    """`OPEN` or `PRESENTING`; None if it is so already.

    Presenting gives up an upload that a guest has begun: what it had replaced comes back.
    """
    before = snapshot.fields.get("mode", "")
    after = PRESENTING if mode == PRESENTING else ""
    if after == before:
        return None
    change = Arguments(set={"mode": after or None}, fields={"mode": after}, expect={"mode": before})
    if after:
        _end_uploads_of("", change, snapshot)
    return change


def invite(snapshot: Snapshot, key: str) -> Arguments | None:
    """The presenter key is the one with this hash from now on ("": there is none any more).

    While presenting, an upload begun with the key before is given up. None if nothing changes.
    """
    if key == snapshot.fields.get("key_presenter", ""):
        return None
    change = Arguments(
        set={"invited": True if key else None},
        fields={"key_presenter": key},
        expect={"mode": snapshot.fields.get("mode", "")},
    )
    if snapshot.fields.get("mode"):
        _end_uploads_of("presenter", change, snapshot)
    elif snapshot.fields.get("upload_role") == "presenter":
        # Anyone may send in an open room, but what is sent is no presenter's any more.
        change["fields"]["upload_role"] = ""
        change["expect"]["upload_role"] = "presenter"
    return change


def set_life(snapshot: Snapshot, seconds: int | None) -> Arguments:
    """The room lives so long after its last use; None: as long as the server lets any room."""
    return Arguments(
        set={"life": seconds},
        fields={"life": "" if seconds is None else str(seconds)},
        expect={},
    )


def delete_room(snapshot: Snapshot, now_ms: int) -> Deletion:
    """Everything is forgotten; that the room was deleted is told for its idle life."""
    registers, fields = snapshot.registers, snapshot.fields
    kept = {"deleted": "1"}
    if "life" in fields:
        kept["life"] = fields["life"]
    return Deletion(
        set={"deleted": {"time": now_ms}},
        fields=kept,
        # With another document in between there would be bytes that nobody forgets.
        expect={name: fields.get(name, "") for name in ("document_id", "upload_id")},
        forget=_documents(registers),
    )


# Internal


def _end_uploads_of(role: str, change: Arguments, snapshot: Snapshot) -> None:
    """Give up the upload that runs if someone in this role has begun it, in the same change."""
    upload = snapshot.registers.get("upload")
    # None may begin in between: it would have been begun by what was so before.
    change["expect"]["upload_id"] = "" if upload is None else upload["id"]
    if upload is None or snapshot.fields.get("upload_role", "") != role:
        return
    document = snapshot.registers.get("document")
    announced = document is not None and document["id"] == upload["id"]
    given_up = changes.abort(upload, announced=announced)
    change["set"] |= given_up["set"]
    change["fields"] |= given_up["fields"]
    change["expect"] |= given_up["expect"]


def _documents(registers: Mapping[str, JSON]) -> list[str]:
    """The ids of all documents of a room, complete or not."""
    upload = registers.get("upload") or {}
    arriving = [upload["id"]] if upload else []
    shown = registers.get("document")
    if shown is not None:
        arriving.append(shown["id"])
    return list(dict.fromkeys([*arriving, *versions.kept_documents(registers)]))
