"""`GET /metrics`: what an operator watches, in Prometheus's text format.

Everything is read when it is asked for, so a viewer or a page costs nothing for being counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from server.live.hub import Hub
from server.live.reader import Reader


class MetricsDoor:
    """Gauges and counters of one node. Nginx keeps it from the outside."""

    def __init__(self, hub: Hub, reader: Reader) -> None:
        # A registry of our own: the library's global one would be shared by all nodes of a test.
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(hub, reader))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )


class _NodeCollector(Collector):
    def __init__(self, hub: Hub, reader: Reader) -> None:
        self._hub = hub
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        hub = self._hub
        yield GaugeMetricFamily(
            "tablecast_viewers", "Connections that look at a room.", value=len(hub.viewers)
        )
        yield GaugeMetricFamily(
            "tablecast_viewers_limit", "Connections this node takes.", value=hub.capacity
        )
        yield GaugeMetricFamily(
            "tablecast_viewers_lagging", "Viewers with unsent bytes.", value=hub.lagging
        )
        yield CounterMetricFamily(
            "tablecast_viewers_aborted", "Viewers ended for taking nothing.", value=hub.aborted
        )
        yield GaugeMetricFamily(
            "tablecast_rooms", "Rooms with viewers on this node.", value=len(hub.rooms)
        )
        yield GaugeMetricFamily(
            "tablecast_degraded", "1 while the backend cannot be reached.", value=hub.is_degraded
        )
        used = GaugeMetricFamily("tablecast_cache_bytes", "Bytes cached.", labels=["cache"])
        hits = CounterMetricFamily("tablecast_cache_hits", "Found.", labels=["cache"])
        misses = CounterMetricFamily("tablecast_cache_misses", "Not found.", labels=["cache"])
        for name, cache in self._reader.caches.items():
            used.add_metric([name], cache.used)
            hits.add_metric([name], cache.hits)
            misses.add_metric([name], cache.misses)
        yield from (used, hits, misses)
