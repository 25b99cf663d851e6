"""The wire vocabulary: every message on a room's socket, as docs/PROTOCOL.md tells it to strangers.

Messages are JSON objects told apart by `type`. Unknown fields are ignored on both sides, so that
fields can be added. The register values travel inside `state.set`: `Document`, `Page`, `Upload`,
in `versions` a list of the last complete `Document`s, in `deleted` a `Deleted`; `mode`, `keyed`,
`invited` and `life` are plain values.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

from server.document.dialect import Dialect
from server.document.report import ParseReport
from server.errors import BadMessage, TablecastError

# People


class Person(Struct, frozen=True, kw_only=True):
    """Who did something. `id` is the viewer's, or "" for who acted through another door."""

    id: str
    name: str
    color: int = 0  # index of one of ten colours


# Register values


class Source(Struct, frozen=True, kw_only=True):
    """The bytes as they came of a document that was turned into UTF-8 by a correction, so that the
    next one can read them otherwise: the blocks of an earlier document, kept as long as this one.
    """

    id: str
    stored: int  # bytes
    blocks: int
    dialect: Dialect  # that they were cut by
    became: int  # bytes of UTF-8; where the document has more, rows were added to it since
    turned: bool = False  # these are UTF-8 too, and the bytes as they came when turned back


