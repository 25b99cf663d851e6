"""What stands in front of the library changes nothing that is in order, however it comes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.accept.edge.wire import FRAMES_AT_ONCE, MESSAGE_TIME, Wire
from tests.security.raw import BINARY, CONTINUATION, FIN, PING, PONG, TEXT, frame


class Reader(asyncio.Protocol):
    """Keeps what reaches it."""

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


PAYLOADS = st.one_of(st.binary(max_size=200), st.sampled_from([125, 126, 127, 300]).map(bytes))
CONTROLS = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def messages(draw: st.DrawFn) -> list[bytes]:
    """The frames of a message, with control frames anywhere between them."""
    parts = draw(st.lists(PAYLOADS, min_size=1, max_size=4))
    frames = []
    for number, part in enumerate(parts):
        opcode = CONTINUATION if number else draw(st.sampled_from([TEXT, BINARY]))
        last = FIN if number == len(parts) - 1 else 0
        frames += [frame(0, part, first=last | opcode), *draw(st.lists(CONTROLS, max_size=2))]
    return frames


@settings(max_examples=60, deadline=None)
@given(
    said=st.lists(messages(), max_size=4),
    cuts=st.lists(st.integers(1, 600), min_size=1, max_size=20),
)
def test_what_is_in_order_goes_on_as_it_is_however_it_is_cut(
    said: list[list[bytes]], cuts: list[int]
) -> None:
    data = b"".join(each for frames in said for each in frames)
    reader = Reader()
    wire = Wire(reader)
    at = number = 0
    while at < len(data):
        size = cuts[number % len(cuts)]
        wire.data_received(data[at : at + size])
        at, number = at + size, number + 1
    assert reader.data == data
    assert not wire.is_flooded


@settings(max_examples=60, deadline=None)
@given(said=messages(), rest=st.binary(max_size=100))
def test_nothing_goes_on_behind_what_is_refused(said: list[bytes], rest: bytes) -> None:
    good = b"".join(said)
    reader = Reader()
    wire = Wire(reader)
    wire.data_received(good + frame(TEXT, b"x", masked=False) + rest)
    wire.data_received(rest)
    assert reader.data == good + b"\xf0\x80"


@pytest.mark.parametrize("between", [b"", frame(PONG)], ids=["alone", "among pongs"])
def test_a_message_that_takes_too_long_is_a_flood(
    monkeypatch: pytest.MonkeyPatch, between: bytes
) -> None:
    now = 1_000.0
    monkeypatch.setattr("server.accept.edge.wire.time.monotonic", lambda: now)
    wire = Wire(Reader())
    wire.data_received(frame(0, b"x", first=TEXT))
    for _ in range(9):
        now += MESSAGE_TIME / 10
        wire.data_received(between + frame(0, b"x", first=CONTINUATION))
    assert not wire.is_flooded
    now += MESSAGE_TIME / 5
    wire.data_received(between + frame(0, b"x", first=CONTINUATION))
    assert wire.is_flooded


def test_messages_that_end_take_as_long_as_they_like_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr("server.accept.edge.wire.time.monotonic", lambda: now)
    wire = Wire(Reader())
    for size in (5, 70_000):
        for _ in range(5):
            data = frame(0, b"x", first=TEXT) + frame(0, bytes(size), first=FIN | CONTINUATION)
            for part in (data[:8], data[8:-1], data[-1:]):
                now += MESSAGE_TIME / 4
                wire.data_received(part)
            now += 2 * MESSAGE_TIME
    assert not wire.is_flooded


def test_small_frames_are_dust_only_when_they_are_thousands_at_once() -> None:
    dust = frame(0, b"", first=TEXT) + frame(0, b"", first=CONTINUATION) * (FRAMES_AT_ONCE - 1)
    wire = Wire(Reader())
    wire.data_received(dust)
    assert not wire.is_flooded
    wire.data_received(frame(0, b"", first=CONTINUATION) * (FRAMES_AT_ONCE + 1))
    assert wire.is_flooded


def test_who_pings_too_often_is_answered_later_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("server.accept.edge.wire.time.monotonic", lambda: now)
    reader = Reader()
    wire = Wire(reader)
    ping = frame(PING, b"?", mask=bytes(4))
    wire.data_received(ping * 200)
    assert reader.data == ping * 50
    now += 1
    wire.data_received(ping * 200)
    assert reader.data == ping * 60
