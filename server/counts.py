"""What the parts of a node count while they work, read when somebody asks for `/metrics`.

Plain numbers, added to where something happens; nothing here waits, locks or allocates. A node has
one `Counts`, made by its backend (`Backend.counts`), so that whoever has the backend can count.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

# Upper bounds in seconds. What nobody notices, what a person notices, what is broken.
QUICK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Requests: a page takes milliseconds, a document of a GiB takes minutes.
SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)


class Histogram:
    """How many durations (in seconds) fell under which bound; the last of `counts` is for more."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = QUICK) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class Spans(Protocol):
    """Where what took its time is told as a trace; `server/traces.py` is the one there is."""

    def span(
        self, name: str, attributes: Mapping[str, str | int]
    ) -> AbstractContextManager[object]:
        """What is done within is one step, part of the one around it."""

    def add(self, span: object, attributes: Mapping[str, str | int]) -> None:
        """What is known of a step only now; `span` is what entering it gave."""

    def past(self, name: str, seconds: float, attributes: Mapping[str, str | int]) -> None:
        """A step that has just ended after `seconds`."""


@dataclass(slots=True, eq=False)
class Counts:
    """Everything since the node began. `spans` is None where nobody traces."""

    spans: Spans | None = None
    # Fan-out
    revisions: int = 0  # changes of rooms that this node took in
    resyncs: Counter[str] = field(default_factory=Counter)  # reads of a whole room, by cause
    bus_lag: Histogram = field(default_factory=Histogram)
    fanout: Histogram = field(default_factory=Histogram)  # change heard -> last viewer written
    calls: dict[str, Histogram] = field(default_factory=dict)  # of Redis, by operation
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)  # (operation, reason)
    # What each Redis holds and may hold (0: any amount), in bytes, by whoever looks at it
    storage: dict[object, tuple[int, int]] = field(default_factory=dict)
    # Viewers
    joined: int = 0
    writes: int = 0
    written: int = 0  # bytes
    catch_ups: int = 0  # whole states written in place of a change
    asked_again: int = 0  # those that a viewer asked for
    sent_away: int = 0
    # Doors
    page_turns: int = 0
    chat_messages: int = 0
    uploads: Counter[str] = field(default_factory=Counter)  # by outcome
    upload_bytes: int = 0
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)  # (code, door)
    requests: dict[tuple[str, str], Histogram] = field(default_factory=dict)  # (method, route)
    answers: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # and status
    # The process
    loop_lag: Histogram = field(default_factory=Histogram)

    def called(self, operation: str, seconds: float) -> None:
        """A call of Redis has ended, well or not."""
        histogram = self.calls.get(operation)
        if histogram is None:
            histogram = self.calls[operation] = Histogram()
        histogram.observe(seconds)
