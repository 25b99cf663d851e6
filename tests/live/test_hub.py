"""The hub of a node with the in-memory fan-out, and viewers that only the test drains."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from server.errors import Draining, Full
from server.fanout import changes
from server.fanout.backend import Change, Snapshot
from server.fanout.memory import MemoryBackend, MemoryStore
from server.live import hub as live_hub
from server.live.frames import FULL_WINDOW, PING, close, encode_frame
from server.live.hub import Hub, restore_if_ended
from server.live.keeper import Keeper
from server.live.room import LiveRoom
from server.live.viewer import Viewer
from tests.live.peer import PATIENCE, Pages, Peer, document, page, render

ROOM = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


@dataclass
class Socket:
    """What the hub asks of a prepared WebSocket."""

    compress: int


@dataclass
class Guest:
    peer: Peer
    viewer: Viewer


class Node:
    """A hub with its backend, and short names for what a test does with it."""

    def __init__(
        self,
        store: MemoryStore,
        name: str,
        *,
        capacity: int = 100,
        heartbeat: float = 3600,
        stall_timeout: float = 30,
    ) -> None:
        self.pages = Pages()
        self.backend = MemoryBackend(name, store=store)
        self.hub = Hub(
            self.backend,
            self.pages,  # type: ignore[arg-type]
            Keeper(self.backend, 3600),
            capacity=capacity,
            heartbeat=heartbeat,
            stall_timeout=stall_timeout,
            render=render,
        )

    async def start(self) -> None:
        await self.backend.start(self.hub)
        self.hub.start()

    async def close(self) -> None:
        await self.hub.close()
        await self.backend.close()

    def join(self, room: str = ROOM, *, compress: int = 0) -> Guest:
        peer = Peer()
        self.hub.admit()
        viewer = self.hub.join(room, Socket(compress), peer)  # type: ignore[arg-type]
        self.hub.enter(viewer)
        return Guest(peer, viewer)

    async def show(self, offset: int = 0, room: str = ROOM) -> Change:
        return await self.backend.append(
            room, set={"document": document(), "page": page(offset=offset)}
        )


StartNode = Callable[..., Any]


@pytest.fixture
async def start_node() -> AsyncIterator[StartNode]:
    store = MemoryStore()
    nodes: list[Node] = []

    async def start(**options: Any) -> Node:
        node = Node(store, f"n{len(nodes)}", **options)
        nodes.append(node)
        await node.start()
        return node

    yield start
    for node in nodes:
        await node.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's tasks look after their matters often."""
    monkeypatch.setattr(live_hub, "SWEEP_INTERVAL", 0.005)
    monkeypatch.setattr(live_hub, "HERE_INTERVAL", 0.1)
    monkeypatch.setattr(live_hub, "HERE_DEBOUNCE", 0.01)
    monkeypatch.setattr(live_hub, "CARE_INTERVAL", 0.02)


async def until(met: Callable[[], bool]) -> None:
    """For what nobody tells."""
    async with asyncio.timeout(PATIENCE):
        while not met():
            await asyncio.sleep(0.005)


# Rooms


async def test_a_late_joiner_sees_the_page_the_others_see(start_node: StartNode) -> None:
    node = await start_node()
    first = node.join()
    await node.show(offset=300)
    seen = await first.peer.expect("page", first_row=301)
    late = node.join()
    assert (await late.peer.expect("state"))["rev"] == 1
    assert await late.peer.expect("page") == seen


async def test_a_change_on_one_node_is_shown_on_all(start_node: StartNode) -> None:
    guests = [(await start_node()).join() for _ in range(3)]
    node = await start_node()
    await node.show(offset=100)
    for guest in guests:
        await guest.peer.expect("page", first_row=101)


async def test_rooms_have_nothing_to_do_with_each_other(start_node: StartNode) -> None:
    node = await start_node()
    here, there = node.join(ROOM), node.join(OTHER)
    await there.peer.expect("state")
    await node.show(room=ROOM)
    await here.peer.expect("page")
    assert there.peer.of("page") == []


