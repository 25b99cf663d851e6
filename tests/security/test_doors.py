"""Whoever knocks and says nothing, or nonsense, is let go after a while; nobody else notices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.nodes.harness import Node
from tests.room_client import RoomClient
from tests.security.conftest import Others
from tests.security.raw import PATIENCE, Raw

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]

GET = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
HALF = b"GET /ws/3f2504e0-4f89-41d3-9a0c-0305e82c3301 HTTP/1.1\r\nHost: here\r\nUpgrade: webso"


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"TABLECAST_IDLE_TIMEOUT": "2s"}


@pytest_asyncio.fixture(loop_scope="module")
async def knock(node: Node, others: Others) -> AsyncIterator[Raw]:
    """A connection that has said nothing yet. Whatever a test does with it, the others go on."""
    async with await Raw.open(node.port) as raw:
        yield raw
    await others.go_on()
    assert "Traceback" not in node.output()


async def test_a_connection_that_says_nothing_is_ended(knock: Raw) -> None:
    assert await knock.all() == b""


async def test_half_a_request_is_ended_however_slowly_it_grows(knock: Raw) -> None:
    heard = asyncio.ensure_future(knock.all())
    for byte in HALF + b"x" * 100_000:
        knock.send(bytes([byte]))
        await asyncio.sleep(0.05)
        if heard.done():
            break
    assert await heard == b""


async def test_a_connection_that_asks_nothing_more_is_ended(knock: Raw) -> None:
    knock.send(GET)
    told = await knock.all()
    assert told.startswith(b"HTTP/1.1 200 ")
    assert told.count(b"HTTP/1.1 ") == 1


async def test_a_body_that_does_not_end_holds_up_nobody(knock: Raw, others: Others) -> None:
    knock.send(
        f"PUT /api/rooms/{others.room}/page HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n"
        '\r\n{"page_no"'.encode()
    )
    await knock.drained()
    await others.go_on()


async def test_thousands_of_half_open_connections_hold_up_nobody_and_are_ended(
    node: Node, others: Others
) -> None:
    half_open: list[Raw] = []

    async def open_some(count: int) -> None:
        for number in range(count):
            raw = await Raw.open(node.port)
            half_open.append(raw)
            raw.send(HALF[: number % len(HALF)])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(open_some(200))
            await others.go_on()
        assert len(half_open) == 2_000
        await others.go_on()
        async with RoomClient(node.url, others.room) as late:
            await late.expect("page")
        async with asyncio.timeout(3 * PATIENCE):
            assert not any(await asyncio.gather(*(raw.all() for raw in half_open)))
    finally:
        for raw in half_open:
            raw.reset()
    await others.go_on()


# What is no HTTP

GARBAGE = {
    "random bytes": os.urandom(1_000),
    "TLS": bytes.fromhex("16030100c8010000c40303") + os.urandom(190),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "zeros": bytes(10_000),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a proxy's prologue": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET,
}
BOMBS = {
    "a long address": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
    "a long header": GET[:-2] + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "a long name": GET[:-2] + b"a" * 100_000 + b": x\r\n\r\n",
    "many headers": GET[:-2] + b"X: x\r\n" * 10_000 + b"\r\n",
    "many cookies": GET[:-2] + b"Cookie: a=b\r\n" * 10_000 + b"\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_no_http_gets_an_error_or_nothing(knock: Raw, data: bytes) -> None:
    knock.send(data)
    knock.finish()
    told = await knock.all()
    assert told == b"" or told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
async def test_heads_of_requests_are_bounded(knock: Raw, data: bytes) -> None:
    knock.send(data)
    told = await knock.all()
    assert told == b"" or told.split()[1] in (b"400", b"431"), told[:100]


async def test_what_is_wrong_is_not_said_back(knock: Raw) -> None:
    """It may hold a key, and what answers it may be shown by a browser."""
    knock.send(
        b"GET / HTTP/1.1\r\nHost: here\r\nAuthor ization: Bearer <script>\x00</script>\r\n\r\n"
    )
    told = await knock.all()
    assert told.split()[1] == b"400"
    assert b"script" not in told
    assert b"Bearer" not in told
    assert b"X-Content-Type-Options: nosniff" in told


EXPECT = b"GET /healthz HTTP/1.1\r\nHost: here\r\nExpect: <script>\r\nConnection: close\r\n\r\n"


async def test_what_is_expected_is_not_said_back(knock: Raw) -> None:
    knock.send(EXPECT)
    told = await knock.all()
    assert told.split()[1] == b"417"
    assert b"script" not in told
    assert b"application/problem+json" in told


NO_UTF_8 = b"\xff\xed\xa0\x80"


@pytest.mark.parametrize(
    "name", ["Host", "X-Forwarded-Host", "Origin", "Expect", "Content-Encoding", "Cookie", "Accept"]
)
async def test_headers_that_are_no_utf_8_are_no_fault_of_the_server(
    knock: Raw, others: Others, name: str
) -> None:
    room = others.room.encode()
    requests = {
        b"GET /t/" + room: b"",
        b"POST /api/rooms": b"",
        b"PUT /api/rooms/" + room + b"/page": b'{"page_no": 1}',
    }
    host = b"" if name == "Host" else b"Host: here\r\n"
    for request, body in requests.items():
        async with await Raw.open(knock.port) as raw:
            raw.send(request, b" HTTP/1.1\r\nConnection: close\r\n", host)
            raw.send(name.encode(), b": ", NO_UTF_8, b"\r\n")
            raw.send(b"Content-Length: %d\r\n\r\n" % len(body), body)
            told = await raw.all()
            assert told.split()[1][:1] in (b"2", b"4"), told


async def test_chunks_of_a_byte_hold_up_nobody(node: Node, others: Others) -> None:
    """All that came in one read would be work for a tenth of a second, for each who sends it."""
    head = (
        f"POST /api/rooms/{others.room}/document/rows HTTP/1.1\r\nHost: here\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    dust = b"2\r\na\n\r\n" * 50_000
    senders = [await Raw.open(node.port) for _ in range(20)]
    try:
        for raw in senders:
            raw.send(head)
        for _ in range(5):
            for raw in senders:
                raw.send(dust)
            await others.go_on()
    finally:
        for raw in senders:
            raw.reset()


# Two readings of one request (smuggling): never more than one answer

_HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"


def smuggling(*lines: bytes, body: bytes) -> bytes:
    head = [b"POST /api/rooms/x/chat HTTP/1.1", b"Host: here", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


SMUGGLING = {
    "a length and chunks": smuggling(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "chunks and a length": smuggling(
        b"Transfer-Encoding: chunked", b"Content-Length: 60", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "two lengths": smuggling(b"Content-Length: 0", b"Content-Length: 40", body=_HIDDEN),
    "a list of lengths": smuggling(b"Content-Length: 0, 40", body=_HIDDEN),
    "a signed length": smuggling(b"Content-Length: +0", body=_HIDDEN),
    "a length in hex": smuggling(b"Content-Length: 0x0", body=_HIDDEN),
    "a length with an underscore": smuggling(b"Content-Length: 0_0", body=_HIDDEN),
    "a length that is none": smuggling(b"Content-Length: ", body=_HIDDEN),
    "chunks last but one": smuggling(b"Transfer-Encoding: chunked, identity", body=_HIDDEN),
    "chunks twice": smuggling(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "xchunked": smuggling(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + _HIDDEN),
    "a space before the colon": smuggling(
        b"Content-Length: 40", b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "a folded header": smuggling(
        b"Transfer-Encoding:\r\n chunked", b"Content-Length: 40", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "a bare line feed": smuggling(
        b"X: y\nTransfer-Encoding: chunked", b"Content-Length: 45", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "a bare carriage return": smuggling(
        b"X: y\rTransfer-Encoding: chunked", b"Content-Length: 45", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "a zero byte": smuggling(
        b"Transfer-Encoding: chunked\x00", b"Content-Length: 45", body=b"0\r\n\r\n" + _HIDDEN
    ),
    "a chunk of negative size": smuggling(
        b"Transfer-Encoding: chunked", body=b"-1\r\n\r\n" + _HIDDEN
    ),
    "a chunk with a long size": smuggling(
        b"Transfer-Encoding: chunked", body=b"1" + b"0" * 30 + b"\r\n" + _HIDDEN
    ),
    "a chunk with 0x": smuggling(b"Transfer-Encoding: chunked", body=b"0x0\r\n\r\n" + _HIDDEN),
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING.keys())
async def test_a_request_with_two_meanings_hides_no_second_one(knock: Raw, data: bytes) -> None:
    knock.send(data)
    told = await knock.all()
    assert told.count(b"HTTP/1.") <= 1, told
    assert b" 200 " not in told.partition(b"\r\n")[0], told
