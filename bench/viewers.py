"""Many viewers in one process: the same program for Tablecast and for the naive peer.

`python -m bench.viewers PORT PATH PID COUNT TURNS` connects, lets the first viewer turn pages, and
prints what that cost process PID. It only parses frame headers, from one epoll loop, so that it
takes little of the machine from what it measures.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable

from bench.processes import allow_many_files, cpu_seconds, resident
from bench.wire import (
    PAGE_FROM,
    PING,
    PONG,
    connect,
    dial,
    handshake,
    turn_frame,
    welcomed,
)

QUIET = 0.3  # seconds without a byte after which everything said so far has arrived
PACE = 0.07  # seconds from one turn to the next at least: below 20 a second nothing is merged
TURN_WITHIN = 30.0
WARM_UP = 3  # turns before the others come, so that their memory is counted apart from the code's

_buffer = bytearray(1024 * 1024)
_view = memoryview(_buffer)


class Crowd:
    """Viewers of one room on one node, or of several, read by one epoll loop."""

    def __init__(self, *doors: tuple[int, str], turn: Callable[[int], bytes] = turn_frame) -> None:
        """`doors`: (port, path) of a room each, which viewers take in turns.

        `turn`: what the first viewer of a room sends so that all of them get a page.
        """
        self._doors = doors
        self._turn = turn
        self._epoll = select.epoll()
        self._members: dict[int, Member] = {}
        self._turners: list[Member] = []

    def grow(self, count: int) -> None:
        """Connect until there are `count`, and take in what they are told at first."""
        while len(self._members) < count:
            sock, rest = connect(*self._next_door(), deflate=True)
            sock.setblocking(False)
            member = self._welcome(sock)
            member.take(rest, len(rest))
        self.settle()

    def storm(self, count: int) -> float:
        """Connect `count` more at once; seconds until the last of them has its first page."""
        joining: dict[int, tuple[socket.socket, bytearray]] = {}
        waiting = count
        started = time.perf_counter()
        for number in range(count):
            port, path = self._doors[number % len(self._doors)]
            sock = dial(port)
            joining[sock.fileno()] = sock, bytearray(handshake(port, path, deflate=True))
            self._epoll.register(sock.fileno(), select.EPOLLOUT)
        while waiting:
            events = self._epoll.poll(TURN_WITHIN)
            if not events:
                raise TimeoutError(f"{waiting} viewers did not get their first page")
            for number, event in events:
                if number not in joining:
                    waiting -= self._receive(self._members[number])
                    continue
                sock, said = joining[number]
                if event & select.EPOLLOUT:
                    sock.sendall(said)  # a request fits into an empty buffer
                    said.clear()
                    self._epoll.modify(number, select.EPOLLIN)
                    continue
                said += sock.recv(64 * 1024)
                if b"\r\n\r\n" in said:
                    del joining[number]
                    rest = welcomed(said, deflate=True)
                    member = self._welcome(sock, registered=True)
                    member.take(rest, len(rest))
                    waiting -= member.pages > 0
        return time.perf_counter() - started

    def settle(self) -> None:
        """Take in all that is still being said."""
        while self._read(QUIET) is not None:
            pass

    def turn(self, page_no: int) -> float:
        """Turn the page of every room; seconds until the last viewer has it whole."""
        for member in self._members.values():
            member.pages = 0
        waiting = len(self._members)
        started = time.perf_counter()
        for turner in self._turners:
            turner.sock.sendall(self._turn(page_no))
        while waiting:
            got = self._read(TURN_WITHIN)
            if got is None or time.perf_counter() > started + TURN_WITHIN:
                raise TimeoutError(f"{waiting} viewers did not get page {page_no}")
            waiting -= got
        return time.perf_counter() - started

    def rest(self, seconds: float) -> None:
        """Read for `seconds`, whatever comes."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self._read(left)

    def close(self) -> None:
        """All of them leave at once, without a word."""
        for member in self._members.values():
            member.sock.close()
        self._members.clear()
        self._epoll.close()

    def _read(self, timeout: float) -> int | None:
        """Take in what has come; how many members got their first page. None: nothing came."""
        events = self._epoll.poll(timeout)
        if not events:
            return None
        got = 0
        for number, _ in events:
            got += self._receive(self._members[number])
        return got

    def _receive(self, member: Member) -> bool:
        """Take in what came for one; whether that was its first page."""
        size = member.sock.recv_into(_buffer)
        if size == 0:
            raise ConnectionError("the server closed a connection")
        before = member.pages
        member.take(_view, size)
        return before == 0 and member.pages > 0

    def _next_door(self) -> tuple[int, str]:
        return self._doors[len(self._members) % len(self._doors)]

    def _welcome(self, sock: socket.socket, *, registered: bool = False) -> Member:
        member = Member(sock)
        # Of several nodes that show one room only the first is asked to turn its page.
        if len({path for _, path in self._doors}) > len(self._turners):
            self._turners.append(member)
        self._members[sock.fileno()] = member
        if not registered:
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        return member


class Member:
    """One connection: where in the stream of frames it is, and how many pages it has had."""

    __slots__ = ("_head", "_is_page", "_left", "pages", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pages = 0
        self._head = b""  # of a frame whose header has not arrived whole
        self._left = 0  # bytes of the present frame's payload still to come
        self._is_page = False

    def take(self, data: memoryview | bytearray, size: int) -> None:
        at = 0
        while True:
            if self._left > size - at:
                self._left -= size - at
                return
            at += self._left
            self._left = 0
            self.pages += self._is_page
            self._is_page = False
            if at == size:
                return
            head = self._head + data[at : min(size, at + 10)]
            length, used = _payload(head)
            if length < 0:
                self._head = bytes(head)
                return
            at += used - len(self._head)
            self._head = b""
            self._left = length
            if head[0] & 0x0F == PING:
                self.sock.send(PONG)
            self._is_page = head[0] & 0x0F == 1 and length >= PAGE_FROM


def _payload(head: bytes | bytearray) -> tuple[int, int]:
    """(length of the payload, bytes of the header); (-1, 0) while the header is not whole."""
    if len(head) < 2:
        return -1, 0
    length = head[1] & 0x7F
    if length < 126:
        return length, 2
    used = 4 if length == 126 else 10
    if len(head) < used:
        return -1, 0
    (length,) = struct.unpack_from("!H" if used == 4 else "!Q", head, 2)
    return length, used


def main(port: int, path: str, pid: int, count: int, turns: int) -> None:
    allow_many_files()
    crowd = Crowd((port, path))
    crowd.grow(1)
    page = 1
    for _ in range(WARM_UP):
        page += 1
        crowd.turn(page)
        crowd.rest(PACE)
    before = resident(pid)
    crowd.grow(count)
    last, cpu = [], []
    for _ in range(turns):
        page += 1
        cpu_before = cpu_seconds(pid)
        seconds = crowd.turn(page)
        # The pause belongs to the turn, so that work put off until after the last byte counts.
        crowd.rest(max(PACE - seconds, 0.02))
        last.append(seconds)
        cpu.append((cpu_seconds(pid) - cpu_before) / count)
    memory = (resident(pid) - before) / (count - 1)
    print(json.dumps({"last": last, "cpu": cpu, "memory": memory}))


if __name__ == "__main__":
    number, room, server, viewers, pages = sys.argv[1:]
    main(int(number), room, int(server), int(viewers), int(pages))
