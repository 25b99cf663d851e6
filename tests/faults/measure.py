"""How long it takes until all is well again: `python -m tests.faults.measure [ROUNDS]`.

Each figure is the time from the fault until every viewer, on every node, shows a page that was
turned right after it, on real processes with the settings that people get.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from tests.faults.watcher import Watcher, agree
from tests.faults.world import WorldOfProcesses
from tests.redis_server import RedisServer

VIEWERS: Final = 30
PATIENCE: Final = 30.0
# A connection that stood for so long is made anew at once when it breaks; see Timing.backoff.
SETTLED: Final = 1.5

Measurement = Callable[[WorldOfProcesses, list[Watcher], int], Awaitable[float]]


async def connections_killed(
    world: WorldOfProcesses, watchers: list[Watcher], page_no: int
) -> float:
    """All connections of all nodes to Redis at once."""
    await asyncio.sleep(SETTLED)
    began = time.monotonic()
    for kind in ("pubsub", "normal"):
        await world.redis_does("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    await turned(watchers, page_no)
    return time.monotonic() - began


async def node_killed(world: WorldOfProcesses, watchers: list[Watcher], page_no: int) -> float:
    """With SIGKILL; its viewers come back through Nginx."""
    node = world.nodes[page_no // 3 % len(world.nodes)]
    staying = [w for w in watchers if w.node != node.name]
    began = time.monotonic()
    node.kill()
    await turned(staying, page_no, everyone=watchers)
    took = time.monotonic() - began
    await node.start()
    # Whoever comes next finds the node again; so that it has viewers to lose, some move there.
    moving = [(w, w.losses + 1) for w in staying[: len(staying) // 2]]
    for watcher, _ in moving:
        watcher.vanish()
    for watcher, losses in moving:
        await watcher.lost(losses, PATIENCE)
    await agree(watchers, PATIENCE)
    return took


async def message_lost_then_a_change(
    world: WorldOfProcesses, watchers: list[Watcher], page_no: int
) -> float:
    """From the change that follows on."""
    world.proxies[0].lose()
    there = next(w for w in watchers if w.node != "node-1")
    await there.say("page", page_no=page_no)
    await there.turned_to(page_no, PATIENCE)
    began = time.monotonic()
    await turned([there], page_no + 1, everyone=watchers)
    return time.monotonic() - began


async def last_message_lost(
    world: WorldOfProcesses, watchers: list[Watcher], page_no: int
) -> float:
    """Nothing follows, so it is found by comparing."""
    world.proxies[0].lose()
    began = time.monotonic()
    await turned([w for w in watchers if w.node != "node-1"], page_no, everyone=watchers)
    return time.monotonic() - began


MEASUREMENTS: Final[dict[str, Measurement]] = {
    "all connections to Redis killed": connections_killed,
    "a node killed, through Nginx": node_killed,
    "a message lost, at the next change": message_lost_then_a_change,
    "a message lost, and no change follows": last_message_lost,
}
# The longest that it may take, in seconds.
TARGETS: Final = {
    "all connections to Redis killed": 1.0,
    "a node killed, through Nginx": 3.0,
    "a message lost, at the next change": 1.0,
    "a message lost, and no change follows": 10.0,
}


async def turned(
    turners: list[Watcher], page_no: int, *, everyone: list[Watcher] | None = None
) -> None:
    """Somebody turns to this page, again where it was refused; until everyone shows it."""
    everyone = everyone if everyone is not None else turners
    turner = turners[0]
    refused = len(turner.errors)
    await turner.say("page", page_no=page_no)
    async with asyncio.timeout(PATIENCE):
        while not all(w.is_well and w.page_no == page_no for w in everyone):
            if len(turner.errors) > refused:
                refused = len(turner.errors)
                await turner.say("page", page_no=page_no)
            await asyncio.sleep(0.002)
    await agree(everyone, PATIENCE)


@asynccontextmanager
async def meeting() -> AsyncIterator[tuple[WorldOfProcesses, list[Watcher]]]:
    """Three nodes behind Nginx, and viewers on all of them."""
    async with AsyncExitStack() as ending:
        directory = ending.enter_context(tempfile.TemporaryDirectory(prefix="tablecast-faults-"))
        redis = ending.enter_context(RedisServer("--appendfsync", "everysec"))
        world = await ending.enter_async_context(
            WorldOfProcesses(redis, Path(directory), nodes=3, with_nginx=True)
        )
        await world.put(10_000)
        watchers = [await world.watch(url=world.front) for _ in range(VIEWERS)]
        await agree(watchers, PATIENCE)
        yield world, watchers


async def measure(name: str, rounds: int) -> list[float]:
    """The seconds that each round took."""
    async with meeting() as (world, watchers):
        # Pages differ from round to round by more than one measurement turns.
        return [await MEASUREMENTS[name](world, watchers, 3 * n + 4) for n in range(rounds)]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name, target in TARGETS.items():
        took = sorted(asyncio.run(measure(name, rounds)))
        median, longest = took[len(took) // 2], took[-1]
        sys.stdout.write(
            f"{name}: median {median:.2f} s, longest {longest:.2f} s (at most {target:g} s)\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
