"""Every answer tells browsers what a page may do, who may frame it, and that nobody keeps it."""

from __future__ import annotations

import re

import aiohttp
import pytest

from tests.nodes.harness import Node
from tests.security.conftest import Others

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]

HTML = {"Accept": "text/html"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
# Method, path, headers, status.
ANSWERS: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/", {}, 200),
    ("GET", "/t/{room}", {}, 200),
    ("GET", "/t/{ROOM}", {}, 302),
    ("POST", "/rooms", {}, 303),
    ("GET", "/api/rooms/{room}", {}, 200),
    ("GET", "/api/rooms/{room}/document", {}, 200),
    ("GET", "/api/rooms/{room}/rows.csv", {}, 200),
    ("GET", "/api/rooms/{room}/pages/1", {}, 200),
    ("GET", "/api/rooms/{room}/rows/1/cells/0", {}, 200),
    ("GET", "/api/rooms/{room}/chat", {}, 200),
    ("GET", "/api/openapi.json", {}, 200),
    ("GET", "/healthz", {}, 200),
    ("GET", "/metrics", {}, 200),
    ("GET", "/static/js/main.js", {}, 200),
    ("GET", "/favicon.svg", {}, 200),
    ("GET", "/nowhere", {}, 404),
    ("GET", "/nowhere", HTML, 404),
    ("GET", "/t/no-uuid", HTML, 404),
    ("GET", "/t/{room}?page=999", HTML, 404),
    ("GET", "/static/js/nothing.js", {}, 404),
    ("GET", "/static/../templates/room.html", {}, 404),
    ("PATCH", "/api/rooms", {}, 405),
    ("POST", "/api/rooms", {"Origin": "https://evil.example"}, 403),
    ("GET", "/ws/{room}", {}, 400),
    ("GET", "/ws/{room}", {**UPGRADE, "Origin": "https://evil.example"}, 403),
    ("GET", "/ws/no-uuid", UPGRADE, 404),
    ("GET", "/ws/{room}", {**UPGRADE, "Sec-WebSocket-Version": "12"}, 400),
    ("PUT", "/api/rooms/{room}/page", {"Expect": "the impossible"}, 417),
]


async def ask(
    node: Node, others: Others, method: str, path: str, headers: dict[str, str]
) -> aiohttp.ClientResponse:
    url = node.url + path.format(room=others.room, ROOM=others.room.upper())
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, allow_redirects=False) as response,
    ):
        await response.read()
        return response


def policy(response: aiohttp.ClientResponse) -> dict[str, list[str]]:
    (text,) = response.headers.getall("Content-Security-Policy")
    rules = [rule.split() for rule in text.split(";")]
    assert len({rule[0] for rule in rules}) == len(rules)
    return {rule[0]: rule[1:] for rule in rules}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"), ANSWERS, ids=lambda value: str(value)[:40]
)
async def test_every_answer_good_or_bad_has_the_headers(
    node: Node, others: Others, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = await ask(node, others, method, path, headers)
    told = response.headers
    assert response.status == status
    assert told.getall("X-Content-Type-Options") == ["nosniff"]
    assert told.getall("Referrer-Policy") == ["same-origin"]
    assert told.getall("Cross-Origin-Opener-Policy") == ["same-origin"]
    assert told.getall("Cross-Origin-Resource-Policy") == ["same-origin"]
    assert told.getall("X-Frame-Options") == ["DENY"]
    assert "camera=()" in told["Permissions-Policy"]
    assert "Access-Control-Allow-Origin" not in told
    assert "Strict-Transport-Security" not in told, "this site is not https"
    assert told.getall("Server") == ["Tablecast"]
    kept = "no-cache" if path.startswith("/static") and status == 200 else "no-store"
    assert told.getall("Cache-Control") == [kept]
    rules = policy(response)
    assert rules["default-src"] == ["'none'"]
    assert rules["frame-ancestors"] == ["'none'"]
    if response.content_type != "text/html":
        assert rules["sandbox"] == []


@pytest.mark.parametrize("path", ["/", "/t/{room}", "/t/no-uuid"])
async def test_a_page_runs_and_loads_only_what_this_site_serves(
    node: Node, others: Others, path: str
) -> None:
    response = await ask(node, others, "GET", path, HTML)
    rules = policy(response)
    assert rules == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "connect-src": ["'self'", node.url.replace("http", "ws")],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    # So nothing of this may stand in it.
    page = await response.text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    for attributes in re.findall(r"<script([^>]*)>", page):
        assert "src=" in attributes or "application/json" in attributes


@pytest.mark.parametrize(
    "host",
    ["evil.example; script-src *", "a'b", "a b", "*", "evil.example,x", "'unsafe-inline'", "h:1/x"],
)
async def test_a_host_that_is_none_gets_no_word_in_the_policy(
    node: Node, others: Others, host: str
) -> None:
    response = await ask(node, others, "GET", "/", {"Host": "x", "X-Forwarded-Host": host})
    assert response.status == 200
    assert policy(response)["connect-src"] in (["'self'"], ["'self'", "ws://evil.example"])
    assert policy(response)["script-src"] == ["'self'"]


async def test_documents_are_downloads_that_nothing_can_run_in(node: Node, others: Others) -> None:
    for path in ("document", "rows.csv", "rows.json"):
        response = await ask(node, others, "GET", f"/api/rooms/{{room}}/{path}", HTML)
        assert response.headers["Content-Disposition"].startswith("attachment;")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in policy(response)


async def test_where_the_site_is_https_browsers_are_told_to_stay_there(
    node: Node, others: Others
) -> None:
    secure = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "tables.example"}
    response = await ask(node, others, "GET", "/", secure)
    assert response.headers["Strict-Transport-Security"] == "max-age=15552000"
    assert policy(response)["connect-src"] == ["'self'", "wss://tables.example"]
