"""Traces, where they are asked for: what took its time, and nothing of what anybody sent."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from server.logs import room_id
from server.settings import Settings, SettingsError
from server.traces import make_traces
from tests.accept.client import Node, fake_redis, memory
from tests.operations.conftest import StartNode
from tests.room_client import PATIENCE

ROOT = Path(__file__).parents[2]
TABLE = b"a\tb\n" + b"1\t2\n" * 450


class Told:
    """The spans that a node has told so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    async def one(self, name: str) -> ReadableSpan:
        async with asyncio.timeout(PATIENCE):
            while True:
                for span in self.spans:
                    if span.name == name:
                        return span
                await asyncio.sleep(0.02)


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def node(start_node: StartNode, told: Told) -> Node:
    """A node on Redis that tells its spans to `told`."""
    backend = fake_redis()
    backend.counts.spans = make_traces(Settings(), told.exporter)
    started: Node = await start_node(backend)
    return started


async def test_a_request_is_told_with_the_calls_of_redis_it_took(node: Node, told: Told) -> None:
    room = str(uuid.uuid4())
    async with node.http.get(f"/api/rooms/{room}") as response:
        assert response.status == 200
    request = await told.one("GET /api/rooms/{uuid}")
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/rooms/{uuid}",
        "http.response.status_code": 200,
    }
    call = await told.one("redis snapshot")
    assert call.parent is not None
    assert request.context is not None
    assert call.parent.span_id == request.context.span_id


async def test_an_upload_and_a_page_turn_are_told_with_the_way_to_the_last_viewer(
    node: Node, told: Told
) -> None:
    room = str(uuid.uuid4())
    viewer = await node.join(room)
    await node.put(TABLE, room, "secret.tsv")
    await viewer.shows(1)
    upload = await told.one("upload")
    assert upload.attributes == {
        "tablecast.room": room_id(room),
        "tablecast.outcome": "completed",
    }
    told.exporter.clear()
    await viewer.turn(2)
    await viewer.shows(2)
    fanout = await told.one("fan-out")
    assert fanout.attributes == {"tablecast.room": room_id(room), "tablecast.viewers": 1}
    assert fanout.start_time is not None
    assert fanout.end_time is not None
    assert fanout.end_time > fanout.start_time
    await told.one("redis append")


async def test_no_span_holds_what_anybody_sent(node: Node, told: Told) -> None:
    room, secret = str(uuid.uuid4()), "sesame"
    viewer = await node.join(room)
    await node.put(TABLE.replace(b"a", secret.encode()), room, f"{secret}.tsv")
    await viewer.say("chat", id=str(uuid.uuid4()), body=secret)
    await viewer.expect("chat")
    async with node.http.get(f"/t/{secret}?{secret}={secret}") as response:
        assert response.status == 404
    await told.one("GET /t/{uuid}")
    written = " ".join(span.to_json() for span in told.spans)
    assert secret not in written
    assert room not in written


async def test_whoever_asks_cannot_choose_the_trace_and_is_not_told_it(
    node: Node, told: Told
) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    async with node.http.get("/healthz", headers=headers) as response:
        assert not {"traceparent", "tracestate"} & {name.lower() for name in response.headers}
    span = await told.one("GET /healthz")
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" != trace


async def test_a_socket_is_no_span_of_hours(node: Node, told: Told) -> None:
    viewer = await node.join()
    await viewer.close()
    async with node.http.get("/healthz"):
        pass
    await told.one("GET /healthz")
    assert not [span for span in told.spans if "/ws/" in span.name]


# Where it goes


async def test_a_collector_is_told_in_batches_and_one_that_is_gone_keeps_no_node_from_ending(
    start_node: StartNode,
) -> None:
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    node: Node = await start_node(memory(), traces_url=url)
    async with node.http.get("/healthz"):
        pass
    await node.http.close()
    assert [path for path, _ in got] == ["/v1/traces"]
    assert b"GET /healthz" in got[0][1]
    server.shutdown()
    server.server_close()
    left: Node = await start_node(memory(), traces_url=url)
    async with left.http.get("/healthz"):
        pass
    async with asyncio.timeout(PATIENCE):
        await left.http.close()


def test_asked_for_and_not_installed_it_says_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"TABLECAST_TRACES_URL is set.*tablecast\[otel\]"):
        make_traces(Settings(traces_url="http://localhost:4318/v1/traces"))


def test_not_asked_for_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys; from server.app import make_app; from server.settings import Settings;"
        "make_app(Settings()); print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert ran.stdout.strip() == "[]", ran.stderr
