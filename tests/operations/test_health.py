"""Whoever asks whether a node is well is answered at once, whatever Redis does."""

from __future__ import annotations

import asyncio
import time

import pytest

from server.accept.health import LEAST_PATIENCE
from server.app import BACKEND, HUB
from tests.accept.client import ROOM, Node
from tests.operations.scrape import scrape
from tests.redis_server import RedisServer
from tests.room_client import PATIENCE

# Seconds. The answer takes half of it at most; the rest is for a machine with other things to do.
AT_ONCE = 1.0


async def ask(node: Node, path: str) -> tuple[int, float]:
    """The status, and after how many seconds it came."""
    began = time.perf_counter()
    async with node.http.get(path) as response:
        await response.read()
        return response.status, time.perf_counter() - began


async def until_ready(node: Node, status: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await ask(node, "/readyz"))[0] != status:
            await asyncio.sleep(0.02)


async def test_a_frozen_redis_holds_up_no_answer_and_ends_no_connection(
    redis_node: Node, own_redis: RedisServer
) -> None:
    viewer = await redis_node.join()
    await until_ready(redis_node, 200)
    own_redis.pause()
    try:
        # At once: before the node itself has noticed, and after.
        assert not redis_node.app[HUB].is_degraded
        status, seconds = await ask(redis_node, "/readyz")
        assert (status, seconds < AT_ONCE) == (503, True)
        await viewer.expect("status", degraded=True)
        for path, expected in (("/readyz", 503), ("/healthz", 200), ("/metrics", 200)):
            status, seconds = await ask(redis_node, path)
            assert (status, seconds < AT_ONCE) == (expected, True), path
        problem = await redis_node.refusal("GET", "/readyz", 503, "unavailable")
        assert problem["retry"] is True
    finally:
        own_redis.resume()
    await viewer.expect("status", degraded=False)
    await until_ready(redis_node, 200)
    # It is the connection it had.
    await redis_node.put(b"a\n1\n")
    await viewer.shows(1)


async def test_many_who_ask_at_once_make_one_question(
    redis_node: Node, own_redis: RedisServer
) -> None:
    await until_ready(redis_node, 200)
    own_redis.pause()
    try:
        answers = await asyncio.gather(*(ask(redis_node, "/readyz") for _ in range(50)))
        assert {status for status, _ in answers} == {503}
    finally:
        own_redis.resume()
    await until_ready(redis_node, 200)
    told = await scrape(redis_node)
    checks = told.value("tablecast_redis_call_duration_seconds_count", operation="check")
    assert checks < 25


async def test_a_redis_that_is_far_away_is_not_taken_for_a_lost_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def far_away() -> None:
        await asyncio.sleep(2 * LEAST_PATIENCE)

    monkeypatch.setattr(node.app[BACKEND], "check", far_away)
    assert (await ask(node, "/readyz"))[0] == 200
    assert (await ask(node, "/readyz"))[0] == 200


async def test_a_node_that_drains_is_alive_and_not_ready(node: Node) -> None:
    assert (await ask(node, "/readyz"))[0] == 200
    await node.app[HUB].drain(0)
    assert (await ask(node, "/healthz"))[0] == 200
    await node.refusal("GET", "/readyz", 503, "draining")
    await node.refusal("GET", f"/ws/{ROOM}", 503, "draining")
