"""A room with an owner and a presenter, and every door through which it can be changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.accept.client import Node
from tests.room_client import PATIENCE, Message, table


@dataclass(frozen=True)
class Answer:
    """What came of an attempt: "" where it was done, else the error's code, and what was told."""

    code: str
    told: Message | str = field(default="")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


@dataclass
class OwnedRoom:
    node: Node
    uuid: str
    owner: str
    presenter: str = ""

    @property
    def api(self) -> str:
        return f"/api/rooms/{self.uuid}"

    async def ask(
        self, method: str, path: str = "", key: str | None = None, **options: Any
    ) -> Answer:
        """A request with a key (the owner's unless told otherwise)."""
        headers = bearer(self.owner if key is None else key) | options.pop("headers", {})
        async with asyncio.timeout(PATIENCE):
            async with self.node.http.request(
                method, self.api + path, headers=headers, **options
            ) as response:
                text = await response.text()
        if response.status >= 400:
            problem = json.loads(text)
            assert problem["status"] == response.status
            return Answer(problem["code"], problem)
        return Answer("", json.loads(text) if text.startswith("{") else text)

    async def set_mode(self, mode: str) -> None:
        assert (await self.ask("PUT", "/mode", json={"mode": mode})).code == ""

    async def invite(self) -> str:
        """A new presenter key."""
        answer = await self.ask("POST", "/keys")
        assert isinstance(answer.told, dict)
        self.presenter = str(answer.told["key"])
        return self.presenter

    async def put(self, data: bytes, name: str = "table.tsv", key: str | None = None) -> Answer:
        return await self.ask("PUT", f"/document?name={name}", key, data=data)

    async def registers(self) -> dict[str, Any]:
        return await self.node.registers(self.uuid)


async def make_room(node: Node) -> OwnedRoom:
    async with node.http.post("/api/rooms") as response:
        assert response.status == 201
        made = await response.json()
    return OwnedRoom(node, made["uuid"], made["key"])


async def owned_room(node: Node, mode: str = "presenting") -> OwnedRoom:
    """A room with an owner, a presenter and two versions of a table."""
    room = await make_room(node)
    await room.invite()
    for name in ("first.tsv", "second.tsv"):
        assert (await room.put(table(250), name)).code == ""
    if mode != "open":
        await room.set_mode(mode)
    return room


# Doors: each tries one change, with this key in the header (none for "")

Door = Callable[[OwnedRoom, str], Awaitable[Answer]]


def _rest(method: str, path: str, **options: Any) -> Door:
    async def attempt(room: OwnedRoom, key: str) -> Answer:
        return await room.ask(method, path, key, **options)

    return attempt


def _socket(kind: str, done: Callable[[Message], bool], **fields: Any) -> Door:
    async def attempt(room: OwnedRoom, key: str) -> Answer:
        viewer = await room.node.join(room.uuid, bearer(key))
        await viewer.say(kind, **fields)
        told = await viewer.until(lambda m: done(m) or _is_error(m, kind), errors=True)
        if not _is_error(told, kind) and kind == "upload":
            await viewer.say("upload_cancel")
        return Answer(told["code"] if _is_error(told, kind) else "", told)

    return attempt


def _is_error(told: Message, kind: str) -> bool:
    return told["type"] == "error" and told["about"] == kind


def _sets(register: str) -> Callable[[Message], bool]:
    return lambda m: m["type"] == "state" and not m["whole"] and register in m["set"]


DOORS: Final[Mapping[str, Door]] = {
    "PUT page": _rest("PUT", "/page", json={"page_no": 2}),
    "PUT document": _rest("PUT", "/document?name=other.tsv", data=table(3)),
    "POST document/rows": _rest("POST", "/document/rows", data=b"9\tnine\tnine\n"),
    "PUT dialect": _rest("PUT", "/dialect", json={"delimiter": ","}),
    "PUT dialect that cuts anew": _rest("PUT", "/dialect", json={"quote": "'"}),
    "PUT version": _rest("PUT", "/version", json={"version": 1}),
    "socket page": _socket("page", _sets("page"), page_no=2),
    "socket upload": _socket("upload", lambda m: m["type"] == "ack", name="other.tsv", size=3),
    "socket dialect": _socket("dialect", _sets("document"), delimiter=","),
    "socket dialect that cuts anew": _socket("dialect", _sets("document"), quote="'"),
    "socket version": _socket("version", _sets("document"), version=1),
    "socket point": _socket("point", lambda m: m["type"] == "point", row=7),
}
# Those that change what the room keeps.
CHANGES: Final = {name: door for name, door in DOORS.items() if name != "socket point"}
