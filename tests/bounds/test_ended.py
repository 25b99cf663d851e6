"""An upload that has ended holds nothing, and waits for no garbage collector to let go of it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import pytest

from server.accept.files import cutting, upload, uploads
from server.document import intake
from tests.accept.client import ROOM, Node, SocketClient, memory

PATIENCE: Final = 10.0
RECORD_LIMIT: Final = 100_000
WHOLE: Final = b"a\tb\n" + b"x" * 90_000 + b"\ty\n"
ENDLESS: Final = b"a\tb\n" + b"x" * 200_000


class Living:
    """How many objects there are of a class; `none` is set while there are none."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self._refs: set[weakref.ref[Any]] = set()
        self.made = 0
        self.none = asyncio.Event()

    def make(self, *args: Any, **options: Any) -> Any:
        """In place of the class."""
        made = self._cls(*args, **options)
        self._refs.add(weakref.ref(made, self._ended))
        self.made += 1
        self.none.clear()
        return made

    def _ended(self, ref: weakref.ref[Any]) -> None:
        self._refs.discard(ref)
        if not self._refs:
            self.none.set()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
async def node(no_collector: None) -> AsyncIterator[Node]:
    async with Node(memory(), {"record_limit": RECORD_LIMIT}) as node:
        yield node


async def put(node: Node, data: bytes, status: int) -> None:
    async with node.http.put(f"/api/rooms/{ROOM}/document?replace=true", data=data) as answer:
        assert answer.status == status
        await answer.read()


async def began(node: Node) -> SocketClient:
    """A viewer who sends, and has sent most of a record that is not at its end."""
    viewer = await node.join()
    await viewer.say("upload", name="t.tsv", size=None)
    await viewer.until(lambda told: told["type"] == "ack")
    await viewer.say_raw(WHOLE[:80_000])
    await viewer.until(lambda told: told["type"] == "ack" and told["received"] == 80_000)
    return viewer


async def completed(node: Node) -> None:
    await put(node, WHOLE, 200)


async def refused(node: Node) -> None:
    await put(node, ENDLESS, 413)


async def sent_by_a_viewer(node: Node) -> None:
    viewer = await began(node)
    await viewer.say_raw(WHOLE[80_000:])
    await viewer.say("upload_end")
    await viewer.until(lambda told: told["type"] == "ack" and told.get("done", False))


async def cancelled(node: Node) -> None:
    await (await began(node)).say("upload_cancel")


async def left(node: Node) -> None:
    await (await began(node)).close()


async def replaced(node: Node) -> None:
    viewer = await began(node)
    await put(node, WHOLE, 200)
    await viewer.expect_error("upload_replaced")


@pytest.mark.parametrize("ended", [completed, refused, sent_by_a_viewer, cancelled, left, replaced])
async def test_an_upload_that_has_ended_is_free_at_once(
    node: Node, monkeypatch: pytest.MonkeyPatch, ended: Callable[[Node], Awaitable[None]]
) -> None:
    uploading, taking_in = Living(upload.Ingest), Living(intake.Intake)
    monkeypatch.setattr(uploads, "Ingest", uploading.make)
    monkeypatch.setattr(cutting, "Intake", taking_in.make)
    await ended(node)
    assert uploading.made
    assert taking_in.made
    async with asyncio.timeout(PATIENCE):
        await taking_in.none.wait()
        await uploading.none.wait()
