"""The operations of rooms: making and reading them, chat, presence, and what only owners do."""

from __future__ import annotations

from typing import Final

from server.accept.described.describe import (
    CHANGE,
    EMPTY,
    FORM,
    JSON,
    KEY,
    MODE,
    NUMBER,
    OWN,
    READ,
    REGISTERS,
    REV,
    ROOM_ID,
    TEXT,
    Answer,
    Operation,
    as_json,
    listing,
    of,
    ref,
)
from server.errors import (
    BadMessage,
    BlankMessage,
    Forbidden,
    NotFound,
    RateLimited,
    StorageFull,
    TooLarge,
    Unavailable,
    WrongKey,
)

ROOM_OPERATIONS: Final = (
    Operation(
        "post",
        "/api/rooms",
        "makeRoom",
        "rooms",
        "A fresh room, and the key that makes its holder the owner",
        [
            Answer(
                201,
                "Made. The key is told only here.",
                as_json(of(uuid=ROOM_ID, url=TEXT, key=KEY)),
                {"Location": "The room's page."},
            )
        ],
        (Forbidden, RateLimited, Unavailable),
        query={"cookie": ({"enum": ["0", "1"]}, "`1`: set the room's cookie as well.")},
    ),
    Operation(
        "get",
        "/api/rooms/{uuid}",
        "getRoom",
        "rooms",
        "All that a room shows, at one revision",
        [
            Answer(
                200,
                "The registers. A room that nobody has used has none.",
                as_json(of(uuid=ROOM_ID, epoch=TEXT, rev=REV, set=REGISTERS)),
            )
        ],
        READ,
    ),
    Operation(
        "get",
        "/api/rooms/{uuid}/presence",
        "getPresence",
        "rooms",
        "Who is here: their names, and how many look at each page",
        [
            Answer(
                200,
                "As in the message `here`.",
                as_json(
                    of(
                        count={"type": "integer"},
                        people={"anyOf": [listing(ref("Present")), {"type": "null"}]},
                        pages={"type": "object", "additionalProperties": {"type": "integer"}},
                    )
                ),
            )
        ],
        READ,
    ),
    Operation(
        "get",
        "/api/rooms/{uuid}/chat",
        "getChat",
        "chat",
        "The last messages, the oldest first",
        [
            Answer(
                200,
                "The messages.",
                as_json(of(epoch=TEXT, rev=REV, messages=listing(ref("Said")))),
            )
        ],
        READ,
    ),
    Operation(
        "post",
        "/api/rooms/{uuid}/chat",
        "say",
        "chat",
        "Say something to everyone",
        [
            Answer(201, "Said.", as_json(ref("Said"))),
            Answer(200, "It was said before, by the same `id`.", as_json(ref("Said"))),
            Answer(
                303, "A form was sent: back to the page.", EMPTY, {"Location": "The room's page."}
            ),
        ],
        (*CHANGE, BadMessage, BlankMessage, RateLimited, StorageFull, TooLarge),
        body={JSON: ref("Words"), FORM: ref("Words")},
    ),
    Operation(
        "delete",
        "/api/rooms/{uuid}",
        "deleteRoom",
        "owner",
        "Delete the room with its table, versions and chat",
        [Answer(204, "Deleted.")],
        OWN,
        keyed=True,
    ),
    Operation(
        "put",
        "/api/rooms/{uuid}/mode",
        "setMode",
        "owner",
        "Who may change what the room shows: everyone, or presenters",
        [Answer(200, "It is so.", as_json(of(mode=MODE, rev=REV)))],
        (*OWN, BadMessage, TooLarge),
        body=as_json(ref("Mode")),
        keyed=True,
    ),
    Operation(
        "post",
        "/api/rooms/{uuid}/keys",
        "makePresenterKey",
        "owner",
        "A new presenter key in place of the one before",
        [
            Answer(
                201,
                "Made. The key is told only here.",
                as_json(of(key=KEY, role={"const": "presenter"})),
            )
        ],
        OWN,
        keyed=True,
    ),
    Operation(
        "delete",
        "/api/rooms/{uuid}/keys",
        "revokePresenterKey",
        "owner",
        "Revoke the presenter key",
        [Answer(204, "There is none any more.")],
        OWN,
        keyed=True,
    ),
    Operation(
        "put",
        "/api/rooms/{uuid}/life",
        "setLife",
        "owner",
        "How long the room lives after its last use",
        [Answer(200, "It is so.", as_json(of(seconds=NUMBER, rev=REV)))],
        (*OWN, BadMessage, TooLarge),
        body=as_json(ref("Life")),
        keyed=True,
    ),
    Operation(
        "post",
        "/api/rooms/{uuid}/cookie",
        "takeCookie",
        "owner",
        "A cookie that stands for the key in `Authorization`",
        [Answer(204, "It is set.", EMPTY, {"Set-Cookie": "HttpOnly, SameSite=Strict."})],
        (*READ, Forbidden, WrongKey),
        keyed=True,
    ),
    Operation(
        "delete",
        "/api/rooms/{uuid}/cookie",
        "dropCookie",
        "owner",
        "Forget the cookie",
        [Answer(204, "It is forgotten.", EMPTY, {"Set-Cookie": "One that has expired."})],
        (NotFound, Forbidden),
    ),
)
