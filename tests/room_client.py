"""A viewer for tests: follows a room as docs/PROTOCOL.md says, and waits for what should come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

import aiohttp

PATIENCE = 10.0  # seconds; a loaded machine is slow, a fault is for ever

Message = dict[str, Any]


class Gone(AssertionError):
    """The connection ended where the test expected a message."""


def close_code(socket: aiohttp.ClientWebSocketResponse, last: aiohttp.WSMessage) -> int | None:
    """The code that the server gave, `last` being what came last.

    The library forgets it where the end of the connection came along, and says 1006 instead: its
    answer could not be written any more.
    """
    return last.data if last.type is aiohttp.WSMsgType.CLOSE else socket.close_code


class RoomClient:
    """One viewer of room `uuid` at `url`; keeps the registers and the last page it was sent."""

    def __init__(self, url: str, uuid: str, *, headers: Mapping[str, str] | None = None) -> None:
        """`headers` go with the request that opens the socket."""
        self.url = url
        self.uuid = uuid
        self.headers = headers
        self.hello: Message = {}
        self.epoch = ""
        self.rev = -1
        self.registers: dict[str, Any] = {}
        self.page: Message = {}
        self.here = 0
        self.degraded = False
        self.close_code: int | None = None
        self.seen: list[Message] = []  # everything, in order
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def node(self) -> str:
        return str(self.hello["node"])

    @property
    def header(self) -> list[str]:
        """The names of the columns it shows; [] before it shows any."""
        return list(self.page.get("header", []))

    async def connect(self) -> None:
        """Open the socket and take the `hello`."""
        self._session = aiohttp.ClientSession()
        async with asyncio.timeout(PATIENCE):
            self._socket = await self._session.ws_connect(
                f"{self.url}/ws/{self.uuid}",
                compress=15,
                max_msg_size=0,
                headers=self.headers,
            )
            self.hello = await self.next()
        assert self.hello["type"] == "hello"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = self._socket = None

    def vanish(self) -> None:
        """Cut the connection without a close, as a lost network does."""
        assert self._socket is not None
        response = self._socket._response
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.abort()

    # What it says

    async def say(self, kind: str, **fields: Any) -> None:
        assert self._socket is not None
        await self._socket.send_str(json.dumps({"type": kind, **fields}))

    async def say_raw(self, data: str | bytes) -> None:
        assert self._socket is not None
        if isinstance(data, str):
            await self._socket.send_str(data)
        else:
            await self._socket.send_bytes(data)

    async def upload(self, name: str, data: bytes) -> Message:
        """Send a whole file with acknowledgements; the last `ack`."""
        await self.begin_upload(name, len(data))
        await self.send_chunks(data)
        await self.say("upload_end")
        return await self.until(lambda m: m["type"] == "ack" and m["done"])

    async def begin_upload(self, name: str, size: int | None) -> Message:
        await self.say("upload", name=name, size=size)
        return await self.until(lambda m: m["type"] == "ack" and m["received"] == 0)

    async def send_chunks(self, data: bytes) -> None:
        """Send `data` within the window the server gives."""
        chunk, window = self.hello["limits"]["chunk_bytes"], self.hello["limits"]["window_bytes"]
        base = 0
        for start in range(0, len(data), chunk):
            end = min(start + chunk, len(data))
            while end - base > window:
                base = (await self.until(lambda m: m["type"] == "ack"))["received"]
            await self.say_raw(data[start:end])
        while base < len(data):
            base = (await self.until(lambda m: m["type"] == "ack"))["received"]

    # What it hears

    async def next(self, timeout: float = PATIENCE) -> Message:
        """The next message, taken into the state. Raises `Gone` when there is none to come."""
        assert self._socket is not None
        async with asyncio.timeout(timeout):
            message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            self.close_code = close_code(self._socket, message)
            raise Gone(f"the connection ended: {message.type!r} {message.data!r}")
        told: Message = json.loads(message.data)
        self.seen.append(told)
        self._take(told)
        return told

    async def until(
        self, wanted: Callable[[Message], bool], timeout: float = PATIENCE, *, errors: bool = False
    ) -> Message:
        """The first message that `wanted` accepts; an `error` fails the test unless `errors`."""
        async with asyncio.timeout(timeout):
            while True:
                told = await self.next(timeout)
                if wanted(told):
                    return told
                assert errors or told["type"] != "error", told

    async def expect(self, kind: str, timeout: float = PATIENCE, **fields: Any) -> Message:
        """The first message of this type with these fields."""

        def wanted(told: Message) -> bool:
            return told["type"] == kind and all(told.get(k) == v for k, v in fields.items())

        return await self.until(wanted, timeout, errors=kind == "error")

    async def expect_error(self, code: str, timeout: float = PATIENCE) -> Message:
        return await self.expect("error", timeout, code=code)

    async def shows(self, page_no: int, timeout: float = PATIENCE) -> Message:
        """Wait until it shows page `page_no`; that page."""
        async with asyncio.timeout(timeout):
            while self.page.get("page_no") != page_no:
                await self.next(timeout)
        return self.page

    async def settles(self, wanted: Callable[[Self], bool], timeout: float = PATIENCE) -> None:
        """Wait until the state that it keeps satisfies `wanted`."""
        async with asyncio.timeout(timeout):
            while not wanted(self):
                await self.next(timeout)

    async def ends(self, timeout: float = PATIENCE) -> int | None:
        """Read until the connection ends; its close code."""
        async with asyncio.timeout(timeout):
            try:
                while True:
                    await self.next(timeout)
            except Gone:
                return self.close_code

    def _take(self, told: Message) -> None:
        match told["type"]:
            case "state":
                if told["whole"]:
                    self.registers = {}
                self.registers |= told["set"]
                self.epoch, self.rev = told["epoch"], told["rev"]
            case "page" if not told.get("peek"):
                self.page = told
            case "here":
                self.here = told["count"]
            case "status":
                self.degraded = told["degraded"]


def table(rows: int, *, name: str = "name", columns: int = 3) -> bytes:
    """A TSV with a header and `rows` rows that tell their number."""
    header = "\t".join(["id", *(f"{name} {c}" for c in range(1, columns))])
    lines = (
        "\t".join([str(r), *(f"{name} {r}.{c}" for c in range(1, columns))])
        for r in range(1, rows + 1)
    )
    return (header + "\n" + "\n".join(lines) + "\n").encode()
