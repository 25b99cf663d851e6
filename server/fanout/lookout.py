"""Who has which slot of a cluster: some of its servers are asked, and most of them decide."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.fanout import connect
from server.fanout.refusals import why
from server.fanout.slots import SlotMap
from server.fanout.tasks import end
from server.redis_url import Address, Servers

ASKED_AT_ONCE = 5  # servers that are asked who has which slot
ANSWER_WITHIN = 1.0  # seconds for the first of them
OTHERS_WITHIN = 0.2  # seconds more for the others: most of them decide
LOOK_EVERY = 0.1  # seconds between two looks while a primary cannot be reached

_log = logging.getLogger(__name__)


class Lookout:
    """Looks every `every` seconds, and at once where something is odd (`look`).

    `found` is called after each look, with what came of it or None. It never raises.
    """

    def __init__(
        self, cluster: Servers, every: float, found: Callable[[SlotMap | None], None]
    ) -> None:
        self._cluster = cluster
        self._every = every
        self._found = found
        self._servers = frozenset(cluster.hosts)  # that may know
        self._clients: dict[Address, Redis] = {}  # to ask them
        self._asking: dict[Address, asyncio.Task[SlotMap | None]] = {}
        self._silent: dict[Address, str] = {}  # who did not answer last, and why
        self._told: frozenset[str] = frozenset()  # reasons, as they were written down
        self._odd = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.look()
        self._task = asyncio.create_task(self._watching(), name="slots")

    def look(self) -> None:
        self._odd.set()

    async def stop(self) -> None:
        """Look no more; those who are being asked may still answer."""
        if self._task is not None:
            await end([self._task])

    async def close(self) -> None:
        """Bounded in time, as whatever is asked is."""
        if self._asking:
            await asyncio.wait([*self._asking.values()])
        for client in self._clients.values():
            await _aclose(client)

    async def _watching(self) -> None:
        while True:
            with contextlib.suppress(builtins.TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._odd.wait()
            self._odd.clear()
            try:
                found = await self._read()
            except Exception:
                _log.exception("Who has which slot cannot be found out")
                found = None
            if found is None:
                self._complain()
            else:
                self._told = frozenset()
                self._servers = found.servers | frozenset(self._cluster.hosts)
            self._found(found)
            await asyncio.sleep(LOOK_EVERY)

    async def _read(self) -> SlotMap | None:
        """What most of some servers say; None if none of them answers."""
        for address in self._clients.keys() - self._servers - self._asking.keys():
            await _aclose(self._clients.pop(address))
        some = random.sample(sorted(self._servers), min(ASKED_AT_ONCE, len(self._servers)))
        for address in some:
            if address not in self._asking:  # one that is frozen is not asked again and again
                self._asking[address] = asyncio.create_task(self._ask(address))
        running = {self._asking[address] for address in some}
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_WITHIN
        maps: list[SlotMap] = []
        while running and (left := until - loop.time()) > 0:
            done, running = await asyncio.wait(
                running, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            answers = [found for task in done if (found := task.result()) is not None]
            if answers and not maps:
                until = min(until, loop.time() + OTHERS_WITHIN)
            maps += answers
        return Counter(maps).most_common(1)[0][0] if maps else None

    async def _ask(self, address: Address) -> SlotMap | None:
        client = self._clients.get(address)
        if client is None:
            url = self._cluster.server(address)
            client = self._clients[address] = connect.client(url, Retry(NoBackoff(), 0))
        try:
            # Split, so that the answer comes as it is.
            asking: Any = client
            found = SlotMap.read(await asking.execute_command("CLUSTER", "SLOTS"), address)
        except (RedisError, OSError) as error:
            self._silent[address] = why(error)
            return None
        finally:
            del self._asking[address]
        if not found.runs:
            self._silent[address] = "nobody has a slot"
            return None
        self._silent.pop(address, None)
        return found

    def _complain(self) -> None:
        """Nobody answers: write down why, once for the same reasons."""
        reasons = frozenset(self._silent.values())
        if reasons <= self._told:
            return
        self._told |= reasons
        said = "; ".join(f"{host}:{port}: {text}" for (host, port), text in self._silent.items())
        _log.warning("No server of the cluster says who has which slot: %s", said)


async def _aclose(client: Redis) -> None:
    with contextlib.suppress(RedisError, OSError):
        async with asyncio.timeout(1):
            await client.aclose()