async def test_a_room_without_viewers_is_forgotten_and_followed_no_more(
    start_node: StartNode,
) -> None:
    node = await start_node()
    one, two = node.join(), node.join()
    await one.peer.expect("state")
    node.hub.leave(one.viewer)
    assert set(node.hub.rooms) == {ROOM}
    node.hub.leave(two.viewer)
    node.hub.leave(two.viewer)
    assert node.hub.rooms == {}
    assert node.hub.viewers == {}
    assert node.backend._follows == {}
    await node.show(offset=200)
    node.hub.changed(ROOM, Snapshot())
    again = node.join()
    await again.peer.expect("page", first_row=201)


async def test_nothing_of_a_viewer_is_left_when_it_has_gone(start_node: StartNode) -> None:
    node = await start_node()
    await node.show()
    stays = node.join()
    await stays.peer.expect("page")
    for _ in range(3):
        guests = [node.join() for _ in range(50)]
        guests[0].peer.stall()
        await node.show(offset=100)
        await guests[-1].peer.expect("page", first_row=101)
        await node.show(offset=0)
        for guest in guests:
            node.hub.leave(guest.viewer)
    del guests, guest
    gc.collect()
    left = [thing for thing in gc.get_objects() if isinstance(thing, Viewer | LiveRoom)]
    assert [type(thing) for thing in left].count(Viewer) == 1
    assert [type(thing) for thing in left].count(LiveRoom) == 1


async def test_a_client_that_agreed_to_another_window_gets_plain_frames(
    start_node: StartNode,
) -> None:
    node = await start_node()
    assert node.join(compress=FULL_WINDOW).viewer.deflate
    assert not node.join(compress=10).viewer.deflate
    assert not node.join(compress=0).viewer.deflate


async def test_the_loss_of_the_backend_is_told_in_all_rooms(start_node: StartNode) -> None:
    node = await start_node()
    guests = [node.join(ROOM), node.join(OTHER)]
    node.hub.degraded(True)
    for guest in guests:
        await guest.peer.expect("status", degraded=True)
    late = node.join("33333333-3333-4333-8333-333333333333")
    await late.peer.expect("status", degraded=True)
    node.hub.degraded(False)
    for guest in [*guests, late]:
        await guest.peer.expect("status", degraded=False)


# Lagging and stalled viewers


@pytest.mark.usefixtures("quick")
async def test_a_viewer_that_lagged_is_brought_to_the_newest_state_by_the_sweep(
    start_node: StartNode,
) -> None:
    node = await start_node()
    slow, brisk = node.join(), node.join()
    await node.show()
    await slow.peer.expect("page")
    await brisk.peer.expect("page")
    slow.peer.stall()
    for offset in (100, 200, 300):
        await node.show(offset)
        await brisk.peer.expect("page", first_row=offset + 1)
    slow.peer.drain()
    await slow.peer.expect("page", first_row=301)
    assert [shown["first_row"] for shown in slow.peer.of("page")] == [1, 301]


@pytest.mark.usefixtures("quick")
async def test_a_stalled_viewer_is_ended_and_costs_the_others_nothing(
    start_node: StartNode,
) -> None:
    node = await start_node(stall_timeout=1.0)
    stalled, brisk = node.join(), node.join()
    await node.show()
    await stalled.peer.expect("page")
    stalled.peer.stall()
    for offset in (100, 200, 300, 400):
        await node.show(offset)
        await brisk.peer.expect("page", first_row=offset + 1)
    assert not stalled.peer.aborted
    await stalled.peer.ended()
    assert stalled.peer.aborted
    assert node.hub.aborted == 1
    assert brisk.peer.revs[-5:] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("quick")
async def test_a_slow_viewer_that_takes_some_bytes_now_and_then_is_not_ended(
    start_node: StartNode,
) -> None:
    node = await start_node(stall_timeout=0.4, heartbeat=0.15)
    slow = node.join()
    await node.show()
    await slow.peer.expect("page")
    slow.peer.stall()
    await node.show(offset=100)
    for _ in range(30):  # 0.75 s: longer than both limits
        await asyncio.sleep(0.025)
        slow.peer.unsent -= 100
    assert not slow.peer.aborted
    slow.peer.drain()
    await slow.peer.expect("page", first_row=101)


