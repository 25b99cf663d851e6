"""A node that is asked to end says so from the first moment, and sends its viewers away in turn."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from pathlib import Path

import aiohttp
import pytest

from server.logs import room_id
from tests.nodes.harness import Node
from tests.redis_server import RedisServer
from tests.room_client import PATIENCE, RoomClient

VIEWERS = 20


@pytest.mark.processes
async def test_a_drain_is_told_at_the_doors_to_the_viewers_and_in_the_log(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    room = str(uuid.uuid4())
    settings = {
        "TABLECAST_DRAIN_TIME": "1500ms",
        "TABLECAST_LOG_FORMAT": "json",
        "TABLECAST_LOG_REQUESTS": "true",
    }
    node = Node("ending", tmp_path, redis_url=own_redis.url, settings=settings)
    try:
        await node.start()
        viewers = [RoomClient(node.url, room) for _ in range(VIEWERS)]
        for viewer in viewers:
            await viewer.connect()
        async with aiohttp.ClientSession() as session:
            node.signal(signal.SIGTERM)
            await node.wait_for(f"{node.url}/readyz", 503)
            async with session.get(f"{node.url}/healthz") as answer:
                assert answer.status == 200
            async with session.get(f"{node.url}/metrics") as answer:
                text = await answer.text()
        assert "tablecast_draining 1.0" in text
        byes = await asyncio.gather(*(viewer.expect("bye", again=True) for viewer in viewers))
        assert len(byes) == VIEWERS
        assert await node.ended(PATIENCE) == 0
        for viewer in viewers:
            await viewer.close()
    finally:
        node.kill()
    lines = [line for line in node.output().splitlines() if line.startswith("{")]
    told = [json.loads(line) for line in lines]
    (serving,) = [entry for entry in told if entry["message"] == "serving"]
    assert (serving["node"], serving["backend"]) == ("ending", "redis")
    assert serving["viewers_limit"] > VIEWERS
    (draining,) = [entry for entry in told if entry["message"] == "draining"]
    assert (draining["viewers"], draining["uploads"]) == (VIEWERS, 0)
    (drained,) = [entry for entry in told if entry["message"] == "drained"]
    assert drained["seconds"] > 0
    assert room not in node.output()
    assert [entry for entry in told if entry.get("room") == room_id(room)]
