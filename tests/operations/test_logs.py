"""The log tells what happened to whom by ids, and never what anybody sent."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import secrets
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from server import logs
from server.errors import Unavailable
from tests.accept.client import Node, Wrapped, memory
from tests.accept.owned import owned_room
from tests.operations.conftest import StartNode
from tests.room_client import PATIENCE


class Log:
    """All that is written down, as a node would write it."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    async def tells(self, message: str, **fields: Any) -> dict[str, Any]:
        """Wait for an entry with this message and these fields."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for entry in self.entries:
                    if entry["message"] == message and fields.items() <= entry.items():
                        return entry
                await asyncio.sleep(0.02)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """JSON from debug on."""
    root, stream = logging.getLogger(), io.StringIO()
    named = [logging.getLogger(each) for each in logs.LIBRARIES]
    before = [(each, each.level) for each in (root, *named)]
    handlers = list(root.handlers)
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure("debug", "json")
    yield Log(stream)
    root.handlers[:] = handlers
    for logger, level in before:
        logger.setLevel(level)


def record(message: str, *arguments: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("server.x", logging.WARNING, "x.py", 1, message, arguments, None)
    made.__dict__.update(more)
    return made


# Its form


def test_a_line_of_text_has_time_level_logger_message_and_fields() -> None:
    room = str(uuid.uuid4())
    line = logs.formatter("text").format(
        record("an upload failed", **logs.about(room, code="damaged", viewer=None))
    )
    time, rest = line.split(" ", 1)
    assert time.endswith("Z")
    assert rest == (f"WARNING server.x: an upload failed room={logs.room_id(room)} code=damaged")


def test_a_line_of_json_has_the_same() -> None:
    made = record("%d of %d", 1, 2, **logs.about(viewers=3))
    told = json.loads(logs.formatter("json").format(made))
    assert told.pop("time").endswith("Z")
    assert told == {"level": "warning", "logger": "server.x", "message": "1 of 2", "viewers": 3}


def test_an_operator_can_work_out_the_id_of_a_room_whose_address_he_was_told() -> None:
    room = str(uuid.uuid4())
    # printf %s ROOM | sha256sum | cut -c1-12
    assert logs.room_id(room) == hashlib.sha256(room.encode()).hexdigest()[:12]
    assert logs.room_id(room) not in room.replace("-", "")


@pytest.mark.parametrize("format", ["text", "json"])
def test_nobody_writes_a_line_of_his_own(format: str) -> None:
    made = record("lost %s", "a\nb\x1b[31m\r", **logs.about(code="c\nd"))
    line = logs.formatter(format).format(made)
    assert not {"\n", "\r", "\x1b"} & set(line)


@pytest.mark.parametrize("format", ["text", "json"])
def test_of_an_exception_its_type_and_its_stack_are_written_and_not_its_message(
    format: str,
) -> None:
    try:
        try:
            raise KeyError("a secret cell")
        except KeyError as error:
            raise ValueError("another secret") from error
    except ValueError as error:
        made = record("it failed", exc_info=(type(error), error, error.__traceback__))
    line = logs.formatter(format).format(made)
    assert "secret" not in line
    assert "builtins.KeyError" in line
    assert "builtins.ValueError" in line
    assert "test_logs.py" in line


async def test_what_a_task_leaves_behind_is_told_without_what_it_worked_on(log: Log) -> None:
    async def fail() -> None:
        raise KeyError("a secret cell")

    loop = asyncio.get_running_loop()
    task = loop.create_task(fail(), name="a secret name")
    await asyncio.wait([task])
    logs.complain({"message": "nobody awaits it", "exception": task.exception(), "task": task})
    assert "KeyError" in log.text
    assert "secret" not in log.text


# What is in it


async def test_nothing_that_anybody_sends_is_written_down(start_node: StartNode, log: Log) -> None:
    secret = "sesame" + secrets.token_hex(6)
    inner = memory()
    broken = False

    async def append(room: str, **arguments: Any) -> Any:
        if broken:
            raise KeyError(f"{secret} in {room}")
        return await inner.append(room, **arguments)

    async def get_blocks(*arguments: Any) -> Any:
        if broken:
            raise Unavailable(f"{secret} is away")
        return await inner.get_blocks(*arguments)

    node: Node = await start_node(
        Wrapped(inner, append=append, get_blocks=get_blocks), log_requests=True
    )
    owned = await owned_room(node)
    room = owned.uuid
    key = {"Authorization": f"Bearer {owned.owner}"}
    viewer = await node.join(room, key)
    table = f"{secret}\tb\n".encode() + f"{secret}\t2\n".encode() * 9_000
    await node.put(table, room, f"{secret}.tsv", headers=key)
    await viewer.shows(1)
    # What people say and are called, and all that is refused.
    await viewer.say("me", name=secret, color=3)
    await viewer.say("chat", id=str(uuid.uuid4()), body=secret)
    await viewer.say(secret)
    await viewer.say("key", key=secret)
    await viewer.say("dialect", encoding=secret)
    await viewer.say_raw(f'{{"type": "page", "page_no": "{secret}"')
    await viewer.until_quiet()
    files = {
        f"{secret}.xlsx": b"PK\x03\x04" + secret.encode() * 100,
        f"{secret}.gz": b"\x1f\x8b" + secret.encode() * 100,
        f"{secret}.png": b"\x89PNG\r\n\x1a\n" + secret.encode() * 100,
    }
    for name, data in files.items():
        path = f"/api/rooms/{room}/document"
        named = {"name": name, "sheet": secret}
        async with node.http.put(path, params=named, data=data, headers=key) as told:
            assert told.status >= 400
    for path in (f"/{secret}", f"/t/{secret}", f"/t/{room}?{secret}", f"/api/rooms/{room}/rows"):
        async with node.http.get(path, headers={"Cookie": f"{secret}={secret}"}) as told:
            await told.read()
    async with node.http.put(f"/api/rooms/{room}/page", data=secret.encode(), headers=key) as told:
        assert told.status == 400
    # Faults of our own, whose messages hold it too.
    broken = True
    async with node.http.put(f"/api/rooms/{room}/page", json={"page_no": 2}, headers=key) as told:
        assert told.status == 500
    async with node.http.get(f"/api/rooms/{room}/document") as told:
        assert told.status == 503
    await viewer.turn(2)
    with pytest.raises(AssertionError):
        await viewer.until(lambda m: False, errors=True)
    told_of = logs.room_id(room)
    await log.tells("a request failed", room=told_of, route="/api/rooms/{uuid}/page")
    await log.tells("a viewer's connection failed", room=told_of, viewer=viewer.hello["viewer"])
    await log.tells("request", room=told_of, route="/t/{uuid}", method="GET", status=200)
    for word in (secret, room, room.replace("-", ""), owned.owner, owned.presenter):
        assert word not in log.text, [line for line in log.text.splitlines() if word in line]


async def test_requests_are_written_down_only_where_it_is_wanted(node: Node, log: Log) -> None:
    await (await node.http.get("/healthz")).read()
    assert not [entry for entry in log.entries if entry["message"] == "request"]
