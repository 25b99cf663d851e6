"""Whoever comes late to a long chat waits for it alone."""

from __future__ import annotations

import asyncio

import pytest

from server.fanout.backend import Snapshot
from server.live import latecomers as live_latecomers
from server.live.room import LiveRoom
from server.live.talk import Tellings
from server.live.wording import OwnWording
from server.live.work import Work
from tests.live.one_room import Room, said
from tests.live.peer import PATIENCE, Peer, render

KEPT = 100


class Busy(Room):
    """A room with a long chat on a node whose heavy work the test does."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()
        self.live = LiveRoom("room", OwnWording(self.pages), self.lag, render, work=self.work)  # type: ignore[arg-type]
        self.rev = KEPT
        self.live.take(Snapshot(epoch="e", rev=KEPT, registers={}, chat=self.said()))

    @staticmethod
    def said() -> list[dict[str, object]]:
        return [said(rev, "x" * 2_000) for rev in range(1, KEPT + 1)]


@pytest.fixture
async def room() -> Busy:
    room = Busy()
    here, _ = room.enter("here")
    await room.settled()
    assert here.of("chat")
    room.say("and this")  # from now on all of it has to be built again for newcomers
    await room.settled()
    return room


def heard(peer: Peer) -> list[int]:
    """The revisions of the messages that a client has."""
    known: list[int] = []
    for chat in peer.of("chat"):
        known = [] if chat["whole"] else known
        known += [message["rev"] for message in chat["messages"]]
    return known


async def test_who_is_here_is_told_while_a_newcomer_waits_for_a_long_chat(room: Busy) -> None:
    other, _ = room.enter("other here")
    await room.settled()
    room.say("again")
    await room.settled()
    async with room.work.piece():
        late, _ = room.enter("late")
        room.change(x=1)
        room.say("hello")
        async with asyncio.timeout(PATIENCE):
            while other.revs[-1] < room.rev:
                await asyncio.sleep(0)
        assert late.messages == []
    await room.settled()
    assert late.revs == [room.rev]
    assert heard(late) == [*range(1, KEPT + 2), KEPT + 2, KEPT + 4]
    room.say("to all")
    await room.settled()
    assert heard(late)[-1] == heard(other)[-1] == room.rev


async def test_a_newcomer_is_told_also_where_people_never_stop_talking(
    room: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Tellings.make_ready

    async def make_ready(self: Tellings, epoch: str, upto: int) -> None:
        await made(self, epoch, upto)
        room.say("and so on")
        while room.live.snapshot().rev != shown():
            await asyncio.sleep(0)

    def shown() -> int:
        (audience,) = room.live._audiences.values()
        return audience._shown.rev if audience._shown else -1

    monkeypatch.setattr(Tellings, "make_ready", make_ready)
    late, _ = room.enter("late")
    await room.settled()
    assert late.revs == [room.rev]
    assert room.rev == KEPT + 1 + live_latecomers.TRIES


async def test_who_has_missed_much_but_not_all_is_told_all(room: Busy) -> None:
    slow, _ = room.enter("slow")
    await room.settled()
    slow.stall()
    for number in range(40):
        room.say(f"{number}" * 1_000)
        await room.settled()
    slow.drain()
    room.sweep()
    await room.settled()
    assert heard(slow)[-1] == slow.revs[-1] == room.rev


async def test_a_newcomer_who_leaves_before_it_was_told_is_not_waited_for(room: Busy) -> None:
    async with room.work.piece():
        late, viewer = room.enter("late")
        await asyncio.sleep(0)
        room.live.remove(viewer)
    await room.settled()
    assert late.messages == []
    assert room.work.waiting == 0


async def test_nobody_is_told_after_the_room_was_retired(room: Busy) -> None:
    async with room.work.piece():
        late, _ = room.enter("late")
        await asyncio.sleep(0)
        room.live.retire()
    await room.settled()
    assert late.messages == []
    assert room.work.waiting == 0
