"""Who is in a room: what this node says of its viewers, and what it tells them of everyone.

Bounded both ways: what a node says has 50 people and 50 pages at most, and no people at all in a
room with more viewers than that; how often is `pace`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from server.document.messages import Document, HereMessage, Page, Present
from server.fanout import backend
from server.live.paging import page_number
from server.live.viewer import Viewer

# With more viewers than this, counts are of more use than a list.
LISTED: Final = 50
# The fullest pages that are told of.
PAGES: Final = 50
# Seconds between two tellings in a small room; in a large one a node makes so many writes a second.
INTERVAL: Final = 0.25
WRITES_PER_SECOND: Final = 2000
# The size of pages before any was shown.
PAGE_SIZE: Final = 100


class _Person(msgspec.Struct, array_like=True):
    id: str
    name: str
    color: int
    offset: int | None  # rows before the page that it browses; None: it follows
    role: str


class _Detail(msgspec.Struct):
    """What a node says of its viewers. `pages`: how many browse at each offset."""

    count: int = 0
    browsing: int = 0
    people: list[_Person] | None = None
    pages: dict[str, int] = {}


class People:
    """The viewers of one room, those of this `node` and those of the others."""

    def __init__(self, viewers: Mapping[str, Viewer], node: str) -> None:
        self._viewers = viewers
        self._node = node
        self._others: list[_Detail] = []
        self._elsewhere = 0
        self._said: backend.Present | None = None

    # API

    @property
    def count(self) -> int:
        return len(self._viewers) + self._elsewhere

    @property
    def pace(self) -> float:
        """Seconds from one telling to the next."""
        return max(INTERVAL, len(self._viewers) / WRITES_PER_SECOND)

    def stir(self) -> None:
        """This node's viewers are others by now, or other than they were."""
        self._said = None

    def take(self, here: backend.Here) -> None:
        """What all nodes say."""
        listed = self.count <= LISTED
        self._others = [
            _detail(detail) for node, detail in here.nodes.items() if node != self._node
        ]
        self._elsewhere = sum(other.count for other in self._others)
        if listed != (self.count <= LISTED):
            self._said = None

    def said(self) -> backend.Present:
        """What this node says now."""
        if self._said is None:
            people = None
            if self.count <= LISTED:
                people = [_person(viewer) for viewer in self._viewers.values()]
            pages = self._browsed()
            detail = _Detail(
                count=len(self._viewers),
                browsing=pages.total(),
                people=people,
                pages={str(offset): count for offset, count in pages.most_common(PAGES)},
            )
            self._said = backend.Present(len(self._viewers), msgspec.to_builtins(detail))
        return self._said

    def message(self, document: Document | None, page: Page | None) -> HereMessage:
        """What viewers are told now, in a room that shows this."""
        size = page.size if page is not None else PAGE_SIZE
        offset = page.offset if page is not None else 0
        rows = document.rows if document is not None else 0

        def number(offset: int) -> int | None:
            return page_number(rows, offset, size) if document is not None else None

        people: list[Present] | None = None
        if self.count <= LISTED and all(other.people is not None for other in self._others):
            everyone = [_person(viewer) for viewer in self._viewers.values()]
            for other in self._others:
                everyone += other.people or ()
            people = [
                Present(
                    id=each.id,
                    name=each.name,
                    color=each.color,
                    page_no=number(offset if each.offset is None else each.offset),
                    browsing=each.offset is not None,
                    role=each.role,
                )
                for each in everyone
            ]
        return HereMessage(
            count=self.count,
            people=people,
            pages=self._pages(rows, offset, size) if document is not None else {},
        )

    # Internal

    def _browsed(self) -> Counter[int]:
        """How many of this node's viewers browse at each offset."""
        return Counter(
            viewer.browsing for viewer in self._viewers.values() if viewer.browsing is not None
        )

    def _pages(self, rows: int, offset: int, size: int) -> dict[str, int]:
        pages: Counter[int] = Counter()
        own = self._browsed()
        following = self.count - own.total() - sum(other.browsing for other in self._others)
        if following > 0:
            pages[page_number(rows, offset, size)] += following
        for browsed in (
            own,
            *({int(o): n for o, n in each.pages.items()} for each in self._others),
        ):
            for at, count in browsed.items():
                pages[page_number(rows, at, size)] += count
        return {str(number): count for number, count in pages.most_common(PAGES)}


def _person(viewer: Viewer) -> _Person:
    return _Person(viewer.id, viewer.name, viewer.color, viewer.browsing, viewer.role)


def _detail(value: Any) -> _Detail:
    """What another node says; nothing, if it cannot be understood."""
    try:
        return msgspec.convert(value, _Detail)
    except msgspec.ValidationError:
        return _Detail()
