"""What the owner of a room may do, how a key travels, and where it never shows."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import re
import secrets
from typing import Any

import fakeredis
import pytest

from server.accept import keys
from server.accept.keys import COOKIES_KEPT
from server.fanout.backend import Change
from server.fanout.changes import begin_upload
from server.fanout.memory import MemoryStore
from server.fanout.redis import RedisBackend
from tests.accept.client import OTHER, ROOM, Node, memory
from tests.accept.conftest import StartNode
from tests.accept.owned import OwnedRoom, bearer, make_room, owned_room
from tests.fanout.nodes import FAST
from tests.room_client import table

KEY = re.compile(r"[A-Za-z0-9_-]{22}")

OWNER_DOORS: dict[str, tuple[str, str, Any]] = {
    "mode": ("PUT", "/mode", {"mode": "presenting"}),
    "new presenter key": ("POST", "/keys", None),
    "no presenter key": ("DELETE", "/keys", None),
    "life": ("PUT", "/life", {"seconds": 3600}),
    "delete": ("DELETE", "", None),
}
owner_doors = pytest.mark.parametrize(
    ("method", "path", "body"), OWNER_DOORS.values(), ids=OWNER_DOORS
)


# Who may


async def test_who_makes_a_room_gets_its_key_once(any_node: Node) -> None:
    async with any_node.http.post("/api/rooms") as response:
        made = await response.json()
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in response.headers
    assert set(made) == {"uuid", "url", "key"}
    assert KEY.fullmatch(made["key"])
    assert made["key"] not in made["url"]
    registers = await any_node.registers(made["uuid"])
    assert registers == {"keyed": True}


@pytest.mark.parametrize(
    ("method", "path", "body"), [OWNER_DOORS["mode"], OWNER_DOORS["delete"]], ids=["mode", "delete"]
)
async def test_guests_who_send_files_without_rest_do_not_keep_the_owner_from_ending_it(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    monkeypatch.setattr(keys, "PAUSE", 0.0)
    backend = memory()
    node = await start_node(backend)
    room = await owned_room(node)
    await room.set_mode("open")
    append, files = backend.append, iter(range(40))

    async def crowded(uuid: str, **change: Any) -> Change:
        # Another one comes between each look of the owner's and the change.
        if {"mode", "deleted"} & change["fields"].keys() and next(files, None) is not None:
            now_ms, id = backend.now_ms(), secrets.token_hex(4)
            snapshot = await backend.snapshot(uuid)
            file = begin_upload(
                snapshot, id=id, name="f", size=1, now_ms=now_ms, lease_ms=30_000, replace=True
            )
            await append(uuid, **file)
        return await append(uuid, **change)

    monkeypatch.setattr(backend, "append", crowded)
    assert (await room.ask(method, path, json=body)).code == ""
    assert next(files, None) is None


async def test_no_two_keys_are_the_same(node: Node) -> None:
    rooms = [await make_room(node) for _ in range(20)]
    assert len({room.owner for room in rooms} | {room.uuid for room in rooms}) == 40


@owner_doors
async def test_the_owner_may(any_node: Node, method: str, path: str, body: Any) -> None:
    room = await owned_room(any_node, "open")
    assert (await room.ask(method, path, json=body)).code == ""


@owner_doors
async def test_a_presenter_may_not_do_what_the_owner_does(
    node: Node, method: str, path: str, body: Any
) -> None:
    room = await owned_room(node)
    before = await room.registers()
    assert (await room.ask(method, path, room.presenter, json=body)).code == "owner_only"
    assert await room.registers() == before


@owner_doors
async def test_a_guest_may_not_do_what_the_owner_does(
    node: Node, method: str, path: str, body: Any
) -> None:
    room = await owned_room(node, "open")
    assert (await room.ask(method, path, "", json=body)).code == "owner_only"


@owner_doors
async def test_a_wrong_key_does_not_make_an_owner(
    node: Node, method: str, path: str, body: Any
) -> None:
    room, other = await owned_room(node), await make_room(node)
    for key in (other.owner, room.owner[:-1], room.owner + "A", "x" * 5000):
        assert (await room.ask(method, path, key, json=body)).code == "wrong_key"
    # What stands in the storage is no key.
    hashed = hashlib.sha256(room.owner.encode()).hexdigest()
    assert (await room.ask(method, path, hashed, json=body)).code == "wrong_key"


@owner_doors
async def test_a_room_that_was_only_opened_belongs_to_nobody(
    node: Node, method: str, path: str, body: Any
) -> None:
    await node.put(table(3))
    room = OwnedRoom(node, ROOM, (await make_room(node)).owner)
    assert (await room.ask(method, path, json=body)).code == "no_key"
    assert (await room.ask(method, path, "", json=body)).code == "no_key"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/mode", {"mode": "closed"}),
        ("/mode", {"mode": None}),
        ("/mode", []),
        ("/life", {"seconds": 59}),
        ("/life", {"seconds": 10**9}),
        ("/life", {"seconds": "60"}),
        ("/life", {"seconds": 1e400}),
        ("/life", {}),
    ],
)
async def test_what_cannot_be_is_refused(node: Node, path: str, body: Any) -> None:
    room = await owned_room(node, "open")
    before = await room.registers()
    assert (await room.ask("PUT", path, json=body)).code == "bad_message"
    assert await room.registers() == before


# What comes of it


async def test_everyone_is_told_of_the_mode(start_node: StartNode) -> None:
    store = MemoryStore()
    room = await owned_room(await start_node(memory(store)), "open")
    other = await start_node(memory(store))
    guest = await other.join(room.uuid)
    await room.set_mode("presenting")
    await guest.settles(lambda v: v.registers.get("mode") == "presenting")
    await room.set_mode("open")
    await guest.settles(lambda v: v.registers.get("mode") is None)


async def test_to_set_the_mode_that_is_changes_nothing(node: Node) -> None:
    room = await owned_room(node)
    first = await room.ask("PUT", "/mode", json={"mode": "presenting"})
    again = await room.ask("PUT", "/mode", json={"mode": "presenting"})
    assert first.told == again.told


async def test_an_owner_who_acts_twice_at_once_has_both_done(any_node: Node) -> None:
    room = await owned_room(any_node, "open")
    answers = await asyncio.gather(
        room.ask("POST", "/keys"),
        room.ask("PUT", "/mode", json={"mode": "presenting"}),
        room.ask("PUT", "/life", json={"seconds": 60}),
    )
    assert [answer.code for answer in answers] == ["", "", ""]
    registers = await room.registers()
    assert (registers["mode"], registers["life"], registers["invited"]) == ("presenting", 60, True)


async def test_a_room_lives_as_long_as_its_owner_says(node: Node) -> None:
    room = await owned_room(node)
    told = (await room.ask("PUT", "/life", json={"seconds": 3600})).told
    assert told == {"seconds": 3600, "rev": await _rev(room)}
    assert (await room.registers())["life"] == 3600
    usual = int(node.settings.room_life)
    assert (await room.ask("PUT", "/life", json={"seconds": usual})).code == ""
    assert "life" not in await room.registers()


async def _rev(room: OwnedRoom) -> int:
    async with room.node.http.get(room.api) as response:
        return int((await response.json())["rev"])


async def test_a_life_that_is_made_shorter_holds_for_all_that_the_room_has() -> None:
    server = fakeredis.FakeServer()
    raw = fakeredis.FakeAsyncRedis(server=server)
    async with Node(_redis(server), {}) as node:
        room = await owned_room(node)
        await room.ask("POST", "/chat", json={"body": "hi"})
        await room.ask("PUT", "/life", json={"seconds": 60})
        lives = await _lives(raw)
        assert len(lives) >= 6
        assert all(0 < life <= 60 for life in lives.values()), lives
        # Whatever uses it later lets it live so long again, and no longer.
        await room.put(table(3), key=room.owner)
        await room.ask("POST", "/document/rows", data=b"4\tfour\tfour\n")
        lives = await _lives(raw)
        assert all(0 < life <= 60 for life in lives.values()), lives


async def _lives(raw: Any) -> dict[bytes, int]:
    """Seconds that each key of a room has to live, but for those that tell who is here."""
    keys = [key for key in await raw.keys("*") if b":q:" not in key and b":nodes" not in key]
    return {key: await raw.ttl(key) for key in keys}


async def test_a_deleted_room_leaves_nothing_but_that_it_was_deleted() -> None:
    server = fakeredis.FakeServer()
    raw = fakeredis.FakeAsyncRedis(server=server)
    async with Node(_redis(server), {}) as node:
        room = await owned_room(node)
        await room.ask("POST", "/chat", json={"body": "a secret that was said"})
        viewer = await node.join(room.uuid)
        assert (await room.ask("DELETE")).code == ""
        await viewer.settles(lambda v: set(v.registers) == {"deleted"})
        said = await viewer.until(lambda m: m["type"] == "chat" and m["whole"])
        assert said["messages"] == []
        ((left, life),) = (await _lives(raw)).items()
        assert left.decode().endswith(f"{{{room.uuid}}}")
        assert life > 0
        assert set(await raw.hgetall(left)) == {
            b"epoch",
            b"rev",
            b"trail",
            b"r:deleted",
            b"f:deleted",
        }
        assert (await room.ask("GET", "/document")).code == "no_document"
        assert (await room.ask("GET", "/chat")).told["messages"] == []  # type: ignore[index]
        assert (await room.ask("DELETE")).code == "room_deleted"


async def test_a_visitor_of_a_deleted_room_is_told(node: Node) -> None:
    room = await owned_room(node)
    await room.ask("DELETE")
    async with node.http.get(f"/t/{room.uuid}") as response:
        text = await response.text()
        assert response.status == 410
        assert "deleted" in text
    late = await node.join(room.uuid)
    assert set(late.registers) == {"deleted"}


async def test_a_room_whose_deletion_is_forgotten_is_a_fresh_one(start_node: StartNode) -> None:
    node = await start_node(memory(room_life=0.3, sweep_every=0.05))
    room = await make_room(node)
    await room.ask("DELETE")
    async with asyncio.timeout(8):
        while await room.registers():
            await asyncio.sleep(0.05)
    assert (await room.put(table(3), key="")).code == ""


# How a key travels


async def test_a_browser_that_makes_a_room_holds_the_key_in_a_cookie(node: Node) -> None:
    async with node.http.post("/api/rooms?cookie=1") as response:
        made = await response.json()
        cookie = response.headers["Set-Cookie"]
    assert cookie.startswith(f"tablecast-{made['uuid']}={made['key']};")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/", "max-age=2592000"}
    room = OwnedRoom(node, made["uuid"], "")
    await room.set_mode("presenting")  # by the cookie
    viewer = await node.join(room.uuid, {"Cookie": cookie.split(";")[0]})
    assert viewer.hello["role"] == "owner"


async def test_over_https_the_cookie_is_secure(start_node: StartNode) -> None:
    node = await start_node(trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "tables.example"}
    async with node.http.post("/api/rooms?cookie=1", headers=headers) as response:
        assert "Secure" in response.headers["Set-Cookie"]


@pytest.mark.parametrize("path", ["/rooms", "/sample"])
async def test_the_forms_of_the_start_page_make_a_room_that_the_browser_owns(
    node: Node, path: str
) -> None:
    async with node.http.post(path, allow_redirects=False) as response:
        assert response.status == 303
        where = response.headers["Location"]
        cookie = response.headers["Set-Cookie"].split(";")[0]
    assert where.startswith("/t/")
    viewer = await node.join(where.removeprefix("/t/"), {"Cookie": cookie})
    assert viewer.hello["role"] == "owner"
    assert cookie.split("=")[1] not in where


async def test_a_key_from_a_link_becomes_a_cookie_and_goes_again(node: Node) -> None:
    room = await owned_room(node)
    assert (await room.ask("POST", "/cookie", room.presenter)).code == ""
    anyone = OwnedRoom(node, room.uuid, "")
    assert (await anyone.ask("PUT", "/page", json={"page_no": 2})).code == ""
    assert (await anyone.ask("DELETE", "/cookie")).code == ""
    assert (await anyone.ask("PUT", "/page", json={"page_no": 1})).code == "presenters_only"


@pytest.mark.parametrize("key", ["", "nonsense"])
async def test_no_cookie_is_given_for_what_is_no_key(node: Node, key: str) -> None:
    room = await owned_room(node)
    answer = await room.ask("POST", "/cookie", key)
    assert answer.code == "wrong_key"
    assert not node.http.session.cookie_jar.filter_cookies(node.http.make_url("/"))


async def test_a_browser_with_very_many_rooms_forgets_the_oldest_keys(node: Node) -> None:
    names = [f"tablecast-{secrets.token_hex(16)}" for _ in range(COOKIES_KEPT + 5)]
    cookies = "; ".join(f"{name}=x" for name in ["theme=dark", *names])
    async with node.http.post("/api/rooms?cookie=1", headers={"Cookie": cookies}) as response:
        told = response.headers.getall("Set-Cookie")
    dropped = [line.split("=")[0] for line in told if "Max-Age=0" in line]
    assert dropped == names[:6]


async def test_a_dead_cookie_leaves_a_guest(node: Node) -> None:
    room = await owned_room(node)
    await room.ask("POST", "/cookie", room.presenter)
    await room.invite()
    anyone = OwnedRoom(node, room.uuid, "")
    assert (await anyone.ask("PUT", "/page", json={"page_no": 2})).code == "presenters_only"


async def test_a_proxys_own_authorization_is_no_key(node: Node) -> None:
    room = await owned_room(node, "open")
    headers = {"Authorization": "Basic dXNlcjpwYXNz"}
    turn = {"page_no": 2}
    assert (await room.ask("PUT", "/page", "", json=turn, headers=headers)).code == ""
    await room.set_mode("presenting")
    answer = await room.ask("PUT", "/page", "", json=turn, headers=headers)
    assert answer.code == "presenters_only"


async def test_a_page_of_another_site_does_nothing_with_a_visitors_cookie(node: Node) -> None:
    room = await owned_room(node)
    await room.ask("POST", "/cookie")
    headers = {"Origin": "https://elsewhere.example"}
    answer = await room.ask("DELETE", "", "", headers=headers)
    assert answer.code == "forbidden"


# On the socket


@pytest.mark.parametrize("who", ["presenter", "owner"])
async def test_a_key_on_the_socket_opens_what_it_should(any_node: Node, who: str) -> None:
    room = await owned_room(any_node)
    viewer = await any_node.join(room.uuid)
    assert viewer.hello["role"] == "guest"
    await viewer.turn(2)
    await viewer.expect_error("presenters_only")
    await viewer.say("key", key=getattr(room, who))
    assert (await viewer.expect("role"))["role"] == who
    await viewer.turn(2)
    await viewer.shows(2)


async def test_a_key_may_come_with_the_request_that_opens_the_socket(node: Node) -> None:
    room = await owned_room(node)
    for key, role in ((room.presenter, "presenter"), (room.owner, "owner"), ("x", "guest")):
        assert (await node.join(room.uuid, bearer(key))).hello["role"] == role


async def test_who_guesses_keys_is_sent_away(node: Node) -> None:
    room = await owned_room(node)
    viewer = await node.join(room.uuid)
    for _ in range(10):
        await viewer.say("key", key=secrets.token_urlsafe(16))
    for _ in range(10):
        error = await viewer.expect_error("wrong_key")
        assert error["about"] == "key"
    assert await viewer.ends() == 1008


async def test_a_wrong_key_takes_nothing_from_who_has_a_right_one(node: Node) -> None:
    room = await owned_room(node)
    viewer = await node.join(room.uuid, bearer(room.owner))
    await viewer.say("key", key="nonsense")
    await viewer.expect_error("wrong_key")
    await viewer.turn(2)
    await viewer.shows(2)


async def test_a_viewer_hears_that_its_key_is_dead(any_node: Node) -> None:
    room = await owned_room(any_node)
    viewer = await any_node.join(room.uuid, bearer(room.presenter))
    await room.invite()
    await viewer.turn(2)
    assert (await viewer.until(lambda m: m["type"] == "error", errors=True))["code"] == "wrong_key"
    assert [told["role"] for told in viewer.seen if told["type"] == "role"] in ([], ["guest"])
    await viewer.say("heartbeat")
    if not any(told["type"] == "role" for told in viewer.seen):
        assert (await viewer.expect("role"))["role"] == "guest"


async def test_a_key_of_one_room_is_nothing_in_another(node: Node) -> None:
    room = await owned_room(node)
    viewer = await node.join(OTHER)
    await viewer.say("key", key=room.owner)
    await viewer.expect_error("wrong_key")


# Where it never shows


async def test_no_key_is_stored_or_logged_or_shown_to_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = fakeredis.FakeServer()
    async with Node(_redis(server), {"metrics": True}) as node:
        room = await owned_room(node)
        guest = await node.join(room.uuid)
        viewer = await node.join(room.uuid)
        wrong = secrets.token_urlsafe(16)
        for key in (room.presenter, wrong, room.owner):
            await viewer.say("key", key=key)
            await room.ask("PUT", "/mode", key, json={"mode": "presenting"})
            await room.ask("POST", "/cookie", key)
            await room.ask("PUT", "/page", key, data=b"nonsense")
        await viewer.until(lambda m: m.get("role") == "owner", errors=True)
        await viewer.turn(2)
        await guest.shows(2)
        keys = [room.owner, room.presenter, wrong]
        hashes = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
        async with node.http.get("/metrics") as response:
            metrics = await response.text()
        async with node.http.get(f"/t/{room.uuid}") as response:
            page = await response.text()
        others = f"{guest.seen} {metrics} {page} {await room.registers()} {caplog.text}"
        assert not any(secret in others for secret in keys + hashes)
        stored = await _everything(server)
        assert not any(key.encode() in stored for key in keys)
        assert all(each.encode() in stored for each in hashes[:2])


async def _everything(server: fakeredis.FakeServer) -> bytes:
    """All that a Redis holds."""
    raw = fakeredis.FakeAsyncRedis(server=server)
    parts: list[bytes] = []
    for key in await raw.keys("*"):
        kind = await raw.type(key)
        read = {b"hash": raw.hgetall, b"string": raw.get, b"stream": raw.xrange}[kind]
        parts += (key, repr(await read(key)).encode())
    return b" ".join(parts)


def _redis(server: fakeredis.FakeServer) -> RedisBackend:
    return RedisBackend(
        "",
        secrets.token_hex(4),
        connect=lambda retry: fakeredis.FakeAsyncRedis(server=server, protocol=2, retry=retry),
        timing=FAST,
        shebang=False,
    )
