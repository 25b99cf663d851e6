"""`GET /api/asyncapi.json`: the room's socket as an AsyncAPI 3.0 document.

All of it comes from the types that the code itself reads and writes; docs/PROTOCOL.md says what
they mean.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, get_args

import msgspec
from aiohttp import web

from server.accept.described.describe import REGISTERS, ref
from server.accept.described.openapi import version
from server.document.messages import (
    ClientMessage,
    Deleted,
    Document,
    Page,
    ServerMessage,
    State,
    Upload,
    encode,
)

_FROM_SERVER: Final = get_args(ServerMessage)
_FROM_CLIENT: Final = get_args(ClientMessage)
_REGISTERS: Final = (Deleted, Document, Page, Upload)
# What is no JSON: a piece of a file.
_CHUNK: Final = "Chunk"


class AsyncApiDoor:
    async def handle(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=_encoded(), content_type="application/json")


def asyncapi() -> dict[str, Any]:
    """The document, as plain data. What the node sends is `send` here, as AsyncAPI wants it."""
    kinds = (*_FROM_SERVER, *_FROM_CLIENT)
    _, schemas = msgspec.json.schema_components(
        (*kinds, *_REGISTERS), ref_template="#/components/schemas/{name}"
    )
    schemas[State.__name__]["properties"]["set"] = _changed_registers()
    messages = {kind.__name__: _message(kind) for kind in kinds}
    messages[_CHUNK] = {
        "summary": "A piece of the file that is sent, as a binary message.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tablecast",
            "version": version(),
            "description": "The socket of a room. docs/PROTOCOL.md says what all of this means; "
            "/api/openapi.json has the other doors.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "room": {
                "address": "/ws/{uuid}",
                "parameters": {"uuid": {"description": "The room, in any spelling of its UUID."}},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "tell": _operation("send", [kind.__name__ for kind in _FROM_SERVER]),
            "listen": _operation("receive", [kind.__name__ for kind in _FROM_CLIENT] + [_CHUNK]),
        },
        "components": {"messages": messages, "schemas": schemas},
    }


@cache
def _encoded() -> bytes:
    return encode(asyncapi())


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": str(kind.__struct_config__.tag),
        "payload": ref(kind.__name__),
    }
    if kind.__doc__:
        described["summary"] = kind.__doc__.split("\n")[0]
    return described


def _operation(action: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/room"},
        "messages": [{"$ref": f"#/channels/room/messages/{name}"} for name in names],
    }


def _changed_registers() -> dict[str, Any]:
    """Each with its new value, or null where it has none any more."""
    return {
        **REGISTERS,
        "properties": {
            name: {"anyOf": [schema, {"type": "null"}]}
            for name, schema in REGISTERS["properties"].items()
        },
    }
