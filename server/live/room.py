"""One room on this node: its registers as last told by the fan-out, and its viewers.

The way of a change: `take` merges it into the registers and wakes the flush; the flush renders the
page if it is another one now, builds the frames once, and writes them to every viewer. Only the
newest state is ever flushed: changes that come during a flush are merged into the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from server.document.dialect import Dialect
from server.document.messages import (
    Document,
    ErrorMessage,
    HereMessage,
    Page,
    ServerMessage,
    State,
    StatusMessage,
    Upload,
    encode,
    error_message,
)
from server.errors import Missing, TablecastError
from server.fanout.backend import Change, Event, Here, Signal, Snapshot
from server.live.frames import EMPTY, FAST_FROM, Frame, encode_frame, join
from server.live.reader import Reader
from server.live.talk import Render, Talk
from server.live.viewer import Viewer

log = logging.getLogger(__name__)

# Seconds from one flush to the next: 20 pages a second are more than anyone can read.
FLUSH_INTERVAL: Final = 0.05
# Seconds that a state waits for its page, so that both go out in one write.
PAGE_PATIENCE: Final = 0.1
# Viewers written before other rooms get their turn: about 2 ms of work.
SLICE: Final = 128
# Writes a second that a room may spend on telling how many are here: with 10,000 viewers who come
# and go the number is told every five seconds.
HERE_WRITES_PER_SECOND: Final = 2000
# Seconds between tries to render a page that could not be read; the last is repeated.
RENDER_RETRIES: Final = (0.1, 0.3, 1.0, 3.0)

T = TypeVar("T")
PageKey = tuple[str, Dialect, int, int, int, bool]
Rendering = asyncio.Task[tuple["PageKey", Frame] | TablecastError]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the last flush showed. `delta` takes a viewer from `base` to `rev`."""

    epoch: str
    rev: int
    base: int
    page: int  # serial number of the rendering
    page_changed: bool
    delta: Frame


