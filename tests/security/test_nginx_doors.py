"""What Nginx answers by itself is as strict as what nodes answer, and it bounds what they get."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import NamedTuple

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
    # It believes who says where they are, so that a test can be anywhere.
    "limit_conn per_address 6000": "set_real_ip_from 127.0.0.3; limit_conn per_address 5",
}
AWAY_FROM_HERE = "127.0.0.2"
BELIEVED = "127.0.0.3"


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


class Told(NamedTuple):
    status: int
    headers: Message
    body: bytes


async def ask(nginx: Nginx | Node, path: str, *lines: str, body: int = 0) -> Told:
    """The answer to a GET with these lines, or to the request that is the first, and its body."""
    start = lines[0] if lines and ":" not in lines[0] else f"GET {path} HTTP/1.1"
    rest = [line for line in lines if ":" in line]
    head = [start, "Host: here", "Connection: close", *rest]
    async with await Raw.open(nginx.port) as raw:
        raw.send("\r\n".join(head).encode() + b"\r\n\r\n", bytes(body))
        answer, _, text = (await raw.all()).partition(b"\r\n\r\n")
    status, _, headers = answer.partition(b"\r\n")
    return Told(int(status.split()[1]), message_from_bytes(headers), text)


async def test_metrics_are_not_shown_to_the_outside(nginx: Nginx, node: Node) -> None:
    for path in ("/metrics", "//metrics", "/./metrics", "/%6detrics", "/x/../metrics"):
        told = await ask(nginx, path)
        assert told.status == 404, path
        assert b"tablecast_" not in told.body
    assert b"tablecast_" in (await ask(node, "/metrics")).body


async def test_headers_come_once_whoever_answers(nginx: Nginx, lonely: Nginx) -> None:
    html = "Accept: text/html"
    too_large = ("POST /api/rooms HTTP/1.1", "Content-Length: 3000000")
    answers = [
        await ask(nginx, "/"),
        await ask(nginx, "/nowhere"),
        await ask(nginx, "/metrics"),
        await ask(nginx, "/nginx/health"),
        await ask(nginx, "/", *too_large, body=3_000_000),
        await ask(nginx, "/", "Content-Length: 1", "Content-Length: 2"),
        await ask(lonely, "/", html),
        await ask(lonely, "/"),
    ]
    assert [told.status for told in answers] == [200, 404, 404, 200, 413, 400, 503, 503]
    for told in answers:
        headers = told.headers
        (policy,) = headers.get_all("Content-Security-Policy", [])
        assert "frame-ancestors 'none'" in policy
        assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert headers.get_all("Referrer-Policy") == ["same-origin"]
        assert headers.get_all("X-Frame-Options") == ["DENY"]
        assert headers.get_all("Cache-Control") == ["no-store"]
        assert headers.get_all("Server") == ["nginx"]
        retry = ["2"] if told.status == 503 else []
        assert headers.get_all("Retry-After", []) == retry


async def test_the_style_of_the_page_that_nobody_is_there_is_the_one_that_is_allowed(
    lonely: Nginx,
) -> None:
    page = await ask(lonely, "/t/room", "Accept: text/html")
    text = page.body.decode()
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


async def from_there(nginx: Nginx, room: str) -> Raw:
    """A connection from another address that asks to become a socket."""
    raw = Raw(
        *await asyncio.open_connection("127.0.0.1", nginx.port, local_addr=(AWAY_FROM_HERE, 0))
    )
    raw.ask_for_socket(room)
    return raw


async def test_one_address_has_so_many_connections_and_the_machine_itself_any_number(
    nginx: Nginx, others: Others
) -> None:
    async with AsyncExitStack() as ending:
        for _ in range(8):
            await ending.enter_async_context(RoomClient(nginx.url, others.room))
        others_there = [await from_there(nginx, others.room) for _ in range(5)]
        for raw in others_there:
            await ending.enter_async_context(raw)
            assert b" 101 " in await raw.reader.readuntil(b"\r\n\r\n")
        async with await from_there(nginx, others.room) as sixth:
            assert b" 429 " in await sixth.reader.readuntil(b"\r\n\r\n")
            assert b'"rate_limited"' in await sixth.reader.readuntil(b"}")
        others_there[0].reset()
        async with asyncio.timeout(PATIENCE):
            while True:
                async with await from_there(nginx, others.room) as sixth:
                    if b" 101 " in await sixth.reader.readuntil(b"\r\n\r\n"):
                        break
    await others.go_on()


async def reported(nginx: Nginx, room: str, address: str) -> Raw:
    """The same, from an address that there is nowhere on this machine."""
    raw = Raw(*await asyncio.open_connection("127.0.0.1", nginx.port, local_addr=(BELIEVED, 0)))
    raw.ask_for_socket(room, head=f"X-Real-IP: {address}\r\n")
    return raw


async def test_a_network_of_ipv6_counts_as_one_address_and_each_of_ipv4_by_itself(
    nginx: Nginx, others: Others
) -> None:
    async def answer(address: str, ending: AsyncExitStack) -> bytes:
        raw = await ending.enter_async_context(await reported(nginx, others.room, address))
        return (await raw.reader.readuntil(b"\r\n\r\n")).split()[1]

    # Bytes of an address may be zero, or the end of a line.
    for network in ("2001:db8:0:1", "2001:db8:a:a0a", "2001:db8:a0a:0"):
        async with AsyncExitStack() as ending:
            for host in ("1", "2", "a0a:a", "0:a", "ffff:ffff:ffff:ffff"):
                address = f"{network}:{host}" if host.count(":") == 3 else f"{network}::{host}"
                assert await answer(address, ending) == b"101"
            assert await answer(f"{network}::3", ending) == b"429"
            assert await answer("2001:db8:0:2::1", ending) == b"101"
            assert await answer("192.0.2.1", ending) == b"101"
    for prefix in ("", "::ffff:"):
        async with AsyncExitStack() as ending:
            for number in range(1, 9):
                assert await answer(f"{prefix}192.0.2.{number}", ending) == b"101"
            for _ in range(5):
                assert await answer(f"{prefix}198.51.100.10", ending) == b"101"
            assert await answer(f"{prefix}198.51.100.10", ending) == b"429"
    await others.go_on()


async def test_it_writes_no_address_of_a_room_down(node: Node, tmp_path: Path) -> None:
    room = str(uuid.uuid4())
    # A node that is away and one that refuses, so that Nginx has errors to write of.
    nginx = made_quicker(Nginx(tmp_path, [free_port(), node.port]))
    await nginx.start()
    try:
        for _ in range(2):
            for path in (f"/t/{room}", f"/ws/{room}"):
                await ask(nginx, path)
        name = "plans-of-the-board.tsv"
        put = f"PUT /api/rooms/{room}/document?name={name} HTTP/1.1"
        await ask(nginx, "/", put, "Content-Length: 9", body=9)
        page = f"PUT /api/rooms/{room}/page HTTP/1.1"
        assert (
            await ask(nginx, "/", page, "Content-Length: 3000000", body=3_000_000)
        ).status == 413
        async with AsyncExitStack() as ending:
            told = b""
            while b" 429 " not in told:
                raw = await ending.enter_async_context(await from_there(nginx, room))
                told = await raw.reader.readuntil(b"\r\n\r\n")
    finally:
        nginx.kill()
    assert room not in nginx.output()
    assert name not in nginx.output()
    assert "access_log off;" in (ROOT / "nginx.conf").read_text()
