"""nginx.conf, the very file of the container, in front of two small servers that echo."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.nodes.harness import ROOT, Nginx, free_port, render

pytestmark = [pytest.mark.processes, pytest.mark.timeout(30)]

MiB = 1024 * 1024


class Echo:
    """A server that tells what reached it, and as soon as it reached it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.status = 200
        self.first_bytes = asyncio.Event()
        self.received = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=0)
        app.router.add_get("/ws/{room}", self.socket)
        app.router.add_put("/api/rooms/{room}/document", self.upload)
        app.router.add_get("/static/{name}", self.script)
        app.router.add_route("*", "/{path:.*}", self.tell)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"name": self.name, "path": request.path_qs, "headers": dict(request.headers)},
            status=self.status,
        )

    async def script(self, request: web.Request) -> web.Response:
        return web.Response(text="// words\n" * 1000, content_type="text/javascript")

    async def upload(self, request: web.Request) -> web.Response:
        async for chunk in request.content.iter_any():
            self.received += len(chunk)
            self.first_bytes.set()
        return web.json_response({"received": self.received})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_json({"name": self.name, "extensions": ws.compress})
        async for message in ws:
            if message.type is aiohttp.WSMsgType.BINARY:
                await ws.send_bytes(message.data)
            else:
                await ws.send_str(message.data)
        return ws


@pytest.fixture
async def echoes() -> AsyncIterator[list[Echo]]:
    both = [Echo("red"), Echo("blue")]
    for echo in both:
        await echo.start()
    yield both
    for echo in both:
        await echo.stop()


@pytest.fixture
async def nginx(tmp_path: Path, echoes: list[Echo]) -> AsyncIterator[Nginx]:
    nginx = Nginx(tmp_path, [echo.port for echo in echoes])
    try:
        await nginx.start()
        yield nginx
    finally:
        nginx.kill()


@pytest.fixture
async def client(nginx: Nginx) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(nginx.url, timeout=timeout) as session:
        yield session


def test_nginx_finds_no_fault_with_it(tmp_path):
    nginx = Nginx(tmp_path, [free_port()])
    checked = subprocess.run(nginx.command("-t"), capture_output=True, text=True, timeout=10)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr


def test_nginx_finds_no_fault_with_it_as_the_container_renders_it(tmp_path):
    """A node's name with a port, no group: the name is looked up only when somebody asks."""
    nginx = Nginx(tmp_path, [])
    (nginx.prefix / "nodes.d" / "nodes.conf").unlink()
    (nginx.prefix / "nginx.conf").write_text(
        render(
            TABLECAST_LISTEN="8080",
            TABLECAST_NODES="app:8000",
            NGINX_LOCAL_RESOLVERS="127.0.0.11",
        )
    )
    checked = subprocess.run(nginx.command("-t"), capture_output=True, text=True, timeout=10)
    assert checked.returncode == 0, checked.stderr


def test_compose_sets_every_variable_of_the_template():
    used = set(re.findall(r"\$\{(\w+)\}", (ROOT / "nginx.conf").read_text()))
    compose = (ROOT / "docker-compose.yml").read_text()
    given = {name for name in used if re.search(rf"^ +{name}: ", compose, re.MULTILINE)}
    # The image itself sets this one, because it is told to.
    assert "NGINX_ENTRYPOINT_LOCAL_RESOLVERS" in compose
    assert used - given == {"NGINX_LOCAL_RESOLVERS"}


async def test_all_nodes_are_used(client):
    names = set()
    for _ in range(4):
        async with client.get("/t/room") as response:
            names.add((await response.json())["name"])
    assert names == {"red", "blue"}


async def test_a_node_learns_the_host_with_its_port_and_who_asks(client, nginx):
    async with client.get("/t/r?page=2", headers={"X-Forwarded-For": "1.2.3.4"}) as response:
        told = await response.json()
    assert told["path"] == "/t/r?page=2"
    assert told["headers"]["Host"] == f"127.0.0.1:{nginx.port}"
    assert told["headers"]["X-Forwarded-Host"] == f"127.0.0.1:{nginx.port}"
    assert told["headers"]["X-Forwarded-Proto"] == "http"
    assert told["headers"]["X-Forwarded-For"] == "127.0.0.1"