class Document(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Register `document`: the table everyone sees. Counts grow while `complete` is false."""

    id: str
    version: int
    name: str
    size: int | None  # bytes of the whole file; None while a stream's end is unknown
    stored: int  # bytes that can be read so far; ends at a record's end
    records: int  # records so far, the header among them
    rows: int  # records that are not the header
    columns: int  # cells in record 0
    blocks: int
    complete: bool
    created: int  # ms since 1970
    dialect: Dialect
    sheets: list[str] | None = None  # of the workbook that it was made of
    sheet: str | None = None  # the one that is shown
    report: ParseReport | None = None  # what was understood of the file
    by: Person | None = None  # who sent it
    corrected_by: Person | None = None  # who last chose how it is read, where that is known
    source: Source | None = None  # where a correction turned its bytes into UTF-8


class Place(Struct, frozen=True, kw_only=True):
    """Where the room was before its page was turned."""

    document: str
    offset: int


class Page(Struct, frozen=True, kw_only=True):
    """Register `page`: rows `offset + 1` to `offset + size` of document `document`."""

    document: str
    offset: int
    size: int
    by: Person | None = None  # who turned to it; None: nobody did, it came with its document
    at: int = 0  # ms since 1970
    back: Place | None = None  # where an undo leads


class Upload(Struct, frozen=True, kw_only=True):
    """Register `upload`: a file is arriving (None: none is). `previous` returns if it fails."""

    id: str  # becomes the id of the document
    name: str
    size: int | None
    received: int  # bytes
    kind: str = "upload"  # or "recut": stored bytes are cut anew by another dialect
    lease: int  # ms since 1970 on the backend's clock; past it any node gives the upload up
    paused: bool = False  # nothing comes: its sender is gone and may come back, or is silent
    previous: Document | None = None
    previous_page: Page | None = None
    by: Person | None = None  # who sends it, or has it cut anew


class Deleted(Struct, frozen=True, kw_only=True):
    """Register `deleted`: the room's owner has deleted it; no other register is left."""

    time: int  # ms since 1970


# Server to client


class Cut(Struct, frozen=True):
    """A cell that a page shows shortened. `row` counts from 1 (0: the header), `column` from 0."""

    row: int
    column: int
    size: int  # characters in the whole cell


class PageMessage(Struct, frozen=True, kw_only=True, tag="page", tag_field="type"):
    """One page of rows. `rev` is the room's revision that it shows (absent on a peek)."""

    uuid: str
    document: str
    page_no: int
    page_size: int
    total_number: int  # rows in the document
    first_row: int  # number of the first row in `data`, from 1
    header: list[str]
    data: list[list[str]]
    cut: list[Cut]
    columns_left_out: int = 0  # columns beyond what a page message can carry
    rev: int | UnsetType = UNSET
    peek: bool | UnsetType = UNSET


class Hello(Struct, frozen=True, kw_only=True, tag="hello", tag_field="type"):
    viewer: str
    node: str
    uuid: str
    limits: dict[str, int]
    role: str = "guest"  # "guest", "presenter" or "owner"


class State(Struct, frozen=True, kw_only=True, tag="state", tag_field="type"):
    """`set` holds new register values; with `whole` it holds all registers of the room."""

    uuid: str
    epoch: str
    rev: int
    set: dict[str, Any]
    whole: bool = False


class RoleMessage(Struct, frozen=True, kw_only=True, tag="role", tag_field="type"):
    """What this viewer may do from now on: `Hello.role` has the words."""

    role: str


class Said(Struct, frozen=True, kw_only=True):
    """One message of the chat."""

    id: str  # a UUID
    rev: int
    name: str
    color: int
    time: int  # ms since 1970
    body: str
    html: str  # one <div class="message">, safe to put into a page


class ChatMessage(Struct, frozen=True, kw_only=True, tag="chat", tag_field="type"):
    """`messages`, oldest first, are added to what the reader has, or replace it if `whole`.

    `rev` is the revision of the last of them (0: there is none).
    """

    epoch: str
    rev: int
    whole: bool
    messages: list[Said]


class Present(Struct, frozen=True, kw_only=True):
    """One viewer, as the others see it."""

    id: str
    name: str
    color: int
    page_no: int | None  # which page it looks at; None while there is no table
    browsing: bool  # False: it follows the room's page
    role: str


class HereMessage(Struct, frozen=True, kw_only=True, tag="here", tag_field="type"):
    """Who is here. `people` is None in a room with more than 50 viewers.

    `pages` has how many look at each page (its number as text), the 50 fullest at most.
    """

    count: int
    people: list[Present] | None = None
    pages: dict[str, int] = {}


class PointMessage(Struct, frozen=True, kw_only=True, tag="point", tag_field="type"):
    """Somebody points at a row (None: no more). Never stored."""

    viewer: str
    name: str
    color: int
    row: int | None  # from 1; 0: the header
    document: str


class Ack(Struct, frozen=True, kw_only=True, tag="ack", tag_field="type"):
    """Of this upload: bytes taken (`received`, for flow control) and readable (`stored`)."""

    upload: str
    received: int
    stored: int
    done: bool = False
    token: str | UnsetType = UNSET  # in the first: with it the upload goes on elsewhere


class HeartbeatMessage(Struct, frozen=True, kw_only=True, tag="heartbeat", tag_field="type"):
    """The last revision that was completely sent to this viewer."""

    epoch: str
    rev: int


class StatusMessage(Struct, frozen=True, kw_only=True, tag="status", tag_field="type"):
    """While `degraded`, the node cannot reach its backend: what is shown may be out of date."""

    degraded: bool


class ErrorMessage(Struct, frozen=True, kw_only=True, tag="error", tag_field="type"):
    code: str
    message: str
    retry: bool
    about: str | None = None  # type of the message that caused it
    id: str | UnsetType = UNSET  # of the chat message that was refused


class Bye(Struct, frozen=True, kw_only=True, tag="bye", tag_field="type"):
    reason: str
    again: bool  # whether to come back


ServerMessage = (
    PageMessage
    | Hello
    | State
    | RoleMessage
    | ChatMessage
    | HereMessage
    | PointMessage
    | Ack
    | HeartbeatMessage
    | StatusMessage
    | ErrorMessage
    | Bye
)


# Client to server


class TurnPage(Struct, frozen=True, tag="page", tag_field="type"):
    page_no: int


class Peek(Struct, frozen=True, tag="peek", tag_field="type"):
    page_no: int


class StartUpload(Struct, frozen=True, tag="upload", tag_field="type"):
    name: str
    size: int | None = None
    sheet: str | None = None  # of a workbook; the first one if None
    resume: str | None = None  # token of the upload that goes on
    replace: bool = False  # give up the upload that runs


class EndUpload(Struct, frozen=True, tag="upload_end", tag_field="type"):
    pass


class CancelUpload(Struct, frozen=True, tag="upload_cancel", tag_field="type"):
    pass


class Correct(Struct, frozen=True, tag="dialect", tag_field="type"):
    """How the table is to be read; None leaves a thing as it is."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool | None = None
    skip_lines: int | None = None  # before record 0


class ShowVersion(Struct, frozen=True, tag="version", tag_field="type"):
    version: int


class Me(Struct, frozen=True, tag="me", tag_field="type"):
    name: str
    color: int | None = None


class Say(Struct, frozen=True, tag="chat", tag_field="type"):
    id: str  # a UUID that the sender made
    body: str


class Follow(Struct, frozen=True, tag="follow", tag_field="type"):
    pass


class Point(Struct, frozen=True, tag="point", tag_field="type"):
    row: int | None


class Key(Struct, frozen=True, tag="key", tag_field="type"):
    key: str


class Sync(Struct, frozen=True, tag="sync", tag_field="type"):
    epoch: str = ""
    rev: int = 0
    chat_id: str | None = None  # of the last message it has; "" where it has none


class Heartbeat(Struct, frozen=True, tag="heartbeat", tag_field="type"):
    pass


ClientMessage = (
    TurnPage
    | Peek
    | StartUpload
    | EndUpload
    | CancelUpload
    | Correct
    | ShowVersion
    | Me
    | Say
    | Follow
    | Point
    | Key
    | Sync
    | Heartbeat
)

CLIENT_TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(ClientMessage))

# Of a chat message's id.
UUID_CHARACTERS = 36

_decoder = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()


def decode(text: str | bytes) -> ClientMessage:
    """A client's text message. Raises `BadMessage` that says what is wrong and where."""
    try:
        message: ClientMessage = _decoder.decode(text)
        return message
    except msgspec.ValidationError as error:
        raise _explain(text, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"A message must be a JSON object: {error}.") from None
    except RecursionError:
        raise BadMessage("A message must be a JSON object, not nested so deeply.") from None


def _explain(text: str | bytes, error: str) -> BadMessage:
    """What is wrong with a message whose fields do not fit."""
    try:
        read = msgspec.json.decode(text, type=_Typed)
    except (msgspec.MsgspecError, RecursionError):
        return BadMessage(
            'A message must be a JSON object with a text "type", as in {"type": "sync"}.'
        )
    kind = read.type
    if isinstance(kind, str) and kind in CLIENT_TYPES:
        problem = BadMessage(f"This {kind!r} message has a wrong field: {error}.")
    else:
        known = ", ".join(CLIENT_TYPES)
        problem = BadMessage(f"There is no message of type {kind!r:.60}; there are {known}.")
    problem.about = kind[:40] if isinstance(kind, str) else None
    # Of a longer one nobody could tell which it was.
    if kind == "chat" and isinstance(read.id, str) and len(read.id) <= UUID_CHARACTERS:
        problem.id = read.id
    return problem


class _Typed(Struct):
    type: Any
    id: Any = None


def encode(message: ServerMessage | Any) -> bytes:
    """UTF-8 JSON of a message, a register value or any plain data."""
    return _encoder.encode(message)


def error_message(
    error: TablecastError, about: str | None = None, id: str | UnsetType = UNSET
) -> ErrorMessage:
    return ErrorMessage(
        code=error.code, message=error.message, retry=error.retry, about=about, id=id
    )
