"""Those viewers of a room who understand one wording: what each was told, and the one flush.

The way of a change: `take` notes it and wakes the flush; the flush renders the page if it is
another one now, builds the frames once, and writes them to every viewer. Only the newest state is
ever flushed: changes that come during a flush are merged into the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.counts import Counts
from server.document.messages import HereMessage, PointMessage
from server.errors import TablecastError
from server.live.facts import Facts
from server.live.frames import EMPTY, Frame, join
from server.live.latecomers import Latecomers
from server.live.showing import Rendered, Showing
from server.live.talk import Tellings
from server.live.viewer import Viewer
from server.live.wording import Wording
from server.live.work import FOR, Work
from server.logs import about, room_id

log = logging.getLogger(__name__)

# Seconds from one flush to the next: 20 pages a second are more than anyone can read.
FLUSH_INTERVAL: Final = 0.05
# Seconds that a state waits for its page, so that both go out in one write.
PAGE_PATIENCE: Final = 0.1
# Viewers written before other rooms get their turn: about 2 ms of work.
SLICE: Final = 128
# People whose pointing is told in one flush; of others there is more in the next one.
POINTS: Final = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """What the last flush showed. `delta` takes a viewer from `base` to `rev`."""

    epoch: str
    rev: int
    base: int
    page: int  # serial number of the rendering
    page_changed: bool
    delta: Frame


class Audience:
    """`viewers` is in the order in which they are written.

    `here` gives what a newcomer is told of who is there.
    """

    def __init__(
        self,
        facts: Facts,
        wording: Wording,
        lag: set[Viewer],
        here: Callable[[], HereMessage],
        counts: Counts | None = None,
        work: Work | None = None,
    ) -> None:
        """`work`: that of the node, of which this is to be a part."""
        self.viewers: dict[str, Viewer] = {}
        self._facts = facts
        self._wording = wording
        self._lag = lag
        self._here = here
        self._counts = counts or Counts()
        self._work = work or Work()
        self._latecomers = Latecomers(
            facts.uuid,
            self._work,
            prepare=self._prepare_whole,
            is_ready=self._is_whole_ready,
            bring=self._bring_whole,
        )
        self._deflating = 0  # viewers that take deflated frames
        self._heard_at: float | None = None  # the first change that not everyone was written yet
        self._tellings = Tellings(facts.talk, wording.chat)
        self._changed: dict[str, Any] = {}
        self._whole = facts.loaded  # a snapshot came: everyone gets the whole state
        self._here_due: HereMessage | None = None
        self._here_frame: tuple[HereMessage, Frame] | None = None
        self._points: dict[str, PointMessage] = {}
        self._flush_task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._flushed_at = float("-inf")
        self._shown: Shown | None = None
        self._page = Showing(facts, wording)
        self._whole_frame: tuple[tuple[object, ...], int, Frame] | None = None
        if facts.loaded:
            self._wake()

    # API

    def take(self, changed: Mapping[str, Any] | None) -> None:
        """The facts are others now: these registers are, or all of them (None)."""
        if changed is None:
            self._whole = True
        else:
            self._changed |= changed
            if self._heard_at is None and self.viewers:
                self._heard_at = asyncio.get_running_loop().time()
        self._wake()

    def tell_here(self, message: HereMessage) -> None:
        self._here_due = message
        self._wake()

    def tell_point(self, message: PointMessage) -> None:
        """Each one's last word counts; who points later than too many others waits his turn."""
        if message.viewer in self._points or len(self._points) < POINTS:
            self._points[message.viewer] = message
            self._wake()

    def tell_status(self) -> None:
        """To everyone who does not lag; the others hear of it with their next state."""
        self._whole_frame = None
        frame = self._wording.status(self._facts.degraded)
        now = asyncio.get_running_loop().time()
        for viewer in list(self.viewers.values()):
            self._offer(viewer, frame, now)

    def add(self, viewer: Viewer) -> None:
        self.viewers[viewer.id] = viewer
        self._deflating += viewer.deflate
        if self._shown is None and self._facts.degraded:
            # Nothing of the room is known yet, and this is why.
            now = asyncio.get_running_loop().time()
            self._offer(viewer, self._wording.status(True), now)
        self.catch_up(viewer)

    def remove(self, viewer: Viewer) -> None:
        if self.viewers.pop(viewer.id, None) is not None:
            self._deflating -= viewer.deflate

    def catch_up(self, viewer: Viewer) -> None:
        """Write what a viewer has missed: the newest state, never what was between.

        What takes long to build it gets when that is done.
        """
        shown = self._shown
        if shown is not None and not self._tellings.is_ready(
            shown.epoch, self._heard(viewer, shown), shown.rev
        ):
            viewer.behind = True
            self._latecomers.add(viewer)
        else:
            self._catch_up(viewer)

    @staticmethod
    def _heard(viewer: Viewer, shown: Shown) -> int:
        """The revision up to which a viewer knows what was said."""
        is_known = viewer.epoch == shown.epoch and viewer.rev <= shown.rev
        return viewer.chat if is_known else -1

    def _catch_up(self, viewer: Viewer) -> None:
        shown = self._shown
        if shown is None or self.viewers.get(viewer.id) is not viewer:
            return
        current = viewer.epoch == shown.epoch and viewer.rev == shown.rev
        if current and viewer.page == shown.page and not viewer.behind:
            return
        now = asyncio.get_running_loop().time()
        frame, page = self._whole_state(shown, self._heard(viewer, shown))
        self._counts.catch_ups += 1
        if self._offer(viewer, frame, now):
            viewer.behind = False
            viewer.epoch, viewer.rev, viewer.page = shown.epoch, shown.rev, page
            viewer.chat = shown.rev

    async def _prepare_whole(self) -> None:
        """Build what a newcomer needs of what is shown and what takes long."""
        if self._shown is not None:
            await self._tellings.make_ready(self._shown.epoch, self._shown.rev)

    def _is_whole_ready(self) -> bool:
        shown = self._shown
        return shown is None or self._tellings.is_ready(shown.epoch, -1, shown.rev)

    def _bring_whole(self, viewer: Viewer) -> None:
        if viewer.behind:
            viewer.chat = -1  # all of it is what was built
            self._catch_up(viewer)

    def retire(self) -> None:
        """Stop: nobody is told anything any more."""
        if self._flush_task is not None:
            self._flush_task.cancel()
        self._latecomers.stop()
        self._page.stop()

    async def settled(self) -> None:
        """Wait until there is nothing left to say, or until it was retired."""
        while tasks := [task for task in (self._flush_task, self._latecomers.task) if task]:
            await asyncio.wait(tasks)

    # The flush

    def _wake(self) -> None:
        self._woken.set()
        if self._flush_task is None:
            self._flush_task = asyncio.create_task(self._flush(), name="flush")

    @property
    def _dirty(self) -> bool:
        facts = self._facts
        return bool(
            self._whole
            or self._here_due
            or self._points
            or self._changed
            or self._shown is None
            or (self._shown.epoch, self._shown.rev) != (facts.epoch, facts.rev)
        )

    async def _flush(self) -> None:
        """Flush until nothing is left to say. The one task here, started when it is needed."""
        loop = asyncio.get_running_loop()
        # Whoever woke it, this is for all who are in the room.
        FOR.set(self._facts.uuid)
        try:
            while self._dirty or self._page.is_due:
                if self._page.failures and not self._dirty:
                    # A page that could not be read is tried again until it can be or another
                    # one is shown.
                    await self._until_woken(self._page.pause)
                pause = self._flushed_at + FLUSH_INTERVAL - loop.time()
                if pause > 0:
                    await asyncio.sleep(pause)
                if not self._facts.loaded:
                    self._flush_unloaded()
                    return
                self._flushed_at = loop.time()
                await self._flush_once()
        except Exception:
            log.exception("the flush failed", extra=about(self._facts.uuid))
        finally:
            self._flush_task = None

    def _flush_unloaded(self) -> None:
        """Before the first snapshot there is only to be said who is here and where they point."""
        frame = join(*self._passing())
        now = asyncio.get_running_loop().time()
        for viewer in list(self.viewers.values()):
            self._offer(viewer, frame, now)

    async def _until_woken(self, seconds: float | None, *others: asyncio.Task[Any]) -> None:
        """Wait for something new to say, for one of the others, or for the time to pass."""
        self._woken.clear()
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait(
                [woken, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            woken.cancel()

    async def _flush_once(self) -> None:
        page_task = self._page.start()
        if page_task is None:
            await self._publish(None)
            return
        await asyncio.wait([page_task], timeout=PAGE_PATIENCE)
        if not page_task.done():
            heard_at = self._heard_at
            await self._publish(None)
            if heard_at is not None:
                self._heard_at = heard_at  # nobody has been written the page
            while not page_task.done():
                if self._dirty or self._page.is_outdated:
                    return  # it is told without this page, or brings another one
                # Without a timeout: every call of the backend has its own.
                await self._until_woken(None, page_task)
        await self._publish(page_task)

    async def _publish(self, rendering: asyncio.Task[Rendered] | None) -> None:
        """Build the frames of what changed since the last publication and write them."""
        facts, shown = self._facts, self._shown
        anew = self._whole or shown is None or shown.epoch != facts.epoch
        if anew and facts.talk.is_long:
            # Others of the node's rooms may have as much to tell to as many.
            async with self._work.piece():
                await self._tellings.make_ready(facts.epoch, facts.rev)
                await self._publish_now(rendering)
        else:
            await self._publish_now(rendering)

    async def _publish_now(self, rendering: asyncio.Task[Rendered] | None) -> None:
        page = None if rendering is None else self._page.finish(rendering)
        facts, shown = self._facts, self._shown
        frames: list[Frame] = []
        changed, self._changed = self._changed, {}
        whole, self._whole = self._whole, False
        epoch, rev = facts.epoch, facts.rev
        if whole or shown is None or shown.epoch != epoch:
            base = -1  # nobody has a base for this: everyone gets the whole state
        else:
            base = shown.rev
            if rev != base:
                frames.append(self._wording.state(facts.uuid, epoch, rev, changed, False))
        if page is not None:
            frames.append(self._page.take(page))
        if base >= 0:
            frames.append(self._tellings.frame(epoch, base, rev))
            frames += self._passing()
        else:
            # The whole state says who is here, but not where they point: that comes right after.
            self._here_due = None
        self._shown = shown = Shown(
            epoch=epoch,
            rev=rev,
            base=base,
            page=self._page.serial,
            page_changed=page is not None and not isinstance(page, TablecastError),
            delta=join(*frames),
        )
        await self._write(shown)

    def _passing(self) -> list[Frame]:
        """What is told once and has no revision."""
        here, self._here_due = self._here_due, None
        points, self._points = self._points, {}
        frames = [self._here_in_words(here)] if here is not None else []
        return frames + [self._wording.point(point) for point in points.values()]

    async def _write(self, shown: Shown) -> None:
        """Write to everyone, in slices; give way to a newer state, which the rest gets instead."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        heard_at, self._heard_at = self._heard_at, None
        waiting = list(self.viewers.values())
        deflating, missed, tried = self._deflating, [0, 0], 0
        for number, viewer in enumerate(waiting):
            if viewer.lagging:
                # The sweep catches it up as soon as it takes bytes again. Thousands of these cost
                # the others hardly anything, and no turn of the loop.
                viewer.behind = True
                missed[viewer.deflate] += 1
                continue
            tried += 1
            if tried > SLICE:
                tried = 1
                await asyncio.sleep(0)
                now = loop.time()
                if self._dirty and now > self._flushed_at + FLUSH_INTERVAL:
                    deflating = sum(each.deflate for each in waiting[:number])
                    self._count_deltas(shown.delta, number, deflating, missed)
                    self._first_is(viewer)
                    self._heard_at = self._heard_at if heard_at is None else heard_at
                    return
            if self.viewers.get(viewer.id) is not viewer or not self._bring(viewer, shown, now):
                missed[viewer.deflate] += 1
        self._count_deltas(shown.delta, len(waiting), deflating, missed)
        self._count_fanout(heard_at)

    def _count_deltas(self, delta: Frame, count: int, deflating: int, missed: list[int]) -> None:
        """`delta` was written to `count` viewers, of whom so many take deflated frames, but not to
        the `missed` (plain, deflated) among them. Counted once a round, not once a viewer."""
        plain, deflated = count - deflating - missed[False], deflating - missed[True]
        self._counts.writes += plain + deflated
        self._counts.written += plain * len(delta.plain) + deflated * len(delta.deflated)

    def _count_fanout(self, heard_at: float | None) -> None:
        """Everyone was written what was heard then, but for those who lag."""
        if heard_at is None:
            return
        seconds = asyncio.get_running_loop().time() - heard_at
        self._counts.fanout.observe(seconds)
        if self._counts.spans is not None:
            said: dict[str, str | int] = {
                "tablecast.room": room_id(self._facts.uuid),
                "tablecast.viewers": len(self.viewers),
            }
            self._counts.spans.past("fan-out", seconds, said)

    def _first_is(self, first: Viewer) -> None:
        """Begin the next round with `first`, so that a busy room leaves nobody waiting for ever."""
        order = list(self.viewers.values())
        at = next((i for i, viewer in enumerate(order) if viewer is first), 0)
        self.viewers = {viewer.id: viewer for viewer in order[at:] + order[:at]}

    def _bring(self, viewer: Viewer, shown: Shown, now: float) -> bool:
        """Take one viewer to `shown` by the delta if that is enough, else by the whole state.

        True if it was the delta that was written.
        """
        if viewer.behind or viewer.epoch != shown.epoch or viewer.rev > shown.rev:
            self.catch_up(viewer)
            return False
        page_is_right = shown.page_changed or viewer.page == shown.page
        if viewer.rev == shown.base and page_is_right:
            something = bool(shown.delta.plain)
            if something and not self._try(viewer, shown.delta, now):
                return False
            viewer.rev, viewer.page, viewer.chat = shown.rev, shown.page, shown.rev
            return something
        if viewer.rev < shown.rev or not page_is_right:
            self.catch_up(viewer)
        return False

    def _whole_state(self, shown: Shown, heard: int) -> tuple[Frame, int]:
        """Everything a newcomer needs, built once a flush however many come; and its page.

        `heard`: the revision up to which it knows what was said.
        """
        facts = self._facts
        chat = self._tellings.frame(shown.epoch, heard, shown.rev)
        here = self._here_in_words(self._here())
        parts = (shown, chat, here)
        cached = self._whole_frame
        if cached is not None and all(a is b for a, b in zip(cached[0], parts, strict=True)):
            return cached[2], cached[1]
        # Changes after `shown` may already stand in the registers; they come again with the next
        # delta, and a register written twice is the same register.
        registers = facts.registers
        state = self._wording.state(facts.uuid, shown.epoch, shown.rev, registers, True)
        page, page_frame = shown.page, self._page.frame
        if self._page.is_of_another_document:
            # It would be taken for a page of the new document, whose own is on its way.
            page, page_frame = -1, EMPTY
        status = self._wording.status(facts.degraded)
        frame = join(state, page_frame, self._page.unreadable, chat, here, status)
        self._whole_frame = (parts, page, frame)
        return frame, page

    def _here_in_words(self, message: HereMessage) -> Frame:
        if self._here_frame is None or self._here_frame[0] is not message:
            self._here_frame = (message, self._wording.here(message))
        return self._here_frame[1]

    def _offer(self, viewer: Viewer, frame: Frame, now: float) -> bool:
        """Write to one viewer, and count that."""
        if not self._try(viewer, frame, now):
            return False
        self._counts.writes += 1
        self._counts.written += len(frame.deflated if viewer.deflate else frame.plain)
        return True

    def _try(self, viewer: Viewer, frame: Frame, now: float) -> bool:
        if viewer.offer(frame, now):
            return True
        if viewer.lagging:
            viewer.behind = True
            self._lag.add(viewer)
        return False
