"""What was said reaches everyone once and in order; what that costs is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from server.document.messages import Said
from server.fanout.backend import Change, Snapshot
from server.live import talk as live_talk
from server.live.frames import Frame
from server.live.talk import KEPT, KEPT_BYTES, Talk
from tests.live.one_room import Room, said
from tests.live.peer import Message, Peer, document, page


def heard(peer: Peer) -> list[str]:
    """The bodies that a client has which applies all messages, in its order."""
    known: dict[str, str] = {}
    for told in peer.of("chat"):
        if told["whole"]:
            known = {}
        known |= {message["id"]: message["body"] for message in told["messages"]}
    return list(known.values())


def bodies(told: Message) -> list[str]:
    return [message["body"] for message in told["messages"]]


async def test_a_newcomer_gets_all_that_was_said_lately_after_its_state_and_page(
    room: Room,
) -> None:
    chat = [said(1, "first"), said(2, "second")]
    state = {"document": document(), "page": page()}
    room.live.take(Snapshot("e", 2, state, chat))
    peer, _ = room.enter()
    told = await peer.expect("chat", whole=True)
    assert bodies(told) == ["first", "second"]
    assert (told["epoch"], told["rev"]) == ("e", 2)
    assert told["messages"][0] == {**chat[0], "html": "<div>first</div>"}
    kinds = [message["type"] for message in peer.messages]
    assert kinds[:5] == ["state", "page", "chat", "here", "status"]


async def test_a_newcomer_to_a_silent_room_is_told_that_nothing_was_said(room: Room) -> None:
    room.snapshot()
    peer, _ = room.enter()
    told = await peer.expect("chat")
    assert (told["whole"], told["messages"], told["rev"]) == (True, [], 0)


async def test_what_is_said_reaches_everyone_with_its_revision_in_one_write(room: Room) -> None:
    peers = [room.enter(str(n))[0] for n in range(3)]
    room.snapshot(document=document(), page=page())
    await room.settled()
    for peer in peers:
        peer.writes.clear()
    room.say("hello")
    for peer in peers:
        told = await peer.expect("chat", whole=False)
        assert bodies(told) == ["hello"]
        assert peer.of("state")[-1]["rev"] == told["rev"] == 2
        assert all(kind in peer.writes[0] for kind in (b'"state"', b'"chat"'))


async def test_a_message_is_rendered_once_however_many_hear_it(room: Room) -> None:
    rendered: list[str] = []

    def counting(message: Mapping[str, Any]) -> str:
        rendered.append(message["id"])
        return "<div></div>"

    room.live.facts.talk._render = counting
    for n in range(20):
        room.enter(str(n))
    room.snapshot()
    room.say("hello")
    await room.settled()
    room.live.take(Snapshot("e", 9, {}, [said(2, "hello"), said(9, "later")]))
    peer, _ = room.enter("late")
    await peer.expect("chat", rev=9)
    assert rendered == ["m2", "m9"]


async def test_whoever_lags_gets_what_it_missed_and_nothing_twice(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot()
    room.say("before")
    await peer.expect("state", rev=2)
    await room.settled()
    peer.stall()
    for number in range(5):
        room.say(f"missed {number}")
        await room.settled()
    assert heard(peer) == ["before"]
    peer.drain()
    room.sweep()
    told = await peer.expect("chat", rev=7)
    assert not told["whole"]
    assert bodies(told) == [f"missed {n}" for n in range(5)]


async def test_whoever_missed_more_than_is_kept_begins_anew_with_what_is_kept(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot()
    room.say("before")
    await peer.expect("state", rev=2)
    await room.settled()
    peer.stall()
    for number in range(KEPT + 1):
        room.say(f"missed {number}")
    await room.settled()
    peer.drain()
    room.sweep()
    told = await peer.expect("chat", whole=True, rev=room.rev)
    assert bodies(told) == [f"missed {n}" for n in range(1, KEPT + 1)]


async def test_a_burst_of_ten_thousand_is_told_by_what_is_kept_of_it(room: Room) -> None:
    peers = [room.enter(str(n))[0] for n in range(10)]
    room.snapshot(document=document(), page=page())
    await room.settled()
    for peer in peers:
        peer.messages.clear()
        peer._at = 0
    for number in range(10_000):
        room.say(f"spam {number}")
    room.change(page=page(offset=300))
    for peer in peers:
        await peer.expect("page", first_row=301)
    await room.settled()
    for peer in peers:
        assert sum(len(told["messages"]) for told in peer.of("chat")) <= KEPT
        assert heard(peer)[-1] == "spam 9999"


async def test_the_longest_messages_leave_fewer_of_them(room: Room) -> None:
    room.enter()
    room.snapshot()
    for _ in range(KEPT):
        room.say("&" * 20_000)
    late, _ = room.enter("late")
    told = await late.expect("chat", whole=True)
    assert 10 < len(told["messages"]) < KEPT
    assert len(late.writes[0]) < 2 * KEPT_BYTES


def test_of_a_long_chat_only_what_is_kept_of_it_is_rendered() -> None:
    rendered: list[Any] = []

    def render(message: Mapping[str, Any]) -> str:
        rendered.append(message["rev"])
        return "x" * (KEPT_BYTES // 10)

    live = Talk(render)
    live.replace([said(rev, "word") for rev in range(1, KEPT)])
    told, whole = live.since(-1, KEPT)
    assert whole
    assert [each.rev for each in told] == list(range(KEPT - 9, KEPT))
    assert rendered == list(range(KEPT - 1, KEPT - 11, -1))
    assert live.since(KEPT - 10, KEPT)[1] is False
    assert live.since(KEPT - 11, KEPT)[1] is True


async def test_while_a_long_chat_is_rendered_others_have_their_turn() -> None:
    order: list[str] = []

    def render(message: Mapping[str, Any]) -> str:
        order.append("rendered")
        return "<div></div>"

    async def other() -> None:
        order.append("other")

    turn = asyncio.create_task(other())
    messages = await live_talk.told([said(rev, "word") for rev in range(1, 201)], render)
    await turn
    assert [message.rev for message in messages] == list(range(1, 201))
    assert order.index("other") <= live_talk.SLICE


async def test_with_a_new_epoch_everyone_begins_anew(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot()
    room.say("lost")
    await peer.expect("chat", rev=2)
    room.live.take(Snapshot("e2", 1, {}, [said(1, "all there is")]))
    told = await peer.expect("chat", epoch="e2")
    assert told["whole"]
    assert heard(peer) == ["all there is"]


async def test_a_snapshot_in_between_tells_what_was_missed_only(room: Room) -> None:
    peer, _ = room.enter()
    room.snapshot()
    room.say("known")
    await peer.expect("chat", rev=2)
    room.live.take(Snapshot("e", 4, {}, [said(2, "known"), said(3, "one"), said(4, "two")]))
    told = await peer.expect("chat", rev=4)
    assert (told["whole"], bodies(told)) == (False, ["one", "two"])


async def test_who_asks_gets_all_of_it_again(room: Room) -> None:
    peer, viewer = room.enter()
    room.snapshot()
    room.say("hello")
    await room.settled()
    room.live.resend(viewer)
    told = (await peer.expect("chat", whole=True, rev=2))["messages"]
    assert [message["body"] for message in told] == ["hello"]


async def test_the_tail_is_encoded_once_for_all_newcomers(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.enter("first")
    room.snapshot()
    for number in range(50):
        room.say(f"{number}")
    await room.settled()
    tellings = next(iter(room.live._audiences.values()))._tellings
    built: list[bool] = []
    original = tellings._encode

    def encode(epoch: str, messages: Sequence[Said], whole: bool) -> Frame:
        built.append(whole)
        return original(epoch, messages, whole)

    monkeypatch.setattr(tellings, "_encode", encode)
    for n in range(100):
        peer, _ = room.enter(str(n))
        await peer.expect("chat", whole=True, rev=room.rev)
    assert built.count(True) <= 1


def test_a_message_that_lacks_something_is_told_all_the_same() -> None:
    talk = Talk(lambda message: "<div></div>")
    talk.add({"rev": 1})
    (message,), _ = talk.since(0, 1)
    assert (message.id, message.name, message.rev) == ("", "", 1)
    assert live_talk.KEPT == 200


def test_what_is_said_after_the_revision_that_is_shown_waits() -> None:
    talk = Talk(lambda message: "")
    for rev in (1, 2, 3):
        talk.add(said(rev))
    messages, whole = talk.since(1, 2)
    assert ([message.rev for message in messages], whole) == ([2], False)
    assert Change("e", 1).again is False
