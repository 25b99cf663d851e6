"""Whatever bytes one viewer sends, it gets the close code that RFC 6455 has for it, and no other
viewer notices.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.nodes.harness import Node
from tests.security.conftest import Others
from tests.security.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PATIENCE,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Raw,
    close_payload,
    deflated,
    frame,
)

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]

KiB = 1024
# Twice the largest chunk, 256 KiB: beyond it nothing is answered any more.
HARD_LIMIT = 512 * KiB
PEEK = b'{"type":"peek","page_no":7}'


@pytest_asyncio.fixture(loop_scope="module")
async def viewer(node: Node, others: Others) -> AsyncIterator[Raw]:
    """A socket that was greeted. Whatever a test does with it, the others go on."""
    async with await Raw.open(node.port) as viewer:
        await viewer.shake_hands(others.room)
        await viewer.hears(TEXT, b'"hello"')
        yield viewer
    await others.go_on()


@pytest_asyncio.fixture(loop_scope="module")
async def deflating(node: Node, others: Others) -> AsyncIterator[Raw]:
    """The same, with permessage-deflate."""
    async with await Raw.open(node.port) as viewer:
        await viewer.shake_hands(others.room, deflate=True)
        await viewer.frame()
        yield viewer
    await others.go_on()


def memory(node: Node) -> int:
    """Bytes of memory that the node has ever had at once."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * KiB


def split(data: bytes, parts: int, opcode: int = TEXT) -> list[bytes]:
    """A message in so many frames."""
    size = -(-len(data) // parts)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    last = len(pieces) - 1
    return [
        frame(
            0,
            piece,
            first=(FIN if number == last else 0) | (CONTINUATION if number else opcode),
        )
        for number, piece in enumerate(pieces)
    ]


# What is in order


async def test_a_message_may_come_in_fragments_with_pings_between_them(viewer: Raw) -> None:
    fragments = split(PEEK, 5)
    between = [frame(PING, f"ping {number}".encode()) for number in range(len(fragments))]
    viewer.send(*(part for pair in zip(fragments, between, strict=True) for part in pair))
    page = json.loads(await viewer.hears(TEXT, b'"peek":true'))
    assert page["page_no"] == 7
    pongs = [payload for kind, payload in viewer.heard if kind == PONG]
    assert pongs == [f"ping {number}".encode() for number in range(len(pongs))]
    if len(pongs) < len(fragments):
        await viewer.hears(PONG, f"ping {len(fragments) - 1}".encode())


async def test_a_message_may_come_byte_by_byte(viewer: Raw) -> None:
    data = b"".join([*split(PEEK, 2), frame(PING, b"?"), frame(TEXT, PEEK)])
    for byte in data:
        viewer.send(bytes([byte]))
        await viewer.drained()
        await asyncio.sleep(0)
    await viewer.hears(TEXT, b'"peek":true')
    await viewer.hears(TEXT, b'"peek":true')
    assert (PONG, b"?") in viewer.heard


async def test_a_message_may_have_empty_fragments_and_a_mask_of_zeros(viewer: Raw) -> None:
    viewer.send(
        frame(0, b"", first=TEXT),
        frame(0, b"", first=CONTINUATION),
        frame(0, PEEK, first=CONTINUATION, mask=bytes(4)),
        frame(0, b"", first=FIN | CONTINUATION),
    )
    await viewer.hears(TEXT, b'"peek":true')


async def test_what_comes_right_behind_the_handshake_is_heard_and_judged(
    node: Node, others: Others
) -> None:
    for early, answer in ((frame(TEXT, PEEK), None), (frame(TEXT, PEEK, masked=False), 1002)):
        async with await Raw.open(node.port) as viewer:
            await viewer.shake_hands(others.room, early=early)
            if answer is None:
                await viewer.hears(TEXT, b'"peek":true')
            else:
                assert await viewer.code() == answer
    # In the middle of a frame as well.
    whole = frame(TEXT, PEEK)
    for cut in (1, 3, 7, 15):
        async with await Raw.open(node.port) as viewer:
            await viewer.shake_hands(others.room, early=whole[:cut])
            viewer.send(whole[cut:], frame(PING, b"?"))
            await viewer.hears(PONG, b"?")
    await others.go_on()


async def test_a_compressed_message_may_come_in_fragments(deflating: Raw) -> None:
    body = deflated(PEEK)
    deflating.send(
        frame(0, body[:3], first=RSV1 | TEXT),
        frame(PING, b"?"),
        frame(0, body[3:], first=FIN | CONTINUATION),
        frame(PING, b"!"),
    )
    await deflating.hears(PONG, b"!")
    assert (PONG, b"?") in deflating.heard


# What is not


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff",
        b"\xc3",  # cut in the middle of a character
        b"\xc0\xaf",  # overlong
        b"\xed\xa0\x80",  # half of a surrogate pair
        b"\xf4\x90\x80\x80",  # beyond Unicode
        b'{"type":"chat","body":"\xe2\x28\xa1"}',
    ],
)
async def test_text_that_is_no_utf_8_ends_with_1007(viewer: Raw, bad: bytes) -> None:
    viewer.send(frame(TEXT, bad))
    assert await viewer.code() == 1007


