"""Traces for OpenTelemetry, where an operator asks for them; without that nothing is imported.

What is told: requests by the template of their address, uploads, changes on their way to the last
viewer, calls of Redis. Rooms are named as in the log, and nothing that anybody sent is told. The
context of a trace is neither taken from whoever asks nor sent to anyone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Final

from server.settings import Settings, SettingsError, variable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

# Seconds that a collector has to take what is left when a node ends.
CLOSE_PATIENCE: Final = 2.0


class Traces:
    """`counts.Spans`, told to a collector in batches by a thread of the library's own."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import Span, Status, StatusCode

        self._provider = provider
        self._kind = Span
        self._tracer = provider.get_tracer("tablecast")
        self._failed = Status(StatusCode.ERROR)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str | int]) -> Iterator[object]:
        # An exception's message may hold what somebody sent, so only its type is told.
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(self._failed)
                span.set_attribute("error.type", type(error).__qualname__)
                raise

    def add(self, span: object, attributes: Mapping[str, str | int]) -> None:
        assert isinstance(span, self._kind)
        span.set_attributes(attributes)

    def past(self, name: str, seconds: float, attributes: Mapping[str, str | int]) -> None:
        now = time.time_ns()
        span = self._tracer.start_span(
            name, attributes=attributes, start_time=now - int(seconds * 1e9)
        )
        span.end(now)

    def close(self) -> None:
        """Tell what is left, for `CLOSE_PATIENCE` seconds at most; call it from a thread."""
        # A collector that is gone must not keep the process, so whoever waits for it is a daemon.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_PATIENCE)


def make_traces(settings: Settings, exporter: SpanExporter | None = None) -> Traces | None:
    """What the settings ask for; `exporter` takes the place of a collector (in tests).

    Raises `SettingsError` where it is asked for and not installed.
    """
    if not settings.traces_url and exporter is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    except ImportError:
        raise SettingsError(
            f"{variable('traces_url')} is set, but OpenTelemetry is not installed: "
            "pip install 'tablecast[otel]', or leave the variable empty."
        ) from None
    resource = Resource.create(
        {
            "service.name": "tablecast",
            "service.version": metadata.version("tablecast"),
            "service.instance.id": settings.node,
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        to_collector = OTLPSpanExporter(settings.traces_url, timeout=CLOSE_PATIENCE)
        provider.add_span_processor(BatchSpanProcessor(to_collector))
    return Traces(provider)
