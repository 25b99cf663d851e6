"""The backend for several nodes: rooms, documents and fan-out through one Redis (or Valkey) >= 7.

`append.lua` is the only writer of registers and chat; `bus.py` hears of changes; here is the rest:
the commands, and what Redis's errors mean to people.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import hashlib
import importlib.resources
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from server.counts import Counts
from server.errors import Conflict, Missing, StorageFull, Unavailable
from server.fanout import presence
from server.fanout.backend import (
    JSON,
    Change,
    Growth,
    Here,
    Present,
    Receiver,
    Snapshot,
    StoredBlock,
    life_of,
    numbered,
)
from server.fanout.bus import Bus, Later, Link, Timing
from server.fanout.connect import behind_sentinels, client, data_url
from server.fanout.followed import Followed
from server.fanout.keys import Keys
from server.fanout.presence import Told
from server.fanout.quota import Quota
from server.fanout.replica import CHAT_KEPT
from server.fanout.slots import Redirects, by_slot, slot_of
from server.fanout.tasks import end
from server.redis_url import Address

ENTRY_BYTES = 16  # one block's entry in a document's index
ROOM_LIFE = 7 * 24 * 3600.0  # seconds a room lives after the last time anyone cared
INCOMPLETE_LIFE = 15 * 60.0  # seconds blocks live that no `keep` has claimed
REQUEST_LIFE = 300.0  # seconds a request id is remembered; longer than any client retries
LEASE = 6.0  # seconds that a node's viewers are believed; three times the pace of `present`
PATIENCE = 5.0  # seconds one call may take in all, retries included
HERE_BATCH = 500  # rooms in one pipeline
LOOK_AFTER = 0.02  # seconds after a lease has ended, for clocks that are not quite alike

_log = logging.getLogger(__name__)

# What spans of calls say besides the name of the operation.
_SPAN = {"db.system.name": "redis"}
_REFUSALS = ("LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED")

Connect = Callable[[Retry], "Redis"]


class Clock:
    """Redis's time, kept on by the monotonic clock: a wall clock may jump.

    Until it is `known` it is this machine's, which may be wrong by hours.
    """

    def __init__(self) -> None:
        self.known = False
        self._offset = time.time() - time.monotonic()

    def now_ms(self) -> int:
        return int((time.monotonic() + self._offset) * 1000)

    def measured(self, theirs: float, asked: float, answered: float) -> None:
        """Redis said `theirs` (s since 1970) between two monotonic times of this machine."""
        self._offset = theirs - (asked + answered) / 2
        self.known = True


class RedisBackend:
    """Keeps the promises of `backend.Backend` between all nodes that use the same Redis."""

    name = "redis"

    def __init__(
        self,
        url: str,
        node_id: str,
        *,
        prefix: str = "tablecast:",
        room_life: float = ROOM_LIFE,
        incomplete_life: float = INCOMPLETE_LIFE,
        lease: float = LEASE,
        patience: float = PATIENCE,
        timing: Timing | None = None,
        connect: Callable[[Retry], Redis] | None = None,
        shebang: bool = True,
        redirects: Redirects | None = None,
        counts: Counts | None = None,
        storage_limit: int = 0,
    ) -> None:
        """All times in seconds. `connect` makes a client (RESP2, bytes) in place of one for `url`;
        `shebang` False strips the scripts' first line for servers that do not know it. `redirects`
        is there when this Redis is one of a cluster. `storage_limit`: bytes that this Redis may
        hold before documents are refused, 0 for as many as it takes.
        """
        self.node_id = node_id
        self.counts = counts or Counts()
        self._redirects = redirects
        self._url = url
        self._primary = behind_sentinels(url) if connect is None else None
        self._keys = Keys(prefix)
        self._room_life = room_life
        self._incomplete_life = int(incomplete_life * 1000)
        self._lease = int(lease * 1000)
        self._patience = patience
        self._clock = Clock()
        self._closed = False
        self._calls: set[asyncio.Timeout] = set()  # under way
        self._looks: dict[str, asyncio.Task[None]] = {}  # for leases that are about to end
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._append = _Script("append.lua", shebang)
        self._grow = _Script("append.lua", shebang, allow_oom=False)
        self._present = _Script("present.lua", shebang)
        self._keep = _Script("keep.lua", shebang)
        make = connect or (lambda retry: client(data_url(url), retry, self._primary))
        retry = Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2)
        # append.lua applies a request once and all else can be repeated, so retries are safe.
        self._redis = make(retry)
        # The bus must see every break itself, so its connections never retry.
        self._subscriber = make(Retry(NoBackoff(), 0))
        self._quota = Quota(storage_limit, self._held)
        self._linked: Link | None = None  # the bus's connection
        self._served: Address | None = None  # the primary it was connected to last
        self._bus = Bus(self, self._link, timing or Timing(), self.counts)

    async def start(self, receiver: Receiver) -> None:
        self.begin(receiver)

    def begin(self, receiver: Receiver) -> None:
        """The same as `start`, for callers that cannot wait."""
        self._bus.start(receiver)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._bus.close()
        await end(list(self._looks.values()))
        # Calls under way may end; then they are cut off, so that none connects anew after this.
        await self._until_quiet()
        now = asyncio.get_running_loop().time()
        for deadline in self._calls:
            if not deadline.expired():
                deadline.reschedule(now)
        await self._until_quiet()
        for part in (self._redis, self._subscriber, self._primary):
            try:
                async with asyncio.timeout(1):
                    if part is not None:
                        await part.aclose()
            except (OSError, ConnectionError, TimeoutError):
                continue  # it is closed either way

    async def check(self) -> None:
        async with self._asking("check", min(self._patience, 2.0)):
            await self._redis.ping()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    @property
    def following(self) -> int:
        return self._bus.following

    # Room state

    async def append(
        self,
        room: str,
        *,
        set: Mapping[str, JSON] | None = None,
        chat: Mapping[str, JSON] | None = None,
        fields: Mapping[str, str] | None = None,
        expect: Mapping[str, str] | None = None,
        request: str | None = None,
        growth: Growth | None = None,
        forget: Sequence[str] | None = None,
    ) -> Change:
        if growth is not None and growth.blocks:
            await self._admit("append", growth.blocks)
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
            self._bus.known(room),
            growth=growth if growth is not None and growth.blocks else None,
            forget=forget,
        )
        if outcome == b"conflict":
            raise Conflict("The room changed in between; nothing was changed. Look again.")
        if outcome == b"missing":
            raise _missing()
        return Change(
            epoch=epoch.decode(),
            rev=int(rev),
            set={name: msgspec.json.decode(value) for name, value in registers.items()},
            chat=numbered(msgspec.json.decode(message), int(rev)),
            fields=fields,
            again=outcome == b"again",
        )

    async def snapshot(self, room: str) -> Snapshot:
        async with self._asking("snapshot"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hgetall(self._keys.room(room))
                pipe.xrange(self._keys.chat(room))
                state, chat = await pipe.execute()
            return _snapshot(state, chat)

    def follow(self, room: str) -> None:
        self._bus.follow(room)

    def unfollow(self, room: str) -> None:
        self._bus.unfollow(room)

    async def present(self, rooms: Mapping[str, Present]) -> None:
        names = list(rooms)
        for start in range(0, len(names), HERE_BATCH):
            batch = names[start : start + HERE_BATCH]
            async with self._asking("present"):
                await self._say_present({room: rooms[room] for room in batch})

    async def who(self, room: str) -> Here:
        async with self._asking("who"):
            nodes: Any = await self._redis.hgetall(self._keys.nodes(room))
        return presence.stored(nodes, self._clock.now_ms()).event()

    async def signal(self, room: str, value: JSON) -> None:
        message = msgspec.json.encode({"signal": value})
        async with self._asking("signal"):
            await self._redis.spublish(self._keys.channel(room), message)

    # Documents

    async def admit(self, room: str) -> None:
        await self._admit("admit", ())

    async def put_blocks(self, room: str, document: str, blocks: Sequence[StoredBlock]) -> None:
        if not blocks:
            return
        await self._admit("put_blocks", blocks)
        data, index = self._keys.blocks(room, document), self._keys.index(room, document)
        async with self._asking("put_blocks"), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(data, mapping={str(block.number): block.data for block in blocks})
            for first, entries in _runs(blocks):
                pipe.setrange(index, first * ENTRY_BYTES, entries)
            for key in (data, index):
                # A kept document must not lose its life to a late write of one that was cut off.
                pipe.pexpire(key, self._incomplete_life, nx=True)
                pipe.pexpire(key, self._incomplete_life, gt=True)
            await pipe.execute()

    async def get_blocks(self, room: str, document: str, numbers: Sequence[int]) -> list[bytes]:
        if not numbers:
            return []
        async with self._asking("get_blocks"):
            found: list[Any] = await self._redis.hmget(
                self._keys.blocks(room, document), [str(number) for number in numbers]
            )
        if any(block is None for block in found):
            raise _missing()
        return found

    async def index(self, room: str, document: str, first_block: int = 0) -> bytes:
        async with self._asking("index"):
            found: Any = await self._redis.getrange(
                self._keys.index(room, document), first_block * ENTRY_BYTES, -1
            )
        return bytes(found)

    async def extent(self, room: str, document: str) -> tuple[int, int]:
        async with self._asking("extent"), self._redis.pipeline(transaction=True) as pipe:
            pipe.hlen(self._keys.blocks(room, document))
            pipe.strlen(self._keys.index(room, document))
            blocks, index = await pipe.execute()
        return int(blocks), int(index) // ENTRY_BYTES

    async def keep(self, room: str, documents: Sequence[str]) -> None:
        keys = [self._keys.room(room), self._keys.chat(room)]
        keys += self._bytes_of(room, documents)
        async with self._asking("keep"):
            await self._keep.run(self._redis, keys, [self._life(room)])

    async def drop(self, room: str, document: str, *, after: float = 0) -> None:
        keys = self._keys.blocks(room, document), self._keys.index(room, document)
        async with self._asking("drop"):
            if after <= 0:
                await self._redis.unlink(*keys)
                return
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.pexpire(key, int(after * 1000))
                await pipe.execute()

    # One of several (cluster.py)

    def release(self, slots: Container[int]) -> list[Followed]:
        """Follow the rooms of these slots no more; those that somebody follows are returned."""
        return self._bus.release(lambda channel: slot_of(channel) in slots)

    def adopt(self, released: Followed, *, degraded: bool) -> None:
        """Follow a room that another one released; `degraded`: its followers were told so."""
        self._bus.adopt(released, degraded=degraded)

    # What the bus asks for (bus.Rooms)

    def together(self, channels: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        return [channels] if self._redirects is None else by_slot(channels)

    def moved(self, error: MovedError) -> None:
        if self._redirects is None:
            _log.error("This Redis is one of a cluster, which takes a redis+cluster:// address")
        else:
            host = error.host or urlsplit(self._url).hostname or ""
            self._redirects.moved(error.slot_id, (host, error.port))

    def channel(self, room: str) -> str:
        return self._keys.channel(room)

    async def connected(self) -> None:
        if self._primary is not None and self._primary.address != self._served:
            # What is still connected to the former primary would only time out, or be refused.
            self._served = self._primary.address
            await self._drop_idle()
        async with self._asking("time"):
            await self._measure()

    async def load(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        if self._redirects is not None:
            # A transaction may not reach over slots.
            return await asyncio.gather(*(self._load_one(room) for room in rooms))
        return await self._load_all(rooms)

    async def _load_one(self, room: str) -> tuple[Snapshot, Told] | Exception:
        try:
            return (await self._load_all([room]))[0]
        except Unavailable as error:
            if isinstance(error.__cause__, AskError | TryAgainError):
                return Later()
            raise

    async def _load_all(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        async with self._asking("load"), self._redis.pipeline(transaction=True) as pipe:
            pipe.time()
            for room in rooms:
                pipe.hgetall(self._keys.room(room))
                pipe.xrange(self._keys.chat(room))
                pipe.hgetall(self._keys.nodes(room))
            (seconds, microseconds), *answers = await pipe.execute(raise_on_error=False)
        loaded: list[tuple[Snapshot, Told] | Exception] = []
        now = int(seconds) * 1000 + int(microseconds) // 1000
        for state, chat, nodes in zip(*(iter(answers),) * 3, strict=True):
            try:
                for answer in (state, chat, nodes):
                    if isinstance(answer, Exception):
                        raise answer
                loaded.append((_snapshot(state, chat), presence.stored(nodes, now)))
            except (ResponseError, ValueError) as error:
                loaded.append(error)
        return loaded

    async def revisions(self, rooms: Sequence[str]) -> Sequence[tuple[str, int] | None]:
        async with self._asking("revisions"):
            await self._measure()
            await self._check_primary()
            async with self._redis.pipeline(transaction=False) as pipe:
                for room in rooms:
                    pipe.hmget(self._keys.room(room), ["epoch", "rev"])
                answers = await pipe.execute(raise_on_error=False)
        found: list[tuple[str, int] | None] = []
        for answer in answers:
            if isinstance(answer, MovedError):
                self.moved(answer)
            if isinstance(answer, AskError | TryAgainError):
                found.append(None)
            else:
                found.append(("?", 0) if isinstance(answer, Exception) else _revision(*answer))
        return found

    async def mint(self, room: str, epoch: str, rev: int, mark: str) -> None:
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

    # Internal

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
        only_if_went_back: bool = False,
        growth: Growth | None = None,
        forget: Sequence[str] | None = None,
    ) -> tuple[bytes, bytes, bytes]:
        """Run append.lua: (outcome, epoch, revision)."""
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
            b"{%b}" % b",".join(pieces),
            msgspec.json.encode(fields),
            message,
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
            self._keys.request(room, request),
        ]
        script = self._append
        if growth is not None:
            script = self._grow
            keys += self._bytes_of(room, [growth.document])
        elif forget is not None:
            keys += self._bytes_of(room, forget)
        async with self._asking("append"):
            outcome, epoch, rev = await script.run(self._redis, keys, arguments)
        return outcome, epoch, rev

    def _bytes_of(self, room: str, documents: Sequence[str]) -> list[str]:
        """The keys of all that is stored of these documents."""
        names = (self._keys.blocks, self._keys.index)
        return [name(room, document) for document in documents for name in names]

    async def _say_present(self, rooms: Mapping[str, Present | None]) -> None:
        """Run present.lua for these rooms; None says nothing and looks who fell silent."""
        for room, (told, soonest) in (await self._run_present(rooms)).items():
            self._bus.present(room, presence.told(told))
            # A node that is well says so in time, so a lease gets this short only once it is not.
            if 0 <= soonest < self._lease / 3 and room not in self._looks:
                look = asyncio.create_task(self._look(room, soonest / 1000), name="look")
                self._looks[room] = look

    async def _run_present(
        self, rooms: Mapping[str, Present | None]
    ) -> dict[str, tuple[bytes, int]]:
        for _ in range(2):
            async with self._redis.pipeline(transaction=False) as pipe:
                for room, said in rooms.items():
                    pipe.evalsha(
                        self._present.sha,
                        1,
                        self._keys.nodes(room),
                        self._keys.channel(room),
                        self.node_id,
                        "" if said is None else str(said.count),
                        presence.piece(self.node_id, said.detail) if said is not None else b"",
                        str(self._lease),
                    )
                try:
                    answers = await pipe.execute()
                except NoScriptError:
                    await self._redis.script_load(self._present.text)
                    continue
                return {
                    room: (bytes(told), int(soonest))
                    for room, (told, soonest) in zip(rooms, answers, strict=True)
                }
        raise Unavailable("Redis forgets its scripts; try again in a moment.")

    async def _look(self, room: str, delay: float) -> None:
        """Tell who is gone when the lease of a node ends that has fallen silent."""
        try:
            await asyncio.sleep(delay + LOOK_AFTER)
            async with self._asking("present"):
                told, _ = (await self._run_present({room: None}))[room]
            self._bus.present(room, presence.told(told))
        except (Unavailable, StorageFull):
            pass  # whoever says something next sees it too
        finally:
            self._looks.pop(room, None)

    async def _measure(self) -> None:
        asked = time.monotonic()
        seconds, microseconds = await self._redis.time()
        self._clock.measured(int(seconds) + int(microseconds) / 1e6, asked, time.monotonic())

    async def _admit(self, operation: str, blocks: Sequence[StoredBlock]) -> None:
        """Raise `StorageFull` if these bytes are too many; without any, if none may come."""
        try:
            await self._quota.admit(sum(len(block.data) + ENTRY_BYTES for block in blocks))
        except StorageFull:
            self.counts.failures[operation, "full"] += 1
            raise

    async def _held(self) -> int:
        """Bytes that Redis holds, as its own limit counts them."""
        async with self._asking("memory"):
            told = await self._redis.info("memory")
        return int(told["used_memory"]) - int(told.get("mem_not_counted_for_evict", 0))

    async def _until_quiet(self) -> None:
        """Wait until no call is under way, half a second at most."""
        with contextlib.suppress(builtins.TimeoutError):
            async with asyncio.timeout(0.5):
                await self._quiet.wait()

    def _link(self) -> Link:
        pool: Any = self._subscriber.connection_pool
        link: Link = pool.make_connection()
        self._linked = link
        return link

    async def _check_primary(self) -> None:
        """Raise `ConnectionError` if the bus listens to a server that is the primary no more.

        One that was cut off from its Sentinels may serve on for a while, to nodes that reach it.
        """
        if self._primary is None:
            return
        try:
            primary = await self._primary.get_master_address()
        except (ConnectionError, OSError):
            return  # nobody says that it is another one
        link: Any = self._linked
        if (link.host, link.port) != primary:
            await self._drop_idle()
            raise ConnectionError("The primary is another server now")

    async def _drop_idle(self) -> None:
        pool: Any = self._redis.connection_pool
        await pool.disconnect(inuse_connections=False)

    @contextlib.asynccontextmanager
    async def _asking(self, operation: str, patience: float | None = None) -> AsyncIterator[None]:
        """Bound the time of what is asked in here, and say in our words what went wrong.

        It is counted as one call of `operation`.
        """
        if self._closed:
            raise Unavailable("This node is closing; connect again.")
        began = time.perf_counter()
        counts = self.counts
        try:
            limit = self._patience if patience is None else patience
            async with asyncio.timeout(limit) as deadline:
                self._calls.add(deadline)
                self._quiet.clear()
                try:
                    if not self._clock.known:
                        # Whoever has read a room may write a lease next, by this clock.
                        await self._measure()
                    if counts.spans is None:
                        yield
                    else:
                        with counts.spans.span(f"redis {operation}", _SPAN):
                            yield
                finally:
                    counts.called(operation, time.perf_counter() - began)
                    self._calls.discard(deadline)
                    if not self._calls:
                        self._quiet.set()
        except OutOfMemoryError as error:
            counts.failures[operation, "full"] += 1
            raise StorageFull(
                "The server has no room for more. What the room had is kept; try again later."
            ) from error
        except (
            ConnectionError,
            TimeoutError,
            OSError,  # asyncio's own TimeoutError among them
            ReadOnlyError,
            ClusterDownError,
            TryAgainError,
        ) as error:
            counts.failures[operation, "unreachable"] += 1
            raise unavailable() from error
        except AskError as error:
            counts.failures[operation, "redirected"] += 1
            if isinstance(error, MovedError):
                self.moved(error)
            raise unavailable() from error
        except ResponseError as error:
            counts.failures[operation, "refused"] += 1
            if str(error).startswith(_REFUSALS):
                raise unavailable() from error
            raise


class _Script:
    """A Lua script that is sent by its digest, and whole where Redis does not know it yet."""

    def __init__(self, file: str, shebang: bool, *, allow_oom: bool = True) -> None:
        """`allow_oom` False: Redis refuses to run it beyond its limit of memory."""
        text = importlib.resources.files("server.fanout").joinpath(file).read_text("utf-8")
        first, _, rest = text.partition("\n")
        if not shebang:
            self.text = rest
        else:
            self.text = text if allow_oom else first.partition(" ")[0] + "\n" + rest
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await redis.evalsha(self.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.eval(self.text, len(keys), *keys, *arguments)


def _missing() -> Missing:
    return Missing("A part of this table is gone; the room shows what there is.")


def unavailable() -> Unavailable:
    """What is said of a Redis that does not answer."""
    return Unavailable(
        "The server cannot reach its storage just now. Nothing was lost; try again in a moment."
    )


def _revision(epoch: bytes | None, rev: bytes | None) -> tuple[str, int]:
    return (epoch or b"").decode(), int(rev or 0)


def _snapshot(
    state: Mapping[bytes, bytes], chat: Sequence[tuple[bytes, Mapping[bytes, bytes]]]
) -> Snapshot:
    registers: dict[str, JSON] = {}
    fields: dict[str, str] = {}
    for key, value in state.items():
        if key.startswith(b"r:"):
            registers[key[2:].decode()] = msgspec.json.decode(value)
        elif key.startswith(b"f:"):
            fields[key[2:].decode()] = value.decode()
    epoch, rev = _revision(state.get(b"epoch"), state.get(b"rev"))
    # A chat without its room is what an expired room left behind; the next change removes it.
    messages = (
        {**msgspec.json.decode(entry[b"message"]), "rev": int(entry[b"rev"])}
        for _, entry in (chat if epoch else ())
    )
    trail = state.get(b"trail", b"").decode()
    return Snapshot(epoch, rev, registers, tuple(messages), fields, trail)


def _runs(blocks: Sequence[StoredBlock]) -> list[tuple[int, bytes]]:
    """(first block, entries) for each run of consecutive blocks: one command each."""
    runs: list[tuple[int, list[bytes]]] = []
    for block in sorted(blocks, key=lambda block: block.number):
        if runs and block.number == runs[-1][0] + len(runs[-1][1]):
            runs[-1][1].append(block.entry)
        else:
            runs.append((block.number, [block.entry]))
    return [(first, b"".join(entries)) for first, entries in runs]
