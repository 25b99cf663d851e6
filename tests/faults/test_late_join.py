"""The race of a late joiner with changes, in every order in which it can be run.

A node that begins to follow a room subscribes, hears that it has, reads the room, and hears of
changes, while others change the room. Here Redis is a model that does one step at a time, and every
order of steps is played: whatever it is, the node ends up with the state that Redis has, and tells
of it in order. With the connection breaking at any point, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from server.fanout.backend import Change, Snapshot
from server.fanout.bus import Bus, Timing
from server.fanout.presence import Told
from server.fanout.replica import Replica
from tests.fanout.nodes import Recorder

ROOM = "r"
# Nothing but the steps below shall make the bus do something.
PATIENT = Timing(linger=3600, audit=3600, grace=3600, ping=3600, answer=3600, backoff=0)


class OneStepAtATime:
    """Redis with one room, as the bus sees it; `steps` are those that could happen next."""

    def __init__(self, changes: int, breaks: int) -> None:
        self.room = Replica(Snapshot("e", 3, {"page": 3}))
        self.changes_left = changes
        self.breaks_left = breaks
        self.subscribed = False
        self.asked = False
        self.stream: deque[list[bytes]] = deque()
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.reads: list[_Read] = []

    @property
    def steps(self) -> dict[str, Callable[[], None]]:
        steps: dict[str, Callable[[], None]] = {}
        if self.changes_left:
            steps["change"] = self._change
        if self.asked:
            steps["subscribe"] = self._subscribe
        if self.stream:
            steps["deliver"] = self._deliver
        if self.reads:
            steps["read" if self.reads[0].state is None else "answer"] = self._read
        if self.breaks_left and (self.asked or self.subscribed):
            steps["break"] = self._break
        return steps

    def _change(self) -> None:
        self.changes_left -= 1
        rev = self.room.rev + 1
        change = Change("e", rev, {"page": rev}, {"n": rev, "rev": rev})
        self.room.apply(change)
        if self.subscribed:
            told = {"epoch": "e", "rev": rev, "set": change.set, "chat": {"n": rev}}
            self.stream.append([b"smessage", ROOM.encode(), msgspec.json.encode(told)])

    def _subscribe(self) -> None:
        self.asked, self.subscribed = False, True
        self.stream.append([b"ssubscribe", ROOM.encode(), b"1"])

    def _deliver(self) -> None:
        self.answers.put_nowait(self.stream.popleft())

    def _read(self) -> None:
        read = self.reads[0]
        if read.state is None:
            read.state = self.room.snapshot()
        else:
            self.reads.pop(0)
            if not read.answer.done():
                read.answer.set_result(read.state)

    def _break(self) -> None:
        self.breaks_left -= 1
        self.asked = self.subscribed = False
        self.stream.clear()
        self.answers.put_nowait(ConnectionResetError("broken"))

    # What the bus uses as its connection

    def __call__(self) -> OneStepAtATime:
        self.answers = asyncio.Queue()
        return self

    async def connect(self) -> None:
        pass

    async def disconnect(self, nowait: bool = False) -> None:
        pass

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        assert args[0] == "SSUBSCRIBE"
        self.asked = True

    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None
    ) -> Any:
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    # What it asks by commands

    def channel(self, room: str) -> str:
        return room

    async def connected(self) -> None:
        pass

    async def load(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        read = _Read()
        self.reads.append(read)
        try:
            state = await read.answer
        finally:
            if read in self.reads:
                self.reads.remove(read)
        return [(state, Told(here=0)) for _ in rooms]

    async def revisions(self, rooms: Sequence[str]) -> Sequence[tuple[str, int]]:
        raise AssertionError("nothing is compared here")

    def together(self, channels: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        return [channels]

    def moved(self, error: Exception) -> None:
        raise AssertionError("there is one server")

    async def mint(self, room: str, epoch: str, rev: int, mark: str) -> None:
        raise AssertionError("nothing goes back here")


@dataclass(eq=False)
class _Read:
    state: Snapshot | None = None
    answer: asyncio.Future[Snapshot] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


async def quiet() -> None:
    """Let the bus do all that it can do by itself."""
    for _ in range(12):
        await asyncio.sleep(0)


async def play(changes: int, breaks: int, choices: Sequence[int]) -> tuple[list[int], list[str]]:
    """One run: of each choice between steps how many there were; and the steps that were done.

    Past the end of `choices` the first step is taken.
    """
    redis, told = OneStepAtATime(changes, breaks), Recorder()
    bus = Bus(redis, redis, PATIENT)
    bus.start(told)
    bus.follow(ROOM)
    await quiet()
    branches: list[int] = []
    done: list[str] = []
    try:
        while steps := redis.steps:
            choice = choices[len(branches)] if len(branches) < len(choices) else 0
            name = list(steps)[choice]
            branches.append(len(steps))
            done.append(name)
            steps[name]()
            await quiet()
        assert told.broken == [], done
        assert told.state(ROOM) == redis.room.snapshot(), done
    finally:
        await bus.close()
    return branches, done


def following(branches: Sequence[int], choices: Sequence[int]) -> list[int] | None:
    """The choices of the next run, if there is one that was not played yet."""
    taken = [*choices, *[0] * (len(branches) - len(choices))]
    for at in reversed(range(len(branches))):
        if taken[at] + 1 < branches[at]:
            return [*taken[:at], taken[at] + 1]
    return None


async def every_order(changes: int, breaks: int) -> int:
    """Play all runs; how many there were."""
    choices: list[int] | None = []
    runs = 0
    while choices is not None:
        branches, _ = await play(changes, breaks, choices)
        runs += 1
        choices = following(branches, choices)
    return runs


@pytest.mark.parametrize(
    ("changes", "breaks", "at_least"),
    [
        (1, 0, 10),
        (2, 0, 60),
        (3, 0, 300),
        (1, 1, 80),
        (2, 1, 800),
        pytest.param(4, 0, 1_500, marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(300)
async def test_in_every_order_the_late_joiner_ends_with_the_state_the_others_have(
    changes: int, breaks: int, at_least: int
) -> None:
    assert await every_order(changes, breaks) >= at_least


def test_every_order_is_played_once() -> None:
    """Of two steps and then three there are six runs."""

    def runs() -> Iterator[tuple[int, ...]]:
        choices: list[int] | None = []
        while choices is not None:
            yield (*choices, *[0] * (2 - len(choices)))
            choices = following([2, 3], choices)

    assert list(runs()) == [(a, b) for a in range(2) for b in range(3)]
