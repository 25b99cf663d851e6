"""An upload costs its node so much and no more, however slowly it comes, and ends when it stops."""

from __future__ import annotations

import random
import uuid
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from server.accept.edge.bodies import IDLE_LIMIT
from server.document.blocks import RECORD_LIMIT
from tests.bounds.clients import Upload, heavy
from tests.bounds.limits import ENDED_UPLOADS, GUESSING, KB, MB, SLOW_UPLOAD, WORST_UPLOAD
from tests.bounds.measured import Measured, tell


class Shape(NamedTuple):
    """A file, and the status that its upload is answered with."""

    data: bytes
    status: int


def cell(size: int) -> bytes:
    """One that is half as large when it is packed."""
    return random.Random(1).randbytes(size // 2).hex().encode()


PIECE = 128 * KB
LONGEST = cell(RECORD_LIMIT - 100)
SHAPES = [
    pytest.param(Shape(b"a\tb\n" + LONGEST + b"\ty\n1\t2\n", 200), id="plain"),
    pytest.param(Shape(b'a\tb\n"' + LONGEST + b'"\ty\n1\t2\n', 200), id="in quotes"),
    pytest.param(
        Shape("a\tb\n“".encode() + LONGEST + b"\xff\ty\n1\t2\n", 200), id="with a bad byte"
    ),
    pytest.param(Shape(b'a\tb\n"' + LONGEST + b"y" * MB, 413), id="over the limit"),
]
pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(200)]


def begun(node: Measured, count: int, ending: ExitStack) -> list[Upload]:
    """Uploads into rooms of their own, of which nothing has come yet."""
    uploads = [Upload(node.port, str(uuid.uuid4())) for _ in range(count)]
    for upload in uploads:
        ending.callback(upload.close)
    node.until(lambda told: told["tablecast_uploads_running"] == count)
    return uploads


def test_an_upload_that_trickles_costs_what_is_said_and_leaves_nothing(
    fresh_node: Measured, ending: ExitStack
) -> None:
    node, count = fresh_node, 300
    tasks = node.gauge("tasks")
    before = node.rested()
    uploads = begun(node, count, ending)
    data = heavy(500)
    # Whole blocks at first, then what never makes one.
    for piece in (data, data[: 100 * KB], *(data[n : n + 1] for n in range(20))):
        for upload in uploads:
            upload.send(piece)
    node.settle()
    growth = (node.most - before) / count
    for upload in uploads:
        upload.close()
    node.until_empty(tasks)
    tell(f"a slow upload: {growth:,.0f} bytes")
    assert growth <= SLOW_UPLOAD


@pytest.mark.parametrize("shape", SHAPES)
def test_an_upload_of_one_endless_record_costs_what_is_said(
    fresh_node: Measured, ending: ExitStack, shape: Shape
) -> None:
    """Of all uploads it needs the most memory: a record cannot be cut."""
    node = fresh_node
    tasks = node.gauge("tasks")
    before = node.rested()

    def send(count: int) -> None:
        uploads = begun(node, count, ending)
        for at in range(0, len(shape.data), PIECE):
            for upload in uploads:
                if not upload.is_over():
                    upload.send(shape.data[at : at + PIECE])
        for upload in uploads:
            assert f" {shape.status} ".encode() in upload.end()
            upload.close()
        node.until_empty(tasks)

    # Several at once seldom need the most at the same moment.
    send(1)
    growth = node.most - before
    send(4)
    together = (node.most - before) / 4
    left = node.settle() - before
    tell(
        f"an upload of one record: {growth:,} bytes, of four at once {together:,.0f} each; "
        f"afterwards {left:,}"
    )
    assert max(growth, together) <= WORST_UPLOAD
    assert left <= ENDED_UPLOADS


def test_several_guesses_of_an_encoding_load_what_they_need_once(
    fresh_node: Measured, ending: ExitStack
) -> None:
    node = fresh_node
    tasks = node.gauge("tasks")
    before = node.rested()
    uploads = begun(node, 4, ending)
    for upload in uploads:
        upload.send("name\tcity\nZoë\tMünchen\n".encode("cp1252") * 4_000)
    for upload in uploads:
        assert b" 200 " in upload.end()
        upload.close()
    node.until_empty(tasks)
    growth = node.settle() - before
    tell(f"guesses of an encoding: {growth:,} bytes")
    assert growth <= GUESSING


def test_an_upload_that_stops_ends_by_itself(one_node: Measured, ending: ExitStack) -> None:
    tasks = one_node.gauge("tasks")
    uploads = begun(one_node, 10, ending)
    for upload in uploads:
        upload.send(heavy(500))
    one_node.until(lambda told: told["tablecast_uploads_running"] == 0, IDLE_LIMIT + 40)
    assert all(upload.is_over() for upload in uploads)
    for upload in uploads:
        upload.close()
    one_node.until_empty(tasks)
