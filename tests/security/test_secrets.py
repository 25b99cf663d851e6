"""What takes part in a secret is in no log, no address and no page."""

from __future__ import annotations

import json
import uuid

import aiohttp
import pytest

from tests.nodes.harness import Node
from tests.room_client import RoomClient
from tests.security.raw import Raw

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]

CELL, SAID, NAME, FILE = "cell-4711", "said-4712", "name-4713", "file-4714.tsv"
TABLE = f"a\tb\n{CELL}\t2\n".encode()


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"TABLECAST_LOG_LEVEL": "debug"}


async def test_a_node_writes_down_no_key_no_token_no_content_and_no_address_of_a_room(
    node: Node,
) -> None:
    secrets = {"a cell": CELL, "what is said": SAID, "a name": NAME, "a file's name": FILE}
    async with aiohttp.ClientSession(node.url) as http:
        async with http.post("/api/rooms", params={"cookie": "1"}) as answer:
            made = await answer.json()
        room, key = made["uuid"], made["key"]
        secrets |= {"the owner's key": key, "the address of a room": room}
        owner = {"Authorization": f"Bearer {key}"}
        async with http.post(f"/api/rooms/{room}/keys", headers=owner) as answer:
            secrets["the presenter's key"] = (await answer.json())["key"]
        async with http.put(
            f"/api/rooms/{room}/document", params={"name": FILE}, data=TABLE, headers=owner
        ) as answer:
            assert answer.status == 200
        async with http.post(
            f"/api/rooms/{room}/chat", json={"body": SAID, "name": NAME}
        ) as answer:
            assert answer.status == 201
        # What goes wrong is what is written down.
        wrong = uuid.uuid4().hex
        secrets["a wrong key"] = wrong
        for path in (f"/api/rooms/{room}/life", f"/api/rooms/{room}/{SAID}", f"/t/{room}/x"):
            async with http.put(
                path, data=SAID.encode(), headers={"Authorization": f"Bearer {wrong}"}
            ) as answer:
                assert answer.status >= 400
        async with http.get(f"/api/rooms/{room}/rows/99/cells/{SAID}") as answer:
            assert answer.status >= 400
        async with http.get(f"/t/{room}") as answer:
            page = await answer.text()
            assert key not in page
    async with RoomClient(node.url, room) as viewer:
        await viewer.say("key", key=secrets["the presenter's key"])
        await viewer.say("key", key=wrong)
        await viewer.say("me", name=NAME, color=1)
        await viewer.say("chat", id=str(uuid.uuid4()), body=SAID)
        await viewer.say_raw(f'{{"type":"{SAID}","key":"{wrong}"}}')
        await viewer.say("upload", name=FILE, size=100)
        told = await viewer.until(lambda told: told["type"] == "ack", errors=True)
        secrets["the token of an upload"] = told["token"]
        await viewer.say_raw(TABLE)
        viewer.vanish()
    for head in (f"Author ization: Bearer {wrong}", f"Cookie: tablecast-{room}={wrong}\x00"):
        async with await Raw.open(node.port) as raw:
            raw.send(f"GET /t/{room} HTTP/1.1\r\nHost: here\r\n{head}\r\n\r\n".encode())
            assert wrong.encode() not in await raw.all()
    assert await node.stop() == 0
    log = node.output()
    for what, secret in secrets.items():
        assert secret not in log, f"{what} is in the log"
    await node.start()


async def test_no_address_holds_a_key(node: Node) -> None:
    async with aiohttp.ClientSession(node.url) as http:
        async with http.post("/api/rooms") as answer:
            made = json.loads(await answer.text())
            assert made["key"] not in made["url"] + answer.headers["Location"]
        async with http.post("/rooms", allow_redirects=False) as answer:
            cookie = answer.cookies.popitem()[1]
            assert cookie.value not in answer.headers["Location"]
            assert cookie["httponly"]
            assert cookie["samesite"] == "Strict"
        # And it opens nothing when somebody puts it there.
        room = made["uuid"]
        for query in ("key", "token", "access_token"):
            async with http.put(
                f"/api/rooms/{room}/mode",
                params={query: made["key"]},
                json={"mode": "presenting"},
            ) as answer:
                assert answer.status == 403
