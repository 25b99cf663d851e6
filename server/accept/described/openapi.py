"""`GET /api/openapi.json`: the doors as an OpenAPI 3.1 document, for whoever writes a client."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from importlib import metadata
from typing import Any, Final

import msgspec
from aiohttp import web

from server.accept.api import Correction, PageTurn, VersionBody
from server.accept.chat import Words
from server.accept.described.describe import Answer, Operation, ref
from server.accept.described.operations import OPERATIONS
from server.accept.keys import Life, Mode
from server.document.messages import (
    Deleted,
    Document,
    Page,
    PageMessage,
    Present,
    Said,
    Upload,
    encode,
)
from server.errors import RateLimited, TablecastError

# What the code itself reads and writes.
_TYPES: Final = (
    Deleted,
    Document,
    Page,
    PageMessage,
    Present,
    Said,
    Upload,
    Correction,
    Life,
    Mode,
    PageTurn,
    VersionBody,
    Words,
)
_TAGS: Final = {
    "rooms": "Rooms. Any UUID is one.",
    "table": "The table that a room shows, and its versions.",
    "pages": "What is on its pages.",
    "chat": "What people say.",
    "owner": "What only the holder of a room's key may do.",
    "people": "Pages for people, and the socket that they open.",
    "original": "The doors of the original clients: docs/PROTOCOL.md, “The original doors”.",
    "node": "The node that answers.",
}
_PARAMETERS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "uuid": ({"type": "string"}, "The room, in any spelling of its UUID."),
    "page_no": ({"type": "integer", "minimum": 1}, "The page, from 1."),
    "row": ({"type": "integer", "minimum": 0}, "The row, from 1; 0 is the header."),
    "column": ({"type": "integer", "minimum": 0}, "The column, from 0."),
    "extension": ({"enum": ["json", "ndjson", "tsv", "csv"]}, "The format."),
}


class OpenApiDoor:
    async def handle(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=_encoded(), content_type="application/json")


def openapi() -> dict[str, Any]:
    """The document, as plain data."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in OPERATIONS:
        paths[operation.path][operation.method] = _operation(operation)
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tablecast",
            "version": version(),
            "summary": "Puts a table in front of a group.",
            "description": "docs/PROTOCOL.md says what all of this means; /api/asyncapi.json has "
            "the WebSocket.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": dict(paths),
        "components": {
            "schemas": {**schemas, "Problem": _problem()},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the room: the owner's, or the presenter key. In a "
                    "browser the cookie `tablecast-<uuid>` stands for it.",
                }
            },
        },
    }


@cache
def _encoded() -> bytes:
    return encode(openapi())


def version() -> str:
    """Of the program, as both documents tell it."""
    try:
        return metadata.version("tablecast")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "0"


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": {str(answer.status): _answer(answer) for answer in operation.answers},
    }
    for status, codes in _codes(operation.errors).items():
        told = _refusal(codes)
        before = described["responses"].get(str(status))
        if before is not None:  # a page says so where a page was asked for
            told["content"] |= before["content"]
        described["responses"][str(status)] = told
    parameters = [
        {"in": "path", "name": name, "required": True, "schema": schema, "description": text}
        for name in re.findall(r"{(\w+)}", operation.path)
        for schema, text in (_PARAMETERS[name],)
    ]
    parameters += [
        {"in": "query", "name": name, "schema": schema, "description": text}
        for name, (schema, text) in operation.query.items()
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": schema} for kind, schema in operation.body.items()},
        }
    if operation.keyed:
        described["security"] = [{}, {"key": []}]
    return described


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.means}
    if answer.content:
        described["content"] = {kind: {"schema": each} for kind, each in answer.content.items()}
    if answer.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in answer.headers.items()
        }
    return described


def _codes(errors: Sequence[type[TablecastError]]) -> dict[int, list[str]]:
    """The codes that may come with each status; at every door an address may ask too much."""
    codes: dict[int, list[str]] = defaultdict(list)
    all_of_them: set[type[TablecastError]] = {*errors, RateLimited}
    for error in sorted(all_of_them, key=lambda error: error.code):
        codes[error.status].append(error.code)
    codes[HTTPStatus.INTERNAL_SERVER_ERROR].append("internal")
    return {int(status): codes[status] for status in sorted(codes)}


def _refusal(codes: Sequence[str]) -> dict[str, Any]:
    narrowed = {"properties": {"code": {"enum": list(codes)}}}
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {"application/problem+json": {"schema": {"allOf": [ref("Problem"), narrowed]}}},
    }


def _problem() -> dict[str, Any]:
    return {
        "title": "Problem",
        "description": "An error (RFC 9457). `code` is for programs and never changes; `detail` is "
        "a sentence for people; `retry`: whether the same request may work later; `rows_added` "
        "where some may have been.",
        "type": "object",
        "properties": {
            "type": {"const": "about:blank"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "retry": {"type": "boolean"},
            "rows_added": {"type": "integer"},
        },
        "required": ["type", "title", "status", "detail", "code", "retry"],
        "additionalProperties": False,
    }
