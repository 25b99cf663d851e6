"""The promises of server/fanout/backend.py, held against every backend."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest

from server.errors import Conflict, Missing, Unavailable
from server.fanout.backend import (
    LOBBY,
    Backend,
    Change,
    Growth,
    Here,
    Present,
    Signal,
    Snapshot,
    StoredBlock,
)
from server.fanout.kept import CHAT_BYTES, CHAT_KEPT, weight
from tests.fanout.nodes import LEASE, PATIENCE, Nodes, eventually


@pytest.fixture
def room() -> str:
    return str(uuid.uuid4())


def entry(number: int) -> bytes:
    return number.to_bytes(8, "big") * 2


def block(number: int, data: bytes = b"") -> StoredBlock:
    return StoredBlock(number, data or b"block %d" % number, entry(number))


# Changes


async def test_an_untouched_room_is_empty_and_has_no_epoch(nodes: Nodes, room: str) -> None:
    node = await nodes.start("a")
    assert await node.backend.snapshot(room) == Snapshot()


async def test_the_first_change_mints_an_epoch_and_is_revision_one(nodes: Nodes, room: str) -> None:
    node = await nodes.start("a")
    first = await node.backend.append(room, set={"page": {"offset": 0}})
    second = await node.backend.append(room, set={"page": {"offset": 100}})
    assert first.epoch
    assert first.rev == 1
    assert (second.epoch, second.rev) == (first.epoch, 2)


async def test_a_change_reaches_the_followers_on_every_node(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    for node in (a, b):
        node.backend.follow(room)
        await node.told.until(lambda told=node.told: told.snapshots(room) != [])
    change = await a.backend.append(
        room, set={"page": {"offset": 0}}, chat={"body": "hi"}, fields={"document_id": "d"}
    )
    for node in (a, b):
        await node.told.until_rev(room, 1)
        assert node.told.changes(room) == [change]
        assert node.told.state(room).fields == {"document_id": "d"}


async def test_a_late_joiner_is_told_the_present_state(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    for offset in range(3):
        await a.backend.append(room, set={"page": {"offset": offset}}, chat={"n": offset})
    b.backend.follow(room)
    await b.told.until(lambda: b.told.of(room) != [])
    state = b.told.of(room)[0]
    assert isinstance(state, Snapshot)
    assert state.rev == 3
    assert state.registers == {"page": {"offset": 2}}
    assert [(message["n"], message["rev"]) for message in state.chat] == [(0, 1), (1, 2), (2, 3)]


async def test_who_joins_while_changes_pour_in_misses_none_and_sees_none_twice(
    nodes: Nodes, room: str
) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    count = 300

    async def pour() -> None:
        for number in range(1, count + 1):
            await a.backend.append(room, set={"n": number})
            await asyncio.sleep(0)

    pouring = asyncio.create_task(pour())
    await eventually(lambda: _reached(a.backend, room, 20))
    for _ in range(5):
        b.backend.follow(room)
        await asyncio.sleep(0.005)
        b.backend.unfollow(room)
    b.backend.follow(room)
    await asyncio.wait_for(pouring, PATIENCE)
    await b.told.until_rev(room, count)
    assert b.told.state(room).registers == {"n": count}
    assert b.told.broken == []


async def test_changes_of_all_nodes_get_revisions_without_gaps(nodes: Nodes, room: str) -> None:
    started = [await nodes.start(name) for name in "abc"]
    started[0].backend.follow(room)
    changes = await asyncio.wait_for(
        asyncio.gather(
            *(node.backend.append(room, chat={"n": n}) for n in range(20) for node in started)
        ),
        PATIENCE,
    )
    assert sorted(change.rev for change in changes) == list(range(1, 61))
    assert len({change.epoch for change in changes}) == 1
    await started[0].told.until_rev(room, 60)


async def test_rooms_do_not_hear_of_each_other(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    other = str(uuid.uuid4())
    a.backend.follow(room)
    await a.told.until(lambda: a.told.snapshots(room) != [])
    await a.backend.append(other, set={"page": 1})
    await a.backend.append(room, set={"page": 2})
    await a.told.until_rev(room, 1)
    assert a.told.of(other) == []


async def test_a_null_clears_a_register_and_followers_are_told_the_null(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a")
    a.backend.follow(room)
    await a.backend.append(room, set={"upload": {"id": "u"}, "page": 1})
    await a.backend.append(room, set={"upload": None})
    await a.told.until_rev(room, 2)
    assert (await a.backend.snapshot(room)).registers == {"page": 1}
    assert a.told.state(room).registers == {"page": 1}
    assert [change.set for change in a.told.changes(room) if change.rev == 2] in (
        [{"upload": None}],
        [],  # told by a snapshot
    )


VALUES: list[Any] = [
    {},
    [],
    {"a": {}, "b": [], "c": [[]]},
    "",
    "Übergröße\u2028\x00\x1f\U0001f600\ud7ff",
    0,
    False,
    2**53 + 1,
    0.1,
    ["null", None],
    "null",
    {"ключ\t\"'}": "{значение}"},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_values_come_back_as_they_were_set(nodes: Nodes, room: str, value: Any) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    b.backend.follow(room)
    await b.told.until(lambda: b.told.snapshots(room) != [])
    change = await a.backend.append(
        room, set={"ключ": value}, chat={"body": value}, fields={"имя": "§ 1"}
    )
    await b.told.until_rev(room, 1)
    state = await b.backend.snapshot(room)
    for found in (change.set["ключ"], b.told.changes(room)[0].set["ключ"], state.registers["ключ"]):
        assert found == value
        assert type(found) is type(value)
    assert [message["body"] for message in state.chat] == [value]
    assert state.fields == {"имя": "§ 1"}


# Guards and requests


async def test_a_guard_that_does_not_hold_changes_nothing(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.append(room, set={"page": 1}, fields={"document_id": "d1"})
    before = await a.backend.snapshot(room)
    for expect in ({"document_id": ""}, {"document_id": "d2"}, {"upload_id": "u"}):
        with pytest.raises(Conflict):
            await a.backend.append(
                room, set={"page": 2}, chat={}, fields={"document_id": "d3"}, expect=expect
            )
    assert await a.backend.snapshot(room) == before


async def test_a_guard_that_holds_lets_the_change_pass(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.append(room, fields={"document_id": "d1"}, expect={"document_id": ""})
    await a.backend.append(
        room, fields={"document_id": ""}, expect={"document_id": "d1", "upload_id": ""}
    )
    change = await a.backend.append(room, set={"page": 1}, expect={"document_id": ""})
    assert change.rev == 3
    assert (await a.backend.snapshot(room)).fields == {}


async def test_only_one_of_many_rivals_passes_the_same_guard(nodes: Nodes, room: str) -> None:
    started = [await nodes.start(name) for name in "ab"]
    outcomes = await asyncio.wait_for(
        asyncio.gather(
            *(
                node.backend.append(room, fields={"upload_id": f"{n}"}, expect={"upload_id": ""})
                for n in range(10)
                for node in started
            ),
            return_exceptions=True,
        ),
        PATIENCE,
    )
    assert sum(isinstance(outcome, Change) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19


async def test_a_request_is_applied_once_however_often_it_is_sent(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    first = await a.backend.append(room, chat={"body": "hi"}, request="r1")
    await a.backend.append(room, chat={"body": "between"})
    again = await b.backend.append(room, chat={"body": "hi"}, request="r1")
    assert (again.epoch, again.rev) == (first.epoch, first.rev)
    assert [m["body"] for m in (await a.backend.snapshot(room)).chat] == ["hi", "between"]
    assert (first.again, again.again) == (False, True)
    assert (await a.backend.append(room, chat={"body": "new"}, request="r2")).rev == 3


async def test_a_request_sent_again_does_not_fail_on_what_it_changed_itself(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a")
    arguments: dict[str, Any] = {
        "fields": {"upload_id": "u"},
        "expect": {"upload_id": ""},
        "request": "r1",
    }
    first = await a.backend.append(room, **arguments)
    again = await a.backend.append(room, **arguments)
    assert (again.epoch, again.rev) == (first.epoch, first.rev)


# Chat


async def test_a_room_remembers_exactly_its_last_200_messages(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    a.backend.follow(room)
    for number in range(250):
        await a.backend.append(room, chat={"n": number})
    expected = list(range(50, 250))
    assert [message["n"] for message in (await a.backend.snapshot(room)).chat] == expected
    await a.told.until_rev(room, 250)
    assert [message["n"] for message in a.told.state(room).chat] == expected


async def test_of_the_longest_messages_the_oldest_go_first(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    a.backend.follow(room)
    # What 4,000 characters can take.
    said = [{"id": str(number), "body": "\U0001f600" * 4000} for number in range(80)]
    fit = CHAT_BYTES // max(map(weight, said))
    for message in said:
        await a.backend.append(room, chat=message)
    expected = [message["id"] for message in said[-fit:]]
    kept = (await a.backend.snapshot(room)).chat
    assert [message["id"] for message in kept] == expected
    assert sum(map(weight, kept)) <= CHAT_BYTES
    await a.told.until_rev(room, 80)
    assert [message["id"] for message in a.told.state(room).chat] == expected
    # Short ones have their place again, once these are gone.
    for number in range(CHAT_KEPT):
        await a.backend.append(room, chat={"id": f"short {number}", "body": "x"})
    assert len((await a.backend.snapshot(room)).chat) == CHAT_KEPT


async def test_200_messages_of_4000_letters_are_all_kept(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    for number in range(CHAT_KEPT):
        await a.backend.append(room, chat={"id": str(number), "body": "x" * 4000})
    assert len((await a.backend.snapshot(room)).chat) == CHAT_KEPT


async def test_nothing_is_said_under_the_id_of_a_message_that_is_kept(
    nodes: Nodes, room: str
) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    # Its request is another one, or was forgotten.
    first = await a.backend.append(room, chat={"id": "m", "body": "hers"}, request="r1")
    await a.backend.append(room, set={"page": 1})
    again = await b.backend.append(
        room, chat={"id": "m", "body": "his"}, request="r2", expect={"none": "such"}
    )
    assert (again.epoch, again.rev, again.again) == (first.epoch, first.rev, True)
    snapshot = await b.backend.snapshot(room)
    assert snapshot.rev == 2
    assert [message["body"] for message in snapshot.chat] == ["hers"]


async def test_an_id_is_known_as_long_as_its_message_and_its_room(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    for number in range(CHAT_KEPT + 1):
        await a.backend.append(room, chat={"id": str(number), "body": "hers"})
    assert not (await a.backend.append(room, chat={"id": "0", "body": "x"})).again
    assert (await a.backend.append(room, chat={"id": "2", "body": "x"})).again
    await a.backend.append(room, set={"page": 1}, forget=[])
    assert not (await a.backend.append(room, chat={"id": "2", "body": "x"})).again


# Following


async def test_every_follower_gets_the_state_soon(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.append(room, set={"page": 1})
    for number in range(1, 4):
        a.backend.follow(room)
        await a.told.until(lambda number=number: len(a.told.snapshots(room)) >= number)
        assert a.told.snapshots(room)[-1].registers == {"page": 1}


async def test_following_is_counted(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    a.backend.follow(room)
    a.backend.follow(room)
    await a.told.until(lambda: a.told.snapshots(room) != [])
    a.backend.unfollow(room)
    await a.backend.append(room, set={"page": 1})
    await a.told.until_rev(room, 1)


async def test_who_comes_back_while_the_room_lingers_gets_the_present_state_first(
    nodes: Nodes, room: str
) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    a.backend.follow(room)
    await a.told.until(lambda: a.told.snapshots(room) != [])
    a.backend.unfollow(room)
    a.told.forget()
    change = await b.backend.append(room, set={"page": 7})
    a.backend.follow(room)
    await a.told.until_rev(room, change.rev)
    assert isinstance(a.told.of(room)[0], Snapshot)


async def test_who_comes_back_after_the_room_lingered_gets_the_present_state_first(
    nodes: Nodes, room: str
) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    a.backend.follow(room)
    await a.told.until(lambda: a.told.snapshots(room) != [])
    a.backend.unfollow(room)
    await asyncio.sleep(0.5)  # longer than the linger, which nobody tells
    for offset in range(3):
        await b.backend.append(room, set={"page": offset})
    assert a.told.changes(room) == []
    a.told.forget()
    a.backend.follow(room)
    await a.told.until_rev(room, 3)
    assert isinstance(a.told.of(room)[0], Snapshot)
    await b.backend.append(room, set={"page": 3})
    await a.told.until_rev(room, 4)


async def test_nothing_is_told_to_who_does_not_follow(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    b.backend.follow(room)
    a.backend.follow(room)
    await a.told.until(lambda: a.told.snapshots(room) != [])
    a.backend.unfollow(room)
    a.backend.unfollow(room)  # once too often does no harm
    a.told.forget()
    await a.backend.append(room, set={"page": 1})
    await b.told.until_rev(room, 1)
    assert a.told.of(room) == []


async def test_many_rooms_can_be_followed_at_once(nodes: Nodes) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    rooms = [str(uuid.uuid4()) for _ in range(450)]
    for name in rooms:
        a.backend.follow(name)
    await a.told.until(lambda: all(a.told.state(name).epoch == "" for name in rooms))
    for name in rooms:
        await b.backend.append(name, set={"page": 1})
    await a.told.until(lambda: all(a.told.state(name).rev == 1 for name in rooms))


# Who is here


async def test_viewers_are_summed_over_all_nodes(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    a.backend.follow(room)
    await a.backend.present({room: Present(2)})
    await a.told.until(lambda: a.told.here(room) == 2)
    await b.backend.present({room: Present(3)})
    await a.told.until(lambda: a.told.here(room) == 5)
    await b.backend.present({room: Present(0)})
    await a.told.until(lambda: a.told.here(room) == 2)
    await a.backend.present({room: Present(0)})
    await a.told.until(lambda: a.told.here(room) == 0)


async def test_a_new_follower_is_told_how_many_are_here(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    await a.backend.present({room: Present(4)})
    for _ in range(2):
        b.told.forget()
        b.backend.follow(room)
        await b.told.until(lambda: b.told.here(room) == 4)


async def test_the_same_count_is_not_told_again(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    a.backend.follow(room)
    await a.backend.present({room: Present(2)})
    await a.told.until(lambda: a.told.here(room) == 2)
    a.told.forget()
    for _ in range(3):
        await a.backend.present({room: Present(2)})
    await b.backend.present({room: Present(1)})
    await a.told.until(lambda: a.told.here(room) == 3)
    assert a.told.of(room) == [Here(3, {"a": None, "b": None})]


async def test_what_each_node_says_of_its_viewers_reaches_every_follower(
    nodes: Nodes, room: str
) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    for node in (a, b):
        node.backend.follow(room)
    of_a = {"people": [["v1", "Ötter “1”", None]], "pages": {}}
    await a.backend.present({room: Present(1, of_a)})
    await b.backend.present({room: Present(700, [])})
    both = Here(701, {"a": of_a, "b": []})
    for node in (a, b):
        await node.told.until(lambda node=node: node.told.of(room)[-1:] == [both])
    renamed = {"people": [["v1", "{}", 0.5]], "pages": {}}
    await a.backend.present({room: Present(1, renamed)})
    await b.told.until(lambda: b.told.of(room)[-1:] == [Here(701, {"a": renamed, "b": []})])
    assert await b.backend.who(room) == Here(701, {"a": renamed, "b": []})
    assert await b.backend.who("nobody") == Here(0)
    late = await nodes.start("late")
    late.backend.follow(room)
    await late.told.until(lambda: late.told.of(room)[-1:] == [Here(701, {"a": renamed, "b": []})])


async def test_viewers_of_a_node_that_fell_silent_are_forgotten(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    a.backend.follow(room)
    await a.told.until(lambda: a.told.here(room) == 0)
    await b.backend.present({room: Present(3)})
    await a.told.until(lambda: a.told.here(room) == 3)

    async def forgotten() -> bool:
        await a.backend.present({room: Present(2)})
        return a.told.here(room) == 2

    await eventually(forgotten)


async def test_it_takes_no_further_word_to_forget_a_silent_node(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    a.backend.follow(room)
    await b.backend.present({room: Present(3)})
    await a.told.until(lambda: a.told.here(room) == 3)
    # Said late in the life of the other's lease, and then never again.
    await asyncio.sleep(LEASE * 0.75)
    await a.backend.present({room: Present(2)})
    await a.told.until(lambda: a.told.of(room)[-1] in (Here(2, {"a": None}), Here(0)))


# What is of use now or never


async def test_a_signal_reaches_all_who_follow_and_is_kept_nowhere(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    for node in (a, b):
        node.backend.follow(room)
        await node.told.until(lambda node=node: node.told.snapshots(room) != [])
    value = {"row": 7, "name": "Ötter", "of": [None, {}]}
    await a.backend.signal(room, value)
    for node in (a, b):
        await node.told.until(lambda node=node: Signal(value) in node.told.of(room))
    assert (await a.backend.snapshot(room)) == Snapshot()
    late = await nodes.start("late")
    late.backend.follow(room)
    await late.told.until(lambda: late.told.snapshots(room) != [])
    await late.backend.signal(room, None)
    await late.told.until(lambda: Signal(None) in late.told.of(room))
    assert Signal(value) not in late.told.of(room)


async def test_a_signal_to_a_room_that_nobody_follows_is_nothing(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.signal(room, 1)
    assert (await a.backend.snapshot(room)) == Snapshot()


# Documents


async def test_blocks_come_back_on_another_node(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    data = [bytes(range(256)) * 3, b"\x00\r\n", b"last"]
    await a.backend.put_blocks(room, "d", [block(n, d) for n, d in enumerate(data)])
    assert await b.backend.get_blocks(room, "d", [2, 0, 1]) == [data[2], data[0], data[1]]
    assert await b.backend.get_blocks(room, "d", []) == []
    assert await b.backend.index(room, "d") == entry(0) + entry(1) + entry(2)
    assert await b.backend.index(room, "d", 1) == entry(1) + entry(2)
    assert await b.backend.index(room, "d", 3) == b""
    assert await b.backend.extent(room, "d") == (3, 3)


async def test_blocks_may_come_in_any_order_and_twice(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.put_blocks(room, "d", [block(3), block(1), block(4)])
    assert await a.backend.extent(room, "d") == (3, 5)
    await a.backend.put_blocks(room, "d", [block(0), block(1, b"new"), block(2)])
    assert await a.backend.extent(room, "d") == (5, 5)
    assert await a.backend.index(room, "d") == b"".join(entry(n) for n in range(5))
    assert await a.backend.get_blocks(room, "d", [1]) == [b"new"]


async def test_a_block_that_is_gone_is_missing(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.put_blocks(room, "d", [block(0)])
    for document, number in (("d", 1), ("other", 0)):
        with pytest.raises(Missing):
            await a.backend.get_blocks(room, document, [0, number])
    assert await a.backend.extent(room, "other") == (0, 0)
    assert await a.backend.index(room, "other") == b""


async def test_documents_of_one_room_are_apart(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.put_blocks(room, "d1", [block(0, b"one")])
    await a.backend.put_blocks(room, "d2", [block(0, b"two")])
    await a.backend.drop(room, "d1")
    assert await a.backend.extent(room, "d1") == (0, 0)
    assert await a.backend.get_blocks(room, "d2", [0]) == [b"two"]


async def test_an_incomplete_document_is_forgotten_unless_it_is_kept(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a", incomplete_life=0.5)
    await a.backend.append(room, set={"page": 1})
    await a.backend.put_blocks(room, "kept", [block(0)])
    await a.backend.put_blocks(room, "left", [block(0)])
    await a.backend.keep(room, ["kept", "unknown"])
    await eventually(lambda: _gone(a.backend, room, "left"))
    assert await a.backend.extent(room, "kept") == (1, 1)
    assert await a.backend.index(room, "left") == b""


async def test_a_block_that_comes_late_does_not_shorten_the_life_of_a_kept_document(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a", incomplete_life=0.5)
    await a.backend.append(room, set={"page": 1})
    await a.backend.put_blocks(room, "kept", [block(0)])
    await a.backend.keep(room, ["kept"])
    await a.backend.put_blocks(room, "kept", [block(0)])
    await a.backend.put_blocks(room, "left", [block(0)])
    await eventually(lambda: _gone(a.backend, room, "left"))
    assert await a.backend.extent(room, "kept") == (1, 1)


async def test_a_document_can_be_dropped_later(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.put_blocks(room, "d", [block(0)])
    await a.backend.keep(room, ["d"])
    await a.backend.drop(room, "d", after=0.3)
    assert await a.backend.get_blocks(room, "d", [0])
    await eventually(lambda: _gone(a.backend, room, "d"))
    await a.backend.drop(room, "unknown")


async def test_an_idle_room_ends_and_begins_anew_with_another_epoch(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a", room_life=0.4)
    first = await a.backend.append(room, set={"page": 1}, chat={"n": 1}, fields={"f": "1"})

    async def ended() -> bool:
        return await a.backend.snapshot(room) == Snapshot()

    await eventually(ended)
    second = await a.backend.append(room, chat={"n": 2}, expect={"f": ""})
    assert second.rev == 1
    assert second.epoch != first.epoch
    assert [message["n"] for message in (await a.backend.snapshot(room)).chat] == [2]


async def test_keep_lets_a_room_live_on(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a", room_life=0.6)
    await a.backend.append(room, set={"page": 1}, chat={"n": 1})
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        await a.backend.keep(room, [])
        await asyncio.sleep(0.1)
    state = await a.backend.snapshot(room)
    assert state.registers == {"page": 1}
    assert len(state.chat) == 1


async def test_the_lobby_never_ends(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a", room_life=0.4)
    await a.backend.append(LOBBY, set={"page": 1}, chat={"n": 1})
    await a.backend.append(room, set={"page": 1})
    await a.backend.keep(LOBBY, [])
    await eventually(lambda: _is_fresh(a.backend, room))
    state = await a.backend.snapshot(LOBBY)
    assert state.registers == {"page": 1}
    assert len(state.chat) == 1


# A document grows


async def test_a_room_with_a_life_of_its_own_ends_by_that(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a", room_life=100)
    await a.backend.put_blocks(room, "d", [block(0)])
    await a.backend.append(room, set={"page": 1}, chat={"body": "hi"}, fields={"life": "0.4"})
    await a.backend.keep(room, ["d"])
    await eventually(lambda: _is_gone(a.backend, room, "d"))
    await eventually(lambda: _is_fresh(a.backend, room))


async def test_no_room_lives_longer_than_the_backend_lets_it(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a", room_life=0.4)
    await a.backend.append(room, set={"page": 1}, fields={"life": "1000"})
    await eventually(lambda: _is_fresh(a.backend, room))


async def test_a_document_that_grew_in_a_room_with_a_life_of_its_own_ends_with_it(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a", room_life=100)
    await a.backend.put_blocks(room, "d", [block(0)])
    await a.backend.append(room, set={"page": 1}, fields={"life": "0.4"})
    await a.backend.append(room, set={"page": 2}, growth=Growth("d", [block(1)]))
    await eventually(lambda: _is_gone(a.backend, room, "d"))


async def test_what_is_forgotten_is_gone_for_everyone_in_one_step(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    for document in ("d", "e"):
        await a.backend.put_blocks(room, document, [block(0)])
    before = await a.backend.append(
        room, set={"page": 1, "document": {"id": "d"}}, chat={"body": "hi"}, fields={"key": "k"}
    )
    for node in (a, b):
        node.backend.follow(room)
        await node.told.until_rev(room, 1)
    after = await b.backend.append(
        room, set={"deleted": True}, fields={"life": "50"}, expect={"key": "k"}, forget=["d"]
    )
    assert after.epoch != before.epoch
    now = Snapshot(after.epoch, after.rev, {"deleted": True}, (), {"life": "50"})
    assert await a.backend.snapshot(room) == now
    for node in (a, b):
        await node.told.until(lambda told=node.told: told.state(room) == now)
    assert await a.backend.extent(room, "d") == (0, 0)
    assert await a.backend.extent(room, "e") == (1, 1)  # nobody spoke of it
    await a.backend.append(room, chat={"body": "anew"})
    for node in (a, b):
        await node.told.until_rev(room, after.rev + 1)
        assert [said["body"] for said in node.told.state(room).chat] == ["anew"]


async def test_nothing_is_forgotten_under_a_guard_that_does_not_hold(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a")
    await a.backend.put_blocks(room, "d", [block(0)])
    await a.backend.append(room, set={"page": 1}, fields={"key": "k"})
    before = await a.backend.snapshot(room)
    with pytest.raises(Conflict):
        await a.backend.append(room, set={}, expect={"key": "other"}, forget=["d"])
    assert await a.backend.snapshot(room) == before
    assert await a.backend.extent(room, "d") == (1, 1)


async def test_to_forget_twice_by_one_request_is_to_forget_once(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.append(room, set={"page": 1})
    first = await a.backend.append(room, set={"deleted": True}, forget=[], request="r")
    again = await a.backend.append(room, set={"deleted": True}, forget=[], request="r")
    assert (again.epoch, again.rev) == (first.epoch, first.rev)


async def _is_gone(backend: Backend, room: str, document: str) -> bool:
    return await backend.extent(room, document) == (0, 0)


async def _is_fresh(backend: Backend, room: str) -> bool:
    return await backend.snapshot(room) == Snapshot()


async def test_blocks_come_together_with_the_change_that_tells_of_them(
    nodes: Nodes, room: str
) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    await a.backend.put_blocks(room, "d", [block(0), block(1, b"short")])
    b.backend.follow(room)
    await b.told.until(lambda: b.told.snapshots(room) != [])
    change = await a.backend.append(
        room,
        set={"document": {"rows": 3}},
        fields={"document_stamp": "s1", "gone": ""},
        growth=Growth("d", [block(1, b"longer"), block(2)]),
    )
    await b.told.until_rev(room, 1)
    assert b.told.changes(room) == [change]
    assert await b.backend.get_blocks(room, "d", [0, 1, 2]) == [b"block 0", b"longer", b"block 2"]
    assert await b.backend.index(room, "d") == entry(0) + entry(1) + entry(2)
    assert await b.backend.extent(room, "d") == (3, 3)
    assert (await b.backend.snapshot(room)).fields == {"document_stamp": "s1"}


async def test_a_growth_under_a_guard_that_does_not_hold_changes_nothing(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a")
    await a.backend.put_blocks(room, "d", [block(0)])
    await a.backend.append(room, fields={"document_stamp": "s1"})
    growth = Growth("d", [block(0, b"longer"), block(1)])
    with pytest.raises(Conflict):
        await a.backend.append(
            room, set={"page": 1}, expect={"document_stamp": "s0"}, growth=growth
        )
    assert await a.backend.get_blocks(room, "d", [0]) == [b"block 0"]
    assert await a.backend.extent(room, "d") == (1, 1)
    assert (await a.backend.snapshot(room)).rev == 1


async def test_of_many_growths_at_once_one_is_stored_and_the_others_hear_of_it(
    nodes: Nodes, room: str
) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    await a.backend.put_blocks(room, "d", [block(0)])
    results = await asyncio.gather(
        *(
            node.backend.append(
                room,
                fields={"document_stamp": f"{name}{number}"},
                expect={"document_stamp": ""},
                growth=Growth("d", [block(0, b"from %s%d" % (name.encode(), number))]),
            )
            for number in range(10)
            for name, node in (("a", a), ("b", b))
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Change) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19
    stamp = (await b.backend.snapshot(room)).fields["document_stamp"]
    assert await b.backend.get_blocks(room, "d", [0]) == [b"from " + stamp.encode()]


async def test_a_growth_that_is_asked_for_twice_is_stored_once(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    await a.backend.put_blocks(room, "d", [block(0)])
    first = await a.backend.append(
        room, request="r", fields={"s": "1"}, expect={"s": ""}, growth=Growth("d", [block(1)])
    )
    await b.backend.append(room, growth=Growth("d", [block(1, b"grown since")]))
    again = await b.backend.append(
        room, request="r", fields={"s": "1"}, expect={"s": ""}, growth=Growth("d", [block(1)])
    )
    assert (again.epoch, again.rev) == (first.epoch, first.rev)
    assert await a.backend.get_blocks(room, "d", [1]) == [b"grown since"]


async def test_a_document_that_is_gone_does_not_come_back_as_its_end(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a")
    await a.backend.append(room, set={"page": 1})
    with pytest.raises(Missing):
        await a.backend.append(room, set={"page": 2}, growth=Growth("d", [block(7)]))
    assert await a.backend.extent(room, "d") == (0, 0)
    assert (await a.backend.snapshot(room)).registers == {"page": 1}


async def test_a_document_that_grew_lives_as_long_as_its_room(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a", incomplete_life=0.5)
    await a.backend.put_blocks(room, "left", [block(0)])
    await a.backend.put_blocks(room, "d", [block(0)])
    await a.backend.append(room, growth=Growth("d", [block(1)]))
    await eventually(lambda: _gone(a.backend, room, "left"))
    assert await a.backend.extent(room, "d") == (2, 2)
    assert await a.backend.index(room, "d") == entry(0) + entry(1)


async def test_a_growth_by_nothing_is_a_change_like_others(nodes: Nodes, room: str) -> None:
    a = await nodes.start("a")
    await a.backend.append(room, set={"page": 1}, growth=Growth("unknown", []))
    assert (await a.backend.snapshot(room)).registers == {"page": 1}


# Beginning and end


async def test_all_nodes_have_the_same_time(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    for node in (a, b):
        node.backend.follow(room)
        await node.told.until(lambda told=node.told: told.snapshots(room) != [])
    assert abs(a.backend.now_ms() - b.backend.now_ms()) < 200
    assert abs(a.backend.now_ms() - time.time() * 1000) < 2000


async def test_a_backend_that_works_passes_the_check_and_is_not_degraded(
    nodes: Nodes, room: str
) -> None:
    a = await nodes.start("a")
    await asyncio.wait_for(a.backend.check(), PATIENCE)
    a.backend.follow(room)
    await a.told.until(lambda: a.told.snapshots(room) != [])
    assert a.told.degradations == []


async def test_closing_twice_does_no_harm_and_ends_the_telling(nodes: Nodes, room: str) -> None:
    a, b = await nodes.start("a"), await nodes.start("b")
    a.backend.follow(room)
    await a.told.until(lambda: a.told.snapshots(room) != [])
    await asyncio.wait_for(a.backend.close(), PATIENCE)
    await asyncio.wait_for(a.backend.close(), PATIENCE)
    with pytest.raises(Unavailable):
        await a.backend.check()
    a.told.forget()
    b.backend.follow(room)
    await b.backend.append(room, set={"page": 1})
    await b.told.until_rev(room, 1)
    assert a.told.events == []


async def _reached(backend: Backend, room: str, rev: int) -> bool:
    return (await backend.snapshot(room)).rev >= rev


async def _gone(backend: Backend, room: str, document: str) -> bool:
    return await backend.extent(room, document) == (0, 0)
