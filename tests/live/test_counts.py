"""What is counted of writes is what was written, though it is not counted viewer by viewer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from server.counts import Counts
from server.live.audience import SLICE
from server.live.room import LiveRoom
from server.live.viewer import Viewer
from server.live.wording import OwnWording
from tests.live.one_room import Room
from tests.live.peer import Peer, document, page, render

VIEWERS = 2 * SLICE + 30


class Taker(Peer):
    """Keeps what is written and does not look into it."""

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))


def written(peers: list[Taker]) -> tuple[int, int]:
    writes = [data for peer in peers for data in peer.writes]
    return len(writes), sum(map(len, writes))


async def test_each_write_and_each_byte_is_counted_once(room: Room) -> None:
    counts, chosen = Counts(), random.Random(7)
    room.live = LiveRoom("room", OwnWording(room.pages), room.lag, render, counts=counts)  # type: ignore[arg-type]
    now = asyncio.get_running_loop().time()
    peers = [Taker() for _ in range(VIEWERS)]
    viewers = [
        Viewer(f"v{number}", "room", peer, deflate=number % 3 > 0, now=now)
        for number, peer in enumerate(peers)
    ]
    for viewer in viewers:
        room.live.add(viewer)
    room.snapshot(document=document(), page=page())
    await room.settled()
    assert (counts.writes, counts.written) == written(peers)
    for turn in range(1, 8):
        # Some lag, some leave, and half of the turns come while another is being written.
        for peer in chosen.sample(peers, 20):
            peer.stall()
        room.live.remove(viewers[turn])
        room.change(page=page(offset=100 * turn))
        if turn % 2:
            await room.settled()
        for peer in peers:
            peer.drain()
        room.sweep()
    await room.settled()
    assert (counts.writes, counts.written) == written(peers)
    assert sum(counts.fanout.counts) >= 4
    assert counts.catch_ups > VIEWERS
