"""What is written of rooms, by the only scripts that write it: `append.lua` and `keep.lua`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from server.fanout.backend import (
    ENTRY_BYTES,
    JSON,
    REQUEST_LIFE,
    Change,
    Growth,
    life_of,
    numbered,
)
from server.fanout.calls import Calls
from server.fanout.kept import CHAT_BYTES, CHAT_KEPT
from server.fanout.keys import Keys
from server.fanout.refusals import conflict, missing
from server.fanout.scripts import Script


class Writer:
    """`room_life`: seconds that a room lives after its last use."""

    def __init__(
        self, redis: Redis, keys: Keys, calls: Calls, *, room_life: float, shebang: bool
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._calls = calls
        self._room_life = room_life
        self._append = Script("append.lua", shebang)
        self._grow = Script("append.lua", shebang, allow_oom=False)
        self._keep = Script("keep.lua", shebang)

    async def append(
        self,
        room: str,
        *,
        known: tuple[str, int, str],
        set: Mapping[str, JSON] | None = None,
        chat: Mapping[str, JSON] | None = None,
        fields: Mapping[str, str] | None = None,
        expect: Mapping[str, str] | None = None,
        request: str | None = None,
        growth: Growth | None = None,
        forget: Sequence[str] | None = None,
    ) -> Change:
        """As `backend.Backend.append`; `known`: the last change this node has seen of the room.

        That is its epoch, revision and mark, or ("", 0, "").
        """
        # Through JSON: the change that is returned is the one that other nodes will read.
        registers = {name: msgspec.json.encode(value) for name, value in (set or {}).items()}
        message = msgspec.json.encode(chat)
        fields = dict(fields or {})
        outcome, epoch, rev = await self._apply(
            room,
            registers,
            message,
            fields,
            expect or {},
            request or secrets.token_hex(8),
            known,
            said=None if chat is None else str(chat.get("id", "")),
            growth=growth if growth is not None and growth.blocks else None,
            forget=forget,
        )
        if outcome == b"conflict":
            raise conflict()
        if outcome == b"missing":
            raise missing()
        return Change(
            epoch=epoch.decode(),
            rev=int(rev),
            set={name: msgspec.json.decode(value) for name, value in registers.items()},
            chat=numbered(msgspec.json.decode(message), int(rev)),
            fields=fields,
            again=outcome == b"again",
        )

    async def mint(self, room: str, epoch: str, rev: int, mark: str) -> None:
        """Give the room a new epoch if it is at `epoch`, but has lost the change `rev` (`mark`)."""
        await self._apply(
            room,
            {},
            b"null",
            {},
            {},
            secrets.token_hex(8),
            (epoch, rev, mark),
            only_if_went_back=True,
        )

    async def keep(self, room: str, documents: Sequence[str]) -> None:
        keys = [
            self._keys.room(room),
            self._keys.chat(room),
            self._keys.said(room),
            *self._keys.stored(room, documents),
        ]
        async with self._calls.asking("keep"):
            await self._keep.run(self._redis, keys, [self._life(room)])

    def _life(self, room: str) -> int:
        """Milliseconds that a room lives after its last use, unless it says less itself."""
        return int(life_of(room, self._room_life) * 1000)

    async def _apply(
        self,
        room: str,
        registers: Mapping[str, bytes],
        message: bytes,
        fields: Mapping[str, str],
        expect: Mapping[str, str],
        request: str,
        known: tuple[str, int, str],
        *,
        said: str | None = None,
        only_if_went_back: bool = False,
        growth: Growth | None = None,
        forget: Sequence[str] | None = None,
    ) -> tuple[bytes, bytes, bytes]:
        """Run append.lua: (outcome, epoch, revision). `said`: the id of the message, if any."""
        blocks = growth.blocks if growth is not None else ()
        stored = {f"r:{name}": value for name, value in registers.items()}
        stored |= {f"f:{name}": text.encode() for name, text in fields.items()}
        present = {name: value for name, value in stored.items() if value not in (b"null", b"")}
        pieces = (
            b"%b:%b" % (msgspec.json.encode(name), value) for name, value in registers.items()
        )
        arguments: list[Any] = [
            self._keys.channel(room),
            secrets.token_hex(8),
            *known,
            self._life(room),
            int(REQUEST_LIFE * 1000),
            CHAT_KEPT,
            CHAT_BYTES,
            b"{%b}" % b",".join(pieces),
            msgspec.json.encode(fields),
            message,
            said or "",
            "went back" if only_if_went_back else "forget" if forget is not None else "",
            len(expect),
            len(present),
            len(blocks),
        ]
        for name, value in expect.items():
            arguments += (f"f:{name}", value)
        for name, stored_value in present.items():
            arguments += (name, stored_value)
        for block in blocks:
            arguments += (block.number, block.number * ENTRY_BYTES, block.entry, block.data)
        arguments += (name for name in stored if name not in present)
        keys = [
            self._keys.room(room),
            self._keys.chat(room),
            self._keys.said(room),
            self._keys.request(room, request),
        ]
        script = self._append if growth is None and said is None else self._grow
        if growth is not None:
            keys += self._keys.stored(room, [growth.document])
        elif forget is not None:
            keys += self._keys.stored(room, forget)
        async with self._calls.asking("append"):
            outcome, epoch, rev = await script.run(self._redis, keys, arguments)
        return outcome, epoch, rev
