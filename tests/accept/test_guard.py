"""Pages of other sites may not act here; programs and this site's own pages may."""

from __future__ import annotations

from typing import Any

import pytest

from server.accept.edge.guard import TokenBucket, canonical_uuid
from tests.accept.client import ROOM, Node
from tests.accept.conftest import StartNode
from tests.room_client import table

CANONICAL = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
UNSAFE: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", f"/ws/{ROOM}", {"headers": UPGRADE}),
    ("PUT", f"/api/rooms/{ROOM}/document", {"data": b"a\tb\n1\t2\n"}),
    ("PUT", f"/api/rooms/{ROOM}/page", {"json": {"page_no": 2}}),
    ("POST", "/api/rooms", {}),
    ("POST", "/sample", {}),
]
FOREIGN = [
    "https://evil.example",
    "null",
    "",
    "file://",
    "http://[",
    "http://{host}.evil.example",
    "http://evil.example/{host}",
    "http://evil@{host}",
    "javascript://{host}",
    "ws://{host}",
    "//{host}",
    "{host}",
    "http://{host}/",
]


@pytest.mark.parametrize(("method", "path", "options"), UNSAFE, ids=lambda v: str(v)[:30])
async def test_a_page_of_another_site_may_change_nothing(
    node: Node, method: str, path: str, options: dict[str, Any]
) -> None:
    document = await node.put(table(1000))
    for origin in FOREIGN:
        headers = {**options.get("headers", {}), "Origin": origin.format(host=node.host)}
        problem = await node.refusal(
            method, path, 403, "forbidden", **{**options, "headers": headers}
        )
        assert "another site" in problem["detail"]
    registers = await node.registers()
    assert registers["document"] == document
    assert registers["page"]["offset"] == 0


@pytest.mark.parametrize(("method", "path", "options"), UNSAFE, ids=lambda v: str(v)[:30])
async def test_this_sites_own_pages_and_programs_may(
    node: Node, method: str, path: str, options: dict[str, Any]
) -> None:
    await node.put(table(1000))
    # A proxy may end TLS without saying so.
    for origin in ({}, {"Origin": node.url}, {"Origin": f"https://{node.host}"}):
        headers = {**options.get("headers", {}), **origin}
        async with node.http.request(
            method, path, allow_redirects=False, **{**options, "headers": headers}
        ) as response:
            assert response.status in (101, 200, 201, 303), await response.text()


async def test_reading_is_open_to_all(node: Node) -> None:
    headers = {"Origin": "https://evil.example"}
    for path in ("/", f"/t/{ROOM}", f"/api/rooms/{ROOM}", "/healthz"):
        async with node.http.get(path, headers=headers) as response:
            assert response.status == 200
            # Without this header the foreign page's script does not get to see the answer.
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_only_the_sites_that_are_named_may_where_some_are(start_node: StartNode) -> None:
    node = await start_node(allowed_origins=("https://a.example", "https://b.example:8443"))
    expected = {
        "https://a.example": 201,
        "https://b.example:8443": 201,
        "https://b.example": 403,
        "http://a.example": 403,
        "https://evil.example": 403,
        node.url: 403,
    }
    for origin, status in expected.items():
        async with node.http.post("/api/rooms", headers={"Origin": origin}) as response:
            assert response.status == status, origin
    async with node.http.post("/api/rooms") as response:
        assert response.status == 201


@pytest.mark.parametrize(
    "text",
    [
        CANONICAL,
        CANONICAL.upper(),
        CANONICAL.replace("-", ""),
        "{" + CANONICAL + "}",
        "{" + CANONICAL.upper().replace("-", "") + "}",
    ],
)
def test_every_spelling_of_a_uuid_means_the_same_room(text: str) -> None:
    assert canonical_uuid(text) == CANONICAL


@pytest.mark.parametrize(
    "text",
    ["", "x", CANONICAL[:-1], CANONICAL + "0", CANONICAL[:-1] + "g", "-" * 36, "٣" * 32, "/" * 36],
)
def test_what_is_no_uuid_means_no_room(text: str) -> None:
    assert canonical_uuid(text) is None


def test_a_bucket_allows_a_burst_and_then_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("server.accept.edge.guard.time.monotonic", lambda: now)
    bucket = TokenBucket(rate=8, burst=3)
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    now += 0.125
    assert [bucket.take() for _ in range(2)] == [True, False]
    now += 3600
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