@pytest.mark.usefixtures("quick")
async def test_a_stalled_viewer_of_a_room_where_nothing_happens_is_ended_too(
    start_node: StartNode,
) -> None:
    node = await start_node(stall_timeout=0.2, heartbeat=0.1)
    stalled = node.join()
    stalled.peer.stall()
    await stalled.peer.ended()
    assert stalled.peer.aborted


@pytest.mark.usefixtures("quick")
async def test_a_viewer_that_was_slow_when_its_heartbeat_came_gets_the_next_one(
    start_node: StartNode,
) -> None:
    node = await start_node(heartbeat=0.2)
    slow = node.join()
    await slow.peer.expect("heartbeat")
    slow.peer.stall()
    await until(lambda: slow.viewer.lagging)
    slow.peer.drain()
    await slow.peer.expect("heartbeat")


@pytest.mark.usefixtures("quick")
async def test_an_answer_to_a_slow_viewer_is_written_when_it_has_drained(
    start_node: StartNode,
) -> None:
    node = await start_node()
    slow = node.join()
    slow.peer.stall()
    answer = asyncio.create_task(node.hub.tell(slow.viewer, encode_frame(b'{"type":"ack"}')))
    await until(lambda: slow.viewer.lagging)
    slow.peer.drain()
    await asyncio.wait_for(answer, PATIENCE)
    assert slow.peer.of("ack")


# Heartbeats


async def test_a_heartbeat_says_the_last_revision_that_was_written(
    start_node: StartNode,
) -> None:
    node = await start_node(heartbeat=0.1)
    guest = node.join()
    beat = await guest.peer.expect("heartbeat")
    assert (beat["epoch"], beat["rev"]) == ("", 0)
    change = await node.show()
    await guest.peer.expect("state", rev=1)
    beat = await guest.peer.expect("heartbeat")
    assert (beat["epoch"], beat["rev"]) == (change.epoch, 1)
    assert any(b"heartbeat" in write and write.endswith(PING) for write in guest.peer.writes)


async def test_a_viewer_that_gives_no_sign_of_life_is_ended_and_no_other(
    start_node: StartNode,
) -> None:
    node = await start_node(heartbeat=0.1)
    silent, alive = node.join(), node.join()

    def answer() -> None:
        alive.viewer.seen_at = asyncio.get_running_loop().time()

    alive.peer.on_write = answer
    await silent.peer.ended()
    assert silent.peer.aborted
    await alive.peer.expect("heartbeat")
    assert not alive.peer.aborted


async def test_every_viewer_has_its_beat_however_they_are_spread(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_hub, "BEAT", 0.02)
    node = await start_node(heartbeat=0.2)
    guests = [node.join() for _ in range(25)]
    for guest in guests:
        await guest.peer.expect("heartbeat")
    beats = sum(len(guest.peer.of("heartbeat")) for guest in guests)
    assert beats <= 3 * len(guests)


# Who is here


@pytest.mark.usefixtures("quick")
async def test_everyone_learns_how_many_are_here_on_all_nodes(start_node: StartNode) -> None:
    one, two = await start_node(), await start_node()
    guests = [one.join(), one.join(), two.join()]
    for guest in guests:
        await guest.peer.expect("here", count=3)
    one.hub.leave(guests[0].viewer)
    await guests[2].peer.expect("here", count=2)
    one.hub.leave(guests[1].viewer)
    await guests[2].peer.expect("here", count=1)


# Limits and the end


async def test_a_full_node_refuses_further_viewers_and_takes_them_when_others_left(
    start_node: StartNode,
) -> None:
    node = await start_node(capacity=2)
    guest = node.join()
    node.join()
    with pytest.raises(Full, match="2 viewers"):
        node.hub.admit()
    node.hub.leave(guest.viewer)
    node.hub.admit()