async def test_bad_utf_8_in_fragments_ends_with_1007_and_a_cut_character_is_none(
    viewer: Raw, node: Node, others: Others
) -> None:
    said = json.dumps({"type": "me", "name": "Ötter €"}, ensure_ascii=False).encode()
    viewer.send(*split(said, len(said)), frame(PING, b"?"))
    await viewer.hears(PONG, b"?")
    viewer.send(*split(b"\xe2\x82\xac\xe2\x82", 5))
    assert await viewer.code() == 1007


async def test_a_close_with_a_reason_that_is_no_utf_8_ends_with_1007(viewer: Raw) -> None:
    viewer.send(frame(CLOSE, close_payload(1000, b"\xff\xfe")))
    assert await viewer.code() == 1007


WRONG: dict[str, bytes] = {
    "RSV1 that was not agreed on": frame(0, PEEK, first=FIN | RSV1 | TEXT),
    "RSV2": frame(0, PEEK, first=FIN | RSV2 | TEXT),
    "RSV3": frame(0, PEEK, first=FIN | RSV3 | TEXT),
    "RSV1 of a ping": frame(0, b"", first=FIN | RSV1 | PING),
    **{f"opcode {opcode}": frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a ping in fragments": frame(0, b"x", first=PING),
    "a close in fragments": frame(0, close_payload(1000), first=CLOSE),
    "a ping of 126 bytes": frame(PING, bytes(126)),
    "a ping of 4 GiB": frame(PING, b"", length=1 << 32),
    "a close of 126 bytes": frame(CLOSE, close_payload(1000, b"x" * 124)),
    "a continuation of nothing": frame(CONTINUATION, b"x"),
    "the end of nothing": frame(0, b"", first=CONTINUATION),
    "a message in a message": frame(0, b"x", first=TEXT) + frame(TEXT, b"y"),
    "a message in an empty one": frame(0, b"", first=TEXT) + frame(BINARY, b"y"),
    "a first fragment in a message": frame(0, b"", first=TEXT) + frame(0, b"x", first=TEXT),
    "no mask": frame(TEXT, PEEK, masked=False),
    "a ping without a mask": frame(PING, b"", masked=False),
    "a fragment without a mask": frame(0, b"x", first=TEXT)
    + frame(CONTINUATION, b"y", masked=False),
    "a close of one byte": frame(CLOSE, b"\x03"),
    **{
        f"close code {code}": frame(CLOSE, close_payload(code))
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("bad", WRONG.values(), ids=WRONG.keys())
async def test_what_breaks_the_protocol_ends_with_1002(viewer: Raw, bad: bytes) -> None:
    viewer.send(bad, frame(TEXT, PEEK))
    assert await viewer.code() == 1002
    assert not any(b'"peek":true' in payload for _, payload in viewer.heard)


@pytest.mark.parametrize("name", ["no mask", "RSV1 of a ping", "close code 1006", "RSV2"])
async def test_it_does_so_however_the_network_cuts_it(viewer: Raw, name: str) -> None:
    viewer.send(frame(PING, b"before"))
    for byte in WRONG[name]:
        viewer.send(bytes([byte]))
        await viewer.drained()
        await asyncio.sleep(0)
    assert await viewer.code() == 1002
    assert (PONG, b"before") in viewer.heard


async def test_reserved_bits_between_compressed_messages_end_with_1002(deflating: Raw) -> None:
    deflating.send(frame(0, b"x", first=TEXT), frame(0, b"y", first=FIN | RSV1 | CONTINUATION))
    assert await deflating.code() == 1002


async def test_what_cannot_be_inflated_ends_with_1007(deflating: Raw) -> None:
    deflating.send(frame(0, b"\xff\xff\xff\xff", first=FIN | RSV1 | TEXT))
    assert await deflating.code() == 1007


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
async def test_a_close_is_answered_and_the_connection_ends(viewer: Raw, code: int) -> None:
    viewer.send(frame(CLOSE, close_payload(code, "auf Wiedersehen ☺".encode())))
    assert await viewer.code() == 1000


async def test_a_close_without_a_code_is_answered_too(viewer: Raw) -> None:
    viewer.send(frame(CLOSE))
    assert await viewer.code() == 1000


# Too much


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [HARD_LIMIT, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
async def test_a_message_that_says_it_is_too_large_ends_with_1009(
    viewer: Raw, opcode: int, length: int
) -> None:
    viewer.send(frame(opcode, b"x" * 100, length=length))
    assert await viewer.code() == 1009


async def test_a_message_of_fragments_without_end_ends_with_1009_in_bounded_memory(
    viewer: Raw, node: Node
) -> None:
    before = memory(node)
    piece = frame(0, b"x" * (16 * KiB), first=CONTINUATION)
    viewer.send(frame(0, b"x", first=BINARY))
    sent = 0
    ended = asyncio.ensure_future(viewer.code())
    while not ended.done() and sent < 64 * KiB * KiB:
        viewer.send(piece)
        sent += len(piece)
        await viewer.drained()
        await asyncio.sleep(0)
    assert await ended == 1009
    assert memory(node) - before < 16 * KiB * KiB


async def test_a_deflate_bomb_ends_with_1009_in_bounded_memory(deflating: Raw, node: Node) -> None:
    bomb = deflated(bytes(256 * KiB * KiB))
    assert len(bomb) < HARD_LIMIT
    before = memory(node)
    deflating.send(frame(0, bomb, first=FIN | RSV1 | BINARY))
    assert await deflating.code() == 1009
    assert memory(node) - before < 16 * KiB * KiB


async def test_a_bomb_in_fragments_and_one_of_text_end_with_1009(
    node: Node, others: Others
) -> None:
    bomb = deflated(b" " * (64 * KiB * KiB))
    for opcode in (TEXT, BINARY):
        async with await Raw.open(node.port) as viewer:
            await viewer.shake_hands(others.room, deflate=True)
            viewer.send(
                frame(0, bomb[:1000], first=RSV1 | opcode),
                frame(0, bomb[1000:], first=FIN | CONTINUATION),
            )
            assert await viewer.code() == 1009
    await others.go_on()


async def test_a_message_that_inflates_to_less_than_the_limit_is_heard(deflating: Raw) -> None:
    deflating.send(
        frame(0, deflated(PEEK + b" " * 60_000), first=FIN | RSV1 | TEXT), frame(PING, b"?")
    )
    await deflating.hears(PONG, b"?")


# Floods


async def test_who_pings_without_end_gets_a_bounded_number_of_pongs_and_keeps_the_connection(
    viewer: Raw,
) -> None:
    for start in range(0, 20_000, 1_000):
        numbers = (struct.pack("!I", n) for n in range(start, start + 1_000))
        viewer.send(*(frame(PING, number.ljust(125)) for number in numbers))
        await viewer.drained()
    viewer.send(frame(TEXT, PEEK))
    await viewer.hears(TEXT, b'"peek":true')
    pongs = [payload for kind, payload in viewer.heard if kind == PONG]
    assert 0 < len(pongs) < 2_000
    assert pongs == sorted(pongs)


async def test_dust_of_tiny_frames_ends_with_1008(viewer: Raw) -> None:
    dust = frame(0, b"", first=CONTINUATION) * 40_000
    viewer.send(frame(0, b"", first=TEXT))
    ended = asyncio.ensure_future(viewer.code())
    for _ in range(200):
        if ended.done():
            break
        viewer.send(dust)
        await viewer.drained()
    assert await ended == 1008


async def test_others_see_pages_turn_while_viewers_say_things_as_fast_as_they_can(
    node: Node, others: Others
) -> None:
    flood = frame(TEXT, b'{"type":"heartbeat"}') * 500 + frame(PONG, b"x") * 500

    async def shout(viewer: Raw) -> None:
        while True:
            viewer.send(flood)
            await viewer.drained()
            await asyncio.sleep(0)

    shouting: list[asyncio.Task[None]] = []
    viewers: list[Raw] = []
    try:
        for _ in range(5):
            viewer = await Raw.open(node.port)
            viewers.append(viewer)
            await viewer.shake_hands(others.room)
            shouting.append(asyncio.create_task(shout(viewer)))
        await others.go_on(10)
    finally:
        for task in shouting:
            task.cancel()
        for viewer in viewers:
            viewer.reset()
        await asyncio.gather(*shouting, return_exceptions=True)


# Breaking off


async def test_connections_that_are_cut_anywhere_leave_nothing_behind(
    node: Node, others: Others
) -> None:
    whole = frame(TEXT, PEEK)
    for cut in (0, 1, 5, 6, len(whole) - 1, len(whole)):
        viewer = await Raw.open(node.port)
        await viewer.shake_hands(others.room)
        viewer.send(whole[:cut])
        await viewer.drained()
        viewer.reset()
    await others.go_on()
    await others.two.settles(lambda client: client.here == 2)
    assert "Traceback" not in node.output()


async def test_garbage_of_all_kinds_never_makes_the_node_complain(
    node: Node, others: Others
) -> None:
    for seed in range(60):
        async with await Raw.open(node.port) as viewer:
            await viewer.shake_hands(others.room, deflate=bool(seed % 2))
            garbage = os.urandom(200)
            viewer.send(frame(TEXT, PEEK)[: seed % 9], garbage)
            viewer.finish()
            async with asyncio.timeout(PATIENCE):
                assert await viewer.code() in (1000, 1002, 1007, 1009, None), garbage.hex()
    await others.go_on()
    assert "Traceback" not in node.output()
