"""One room on this node: what is known of it, and its viewers, told in the words they understand.

Each wording has an `Audience`, which does the telling; here is what all of them share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from server.counts import Counts
from server.document.messages import Document, HereMessage, Page, PointMessage, Upload
from server.fanout.backend import Change, Event, Here, Signal, Snapshot
from server.live.audience import Audience
from server.live.facts import Facts
from server.live.people import LISTED, People
from server.live.talk import Render, Talk
from server.live.viewer import Viewer
from server.live.wording import Wording
from server.live.work import Work


class LiveRoom:
    """`node` names this one among those that say who is here.

    `stirred` is called whenever what this node says of its viewers (`people.said()`) is outdated.
    """

    def __init__(
        self,
        uuid: str,
        wording: Wording,
        lag: set[Viewer],
        render: Render,
        *,
        node: str = "",
        stirred: Callable[[], None] = lambda: None,
        counts: Counts | None = None,
        work: Work | None = None,
    ) -> None:
        """`wording` is for the viewers that have none of their own; `work` is that of the node."""
        self.uuid = uuid
        self.viewers: dict[str, Viewer] = {}
        self.facts = Facts(uuid, render)
        self.people = People(self.viewers, node)
        self._wording = wording
        self._lag = lag
        self._stirred = stirred
        self._counts = counts or Counts()
        self._work = work or Work()
        self._audiences: dict[Wording, Audience] = {}
        self._here: HereMessage | None = None  # as last built
        self._here_at = float("-inf")
        self._here_told: HereMessage | None = None
        self._here_timer: asyncio.TimerHandle | None = None

    # What is known

    @property
    def loaded(self) -> bool:
        return self.facts.loaded

    @property
    def degraded(self) -> bool:
        return self.facts.degraded

    @property
    def epoch(self) -> str:
        return self.facts.epoch

    @property
    def rev(self) -> int:
        return self.facts.rev

    @property
    def registers(self) -> dict[str, object]:
        return self.facts.registers

    @property
    def document(self) -> Document | None:
        return self.facts.document

    @property
    def page(self) -> Page | None:
        return self.facts.page

    @property
    def upload(self) -> Upload | None:
        return self.facts.upload

    @property
    def talk(self) -> Talk:
        return self.facts.talk

    @property
    def last_said(self) -> str:
        """The id of the last message of the chat, "" before there is one."""
        return self.talk.last.id if self.talk.last is not None else ""

    def snapshot(self) -> Snapshot:
        """The room as this node knows it: good for a guarded change, which is checked."""
        return self.facts.snapshot()

    # What happens

    def take(self, event: Event) -> None:
        """Merge what the fan-out tells. Returns at once; viewers are written by the flush."""
        match event:
            case Here():
                said = self.people.said()
                self.people.take(event)
                if self.people.said() != said:
                    self._stirred()
                self._tell_here()
            case Signal():
                self._point(event)
            case Snapshot():
                if self.facts.replace(event):
                    for audience in self._audiences.values():
                        audience.take(None)
                    self._tell_here()
            case Change():
                if self.facts.merge(event):
                    for audience in self._audiences.values():
                        audience.take(event.set)
                    if "page" in event.set:
                        self._tell_here()

    def add(self, viewer: Viewer) -> None:
        self.viewers[viewer.id] = viewer
        wording = viewer.wording or self._wording
        audience = self._audiences.get(wording)
        if audience is None:
            audience = Audience(
                self.facts, wording, self._lag, self._here_now, self._counts, self._work
            )
            self._audiences[wording] = audience
        self.stir()
        audience.add(viewer)

    def remove(self, viewer: Viewer) -> None:
        if self.viewers.pop(viewer.id, None) is None:
            return
        wording = viewer.wording or self._wording
        audience = self._audiences[wording]
        audience.remove(viewer)
        if not audience.viewers:
            audience.retire()
            del self._audiences[wording]
        self.stir()

    def stir(self) -> None:
        """One of this node's viewers came, left, or is another than it was."""
        self.people.stir()
        self._stirred()
        self._tell_here()

    def catch_up(self, viewer: Viewer) -> None:
        """Write what a viewer that lagged has missed: the newest state, never what was between."""
        audience = self._audiences.get(viewer.wording or self._wording)
        if audience is not None:
            audience.catch_up(viewer)

    def resend(self, viewer: Viewer) -> None:
        """Write the whole state, page and chat again, as a viewer asked for with `sync`."""
        self._counts.asked_again += 1
        viewer.behind = True
        viewer.chat = -1
        self.catch_up(viewer)

    def set_degraded(self, degraded: bool) -> None:
        if degraded != self.facts.degraded:
            self.facts.degraded = degraded
            for audience in self._audiences.values():
                audience.tell_status()

    def retire(self) -> None:
        """Stop telling a room that nobody on this node looks at any more."""
        if self._here_timer is not None:
            self._here_timer.cancel()
        for audience in self._audiences.values():
            audience.retire()

    async def settled(self) -> None:
        """Wait until there is nothing left to say, or until it was retired."""
        for audience in list(self._audiences.values()):
            await audience.settled()

    async def close(self) -> None:
        self.retire()
        try:
            async with asyncio.timeout(1):
                await self.settled()
        except TimeoutError:
            pass  # it was cancelled, and says nothing any more

    # Internal

    def _point(self, signal: Signal) -> None:
        try:
            message = msgspec.convert(signal.value, PointMessage)
        except msgspec.ValidationError:
            return  # of another version than this one
        for audience in self._audiences.values():
            audience.tell_point(message)

    def _tell_here(self) -> None:
        """Tell who is here as soon as the pace allows it."""
        if self._here_timer is None and self.viewers:
            loop = asyncio.get_running_loop()
            delay = max(0.0, self._here_at + self.people.pace - loop.time())
            self._here_timer = loop.call_later(delay, self._here_is_due)

    def _here_is_due(self) -> None:
        self._here_timer = None
        self._here_at = asyncio.get_running_loop().time()
        message = self._build_here()
        if message != self._here_told:
            self._here_told = message
            for audience in self._audiences.values():
                audience.tell_here(message)

    def _here_now(self) -> HereMessage:
        """For a newcomer: as it is now, in a large room as it was told last."""
        if self._here is not None and len(self.viewers) > LISTED:
            return self._here
        message = self._build_here()
        if message != self._here_told:
            # The others know something else; should it be that again, the newcomer must hear of it.
            self._here_told = None
            self._tell_here()
        return message

    def _build_here(self) -> HereMessage:
        message = self.people.message(self.document, self.page)
        if self._here is None or message != self._here:
            self._here = message  # what is equal stays the same, and so do its frames
        return self._here
