"""Every error that Tablecast tells a person or a program about.

    TablecastError
    |-- Refused              the request is at fault; sending it again does not help
    |   |-- BadMessage       not understood: JSON, type, field
    |   |-- NotFound         a malformed address
    |   |-- Forbidden        a page of another site asks
    |   |-- PresentersOnly, OwnerOnly, WrongKey
    |   |                    this takes a key of the room, the owner's, another one than was given
    |   |-- NoKey            nobody has a key of this room
    |   |-- RoomDeleted      the room's owner has deleted it
    |   |-- BlankMessage     nothing is said
    |   |-- NoDocument, NoUpload, PageOutOfRange
    |   |-- NotText, EmptyDocument
    |   |-- Damaged          a packed file or a spreadsheet that is cut off or broken
    |   |-- Protected        one with a password
    |   |-- NotOneTable      an archive of no file, of several, or of another archive
    |   |-- Unsupported      a kind of file that could be a table, and cannot be read here
    |   |-- NoSheet          a workbook without the sheet that was asked for
    |   `-- TooLarge         over a limit, which it names
    |-- Busy                 the request is fine; later it may work
    |   |-- UploadInProgress, UploadLost, UploadReplaced, RateLimited, Full, Draining
    |   `-- Conflict         the room changed in between; look again
    |-- Unavailable          the backend cannot be reached
    |-- StorageFull          the backend has no room for more bytes
    `-- Missing              bytes that a register names are gone (a newer state follows)

`code` is the same on the socket and over HTTP and never changes once released. `message` is a
sentence for people: what happened, what was kept, what to do. `retry` tells a program whether the
same request may succeed later.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar


class TablecastError(Exception):
    """Base of all errors that are shown; subclasses say code, HTTP status and whether to retry.

    `more`: what else a program is told over HTTP, by the names of docs/PROTOCOL.md.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    retry: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.more: dict[str, int] = {}


class Refused(TablecastError):
    code = "refused"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BadMessage(Refused):
    """`about`: the type of the message, `id`: that of a chat message, where they could be read."""

    code = "bad_message"
    status = HTTPStatus.BAD_REQUEST
    about: str | None = None
    id: str | None = None


class NotFound(Refused):
    code = "not_found"
    status = HTTPStatus.NOT_FOUND


class Forbidden(Refused):
    code = "forbidden"
    status = HTTPStatus.FORBIDDEN


class PresentersOnly(Refused):
    code = "presenters_only"
    status = HTTPStatus.FORBIDDEN


class OwnerOnly(Refused):
    code = "owner_only"
    status = HTTPStatus.FORBIDDEN


class WrongKey(Refused):
    code = "wrong_key"
    status = HTTPStatus.FORBIDDEN


class NoKey(Refused):
    code = "no_key"
    status = HTTPStatus.CONFLICT


class RoomDeleted(Refused):
    code = "room_deleted"
    status = HTTPStatus.GONE


class BlankMessage(Refused):
    code = "blank_message"


class NoDocument(Refused):
    code = "no_document"
    status = HTTPStatus.NOT_FOUND


class NoUpload(Refused):
    code = "no_upload"
    status = HTTPStatus.CONFLICT


class PageOutOfRange(Refused):
    code = "page_out_of_range"
    status = HTTPStatus.NOT_FOUND


class NotText(Refused):
    code = "not_text"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class EmptyDocument(Refused):
    code = "empty_document"


class Damaged(Refused):
    code = "damaged"


class Protected(Refused):
    code = "password_protected"


class NotOneTable(Refused):
    code = "not_one_table"


class Unsupported(Refused):
    code = "unsupported"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class NoSheet(Refused):
    code = "no_sheet"
    status = HTTPStatus.NOT_FOUND


class TooLarge(Refused):
    """`what` is over `limit` (in `unit`); the message names both."""

    code = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, message: str, *, what: str, limit: int) -> None:
        super().__init__(message)
        self.what = what
        self.limit = limit


class Busy(TablecastError):
    code = "busy"
    status = HTTPStatus.CONFLICT
    retry = True


class Conflict(Busy):
    code = "conflict"


class UploadInProgress(Busy):
    code = "upload_in_progress"


class UploadLost(Busy):
    code = "upload_lost"


class UploadReplaced(Busy):
    """Somebody wanted it so; sent again, it would replace theirs."""

    code = "upload_replaced"
    retry = False


class RateLimited(Busy):
    """After `after` seconds it is no longer too fast."""

    code = "rate_limited"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, message: str, *, after: float = 1) -> None:
        super().__init__(message)
        self.after = after


class Full(Busy):
    code = "node_full"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class Draining(Busy):
    code = "draining"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class Unavailable(TablecastError):
    code = "unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry = True


class StorageFull(TablecastError):
    code = "storage_full"
    status = HTTPStatus.INSUFFICIENT_STORAGE
    retry = True


class Missing(TablecastError):
    code = "missing"
    status = HTTPStatus.GONE
    retry = True
