"""The last complete documents of a room, its *versions*: register `versions`, the newest first.

The one that is shown may have grown since it was put there; `versions_of` looks at `document`
first. Pure functions of a room's state, as in `changes.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

from server.errors import NoDocument
from server.fanout.arguments import (
    PAGE_SIZE,
    Arguments,
    Register,
    first_page,
    id_of,
    refuse_during_upload,
    unchanged,
)
from server.fanout.backend import JSON, Snapshot

VERSIONS_KEPT = 3  # complete documents that a room can show again


def versions_of(snapshot: Snapshot) -> list[Register]:
    """The complete documents that the room can show, the newest first, each as it is now."""
    registers = snapshot.registers
    document = registers.get("document")
    if document is not None and not document["complete"]:
        document = (registers.get("upload") or {}).get("previous")
    return newest([document] * (document is not None) + list(registers.get("versions") or []))


def next_version(snapshot: Snapshot) -> int:
    """The version that the next document of this room is."""
    return max((document["version"] for document in versions_of(snapshot)), default=0) + 1


def fallen(before: Sequence[Register], change: Arguments) -> list[str]:
    """The ids under which bytes are stored that the room keeps no longer after `change`."""
    kept = _ids_of(change["set"].get("versions", before))
    return [id for id in _ids_of(before) if id not in kept]


def kept_documents(registers: Mapping[str, JSON]) -> list[str]:
    """The ids under which the bytes are stored that a room can come to show, whatever happens next:
    of all complete documents, and of those as they came."""
    upload = registers.get("upload") or {}
    shown = (registers.get("document"), upload.get("previous"))
    documents = [*filter(None, shown), *(registers.get("versions") or [])]
    return _ids_of(document for document in documents if document["complete"])


def show_version(snapshot: Snapshot, version: int) -> Arguments | None:
    """Everyone sees this version, from its first page; None if it is shown already.

    The others stay. Raises `NoDocument`, `UploadInProgress`.
    """
    refuse_during_upload(snapshot)
    kept = versions_of(snapshot)
    document = next((each for each in kept if each["version"] == version), None)
    if document is None:
        raise NoDocument(_no_such_version(version, [each["version"] for each in kept]))
    if document["id"] == id_of(snapshot.registers.get("document")):
        return None
    size = (snapshot.registers.get("page") or {}).get("size", PAGE_SIZE)
    return Arguments(
        set={"document": document, "page": first_page(document, size), "versions": kept},
        fields={"document_id": document["id"], "document_stamp": secrets.token_hex(8)},
        expect=unchanged(snapshot),
    )


def newest(documents: Sequence[Register]) -> list[Register]:
    """The versions that are kept of these; of two with one number the first counts.

    A document that was cut anew is the version that it was before, with another id.
    """
    by_number: dict[int, Register] = {}
    for document in documents:
        by_number.setdefault(document["version"], document)
    order = sorted(by_number.values(), key=lambda document: -document["version"])
    return order[:VERSIONS_KEPT]


# Internal


def _ids_of(documents: Iterable[Mapping[str, JSON]]) -> list[str]:
    """Under which their bytes are stored, and those as they came where these are others."""
    ids: dict[str, None] = {}
    for document in documents:
        ids[document["id"]] = None
        if source := document.get("source"):
            ids[source["id"]] = None
    return list(ids)


def _no_such_version(version: int, known: list[int]) -> str:
    if not known:
        return "There is no table in this room yet. Drop a file to show one."
    *first, last = map(str, sorted(known))
    there = f"versions {', '.join(first)} and {last}" if first else f"only version {last}"
    return f"There is no version {version} to go back to: this room has {there}."