class LiveRoom:
    """Registers, viewers and the one flush of a room.

    `viewers` is in the order in which they are written.
    """

    def __init__(self, uuid: str, reader: Reader, lag: set[Viewer], render: Render) -> None:
        self.uuid = uuid
        self.talk = Talk(render)
        self.viewers: dict[str, Viewer] = {}
        self.loaded = False
        self.epoch = ""
        self.rev = 0
        self.registers: dict[str, Any] = {}
        self.fields: dict[str, str] = {}  # what guards compare; viewers never see it
        self.here = 0
        self.degraded = False
        self._reader = reader
        self._lag = lag
        self._changed: dict[str, Any] = {}
        self._whole = False  # a snapshot came: everyone gets the whole state
        self._here_changed = False
        self._here_timer: asyncio.TimerHandle | None = None
        self._here_told_at = float("-inf")
        self._flush_task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._flushed_at = float("-inf")
        self._shown: Shown | None = None
        self._page_key: PageKey | None = None
        self._page_serial = 0
        self._page_frame = EMPTY
        self._wanted: tuple[str, Dialect, int, int] | None = None  # document, offset, size
        self._rendering: Rendering | None = None
        self._page_failures = 0
        self._unreadable = EMPTY  # what was told of a page that cannot be read
        self._whole_frame: tuple[Shown, int, Frame, int, Frame] | None = None

    # API

    @property
    def document(self) -> Document | None:
        return _decoded(self.registers.get("document"), Document)

    @property
    def page(self) -> Page | None:
        return _decoded(self.registers.get("page"), Page)

    @property
    def upload(self) -> Upload | None:
        return _decoded(self.registers.get("upload"), Upload)

    @property
    def last_said(self) -> str:
        """The id of the last message of the chat, "" before there is one."""
        return self.talk.last.id if self.talk.last is not None else ""

    def snapshot(self) -> Snapshot:
        """The room as this node knows it: good for a guarded change, which is checked."""
        return Snapshot(
            epoch=self.epoch, rev=self.rev, registers=self.registers, fields=self.fields
        )

    def take(self, event: Event) -> None:
        """Merge what the fan-out tells. Returns at once; viewers are written by the flush."""
        if isinstance(event, Signal):
            return
        if isinstance(event, Here):
            self._take_here(event.count)
            return
        if isinstance(event, Snapshot):
            registers = dict(event.registers)
            if self.loaded and event.epoch == self.epoch and event.rev == self.rev:
                return
            self.epoch, self.rev, self.registers = event.epoch, event.rev, registers
            self.talk.replace(event.chat)
            self.fields = dict(event.fields)
            self.loaded = self._whole = True
        elif self.loaded and self._follows(event):
            self.epoch, self.rev = event.epoch, event.rev
            self._merge(event)
        else:
            return
        self._wake()

    def add(self, viewer: Viewer) -> None:
        self.viewers[viewer.id] = viewer
        if self._shown is None and self.degraded:
            # Nothing of the room is known yet, and this is why.
            now = asyncio.get_running_loop().time()
            self._offer(viewer, _frame(StatusMessage(degraded=True)), now)
        self._catch_up(viewer)

    def remove(self, viewer: Viewer) -> None:
        self.viewers.pop(viewer.id, None)

    def catch_up(self, viewer: Viewer) -> None:
        """Write what a viewer that lagged has missed: the newest state, never what was between."""
        if self.viewers.get(viewer.id) is viewer:
            self._catch_up(viewer)

    def resend(self, viewer: Viewer) -> None:
        """Write the whole state, page and chat again, as a viewer asked for with `sync`."""
        viewer.behind = True
        viewer.chat = -1
        self.catch_up(viewer)

    def broadcast(self, message: ServerMessage) -> None:
        """Write a message without a revision to everyone who does not lag."""
        frame = encode_frame(encode(message))
        now = asyncio.get_running_loop().time()
        for viewer in list(self.viewers.values()):
            self._offer(viewer, frame, now)

    def set_degraded(self, degraded: bool) -> None:
        if degraded != self.degraded:
            self.degraded = degraded
            self._whole_frame = None
            self.broadcast(StatusMessage(degraded=degraded))

    def retire(self) -> None:
        """Stop the flush of a room that nobody on this node looks at any more."""
        if self._here_timer is not None:
            self._here_timer.cancel()
        if self._flush_task is not None:
            self._flush_task.cancel()
        self._stop_rendering()

    async def close(self) -> None:
        self.retire()
        task = self._flush_task
        if task is not None:
            await asyncio.wait([task], timeout=1)

    # Internal

    def _take_here(self, count: int) -> None:
        """Tell the number of viewers at once in a small room, rarely in a large one."""
        if count == self.here:
            return
        self.here = count
        if self._here_timer is None:
            loop = asyncio.get_running_loop()
            interval = len(self.viewers) / HERE_WRITES_PER_SECOND
            delay = max(0.0, self._here_told_at + interval - loop.time())
            self._here_timer = loop.call_later(delay, self._here_is_due)

    def _here_is_due(self) -> None:
        self._here_timer = None
        self._here_told_at = asyncio.get_running_loop().time()
        self._here_changed = True
        self._wake()

    def _follows(self, change: Change) -> bool:
        # The first change of a room brings its epoch.
        same = change.epoch == self.epoch or self.rev == 0
        return same and change.rev > self.rev

    def _merge(self, change: Change) -> None:
        for name, value in change.set.items():
            if value is None:
                self.registers.pop(name, None)
            else:
                self.registers[name] = value
            self._changed[name] = value
        for name, text in change.fields.items():
            self.fields[name] = text
        if change.chat is not None:
            self.talk.add(change.chat)

    def _wake(self) -> None:
        self._woken.set()
        if self._flush_task is None:
            self._flush_task = asyncio.create_task(self._flush(), name=f"flush {self.uuid}")

    @property
    def _dirty(self) -> bool:
        return bool(
            self._whole
            or self._here_changed
            or self._changed
            or self._shown is None
            or (self._shown.epoch, self._shown.rev) != (self.epoch, self.rev)
        )

    async def _flush(self) -> None:
        """Flush until nothing is left to say. The room's one task, started when it is needed."""
        loop = asyncio.get_running_loop()
        try:
            while self._dirty or self._page_failures or self._page_due() != self._page_key:
                if self._page_failures and not self._dirty:
                    # A page that could not be read is tried again until it can be or another
                    # one is shown.
                    step = min(self._page_failures, len(RENDER_RETRIES)) - 1
                    await self._until_woken(RENDER_RETRIES[step])
                pause = self._flushed_at + FLUSH_INTERVAL - loop.time()
                if pause > 0:
                    await asyncio.sleep(pause)
                if not self.loaded:
                    await self._flush_here()
                    return
                self._flushed_at = loop.time()
                await self._flush_once()
        except Exception:
            log.exception("room %s: the flush failed", self.uuid)
        finally:
            self._flush_task = None

    async def _flush_here(self) -> None:
        """Before the first snapshot there is only the number of viewers to say."""
        self._here_changed = False
        self.broadcast(HereMessage(count=self.here))

    async def _until_woken(self, seconds: float | None, *tasks: asyncio.Task[Any]) -> None:
        """Wait until there is something new to say, or one of `tasks` is done."""
        self._woken.clear()
        if self._dirty:
            return
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait(
                [woken, *tasks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            woken.cancel()

    async def _flush_once(self) -> None:
        page_task = self._start_render()
        if page_task is None:
            await self._publish(page=None)
            return
        await asyncio.wait([page_task], timeout=PAGE_PATIENCE)
        if not page_task.done():
            await self._publish(page=None)
            while not page_task.done():
                due = self._page_due()
                if self._dirty or (due and due[:4]) != self._wanted:
                    return  # it is told without this page, or brings another one
                # Without a timeout: every call of the backend has its own.
                await self._until_woken(None, page_task)
        self._rendering = None
        due = self._page_due()
        # A page that was left meanwhile shows that turning works; that of another table misleads.
        same_table = due is not None and self._wanted is not None and due[0] == self._wanted[0]
        await self._publish(page=page_task.result() if same_table else None)

    def _page_due(self) -> PageKey | None:
        """What the registers say is to be shown."""
        document, page = self.document, self.page
        if document is None or page is None or page.document != document.id:
            return None
        rows = max(0, min(page.size, document.rows - page.offset))
        return document.id, document.dialect, page.offset, page.size, rows, document.complete

    def _start_render(self) -> Rendering | None:
        """The rendering of the page that is to be shown; None if it is shown already."""
        document, page, key = self.document, self.page, self._page_due()
        self._want(key and key[:4])
        if document is None or page is None or key is None:
            if self._page_key is not None:
                self._page_key, self._page_frame = None, EMPTY
                self._page_serial += 1
            return None
        if self._rendering is not None:
            # A page that grows meanwhile is shown as it was begun, or it might never be.
            return self._rendering
        if key == self._page_key and not self._page_failures:
            return None
        self._rendering = asyncio.create_task(
            self._render(key, document, page, self.rev), name=f"render {self.uuid}"
        )
        return self._rendering

    def _want(self, wanted: tuple[str, Dialect, int, int] | None) -> None:
        """Give up the rendering of another page, and what was told about it."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._stop_rendering()
            self._is_readable()

    def _is_readable(self) -> None:
        self._page_failures = 0
        self._unreadable = EMPTY

    def _stop_rendering(self) -> None:
        if self._rendering is not None:
            self._rendering.cancel()
            self._rendering = None

    async def _render(
        self, key: PageKey, document: Document, page: Page, rev: int
    ) -> tuple[PageKey, Frame] | TablecastError:
        try:
            payload = await self._reader.page(self.uuid, document, page.offset, page.size, rev=rev)
        except TablecastError as error:
            return error
        except Exception:
            log.exception("room %s: a page could not be rendered", self.uuid)
            return TablecastError("This page cannot be shown: something went wrong in the server.")
        if len(payload) > FAST_FROM:
            return key, await asyncio.to_thread(encode_frame, payload)
        return key, encode_frame(payload)

    async def _publish(self, page: tuple[PageKey, Frame] | TablecastError | None) -> None:
        """Build the frames of what changed since the last publication and write them."""
        frames: list[Frame] = []
        shown = self._shown
        changed, self._changed = self._changed, {}
        whole, self._whole = self._whole, False
        epoch, rev = self.epoch, self.rev
        if whole or shown is None or shown.epoch != epoch:
            base = -1  # nobody has a base for this: everyone gets the whole state
        else:
            base = shown.rev
            if rev != base:
                frames.append(
                    _frame(State(uuid=self.uuid, epoch=epoch, rev=rev, set=dict(changed)))
                )
        if base >= 0:
            frames.append(self.talk.frame(epoch, base, rev))
        if self._here_changed:
            self._here_changed = False
            frames.append(_frame(HereMessage(count=self.here)))
        page_changed = False
        if isinstance(page, TablecastError):
            self._page_failures += 1
            if self._page_failures == len(RENDER_RETRIES):
                self._unreadable = _frame(_explain(page))
                frames.append(self._unreadable)
        elif page is not None:
            self._page_key, self._page_frame = page
            self._page_serial += 1
            self._is_readable()
            page_changed = True
            frames.append(self._page_frame)
        self._shown = shown = Shown(
            epoch=epoch,
            rev=rev,
            base=base,
            page=self._page_serial,
            page_changed=page_changed,
            delta=join(*frames) if frames else EMPTY,
        )
        await self._write(shown)

    async def _write(self, shown: Shown) -> None:
        """Write to everyone, in slices; give way to a newer state, which the rest gets instead."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        waiting: Iterable[Viewer] = list(self.viewers.values())
        for number, viewer in enumerate(waiting):
            if number and number % SLICE == 0:
                await asyncio.sleep(0)
                now = loop.time()
                if self._dirty and now > self._flushed_at + FLUSH_INTERVAL:
                    self._first_is(viewer)
                    return
            if self.viewers.get(viewer.id) is viewer:
                self._bring(viewer, shown, now)

    def _first_is(self, first: Viewer) -> None:
        """Begin the next round with `first`, so that a busy room leaves nobody waiting for ever."""
        order = list(self.viewers.values())
        at = next((i for i, viewer in enumerate(order) if viewer is first), 0)
        self.viewers = {viewer.id: viewer for viewer in order[at:] + order[:at]}

    def _bring(self, viewer: Viewer, shown: Shown, now: float) -> None:
        """Take one viewer to `shown` by the delta if that is enough, else by the whole state."""
        if viewer.behind or viewer.epoch != shown.epoch or viewer.rev > shown.rev:
            self._catch_up(viewer)
            return
        page_is_right = shown.page_changed or viewer.page == shown.page
        if viewer.rev == shown.base and page_is_right:
            if shown.delta is EMPTY or self._offer(viewer, shown.delta, now):
                viewer.rev, viewer.page, viewer.chat = shown.rev, shown.page, shown.rev
        elif viewer.rev < shown.rev or not page_is_right:
            self._catch_up(viewer)

    def _catch_up(self, viewer: Viewer) -> None:
        shown = self._shown
        if shown is None:
            return
        current = viewer.epoch == shown.epoch and viewer.rev == shown.rev
        if current and viewer.page == shown.page and not viewer.behind:
            return
        now = asyncio.get_running_loop().time()
        heard = viewer.chat if viewer.epoch == shown.epoch and viewer.rev <= shown.rev else -1
        frame, page = self._whole_state(shown, heard)
        if self._offer(viewer, frame, now):
            viewer.behind = False
            viewer.epoch, viewer.rev, viewer.page = shown.epoch, shown.rev, page
            viewer.chat = shown.rev

    def _whole_state(self, shown: Shown, heard: int) -> tuple[Frame, int]:
        """Everything a newcomer needs, built once a flush however many come; and its page.

        `heard`: the revision up to which it knows what was said.
        """
        chat = self.talk.frame(shown.epoch, heard, shown.rev)
        cached = self._whole_frame
        if cached is not None and (
            cached[0] is shown and cached[1] == self.here and cached[2] is chat
        ):
            return cached[4], cached[3]
        # Changes after `shown` may already stand in the registers; they come again with the next
        # delta, and a register written twice is the same register.
        state = State(
            uuid=self.uuid, epoch=shown.epoch, rev=shown.rev, set=self.registers, whole=True
        )
        page, page_frame = shown.page, self._page_frame
        document = self.registers.get("document")
        if self._page_key and not (document and document["id"] == self._page_key[0]):
            # It would be taken for a page of the new document, whose own is on its way.
            page, page_frame = -1, EMPTY
        frame = join(
            _frame(state),
            page_frame,
            self._unreadable,
            chat,
            # A newcomer is counted before the others have said so.
            _frame(HereMessage(count=max(self.here, len(self.viewers)))),
            _frame(StatusMessage(degraded=self.degraded)),
        )
        self._whole_frame = (shown, self.here, chat, page, frame)
        return frame, page

    def _offer(self, viewer: Viewer, frame: Frame, now: float) -> bool:
        if viewer.offer(frame, now):
            return True
        if viewer.lagging:
            viewer.behind = True
            self._lag.add(viewer)
        return False


def _explain(error: TablecastError) -> ErrorMessage:
    """What people are told of a page that stays unreadable."""
    message = error_message(error, about="page")
    if isinstance(error, Missing):
        return msgspec.structs.replace(
            message,
            message="This page cannot be read: its bytes are gone. Upload the file again.",
        )
    return message


def _frame(message: ServerMessage) -> Frame:
    return encode_frame(encode(message))


def _decoded(value: Any, kind: type[T]) -> T | None:
    return None if value is None else msgspec.convert(value, kind)
