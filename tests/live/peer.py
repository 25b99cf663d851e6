"""Viewers' ends of connections that exist in memory only, and pages that can wait or fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from server.document.messages import Document
from server.errors import TablecastError
from server.live.viewer import Viewer
from server.live.work import Work

PATIENCE = 5.0  # seconds; every wait of these tests ends by then

Message = dict[str, Any]


class Peer(asyncio.Transport):
    """A transport that keeps what is written to it. While `stalled`, nothing of it leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.writes: list[bytes] = []
        self.controls: list[bytes] = []
        self.stalled = False
        self.aborted = False
        self.unsent = 0
        self.on_write: Callable[[], None] | None = None
        self._closing = False
        self._at = 0
        self._news = asyncio.Event()

    # What the server sees

    def write(self, data: Any) -> None:
        assert not self._closing, "written after the end"
        self.writes.append(bytes(data))
        if self.stalled:
            self.unsent += len(data)
        for opcode, payload in split_frames(bytes(data)):
            if opcode == 1:
                self.messages.append(json.loads(payload))
            else:
                self.controls.append(payload)
        if self.on_write is not None:
            self.on_write()
        self._news.set()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._news.set()

    def abort(self) -> None:
        self.aborted = True
        self.close()

    # What the test does

    def stall(self) -> None:
        """Take nothing any more; what is written piles up from more than any mark on."""
        self.stalled = True
        self.unsent = 1_000_000

    def drain(self) -> None:
        self.stalled = False
        self.unsent = 0

    async def expect(self, kind: str, **fields: Any) -> Message:
        """The next message of this type with these fields that was not looked at yet."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._at < len(self.messages):
                    message = self.messages[self._at]
                    self._at += 1
                    if message["type"] == kind and all(
                        message.get(name) == value for name, value in fields.items()
                    ):
                        return message
                self._news.clear()
                await self._news.wait()

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self._closing:
                self._news.clear()
                await self._news.wait()

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def registers(self) -> Message:
        """What a client that applies all states has."""
        registers: Message = {}
        for state in self.of("state"):
            if state["whole"]:
                registers = {}
            registers |= state["set"]
        return {name: value for name, value in registers.items() if value is not None}

    @property
    def revs(self) -> list[int]:
        """The revisions of all states, in the order in which they were written."""
        return [message["rev"] for message in self.of("state")]


class Pages:
    """Stands in for the reader: its pages say which they are; they can be held up or fail."""

    def __init__(self) -> None:
        self.work = Work()
        self.asked: list[int] = []
        self.failing: dict[int, TablecastError] = {}
        self._gates: dict[int, asyncio.Event] = {}
        self._asked = asyncio.Event()

    def hold(self, offset: int) -> None:
        self._gates[offset] = asyncio.Event()

    def release(self, offset: int) -> None:
        self._gates.pop(offset).set()

    async def until_asked(self, offset: int, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.asked.count(offset) < times:
                self._asked.clear()
                await self._asked.wait()

    async def page(
        self,
        room: str,
        document: Document,
        offset: int,
        size: int,
        *,
        rev: int | None = None,
        peek: bool = False,
    ) -> bytes:
        self.asked.append(offset)
        self._asked.set()
        if (gate := self._gates.get(offset)) is not None:
            await gate.wait()
        if (error := self.failing.get(offset)) is not None:
            raise error
        text = {
            "type": "page",
            "document": document.id,
            "first_row": offset + 1,
            "total_number": document.rows,
            "rev": rev,
            "data": [["cell " * 20]] * 20,
        }
        return json.dumps(text).encode()


def split_frames(data: bytes) -> list[tuple[int, bytes]]:
    """(opcode, payload) of each unmasked, whole, plain frame in `data`."""
    found = []
    at = 0
    while at < len(data):
        assert data[at] & 0xC0 == 0x80, "whole and not compressed"
        opcode, length = data[at] & 0x0F, data[at + 1]
        at += 2
        if length >= 126:
            width = 2 if length == 126 else 8
            length = int.from_bytes(data[at : at + width], "big")
            at += width
        found.append((opcode, data[at : at + length]))
        at += length
    assert at == len(data), "frames end where the write ends"
    return found


def make_viewer(peer: Peer, name: str = "v", room: str = "room") -> Viewer:
    now = asyncio.get_running_loop().time()
    return Viewer(name, room, peer, deflate=False, now=now)


def render(message: Mapping[str, Any]) -> str:
    """Stands in for the template of messages."""
    return f"<div>{message['body']}</div>"


def document(id: str = "d1", *, rows: int = 1000, complete: bool = True) -> Message:
    """A value of register `document`."""
    return {
        "id": id,
        "version": 1,
        "name": f"{id}.tsv",
        "size": 10_000,
        "stored": 10_000,
        "records": rows + 1,
        "rows": rows,
        "columns": 3,
        "blocks": 1,
        "complete": complete,
        "created": 0,
        "dialect": {"encoding": "utf-8", "delimiter": "\t", "quote": '"', "header": True},
    }


def page(id: str = "d1", *, offset: int = 0, size: int = 100) -> Message:
    """A value of register `page`."""
    return {"document": id, "offset": offset, "size": size}
