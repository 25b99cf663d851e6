"""Nodes on a Redis that can be harmed, each through a fault proxy of its own.

The same tests run in two worlds: one of nodes inside the test, with short times, which is quick;
and one of real processes with the times that people get, where each fault has its stated limit.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from server.fanout.bus import Timing
from server.fanout.redis import RedisBackend
from tests.accept.client import Node as NodeHere
from tests.faults.limits import LIMITS
from tests.faults.proxy import FaultProxy
from tests.faults.watcher import Shown, Watcher, agree
from tests.nodes.harness import Nginx, Node
from tests.redis_server import RedisServer
from tests.room_client import table

PATIENCE = 12.0  # seconds; where no time was promised
QUICK = Timing(linger=0.3, audit=0.5, grace=0.2, ping=0.3, answer=0.6, backoff=0.2)
# Whoever compares finds in the end whatever was not found otherwise.
NEVER_COMPARING = replace(QUICK, audit=3600.0)


def stored(state: Mapping[str, str], said: Sequence[Mapping[str, str]]) -> Shown:
    """What viewers are to show of a room that Redis has so."""
    registers = {
        name[2:]: json.loads(text) for name, text in state.items() if name.startswith("r:")
    }
    messages = [(json.loads(each["message"]), int(each["rev"])) for each in said]
    return {
        "epoch": state.get("epoch", ""),
        "rev": int(state.get("rev", 0)),
        "registers": {name: value for name, value in registers.items() if value is not None},
        "chat": [(message["id"], rev, message["body"]) for message, rev in messages],
    }


class World(ABC):
    """`urls`: a node each; `proxies`: what stands between each of them and Redis."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.room = str(uuid.uuid4())
        self.urls: list[str] = []
        self.proxies: list[FaultProxy] = []
        self.prefix = "tablecast:"
        self.raw: Redis
        self._ending = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as ending:
            self.raw = Redis.from_url(self.redis.url, protocol=2)
            ending.push_async_callback(self.raw.aclose)
            await self._start(ending)
            self._ending = ending.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ending.aclose()

    @abstractmethod
    async def _start(self, ending: AsyncExitStack) -> None:
        """Start the nodes; `ending` ends them."""

    @abstractmethod
    def by(self, fault: str) -> float:
        """Until when all must be well again, in seconds."""

    @property
    def key(self) -> str:
        """Where Redis keeps the room."""
        return f"{self.prefix}room:{{{self.room}}}"

    async def watch(self, node: int | None = None, url: str = "") -> Watcher:
        """A viewer of the room at a node (or an address), until the world ends."""
        where = url or self.urls[node or 0]
        return await self._ending.enter_async_context(Watcher(where, self.room, self.truth))

    async def watchers(self, *, each: int = 1) -> list[Watcher]:
        """Viewers on every node, who agree."""
        watchers = [await self.watch(n) for n in range(len(self.urls)) for _ in range(each)]
        await agree(watchers, PATIENCE)
        return watchers

    async def stranger(self) -> RedisBackend:
        """Somebody on the same Redis who follows nothing, and so knows nothing of any room."""
        backend = RedisBackend(self.redis.url, "stranger", prefix=self.prefix)
        self._ending.push_async_callback(backend.close)
        return backend

    async def put(self, rows: int = 1_000, *, name: str = "name", node: int = 0) -> Any:
        """Upload a table; its `document` register."""
        return await self.ask(
            "PUT", "/document?name=table.tsv", data=table(rows, name=name), node=node
        )

    async def ask(
        self, method: str, path: str, *, node: int = 0, status: int = 200, **options: Any
    ) -> Any:
        """What a node answers about the room; its status must be `status`."""
        url = f"{self.urls[node]}/api/rooms/{self.room}{path}"
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.request(method, url, **options) as answer,
        ):
            text = await answer.text()
            assert answer.status == status, f"{answer.status}: {text}"
            return json.loads(text) if text else None

    async def truth(self) -> Shown | None:
        """What Redis itself says of all that viewers show; None while it does not answer."""
        try:
            state = await self.raw.hgetall(self.key)
            said = await self.raw.xrange(f"{self.key}:chat")
        except (RedisError, OSError):
            return None
        return stored(
            {name.decode(): text.decode() for name, text in state.items()},
            [{name.decode(): text.decode() for name, text in each.items()} for _, each in said],
        )

    async def redis_does(self, *command: str | int) -> Any:
        """Redis's answer to a command of another program."""
        raw: Any = self.raw
        return await raw.execute_command(*command)

    async def ready(self, node: int) -> int:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.get(f"{self.urls[node]}/readyz") as answer,
        ):
            return answer.status


class WorldHere(World):
    """Nodes inside the test."""

    def __init__(
        self, redis: RedisServer, *, nodes: int = 2, timing: Timing = QUICK, **settings: Any
    ) -> None:
        super().__init__(redis)
        self.prefix = f"{secrets.token_hex(4)}:"
        self.backends: list[RedisBackend] = []
        self._count = nodes
        self._timing = timing
        self._settings = settings

    async def _start(self, ending: AsyncExitStack) -> None:
        for number in range(self._count):
            proxy = await ending.enter_async_context(FaultProxy(self.redis.port, resp=True))
            backend = RedisBackend(
                proxy.url,
                f"node-{number + 1}",
                prefix=self.prefix,
                timing=self._timing,
                patience=2.0,
            )
            settings = {"node": f"node-{number + 1}", **self._settings}
            node = await ending.enter_async_context(NodeHere(backend, settings))
            self.proxies.append(proxy)
            self.backends.append(backend)
            self.urls.append(node.url)

    def by(self, fault: str) -> float:
        assert fault in LIMITS, fault
        return PATIENCE


class WorldOfProcesses(World):
    """Nodes as they are run, and an Nginx in front of them."""

    def __init__(
        self,
        redis: RedisServer,
        directory: Path,
        *,
        nodes: int = 2,
        settings: Mapping[str, str] = {},
        each: Sequence[Mapping[str, str]] = (),
        with_nginx: bool = False,
    ) -> None:
        """`settings` are variables for all nodes, `each` for the first one, the second one …"""
        super().__init__(redis)
        self.directory = directory
        self.nodes: list[Node] = []
        self.nginx: Nginx | None = None
        self._count = nodes
        self._settings = settings
        self._each = [*each, *[{}] * (nodes - len(each))]
        self._with_nginx = with_nginx

    async def _start(self, ending: AsyncExitStack) -> None:
        for number in range(1, self._count + 1):
            proxy = await ending.enter_async_context(FaultProxy(self.redis.port, resp=True))
            node = Node(
                f"node-{number}",
                self.directory,
                redis_url=proxy.url,
                settings={**self._settings, **self._each[number - 1]},
            )
            ending.callback(node.kill)
            self.proxies.append(proxy)
            self.nodes.append(node)
            self.urls.append(node.url)
        await asyncio.gather(*(node.start() for node in self.nodes))
        if self._with_nginx:
            self.nginx = Nginx(self.directory, [node.port for node in self.nodes])
            ending.callback(self.nginx.kill)
            await self.nginx.start()

    @property
    def front(self) -> str:
        """Where viewers go: Nginx."""
        assert self.nginx is not None
        return self.nginx.url

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def by(self, fault: str) -> float:
        return LIMITS[fault]
