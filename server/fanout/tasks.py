"""Work that belongs together: it fails together, and it ends for certain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

_log = logging.getLogger(__name__)


async def first_to_fail(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until one raises; raise that once all have ended."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in done:
        if not task.cancelled():
            task.result()
    raise RuntimeError("work that has no end was cancelled")


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they end, for two seconds at most.

    Once is not enough: `asyncio.wait_for`, with which the client library writes, loses a
    cancellation that comes together with its result (Python < 3.12).
    """
    for task in tasks:
        # However this ends, and whenever they do: somebody has heard of it.
        task.add_done_callback(_note)
    for _ in range(20):
        running = [task for task in tasks if not task.done()]
        for task in running:
            task.cancel()
        if not running:
            break
        await asyncio.wait(running, timeout=0.1)


def _note(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.debug("%s ended with an error", task.get_name(), exc_info=task.exception())
