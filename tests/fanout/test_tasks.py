"""Work that belongs together ends together, and nobody is told of errors that nobody awaits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest

from server.fanout.tasks import end, first_to_fail

PATIENCE = 5.0  # seconds


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What the loop has to say of errors that nobody awaited."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    return heard


async def slow_to_end(seconds: float) -> None:
    """When it is cancelled it takes its time, and fails."""
    try:
        await asyncio.sleep(3600)
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(seconds)
        raise ConnectionError("late")


async def test_the_first_error_is_raised_once_all_have_ended() -> None:
    ended = asyncio.Event()

    async def other() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("first")

    with pytest.raises(ConnectionError, match="first"):
        await asyncio.wait_for(first_to_fail(fails(), other()), PATIENCE)
    assert ended.is_set()


@pytest.mark.parametrize("patience", [0.0, 0.02])
async def test_errors_of_work_that_ends_after_whoever_ended_it_are_heard(
    complaints: list[dict[str, Any]], patience: float
) -> None:
    """As where a test gives up a node that is just ending."""
    tasks = [asyncio.create_task(slow_to_end(0.05)) for _ in range(2)]
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(tasks))
    await asyncio.sleep(patience)
    ending.cancel()
    await asyncio.wait([ending, *tasks], timeout=PATIENCE)
    assert all(task.done() for task in tasks)
    del tasks, ending
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
