"""The rooms and viewers of this node, and the few tasks that serve all of them.

The hub is the fan-out's receiver: `changed` routes an event to its room. Its tasks sweep lagging
viewers, send heartbeats, say how many are here, and give up uploads whose lease has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from aiohttp import WSCloseCode, web

from server.errors import Conflict, Draining, Full, TablecastError, Unavailable
from server.fanout import changes
from server.fanout.backend import Backend, Event, Present, Snapshot
from server.live.frames import FULL_WINDOW, PING, Frame
from server.live.keeper import Keeper
from server.live.reader import Reader
from server.live.room import LiveRoom
from server.live.talk import Render
from server.live.viewer import Viewer, prepare_socket
from server.live.wording import OwnWording, Wording
from server.logs import about

log = logging.getLogger(__name__)

SWEEP_INTERVAL: Final = 0.05
# Lagging viewers looked at in one sweep. Of more than these each has its turn in one of the next:
# thousands who read nothing cost next to nothing.
SWEEP_SLICE: Final = 512
# The hub beats this often (with quicker heartbeats as often as those), each time for the viewers
# whose turn it is.
BEAT: Final = 1.0
# Heartbeats a viewer may leave without any sign of life (a pong is one).
MISSED_BEATS: Final = 3
# The others forget this node's viewers after 6 s, so it names them anew before that.
HERE_INTERVAL: Final = 2.0
# A storm of joins is said this often, not once a viewer; in large rooms at their own pace.
HERE_DEBOUNCE: Final = 0.2
CARE_INTERVAL: Final = 1.0
# Seconds before a job that failed goes on: a fault that lasts must not fill the log.
FAULT_PAUSE: Final = 1.0
CLOSE_PATIENCE: Final = 2.0


class Hub:
    """All viewers of this node. `capacity` is the number of viewers it takes."""

    def __init__(
        self,
        backend: Backend,
        reader: Reader,
        keeper: Keeper,
        *,
        capacity: int,
        heartbeat: float,
        stall_timeout: float,
        render: Render,
    ) -> None:
        """Times in seconds. `render` makes the HTML of what is said."""
        self.rooms: dict[str, LiveRoom] = {}
        self.viewers: dict[str, Viewer] = {}
        self.capacity = capacity
        self.draining = False
        self.aborted = 0
        self.counts = backend.counts
        self._backend = backend
        self._reader = reader
        self._heartbeat = heartbeat
        self._stall_timeout = stall_timeout
        self._keeper = keeper
        self._render = render
        self._lag: set[Viewer] = set()
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._degraded = False
        self._wording = OwnWording(reader)
        self._said_at: dict[str, float] = {}  # when each room's viewers were named last
        self._stirred: set[str] = set()  # rooms whose viewers are others since
        self._here_due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._beat_every = min(BEAT, heartbeat)
        turns = max(1, round(heartbeat / self._beat_every))
        self._turns: list[dict[str, Viewer]] = [{} for _ in range(turns)]

    # API: the fan-out's receiver

    def changed(self, room: str, event: Event) -> None:
        live = self.rooms.get(room)
        if live is not None:
            # With a new epoch the storage may have lost its last moments, and with them rows that
            # were added to the table; others may have been added since in their place.
            anew = isinstance(event, Snapshot) and live.loaded and event.epoch != live.epoch
            if anew and live.document is not None:
                self._reader.forget(live.document.id)
            live.take(event)

    def degraded(self, degraded: bool) -> None:
        self._degraded = degraded
        for room in list(self.rooms.values()):
            room.set_degraded(degraded)

    @property
    def is_degraded(self) -> bool:
        return self._degraded

    @property
    def lagging(self) -> int:
        return len(self._lag)

    # API: viewers

    def start(self) -> None:
        jobs = {
            "sweep": self._sweep,
            "heartbeats": self._beat,
            "here": self._say_here,
            "care": self._care,
        }
        self._tasks = [
            asyncio.create_task(_for_ever(name, job), name=name) for name, job in jobs.items()
        ]

    def admit(self) -> None:
        """Raise `Draining` or `Full` if this node takes no further viewer."""
        if self.draining:
            raise Draining("This node is shutting down. Connect again: another one will answer.")
        if len(self.viewers) >= self.capacity:
            raise Full(
                f"This node has reached its limit of {self.capacity:,} viewers. Try again shortly."
            )

    def join(
        self,
        room: str,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        wording: Wording | None = None,
    ) -> Viewer:
        """Add the viewer behind a prepared socket. From now on nothing else sends data on `ws`.

        Viewers of one kind share one `wording`; without it they are told as docs/PROTOCOL.md says.
        """
        now = asyncio.get_running_loop().time()
        prepare_socket(transport, stall_timeout=self._stall_timeout)
        viewer = Viewer(
            secrets.token_hex(8),
            room,
            transport,
            deflate=ws.compress == FULL_WINDOW,
            now=now,
            wording=wording,
        )
        # Until it says who it is, it is told from the others by its colour.
        viewer.color = int(viewer.id, 16) % 10
        self.viewers[viewer.id] = viewer
        self.counts.joined += 1
        min(self._turns, key=len)[viewer.id] = viewer
        return viewer

    def enter(self, viewer: Viewer) -> LiveRoom:
        """Let a viewer that was told `hello` look at its room."""
        live = self.rooms.get(viewer.room)
        if live is None:
            live = self.rooms[viewer.room] = LiveRoom(
                viewer.room,
                self._wording,
                self._lag,
                self._render,
                node=self._backend.node_id,
                stirred=partial(self._stir, viewer.room),
                counts=self.counts,
                work=self._reader.work,
            )
            live.set_degraded(self._degraded)
            self._backend.follow(viewer.room)
        live.add(viewer)
        return live

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer; call it before its socket is closed. Idempotent."""
        leaving = self._leaving.pop(viewer.id, None)
        if leaving is not None and not leaving.done():
            leaving.set_result(None)
        if self.viewers.pop(viewer.id, None) is None:
            return
        self._lag.discard(viewer)
        for turn in self._turns:
            turn.pop(viewer.id, None)
        live = self.rooms.get(viewer.room)
        if live is None:
            return
        live.remove(viewer)
        if not live.viewers:
            del self.rooms[viewer.room]
            self._backend.unfollow(viewer.room)
            live.retire()

    async def tell(self, viewer: Viewer, frame: Frame) -> None:
        """Answer one viewer; waits while it lags. Raises ConnectionResetError when it is gone."""
        await viewer.tell(frame, self._lag)
        self._written(viewer, frame)

    # API: the end

    async def drain(self, seconds: float) -> None:
        """Send everyone away within `seconds`, spread evenly so that no other node is stormed."""
        self.draining = True
        async with asyncio.TaskGroup() as group:
            for viewer in list(self.viewers.values()):
                group.create_task(self._send_away(viewer, random.uniform(0, seconds)))

    async def close(self) -> None:
        """End tasks and rooms; idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_PATIENCE)
        await self._say_gone()
        for room in list(self.rooms.values()):
            await room.close()

    # Internal

    async def _send_away(self, viewer: Viewer, delay: float) -> None:
        await asyncio.sleep(delay)
        if viewer.id not in self.viewers:
            return
        loop = asyncio.get_running_loop()
        bye = (viewer.wording or self._wording).bye("The server restarts.", True)
        viewer.end(bye, WSCloseCode.GOING_AWAY, loop.time())
        self.counts.sent_away += 1
        self.leave(viewer)
        # Its own task reads on until the peer has closed too: were the connection cut while bytes
        # of an upload arrive, the kernel would take back what was just said.
        self._leaving[viewer.id] = left = loop.create_future()
        try:
            async with asyncio.timeout(CLOSE_PATIENCE):
                await left
        except TimeoutError:
            viewer.abort()
        finally:
            self._leaving.pop(viewer.id, None)

    def _written(self, viewer: Viewer, frame: Frame) -> None:
        self.counts.writes += 1
        self.counts.written += len(frame.deflated if viewer.deflate else frame.plain)

    async def _sweep(self) -> None:
        """Look after lagging viewers: catch up those that drained, end those that never do."""
        loop = asyncio.get_running_loop()
        round: list[Viewer] = []
        while True:
            asleep = loop.time()
            await asyncio.sleep(SWEEP_INTERVAL)
            now = loop.time()
            self.counts.loop_lag.observe(max(0.0, now - asleep - SWEEP_INTERVAL))
            round = round or list(self._lag)
            for _ in range(min(SWEEP_SLICE, len(round))):
                viewer = round.pop()
                if viewer not in self._lag:
                    continue
                if viewer.drained(now):
                    self._lag.discard(viewer)
                    live = self.rooms.get(viewer.room)
                    if live is not None:
                        live.catch_up(viewer)
                elif now - viewer.progress_at > self._stall_timeout:
                    self.aborted += 1
                    self._lag.discard(viewer)
                    viewer.abort()

    async def _beat(self) -> None:
        """A heartbeat and a ping for a share of the viewers each beat, everyone in turn."""
        loop = asyncio.get_running_loop()
        at = 0
        while True:
            await asyncio.sleep(self._beat_every)
            at = (at + 1) % len(self._turns)
            frames: dict[tuple[Wording, str, int], Frame] = {}
            now = loop.time()
            for viewer in list(self._turns[at].values()):
                # Taking bytes is a sign of life too: a slow viewer cannot answer what it has not
                # received yet.
                heard_at = max(viewer.seen_at, viewer.progress_at)
                if now - heard_at > MISSED_BEATS * self._heartbeat:
                    self.aborted += 1
                    viewer.abort()
                    continue
                wording = viewer.wording or self._wording
                known = (wording, viewer.epoch, max(0, viewer.rev))
                frame = frames.get(known)
                if frame is None:
                    beat = wording.heartbeat(*known[1:])
                    frame = Frame(beat.plain + PING, beat.deflated + PING)
                    frames[known] = frame
                if viewer.offer(frame, now):
                    self._written(viewer, frame)
                elif viewer.lagging:
                    self._lag.add(viewer)

    def _stir(self, room: str) -> None:
        self._stirred.add(room)
        self._here_due.set()

    async def _say_here(self) -> None:
        """Tell the fan-out which viewers each room has on this node."""
        loop = asyncio.get_running_loop()
        regular = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(regular + HERE_INTERVAL):
                    await self._here_due.wait()
                    await asyncio.sleep(HERE_DEBOUNCE)
            now = loop.time()
            if now >= regular + HERE_INTERVAL:
                regular = now
                self._stirred.update(self.rooms, self._said_at)
            said = {room: self._present(room) for room in self._stirred if self._is_due(room, now)}
            self._stirred.difference_update(said)
            if not self._stirred:
                self._here_due.clear()
            for room, present in said.items():
                if present.count:
                    self._said_at[room] = now
                else:
                    self._said_at.pop(room, None)
            if not said:
                continue
            try:
                await self._backend.present(said)
            except TablecastError as error:
                log.debug("who is here could not be said", extra=about(code=error.code))

    def _is_due(self, room: str, now: float) -> bool:
        live = self.rooms.get(room)
        pace = 0.0 if live is None else min(live.people.pace, HERE_INTERVAL)
        return now >= self._said_at.get(room, 0.0) + pace

    def _present(self, room: str) -> Present:
        live = self.rooms.get(room)
        return Present(0) if live is None else live.people.said()

    async def _say_gone(self) -> None:
        """This node's viewers need not be believed in until its lease ends."""
        gone, self._said_at = {room: Present(0) for room in self._said_at}, {}
        with contextlib.suppress(TimeoutError, TablecastError):
            async with asyncio.timeout(CLOSE_PATIENCE):
                await self._backend.present(gone)

    async def _care(self) -> None:
        """Give up uploads whose node is gone; keep rooms alive that someone watches."""
        while True:
            await asyncio.sleep(CARE_INTERVAL)
            now_ms = self._backend.now_ms()
            for live in list(self.rooms.values()):
                upload = live.upload
                if upload is not None and upload.lease < now_ms:
                    await self._guarded(live.uuid, restore_if_ended(self._backend, live.uuid))
                await self._keeper.use(live.uuid, live.registers)

    @staticmethod
    async def _guarded(room: str, job: Coroutine[Any, Any, Any]) -> None:
        try:
            await job
        except (Unavailable, Conflict) as error:
            log.info("an upload could not be looked after", extra=about(room, code=error.code))
        except TablecastError:
            log.exception("an upload could not be looked after", extra=about(room))


async def restore_if_ended(backend: Backend, room: str) -> bool:
    """Bring back what an upload replaced, if its lease has ended. True if it did."""
    snapshot = await backend.snapshot(room)
    restore = changes.restore(snapshot, backend.now_ms())
    if restore is None:
        return False
    await backend.append(room, **restore)
    return True


async def _for_ever(title: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a job that has no end; a fault of ours in it is logged and must not end it."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("the hub's job %r failed; it goes on", title)
        await asyncio.sleep(FAULT_PAUSE)
