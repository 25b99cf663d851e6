"""The words in which operations.py describes the doors: answers, schemas, families of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from server.document.formats import FORMATS
from server.errors import (
    BadMessage,
    Conflict,
    Damaged,
    Draining,
    EmptyDocument,
    Forbidden,
    Missing,
    NoDocument,
    NoKey,
    NoSheet,
    NotFound,
    NotOneTable,
    NotText,
    OwnerOnly,
    PresentersOnly,
    Protected,
    RoomDeleted,
    StorageFull,
    TablecastError,
    TooLarge,
    Unavailable,
    Unsupported,
    UploadInProgress,
    UploadLost,
    UploadReplaced,
    WrongKey,
)

Schema = Mapping[str, Any]
Errors = Sequence[type[TablecastError]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which it goes well. `content`: media type → schema; `headers`: name → meaning."""

    status: int
    means: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """`query`: name → (schema, meaning). `keyed`: a key in `Authorization` counts."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    answers: Sequence[Answer]
    errors: Errors = ()
    query: Mapping[str, tuple[Schema, str]] = field(default_factory=dict)
    body: Mapping[str, Schema] = field(default_factory=dict)
    keyed: bool = False


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def of(**properties: Schema) -> Schema:
    """An object with exactly these."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def listing(items: Schema) -> Schema:
    return {"type": "array", "items": items}


TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "integer"}
BYTES: Final[Schema] = {}
ROOM_ID: Final[Schema] = {"type": "string", "format": "uuid"}
KEY: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}
MODE: Final[Schema] = {"enum": ["open", "presenting"]}
CELLS: Final = listing(TEXT)
REGISTERS: Final[Schema] = {
    "type": "object",
    "properties": {
        "document": ref("Document"),
        "page": ref("Page"),
        "upload": ref("Upload"),
        "versions": listing(ref("Document")),
        "mode": {"const": "presenting"},
        "keyed": {"const": True},
        "invited": {"const": True},
        "life": NUMBER,
        "deleted": ref("Deleted"),
    },
    "additionalProperties": False,
}
SOME_ROWS: Final = of(first_row=NUMBER, total_number=NUMBER, header=CELLS, data=listing(CELLS))

EMPTY: Final[Mapping[str, Schema]] = {}
JSON: Final = "application/json"
HTML: Final = {"text/html": TEXT}
FORM: Final = "application/x-www-form-urlencoded"


def as_json(schema: Schema) -> Mapping[str, Schema]:
    return {JSON: schema}


def in_formats(json: Schema) -> Mapping[str, Schema]:
    return {f.media_type: json if f.media_type == JSON else TEXT for f in FORMATS.values()}


READ: Final[Errors] = (NotFound, Unavailable)
TABLE: Final[Errors] = (*READ, NoDocument, Missing)
# A change from a page in a browser may come from another site.
CHANGE: Final[Errors] = (*READ, Forbidden, RoomDeleted, Conflict)
PRESENT: Final[Errors] = (*CHANGE, PresentersOnly, WrongKey)
OWN: Final[Errors] = (*CHANGE, NoKey, OwnerOnly, WrongKey)
FILE: Final[Errors] = (
    BadMessage,
    Damaged,
    Draining,
    EmptyDocument,
    NoSheet,
    NotOneTable,
    NotText,
    Protected,
    StorageFull,
    TooLarge,
    Unsupported,
    UploadInProgress,
    UploadLost,
    UploadReplaced,
)
ROWS_QUERY: Final = {
    "start": (NUMBER, "The first row, from 1."),
    "count": (NUMBER, "How many rows; fewer where the table ends."),
}
FORMULAS: Final = (
    {"enum": ["keep", "defuse"]},
    "`defuse`: cells that a spreadsheet would run get an apostrophe before them (TSV and CSV).",
)
DOCUMENT: Final = (TEXT, "The id of the document that is meant; with another one shown, 404.")
ROWS_HEADERS: Final = {"Tablecast-Document": "The id of the document that the rows are of."}
REV: Final = NUMBER
