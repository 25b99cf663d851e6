from __future__ import annotations

import asyncio
import socket

import pytest

from server.live.frames import encode_frame
from server.live.viewer import HIGH_MARK, SEND_BUFFER, Viewer, prepare_socket
from tests.live.peer import PATIENCE, Peer, make_viewer

HELLO = encode_frame(b'{"type":"hello"}')
LARGE = encode_frame(b'{"type":"%s"}' % (b"x" * 1000))


async def test_a_viewer_that_keeps_up_is_written_at_once() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    assert viewer.offer(HELLO, now=1)
    assert peer.writes == [HELLO.plain]


async def test_a_viewer_gets_deflated_frames_only_if_it_agreed_to_them() -> None:
    written: list[bytes] = []
    for deflate in (True, False):
        peer = Peer()
        viewer = Viewer("v", "room", peer, deflate=deflate, now=0)
        peer.write = written.append  # type: ignore[method-assign]
        viewer.offer(LARGE, now=0)
    assert written == [LARGE.deflated, LARGE.plain]


async def test_a_viewer_over_the_high_mark_lags_and_nothing_is_queued_for_it() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    peer.unsent = HIGH_MARK - 1
    assert viewer.offer(HELLO, now=1)
    peer.unsent = HIGH_MARK
    for _ in range(100):
        assert not viewer.offer(HELLO, now=2)
    assert viewer.lagging
    peer.drain()
    assert not viewer.offer(HELLO, now=3), "it lags until the sweep has seen it drained"
    assert viewer.drained(now=3)
    assert len(peer.writes) == 1, "what was refused is gone"
    assert viewer.offer(HELLO, now=3)


async def test_a_lagging_viewer_has_not_drained_until_its_last_byte_is_sent() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    peer.unsent = 3 * HIGH_MARK
    viewer.offer(HELLO, now=1)
    peer.unsent = 100
    assert not viewer.drained(now=2)
    assert viewer.lagging
    peer.unsent = 0
    assert viewer.drained(now=3)
    assert not viewer.lagging


async def test_progress_is_noted_when_bytes_leave_and_only_then() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    peer.unsent = 3 * HIGH_MARK
    viewer.offer(HELLO, now=1)
    viewer.drained(now=2)
    assert viewer.progress_at == 1
    peer.unsent -= 1
    viewer.drained(now=3)
    assert viewer.progress_at == 3


async def test_a_connection_that_closes_is_written_nothing() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    peer.close()
    assert not viewer.offer(HELLO, now=1)
    viewer.offer_control(b"\x8a\x00")
    assert peer.writes == []


async def test_pongs_do_not_pile_up_for_a_viewer_that_takes_nothing() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    peer.stall()
    viewer.offer_control(b"\x8a\x00")
    assert peer.writes == []


async def test_an_answer_waits_until_a_lagging_viewer_has_drained() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    lag: set[Viewer] = set()
    peer.stall()
    answer = asyncio.create_task(viewer.tell(HELLO, lag))
    await asyncio.sleep(0)
    assert lag == {viewer}, "the sweep looks after it"
    assert not answer.done()
    peer.drain()
    assert viewer.drained(now=1)
    await asyncio.wait_for(answer, PATIENCE)
    assert peer.writes == [HELLO.plain]


async def test_an_answer_for_a_viewer_that_is_ended_fails_instead_of_waiting() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    peer.stall()
    answer = asyncio.create_task(viewer.tell(HELLO, set()))
    await asyncio.sleep(0)
    viewer.abort()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(answer, PATIENCE)


async def test_giving_up_one_answer_does_not_lose_the_next() -> None:
    peer = Peer()
    viewer = make_viewer(peer)
    peer.stall()
    first = asyncio.create_task(viewer.tell(HELLO, set()))
    second = asyncio.create_task(viewer.tell(LARGE, set()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    peer.drain()
    viewer.drained(now=1)
    await asyncio.wait_for(second, PATIENCE)
    assert peer.writes == [LARGE.plain]


async def test_the_kernel_may_hide_only_a_little_of_what_a_viewer_has_not_taken() -> None:
    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        prepare_socket(writer.transport, stall_timeout=60)
        accepted.set_result(writer)
        await reader.read()
        writer.close()

    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(stay, "127.0.0.1", 0)
    async with server, asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        theirs = await accepted
        sock = theirs.transport.get_extra_info("socket")
        # Linux reports twice of what was asked for.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER
        # Nor may it end the connection before the node does.
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        writer.close()
        await writer.wait_closed()
        await theirs.wait_closed()
