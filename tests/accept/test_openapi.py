"""The OpenAPI document is true: of the routes, of the answers, and as a document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from server import errors
from server.accept.described.openapi import openapi
from tests.accept.client import OTHER, ROOM, Node, Wrapped, memory
from tests.accept.conftest import StartNode
from tests.accept.owned import OwnedRoom, bearer, owned_room
from tests.room_client import table

DOCUMENT = json.loads(json.dumps(openapi()))
JSON = ("application/json", "application/problem+json")
# What a browser loads by itself is no door.
UNDESCRIBED = ("/static/", "/favicon.svg")


def described() -> set[tuple[str, str]]:
    return {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }


def test_it_is_a_valid_document() -> None:
    assert [*OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


async def test_every_route_is_described_and_every_description_is_a_route(
    start_node: StartNode,
) -> None:
    node = await start_node(metrics=True)
    routes = set()
    for route in node.app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if route.method != "HEAD" and not path.startswith(UNDESCRIBED):
            routes.add((route.method, path))
    assert routes - described() == set(), (
        "server/accept/described/operations.py does not describe these"
    )
    assert described() - routes == set(), (
        "server/accept/described/operations.py describes what is not there"
    )


async def test_the_node_serves_it(node: Node) -> None:
    async with node.http.get("/api/openapi.json") as response:
        assert response.status == 200
        assert await response.json() == DOCUMENT


def test_every_error_that_comes_over_http_is_told_somewhere() -> None:
    told = set(re.findall(r"`(\w+)`", json.dumps([*_refusals()])))
    kinds = [errors.TablecastError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    # The first are bases; a chunk without an upload comes on the socket alone.
    never = {"busy", "refused", "no_upload"}
    assert {kind.code for kind in kinds} - never == told


def _refusals() -> Any:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                if "application/problem+json" in response.get("content", {}):
                    yield response["description"]


# What really comes


class Held:
    """Asks a node, and holds each answer to the document. `seen`: (operation, status, code)."""

    def __init__(self, room: OwnedRoom) -> None:
        self.room = room
        self.seen: set[tuple[str, int, str]] = set()

    async def ask(
        self, method: str, template: str, key: str | None = None, **options: Any
    ) -> tuple[int, str]:
        """`template`: as in the document; its parts come from `options["parts"]`."""
        parts = {"uuid": self.room.uuid, **options.pop("parts", {})}
        headers = bearer(self.room.owner if key is None else key) | options.pop("headers", {})
        url = template.format(**parts)
        async with self.room.node.http.request(
            method, url, headers=headers, allow_redirects=False, **options
        ) as response:
            body = await response.read()
        operation = DOCUMENT["paths"][template][method.lower()]
        responses = operation["responses"]
        assert str(response.status) in responses, (method, url, response.status, body)
        expected = responses[str(response.status)]
        for name in expected.get("headers", {}):
            assert name in response.headers
        content = expected.get("content", {})
        code = ""
        if not content:
            assert body == b"" or 300 <= response.status < 400
        else:
            assert response.content_type in content or "*/*" in content
        schema = content.get(response.content_type, {}).get("schema")
        if schema is not None and response.content_type in JSON:
            told = json.loads(body)
            _check(told, schema)
            code = told["code"] if response.status >= 400 else ""
        self.seen.add((operation["operationId"], response.status, code))
        return response.status, code


def _check(value: Any, schema: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(
        value
    )


@pytest.fixture
async def held(start_node: StartNode) -> Held:
    return Held(await owned_room(await start_node(metrics=True)))


U = "/api/rooms/{uuid}"
PAGE, ROWS = {"page_no": 1}, {"extension": "csv"}
CELL = {"row": 1, "column": 0}
CHAT = {"body": "hello", "id": "0190a3b2-0000-4000-8000-000000000001"}

GOOD: list[tuple[str, str, int, dict[str, Any]]] = [
    ("POST", "/api/rooms", 201, {}),
    ("GET", U, 200, {}),
    ("PUT", U + "/document", 200, {"data": table(300), "params": {"name": "t.tsv"}}),
    ("GET", U + "/document", 200, {}),
    ("POST", U + "/document/rows", 200, {"data": b"1\ttwo\tthree\n"}),
    ("PUT", U + "/version", 200, {"json": {"version": 1}}),
    ("PUT", U + "/dialect", 200, {"json": {"header": False}}),
    ("PUT", U + "/page", 200, {"json": {"page_no": 2}}),
    ("GET", U + "/pages/{page_no}", 200, {"parts": PAGE}),
    ("GET", U + "/pages/{page_no}.{extension}", 200, {"parts": {**PAGE, **ROWS}}),
    ("GET", U + "/rows", 200, {}),
    ("GET", U + "/rows.{extension}", 200, {"parts": ROWS}),
    ("GET", U + "/rows.{extension}", 200, {"parts": {"extension": "ndjson"}}),
    ("GET", U + "/rows/{row}/cells/{column}", 200, {"parts": CELL}),
    ("POST", U + "/chat", 201, {"json": CHAT}),
    ("POST", U + "/chat", 200, {"json": CHAT}),
    ("POST", U + "/chat", 303, {"data": {"body": "hello"}}),
    ("GET", U + "/chat", 200, {}),
    ("GET", U + "/presence", 200, {}),
    ("PUT", U + "/mode", 200, {"json": {"mode": "open"}}),
    ("POST", U + "/keys", 201, {}),
    ("PUT", U + "/life", 200, {"json": {"seconds": 60}}),
    ("GET", U, 200, {}),
    ("POST", U + "/cookie", 204, {}),
    ("DELETE", U + "/cookie", 204, {}),
    ("GET", "/", 200, {}),
    ("GET", "/t/{uuid}", 200, {}),
    ("GET", "/t/{uuid}", 302, {"parts": {"uuid": ROOM.upper()}}),
    ("GET", "/parser/", 302, {}),
    ("GET", "/parser/share/{uuid}", 302, {}),
    ("POST", "/rooms", 303, {}),
    ("POST", "/sample", 303, {}),
    ("GET", "/api/openapi.json", 200, {}),
    ("GET", "/api/asyncapi.json", 200, {}),
    ("GET", "/healthz", 200, {}),
    ("GET", "/readyz", 200, {}),
    ("GET", "/metrics", 200, {}),
    ("DELETE", U + "/keys", 204, {}),
    ("DELETE", U, 204, {}),
    ("GET", "/t/{uuid}", 410, {}),
    ("GET", U, 200, {}),
]


async def test_every_good_answer_is_as_it_is_described(held: Held) -> None:
    for method, template, status, options in GOOD:
        assert (await held.ask(method, template, **options))[0] == status, (method, template)
    good = {
        (operation["operationId"], int(status))
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if not response["description"].startswith("`")
    }
    # The answer of a socket is no body.
    sockets = {"openSocket", "openOriginalFreshTable", "openOriginalTable", "openOriginalChat"}
    seen = {(name, status) for name, status, _ in held.seen}
    assert good - seen == {(name, 101) for name in sockets}


BAD: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "no room": lambda method, path: {"parts": {"uuid": "nonsense"}},
    "an unused room": lambda method, path: {"parts": {"uuid": OTHER}},
    "no key": lambda method, path: {"key": ""},
    "a wrong key": lambda method, path: {"key": "nonsense"},
    "another site": lambda method, path: {"headers": {"Origin": "https://elsewhere.example"}},
    "nonsense": lambda method, path: {"data": b"\xff\x00\x01" * 5},
    "too much": lambda method, path: {"data": b"[" + b" " * 200_000},
    "nothing": lambda method, path: {"data": b""},
    "far away": lambda method, path: {
        "parts": {"page_no": 10**9, "row": 10**9, "column": 10**9, "extension": "xyz"},
        "params": {"start": "0", "formulas": "run", "document": "x"},
    },
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("state", ["shown", "arriving", "empty", "deleted"])
async def test_whatever_goes_wrong_is_described(
    start_node: StartNode, bad: Callable[[str, str], dict[str, Any]], state: str
) -> None:
    node = await start_node(metrics=True)
    held = Held(await owned_room(node))
    if state == "arriving":
        sender = await node.join(held.room.uuid, bearer(held.room.presenter))
        await sender.begin_upload("mine.tsv", None)
    elif state == "deleted":
        await held.room.ask("DELETE")
    elif state == "empty":
        held.room.uuid = OTHER
    good = {(method, template): options for method, template, _, options in reversed(GOOD)}
    for method, template in sorted(good, key=lambda each: (each[0] == "DELETE", each)):
        options = {"parts": {}, **good[method, template]}
        given = bad(method, template)
        if "data" in given:
            if method not in ("PUT", "POST"):
                continue
            options.pop("json", None)
        parts = {**options["parts"], **given.pop("parts", {})}
        await held.ask(method, template, **{**options, **given, "parts": parts})
    assert any(code for _, _, code in held.seen)


async def test_a_node_without_its_storage_answers_as_described(start_node: StartNode) -> None:
    async def gone(*_: Any, **__: Any) -> None:
        raise errors.Unavailable("The storage is away.")

    backend = Wrapped(memory(), check=gone, snapshot=gone, append=gone)
    held = Held(OwnedRoom(await start_node(backend, metrics=True), ROOM, "key"))
    for method, template, status, options in GOOD:
        if status < 300:
            _, code = await held.ask(method, template, **options)
            assert code in ("", "unavailable")


async def test_the_socket_is_refused_as_described(held: Held) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    bad = {"parts": {"uuid": "nonsense"}, "headers": upgrade}
    for path in ("/ws/{uuid}", "/parser/ws/{uuid}"):
        assert await held.ask("GET", path, **bad) == (404, "not_found")
    foreign = {**upgrade, "Origin": "https://elsewhere.example"}
    for path in ("/ws/{uuid}", "/parser/ws/{uuid}", "/parser/ws", "/chatsocket"):
        assert await held.ask("GET", path, headers=foreign) == (403, "forbidden")
