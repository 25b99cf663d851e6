"""An upload costs its node so much and no more, however slowly it comes, and ends when it stops."""

from __future__ import annotations

import uuid
from contextlib import ExitStack

import pytest

from server.accept.edge.bodies import IDLE_LIMIT
from tests.bounds.clients import Upload, heavy
from tests.bounds.conftest import StartNode
from tests.bounds.limits import KB, SLOW_UPLOAD, WORST_UPLOAD
from tests.bounds.measured import Measured, tell

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(200)]


def begun(node: Measured, count: int, ending: ExitStack) -> list[Upload]:
    """Uploads into rooms of their own, of which nothing has come yet."""
    uploads = [Upload(node.port, str(uuid.uuid4())) for _ in range(count)]
    for upload in uploads:
        ending.callback(upload.close)
    node.until(lambda told: told["tablecast_uploads_running"] == count)
    return uploads


@pytest.mark.parametrize("count", [20, 300])
def test_an_upload_that_trickles_costs_what_is_said_and_leaves_nothing(
    one_node: Measured, ending: ExitStack, count: int
) -> None:
    tasks = one_node.gauge("tasks")
    before = one_node.settle()
    uploads = begun(one_node, count, ending)
    data = heavy(500)
    most = 0
    # Whole blocks at first, then what never makes one.
    for piece in (data, data[: 100 * KB], *(data[n : n + 1] for n in range(20))):
        for upload in uploads:
            upload.send(piece)
        most = max(most, one_node.memory)
    growth = (max(most, one_node.settle()) - before) / count
    for upload in uploads:
        upload.close()
    one_node.until_empty(tasks)
    tell(f"a slow upload: {growth:,.0f} bytes")
    assert growth <= SLOW_UPLOAD


@pytest.mark.parametrize("cell", [b"x", b'"x'], ids=["plain", "in quotes"])
def test_an_upload_of_one_endless_record_costs_what_is_said(
    start_node: StartNode, ending: ExitStack, cell: bytes
) -> None:
    """Of all uploads it needs the most memory: a record cannot be cut."""
    node = start_node(linger=0.5)
    room = str(uuid.uuid4())
    node.put(heavy(500), room)
    tasks = node.gauge("tasks")
    before = node.settle()
    uploads = begun(node, 4, ending)
    most = 0
    for upload in uploads:
        upload.send(b"a\tb\n" + cell)
    for _ in range(120):
        for upload in uploads:
            if not upload.is_over():
                upload.send(b"y" * 128 * 1024)
        most = max(most, node.memory)
    for upload in uploads:
        upload.close()
    node.until_empty(tasks)
    growth = (most - before) / len(uploads)
    tell(f"an upload of one record: {growth:,.0f} bytes; afterwards {node.settle() - before:,}")
    assert growth <= WORST_UPLOAD


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