GOING_AWAY = (1001).to_bytes(2, "big")


def answers_the_close(node: Node, guest: Guest) -> None:
    """The guest closes when it is asked to, and its own task ends."""

    def answer() -> None:
        if guest.peer.controls[-1:] == [GOING_AWAY]:
            asyncio.get_running_loop().call_soon(node.hub.leave, guest.viewer)

    guest.peer.on_write = answer


async def test_draining_says_goodbye_and_closes_with_1001(start_node: StartNode) -> None:
    node = await start_node()
    guests = [node.join() for _ in range(3)]
    for guest in guests:
        answers_the_close(node, guest)
    await asyncio.wait_for(node.hub.drain(0.05), PATIENCE)
    for guest in guests:
        assert guest.peer.messages[-1]["type"] == "bye"
        assert guest.peer.messages[-1]["again"] is True
        assert guest.peer.controls == [GOING_AWAY]
        assert not guest.peer.aborted
    assert node.hub.viewers == {}
    with pytest.raises(Draining):
        node.hub.admit()


async def test_nothing_is_written_to_a_viewer_that_was_asked_to_leave(
    start_node: StartNode,
) -> None:
    node = await start_node()
    guest = node.join()
    draining = asyncio.create_task(node.hub.drain(0))
    await guest.peer.expect("bye")
    count = len(guest.peer.writes)
    await node.show()
    await asyncio.wait_for(node.hub.tell(guest.viewer, encode_frame(b"{}")), PATIENCE)
    node.hub.leave(guest.viewer)
    await asyncio.wait_for(draining, PATIENCE)
    # The close frame may stand in a write of its own.
    assert all(write == close(1001) for write in guest.peer.writes[count:])


@pytest.mark.parametrize("stalled", [True, False])
async def test_a_viewer_that_does_not_answer_the_close_does_not_hold_up_the_drain(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch, stalled: bool
) -> None:
    monkeypatch.setattr(live_hub, "CLOSE_PATIENCE", 0.05)
    node = await start_node()
    guest, other = node.join(), node.join()
    answers_the_close(node, other)
    if stalled:
        guest.peer.stall()
    await asyncio.wait_for(node.hub.drain(0), 2)
    assert guest.peer.aborted
    assert not other.peer.aborted
    assert other.peer.controls == [GOING_AWAY]


async def test_closing_twice_is_as_good_as_once(start_node: StartNode) -> None:
    node = await start_node()
    node.join()
    await node.hub.close()
    await node.hub.close()


# Uploads whose node is gone


def begun(snapshot: Snapshot, now_ms: int) -> changes.Arguments:
    return changes.begin_upload(
        snapshot, id="u", name="new.tsv", size=None, now_ms=now_ms, lease_ms=100
    )


@pytest.mark.usefixtures("quick")
async def test_when_an_uploads_lease_has_ended_any_node_brings_the_previous_table_back(
    start_node: StartNode,
) -> None:
    node = await start_node()
    guest = node.join()
    await node.show(offset=500)
    await guest.peer.expect("page", first_row=501)
    begin = begun(await node.backend.snapshot(ROOM), node.backend.now_ms())
    await node.backend.append(ROOM, **begin)
    announce = changes.announce(
        begin["set"]["upload"],
        document("u", complete=False),
        received=1,
        now_ms=node.backend.now_ms(),
        lease_ms=100,
    )
    await node.backend.append(ROOM, **announce)
    await guest.peer.expect("page", document="u", first_row=1)
    await guest.peer.expect("page", document="d1", first_row=501)
    await until(lambda: "upload" not in guest.peer.registers)
    assert guest.peer.registers["document"] == document()


async def test_an_upload_whose_lease_has_not_ended_is_left_alone(start_node: StartNode) -> None:
    node = await start_node()
    assert not await restore_if_ended(node.backend, ROOM)
    begin = begun(Snapshot(), node.backend.now_ms() + 60_000)
    await node.backend.append(ROOM, **begin)
    assert not await restore_if_ended(node.backend, ROOM)
