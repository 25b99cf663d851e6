"""No page of another site acts here, at whatever door, also one that is built tomorrow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.accept.edge.guard import SAFE_METHODS
from tests.accept.client import ROOM, Node
from tests.accept.conftest import StartNode
from tests.accept.conftest import start_node as start_node

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
PARTS = {
    "uuid": ROOM,
    "page_no": "1",
    "row": "1",
    "column": "0",
    "extension": "csv",
}
EVIL = "https://evil.example"


@pytest.fixture
async def node(start_node: StartNode) -> Node:
    node: Node = await start_node()
    return node


def doors(node: Node) -> list[tuple[str, str]]:
    """Method and a path of every route."""
    found = []
    for route in node.app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        for name, value in PARTS.items():
            path = path.replace("{" + name + "}", value)
        assert "{" not in path, f"PARTS has no value for {path}"
        found.append((route.method, path))
    assert len(found) > 40
    return found


async def test_every_door_that_changes_anything_refuses_a_foreign_origin(node: Node) -> None:
    before = await node.registers()
    unsafe = [(method, path) for method, path in doors(node) if method not in SAFE_METHODS]
    assert len(unsafe) >= 15
    for method, path in unsafe:
        for origin in (EVIL, "null"):
            headers = {"Origin": origin, "Content-Type": "text/plain"}
            problem = await node.refusal(
                method, path, 403, "forbidden", headers=headers, data=b"a\tb\n"
            )
            assert "another site" in problem["detail"], (method, path)
    assert await node.registers() == before


async def test_no_door_becomes_a_socket_for_a_foreign_origin(node: Node) -> None:
    opened = []
    for method, path in doors(node):
        if method != "GET":
            continue
        own = {**UPGRADE, "Origin": node.url}
        async with node.http.get(path, headers=own) as response:
            if response.status == 101:
                opened.append(path)
        await node.refusal(
            "GET", path, 403, "forbidden", headers={**UPGRADE, "Origin": EVIL, "Accept": "*/*"}
        )
    assert f"/ws/{ROOM}" in opened


async def test_a_method_that_no_door_knows_is_no_way_around(node: Node) -> None:
    for method in ("POST", "PATCH", "PURGE", "PROPFIND"):
        async with node.http.request(
            method, f"/api/rooms/{ROOM}", headers={"Origin": EVIL}
        ) as response:
            assert response.status == 403


async def test_no_foreign_page_may_read_an_answer(node: Node) -> None:
    for method, path in doors(node):
        if method not in SAFE_METHODS:
            continue
        headers = {"Origin": EVIL, "Access-Control-Request-Method": "PUT"}
        for asked in {method, "OPTIONS"}:
            async with node.http.request(asked, path, headers=headers) as response:
                assert not [name for name in response.headers if "Access-Control" in name], path


async def test_a_name_that_was_bound_to_this_address_opens_nothing_where_sites_are_named(
    start_node: StartNode,
) -> None:
    """DNS rebinding: a foreign page whose own name now means this node, so that both agree."""
    node: Node = await start_node(allowed_origins=("https://tables.example",))
    rebound: dict[str, Any] = {"Host": "evil.example", "Origin": "http://evil.example"}
    for method, path in doors(node):
        if method not in SAFE_METHODS:
            await node.refusal(method, path, 403, "forbidden", headers=rebound)
    await node.refusal("GET", f"/ws/{ROOM}", 403, "forbidden", headers={**UPGRADE, **rebound})


async def test_a_name_that_was_bound_to_this_address_brings_no_keys_along(node: Node) -> None:
    async with node.http.post("/api/rooms", params={"cookie": "1"}) as response:
        made = json.loads(await response.read())
        cookie = response.headers["Set-Cookie"]
    # Kept by the browser for the name it was given under, and for no other.
    assert "Domain" not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert made["key"] not in made["url"]


async def test_sites_that_are_named_may_frame_pages_and_nothing_else(
    start_node: StartNode,
) -> None:
    node = await start_node(embedders=("https://intranet.example", "https://b.example:8443"))
    async with node.http.get("/") as response:
        assert (
            "frame-ancestors https://intranet.example https://b.example:8443"
            in response.headers["Content-Security-Policy"]
        )
        # It knows no names, and would forbid what the policy allows.
        assert "X-Frame-Options" not in response.headers
    async with node.http.get("/api/openapi.json") as response:
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Frame-Options"] == "DENY"
