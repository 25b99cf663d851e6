"""Heavy work in pieces: one at a time on a node, and those who want some take turns.

A piece takes milliseconds: parsing some blocks, rendering a page. Were all that is wanted done when
it is wanted, a few hundred who ask at once would hold up everybody else for seconds; done one piece
at a time, all others have their turn after each of them. And whoever asks for a thousand pieces
waits for them, while somebody else who asks for one gets it next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

T = TypeVar("T")

# Whom the work of a task is for: an address, or a room. They take turns.
FOR: Final[ContextVar[str]] = ContextVar("for", default="")


class Work:
    """Pieces of work of which one is done at a time. Pieces of one `Work` must not be nested."""

    def __init__(self) -> None:
        self._busy = False
        # Those who wait, by whom it is for; whose turn is next comes first.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """Pieces that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def piece(self) -> AsyncIterator[None]:
        """Wait for one's turn; it lasts until the block ends."""
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            yield
        finally:
            self._next()

    # Internal

    async def _turn(self) -> None:
        asker = FOR.get()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asker, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # it was given the turn and does not take it
            else:
                self._forget(asker, turn)
            raise

    def _forget(self, asker: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(asker)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[asker]

    def _next(self) -> None:
        """Give the turn to the one who waits longest of the next asker. It stays busy till then."""
        while self._waiting:
            asker, queue = next(iter(self._waiting.items()))
            del self._waiting[asker]
            turn = queue.popleft()
            if queue:
                self._waiting[asker] = queue  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False


async def in_thread(make: Callable[[], T]) -> T:
    """What `make` returns, made in a thread; cancelled, it ends when the thread does.

    A thread cannot be stopped: were its piece over before it is, whoever asks and leaves, again and
    again, would have many made at a time.
    """
    made = asyncio.ensure_future(asyncio.to_thread(make))
    cancelled: asyncio.CancelledError | None = None
    while not made.done():
        try:
            await asyncio.wait([made])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        made.exception()  # nobody asks any more
        raise cancelled
    return made.result()
