"""What Nginx answers by itself is as strict as what nodes answer, and it bounds what they get."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO

import aiohttp
import pytest
import pytest_asyncio

from tests.nodes.harness import ROOT, Nginx, Node, free_port
from tests.room_client import PATIENCE, RoomClient
from tests.security.conftest import Others
from tests.security.raw import Raw

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]

# The times and numbers of nginx.conf, and what the tests wait for in their place.
QUICKER = {
    "client_header_timeout 15s": "client_header_timeout 1s",
    "client_body_timeout 60s": "client_body_timeout 1s",
    "limit_conn per_address 6000": "limit_conn per_address 5",
}
AWAY_FROM_HERE = "127.0.0.2"


def made_quicker(nginx: Nginx) -> Nginx:
    path = nginx.prefix / "nginx.conf"
    text = path.read_text()
    for slow, quick in QUICKER.items():
        assert text.count(slow) == 1, slow
        text = text.replace(slow, quick)
    path.write_text(text)
    return nginx


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nginx(node: Node, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nginx]:
    nginx = made_quicker(Nginx(tmp_path_factory.mktemp("nginx"), [node.port]))
    await nginx.start()
    yield nginx
    nginx.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lonely(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nginx]:
    """One that no node answers."""
    nginx = Nginx(tmp_path_factory.mktemp("lonely"), [free_port()])
    await nginx.start()
    yield nginx
    nginx.kill()


async def get(url: str, accept: str = "*/*", **options: BytesIO) -> aiohttp.ClientResponse:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            "POST" if options else "GET", url, headers={"Accept": accept}, **options
        ) as response,
    ):
        await response.read()
        return response


async def test_metrics_are_not_shown_to_the_outside(nginx: Nginx, node: Node) -> None:
    for path in ("/metrics", "//metrics", "/./metrics", "/%6detrics", "/x/../metrics"):
        response = await get(nginx.url + path)
        assert response.status == 404, path
        assert "tablecast_" not in await response.text()
    assert (await get(f"{node.url}/metrics")).status == 200


async def test_headers_come_once_whoever_answers(nginx: Nginx, lonely: Nginx) -> None:
    answers = [
        await get(f"{nginx.url}/"),
        await get(f"{nginx.url}/nowhere"),
        await get(f"{nginx.url}/metrics"),
        await get(f"{nginx.url}/nginx/health"),
        await get(f"{nginx.url}/api/rooms", data=BytesIO(bytes(2 << 20))),
        await get(f"{lonely.url}/", "text/html"),
        await get(f"{lonely.url}/"),
    ]
    assert [answer.status for answer in answers] == [200, 404, 404, 200, 413, 503, 503]
    for answer in answers:
        told = answer.headers
        assert len(told.getall("Content-Security-Policy")) == 1
        assert "frame-ancestors 'none'" in told["Content-Security-Policy"]
        assert told.getall("X-Content-Type-Options") == ["nosniff"]
        assert told.getall("Referrer-Policy") == ["same-origin"]
        assert told.getall("X-Frame-Options") == ["DENY"]
        assert told.getall("Cache-Control") == ["no-store"]
        assert told.getall("Server") == ["nginx"]
        retry = ["2"] if answer.status == 503 else []
        assert told.getall("Retry-After", []) == retry


async def test_the_style_of_the_page_that_nobody_is_there_is_the_one_that_is_allowed(
    lonely: Nginx,
) -> None:
    page = await get(f"{lonely.url}/t/room", "text/html")
    text = await page.text()
    (style,) = re.findall("<style>(.*?)</style>", text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"\sstyle=|<script|\son\w+=", text)


async def test_heads_and_bodies_that_do_not_come_are_given_up(nginx: Nginx, others: Others) -> None:
    half = f"PUT /api/rooms/{others.room}/page HTTP/1.1\r\nHost: here\r\n".encode()
    for sent in (b"", half, half + b"Content-Length: 20\r\n\r\n{"):
        async with await Raw.open(nginx.port) as raw:
            raw.send(sent)
            told = await raw.all()
            assert told == b"" or told.split()[1] in (b"408", b"400"), told
    await others.go_on()


async def test_large_heads_are_refused_before_a_node_sees_them(nginx: Nginx) -> None:
    get = b"GET / HTTP/1.1\r\nHost: here\r\n"
    for bomb in (b"X: " + b"a" * 100_000 + b"\r\n\r\n", b"X: x\r\n" * 20_000 + b"\r\n"):
        async with await Raw.open(nginx.port) as raw:
            raw.send(get, bomb)
            told = await raw.all()
            assert told == b"" or told.split()[1] in (b"400", b"431", b"494"), told[:100]


async def test_one_address_has_so_many_connections_and_the_machine_itself_any_number(
    nginx: Nginx, others: Others
) -> None:
    async with AsyncExitStack() as ending:
        for _ in range(8):
            await ending.enter_async_context(RoomClient(nginx.url, others.room))
        connector = aiohttp.TCPConnector(local_addr=(AWAY_FROM_HERE, 0))
        session = await ending.enter_async_context(aiohttp.ClientSession(connector=connector))
        sockets = [await session.ws_connect(f"{nginx.url}/ws/{others.room}") for _ in range(5)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{nginx.url}/ws/{others.room}")
        assert refused.value.status == 429
        async with session.get(nginx.url) as answer:
            assert answer.status == 429
            assert (await answer.json(content_type=None))["code"] == "rate_limited"
        await sockets[0].close()
        async with asyncio.timeout(PATIENCE):
            while True:
                async with session.get(nginx.url) as answer:
                    if answer.status == 200:
                        break
    await others.go_on()


async def test_it_writes_no_address_of_a_room_down() -> None:
    text = (ROOT / "nginx.conf").read_text()
    assert "access_log off;" in text
    assert text.count("access_log") == 1
