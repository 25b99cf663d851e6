"""The proxy does the harm that it says it does, and none otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.resp import Splitter, pushed

VALUES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":12\r\n",
    b"$-1\r\n",
    b"$5\r\na\r\nbc\r\n",
    b"*-1\r\n",
    b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
    b"%1\r\n+key\r\n$0\r\n\r\n",
    b"|1\r\n+ttl\r\n:9\r\n+OK\r\n",
    b"_\r\n",
    b"#t\r\n",
    b'*3\r\n$8\r\nsmessage\r\n$1\r\nr\r\n$9\r\n{"rev":1}\r\n',
    b">3\r\n$7\r\nmessage\r\n$1\r\nr\r\n$4\r\n\r\n\r\n\r\n",
]


@given(st.lists(st.sampled_from(VALUES), max_size=8), st.lists(st.integers(1, 9)))
def test_whatever_pieces_come_the_same_values_come_out(
    values: list[bytes], pieces: list[int]
) -> None:
    splitter, stream = Splitter(), b"".join(values)
    found: list[bytes] = []
    for size in pieces:
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    found += splitter.feed(stream)
    assert found == values


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b'*3\r\n$8\r\nsmessage\r\n$1\r\nr\r\n$9\r\n{"rev":1}\r\n', b'{"rev":1}'),
        (b">3\r\n$7\r\nmessage\r\n$1\r\nr\r\n$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
        (b"*3\r\n$10\r\nssubscribe\r\n$1\r\nr\r\n:1\r\n", None),
        (b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", None),
        (b"$8\r\nsmessage\r\n", None),
    ],
)
def test_published_messages_are_told_from_all_else(value: bytes, data: bytes | None) -> None:
    assert pushed(value) == data
