"""Calls of one Redis: bounded in time, counted, and what its errors mean to people."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from server.counts import Counts
from server.errors import StorageFull
from server.fanout.clock import Clock
from server.fanout.refusals import closing, unavailable, why
from server.fanout.slots import Redirects

_log = logging.getLogger(__name__)

# What spans of calls say besides the name of the operation.
_SPAN = {"db.system.name": "redis"}
_REFUSALS = ("LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED")
# Of an address that names no database, or a user, whom this Redis has for something else.
_NEVER = ("DB index is out of range",)


class Calls:
    """All that is asked of `redis` goes through `asking`.

    `patience`: seconds one call may take in all, retries included. `redirects` is there when this
    Redis, at `host`, is one of a cluster.
    """

    def __init__(
        self,
        redis: Redis,
        counts: Counts,
        patience: float,
        *,
        redirects: Redirects | None,
        host: str,
    ) -> None:
        self.clock = Clock()
        self.closed = False  # once it is, what is asked is refused
        self._redis = redis
        self._counts = counts
        self._patience = patience
        self._redirects = redirects
        self._host = host
        self._deadlines: set[asyncio.Timeout] = set()  # of calls under way
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._forbidden: set[str] = set()  # operations of which it was written down

    @contextlib.asynccontextmanager
    async def asking(self, operation: str, patience: float | None = None) -> AsyncIterator[None]:
        """Bound the time of what is asked in here, and say in our words what went wrong.

        It is counted as one call of `operation`.
        """
        if self.closed:
            raise closing()
        began = time.perf_counter()
        counts = self._counts
        try:
            limit = self._patience if patience is None else patience
            async with asyncio.timeout(limit) as deadline:
                self._deadlines.add(deadline)
                self._quiet.clear()
                try:
                    if not self.clock.known:
                        # Whoever has read a room may write a lease next, by this clock.
                        await self.clock.measure(self._redis)
                    if counts.spans is None:
                        yield
                    else:
                        with counts.spans.span(f"redis {operation}", _SPAN):
                            yield
                finally:
                    counts.called(operation, time.perf_counter() - began)
                    self._deadlines.discard(deadline)
                    if not self._deadlines:
                        self._quiet.set()
        except OutOfMemoryError as error:
            counts.failures[operation, "full"] += 1
            raise StorageFull(
                "The server has no room for more. What the room had is kept; try again later."
            ) from error
        except (
            ConnectionError,
            TimeoutError,
            OSError,  # asyncio's own TimeoutError among them
            ReadOnlyError,
            ClusterDownError,
            TryAgainError,
        ) as error:
            counts.failures[operation, "unreachable"] += 1
            raise unavailable() from error
        except AskError as error:
            counts.failures[operation, "redirected"] += 1
            if isinstance(error, MovedError):
                self.moved(error)
            raise unavailable() from error
        except ResponseError as error:
            counts.failures[operation, "refused"] += 1
            if isinstance(error, NoPermissionError) or str(error).startswith(_NEVER):
                if operation not in self._forbidden:
                    self._forbidden.add(operation)
                    _log.error(
                        "Redis refuses this node what it needs (%s): %s", operation, why(error)
                    )
                raise unavailable() from error
            if str(error).startswith(_REFUSALS):
                raise unavailable() from error
            raise

    async def end(self) -> None:
        """Calls under way may end; then they are cut off, so that none connects anew after this."""
        await self._until_quiet()
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now)
        await self._until_quiet()

    def moved(self, error: MovedError) -> None:
        """Another server has a slot: tell whoever looks after all of them."""
        if self._redirects is None:
            _log.error("This Redis is one of a cluster, which takes a redis+cluster:// address")
        else:
            self._redirects.moved(error.slot_id, (error.host or self._host, error.port))

    async def _until_quiet(self) -> None:
        """Wait until no call is under way, half a second at most."""
        with contextlib.suppress(builtins.TimeoutError):
            async with asyncio.timeout(0.5):
                await self._quiet.wait()
