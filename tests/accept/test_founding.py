"""How many rooms may be started from one address, whatever door they are started by."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Any

import pytest

from tests.accept.client import OTHER, Node
from tests.accept.conftest import StartNode
from tests.room_client import RoomClient, table

DOORS = ("/api/rooms", "/rooms", "/sample")
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
# A burst of three, and then none for as long as a test takes. Who asks is behind a proxy here.
SLOW: dict[str, Any] = {"rooms_per_second": 0.05, "trusted_proxies": LOOPBACK}
ONE = {"X-Forwarded-For": "192.0.2.1"}


async def start_room(node: Node, door: str, headers: dict[str, str] = ONE) -> int:
    async with node.http.post(door, headers=headers, allow_redirects=False) as response:
        return response.status


@pytest.mark.parametrize("door", DOORS)
async def test_too_many_rooms_from_one_address_are_refused(
    start_node: StartNode, door: str
) -> None:
    node = await start_node(**SLOW)
    assert [await start_room(node, door) for _ in range(3)] in ([201] * 3, [303] * 3)
    problem = await node.refusal("POST", door, 429, "rate_limited", headers=ONE)
    assert problem["retry"] is True
    async with node.http.post(door, headers=ONE) as response:
        assert response.headers["Retry-After"] == "20"


async def test_all_doors_count_as_one(start_node: StartNode) -> None:
    node = await start_node(**SLOW)
    assert [await start_room(node, door) for door in DOORS] == [201, 303, 303]
    assert [await start_room(node, door) for door in DOORS] == [429, 429, 429]


async def test_a_person_is_told_on_a_page(start_node: StartNode) -> None:
    node = await start_node(**SLOW)
    for _ in range(3):
        await start_room(node, "/api/rooms")
    async with node.http.post("/rooms", headers={**ONE, "Accept": "text/html"}) as response:
        assert response.status == 429
        assert response.content_type == "text/html"
        assert "Too many rooms were started from your address" in await response.text()


async def test_a_room_that_is_only_opened_takes_no_leave(start_node: StartNode) -> None:
    node = await start_node(**SLOW)
    for _ in range(4):
        await start_room(node, "/api/rooms")
    assert (await node.put(table(3), OTHER))["rows"] == 3


async def test_each_address_behind_a_trusted_proxy_has_its_own_limit(start_node: StartNode) -> None:
    node = await start_node(**SLOW)
    assert [await start_room(node, "/api/rooms") for _ in range(4)] == [201, 201, 201, 429]
    assert await start_room(node, "/api/rooms", {"X-Forwarded-For": "192.0.2.2"}) == 201
    # What the visitor itself claims stands before what the proxy has added.
    lie = {"X-Forwarded-For": "198.51.100.9, 192.0.2.1"}
    assert await start_room(node, "/api/rooms", lie) == 429


async def test_a_network_of_ipv6_is_one_address(start_node: StartNode) -> None:
    node = await start_node(**SLOW)
    network = [{"X-Forwarded-For": f"2001:db8:0:1::{n:x}"} for n in range(4)]
    answers = [await start_room(node, "/api/rooms", headers) for headers in network]
    assert answers == [201, 201, 201, 429]
    assert await start_room(node, "/api/rooms", {"X-Forwarded-For": "2001:db8:0:2::1"}) == 201


async def test_a_class_can_start_its_rooms_at_once(start_node: StartNode) -> None:
    node = await start_node(trusted_proxies=LOOPBACK)
    assert {await start_room(node, "/api/rooms") for _ in range(30)} == {201}


async def test_the_machine_itself_has_no_limit(start_node: StartNode) -> None:
    node = await start_node(rooms_per_second=0.05)
    assert {await start_room(node, "/api/rooms", {}) for _ in range(10)} == {201}


def chat_of(room: str) -> str:
    return f"/api/rooms/{room}/chat"


async def test_a_room_that_is_begun_by_talking_counts_too(start_node: StartNode) -> None:
    node = await start_node(**SLOW)
    rooms = [str(uuid.uuid4()) for _ in range(5)]
    said = {"json": {"body": "Hello"}, "headers": ONE}
    for room in rooms[:2]:
        async with node.http.post(chat_of(room), **said) as response:
            assert response.status == 201
    async with RoomClient(node.url, rooms[2], headers=ONE) as client:
        # What is there already takes no leave.
        for body in ("Hello", "again"):
            await client.say("chat", id=str(uuid.uuid4()), body=body)
            while [said["body"] for said in (await client.expect("chat"))["messages"]] != [body]:
                pass
    async with RoomClient(node.url, rooms[3], headers=ONE) as client:
        await client.say("chat", id=str(uuid.uuid4()), body="Hello")
        assert "rooms" in (await client.expect_error("rate_limited"))["message"]
    await node.refusal("POST", chat_of(rooms[4]), 429, "rate_limited", **said)
    assert [await start_room(node, door) for door in DOORS] == [429, 429, 429]
    async with node.http.post(chat_of(rooms[0]), **said) as response:
        assert response.status == 201
    other = {**said, "headers": {"X-Forwarded-For": "192.0.2.2"}}
    async with node.http.post(chat_of(rooms[4]), **other) as response:
        assert response.status == 201
