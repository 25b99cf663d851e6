"""Frames are read by a WebSocket library that is not the server's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame as ReadFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from server.live.frames import DEFLATE_FROM, EMPTY, FAST_FROM, PING, encode_frame, join, pong


def client(*, takeover: bool) -> PerMessageDeflate:
    """A client that agreed to permessage-deflate and keeps its context, or does not."""
    return PerMessageDeflate(
        remote_no_context_takeover=not takeover,
        local_no_context_takeover=False,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )


def read(data: bytes, deflate: PerMessageDeflate | None = None) -> list[tuple[Opcode, bytes]]:
    """The messages in `data`, as a client reads them."""
    stream = StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    found = []
    while stream.buffer:
        parsing = ReadFrame.parse(
            stream.read_exact, mask=False, extensions=[deflate] if deflate else []
        )
        with pytest.raises(StopIteration) as done:
            next(parsing)
        frame = done.value.value
        assert frame.fin
        found.append((frame.opcode, bytes(frame.data)))
    return found


@pytest.mark.parametrize("takeover", [True, False], ids=["keeps its context", "keeps none"])
def test_a_deflated_frame_is_read_by_every_client_whatever_it_read_before(takeover: bool) -> None:
    payloads = [b"abcdefgh" * 100, b"x" * DEFLATE_FROM, b"short", b"abcdefgh" * 100]
    inflate = client(takeover=takeover)
    for payload in payloads:
        assert read(encode_frame(payload).deflated, inflate) == [(Opcode.TEXT, payload)]


@pytest.mark.parametrize("takeover", [True, False], ids=["keeps its context", "keeps none"])
def test_a_client_that_missed_frames_reads_the_next(takeover: bool) -> None:
    frames = [encode_frame(f"the same words again and again {n} ".encode() * 50) for n in range(9)]
    inflate = client(takeover=takeover)
    for frame in (frames[1], frames[5], frames[2]):
        ((_, payload),) = read(frame.deflated, inflate)
        assert payload == read(frame.plain)[0][1]


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_length_is_written_in_the_shortest_form(length: int, header: bytes) -> None:
    payload = b"x" * length
    frame = encode_frame(payload)
    assert frame.plain == header + payload
    assert read(frame.deflated, client(takeover=True)) == [(Opcode.TEXT, payload)]


def test_a_short_message_is_not_deflated() -> None:
    frame = encode_frame(b"x" * (DEFLATE_FROM - 1))
    assert frame.deflated is frame.plain
    assert len(encode_frame(b"x" * DEFLATE_FROM).deflated) < DEFLATE_FROM / 4


def test_megabytes_are_read_too() -> None:
    payload = "".join(f"{n}\tzelle {n * 7919}\n" for n in range(40_000)).encode()
    assert len(payload) > FAST_FROM
    assert read(encode_frame(payload).deflated, client(takeover=True)) == [(Opcode.TEXT, payload)]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=2000), max_size=5))
def test_joined_frames_are_the_same_messages_in_the_same_order(texts: list[str]) -> None:
    payloads = [text.encode() for text in texts]
    joined = join(*map(encode_frame, payloads))
    expected = [(Opcode.TEXT, payload) for payload in payloads]
    assert read(joined.plain) == expected
    assert read(joined.deflated, client(takeover=True)) == expected
    assert read(joined.deflated, client(takeover=False)) == expected


def test_joining_nothing_to_a_frame_makes_no_copy() -> None:
    frame = encode_frame(b"{}")
    assert join(EMPTY, frame, EMPTY) is frame
    assert join(EMPTY) == EMPTY


def test_control_frames_are_what_the_protocol_asks_for() -> None:
    assert read(PING) == [(Opcode.PING, b"")]
    assert read(pong(b"")) == [(Opcode.PONG, b"")]
    assert read(pong(b"x" * 125)) == [(Opcode.PONG, b"x" * 125)]
