"""The original clients, written from the description of their formats: they know nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Self

import aiohttp

from tests.room_client import PATIENCE, Gone, Message, close_code

_MESSAGE = re.compile(r'<div class="message" id="m([^"]*)">(.*)</div>', re.DOTALL)


class _Client:
    """One socket. `seen` has all messages that came, in order."""

    def __init__(self, url: str, path: str, **options: Any) -> None:
        """`options` go to the request that opens the socket."""
        self.seen: list[Message] = []
        self.close_code: int | None = None
        self._url = f"{url}{path}"
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(PATIENCE):
                self._socket = await self._session.ws_connect(
                    self._url, autoping=False, max_msg_size=0, **self._options
                )
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, message: str | bytes) -> None:
        assert self._socket is not None
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def next(self) -> Message:
        """The next message. Raises `Gone` when there is none to come."""
        told = await self._next()
        assert told is not None, "a pong that nobody asked for"
        return told

    async def quiet(self) -> list[Message]:
        """What came until the server has answered everything that was sent."""
        assert self._socket is not None
        await self._socket.ping()
        told = []
        while (message := await self._next()) is not None:
            told.append(message)
        return told

    async def until_pinged(self) -> None:
        """Wait until the server asks whether somebody is here; no message may come before."""
        async with asyncio.timeout(PATIENCE):
            assert (await self._receive()).type is aiohttp.WSMsgType.PING

    async def ends(self) -> int | None:
        """Read until the connection ends; its close code."""
        try:
            while True:
                await self._next()
        except Gone:
            return self.close_code

    def check(self, told: Message) -> None:
        """Hold a message to the format."""
        raise NotImplementedError

    async def _next(self) -> Message | None:
        """The next message; None for a pong."""
        async with asyncio.timeout(PATIENCE):
            while (message := await self._receive()).type is aiohttp.WSMsgType.PING:
                pass
        if message.type is aiohttp.WSMsgType.PONG:
            return None
        told: Message = json.loads(message.data)
        self.check(told)
        self.seen.append(told)
        return told

    async def _receive(self) -> aiohttp.WSMessage:
        """What comes next; a ping is answered. Raises `Gone` at the end."""
        assert self._socket is not None
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PONG):
            self.close_code = close_code(self._socket, message)
            raise Gone(f"the connection ended: {message.type!r} {message.data!r}")
        return message


class TableClient(_Client):
    """Looks at a table: `/parser/ws`, in a room that it learns of by what it is sent."""

    def __init__(self, url: str, room: str | None = None, **options: Any) -> None:
        super().__init__(url, "/parser/ws" if room is None else f"/parser/ws/{room}", **options)

    def check(self, told: Message) -> None:
        assert set(told) == {"uuid", "page_no", "total_number", "data"}
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", told["uuid"])
        page_no, total, data = told["page_no"], told["total_number"], told["data"]
        assert type(page_no) is int
        assert type(total) is int
        assert 1 <= page_no <= max(1, -(-total // 100))
        assert len(data) == min(100, total - 100 * (page_no - 1))
        assert all(type(row) is list and all(type(cell) is str for cell in row) for row in data)

    async def shows(self, page_no: int, first_cell: str | None = None) -> Message:
        """The next page that is this one (and begins with this cell)."""
        async with asyncio.timeout(PATIENCE):
            while True:
                told = await self.next()
                if told["page_no"] == page_no and first_cell in (None, told["data"][0][0]):
                    return told


class ChatClient(_Client):
    """Chats in the lobby: `/chatsocket`."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, "/chatsocket", **options)

    def check(self, told: Message) -> None:
        assert set(told) == {"id", "body", "html"}
        assert all(type(value) is str for value in told.values())
        element = _MESSAGE.fullmatch(told["html"])
        assert element is not None
        assert element[1] == told["id"]
        assert "<div" not in element[2]
        assert "</div" not in element[2]

    async def say(self, body: str) -> None:
        await self.send(json.dumps({"body": body}))

    async def hears(self, body: str) -> Message:
        """The message that says this."""
        async with asyncio.timeout(PATIENCE):
            while True:
                told = await self.next()
                if told["body"] == body:
                    return told
