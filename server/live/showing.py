"""The page that an audience sees: read when another one is to be shown, tried again if it fails."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from server.document.dialect import Dialect
from server.document.messages import ErrorMessage, error_message
from server.errors import Missing, TablecastError
from server.live.facts import Facts
from server.live.frames import EMPTY, FAST_FROM, Frame, encode_frame
from server.live.wording import View, Wording
from server.logs import about

log = logging.getLogger(__name__)

# Seconds between tries to render a page that could not be read; the last is repeated.
RETRIES: Final = (0.1, 0.3, 1.0, 3.0)

PageKey = tuple[object, ...]
Rendered = tuple[PageKey, Frame] | TablecastError
Rendering = asyncio.Task[Rendered]


class Showing:
    """`frame` is the page that was rendered last (EMPTY: there is none), and `serial` its number.

    `failures`: how often in a row the page that is to be shown could not be rendered. `unreadable`
    is what was told about that.
    """

    def __init__(self, facts: Facts, wording: Wording) -> None:
        self.frame = EMPTY
        self.serial = 0
        self.failures = 0
        self.unreadable = EMPTY
        self._facts = facts
        self._wording = wording
        self._key: PageKey | None = None
        self._wanted: tuple[str, Dialect, int, int] | None = None
        self._rendering: Rendering | None = None

    # API

    @property
    def is_due(self) -> bool:
        """Whether there is something to render: another page, or one that failed."""
        view = self._view()
        return bool(self.failures) or (None if view is None else view.key) != self._key

    @property
    def is_of_another_document(self) -> bool:
        """Whether the page that was rendered last is none of what the room shows now."""
        view = self._view()
        return bool(self._key) and not (view and self._key and view.key[0] == self._key[0])

    @property
    def is_outdated(self) -> bool:
        """Whether the page that is being rendered is no longer the one to be shown."""
        view = self._view()
        return (view and view.wanted) != self._wanted

    @property
    def pause(self) -> float:
        """Seconds to wait before the next try, after failures."""
        return RETRIES[min(self.failures, len(RETRIES)) - 1]

    def start(self) -> Rendering | None:
        """The rendering of the page that is to be shown; None if it is shown already."""
        view = self._view()
        self._want(None if view is None else view.wanted)
        if view is None:
            if self._key is not None:
                self._key, self.frame = None, EMPTY
                self.serial += 1
            return None
        if self._rendering is not None:
            # A page that grows meanwhile is shown as it was begun, or it might never be.
            return self._rendering
        if view.key == self._key and not self.failures:
            return None
        self._rendering = asyncio.create_task(self._render(view, self._facts.rev), name="render")
        return self._rendering

    def finish(self, rendering: Rendering) -> Rendered | None:
        """What came of it; None if that is of no use any more."""
        self._rendering = None
        view = self._view()
        # A page that was left meanwhile shows that turning works; that of another table misleads.
        same = view is not None and self._wanted is not None and view.wanted[0] == self._wanted[0]
        return rendering.result() if same else None

    def take(self, rendered: Rendered) -> Frame:
        """This is shown from now on, or cannot be; what is to be told of it."""
        if isinstance(rendered, TablecastError):
            self.failures += 1
            if self.failures != len(RETRIES):
                return EMPTY
            self.unreadable = self._wording.error(_explain(rendered))
            return self.unreadable
        self._key, self.frame = rendered
        self.serial += 1
        self._is_readable()
        return self.frame

    def stop(self) -> None:
        """Give up what is being rendered."""
        if self._rendering is not None:
            self._rendering.cancel()
            self._rendering = None

    # Internal

    def _view(self) -> View | None:
        return self._wording.view(self._facts.registers)

    def _want(self, wanted: tuple[str, Dialect, int, int] | None) -> None:
        """Give up the rendering of another page, and what was told about it."""
        if wanted != self._wanted:
            self._wanted = wanted
            self.stop()
            self._is_readable()

    def _is_readable(self) -> None:
        self.failures = 0
        self.unreadable = EMPTY

    async def _render(self, view: View, rev: int) -> Rendered:
        try:
            payload = await self._wording.page(self._facts.uuid, view, rev)
        except TablecastError as error:
            return error
        except Exception:
            log.exception("a page could not be rendered", extra=about(self._facts.uuid))
            return TablecastError("This page cannot be shown: something went wrong in the server.")
        if len(payload) > FAST_FROM:
            return view.key, await asyncio.to_thread(encode_frame, payload)
        return view.key, encode_frame(payload)


def _explain(error: TablecastError) -> ErrorMessage:
    """What people are told of a page that stays unreadable."""
    message = error_message(error, about="page")
    if isinstance(error, Missing):
        return msgspec.structs.replace(
            message,
            message="This page cannot be read: its bytes are gone. Upload the file again.",
        )
    return message
