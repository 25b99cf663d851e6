"""A viewer that stays: it follows docs/PROTOCOL.md, connects again when it must, and remembers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import aiohttp

from tests.room_client import Gone, Message, RoomClient

FOR_EVER = 3600.0
# As the page in the browser does: first within half a second, then at growing, random intervals.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0

Shown = dict[str, Any]
Truth = Callable[[], Awaitable[Shown | None]]


class Watcher(RoomClient):
    """What it shows is in `shown`; what it went through in `degradations`, `losses` and `byes`.

    `truth` tells what of that the storage has, or None while it does not tell.
    """

    def __init__(self, url: str, room: str, truth: Truth | None = None) -> None:
        super().__init__(url, room)
        self.truth = truth
        self.chat: list[Message] = []
        self.connected = False
        self.losses = 0
        self.byes = 0
        self.syncs = 0
        self.degradations: list[bool] = []
        self.nodes: list[str] = []
        self.errors: list[Message] = []
        self.news = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow(), name="watcher")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self.close()

    @property
    def shown(self) -> Shown:
        """All that people could compare between two screens."""
        page = self.page if self.registers.get("page") is not None else {}
        return {
            "epoch": self.epoch,
            "rev": self.rev,
            # One that was told to be null has no value, like one that was never told.
            "registers": {name: v for name, v in self.registers.items() if v is not None},
            "page": {name: page.get(name) for name in ("document", "first_row", "data")},
            "chat": [(said["id"], said["rev"], said["body"]) for said in self.chat],
        }

    @property
    def said(self) -> list[str]:
        return [said["body"] for said in self.chat]

    @property
    def page_no(self) -> int | None:
        return self.page.get("page_no")

    @property
    def rows_are_right(self) -> bool:
        """The rows of a `table` tell their numbers."""
        if not self.page or self.header[0] != "id":
            return True
        first, data = self.page["first_row"], self.page["data"]
        return [row[0] for row in data] == [str(first + at) for at in range(len(data))]

    @property
    def is_well(self) -> bool:
        """Connected, not told otherwise, and its page is the one that its registers name."""
        wanted = self.registers.get("page")
        if not self.connected or self.degraded or self.rev < 0:
            return False
        if wanted is None:
            return True
        shown = self.page.get("document"), self.page.get("first_row")
        return shown == (wanted["document"], wanted["offset"] + 1) and self.rows_are_right

    async def close(self) -> None:
        if self._socket is not None:
            self._socket._response.close()  # also where it was cut off in the middle
        await super().close()

    async def chats(self, body: str) -> str:
        """Say something; its id. Whether it was taken shows in the chat, or in `errors`."""
        id = str(uuid.uuid4())
        await self.say("chat", id=id, body=body)
        return id

    async def waits(self, met: Callable[[Self], bool], patience: float) -> None:
        """Wait until what it shows meets a condition."""
        async with asyncio.timeout(patience):
            while not met(self):
                self.news.clear()
                await self.news.wait()

    async def turned_to(self, page_no: int, patience: float) -> None:
        await self.waits(lambda w: w.page_no == page_no, patience)

    async def lost(self, times: int, patience: float) -> None:
        """Wait until its connection was lost so often."""
        await self.waits(lambda w: w.losses >= times, patience)

    # Internal

    async def _follow(self) -> None:
        failures = 0
        while True:
            at_once = False
            try:
                await self.connect()
                self.nodes.append(self.node)
                self.connected = True
                failures = 0
                while True:
                    told = await self.next(FOR_EVER)
                    at_once = at_once or (told["type"] == "bye" and told["again"])
            except (Gone, aiohttp.ClientError, TimeoutError, OSError):
                if self.connected:
                    self.losses += 1
            finally:
                self.connected = False
                self.news.set()
            await self.close()
            if not at_once:
                longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures)
                await asyncio.sleep(random.uniform(0, longest))
                failures += 1

    def _take(self, told: Message) -> None:
        super()._take(told)
        match told["type"]:
            case "chat":
                known = set() if told["whole"] else {said["id"] for said in self.chat}
                new = [said for said in told["messages"] if said["id"] not in known]
                self.chat = new if told["whole"] else [*self.chat, *new]
            case "status":
                if self.degradations[-1:] != [told["degraded"]]:
                    self.degradations.append(told["degraded"])
            case "heartbeat":
                if told["epoch"] != self.epoch or told["rev"] > self.rev:
                    self.syncs += 1
                    asyncio.get_running_loop().create_task(self._sync())
            case "bye":
                self.byes += 1
            case "error":
                self.errors.append(told)
        self.news.set()

    async def _sync(self) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self.say("sync", epoch=self.epoch, rev=self.rev)


async def agree(
    watchers: Sequence[Watcher],
    patience: float,
    wanted: Callable[[Watcher], bool] = lambda _: True,
) -> float:
    """Wait until all show the same, are well, and meet a condition; the seconds that it took.

    What they show is what the storage has, too: all could be wrong together.
    """
    started = time.monotonic()
    truth: Shown | None = None
    try:
        async with asyncio.timeout(patience):
            while True:
                first = watchers[0].shown
                if all(w.is_well and wanted(w) and w.shown == first for w in watchers):
                    took = time.monotonic() - started
                    ask = watchers[0].truth
                    if ask is None:
                        return took
                    truth = await ask()
                    if truth is not None and truth == {name: first[name] for name in truth}:
                        return took
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(
            f"no agreement in {patience:g} s:\n"
            + "\n".join(map(_in_short, watchers))
            + (f"\nwhere the storage had {json.dumps(truth)[:1500]}" if truth else "")
        ) from None


def _in_short(watcher: Watcher) -> str:
    shown = watcher.shown
    page = shown["page"]
    return (
        f"{watcher.hello.get('node')}: connected {watcher.connected}, degraded {watcher.degraded}, "
        f"{watcher.here} here, {shown['epoch']}/{shown['rev']}, "
        f"page {page['document']} from {page['first_row']}, "
        f"chat {[said['body'] for said in watcher.chat]}, "
        f"registers {json.dumps(shown['registers'])[:600]}, errors {watcher.errors[-2:]}"
    )
