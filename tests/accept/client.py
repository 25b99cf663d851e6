"""A node inside the test, with a client for its doors and viewers for its rooms."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import fakeredis
from aiohttp.test_utils import TestClient, TestServer

from server.app import make_app
from server.fanout.backend import Backend
from server.fanout.bus import Timing
from server.fanout.memory import MemoryBackend, MemoryStore
from server.fanout.redis import RedisBackend
from server.settings import Settings
from tests.room_client import PATIENCE, Message, RoomClient

ROOM = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
OTHER = "9c858901-8a57-4791-81fe-4c455b099bc9"


class SocketClient(RoomClient):
    """A viewer who also tells what it was told besides its state."""

    @property
    def errors(self) -> list[Message]:
        return [told for told in self.seen if told["type"] == "error"]

    @property
    def table(self) -> str | None:
        """The id of the table that it sees: in the register and on the page."""
        document = self.registers.get("document")
        return None if document is None else document["id"]

    async def sees(self, id: str | None, first_row: int | None = None) -> None:
        """Wait until it sees this table (at this row), complete, with no upload in sight."""

        def there(client: RoomClient) -> bool:
            registers = client.registers
            document = registers.get("document")
            if registers.get("upload") is not None:
                return False
            if id is None:
                return document is None
            return (
                document is not None
                and document["id"] == id
                and document["complete"]
                and client.page.get("document") == id
                and client.page["total_number"] == document["rows"]
                and first_row in (None, client.page["first_row"])
            )

        await self.settles(there)

    async def turn(self, page_no: int) -> None:
        await self.say("page", page_no=page_no)

    async def until_quiet(self) -> None:
        """Read all that the server had to say until now: it answers in order."""
        mark = secrets.randbelow(1 << 30) + (1 << 32)
        await self.say("peek", page_no=mark)
        await self.until(
            lambda m: m["type"] == "error" and (f"{mark}" in m["message"] or m["about"] == "peek"),
            errors=True,
        )


class Node:
    """One node; a context manager that ends everything that was started through it."""

    def __init__(self, backend: Backend | None, settings: Mapping[str, Any]) -> None:
        options = {"node": f"node-{secrets.token_hex(2)}", **settings}
        self.settings = Settings(**options)
        self.app = make_app(self.settings, backend)
        self.http = TestClient(TestServer(self.app), auto_decompress=True)
        self._viewers: list[SocketClient] = []

    async def __aenter__(self) -> Node:
        await self.http.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        for viewer in self._viewers:
            await viewer.close()
        await self.http.close()

    @property
    def url(self) -> str:
        return str(self.http.make_url("/")).rstrip("/")

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    async def join(
        self, room: str = ROOM, headers: Mapping[str, str] | None = None
    ) -> SocketClient:
        """A viewer of `room` who has the present state."""
        viewer = SocketClient(self.url, room, headers=headers)
        self._viewers.append(viewer)
        await viewer.connect()
        await viewer.expect("state")
        return viewer

    async def put(
        self, data: Any, room: str = ROOM, name: str = "table.tsv", **options: Any
    ) -> Message:
        """Upload by PUT, as curl does; the document."""
        async with self.http.put(
            f"/api/rooms/{room}/document", params={"name": name}, data=data, **options
        ) as response:
            assert response.status == 200, await response.text()
            return json.loads(await response.read())

    async def registers(self, room: str = ROOM) -> dict[str, Any]:
        async with self.http.get(f"/api/rooms/{room}") as response:
            assert response.status == 200
            return dict((await response.json())["set"])

    async def refusal(
        self, method: str, path: str, status: int, code: str, **options: Any
    ) -> Message:
        """Ask for what is refused; the problem, which must have the promised shape."""
        async with asyncio.timeout(PATIENCE):
            async with self.http.request(method, path, **options) as response:
                problem: Message = json.loads(await response.read())
        assert response.content_type == "application/problem+json"
        assert response.headers["Tablecast-Node"] == self.settings.node
        told = {"type", "title", "status", "detail", "code", "retry"}
        assert set(problem) - {"rows_added"} == told
        assert (response.status, problem["status"], problem["code"]) == (status, status, code)
        assert problem["type"] == "about:blank"
        assert problem["detail"].endswith((".", "!"))
        return problem


class Wrapped:
    """A backend that does what another one does, but for what a test replaces."""

    def __init__(self, backend: Backend, **replaced: Callable[..., Any]) -> None:
        self.backend = backend
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


def memory(store: MemoryStore | None = None, **options: Any) -> MemoryBackend:
    return MemoryBackend(secrets.token_hex(4), store=store, **options)


def fake_redis() -> RedisBackend:
    """A backend on a Redis inside the test."""
    server = fakeredis.FakeServer()
    return RedisBackend(
        "",
        secrets.token_hex(4),
        connect=lambda retry: fakeredis.FakeAsyncRedis(server=server, protocol=2, retry=retry),
        timing=Timing(linger=0.3),
        shebang=False,
    )


class Slowly:
    """A body that sends what it is given, when it is given it, and can break off."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (data := await self._queue.get()) is not None:
            yield data
