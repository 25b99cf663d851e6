"""A body with a Content-Encoding is what its sender meant, or it is refused."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable

import pytest
import zstandard

from tests.accept.client import ROOM, Node
from tests.accept.test_append import source
from tests.room_client import table

DOCUMENT = f"/api/rooms/{ROOM}/document?name=t.tsv"
ROWS = f"/api/rooms/{ROOM}/document/rows"
TABLE = table(20_000)


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


def in_two(data: bytes) -> bytes:
    return gzip.compress(data[:1000]) + gzip.compress(data[1000:])


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("X-GZip", in_two),
    ("identity, gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("identity", bytes),
]


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
async def test_a_whole_body_is_the_table(
    node: Node, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    headers = {"Content-Encoding": encoding}
    async with node.http.put(DOCUMENT, data=pack(TABLE), headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    assert await source(node) == TABLE
    async with node.http.post(ROWS, data=pack(b"x\ty\nz"), headers=headers) as answer:
        assert (await answer.json())["rows_added"] == 2
    assert await source(node) == TABLE + b"x\ty\nz"


PACKED = gzip.compress(TABLE)
BROKEN = [
    PACKED[: len(PACKED) // 2],
    PACKED[:-8],
    PACKED[:-1],
    PACKED[:-6] + b"ab" + PACKED[-4:],
    PACKED + b"junk",
    TABLE,
]


@pytest.mark.parametrize("body", BROKEN, ids=["half", "no check", "last", "check", "junk", "plain"])
async def test_a_broken_body_is_no_table_and_no_complaint_in_the_log(
    node: Node, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Content-Encoding": "gzip"}
    await node.put(b"a\tb\n1\t2\n")
    before = await source(node)
    await node.refusal("PUT", DOCUMENT, 422, "damaged", data=body, headers=headers)
    assert await source(node) == before
    problem = await node.refusal("POST", ROWS, 422, "damaged", data=body, headers=headers)
    added = problem["rows_added"]
    assert (await source(node)).count(b"\n") == 2 + added
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "bogus", "gzip;q=1"])
async def test_an_encoding_that_nobody_here_knows_is_refused_by_its_name(
    node: Node, encoding: str
) -> None:
    headers = {"Content-Encoding": encoding}
    await node.put(b"a\tb\n1\t2\n")
    for method, path in (("PUT", DOCUMENT), ("POST", ROWS)):
        problem = await node.refusal(method, path, 415, "unsupported", data=b"x", headers=headers)
        assert encoding in problem["detail"]
    path = f"/api/rooms/{ROOM}/page"
    await node.refusal("PUT", path, 400, "bad_message", data=b"{}", headers=headers)


async def test_small_messages_may_be_encoded_too(node: Node) -> None:
    await node.put(table(300))
    headers = {"Content-Encoding": "gzip"}
    path = f"/api/rooms/{ROOM}/page"
    packed = gzip.compress(b'{"page_no": 2}')
    async with node.http.put(path, data=packed, headers=headers) as answer:
        assert answer.status == 200
    large = gzip.compress(b'{"page_no": 2, "name": "' + b"x" * 2_000_000 + b'"}')
    await node.refusal("PUT", path, 413, "too_large", data=large, headers=headers)
    await node.refusal("PUT", path, 400, "bad_message", data=packed[:-4], headers=headers)
