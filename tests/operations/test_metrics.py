"""/metrics tells what happens, under names that keep the habits of the field."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest
import redis.asyncio

from server.app import BACKEND, HUB
from server.fanout import level
from server.fanout.redis import RedisBackend
from tests.accept.client import ROOM, Node
from tests.operations.conftest import StartNode
from tests.operations.scrape import Scrape, scrape
from tests.redis_server import RedisServer
from tests.room_client import PATIENCE

MIB = 1024 * 1024
TABLE = b"a\tb\n" + b"1\t2\n" * 450


async def until(node: Node, met: Callable[[Scrape], bool]) -> Scrape:
    """Look at the node until it tells this."""
    async with asyncio.timeout(PATIENCE):
        while not met(told := await scrape(node)):
            await asyncio.sleep(0.02)
    return told


# What happens is told


async def test_viewers_rooms_and_what_was_written_to_them(node: Node) -> None:
    before = await scrape(node)
    assert before.value("tablecast_viewers") == before.value("tablecast_rooms") == 0
    first, second = await node.join(), await node.join()
    await node.put(TABLE)
    await first.shows(1)
    await second.shows(1)
    after = await scrape(node)
    assert after.value("tablecast_viewers") == 2
    assert after.value("tablecast_viewers_limit") == node.settings.viewers_per_node
    assert after.value("tablecast_rooms") == after.value("tablecast_subscriptions") == 1
    assert after.value("tablecast_viewers_joined_total") == 2
    assert after.value("tablecast_viewer_writes_total") >= 6
    assert after.value("tablecast_viewer_written_bytes_total") > 1_000
    assert after.value("tablecast_viewer_catch_ups_total") >= 2
    await first.close()
    gone = await until(node, lambda told: told.value("tablecast_viewers") == 1)
    assert gone.value("tablecast_viewers_joined_total") == 2


async def test_a_page_turn_is_counted_and_its_way_to_the_last_viewer_timed(node: Node) -> None:
    await node.put(TABLE)
    viewer, other = await node.join(), await node.join()
    before = await scrape(node)
    await viewer.turn(3)
    await other.shows(3)
    after = await until(
        node,
        lambda told: (
            told.value("tablecast_fanout_duration_seconds_count")
            > before.value("tablecast_fanout_duration_seconds_count")
        ),
    )
    assert after.value("tablecast_page_turns_total") == 1
    assert after.value("tablecast_revisions_applied_total") == 1 + before.value(
        "tablecast_revisions_applied_total"
    )
    assert after.value("tablecast_fanout_duration_seconds_sum") > before.value(
        "tablecast_fanout_duration_seconds_sum"
    )


async def test_chat_is_counted_once_however_often_it_is_sent(node: Node) -> None:
    viewer = await node.join()
    id = str(uuid.uuid4())
    for _ in range(2):
        await viewer.say("chat", id=id, body="once")
    await viewer.expect("chat")
    await viewer.until_quiet()
    assert (await scrape(node)).value("tablecast_chat_messages_total") == 1


async def test_uploads_are_counted_by_how_they_end_and_by_their_bytes(node: Node) -> None:
    await node.put(TABLE)
    await node.refusal(
        "PUT", f"/api/rooms/{ROOM}/document", 422, "empty_document", data=b"", params={"name": "x"}
    )
    viewer = await node.join()
    await viewer.begin_upload("x.tsv", 100_000)
    await viewer.say_raw(TABLE)
    await viewer.expect("ack")
    during = await scrape(node)
    assert during.value("tablecast_uploads_running") == 1
    await viewer.say("upload_cancel")
    after = await until(node, lambda told: told.value("tablecast_uploads_running") == 0)
    assert after.value("tablecast_uploads_total", outcome="completed") == 1
    assert after.value("tablecast_uploads_total", outcome="failed") == 2
    assert after.value("tablecast_upload_received_bytes_total") == 2 * len(TABLE)


async def test_errors_are_counted_by_code_and_door(start_node: StartNode) -> None:
    node = await start_node(page_turns_per_second=0.1)
    await node.put(TABLE)
    viewer = await node.join()
    for _ in range(2):
        await viewer.turn(99_999)
    await viewer.expect_error("rate_limited")
    await node.refusal("PUT", f"/api/rooms/{ROOM}/page", 400, "bad_message", data=b"nonsense")
    await node.http.get("/t/nowhere")
    told = await scrape(node)
    assert told.value("tablecast_errors_total", code="rate_limited", door="socket") >= 1
    assert told.value("tablecast_errors_total", code="bad_message", door="api") == 1
    assert told.value("tablecast_errors_total", code="not_found", door="page") == 1


async def test_requests_are_counted_by_template_method_and_status(node: Node) -> None:
    for room in (str(uuid.uuid4()) for _ in range(3)):
        async with node.http.get(f"/api/rooms/{room}") as response:
            assert response.status == HTTPStatus.OK
    viewer = await node.join()
    told = await scrape(node)
    labels = {"method": "GET", "route": "/api/rooms/{uuid}"}
    assert told.value("tablecast_http_requests_total", **labels, status="200") == 3
    assert told.value("tablecast_http_request_duration_seconds_count", **labels) == 3
    await viewer.close()
    told = await until(
        node,
        lambda told: (
            told.value("tablecast_http_requests_total", route="/ws/{uuid}", status="101") == 1
        ),
    )
    # How long a viewer stays is no duration of a request.
    assert not told.value("tablecast_http_request_duration_seconds_count", route="/ws/{uuid}")


async def test_nobody_can_make_more_series_by_asking_for_more_addresses(node: Node) -> None:
    for _ in range(20):
        await node.http.get(f"/{secrets.token_hex(4)}")
        await node.http.request(secrets.token_hex(4).upper(), "/")
        await node.http.get(f"/static/js/{secrets.token_hex(4)}")
    told = await scrape(node)
    assert told.labels("tablecast_http_requests_total", "method") <= {"GET", "OTHER"}
    assert told.labels("tablecast_http_requests_total", "route") <= {
        "unmatched",
        "/static/js",
        "/",
        "/metrics",
    }
    assert told.value("tablecast_http_requests_total", route="unmatched") >= 20


async def test_a_viewer_that_asks_for_the_whole_state_is_counted(node: Node) -> None:
    viewer = await node.join()
    await viewer.say("sync", epoch="another", rev=7)
    await viewer.expect("state")
    assert (await scrape(node)).value("tablecast_viewer_syncs_total") == 1


async def test_caches_are_counted(node: Node) -> None:
    await node.put(TABLE)
    for _ in range(3):
        await (await node.http.get(f"/api/rooms/{ROOM}/pages/2")).read()
    told = await scrape(node)
    assert told.value("tablecast_cache_misses_total") > 0
    assert told.value("tablecast_cache_hits_total") > 0
    assert told.value("tablecast_cache_bytes") > 0


async def test_the_loop_is_watched(node: Node) -> None:
    await until(node, lambda told: told.value("tablecast_event_loop_lag_seconds_count") > 3)


async def test_what_runs_is_told(node: Node) -> None:
    told = await scrape(node)
    assert told.labels("tablecast_build_info", "backend") == {"memory"}
    assert told.labels("tablecast_build_info", "node") == {node.settings.node}
    assert told.value("tablecast_build_info") == 1


async def test_a_drain_is_told(node: Node) -> None:
    viewer = await node.join()
    await node.app[HUB].drain(0)
    told = await scrape(node)
    assert told.value("tablecast_draining") == 1
    assert told.value("tablecast_viewers_drained_total") == 1
    assert told.value("tablecast_viewers") == 0
    await viewer.close()


# On a real Redis


async def test_calls_of_redis_and_the_lag_of_the_bus_are_timed(redis_node: Node) -> None:
    await redis_node.put(TABLE)
    await redis_node.join()
    expected = {"append", "put_blocks", "keep", "load", "revisions", "present"}
    calls = "tablecast_redis_call_duration_seconds_count"
    told = await until(redis_node, lambda told: expected <= told.labels(calls, "operation"))
    await until(redis_node, lambda told: told.value("tablecast_bus_lag_seconds_count") > 1)
    assert told.value("tablecast_redis_call_duration_seconds_sum", operation="append") > 0


async def test_reads_of_a_whole_room_are_counted_by_what_made_them_necessary(
    redis_node: Node, own_redis: RedisServer
) -> None:
    room = str(uuid.uuid4())
    viewer = await redis_node.join(room)
    await redis_node.put(TABLE, room)
    await viewer.shows(1)
    key = f"tablecast:room:{{{room}}}"
    epoch, rev = viewer.epoch, (await redis_node.app[BACKEND].snapshot(room)).rev

    async def resync(cause: str, harm: Awaitable[object]) -> None:
        before = await scrape(redis_node)
        await harm
        await until(
            redis_node,
            lambda told: (
                told.value("tablecast_resyncs_total", cause=cause)
                > before.value("tablecast_resyncs_total", cause=cause)
            ),
        )

    assert (await scrape(redis_node)).value("tablecast_resyncs_total", cause="join") == 1
    async with redis.asyncio.Redis.from_url(own_redis.url) as client:
        later = json.dumps({"epoch": epoch, "rev": rev + 7, "set": {}})
        await resync("gap", client.spublish(key, later))
        another = json.dumps({"epoch": "another", "rev": 1, "set": {}})
        await resync("epoch", client.spublish(key, another))
        await resync("message", client.spublish(key, "not JSON"))
        await resync("audit", client.hincrby(key, "rev", 1))
        await resync("connection", client.execute_command("CLIENT KILL TYPE pubsub"))
    told = await until(redis_node, lambda told: told.value("tablecast_degraded") == 0)
    assert told.value("tablecast_subscriptions") == 1


async def test_a_redis_that_was_emptied_is_told_from_one_whose_messages_get_lost(
    redis_node: Node, own_redis: RedisServer
) -> None:
    viewer = await redis_node.join()
    await redis_node.put(TABLE)
    await viewer.shows(1)
    async with redis.asyncio.Redis.from_url(own_redis.url) as client:
        await client.flushall()
    await viewer.expect("state", rev=0)
    told = await scrape(redis_node)
    assert told.value("tablecast_resyncs_total", cause="epoch") == 1
    assert told.value("tablecast_resyncs_total", cause="audit") == 0


async def test_a_lost_redis_is_told(redis_node: Node, own_redis: RedisServer) -> None:
    viewer = await redis_node.join()
    own_redis.pause()
    try:
        await viewer.expect("status", degraded=True)
        told = await scrape(redis_node)
        assert told.value("tablecast_degraded") == 1
        await until(
            redis_node,
            lambda told: (
                told.value("tablecast_redis_call_failures_total", reason="unreachable") > 0
            ),
        )
    finally:
        own_redis.resume()
    await viewer.expect("status", degraded=False)
    assert (await scrape(redis_node)).value("tablecast_degraded") == 0


@pytest.mark.parametrize(
    ("limit", "maximum", "told_limit"),
    [(0, 0, 0), (0, 900 * MIB, 900), (800 * MIB, 900 * MIB, 800)],
)
async def test_what_redis_holds_and_may_hold_is_told(
    start_node: StartNode, own_redis: RedisServer, limit: int, maximum: int, told_limit: int
) -> None:
    async with redis.asyncio.Redis.from_url(own_redis.url) as client:
        await client.config_set("maxmemory", maximum)
        try:
            node = await start_node(RedisBackend(own_redis.url, "full", storage_limit=limit))
            told = await until(node, lambda told: "tablecast_storage_bytes" in told.samples)
            held = (await client.info("memory"))["used_memory"]
        finally:
            await client.config_set("maxmemory", 0)
    assert told.value("tablecast_storage_limit_bytes") == told_limit * MIB
    assert held / 4 < told.value("tablecast_storage_bytes") < held * 4


async def test_what_a_redis_holds_that_is_lost_or_does_not_say_is_not_told(
    start_node: StartNode, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(level, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(level, "PATIENCE", 0.2)
    node = await start_node(RedisBackend(own_redis.url, "asking"))

    async def told_of(there: bool) -> None:
        await until(node, lambda told: ("tablecast_storage_bytes" in told.samples) is there)

    await told_of(True)
    own_redis.pause()
    try:
        await told_of(False)
    finally:
        own_redis.resume()
    await told_of(True)
    async with redis.asyncio.Redis.from_url(own_redis.url) as client:
        await client.execute_command("ACL SETUSER default -info")
        try:
            await told_of(False)
            await node.put(TABLE)
        finally:
            await client.execute_command("ACL SETUSER default +info")


# Names


async def test_names_keep_the_habits_of_the_field(redis_node: Node) -> None:
    viewer = await redis_node.join()
    await redis_node.put(TABLE)
    await viewer.turn(2)
    await viewer.expect("page", page_no=2)
    await redis_node.http.get("/t/nowhere")
    units = ("_seconds", "_bytes")
    foreign = re.compile(r"_(ms|milliseconds|minutes|hours|kb|mb|kib|mib|percent|counter|gauge)\b")
    told = await scrape(redis_node)
    assert told.own
    for name, family in told.own.items():
        assert re.fullmatch(r"tablecast(_[a-z]+)+", name), name
        assert not foreign.search(name), f"{name} is in no base unit"
        assert family.documentation.endswith("."), f"{name} does not say what it is"
        assert family.type in {"counter", "gauge", "histogram"}, name
        if family.type == "histogram":
            assert name.endswith(units), f"{name} has no unit"
        for sample in family.samples:
            suffix = sample.name.removeprefix(name)
            if family.type == "counter":
                assert suffix == "_total", f"{sample.name}: a counter ends in _total"
            elif family.type == "gauge":
                assert suffix == "", sample.name
                assert not name.endswith("_total"), name
            else:
                assert suffix in {"_bucket", "_sum", "_count"}
            for label in sample.labels:
                assert re.fullmatch(r"[a-z]+", label), label
                assert label not in {"room", "viewer", "uuid", "address", "instance", "job"}


async def test_buckets_add_up(redis_node: Node) -> None:
    await redis_node.put(TABLE)
    told = await scrape(redis_node)
    for name, family in told.own.items():
        if family.type != "histogram":
            continue
        series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        for sample in family.samples:
            rest = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            if sample.name.endswith("_bucket"):
                series.setdefault(rest, []).append((float(sample.labels["le"]), sample.value))
        for rest, buckets in series.items():
            assert buckets == sorted(buckets), name
            assert buckets[-1][0] == float("inf")
            assert buckets[-1][1] == told.value(f"{name}_count", **dict(rest))


@pytest.mark.parametrize("metrics", [False])
async def test_a_node_can_keep_it_to_itself(start_node: StartNode, metrics: bool) -> None:
    node = await start_node(metrics=metrics)
    await node.refusal("GET", "/metrics", 404, "not_found")