async def test_a_request_goes_to_the_other_node_when_one_is_gone(client, echoes):
    await echoes[0].stop()
    for _ in range(4):
        async with client.get("/") as response:
            assert (await response.json())["name"] == "blue"


async def test_a_node_that_drains_is_passed_over(client, echoes):
    echoes[1].status = 503
    for _ in range(4):
        async with client.get("/") as response:
            assert response.status == 200
            assert (await response.json())["name"] == "red"


async def test_a_post_is_never_sent_twice(client, echoes):
    for echo in echoes:
        echo.status = 503
    async with client.post("/api/rooms") as response:
        assert response.status == 503
        assert (await response.json())["name"] in {"red", "blue"}


async def test_without_any_node_people_read_a_page_and_programs_a_problem(client, echoes):
    for echo in echoes:
        await echo.stop()
    async with client.get("/t/room", headers={"Accept": "text/html,*/*"}) as response:
        assert response.status == 503
        assert response.content_type == "text/html"
        assert "No node answers right now" in await response.text()
    async with client.get("/api/rooms/room") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "2"
        problem = json.loads(await response.text())
        assert response.content_type == "application/problem+json"
        assert (problem["code"], problem["retry"]) == ("unavailable", True)


async def test_sockets_reach_different_nodes_and_carry_text_and_bytes(client):
    names = set()
    async with client.ws_connect("/ws/room") as one, client.ws_connect("/ws/room") as two:
        for ws in (one, two):
            names.add((await ws.receive_json(timeout=5))["name"])
            await ws.send_str("héllo")
            assert await ws.receive_str(timeout=5) == "héllo"
            await ws.send_bytes(bytes(range(256)) * 1024)
            assert await ws.receive_bytes(timeout=5) == bytes(range(256)) * 1024
    assert names == {"red", "blue"}


async def test_compression_of_a_socket_is_agreed_between_browser_and_node(client):
    async with client.ws_connect("/ws/room", compress=15) as ws:
        assert (await ws.receive_json(timeout=5))["extensions"] == 15
        assert ws.compress == 15


async def test_an_upload_reaches_the_node_while_it_is_still_sent(client, echoes):
    goes_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a\tb\n"
        await goes_on.wait()
        for _ in range(8):
            yield b"x" * MiB

    async def first_bytes() -> None:
        waits = [asyncio.ensure_future(echo.first_bytes.wait()) for echo in echoes]
        done, pending = await asyncio.wait(waits, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        assert done, "the node heard nothing of an upload that had begun"

    async with asyncio.TaskGroup() as group:
        sent = group.create_task(send(client, body()))
        await first_bytes()
        goes_on.set()
    assert sent.result() == {"received": 4 + 8 * MiB}


async def send(client: aiohttp.ClientSession, body: AsyncIterator[bytes]) -> dict[str, int]:
    async with client.put("/api/rooms/room/document", data=body) as response:
        assert response.status == 200
        answer: dict[str, int] = await response.json()
        return answer


async def test_a_body_over_the_limit_is_refused_with_the_same_code_as_on_the_socket(client):
    async with client.post("/api/rooms", data=BytesIO(b"x" * (MiB + 1))) as response:
        assert response.status == 413
        assert json.loads(await response.text())["code"] == "too_large"


async def test_scripts_are_compressed_on_the_way(client):
    async with client.get("/static/main.js") as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(await response.text()) == 9000


async def test_metrics_are_not_shown_outside(client):
    async with client.get("/metrics") as response:
        assert response.status == 404


async def test_it_says_neither_its_version_nor_that_of_the_system(client):
    async with client.get("/") as response:
        assert response.headers["Server"] == "nginx"
