"""`python -m tests.bounds.soak [SECONDS]`: two nodes, Nginx and Redis, and people without rest.

They come and go, send files and break off, turn pages, talk, stop reading, vanish. Meanwhile the
nodes' memory, files, tasks and subscriptions are looked at, and Redis's keys. In the end everybody
leaves: memory must have been flat in the second half, and nothing may be left of anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
from redis.asyncio import Redis

from bench.processes import allow_many_files
from tests.bounds.clients import heavy, stalled
from tests.bounds.measured import Measured, held
from tests.nodes.harness import Stack
from tests.room_client import Gone, RoomClient, table

SECONDS: Final = 600.0
PEOPLE: Final = 60
ROOMS: Final = 12
# A room that is new to all: one in so many visits.
NEW_ROOM: Final = 4
LOOK_EVERY: Final = 1.0
# A visit, in seconds.
LONGEST_STAY: Final = 15.0
STALLED: Final = 20
# Small enough that they are full before the second half begins: full ones are no leak.
CACHE: Final = "4MiB"
SETTINGS: Final = {
    "TABLECAST_BLOCK_CACHE": CACHE,
    "TABLECAST_PAGE_CACHE": CACHE,
    # Entries of it are small, and seldom.
    "TABLECAST_INDEX_CACHE": "20KiB",
    "TABLECAST_LINGER": "1s",
    "TABLECAST_UPLOAD_PAUSE": "2s",
    "TABLECAST_ROOM_LIFE": "20s",
    "TABLECAST_ROOMS_PER_SECOND": "1000",
    "TABLECAST_UPLOADS_PER_SECOND": "1000",
}
# Bytes of memory that a node may gain in an hour, as the second half tells, and in any case.
AN_HOUR: Final = 40_000_000
NOISE: Final = 6_000_000
# Until nothing is left: rooms and what belongs to them end by themselves in Redis.
PATIENCE: Final = 90.0
# What outlives its room: request ids for five minutes, and for a quarter of an hour the blocks of
# an upload whose room ended before anybody could give it up.
OUTLIVES: Final = (b":q:", b":d:")

Shares = list[tuple[int, Callable[[RoomClient], Awaitable[None]]]]


class Look(NamedTuple):
    """`at` in seconds; `memory`, `files`, `tasks` and `subscriptions` of each node."""

    at: float
    memory: list[int]
    files: list[int]
    tasks: list[float]
    subscriptions: list[float]
    keys: int


class Soak:
    """`done` counts what people did."""

    def __init__(self, stack: Stack, raw: Redis, seconds: float) -> None:
        self.done: Counter[str] = Counter()
        self.looks: list[Look] = []
        self.nodes = [Measured(node.pid, node.port) for node in stack.nodes]
        self._stack = stack
        self._raw: Any = raw
        self._seconds = seconds
        self._rooms = [str(uuid.uuid4()) for _ in range(ROOMS)]
        self._dice = random.Random(7)
        self._files = [table(300), table(6_000), heavy(800)]

    async def run(self) -> None:
        """Until everybody has left."""
        self._began = time.monotonic()
        until = self._began + self._seconds
        people = [asyncio.create_task(self._live(until)) for _ in range(PEOPLE)]
        people.append(asyncio.create_task(self._stall(until)))
        looking = asyncio.create_task(self._look())
        try:
            await asyncio.gather(*people)
        finally:
            looking.cancel()
            for person in people:
                person.cancel()

    # What people do

    async def _live(self, until: float) -> None:
        """Visit one room after the other."""
        while time.monotonic() < until:
            is_new = self._dice.randrange(NEW_ROOM) == 0
            room = str(uuid.uuid4()) if is_new else self._dice.choice(self._rooms)
            url = self._dice.choice([self._stack.url, *(node.url for node in self._stack.nodes)])
            client = RoomClient(url, room)
            try:
                async with asyncio.timeout(2 * LONGEST_STAY):
                    await client.connect()
                    self.done["visits"] += 1
                    await self._visit(client, min(until, time.monotonic() + self._stay()))
            except (Gone, aiohttp.ClientError, TimeoutError, OSError) as error:
                self.done[f"ended by {type(error).__name__}"] += 1
            finally:
                await self._leave(client)

    def _stay(self) -> float:
        return self._dice.uniform(0.1, LONGEST_STAY)

    async def _visit(self, client: RoomClient, until: float) -> None:
        acts: Shares = [
            (8, self._turn),
            (6, self._talk),
            (3, self._peek),
            (2, self._upload),
            (1, self._break_off),
            (2, self._introduce),
            (1, self._sync),
            (1, self._babble),
        ]
        weights = [share for share, _ in acts]
        hearing = asyncio.create_task(self._hear(client))
        try:
            while time.monotonic() < until and not hearing.done():
                (_, act), *_ = self._dice.choices(acts, weights)
                await act(client)
                await asyncio.sleep(self._dice.expovariate(3))
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])

    @staticmethod
    async def _hear(client: RoomClient) -> None:
        with contextlib.suppress(Gone):
            while True:
                await client.next(3_600)
                client.seen.clear()

    async def _leave(self, client: RoomClient) -> None:
        if self._dice.random() < 0.3 and client._socket is not None:
            with contextlib.suppress(AssertionError):
                client.vanish()
                self.done["vanished"] += 1
        await client.close()

    async def _turn(self, client: RoomClient) -> None:
        await client.say("page", page_no=self._dice.randint(1, 5))
        self.done["turns"] += 1

    async def _peek(self, client: RoomClient) -> None:
        await client.say("peek", page_no=self._dice.randint(1, 5))
        self.done["peeks"] += 1

    async def _talk(self, client: RoomClient) -> None:
        words = "word " * self._dice.randint(1, 100)
        await client.say("chat", id=str(uuid.uuid4()), body=words)
        self.done["messages"] += 1

    async def _introduce(self, client: RoomClient) -> None:
        await client.say("me", name=f"Otter {self._dice.random()}", color=self._dice.randrange(10))
        self.done["names"] += 1

    async def _sync(self, client: RoomClient) -> None:
        await client.say("sync", epoch="", rev=0)
        self.done["syncs"] += 1

    async def _babble(self, client: RoomClient) -> None:
        await client.say_raw(self._dice.choice(["", "{", "[]", b"junk", '{"type": "nonsense"}']))
        self.done["babble"] += 1

    async def _upload(self, client: RoomClient) -> None:
        data = self._dice.choice(self._files)
        if await self._put(client, data) in (200, 409):
            self.done["uploads"] += 1

    async def _break_off(self, client: RoomClient) -> None:
        await client.say("upload", name="broken.tsv", size=len(self._files[2]))
        await client.say_raw(self._files[2][: self._dice.randint(1, 200_000)])
        self.done["broken uploads"] += 1

    @staticmethod
    async def _put(client: RoomClient, data: bytes) -> int:
        url = f"{client.url}/api/rooms/{client.uuid}/document?name=t.tsv"
        async with (
            aiohttp.ClientSession() as session,
            session.put(url, data=data, timeout=aiohttp.ClientTimeout(total=20)) as answer,
        ):
            await answer.read()
            return answer.status

    async def _stall(self, until: float) -> None:
        """Some who read nothing are always there, and change."""
        sockets = []
        try:
            while time.monotonic() < until:
                node, room = self._dice.choice(self.nodes), self._dice.choice(self._rooms)
                with contextlib.suppress(OSError):
                    sockets.append(await asyncio.to_thread(stalled, node.port, room))
                    self.done["stalls"] += 1
                if len(sockets) > STALLED:
                    sockets.pop(0).close()
                await asyncio.sleep(0.2)
        finally:
            for sock in sockets:
                sock.close()

    # What is looked at

    async def _look(self) -> None:
        while True:
            self.looks.append(await self.look())
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> Look:
        told = [await asyncio.to_thread(node.gauges) for node in self.nodes]
        return Look(
            time.monotonic() - self._began,
            [node.memory for node in self.nodes],
            [node.files for node in self.nodes],
            [each["tablecast_tasks"] for each in told],
            [each["tablecast_subscriptions"] for each in told],
            await self._raw.dbsize(),
        )

    async def channels(self) -> list[bytes]:
        """Those that any node hears."""
        found: list[bytes] = await self._raw.execute_command("PUBSUB", "SHARDCHANNELS")
        return found

    async def keys(self) -> list[bytes]:
        """Those that should not be there any more, and those that would never end."""
        return [
            key
            async for key in self._raw.scan_iter()
            if not any(part in key for part in OUTLIVES) or await self._raw.pttl(key) == -1
        ]

    async def left(self, tasks: list[float], files: list[int]) -> list[str]:
        """What is there that should not be, with so many tasks and files in the beginning."""
        wrong = []
        for node, tasks_then, files_then in zip(self.nodes, tasks, files, strict=True):
            told = await asyncio.to_thread(node.gauges)
            wrong += [f"{name}: {value:g}" for name, value in held(told).items() if value]
            if told["tablecast_tasks"] > tasks_then:
                wrong.append(f"tasks: {told['tablecast_tasks']:g} instead of {tasks_then:g}")
            # Redis's connections are kept for the next calls, up to the size of the pool.
            if node.files > files_then + 64:
                wrong.append(f"files: {node.files} instead of {files_then}")
        wrong += [f"channel {channel!r}" for channel in await self.channels()]
        return wrong + [f"key {key!r}" for key in await self.keys()]


def slope(looks: list[Look], node: int) -> float:
    """Bytes of memory a second that a node gained, by all of these looks."""
    times = [look.at for look in looks]
    return statistics.linear_regression(times, [look.memory[node] for look in looks]).slope


async def soak(seconds: float) -> str:
    """Run it; what came of it in a line. Raises AssertionError where something grew or stayed."""
    async with AsyncExitStack() as ending:
        directory = ending.enter_context(tempfile.TemporaryDirectory(prefix="tablecast-soak-"))
        stack = await ending.enter_async_context(Stack(Path(directory), nodes=2, settings=SETTINGS))
        raw = await ending.enter_async_context(Redis.from_url(stack.redis.url, protocol=2))
        run = Soak(stack, raw, seconds)
        run._began = time.monotonic()
        first = await run.look()
        await run.run()
        until = time.monotonic() + PATIENCE
        while wrong := await run.left(first.tasks, first.files):
            assert time.monotonic() < until, f"left behind: {wrong[:20]}"
            await asyncio.sleep(0.5)
        half = [look for look in run.looks if look.at >= seconds / 2]
        gained = [slope(half, number) for number in range(len(run.nodes))]
        result = told(run, first, gained, seconds)
        for each in gained:
            allowed = AN_HOUR / 3600 * seconds / 2 + NOISE
            assert each * seconds / 2 <= allowed, f"memory grows: {result}"
        return result


def told(run: Soak, first: Look, gained: list[float], seconds: float) -> str:
    most = max(max(look.memory) for look in run.looks)
    did = ", ".join(f"{count:,} {what}" for what, count in sorted(run.done.items()))
    slopes = " and ".join(f"{each * seconds / 2 / 1e6:+.1f} MB" for each in gained)
    return (
        f"{seconds:g} s: {did}. A node's memory: {max(first.memory) / 1e6:.0f} MB at first, "
        f"{most / 1e6:.0f} MB at most; in the second half {slopes}. Nothing is left of anybody."
    )


def main() -> None:
    allow_many_files()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    try:
        sys.stdout.write(f"tablecast: {asyncio.run(soak(seconds))}\n")
    except AssertionError as error:
        sys.exit(f"tablecast: {error}")


if __name__ == "__main__":
    main()
