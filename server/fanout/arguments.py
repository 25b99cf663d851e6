"""What changes of a room are made of, and the guards that most of them need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from server.errors import UploadInProgress
from server.fanout.backend import JSON, Snapshot

PAGE_SIZE = 100

Register = Mapping[str, JSON]


class Arguments(TypedDict):
    """For `Backend.append(room, **arguments)`."""

    set: dict[str, JSON]
    fields: dict[str, str]
    expect: dict[str, str]


def unchanged(snapshot: Snapshot) -> dict[str, str]:
    """Guards: the same document, as it is, and no upload."""
    now = {name: snapshot.fields.get(name, "") for name in ("document_id", "document_stamp")}
    return {**now, "upload_id": ""}


def refuse_during_upload(snapshot: Snapshot) -> None:
    upload = snapshot.registers.get("upload")
    if upload is not None:
        raise UploadInProgress(
            f"“{upload['name']}” is just arriving in this room. Wait until it is complete."
        )


def first_page(document: Register, page_size: int) -> dict[str, JSON]:
    return {"document": document["id"], "offset": 0, "size": page_size}


def id_of(document: Register | None) -> str:
    return str(document["id"]) if document is not None else ""
