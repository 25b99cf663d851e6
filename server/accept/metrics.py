"""`GET /metrics`: what an operator watches, in Prometheus's text format.

The numbers are those of `server/counts.py` and of the parts themselves, read when they are asked
for; docs/OPERATIONS.md lists them, and a test compares.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from itertools import accumulate
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from server.counts import Counts, Histogram
from server.fanout.backend import Backend
from server.live.hub import Hub
from server.live.reader import Reader

# Causes and outcomes that are there from the start: a rate needs a zero to begin with.
RESYNCS: Final = (
    "join",
    "connection",
    "slot",
    "gap",
    "epoch",
    "audit",
    "subscription",
    "message",
    "flood",
    "unreadable",
)
OUTCOMES: Final = ("completed", "failed", "paused")
INTERNAL: Final = (("internal", "api"), ("internal", "page"), ("internal", "socket"))
FULL: Final = (("admit", "full"), ("append", "full"), ("put_blocks", "full"))


class MetricsDoor:
    """Gauges, counters and histograms of one node. Nginx keeps it from the outside."""

    def __init__(
        self, hub: Hub, reader: Reader, backend: Backend, uploads: Callable[[], int], node: str
    ) -> None:
        """`uploads` tells how many run."""
        # A registry of our own: the library's global one would be shared by all nodes of a test.
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(hub, reader, backend, uploads, node))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=generate_latest(self._registry),
            headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"},
        )


class _NodeCollector(Collector):
    def __init__(
        self, hub: Hub, reader: Reader, backend: Backend, uploads: Callable[[], int], node: str
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._backend = backend
        self._uploads = uploads
        self._node = node

    def collect(self) -> Iterator[Metric]:
        counts = self._backend.counts
        yield InfoMetricFamily(
            "tablecast_build",
            "What runs here.",
            value={
                "version": metadata.version("tablecast"),
                "python": platform.python_version(),
                "backend": self._backend.name,
                "node": self._node,
            },
        )
        yield from self._viewers(counts)
        yield from self._fanout(counts)
        yield from self._redis(counts)
        yield from self._doors(counts)
        yield from self._caches()
        yield _histogram(
            "tablecast_event_loop_lag_seconds",
            "How late the event loop comes to what is due, measured 20 times a second.",
            counts.loop_lag,
        )
        yield _gauge(
            "tablecast_tasks",
            "Tasks of the event loop: one for each connection, and some that are always there.",
            len(asyncio.all_tasks()),
        )

    # Internal

    def _viewers(self, counts: Counts) -> Iterator[Metric]:
        hub = self._hub
        yield _gauge("tablecast_viewers", "Connections that look at a room.", len(hub.viewers))
        yield _gauge("tablecast_viewers_limit", "Connections this node takes.", hub.capacity)
        yield _gauge(
            "tablecast_viewers_lagging", "Viewers with more unsent than they may have.", hub.lagging
        )
        yield _gauge("tablecast_rooms", "Rooms with viewers on this node.", len(hub.rooms))
        yield _counter("tablecast_viewers_joined", "Viewers that came.", counts.joined)
        yield _counter(
            "tablecast_viewers_aborted",
            "Viewers cut off for taking nothing, or for giving no sign of life.",
            hub.aborted,
        )
        yield _counter(
            "tablecast_viewers_drained",
            "Viewers sent to another node because this one ends.",
            counts.sent_away,
        )
        yield _counter("tablecast_viewer_writes", "Writes to viewers.", counts.writes)
        yield _counter(
            "tablecast_viewer_written_bytes", "Bytes of frames written to viewers.", counts.written
        )
        yield _counter(
            "tablecast_viewer_catch_ups",
            "Whole states written to newcomers and to viewers that had missed something.",
            counts.catch_ups,
        )
        yield _counter(
            "tablecast_viewer_syncs",
            "Whole states that viewers asked for, because they had another revision.",
            counts.asked_again,
        )
        yield _gauge(
            "tablecast_draining", "1 while this node sends its viewers away.", hub.draining
        )

    def _fanout(self, counts: Counts) -> Iterator[Metric]:
        yield _gauge(
            "tablecast_subscriptions",
            "Rooms of which this node hears the changes, those just left among them.",
            self._backend.following,
        )
        yield _gauge(
            "tablecast_degraded",
            "1 while Redis cannot be reached or rooms are not up to date again since.",
            self._hub.is_degraded,
        )
        yield _counter("tablecast_revisions_applied", "Changes taken in.", counts.revisions)
        resyncs = CounterMetricFamily(
            "tablecast_resyncs",
            f"Rooms read whole, by what made it necessary ({', '.join(RESYNCS)}).",
            labels=["cause"],
        )
        for cause in dict.fromkeys((*RESYNCS, *counts.resyncs)):
            resyncs.add_metric([cause], counts.resyncs[cause])
        yield resyncs
        yield _histogram(
            "tablecast_fanout_duration_seconds",
            "From a change that was heard to the write to the last viewer of its room here.",
            counts.fanout,
        )
        yield _histogram(
            "tablecast_bus_lag_seconds",
            "How late published changes arrive: a ping's way through the subscriber connection.",
            counts.bus_lag,
        )

    @staticmethod
    def _redis(counts: Counts) -> Iterator[Metric]:
        yield _histograms(
            "tablecast_redis_call_duration_seconds",
            "Calls of Redis, retries included.",
            ["operation"],
            {(name,): histogram for name, histogram in counts.calls.items()},
        )
        failures = CounterMetricFamily(
            "tablecast_redis_call_failures",
            "Calls of Redis that failed (unreachable, full, refused, redirected).",
            labels=["operation", "reason"],
        )
        for call in dict.fromkeys((*FULL, *counts.failures)):
            failures.add_metric(call, counts.failures[call])
        yield failures
        held = GaugeMetricFamily(
            "tablecast_storage_bytes",
            "What Redis holds, looked at every 10 s; of a cluster's primaries the fullest one.",
        )
        limit = GaugeMetricFamily(
            "tablecast_storage_limit_bytes",
            "What it may hold: the lower of TABLECAST_STORAGE_LIMIT and maxmemory; 0: any amount.",
        )
        if counts.storage:
            fullest = max(counts.storage.values(), key=_share)
            held.add_metric([], fullest[0])
            limit.add_metric([], fullest[1])
        yield from (held, limit)

    def _doors(self, counts: Counts) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "tablecast_http_requests",
            "Requests answered, by the template of their address; 499: whoever asked had left.",
            labels=["method", "route", "status"],
        )
        for (method, route, status), count in list(counts.answers.items()):
            answers.add_metric([method, route, str(status)], count)
        yield answers
        yield _histograms(
            "tablecast_http_request_duration_seconds",
            "From a request's headers to the end of its answer; sockets are not among them.",
            ["method", "route"],
            dict(counts.requests.items()),
        )
        errors = CounterMetricFamily(
            "tablecast_errors",
            "Errors that a viewer or a program was told, by code and door.",
            labels=["code", "door"],
        )
        for error in dict.fromkeys((*INTERNAL, *counts.errors)):
            errors.add_metric(error, counts.errors[error])
        yield errors
        yield _counter("tablecast_page_turns", "Pages turned through this node.", counts.page_turns)
        yield _counter(
            "tablecast_chat_messages", "Messages said through this node.", counts.chat_messages
        )
        yield _gauge("tablecast_uploads_running", "Uploads that run here.", self._uploads())
        uploads = CounterMetricFamily(
            "tablecast_uploads", "Uploads that ended here, by outcome.", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            uploads.add_metric([outcome], counts.uploads[outcome])
        yield uploads
        yield _counter(
            "tablecast_upload_received_bytes",
            "Bytes of files that came, as sent.",
            counts.upload_bytes,
        )

    def _caches(self) -> Iterator[Metric]:
        used = GaugeMetricFamily("tablecast_cache_bytes", "Bytes cached.", labels=["cache"])
        hits = CounterMetricFamily(
            "tablecast_cache_hits", "Look-ups that found something.", labels=["cache"]
        )
        misses = CounterMetricFamily(
            "tablecast_cache_misses", "Look-ups that found nothing.", labels=["cache"]
        )
        for name, cache in self._reader.caches.items():
            used.add_metric([name], cache.used)
            hits.add_metric([name], cache.hits)
            misses.add_metric([name], cache.misses)
        yield from (used, hits, misses)


def _share(storage: tuple[int, int]) -> tuple[float, int]:
    """How full it is; of those that have no limit, how much there is."""
    held, limit = storage
    return (held / limit if limit else 0.0, held)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(name, help, value=value)


def _histogram(name: str, help: str, histogram: Histogram) -> Metric:
    return _histograms(name, help, [], {(): histogram})


def _histograms(
    name: str, help: str, labels: list[str], histograms: Mapping[tuple[str, ...], Histogram]
) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    for values, histogram in list(histograms.items()):
        bounds = [*map(str, histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        family.add_metric(list(values), buckets, sum_value=histogram.sum)
    return family
