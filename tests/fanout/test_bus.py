"""The bus against a scripted Redis: orders of events that a real one shows only once in a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.exceptions import MovedError

from server.fanout.backend import Change, Snapshot
from server.fanout.bus import Bus, Timing
from server.fanout.presence import Told
from server.fanout.slots import slot_of
from tests.fanout.nodes import FAST, PATIENCE, Recorder


class Script:
    """Plays Redis: the commands it was sent, the answers it gives, the state it has."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, ...]] = []
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.states: dict[str, Snapshot] = {}
        self.connections = 0
        self.loads = 0
        self.loading = asyncio.Event()  # set: reads are answered
        self.loading.set()
        self.confirming = True
        self.answering = True
        self.minted: list[tuple[str, str, int]] = []
        self.elsewhere: list[int] = []  # slots that another server has

    # Link

    def __call__(self) -> Script:
        self.answers = asyncio.Queue()
        return self

    async def connect(self) -> None:
        self.connections += 1

    async def disconnect(self, nowait: bool = False) -> None:
        pass

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        command = tuple(a.decode() if isinstance(a, bytes) else a for a in args)
        self.sent.append(command)
        if command[0] == "PING":
            if self.answering:
                self.say(b"pong", command[1].encode())
        elif self.confirming:
            for channel in command[1:]:
                self.say(command[0].lower().encode(), channel.encode(), 1)

    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None
    ) -> Any:
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    # Rooms

    def together(self, channels: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
        return [channels]

    def moved(self, error: MovedError) -> None:
        self.elsewhere.append(error.slot_id)

    def channel(self, room: str) -> str:
        return room

    async def connected(self) -> None:
        pass

    async def load(self, rooms: Sequence[str]) -> Sequence[tuple[Snapshot, Told] | Exception]:
        self.loads += 1
        states = [(self.states.get(room, Snapshot()), Told(here=0)) for room in rooms]
        await self.loading.wait()
        return states

    async def revisions(self, rooms: Sequence[str]) -> Sequence[tuple[str, int]]:
        states = [self.states.get(room, Snapshot()) for room in rooms]
        return [(state.epoch, state.rev) for state in states]

    async def mint(self, room: str, epoch: str, rev: int, mark: str) -> None:
        self.minted.append((room, epoch, rev))
        self.states[room] = replace(self.states[room], epoch=f"{epoch}+", rev=rev + 1)

    # What the tests do

    def say(self, *answer: Any) -> None:
        self.answers.put_nowait(list(answer))

    def publish(self, room: str, change: Change) -> None:
        payload = msgspec.json.encode(
            {"epoch": change.epoch, "rev": change.rev, "set": change.set, "chat": change.chat}
        )
        self.say(b"smessage", room.encode(), payload)

    def commands(self, name: str) -> list[tuple[str, ...]]:
        return [command[1:] for command in self.sent if command[0] == name]


class Stage:
    def __init__(self, timing: Timing = FAST) -> None:
        self.redis = Script()
        self.told = Recorder()
        self.bus = Bus(self.redis, self.redis, timing)
        self.bus.start(self.told)

    async def followed(self, room: str, state: Snapshot) -> None:
        self.redis.states[room] = state
        self.bus.follow(room)
        await self.told.until(lambda: self.told.snapshots(room) != [])
        self.told.forget()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage(replace(FAST, audit=60, ping=60))
    yield stage
    await asyncio.wait_for(stage.bus.close(), PATIENCE)
    assert stage.told.broken == []


async def test_nothing_is_read_before_the_subscription_is_confirmed(stage: Stage) -> None:
    stage.redis.confirming = False
    stage.bus.follow("r")
    await _until(lambda: stage.redis.commands("SSUBSCRIBE") == [("r",)])
    stage.redis.publish("r", Change("e", 1, {"page": 1}))
    await _until(stage.redis.answers.empty)
    assert stage.redis.loads == 0
    stage.redis.states["r"] = Snapshot("e", 1, {"page": 1})
    stage.redis.say(b"ssubscribe", b"r", 1)
    await stage.told.until_rev("r", 1)
    assert stage.told.of("r")[0] == Snapshot("e", 1, {"page": 1})


async def test_changes_that_come_during_the_read_follow_the_snapshot(stage: Stage) -> None:
    stage.redis.states["r"] = Snapshot("e", 5, {"page": 5})
    stage.redis.loading.clear()
    stage.bus.follow("r")
    await _until(lambda: stage.redis.loads == 1)
    for rev in range(4, 8):
        stage.redis.publish("r", Change("e", rev, {"page": rev}))
    await _until(stage.redis.answers.empty)
    stage.redis.loading.set()
    await stage.told.until_rev("r", 7)
    assert [change.rev for change in stage.told.changes("r")] == [6, 7]
    assert stage.told.snapshots("r") == [Snapshot("e", 5, {"page": 5})]


async def test_a_gap_among_the_changes_that_waited_leads_to_a_second_read(stage: Stage) -> None:
    stage.redis.states["r"] = Snapshot("e", 5)
    stage.redis.loading.clear()
    stage.bus.follow("r")
    await _until(lambda: stage.redis.loads == 1)
    stage.redis.publish("r", Change("e", 9, {"page": 9}))
    await _until(stage.redis.answers.empty)
    stage.redis.states["r"] = Snapshot("e", 9, {"page": 9})
    stage.redis.loading.set()
    await stage.told.until_rev("r", 9)
    assert stage.redis.loads == 2


async def test_a_confirmation_that_nobody_asked_for_casts_doubt_on_the_room(stage: Stage) -> None:
    await stage.followed("r", Snapshot("e", 1, {"page": 1}))
    stage.redis.states["r"] = Snapshot("e", 3, {"page": 3})
    stage.redis.say(b"ssubscribe", b"r", 1)
    await stage.told.until_rev("r", 3)


async def test_a_subscription_that_was_taken_away_is_asked_for_again(stage: Stage) -> None:
    await stage.followed("r", Snapshot("e", 1, {"page": 1}))
    stage.redis.states["r"] = Snapshot("e", 3, {"page": 3})
    stage.redis.say(b"sunsubscribe", b"r", 0)
    await stage.told.until_rev("r", 3)
    assert stage.redis.commands("SSUBSCRIBE") == [("r",), ("r",)]


async def test_a_room_followed_again_while_it_is_left_ends_up_subscribed() -> None:
    stage = Stage(replace(FAST, linger=0, audit=60, ping=60))
    await stage.followed("r", Snapshot("e", 1))
    stage.redis.confirming = False
    stage.bus.unfollow("r")
    await _until(lambda: stage.redis.commands("SUNSUBSCRIBE") == [("r",)])
    stage.bus.follow("r")
    await _until(lambda: len(stage.redis.commands("SSUBSCRIBE")) == 2)
    stage.redis.states["r"] = Snapshot("e", 2)
    stage.redis.say(b"sunsubscribe", b"r", 0)
    await _until(stage.redis.answers.empty)
    assert stage.redis.loads == 1
    stage.redis.say(b"ssubscribe", b"r", 1)
    await stage.told.until_rev("r", 2)
    assert len(stage.redis.commands("SSUBSCRIBE")) == 2
    await asyncio.wait_for(stage.bus.close(), PATIENCE)


async def test_following_and_leaving_in_one_go_leaves_nothing_behind() -> None:
    stage = Stage(replace(FAST, linger=0, audit=60, ping=60))
    for _ in range(5):
        stage.bus.follow("r")
        stage.bus.unfollow("r")
    await _until(lambda: stage.redis.commands("SUNSUBSCRIBE") != [])
    stage.bus.follow("r")
    await stage.told.until(lambda: stage.told.snapshots("r") != [])
    await asyncio.wait_for(stage.bus.close(), PATIENCE)


async def test_a_revision_that_went_back_under_one_epoch_asks_for_another_epoch(
    stage: Stage,
) -> None:
    await stage.followed("r", Snapshot("e", 9, {"page": 9}))
    stage.redis.states["r"] = Snapshot("e", 4, {"page": 4})
    stage.redis.say(b"ssubscribe", b"r", 1)
    await stage.told.until(lambda: stage.told.state("r").epoch == "e+")
    assert stage.redis.minted == [("r", "e", 9)]
    assert stage.told.state("r").registers == {"page": 4}


async def test_a_connection_that_answers_nothing_is_given_up() -> None:
    stage = Stage(replace(FAST, audit=60))
    await stage.followed("r", Snapshot("e", 1))
    stage.redis.answering = False
    await stage.told.until(lambda: stage.told.degradations == [True, False])
    assert stage.redis.connections >= 2
    assert stage.told.snapshots("r") != []
    await asyncio.wait_for(stage.bus.close(), PATIENCE)


async def test_a_receiver_that_fails_does_not_stop_the_bus(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.followed("r", Snapshot("e", 1))

    def fail(room: str, event: object) -> None:
        raise ValueError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(stage.told, "changed", fail)
        stage.redis.publish("r", Change("e", 2))
        await _until(lambda: stage.bus.known("r") == ("e", 2, ""))
    assert stage.redis.connections == 1
    stage.redis.states["r"] = Snapshot("e", 3)
    stage.redis.say(b"ssubscribe", b"r", 1)
    await stage.told.until_rev("r", 3)


async def _until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not met():
            await asyncio.sleep(0)


# Rooms whose slot another server has


def _moved(room: str) -> MovedError:
    return MovedError(f"{slot_of(room.encode())} 127.0.0.1:1")


async def test_a_subscription_that_is_redirected_is_told_and_breaks_nothing(stage: Stage) -> None:
    await stage.followed("r", Snapshot("e", 1, {"page": 1}))
    stage.redis.confirming = False
    stage.redis.say(b"sunsubscribe", b"r", 0)
    await _until(lambda: len(stage.redis.commands("SSUBSCRIBE")) == 2)
    stage.redis.answers.put_nowait(_moved("r"))
    await _until(lambda: stage.redis.elsewhere == [slot_of(b"r")])
    # Nobody took the room away, as when the slot has come back: it is asked for again.
    await _until(lambda: len(stage.redis.commands("SSUBSCRIBE")) == 3)
    stage.redis.states["r"] = Snapshot("e", 2, {"page": 2})
    stage.redis.say(b"ssubscribe", b"r", 1)
    await stage.told.until_rev("r", 2)
    assert stage.redis.connections == 1
    assert stage.told.degradations == []


async def test_a_room_goes_to_another_bus_with_what_is_known_of_it(stage: Stage) -> None:
    await stage.followed("r", Snapshot("e", 5, {"page": 5}))
    other = Stage(replace(FAST, audit=60, ping=60))
    # The other server has less than this node has seen: it is held to that.
    other.redis.states["r"] = Snapshot("e", 3, {"page": 3})
    (released,) = stage.bus.release(lambda channel: channel == b"r")
    other.bus.adopt(released, degraded=False)
    await other.told.until(lambda: other.told.state("r").epoch == "e+")
    assert other.redis.minted == [("r", "e", 5)]
    assert other.told.state("r").registers == {"page": 3}
    assert stage.bus.following == 0
    await _until(lambda: ("r",) in stage.redis.commands("SUNSUBSCRIBE"))
    await asyncio.wait_for(other.bus.close(), PATIENCE)


async def test_a_room_that_only_lingers_goes_nowhere(stage: Stage) -> None:
    await stage.followed("r", Snapshot("e", 1))
    stage.bus.unfollow("r")
    assert stage.bus.release(lambda channel: True) == []
    assert stage.bus.following == 0
